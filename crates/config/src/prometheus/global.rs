//! `global`: defaults for the other sections.

use std::path::PathBuf;
use std::time::Duration;

use outrigger_model::labels::Labels;
use outrigger_model::names::NameValidation;

use super::Loader;
use super::files::Files;
use super::scrape_config::{self, EscapingScheme, ScrapeProtocol};
use crate::yaml::walk::{Cursor, Section};

/// `global`. What a scrape configuration does not set itself is already filled in there.
#[derive(Debug, Clone, PartialEq)]
pub struct GlobalConfig {
    /// `scrape_interval`, 1 minute.
    pub scrape_interval: Duration,
    /// `scrape_timeout`, 10 seconds but at most the interval.
    pub scrape_timeout: Duration,
    /// `scrape_protocols`, when set.
    pub scrape_protocols: Option<Vec<ScrapeProtocol>>,
    /// `evaluation_interval`, 1 minute.
    pub evaluation_interval: Duration,
    /// `rule_query_offset`, 0.
    pub rule_query_offset: Duration,
    /// `external_labels`, environment variables already expanded.
    pub external_labels: Labels,
    /// `scrape_failure_log_file`.
    pub scrape_failure_log_file: Option<PathBuf>,
    /// `body_size_limit` in bytes; 0 is none.
    pub body_size_limit: u64,
    /// `sample_limit`; 0 is none.
    pub sample_limit: u64,
    /// `target_limit`; 0 is none.
    pub target_limit: u64,
    /// `label_limit`; 0 is none.
    pub label_limit: u64,
    /// `label_name_length_limit` in bytes; 0 is none.
    pub label_name_length_limit: u64,
    /// `label_value_length_limit` in bytes; 0 is none.
    pub label_value_length_limit: u64,
    /// `keep_dropped_targets`; 0 is no limit.
    pub keep_dropped_targets: u64,
    /// `metric_name_validation_scheme`, `utf8`.
    pub metric_name_validation: NameValidation,
    /// `metric_name_escaping_scheme`, when set.
    pub metric_name_escaping: Option<EscapingScheme>,
    /// `scrape_native_histograms`, false.
    pub scrape_native_histograms: bool,
    /// `convert_classic_histograms_to_nhcb`, false.
    pub convert_classic_histograms_to_nhcb: bool,
    /// `always_scrape_classic_histograms`, false.
    pub always_scrape_classic_histograms: bool,
    /// `extra_scrape_metrics`, false.
    pub extra_scrape_metrics: bool,
}

impl Default for GlobalConfig {
    fn default() -> Self {
        Self {
            scrape_interval: Duration::from_secs(60),
            scrape_timeout: Duration::from_secs(10),
            scrape_protocols: None,
            evaluation_interval: Duration::from_secs(60),
            rule_query_offset: Duration::ZERO,
            external_labels: Labels::empty(),
            scrape_failure_log_file: None,
            body_size_limit: 0,
            sample_limit: 0,
            target_limit: 0,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            keep_dropped_targets: 0,
            metric_name_validation: NameValidation::Utf8,
            metric_name_escaping: None,
            scrape_native_histograms: false,
            convert_classic_histograms_to_nhcb: false,
            always_scrape_classic_histograms: false,
            extra_scrape_metrics: false,
        }
    }
}

impl GlobalConfig {
    /// Reads `global`. The escaping scheme is kept aside: it is only checked where a scrape configuration uses it.
    pub(super) fn read(value: Option<&Cursor<'_>>, files: &Files<'_>, loader: &Loader<'_>) -> Self {
        let default = Self::default();
        let Some(section) = value.and_then(Cursor::section) else { return default };
        let validation = section.get("metric_name_validation_scheme");
        let validation =
            validation.and_then(|value| scrape_config::name_validation(&value)).unwrap_or_default();
        let limit = |name| section.unsigned(name).unwrap_or(0);
        let flag = |name| section.boolean(name).unwrap_or(false);
        let (scrape_interval, scrape_timeout) = intervals(&section, &default);
        let protocols = section.get("scrape_protocols").filter(|value| !value.is_null());
        let config = Self {
            scrape_interval,
            scrape_timeout,
            scrape_protocols: protocols.map(|value| scrape_config::scrape_protocols(&value)),
            evaluation_interval: not_zero(
                section.duration("evaluation_interval"),
                default.evaluation_interval,
            ),
            rule_query_offset: section.duration("rule_query_offset").unwrap_or(Duration::ZERO),
            external_labels: external_labels(&section, validation, loader),
            scrape_failure_log_file: section
                .get("scrape_failure_log_file")
                .and_then(|value| files.output(&value)),
            body_size_limit: scrape_config::body_size_limit(&section).unwrap_or(0),
            sample_limit: limit("sample_limit"),
            target_limit: limit("target_limit"),
            label_limit: limit("label_limit"),
            label_name_length_limit: limit("label_name_length_limit"),
            label_value_length_limit: limit("label_value_length_limit"),
            keep_dropped_targets: limit("keep_dropped_targets"),
            metric_name_validation: validation,
            metric_name_escaping: None,
            scrape_native_histograms: flag("scrape_native_histograms"),
            convert_classic_histograms_to_nhcb: flag("convert_classic_histograms_to_nhcb"),
            always_scrape_classic_histograms: flag("always_scrape_classic_histograms"),
            extra_scrape_metrics: flag("extra_scrape_metrics"),
        };
        other_keys(&section);
        section.finish(&[
            ("labels", "write external_labels"),
            ("scrape_classic_histograms", "write always_scrape_classic_histograms"),
            ("job_name", "write it in an entry of scrape_configs"),
            ("rule_files", "write it at the top level"),
        ]);
        config
    }
}

