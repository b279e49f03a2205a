//! Which parser a response's `Content-Type` asks for (Prometheus `textparse.extractMediaType`).

use outrigger_config::prometheus::ScrapeProtocol;
use outrigger_wire::exposition::Format;

/// A version of OpenMetrics that Prometheus reads only with a feature flag.
const OPEN_METRICS_2: &str = "2.0.0";

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
    /// OpenMetrics 2.0, which Prometheus reads only with a feature flag, and no fallback.
    #[error(
        "received OpenMetrics 2.0 Content-Type {0:?}, which is not supported, and no fallback_scrape_protocol specified for \
         target: leave OpenMetricsText2.0.0 out of scrape_protocols"
    )]
    OpenMetrics2(String),
}

/// The format of a response: what it says or, where it says nothing usable, the fallback.
///
/// # Errors
/// Where it says nothing usable and there is no fallback.
pub(crate) fn check(
    content_type: Option<&str>,
    fallback: Option<ScrapeProtocol>,
) -> Result<Format, ContentTypeError> {
    match (format(content_type.unwrap_or_default()), fallback) {
        (Err(_), Some(fallback)) => Ok(format_of(fallback)),
        (found, _) => found,
    }
}

/// The format of a protocol.
pub(crate) fn format_of(protocol: ScrapeProtocol) -> Format {
    match protocol {
        ScrapeProtocol::PrometheusText004 | ScrapeProtocol::PrometheusText100 => Format::Text,
        ScrapeProtocol::OpenMetricsText001
        | ScrapeProtocol::OpenMetricsText100
        | ScrapeProtocol::OpenMetricsText200 => Format::OpenMetrics,
        ScrapeProtocol::PrometheusProto => Format::Protobuf,
    }
}

/// The format that a header names.
fn format(content_type: &str) -> Result<Format, ContentTypeError> {
    if content_type.is_empty() {
        return Err(ContentTypeError::Blank);
    }
    let Some(MediaType { name, version }) = MediaType::parse(content_type) else {
        return Err(ContentTypeError::Malformed(content_type.to_owned()));
    };
    match (name.as_str(), version.as_deref()) {
        ("text/plain", _) => Ok(Format::Text),
        ("application/openmetrics-text", Some(OPEN_METRICS_2)) => {
            Err(ContentTypeError::OpenMetrics2(content_type.to_owned()))
        }
        ("application/openmetrics-text", _) => Ok(Format::OpenMetrics),
        ("application/vnd.google.protobuf", _) => Ok(Format::Protobuf),
        _ => Err(ContentTypeError::Unsupported(content_type.to_owned())),
    }
}

/// What matters of a media type.
struct MediaType {
    /// In lower case.
    name: String,
    version: Option<String>,
}

impl MediaType {
    /// `None` where Go's `mime.ParseMediaType` gives an error.
    fn parse(header: &str) -> Option<Self> {
        let (name, parameters) = header.split_once(';').unwrap_or((header, ""));
        let name = name.trim();
        let valid = match name.split_once('/') {
            Some((kind, subtype)) => is_token(kind) && is_token(subtype),
            None => is_token(name),
        };
        let version = parse_parameters(parameters).filter(|_| valid)?;
        Some(Self { name: name.to_ascii_lowercase(), version })
    }
}

/// The value of the parameter `version`, if any; `None` where the parameters are not valid.
fn parse_parameters(parameters: &str) -> Option<Option<String>> {
    let mut rest = parameters.trim_start();
    let mut version = None;
    let mut names: Vec<String> = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim().to_ascii_lowercase();
        if !is_token(&name) || names.contains(&name) {
            return None;
        }
        let (value, after) = parse_value(after)?;
        if name == "version" {
            version = Some(value);
        }
        names.push(name);
        let after = after.trim_start();
        if after.is_empty() {
            break;
        }
        rest = after.strip_prefix(';')?.trim_start();
    }
    Some(version)
}

/// The parameter value at the start of `text`, and what follows it.
fn parse_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| !is_token_char(c)).unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, character) in quoted.char_indices() {
        match character {
            '"' if !escaped => return Some((value, &quoted[at + 1..])),
            '\\' if !escaped => escaped = true,
            _ => {
                value.push(character);
                escaped = false;
            }
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
    fn the_content_type_decides_the_format_and_refusals_name_what_to_set() {
        use ScrapeProtocol::*;
        let (text, open_metrics) = (Some(PrometheusText004), Some(OpenMetricsText100));
        let protobuf =
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
        for (header, fallback, expected) in [
            (Some("text/plain"), None, Ok(Format::Text)),
            (Some("text/plain; version=0.0.4"), None, Ok(Format::Text)),
            (Some("text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8"), None, Ok(Format::Text)),
            (Some("TEXT/Plain;version=1.0.0"), None, Ok(Format::Text)),
            (Some("text/plain;"), None, Ok(Format::Text)),
            (Some("text/plain; a=\"x;\\\"y\"; b=2"), None, Ok(Format::Text)),
            (Some("text/plain"), open_metrics, Ok(Format::Text)),
            (None, None, Err("blank Content-Type and no fallback_scrape_protocol")),
            (Some(""), None, Err("blank Content-Type")),
            (None, text, Ok(Format::Text)),
            (None, Some(PrometheusText100), Ok(Format::Text)),
            (None, open_metrics, Ok(Format::OpenMetrics)),
            (None, Some(OpenMetricsText200), Ok(Format::OpenMetrics)),
            (None, Some(PrometheusProto), Ok(Format::Protobuf)),
            (Some("text/html; charset=utf-8"), None, Err("received unsupported Content-Type \"text/html")),
            (Some("text/html"), text, Ok(Format::Text)),
            (Some("text/plain; version"), None, Err("cannot parse Content-Type")),
            (Some("text/plain; a=1; a=2"), None, Err("cannot parse Content-Type")),
            (Some("text/plain; version"), open_metrics, Ok(Format::OpenMetrics)),
            (Some("application/openmetrics-text"), None, Ok(Format::OpenMetrics)),
            (
                Some("application/openmetrics-text; version=1.0.0; charset=utf-8"),
                None,
                Ok(Format::OpenMetrics),
            ),
            (Some("application/openmetrics-text; version=0.0.1"), text, Ok(Format::OpenMetrics)),
            (Some("application/openmetrics-text; version=2.0.0"), None, Err("OpenMetrics 2.0")),
            (Some("application/openmetrics-text; version=\"2.0.0\""), text, Ok(Format::Text)),
            (Some(protobuf), None, Ok(Format::Protobuf)),
        ] {
            match (check(header, fallback), expected) {
                (Ok(format), Ok(expected)) => assert_eq!(format, expected, "{header:?}"),
                (Err(found), Err(expected)) => {
                    assert!(found.to_string().contains(expected), "{header:?}: {found}");
                }
                (found, _) => panic!("{header:?} with {fallback:?}: {found:?}"),
            }
        }
    }
}
