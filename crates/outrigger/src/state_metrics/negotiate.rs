//! What form of answer a scraper gets, as kube-state-metrics negotiates it (`prometheus/common` 0.70
//! `expfmt.NegotiateIncludingOpenMetrics`, `munnerz/goautoneg`).

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING};

/// The content type of the text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The form of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) content_type: String,
    pub(super) open_metrics: bool,
}

/// How an answer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Gzip,
    Zstd,
}

impl Encoding {
    /// As `Content-Encoding` has it.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }
}

/// OpenMetrics when it is what the client likes best of what is spoken here, else text.
pub(super) fn form(headers: &HeaderMap) -> Form {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let mut escaping = "underscores";
    for clause in clauses(accept) {
        if let Some(wanted) = clause.parameter("escaping")
            && matches!(wanted, "allow-utf-8" | "underscores" | "dots" | "values")
        {
            escaping = wanted;
        }
        let version = clause.parameter("version").unwrap_or_default();
        match (clause.kind, clause.subtype) {
            ("application", "openmetrics-text") if matches!(version, "1.0.0" | "0.0.1" | "") => {
                let version = if version == "1.0.0" { version } else { "0.0.1" };
                let content_type = format!(
                    "application/openmetrics-text; version={version}; charset=utf-8; escaping={escaping}"
                );
                return Form { content_type, open_metrics: true };
            }
            ("text", "plain") if matches!(version, "0.0.4" | "") => break,
            // Asked for first, but not spoken here: text.
            ("application", "vnd.google.protobuf")
                if clause.parameter("proto") == Some("io.prometheus.client.MetricFamily")
                    && matches!(
                        clause.parameter("encoding"),
                        Some("delimited" | "text" | "compact-text")
                    ) =>
            {
                break;
            }
            _ => {}
        }
    }
    Form { content_type: TEXT.to_owned(), open_metrics: false }
}

/// zstd where the client asks for it; gzip where it asks and the operator has allowed it.
pub(super) fn encoding(headers: &HeaderMap, gzip: bool) -> Encoding {
    let asked = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut best = Encoding::Plain;
    for part in asked.flat_map(|value| value.split(',')).map(str::trim) {
        let (name, parameters) = part.split_once(';').unwrap_or((part, ""));
        match name {
            "zstd" if !is_refused(parameters) => return Encoding::Zstd,
            // As kube-state-metrics, whatever the quality says.
            "gzip" if gzip => best = Encoding::Gzip,
            _ => {}
        }
    }
    best
}

fn is_refused(parameters: &str) -> bool {
    let quality = parameters.trim().strip_prefix("q=").and_then(|quality| quality.trim().parse::<f64>().ok());
    quality == Some(0.0)
}

struct Clause<'a> {
    kind: &'a str,
    subtype: &'a str,
    quality: f64,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Clause<'a> {
    fn parameter(&self, name: &str) -> Option<&'a str> {
        let mut named = self.parameters.iter().rev().filter(|(parameter, _)| *parameter == name);
        named.next().map(|(_, value)| *value)
    }

    fn goes_before(&self, other: &Self) -> bool {
        self.quality > other.quality
            || self.kind != "*" && other.kind == "*"
            || self.subtype != "*" && other.subtype == "*"
    }
}

/// The clauses of an `Accept` header, best first. The order that they are sorted by is none in the strict sense, so
/// the way of sorting counts: Go's insertion sort, which it uses for as few as these.
fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut sorted: Vec<Clause<'_>> = accept.split(',').filter_map(clause).take(64).collect();
    for index in 1..sorted.len() {
        let mut place = index;
        while place > 0 && sorted[place].goes_before(&sorted[place - 1]) {
            sorted.swap(place, place - 1);
            place -= 1;
        }
    }
    sorted
}

fn clause(part: &str) -> Option<Clause<'_>> {
    let (media, rest) = part.split_once(';').unwrap_or((part, ""));
    let (kind, subtype) = match media.trim_matches(' ').split_once('/') {
        Some((kind, subtype)) => (kind.trim_matches(' '), subtype.trim_matches(' ')),
        None if media.trim_matches(' ') == "*" => ("*", "*"),
        None => return None,
    };
    if subtype.is_empty() || subtype.contains('/') {
        return None;
    }
    let mut clause = Clause { kind, subtype, quality: 1.0, parameters: Vec::new() };
    for parameter in rest.split(';') {
        let Some((name, value)) = parameter.split_once('=').filter(|(_, value)| !value.contains('=')) else {
            continue;
        };
        match name.trim_matches(' ') {
            "q" => clause.quality = value.parse().unwrap_or(0.0),
            name => clause.parameters.push((name, value.trim_matches(' '))),
        }
    }
    Some(clause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().expect("a header"))])
    }

    #[test]
    fn the_form_is_what_the_client_likes_best() {
        let open = |version: &str, escaping: &str| {
            format!("application/openmetrics-text; version={version}; charset=utf-8; escaping={escaping}")
        };
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                          application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,";
        let cases = [
            ("", TEXT.to_owned()),
            ("*/*", TEXT.to_owned()),
            ("text/html", TEXT.to_owned()),
            (prometheus, open("1.0.0", "allow-utf-8")),
            (&format!("{protobuf}{prometheus}"), TEXT.to_owned()),
            ("application/openmetrics-text", open("0.0.1", "underscores")),
            ("application/openmetrics-text;version=0.0.1;escaping=what", open("0.0.1", "underscores")),
            ("application/openmetrics-text;version=2.0.0", TEXT.to_owned()),
            (
                "text/plain;q=0.5, application/openmetrics-text; version=1.0.0 ;q=0.9",
                open("1.0.0", "underscores"),
            ),
            ("text/plain,application/openmetrics-text", TEXT.to_owned()),
            ("text/html;escaping=dots,application/openmetrics-text;q=0.1", open("0.0.1", "dots")),
            ("*,text/plain/x,nonsense,application/openmetrics-text", open("0.0.1", "underscores")),
        ];
        for (accept, want) in cases {
            let got = form(&headers(ACCEPT, accept));
            assert_eq!(got.content_type, want, "{accept}");
            assert_eq!(got.open_metrics, want.starts_with("application"), "{accept}");
        }
    }

    #[test]
    fn compression_is_what_is_asked_for_and_allowed() {
        let cases = [
            ("", true, Encoding::Plain),
            ("gzip", false, Encoding::Plain),
            ("gzip", true, Encoding::Gzip),
            ("deflate, gzip;q=0", true, Encoding::Gzip),
            ("gzipped", true, Encoding::Plain),
            ("gzip, zstd", true, Encoding::Zstd),
            ("zstd;q=0, gzip", true, Encoding::Gzip),
            ("zstd", false, Encoding::Zstd),
            ("*", true, Encoding::Plain),
        ];
        for (asked, gzip, want) in cases {
            assert_eq!(encoding(&headers(ACCEPT_ENCODING, asked), gzip), want, "{asked}");
        }
    }
}