/// Keys of parts that Outrigger does not have; their values are checked all the same.
fn other_keys(section: &Section<'_>) {
    section.text("metric_name_escaping_scheme");
    section.text("query_log_file");
    section.unsigned("query_max_series");
    section.unsigned("query_max_samples_read");
    section.duration("query_max_duration");
}

pub(super) fn not_zero(value: Option<Duration>, default: Duration) -> Duration {
    value.filter(|value| !value.is_zero()).unwrap_or(default)
}

fn intervals(section: &Section<'_>, default: &GlobalConfig) -> (Duration, Duration) {
    let interval = not_zero(section.duration("scrape_interval"), default.scrape_interval);
    let timeout = section.duration("scrape_timeout").unwrap_or(Duration::ZERO);
    if timeout > interval {
        scrape_config::timeout_error(section, timeout, interval);
        return (interval, interval);
    }
    (interval, not_zero(Some(timeout), default.scrape_timeout.min(interval)))
}

fn external_labels(section: &Section<'_>, validation: NameValidation, loader: &Loader<'_>) -> Labels {
    let Some(value) = section.get("external_labels") else { return Labels::empty() };
    let mut pairs = Vec::new();
    for (name, value) in value.entries() {
        if !validation.is_label_name(name) {
            value.error("this is not a label name", "use letters, digits and _, not a digit first");
        }
        let Some(text) = value.text() else { continue };
        let mut variable = |name: &str| match (loader.environment)(name) {
            Some(text) if !text.is_empty() => text,
            _ => {
                loader.warn(
                    &value,
                    format!("the environment variable {name:?} is not set; it expands to nothing"),
                );
                String::new()
            }
        };
        pairs.push((name, expand(text, &mut variable)));
    }
    Labels::from_pairs(pairs)
}

/// Go's `os.Expand`: `$NAME` and `${NAME}`; `$$` is one dollar.
pub(super) fn expand(text: &str, variable: &mut dyn FnMut(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        let behind = &rest[dollar + 1..];
        let (name, used) = variable_name(behind);
        match (name, used) {
            ("$", _) => out.push('$'),
            // Not followed by a name: an ordinary dollar. Broken braces are swallowed, as Go does.
            ("", 0) => out.push('$'),
            ("", _) => {}
            (name, _) => out.push_str(&variable(name)),
        }
        rest = &behind[used..];
    }
    out.push_str(rest);
    out
}

/// The name that follows a dollar and the bytes it takes.
fn variable_name(text: &str) -> (&str, usize) {
    let special = |byte: u8| matches!(byte, b'*' | b'#' | b'$' | b'@' | b'!' | b'?' | b'-' | b'0'..=b'9');
    let bytes = text.as_bytes();
    match bytes.first() {
        None => ("", 0),
        Some(b'{') => match text.find('}') {
            Some(1) => ("", 2),
            Some(end) => (&text[1..end], end + 1),
            None => ("", 1),
        },
        Some(byte) if special(*byte) => (&text[..1], 1),
        Some(_) => {
            let length =
                bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
            (&text[..length], length)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_as_go_does() {
        let mut variable = |name: &str| match name {
            "A" => "1".to_owned(),
            "a b" => "spaced".to_owned(),
            _ => format!("<{name}>"),
        };
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("$A", "1"),
            ("${A}", "1"),
            ("x${A}y$A.z", "x1y1.z"),
            ("$$A", "$A"),
            ("$$$$", "$$"),
            ("$", "$"),
            ("a$ b", "a$ b"),
            ("${}", ""),
            ("${A", "A"),
            ("$1x", "<1>x"),
            ("${a b}", "spaced"),
            ("${$}", "$"),
            ("$_x9-", "<_x9>-"),
        ] {
            assert_eq!(expand(text, &mut variable), expected, "{text}");
        }
    }
}
