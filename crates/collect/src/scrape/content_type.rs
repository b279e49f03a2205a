//! Which parser a response's `Content-Type` asks for (Prometheus `textparse.extractMediaType`).

use outrigger_config::prometheus::ScrapeProtocol;

/// Why a response is not read. The texts are Prometheus' where it has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentTypeError {
    /// No header and no fallback.
    #[error(
        "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target"
    )]
    Blank,
    /// Not a media type, and no fallback.
    #[error("cannot parse Content-Type {0:?} and no fallback_scrape_protocol for target")]
    Malformed(String),
    /// Not an exposition format, and no fallback.
    #[error("received unsupported Content-Type {0:?} and no fallback_scrape_protocol specified for target")]
    Unsupported(String),
    /// A format of Prometheus that this version does not read.
    #[error(
        "received Content-Type {content_type:?}, but {format} is not read yet: make the target honour the Accept \
         header it was sent (text/plain;version=0.0.4)"
    )]
    NotReadYet {
        /// What the target sent.
        content_type: String,
        /// Name of the format.
        format: &'static str,
    },
    /// `fallback_scrape_protocol` names a format that this version does not read.
    #[error(
        "the response's Content-Type {content_type:?} is not an exposition format and fallback_scrape_protocol \
         {fallback:?} is not read yet: set fallback_scrape_protocol: PrometheusText0.0.4"
    )]
    FallbackNotReadYet {
        /// What the target sent; empty when nothing.
        content_type: String,
        /// The configured fallback.
        fallback: &'static str,
    },
}

/// Accepts a response in the text format: one that says so, or one that says nothing usable where the fallback is
/// a text format.
///
/// # Errors
/// Anything else; see [`ContentTypeError`].
pub(crate) fn check(
    content_type: Option<&str>,
    fallback: Option<ScrapeProtocol>,
) -> Result<(), ContentTypeError> {
    let content_type = content_type.unwrap_or_default();
    let refusal = if content_type.is_empty() {
        ContentTypeError::Blank
    } else {
        match media_type(content_type) {
            None => ContentTypeError::Malformed(content_type.to_owned()),
            Some(media_type) => match media_type.as_str() {
                "text/plain" => return Ok(()),
                "application/openmetrics-text" => return Err(not_read_yet(content_type, "OpenMetrics")),
                "application/vnd.google.protobuf" => {
                    return Err(not_read_yet(content_type, "the protobuf format"));
                }
                _ => ContentTypeError::Unsupported(content_type.to_owned()),
            },
        }
    };
    match fallback {
        None => Err(refusal),
        Some(ScrapeProtocol::PrometheusText004 | ScrapeProtocol::PrometheusText100) => Ok(()),
        Some(other) => Err(ContentTypeError::FallbackNotReadYet {
            content_type: content_type.to_owned(),
            fallback: other.as_str(),
        }),
    }
}

fn not_read_yet(content_type: &str, format: &'static str) -> ContentTypeError {
    ContentTypeError::NotReadYet { content_type: content_type.to_owned(), format }
}

/// The media type in lower case, or `None` where Go's `mime.ParseMediaType` gives an error.
fn media_type(header: &str) -> Option<String> {
    let (name, parameters) = header.split_once(';').unwrap_or((header, ""));
    let name = name.trim();
    let valid = match name.split_once('/') {
        Some((kind, subtype)) => is_token(kind) && is_token(subtype),
        None => is_token(name),
    };
    (valid && parameters_are_valid(parameters)).then(|| name.to_ascii_lowercase())
}

fn parameters_are_valid(parameters: &str) -> bool {
    let mut rest = parameters.trim_start();
    let mut names: Vec<String> = Vec::new();
    while !rest.is_empty() {
        let Some((name, after)) = rest.split_once('=') else { return false };
        let name = name.trim().to_ascii_lowercase();
        if !is_token(&name) || names.contains(&name) {
            return false;
        }
        names.push(name);
        let Some(after) = skip_value(after) else { return false };
        let after = after.trim_start();
        if after.is_empty() {
            return true;
        }
        let Some(next) = after.strip_prefix(';') else { return false };
        rest = next.trim_start();
    }
    true
}

/// What follows the parameter value at the start of `text`.
fn skip_value(text: &str) -> Option<&str> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| !is_token_char(c)).unwrap_or(text.len());
        return (end > 0).then(|| &text[end..]);
    };
    let mut escaped = false;
    for (at, character) in quoted.char_indices() {
        match character {
            '"' if !escaped => return Some(&quoted[at + 1..]),
            '\\' if !escaped => escaped = true,
            _ => escaped = false,
        }
    }
    None
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_token_char)
}

fn is_token_char(character: char) -> bool {
    character.is_ascii_graphic() && !"()<>@,;:\\\"/[]?=".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_format_is_read_and_refusals_name_what_to_set() {
        use ScrapeProtocol::*;
        let text = Some(PrometheusText004);
        // header, fallback, part of the error ("" is accepted)
        for (header, fallback, error) in [
            (Some("text/plain"), None, ""),
            (Some("text/plain; version=0.0.4"), None, ""),
            (Some("text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8"), None, ""),
            (Some("TEXT/Plain;version=1.0.0"), None, ""),
            (Some("text/plain;"), None, ""),
            (Some("text/plain; a=\"x;\\\"y\"; b=2"), None, ""),
            (None, None, "blank Content-Type and no fallback_scrape_protocol"),
            (Some(""), None, "blank Content-Type"),
            (None, text, ""),
            (None, Some(PrometheusText100), ""),
            (None, Some(OpenMetricsText100), "set fallback_scrape_protocol: PrometheusText0.0.4"),
            (Some("text/html; charset=utf-8"), None, "received unsupported Content-Type \"text/html"),
            (Some("text/html"), text, ""),
            (Some("text/plain; version"), None, "cannot parse Content-Type"),
            (Some("text/plain; a=1; a=2"), None, "cannot parse Content-Type"),
            (Some("text/plain; version"), text, ""),
            (Some("application/openmetrics-text; version=1.0.0"), None, "OpenMetrics is not read yet"),
            (Some("application/openmetrics-text; version=1.0.0"), text, "text/plain;version=0.0.4"),
            (
                Some(
                    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
                ),
                text,
                "the protobuf format is not read yet",
            ),
        ] {
            let result = check(header, fallback);
            match (&result, error) {
                (Ok(()), "") => {}
                (Err(found), expected) if !expected.is_empty() => {
                    assert!(found.to_string().contains(expected), "{header:?}: {found}");
                }
                _ => panic!("{header:?} with {fallback:?}: {result:?}"),
            }
        }
    }
}
