//! What a target is asked for.

use std::time::Duration;

use outrigger_config::prometheus::{ScrapeConfig, ScrapeProtocol};

/// Weight of the most wanted protocol in tenths: the number of protocols that Prometheus knows, plus one
/// (`scrape.acceptHeader`).
const FIRST_WEIGHT: usize = ScrapeProtocol::ALL.len() + 1;

/// The `Accept` header of Prometheus' `scrape.acceptHeader` for the configured protocols.
pub(crate) fn accept(config: &ScrapeConfig) -> String {
    let mut header = String::new();
    let mut weight = FIRST_WEIGHT;
    for &protocol in &config.scrape_protocols {
        header.push_str(media_range(protocol));
        if has_escaping(protocol) {
            header.push_str(";escaping=");
            header.push_str(config.metric_name_escaping.as_str());
        }
        header.push_str(&format!(";q=0.{weight},"));
        weight -= 1;
    }
    header.push_str(&format!("*/*;q=0.{weight}"));
    header
}

fn media_range(protocol: ScrapeProtocol) -> &'static str {
    match protocol {
        ScrapeProtocol::PrometheusProto => {
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
        }
        ScrapeProtocol::PrometheusText004 => "text/plain;version=0.0.4",
        ScrapeProtocol::PrometheusText100 => "text/plain;version=1.0.0",
        ScrapeProtocol::OpenMetricsText001 => "application/openmetrics-text;version=0.0.1",
        ScrapeProtocol::OpenMetricsText100 => "application/openmetrics-text;version=1.0.0",
        ScrapeProtocol::OpenMetricsText200 => "application/openmetrics-text;version=2.0.0",
    }
}

/// Whether the protocol says how names are escaped.
fn has_escaping(protocol: ScrapeProtocol) -> bool {
    matches!(
        protocol,
        ScrapeProtocol::PrometheusText100
            | ScrapeProtocol::OpenMetricsText100
            | ScrapeProtocol::OpenMetricsText200
    )
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
    use outrigger_config::prometheus::EscapingScheme;

    use super::*;

    /// The texts of Prometheus' `TestAcceptHeader`, and of each protocol alone.
    #[test]
    fn accept_is_what_prometheus_sends() {
        use EscapingScheme::*;
        use ScrapeProtocol::*;
        let defaults = ScrapeProtocol::DEFAULT.to_vec();
        let proto_first = [vec![PrometheusProto], defaults.clone()].concat();
        for (protocols, escaping, expected) in [
            (
                defaults.clone(),
                Underscores,
                "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.7,application/openmetrics-text;version=0.0.1;q=0.6,text/plain;version=1.0.0;escaping=underscores;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.3",
            ),
            (
                proto_first.clone(),
                Dots,
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,application/openmetrics-text;version=1.0.0;escaping=dots;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=dots;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            ),
            (
                defaults,
                AllowUtf8,
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.7,application/openmetrics-text;version=0.0.1;q=0.6,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.3",
            ),
            (
                proto_first,
                AllowUtf8,
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            ),
            (
                vec![OpenMetricsText200, OpenMetricsText100],
                Underscores,
                "application/openmetrics-text;version=2.0.0;escaping=underscores;q=0.7,application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.6,*/*;q=0.5",
            ),
            (
                vec![OpenMetricsText200],
                AllowUtf8,
                "application/openmetrics-text;version=2.0.0;escaping=allow-utf-8;q=0.7,*/*;q=0.6",
            ),
            (vec![PrometheusText004], Values, "text/plain;version=0.0.4;q=0.7,*/*;q=0.6"),
            (vec![PrometheusText100], Values, "text/plain;version=1.0.0;escaping=values;q=0.7,*/*;q=0.6"),
        ] {
            let config = ScrapeConfig {
                scrape_protocols: protocols,
                metric_name_escaping: escaping,
                ..ScrapeConfig::new("job")
            };
            assert_eq!(accept(&config), expected);
        }
    }

    #[test]
    fn the_timeout_is_written_as_go_writes_it() {
        for (millis, expected) in [(10_000, "10"), (1_500, "1.5"), (50, "0.05")] {
            assert_eq!(timeout_seconds(Duration::from_millis(millis)), expected);
        }
    }
}
