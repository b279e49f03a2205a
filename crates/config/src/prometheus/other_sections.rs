//! Sections of other parts of Prometheus: `runtime`, `storage`, `tracing`, `remote_read` and `otlp`. Checked as
//! Prometheus checks them and not kept.

use std::collections::HashSet;

use outrigger_model::http::HttpClientConfig;
use outrigger_model::names::NameValidation;

use super::files::Files;
use super::{http_client, remote_write};
use crate::yaml::walk::{Cursor, Section};

/// Checks those of the sections that are there.
pub(super) fn check(root: &Section<'_>, validation: NameValidation, files: &Files<'_>) {
    if let Some(value) = root.get("runtime") {
        runtime(&value);
    }
    if let Some(value) = root.get("storage") {
        storage(&value);
    }
    if let Some(value) = root.get("tracing") {
        tracing(&value, files);
    }
    if let Some(value) = root.get("remote_read") {
        remote_reads(&value, files);
    }
    if let Some(value) = root.get("otlp") {
        otlp(&value, validation);
    }
}

fn runtime(value: &Cursor<'_>) {
    let Some(section) = value.section() else { return };
    if let Some(percentage) = section.get("gogc") {
        percentage.integer();
    }
    if let Some(level) = section.get("log_level") {
        let known = ["", "debug", "info", "warn", "error"];
        if level.text().is_some_and(|text| !known.contains(&&*text.to_lowercase())) {
            level.error(format!("{} is not a log level", level.shown()), "write debug, info, warn or error");
        }
    }
    section.finish(&[]);
}

fn storage(value: &Cursor<'_>) {
    let Some(section) = value.section() else { return };
    if let Some(tsdb) = section.section("tsdb") {
        self::tsdb(&tsdb);
        tsdb.finish(&[
            ("path", "this is the flag --storage.tsdb.path of Prometheus"),
            ("retention_time", "write it as time below retention"),
            ("retention_size", "write it as size below retention"),
        ]);
    }
    if let Some(exemplars) = section.section("exemplars") {
        if let Some(count) = exemplars.get("max_exemplars") {
            count.integer();
        }
        exemplars.finish(&[]);
    }
    section.finish(&[]);
}

fn tsdb(section: &Section<'_>) {
    section.duration("out_of_order_time_window");
    // go-yaml derives this name from a field without one, so Prometheus takes it.
    if let Some(window) = section.get("outofordertimewindow") {
        window.integer();
    }
    if let Some(threshold) = section.get("stale_series_compaction_threshold") {
        threshold.float();
    }
    if let Some(encoding) = section.section("chunk_encoding") {
        if let Some(floats) = encoding.get("floats").filter(|value| value.text() != Some("")) {
            floats.one_of("chunk encoding", &[("xor", ()), ("xor2", ())]);
        }
        encoding.finish(&[]);
    }
    let Some(retention) = section.section("retention") else { return };
    retention.duration("time");
    if let Some(size) = retention.get("size")
        && size.size().is_some_and(|bytes| bytes < 0)
    {
        size.error(format!("{} is less than 0", size.shown()), "write 0 for no limit");
    }
    if let Some(percentage) = retention.get("percentage")
        && percentage.float().is_some_and(|value| !(0.0..=100.0).contains(&value) && !value.is_nan())
    {
        percentage.error(format!("{} is not between 0 and 100", percentage.shown()), "write 0 for no limit");
    }
    retention.finish(&[]);
}

fn tracing(value: &Cursor<'_>, files: &Files<'_>) {
    let Some(section) = value.section() else { return };
    if let Some(kind) = section.get("client_type").filter(|value| !value.is_absent()) {
        kind.one_of("tracing client type", &[("grpc", ()), ("http", ())]);
    }
    if section.owned_text("endpoint").is_empty() {
        section.error_at("endpoint", "endpoint is missing", "add endpoint, for example localhost:4317");
    }
    if let Some(fraction) = section.get("sampling_fraction") {
        fraction.float();
    }
    section.boolean("insecure");
    if let Some(tls) = section.get("tls_config") {
        http_client::tls(&tls, files);
    }
    if let Some(headers) = section.get("headers") {
        remote_write::headers(&headers);
    }
    if let Some(compression) = section.get("compression").filter(|value| value.text() != Some("")) {
        compression.one_of("compression", &[("gzip", ())]);
    }
    section.duration("timeout");
    section.finish(&[("url", "write endpoint")]);
}

