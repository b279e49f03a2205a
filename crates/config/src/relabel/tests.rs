use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use outrigger_model::labels::Labels;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::*;
use crate::file_access::FileAccess;
use crate::prometheus::{Source, load};

#[derive(Deserialize)]
struct Row {
    rules: Vec<Map<String, Value>>,
    #[serde(default)]
    legacy: bool,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    error: String,
    #[serde(default)]
    kept: bool,
    #[serde(default)]
    output: BTreeMap<String, String>,
}

/// A null text is the empty text, a null list or number is an absent one.
fn raw(rule: &Map<String, Value>) -> RelabelRaw {
    let text = |key: &str| rule.get(key).map(|value| value.as_str().unwrap_or_default().to_owned());
    let names =
        |list: &Vec<Value>| list.iter().map(|name| name.as_str().unwrap_or_default().to_owned()).collect();
    RelabelRaw {
        source_labels: rule.get("source_labels").and_then(Value::as_array).map(names),
        separator: text("separator"),
        target_label: text("target_label"),
        regex: text("regex"),
        modulus: rule.get("modulus").and_then(Value::as_u64),
        replacement: text("replacement"),
        action: text("action"),
    }
}

fn compile(row: &Row) -> Result<Vec<RelabelRule>, RelabelError> {
    let validation = if row.legacy { NameValidation::Legacy } else { NameValidation::Utf8 };
    row.rules.iter().map(|rule| RelabelRule::new(raw(rule), validation)).collect()
}

fn difference(row: &Row) -> Option<String> {
    let rules = match compile(row) {
        Err(error) => {
            // Prometheus words an action that is "" and one that is null differently; here both are "".
            let same = error.message == row.error
                || (error.message == "relabel action cannot be empty" && row.error.ends_with("\"\""));
            return (!same).then(|| format!("{:?}: {error}, Prometheus: {:?}", row.rules, row.error));
        }
        Ok(_) if !row.error.is_empty() => {
            return Some(format!("{:?}: accepted, Prometheus: {}", row.rules, row.error));
        }
        Ok(rules) => rules,
    };
    let mut labels = LabelsBuilder::from_labels(&Labels::from_pairs(&row.labels));
    let kept = apply(&rules, &mut labels);
    let output: BTreeMap<String, String> =
        labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let same = kept == row.kept && (!kept || output == row.output);
    (!same).then(|| {
        format!(
            "{:?} on {:?}: {kept} {output:?}, Prometheus: {} {:?}",
            row.rules, row.labels, row.kept, row.output
        )
    })
}

#[test]
fn rules_do_what_they_do_in_prometheus() {
    let mut text = include_str!("../../testdata/relabel/cases.jsonl").to_owned();
    if let Ok(more) = std::env::var("OUTRIGGER_RELABEL_CASES") {
        text.push_str(&std::fs::read_to_string(more).unwrap());
    }
    let rows: Vec<Row> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows.len() > 300);
    let differences: Vec<String> = rows.iter().filter_map(difference).collect();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn letter_case_is_that_of_go() {
    let char_of = |hex: &str| char::from_u32(u32::from_str_radix(hex, 16).unwrap()).unwrap();
    let mut exceptions = BTreeMap::new();
    for line in include_str!("../../testdata/relabel/letter_case.tsv").lines() {
        let fields: Vec<char> = line.split('\t').map(char_of).collect();
        exceptions.insert(fields[0], (fields[1], fields[2]));
    }
    assert!(exceptions.len() > 90);
    for c in '\0'..=char::MAX {
        let (upper, lower) = match exceptions.get(&c) {
            Some((upper, lower)) => (upper.to_string(), lower.to_string()),
            None => (c.to_uppercase().to_string(), c.to_lowercase().to_string()),
        };
        assert_eq!(letter_case::upper(&c.to_string()), upper, "{c:?}");
        assert_eq!(letter_case::lower(&c.to_string()), lower, "{c:?}");
    }
}

