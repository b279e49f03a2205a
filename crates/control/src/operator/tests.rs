//! The same objects through prometheus-operator's own generator, whose results are in `testdata/operator`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use outrigger_config::file_access::FileAccess;
use outrigger_config::prometheus::{GlobalConfig, OperatorSettings, Source, load};
use outrigger_rt::resolver::{Resolver, ResolverOptions};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::assets::{Asset, AssetData, AssetKind, AssetName, Assets};
use super::resource::{Monitor, MonitorKind};
use super::validate::validate;
use super::yaml::Yaml;
use super::{Defaults, compile};

#[derive(Deserialize)]
struct Data {
    secrets: BTreeMap<String, BTreeMap<String, String>>,
    configmaps: BTreeMap<String, BTreeMap<String, String>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    settings: Value,
    objects: Vec<Value>,
    jobs: BTreeMap<String, Value>,
    rejected: BTreeMap<String, String>,
    /// Jobs that the operator generates and Prometheus refuses to load.
    unloadable: BTreeMap<String, String>,
    global: Map<String, Value>,
}

struct NoFiles;

impl FileAccess for NoFiles {
    fn read(&self, _: &Path) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }

    fn list(&self, _: &Path) -> std::io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn exists(&self, _: &Path) -> bool {
        false
    }
}

/// A `Prometheus` resource's fields in the spelling of the configuration file.
fn spelled(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let unset = |key: &str, value: &Value| matches!(key, "ca" | "cert") && *value == json!({});
            let set = map.iter().filter(|(key, value)| !unset(key, value));
            Value::Object(set.map(|(key, value)| (snake(key), spelled(value))).collect())
        }
        Value::Array(list) => list.iter().map(spelled).collect(),
        other => other.clone(),
    }
}

fn snake(key: &str) -> String {
    if key == "arbitraryFSAccessThroughSMs" {
        return "arbitrary_fs_access_through_sms".to_owned();
    }
    let mut text = String::new();
    for c in key.chars() {
        if c.is_uppercase() {
            text.push('_');
        }
        text.extend(c.to_lowercase());
    }
    text
}

fn settings_of(case: &Case) -> OperatorSettings {
    let mut section = spelled(&case.settings);
    let map = section.as_object_mut().unwrap();
    map.retain(|key, _| key != "resources");
    let text = json!({"outrigger": {"prometheus_operator": section}}).to_string();
    let source = Source {
        path: "settings",
        text: &text,
        directory: PathBuf::from("/"),
        environment: &|_| None,
        files: &NoFiles,
        agent_mode: false,
    };
    let loaded = load(&source).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    loaded.config.outrigger.prometheus_operator.unwrap()
}

fn to_json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Bool(value) => json!(value),
        Yaml::Int(value) => json!(value),
        Yaml::Unsigned(value) => json!(value),
        Yaml::Float(value) => json!(value),
        Yaml::Text(value) => json!(value),
        Yaml::List(list) => list.iter().map(to_json).collect(),
        Yaml::Map(map) => {
            Value::Object(map.0.iter().map(|(key, value)| (key.clone(), to_json(value))).collect())
        }
    }
}

/// Scalars as text; what is null, false by default or empty by default left out: what differs in writing only
/// becomes equal.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let default = |key: &str, value: &Value| match key {
                "metrics_path" => *value == json!(""),
                "node" => *value == json!(false),
                _ => value.is_null(),
            };
            let written = map.iter().filter(|(key, value)| !value.is_null() && !default(key, value));
            Value::Object(written.map(|(key, value)| (key.clone(), plain(value))).collect())
        }
        Value::Array(list) => list.iter().map(plain).collect(),
        Value::Number(number) => json!(number.as_f64().map_or(number.to_string(), |n| n.to_string())),
        Value::Bool(value) => json!(value.to_string()),
        Value::String(text) => match text.parse::<f64>() {
            Ok(number) if !text.is_empty() => json!(number.to_string()),
            _ => json!(text),
        },
        other @ Value::Null => other.clone(),
    }
}

/// The operator's entry without its rules for one shard, and with what its global section adds.
fn expected(entry: &Value, global: &Map<String, Value>) -> Value {
    let mut entry = entry.clone();
    let map = entry.as_object_mut().unwrap();
    let rules = map["relabel_configs"].as_array_mut().unwrap();
    let of_shards = |rule: &Value| rule.to_string().contains("__tmp_disable_sharding");
    if rules.last().is_some_and(of_shards) {
        let sharding = rules.split_off(rules.len() - 3);
        assert_eq!(sharding[1]["modulus"], json!(1), "{sharding:?}");
    }
    for key in [
        "scrape_interval",
        "scrape_timeout",
        "scrape_protocols",
        "body_size_limit",
        "sample_limit",
        "target_limit",
        "label_limit",
        "label_name_length_limit",
        "label_value_length_limit",
        "keep_dropped_targets",
    ] {
        let none = [json!(0), json!("0"), json!("")];
        if map.get(key).is_none_or(|value| none.contains(value)) {
            map.remove(key);
            if let Some(default) = global.get(key) {
                map.insert(key.to_owned(), default.clone());
            }
        }
    }
    plain(&entry)
}

