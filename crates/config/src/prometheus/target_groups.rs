//! Groups of targets: in `static_configs`, in target files and in the answers of HTTP discovery.

use std::collections::BTreeMap;

use outrigger_model::labels::Labels;
use outrigger_model::target::TargetGroup;
use serde::Deserialize;

use crate::error::{ConfigError, ConfigErrors, Location};
use crate::yaml;
use crate::yaml::walk::{Cursor, Report};

/// Label of every target from a file: the file's path.
const FILE_PATH_LABEL: &str = "__meta_filepath";

/// Parses a target file by its suffix, as Prometheus' file discovery does: every group gets the label
/// `__meta_filepath` and the source `<path>:<index>`.
///
/// # Errors
/// Everything that is wrong, with line and column.
pub fn parse_target_file(path: &str, text: &str) -> Result<Vec<TargetGroup>, ConfigErrors> {
    let json = path.rsplit_once('.').is_some_and(|(_, suffix)| suffix.eq_ignore_ascii_case("json"));
    let mut groups = if json { parse_json_targets(path, text)? } else { parse_yaml(path, text)? };
    for group in &mut groups {
        let labels = group.labels.iter().chain([(FILE_PATH_LABEL, path)]);
        group.labels = Labels::from_pairs(labels.collect::<Vec<_>>());
    }
    Ok(groups)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonGroup {
    targets: Option<Vec<Option<String>>>,
    labels: Option<BTreeMap<String, Option<String>>>,
}

/// Parses a JSON list of groups, as HTTP discovery answers it; the source is `<path>:<index>`.
///
/// # Errors
/// What is wrong, with line and column.
pub fn parse_json_targets(path: &str, text: &str) -> Result<Vec<TargetGroup>, ConfigErrors> {
    let at = |line, column, key: String, message: String, fix: &str| {
        let location = Location { path: path.into(), line, column };
        ConfigErrors(vec![ConfigError { location, key, message, fix: fix.to_owned() }])
    };
    if text.len() > yaml::MAX_BYTES {
        let message =
            format!("the document has {} bytes, more than the limit of {}", text.len(), yaml::MAX_BYTES);
        return Err(at(0, 0, String::new(), message, "split it"));
    }
    let parsed: Option<Vec<Option<JsonGroup>>> = serde_json::from_str(text).map_err(|error| {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let message = error.to_string();
        // The position is part of the location already.
        let message = message.split(" at line ").next().unwrap_or_default().to_owned();
        let fix = "write a list of groups such as [{\"targets\": [\"host:9100\"], \"labels\": {\"env\": \"prod\"}}]";
        at(number(error.line()), number(error.column()), String::new(), message, fix)
    })?;
    let mut groups = Vec::new();
    for (index, group) in parsed.unwrap_or_default().into_iter().enumerate() {
        let Some(group) = group else {
            return Err(at(0, 0, format!("[{index}]"), "the group is null".to_owned(), "remove the entry"));
        };
        let labels = group.labels.unwrap_or_default();
        if labels.contains_key("") {
            let key = format!("[{index}].labels");
            return Err(at(0, 0, key, "a label has an empty name".to_owned(), "name the label"));
        }
        let pairs = labels.into_iter().map(|(name, value)| (name, value.unwrap_or_default()));
        let address =
            |target: Option<String>| Labels::from_pairs([("__address__", target.unwrap_or_default())]);
        groups.push(TargetGroup {
            source: format!("{path}:{index}").into(),
            labels: Labels::from_pairs(pairs),
            targets: group.targets.unwrap_or_default().into_iter().map(address).collect(),
        });
    }
    Ok(groups)
}

fn parse_yaml(path: &str, text: &str) -> Result<Vec<TargetGroup>, ConfigErrors> {
    let report = Report::new(path);
    let mut groups = Vec::new();
    if let Some(root) = yaml::walk::parse_into(text, &report).and_then(|document| document.root) {
        for (index, entry) in Cursor::root(&report, &root).items().iter().enumerate() {
            if entry.is_null() {
                entry.error("the group is empty", "remove the entry or fill it in");
            }
            groups.extend(
                read(entry, index, false)
                    .map(|group| TargetGroup { source: format!("{path}:{index}").into(), ..group }),
            );
        }
    }
    if report.is_clean() { Ok(groups) } else { Err(ConfigErrors(report.into_errors())) }
}

/// Reads one group; its source is its index.
pub(super) fn read(value: &Cursor<'_>, index: usize, check_addresses: bool) -> Option<TargetGroup> {
    let section = value.section()?;
    let mut targets = Vec::new();
    for target in section.items("targets") {
        let Some(address) = target.text() else { continue };
        if check_addresses && address.contains('/') {
            target.error(format!("{} is not a host name", target.shown()), address_fix(address));
        }
        targets.push(Labels::from_pairs([("__address__", address)]));
    }
    let labels = section.get("labels").map(|value| labels(&value)).unwrap_or_default();
    section.finish(&[("target", "write targets, which is a list")]);
    Some(TargetGroup { source: index.to_string().into(), labels, targets })
}

/// What to write instead of a URL.
fn address_fix(address: &str) -> String {
    let after_scheme = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = after_scheme.split('/').next().unwrap_or("");
    match host {
        "" => "write host:port".to_owned(),
        _ if host.contains('@') => "write host:port, and basic_auth for the credentials".to_owned(),
        host => format!("write {host}, with scheme and metrics_path as keys of the scrape configuration"),
    }
}

fn labels(value: &Cursor<'_>) -> Labels {
    let mut pairs = Vec::new();
    for (name, value) in value.entries() {
        if name.is_empty() {
            value.error("a label has an empty name", "name the label");
        }
        pairs.extend(value.text().map(|text| (name, text)));
    }
    Labels::from_pairs(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_target_files_as_prometheus_does() {
        let yaml = "- targets: ['a:1', b]\n  labels: {env: prod, n: 1.10}\n- targets: []\n";
        let json = r#"[{"targets": ["a:1", "b"], "labels": {"env": "prod", "n": "1.10"}}, {"targets": []}]"#;
        for (path, text) in [("/t/x.yml", yaml), ("/t/x.JSON", json)] {
            let groups = parse_target_file(path, text).expect(path);
            assert_eq!(groups.len(), 2, "{path}");
            let expected = [("env", "prod"), ("n", "1.10"), ("__meta_filepath", path)];
            assert_eq!(groups[0].labels, Labels::from_pairs(expected), "{path}");
            assert_eq!(groups[0].targets[0].get("__address__"), Some("a:1"), "{path}");
            assert_eq!(&*groups[1].source, format!("{path}:1"), "{path}");
            assert_eq!(groups[1].labels, Labels::from_pairs([("__meta_filepath", path)]), "{path}");
        }
        assert_eq!(parse_target_file("e.yml", ""), Ok(Vec::new()));
        assert_eq!(parse_target_file("e.json", "null"), Ok(Vec::new()));
    }

    #[test]
    fn refuses_bad_target_files_with_a_place() {
        for (path, text, line) in [
            ("x.yml", "- targets: [a]\n- \n", 2),
            ("x.yml", "- targets: [a]\n  label: {}\n", 2),
            ("x.yml", "targets: [a]\n", 1),
            ("x.yml", "- targets: a\n", 1),
            ("x.yml", "- targets:\n  - {}\n", 2),
            ("x.json", "[\n{\"targets\": [1]}]", 2),
            ("x.json", "[{\"targets\": [],\n \"extra\": 1}]", 2),
            ("x.json", "[null]", 0),
            ("x.json", "", 1),
        ] {
            let errors = parse_target_file(path, text).expect_err(text);
            assert_eq!(errors.0[0].location.line, line, "{text}: {errors}");
        }
    }
}