fn remote_reads(value: &Cursor<'_>, files: &Files<'_>) {
    let mut names = HashSet::new();
    for entry in value.items() {
        if entry.is_null() {
            entry.error("the remote read configuration is empty", "remove the entry or fill it in");
            continue;
        }
        let Some(section) = entry.section() else { continue };
        let name = section.owned_text("name");
        if !name.is_empty() && !names.insert(name.clone()) {
            section.error_at(
                "name",
                format!("two remote read configurations are named {name:?}"),
                "rename one",
            );
        }
        remote_read(&section, files);
        section.finish(&[("remote_write", "write it at the top level")]);
    }
}

fn remote_read(section: &Section<'_>, files: &Files<'_>) {
    match section.get("url").filter(|value| !value.is_absent()) {
        Some(url) => drop(http_client::checked_url(&url)),
        None => {
            section.error_at("url", "url is missing", "add url, for example http://storage:9090/api/v1/read")
        }
    }
    section.duration("remote_timeout");
    section.unsigned("chunked_read_limit");
    if let Some(headers) = section.get("headers") {
        remote_write::headers(&headers);
    }
    section.boolean("read_recent");
    section.boolean("filter_external_labels");
    http_client::read(section, &HttpClientConfig::default(), files);
    let Some(matchers) = section.get("required_matchers") else { return };
    for (label, value) in matchers.entries() {
        if label.is_empty() {
            value.error("a label has an empty name", "name the label");
        }
        value.text();
    }
}

const OTLP_STRATEGIES: [(&str, bool); 4] = [
    ("UnderscoreEscapingWithSuffixes", false),
    ("UnderscoreEscapingWithoutSuffixes", false),
    ("NoUTF8EscapingWithSuffixes", true),
    ("NoTranslation", true),
];

fn otlp(value: &Cursor<'_>, validation: NameValidation) {
    let Some(section) = value.section() else { return };
    if let Some(strategy) = section.get("translation_strategy").filter(|value| value.text() != Some("")) {
        let utf8 = strategy.one_of("translation strategy", &OTLP_STRATEGIES);
        if utf8 == Some(true) && validation == NameValidation::Legacy {
            let message = format!("{} makes names that are not legacy names", strategy.shown());
            strategy.error(
                message,
                "set global.metric_name_validation_scheme to utf8, or choose another strategy",
            );
        }
    }
    for key in [
        "keep_identifying_resource_attributes",
        "convert_histograms_to_nhcb",
        "promote_scope_metadata",
        "label_name_underscore_sanitization",
        "label_name_preserve_multiple_underscores",
    ] {
        section.boolean(key);
    }
    let all = section.boolean("promote_all_resource_attributes").unwrap_or(false);
    let promoted = section.items("promote_resource_attributes");
    let ignored = section.items("ignore_resource_attributes");
    if all && !promoted.is_empty() {
        let message = "promote_all_resource_attributes and promote_resource_attributes are both set";
        section.error_at("promote_resource_attributes", message, "keep one of the two");
    }
    if !all && !ignored.is_empty() {
        let message = "ignore_resource_attributes is of use only with promote_all_resource_attributes";
        section.error_at("ignore_resource_attributes", message, "add promote_all_resource_attributes: true");
    }
    check_attributes(if all { &ignored } else { &promoted });
    section.finish(&[]);
}

/// Attributes must have a name, each once.
fn check_attributes(items: &[Cursor<'_>]) {
    let mut seen = HashSet::new();
    for item in items {
        match item.text().map(str::trim) {
            Some("") => item.error("the attribute has no name", "remove the entry"),
            Some(name) if !seen.insert(name) => {
                item.error(format!("{} stands twice", item.shown()), "keep one of the two");
            }
            _ => {}
        }
    }
}