/// Empty texts mean the same as nothing.
fn ours(entry: &super::Entry) -> Value {
    plain(&to_json(&Yaml::Map(entry.map.clone())))
}

fn data(name: &str) -> Data {
    let path = match std::env::var_os("OUTRIGGER_OPERATOR_CASES") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/operator").join(name),
    };
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

#[tokio::test]
async fn entries_and_rejections_are_those_of_prometheus_operator() {
    let data = data("cases.json");
    let known = |asset: &AssetName| {
        let all = match asset.kind {
            AssetKind::Secret => &data.secrets,
            AssetKind::ConfigMap => &data.configmaps,
        };
        Some(match all.get(&format!("{}/{}", asset.namespace, asset.name)) {
            None => Asset::Absent,
            Some(values) => Asset::Present(AssetData(
                values.iter().map(|(key, value)| (key.clone(), value.clone().into_bytes())).collect(),
            )),
        })
    };
    let resolver = Resolver::new(ResolverOptions::default());
    let mut tally = Tally::default();
    for (number, case) in data.cases.iter().enumerate() {
        let settings = settings_of(case);
        let defaults = Defaults::new(&settings, &GlobalConfig::default());
        let mut jobs: BTreeSet<&String> = case.jobs.keys().collect();
        for object in &case.objects {
            let kind = MonitorKind::ALL.into_iter().find(|kind| kind.as_str() == object["kind"]).unwrap();
            let monitor = Monitor::parse(kind, object.to_string().as_bytes()).unwrap();
            let metadata = monitor.metadata().clone();
            let name = format!("{kind}/{}/{}", metadata.namespace, metadata.name);
            let assets = Assets::new(&metadata.namespace, &known);
            match (compile(&monitor, &settings, &defaults, &assets), case.rejected.get(&name)) {
                (Err(_), Some(_)) => tally.refused += 1,
                (Err(error), None) => tally.problem(number, format!("{name} is refused here: {error:?}")),
                // Certificates are looked into when the entry is loaded.
                (Ok(entries), Some(error)) => {
                    let text = |entry: &super::Entry| entry.map.to_text();
                    match entries.iter().any(|entry| validate(entry, &text(entry), "", &resolver).is_err()) {
                        true => tally.refused += 1,
                        false => tally.problem(number, format!("{name} is refused there: {error}")),
                    }
                }
                (Ok(entries), None) => {
                    for entry in &entries {
                        jobs.remove(&entry.job);
                        let loaded = validate(entry, &entry.map.to_text(), "", &resolver).err();
                        tally.compare(number, case, entry, loaded);
                    }
                }
            }
        }
        for job in jobs {
            tally.problem(number, format!("{job} is only there"));
        }
    }
    for problem in tally.problems.iter().take(25) {
        println!("{problem}\n");
    }
    let Tally { equal, refused, unloadable, problems } = tally;
    println!(
        "{equal} entries are equal, {unloadable} are refused by both when loaded, {refused} objects are refused by \
         both, {} differ",
        problems.len()
    );
    assert!(problems.is_empty());
    assert!(equal > 50 && refused > 20 && unloadable > 0);
}

#[derive(Default)]
struct Tally {
    equal: usize,
    refused: usize,
    unloadable: usize,
    problems: Vec<String>,
}

impl Tally {
    fn problem(&mut self, case: usize, text: String) {
        self.problems.push(format!("case {case}: {text}"));
    }

    fn compare(&mut self, number: usize, case: &Case, entry: &super::Entry, loaded: Option<String>) {
        let job = &entry.job;
        let theirs = case.jobs.get(job).map(|theirs| expected(theirs, &case.global));
        let ours = ours(entry);
        if theirs.as_ref() != Some(&ours) {
            self.problem(number, format!("{job}\n{}", difference(theirs.as_ref(), &ours)));
            return;
        }
        match (loaded, case.unloadable.get(job)) {
            (None, None) => self.equal += 1,
            (Some(_), Some(_)) => self.unloadable += 1,
            (Some(error), None) => self.problem(number, format!("{job} cannot be loaded here: {error}")),
            (None, Some(error)) => self.problem(number, format!("{job} cannot be loaded there: {error}")),
        }
    }
}

fn difference(theirs: Option<&Value>, ours: &Value) -> String {
    let Some(Value::Object(theirs)) = theirs else { return "only here".to_owned() };
    let Value::Object(ours) = ours else { return String::new() };
    let keys: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let mut text = String::new();
    for key in keys {
        let (a, b) = (theirs.get(key), ours.get(key));
        if a != b {
            let show = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
            text.push_str(&format!("  {key}:\n    operator: {}\n    here:     {}\n", show(a), show(b)));
        }
    }
    text
}
