//! What Outrigger says about keys that it does not act on.

use outrigger_config::error::Severity;

use super::disk::{Memory, load_text, load_text_with};

/// Severity, line and key of each notice.
fn notices(text: &str) -> Vec<(Severity, u32, String)> {
    let loaded = load_text(text).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    loaded.notices.into_iter().map(|notice| (notice.severity, notice.location.line, notice.key)).collect()
}

#[test]
fn what_would_change_the_data_is_refused() {
    for (keys, key) in [
        ("consul_sd_configs: [{server: a}]", "consul_sd_configs"),
        ("dns_sd_configs: [{names: [a]}]", "dns_sd_configs"),
        ("authorization: {credentials_ref: x}", "authorization.credentials_ref"),
        (
            "http_sd_configs: [{url: 'http://h', tls_config: {ca_ref: x}}]",
            "http_sd_configs[0].tls_config.ca_ref",
        ),
    ] {
        let text = format!("scrape_configs:\n- {{job_name: a, {keys}}}\n");
        assert_eq!(
            notices(&text),
            [(Severity::RefuseToRun, 2, format!("scrape_configs[0].{key}"))],
            "{keys}"
        );
    }
    for (keys, key) in [
        ("convert_nhcb_to_classic: true", "convert_nhcb_to_classic"),
        ("basic_auth: {password_ref: x}", "basic_auth.password_ref"),
    ] {
        let text = format!("remote_write:\n- {{url: 'http://h', {keys}}}\n");
        assert_eq!(notices(&text), [(Severity::RefuseToRun, 2, format!("remote_write[0].{key}"))], "{keys}");
    }
    assert_eq!(
        notices("remote_write: [{url: 'storage:9090'}]\n"),
        [(Severity::RefuseToRun, 1, "remote_write[0].url".to_owned())]
    );
}

#[test]
fn other_parts_of_prometheus_are_mentioned_once() {
    for (text, key) in [
        ("rule_files: [a]", "rule_files"),
        ("alerting: {alertmanagers: [{static_configs: [{targets: [a]}]}]}", "alerting"),
        ("storage: {tsdb: {out_of_order_time_window: 1h}}", "storage"),
        ("tracing: {endpoint: a}", "tracing"),
        ("remote_read: [{url: 'http://h'}]", "remote_read"),
        ("otlp: {promote_scope_metadata: true}", "otlp"),
        ("runtime: {gogc: 50}", "runtime"),
        ("global: {query_log_file: q}", "global.query_log_file"),
    ] {
        assert_eq!(notices(text), [(Severity::WarnOnce, 1, key.to_owned())], "{text}");
    }
}

#[test]
fn defaults_and_empty_sections_say_nothing() {
    let text = "
global:
  scrape_interval: 15s
  evaluation_interval: 15s
  scrape_native_histograms: true
  metric_name_validation_scheme: utf8
  metric_name_escaping_scheme: allow-utf-8
  scrape_protocols: [PrometheusProto, OpenMetricsText1.0.0, PrometheusText1.0.0]
rule_files: []
alerting: {alertmanagers: []}
storage: {}
remote_read: []
otlp:
runtime:
scrape_configs:
- job_name: a
  metric_name_validation_scheme: legacy
  metric_name_escaping_scheme: values
  fallback_scrape_protocol: PrometheusText0.0.4
  track_timestamps_staleness: true
  honor_labels: true
  always_scrape_classic_histograms: true
  convert_classic_histograms_to_nhcb: true
  consul_sd_configs: []
  static_configs: [{targets: [a], labels: {authorization: credentials_ref}}]
remote_write:
- url: http://h
  protobuf_message: io.prometheus.write.v2.Request
  send_exemplars: true
  send_native_histograms: true
  round_robin_dns: no
  queue_config: {retry_on_http_429: true}
";
    assert_eq!(notices(text), []);
}

#[test]
fn a_field_that_cannot_be_selected_is_mentioned() {
    let text = |field: &str| {
        format!(
            "scrape_configs:\n- job_name: a\n  kubernetes_sd_configs:\n  - role: pod\n    selectors: [{{role: pod, field: '{field}'}}]\n"
        )
    };
    assert_eq!(notices(&text("spec.nodeName=a,status.phase!=Failed")), []);
    let key = "scrape_configs[0].kubernetes_sd_configs[0].selectors".to_owned();
    assert_eq!(notices(&text("metadata.status=Running")), [(Severity::WarnOnce, 5, key)]);
}

#[test]
fn included_files_are_looked_at_too() {
    let files = Memory(
        [("/etc/p/a.yml", "scrape_configs:\n- job_name: a\n  dns_sd_configs: [{names: [x]}]\n")].into(),
    );
    let loaded = load_text_with("scrape_config_files: [a.yml]\n", &files).expect("valid");
    assert_eq!(loaded.notices.len(), 1);
    assert_eq!(&*loaded.notices[0].location.path, "/etc/p/a.yml");
}

#[test]
fn a_second_document_is_mentioned() {
    assert_eq!(notices("global: {}\n---\nglobal: [\n"), [(Severity::WarnOnce, 2, String::new())]);
}
