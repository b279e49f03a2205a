//! What a target is asked for.

use std::time::Duration;

use outrigger_config::prometheus::{EscapingScheme, ScrapeConfig, ScrapeProtocol};

/// Weight of the most wanted protocol in tenths: the number of protocols that Prometheus knows, plus one
/// (`scrape.acceptHeader`).
const FIRST_WEIGHT: usize = ScrapeProtocol::ALL.len() + 1;

/// The `Accept` header of Prometheus' `scrape.acceptHeader` for those of the configured protocols that are read:
/// the text formats. When none of them is configured, text 0.0.4 is asked for.
pub(crate) fn accept(config: &ScrapeConfig) -> String {
    let mut protocols: Vec<ScrapeProtocol> =
        config.scrape_protocols.iter().copied().filter(|protocol| media_range(*protocol).is_some()).collect();
    if protocols.is_empty() {
        protocols.push(ScrapeProtocol::PrometheusText004);
    }
    let mut header = String::new();
    let mut weight = FIRST_WEIGHT;
    for protocol in protocols {
        header.push_str(media_range(protocol).unwrap_or_default());
        if protocol == ScrapeProtocol::PrometheusText100 {
            header.push_str(";escaping=");
            header.push_str(escaping(config.metric_name_escaping));
        }
        header.push_str(&format!(";q=0.{weight},"));
        weight -= 1;
    }
    header.push_str(&format!("*/*;q=0.{weight}"));
    header
}

fn media_range(protocol: ScrapeProtocol) -> Option<&'static str> {
    match protocol {
        ScrapeProtocol::PrometheusText004 => Some("text/plain;version=0.0.4"),
        ScrapeProtocol::PrometheusText100 => Some("text/plain;version=1.0.0"),
        ScrapeProtocol::PrometheusProto
        | ScrapeProtocol::OpenMetricsText001
        | ScrapeProtocol::OpenMetricsText100
        | ScrapeProtocol::OpenMetricsText200 => None,
    }
}

fn escaping(scheme: EscapingScheme) -> &'static str {
    scheme.as_str()
}

/// Text below this many bytes fits one packet beside the response's headers: compressed it would not arrive sooner,
/// and both sides would have worked for nothing.
const ONE_PACKET_BYTES: usize = 1_200;

/// The `Accept-Encoding` header for a target whose last body had this many bytes of text; 0 when that is not known.
pub(crate) fn accept_encoding(config: &ScrapeConfig, last_body_bytes: usize) -> &'static str {
    let fits_one_packet = (1..ONE_PACKET_BYTES).contains(&last_body_bytes);
    if config.enable_compression && !fits_one_packet { "gzip" } else { "identity" }
}

/// Seconds as Go's `strconv.FormatFloat(s, 'f', -1, 64)` writes them, for `X-Prometheus-Scrape-Timeout-Seconds`.
pub(crate) fn timeout_seconds(timeout: Duration) -> String {
    timeout.as_secs_f64().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_is_what_prometheus_sends_for_the_text_formats_alone() {
        use ScrapeProtocol::*;
        for (protocols, expected) in [
            (vec![PrometheusText004], "text/plain;version=0.0.4;q=0.7,*/*;q=0.6"),
            (
                ScrapeProtocol::DEFAULT.to_vec(),
                "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.7,text/plain;version=0.0.4;q=0.6,*/*;q=0.5",
            ),
            (vec![OpenMetricsText100], "text/plain;version=0.0.4;q=0.7,*/*;q=0.6"),
        ] {
            let config = ScrapeConfig { scrape_protocols: protocols, ..ScrapeConfig::new("job") };
            assert_eq!(accept(&config), expected);
        }
        let config =
            ScrapeConfig { metric_name_escaping: EscapingScheme::Underscores, ..ScrapeConfig::new("job") };
        assert!(accept(&config).contains("escaping=underscores;"));
    }

    #[test]
    fn gzip_is_asked_for_unless_switched_off_or_of_no_use() {
        let config = ScrapeConfig::new("job");
        for (last_body_bytes, expected) in
            [(0, "gzip"), (1, "identity"), (1_199, "identity"), (1_200, "gzip"), (100_000, "gzip")]
        {
            assert_eq!(accept_encoding(&config, last_body_bytes), expected, "{last_body_bytes}");
        }
        let config = ScrapeConfig { enable_compression: false, ..config };
        for last_body_bytes in [0, 1, 100_000] {
            assert_eq!(accept_encoding(&config, last_body_bytes), "identity");
        }
    }

    #[test]
    fn the_timeout_is_written_as_go_writes_it() {
        for (millis, expected) in [(10_000, "10"), (1_500, "1.5"), (50, "0.05")] {
            assert_eq!(timeout_seconds(Duration::from_millis(millis)), expected);
        }
    }
}