#[test]
fn an_error_names_the_key_and_a_fix() {
    for (rule, key) in [
        (r#"{"action": "kept"}"#, "action"),
        (r#"{"target_label": "x", "regex": "a("}"#, "regex"),
        (r#"{"action": "hashmod", "target_label": "x"}"#, "modulus"),
        (r#"{"source_labels": ["a"]}"#, "target_label"),
        (r#"{"target_label": "x", "source_labels": ["a", ""]}"#, "source_labels"),
        (r#"{"action": "labelmap", "replacement": ""}"#, "replacement"),
        (r#"{"action": "keepequal", "target_label": "x", "separator": ","}"#, "separator"),
        (r#"{"action": "labeldrop", "source_labels": ["a"]}"#, "source_labels"),
    ] {
        let error =
            RelabelRule::new(raw(&serde_json::from_str(rule).unwrap()), NameValidation::Utf8).unwrap_err();
        assert_eq!(error.key, key, "{rule}");
        assert!(!error.fix.is_empty());
    }
}

#[test]
fn a_rule_that_drops_leaves_the_labels_as_it_found_them() {
    let rule = |raw| RelabelRule::new(raw, NameValidation::Utf8).unwrap();
    let text = |text: &str| Some(text.to_owned());
    let rules = [
        rule(RelabelRaw { target_label: text("first"), replacement: text("done"), ..RelabelRaw::default() }),
        rule(RelabelRaw { action: text("drop"), ..RelabelRaw::default() }),
        rule(RelabelRaw { target_label: text("second"), replacement: text("done"), ..RelabelRaw::default() }),
    ];
    let mut labels = LabelsBuilder::new();
    assert!(!apply(&rules, &mut labels));
    assert_eq!(labels.build(), Labels::from_pairs([("first", "done")]));
}

#[test]
fn of_two_labels_mapped_to_one_name_the_later_name_wins_and_an_empty_name_is_left_out() {
    let map = |regex: &str, replacement: &str| {
        let raw = RelabelRaw {
            action: Some("labelmap".to_owned()),
            regex: Some(regex.to_owned()),
            replacement: Some(replacement.to_owned()),
            ..RelabelRaw::default()
        };
        let rule = RelabelRule::new(raw, NameValidation::Utf8).unwrap();
        let mut labels = LabelsBuilder::from_labels(&Labels::from_pairs([("a", "1"), ("b", "2")]));
        assert!(apply(&[rule], &mut labels));
        labels.build()
    };
    assert_eq!(map("a|b", "x").get("x"), Some("2"));
    assert_eq!(map("(x)|a|b", "$1"), Labels::from_pairs([("a", "1"), ("b", "2")]));
}

struct NoFiles;

impl FileAccess for NoFiles {
    fn read(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn exists(&self, _: &Path) -> bool {
        false
    }
}

/// Labels after relabelling as promtool prints them: none where dropped, `__meta_` labels left out, `instance` filled in.
fn after_relabelling(
    rules: &[RelabelRule],
    discovered: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut labels = LabelsBuilder::from_labels(&Labels::from_pairs(discovered));
    if !apply(rules, &mut labels) {
        return BTreeMap::new();
    }
    labels.retain(|name, _| !name.starts_with("__meta_"));
    let address = labels.get("__address__").to_owned();
    labels.set_default("instance", &address);
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn the_rules_of_whole_configurations_give_the_labels_that_promtool_prints() {
    #[derive(Deserialize)]
    struct Target {
        #[serde(rename = "discoveredLabels")]
        discovered: BTreeMap<String, String>,
        #[serde(default)]
        labels: Option<BTreeMap<String, String>>,
    }

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/target-relabel");
    let mut checked = 0;
    for case in
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
    {
        let text = std::fs::read_to_string(case.join("prometheus.yaml")).unwrap();
        let source = Source {
            path: "prometheus.yaml",
            text: &text,
            directory: case.clone(),
            environment: &|_| None,
            files: &NoFiles,
            agent_mode: false,
        };
        let config = load(&source).unwrap().config;
        let golden = std::fs::read_to_string(case.join("golden.json")).unwrap();
        for target in serde_json::from_str::<Vec<Target>>(&golden).unwrap() {
            let job = &target.discovered["job"];
            let job = config.scrape_configs.iter().find(|config| *config.job_name == **job).unwrap();
            let labels = after_relabelling(&job.relabel, &target.discovered);
            assert_eq!(
                labels,
                target.labels.unwrap_or_default(),
                "{}: {:?}",
                case.display(),
                target.discovered
            );
            checked += 1;
        }
    }
    assert!(checked > 25, "{checked}");
}

proptest! {
    #[test]
    fn shards_of_hashmod_are_a_partition(value in ".{0,20}", shards in 1u64..20) {
        let kept = (0..shards)
            .filter(|shard| {
                let mut labels = LabelsBuilder::new();
                labels.set("a", &value);
                let rules = [
                    RelabelRule::new(
                        RelabelRaw {
                            action: Some("hashmod".to_owned()),
                            source_labels: Some(vec!["a".to_owned()]),
                            target_label: Some("__shard".to_owned()),
                            modulus: Some(shards),
                            ..RelabelRaw::default()
                        },
                        NameValidation::Utf8,
                    )
                    .unwrap(),
                    RelabelRule::new(
                        RelabelRaw {
                            action: Some("keep".to_owned()),
                            source_labels: Some(vec!["__shard".to_owned()]),
                            regex: Some(shard.to_string()),
                            ..RelabelRaw::default()
                        },
                        NameValidation::Utf8,
                    )
                    .unwrap(),
                ];
                apply(&rules, &mut labels)
            })
            .count();
        prop_assert_eq!(kept, 1);
    }
}
