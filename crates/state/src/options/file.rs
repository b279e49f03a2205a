//! The configuration file: the options by the names that kube-state-metrics gives them in YAML. What it sets wins
//! over the flags; lists and maps take the place of the flags' and are not added to them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;

use super::flags::parse_ports;
use super::{Compat, LabelsAllowList, Options, go};

/// Largest configuration file in bytes.
const MAX_BYTES: usize = 4 << 20;

/// A configuration file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It is not YAML, or not a map of keys to values.
    #[error("{place}: {problem}")]
    Yaml {
        /// File, line and column.
        place: Place,
        /// What is wrong.
        problem: String,
    },
    /// The value of a key cannot be read.
    #[error("{place}: {key}: {problem}")]
    Value {
        /// File, line and column.
        place: Place,
        /// The key.
        key: String,
        /// What is wrong, and what to write.
        problem: String,
    },
    /// It is too large.
    #[error("{path}: more than {MAX_BYTES} bytes")]
    TooLarge {
        /// The file.
        path: String,
    },
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: String,
    /// Line and column, from 1.
    pub at: Option<(u64, u64)>,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some((line, column)) => write!(formatter, "{}:{line}:{column}", self.path),
            None => formatter.write_str(&self.path),
        }
    }
}

/// Something in a configuration file that is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileWarning {
    /// Where.
    pub place: Place,
    /// What, and what to do.
    pub message: String,
}

impl fmt::Display for FileWarning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.message)
    }
}

/// The top level, in the file's order.
struct Entries(Vec<(Spanned<String>, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;
        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("options by name, such as `resources:`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor)
    }
}

type Set = fn(&mut Options, &Value) -> Result<(), String>;

/// Key, the flag that sets the same, and how it is set.
static KEYS: &[(&str, &str, Set)] = &[
    ("annotations_allow_list", "metric-annotations-allowlist", |options, value| {
        fill(allow_list(value)?, &mut options.annotations_allow_list, LabelsAllowList::is_empty);
        Ok(())
    }),
    ("apiserver", "apiserver", |options, value| put(&mut options.apiserver, text(value))),
    ("auth_filter", "auth-filter", |options, value| put(&mut options.auth_filter, boolean(value))),
    ("auto-gomemlimit", "auto-gomemlimit", |options, value| {
        put(&mut options.auto_gomemlimit, boolean(value))
    }),
    ("auto-gomemlimit-ratio", "auto-gomemlimit-ratio", |options, value| {
        put(&mut options.auto_gomemlimit_ratio, value.as_f64().ok_or_else(|| wrong(value, "a number")))
    }),
    ("compat", "compat", |options, value| {
        let version = text(value)?;
        let known =
            Compat::parse(&version).ok_or("the only version whose output is known is \"2.20\" (in quotes)");
        put(&mut options.compat, known.map_err(str::to_owned))
    }),
    ("continue_without_config", "continue-without-config", |options, value| {
        put(&mut options.continue_without_config, boolean(value))
    }),
    (
        "continue_without_custom_resource_state_config_file",
        "continue-without-custom-resource-state-config-file",
        |options, value| put(&mut options.continue_without_custom_resource_config_file, boolean(value)),
    ),
    ("custom_resource_config", "custom-resource-state-config", |options, value| {
        if value.is_object() {
            return Err("write the configuration as text: put `|` after the colon".to_owned());
        }
        put(&mut options.custom_resource_config, text(value))
    }),
    ("custom_resource_state_config_file", "custom-resource-state-config-file", |options, value| {
        put(&mut options.custom_resource_config_file, text(value))
    }),
    ("custom_resources_only", "custom-resource-state-only", |options, value| {
        put(&mut options.custom_resources_only, boolean(value))
    }),
    ("enable_gzip_encoding", "enable-gzip-encoding", |options, value| {
        put(&mut options.enable_gzip_encoding, boolean(value))
    }),
    ("host", "host", |options, value| put(&mut options.host, text(value))),
    ("kubeconfig", "kubeconfig", |options, value| put(&mut options.kubeconfig, text(value))),
    ("labels_allow_list", "metric-labels-allowlist", |options, value| {
        fill(allow_list(value)?, &mut options.labels_allow_list, LabelsAllowList::is_empty);
        Ok(())
    }),
    ("metric_allowlist", "metric-allowlist", |options, value| {
        fill(names(value)?, &mut options.metric_allowlist, BTreeSet::is_empty);
        Ok(())
    }),
    ("metric_denylist", "metric-denylist", |options, value| {
        fill(names(value)?, &mut options.metric_denylist, BTreeSet::is_empty);
        Ok(())
    }),
    ("metric_opt_in_list", "metric-opt-in-list", |options, value| {
        fill(names(value)?, &mut options.metric_opt_in_list, BTreeSet::is_empty);
        Ok(())
    }),
    ("namespace", "pod-namespace", |options, value| put(&mut options.pod_namespace, text(value))),
    ("namespaces", "namespaces", |options, value| put(&mut options.namespaces, namespaces(value))),
    ("namespaces_denylist", "namespaces-denylist", |options, value| {
        put(&mut options.namespaces_denylist, namespaces(value))
    }),
    ("node", "node", |options, value| put(&mut options.node, text(value))),
    ("object_limit", "object-limit", |options, value| put(&mut options.object_limit, integer(value))),
    ("pod", "pod", |options, value| put(&mut options.pod, text(value))),
    ("port", "port", |options, value| put(&mut options.port, port(value))),
    ("resources", "resources", |options, value| {
        fill(names(value)?, &mut options.resources, BTreeSet::is_empty);
        Ok(())
    }),
    ("server_idle_timeout", "server-idle-timeout", |options, value| {
        put(&mut options.server_idle_timeout, duration(value))
    }),
    ("server_read_header_timeout", "server-read-header-timeout", |options, value| {
        put(&mut options.server_read_header_timeout, duration(value))
    }),
    ("server_read_timeout", "server-read-timeout", |options, value| {
        put(&mut options.server_read_timeout, duration(value))
    }),
    ("server_write_timeout", "server-write-timeout", |options, value| {
        put(&mut options.server_write_timeout, duration(value))
    }),
    ("shard", "shard", |options, value| {
        let number = i32::try_from(integer(value)?).map_err(|_| wrong(value, "a shard's number"));
        put(&mut options.shard, number)
    }),
    ("telemetry_host", "telemetry-host", |options, value| put(&mut options.telemetry_host, text(value))),
    ("telemetry_port", "telemetry-port", |options, value| put(&mut options.telemetry_port, port(value))),
    ("tls_config", "tls-config", |options, value| put(&mut options.tls_config, text(value))),
    ("total_shards", "total-shards", |options, value| put(&mut options.total_shards, integer(value))),
    ("track_unscheduled_pods", "track-unscheduled-pods", |options, value| {
        put(&mut options.track_unscheduled_pods, boolean(value))
    }),
    ("use_api_server_cache", "use-apiserver-cache", |options, value| {
        put(&mut options.use_api_server_cache, boolean(value))
    }),
    ("virtual_shard_ports", "virtual-shard-ports", |options, value| {
        let ports = match value {
            Value::Array(list) => {
                let texts = list.iter().map(text).collect::<Result<Vec<_>, _>>()?;
                parse_ports(&texts.join(","))
            }
            _ => parse_ports(&text(value)?),
        };
        put(&mut options.virtual_shard_ports, ports)
    }),
];

/// Still read, as the name before 2.17.
const DEPRECATED_CUSTOM_FILE: &str = "custom_resource_config_file";
/// Known there, and without a meaning in a file.
const WITHOUT_MEANING: [&str; 2] = ["config", "help"];

/// Puts the file's values over those of the flags.
pub(super) fn merge(
    flags: &Options,
    path: &str,
    content: &str,
) -> Result<(Options, Vec<FileWarning>), FileError> {
    if content.len() > MAX_BYTES {
        return Err(FileError::TooLarge { path: path.to_owned() });
    }
    let entries = serde_saphyr::from_str::<Option<Entries>>(content).map_err(|error| {
        let error = error.without_snippet();
        let at = error.location().map(|location| (location.line(), location.column()));
        let problem = error.to_string();
        // The place is said once.
        let problem = problem.split(" at line ").next().unwrap_or(&problem).to_owned();
        FileError::Yaml { place: Place { path: path.to_owned(), at }, problem }
    })?;
    let mut options = flags.clone();
    let mut warnings = Vec::new();
    let mut deprecated = None;
    let entries = entries.map_or_else(Vec::new, |entries| entries.0);
    for (key, value) in &entries {
        let at = Some((key.referenced.line(), key.referenced.column()));
        let place = Place { path: path.to_owned(), at };
        let failed = |problem| FileError::Value { place: place.clone(), key: key.value.clone(), problem };
        let known = KEYS.iter().find(|(name, _, _)| *name == key.value);
        match known {
            // As Go decodes it: a key without a value changes nothing.
            Some(_) if value.is_null() => {}
            Some((_, _, set)) => set(&mut options, value).map_err(failed)?,
            None if key.value == DEPRECATED_CUSTOM_FILE => {
                deprecated = Some(text(value).map_err(failed)?);
                let message =
                    "custom_resource_config_file is deprecated: write custom_resource_state_config_file";
                warnings.push(FileWarning { place, message: message.to_owned() });
            }
            None => warnings.push(FileWarning { place, message: unknown(&key.value) }),
        }
    }
    if let Some(file) = deprecated.filter(|_| options.custom_resource_config_file.is_empty()) {
        options.custom_resource_config_file = file;
    }
    Ok((options, warnings))
}

fn unknown(key: &str) -> String {
    if WITHOUT_MEANING.contains(&key) {
        return format!("{key} has no effect in a file");
    }
    let by_flag = KEYS.iter().find(|(_, flag, _)| *flag == key.replace('_', "-")).map(|(name, _, _)| *name);
    let near = by_flag.or_else(|| go::nearest(key, KEYS.iter().map(|(name, _, _)| *name)));
    match near {
        Some(near) => format!("unknown key {key} is passed over (did you mean {near}?)"),
        None => format!("unknown key {key} is passed over"),
    }
}

fn put<T>(into: &mut T, value: Result<T, String>) -> Result<(), String> {
    *into = value?;
    Ok(())
}

/// An empty list or map leaves the flag's in force.
fn fill<T>(value: T, into: &mut T, is_empty: impl Fn(&T) -> bool) {
    if !is_empty(&value) {
        *into = value;
    }
}

fn wrong(value: &Value, wanted: &str) -> String {
    let shown = value.to_string();
    let cut: String = shown.chars().take(60).collect();
    format!("{cut} is not {wanted}")
}

fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Null => Ok(String::new()),
        _ => Err(wrong(value, "text")),
    }
}

fn boolean(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(truth) => Ok(*truth),
        Value::String(word) if matches!(word.to_ascii_lowercase().as_str(), "yes" | "y" | "on") => Ok(true),
        Value::String(word) if matches!(word.to_ascii_lowercase().as_str(), "no" | "n" | "off") => Ok(false),
        _ => Err(wrong(value, "true or false")),
    }
}

fn integer(value: &Value) -> Result<i64, String> {
    value.as_i64().ok_or_else(|| wrong(value, "a whole number (without quotes)"))
}

fn port(value: &Value) -> Result<u16, String> {
    let port = value.as_u64().and_then(|port| u16::try_from(port).ok());
    port.ok_or_else(|| wrong(value, "a port (0 to 65535, without quotes)"))
}

fn duration(value: &Value) -> Result<std::time::Duration, String> {
    match value {
        Value::String(text) => go::parse_duration(text),
        _ => Err(wrong(value, "a duration such as 30s or 1m30s")),
    }
}

fn list(value: &Value) -> Result<Vec<String>, String> {
    let Value::Array(items) = value else { return Err(wrong(value, "a list")) };
    items.iter().map(text).collect()
}

/// Keys of a map, as kube-state-metrics has it, or a list.
fn names(value: &Value) -> Result<BTreeSet<String>, String> {
    let Value::Object(map) = value else {
        let names = list(value).map_err(|_| wrong(value, "a map such as `pods: {}`, or a list"))?;
        return Ok(names.into_iter().collect());
    };
    match map
        .iter()
        .find(|(_, value)| !(value.is_null() || value.as_object().is_some_and(|map| map.is_empty())))
    {
        Some((name, value)) => Err(format!("{name} has the value {value}: write `{name}: {{}}`")),
        None => Ok(map.keys().cloned().collect()),
    }
}

fn namespaces(value: &Value) -> Result<Vec<String>, String> {
    // An empty name stands for all namespaces, which is what an empty list means.
    Ok(list(value)?.into_iter().filter(|namespace| !namespace.is_empty()).collect())
}

fn allow_list(value: &Value) -> Result<LabelsAllowList, String> {
    let Value::Object(map) = value else {
        return Err(wrong(value, "a map of resources to lists of keys, such as `pods: [app]`"));
    };
    let mut lists = BTreeMap::new();
    for (resource, keys) in map {
        let keys = if keys.is_null() {
            Vec::new()
        } else {
            list(keys).map_err(|problem| format!("{resource}: {problem}"))?
        };
        lists.insert(resource.clone(), keys);
    }
    LabelsAllowList::checked(lists).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::options::CommandLine;
    use crate::options::flags::FLAGS;

    fn merged(flags: &Options, content: &str) -> (Options, Vec<String>) {
        let (options, warnings) = merge(flags, "options.yaml", content).expect(content);
        (options, warnings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_file_wins_over_the_flags() {
        let arguments =
            ["--port=1", "--resources=pods", "--metric-denylist=a", "--metric-labels-allowlist=pods=[a]"];
        let Ok(CommandLine::Run(flags)) = CommandLine::parse(arguments) else { panic!("valid") };
        let content = "
port: 9000
resources:
  nodes: {}
  jobs:
labels_allow_list:
  nodes: [team/*]
metric_denylist: {}
namespaces: [b, a]
server_write_timeout: 2m
auth_filter: yes
custom_resource_config: |
  kind: CustomResourceStateMetrics
virtual_shard_ports: [9001, 9002-9003]
host:
";
        let (options, warnings) = merged(&flags, content);
        assert_eq!(warnings, [""; 0]);
        assert_eq!(options.port, 9000);
        assert_eq!(options.resources.iter().collect::<Vec<_>>(), ["jobs", "nodes"], "in place of the flag's");
        assert_eq!(options.labels_allow_list.keys("pods"), [""; 0]);
        assert_eq!(options.labels_allow_list.keys("nodes"), ["team/*"]);
        assert_eq!(options.metric_denylist.len(), 1, "an empty map leaves the flag's");
        assert_eq!(options.namespaces, ["b", "a"]);
        assert_eq!(options.server_write_timeout, Duration::from_secs(120));
        assert!(options.auth_filter);
        assert_eq!(options.custom_resource_config, "kind: CustomResourceStateMetrics\n");
        assert_eq!(options.virtual_shard_ports, [9001, 9002, 9003]);
        assert_eq!(options.host, "::");
    }

    #[test]
    fn nothing_in_a_file_changes_nothing() {
        for content in ["", "# only a comment\n", "---\n", "{}"] {
            assert_eq!(merged(&Options::default(), content).0, Options::default(), "{content:?}");
        }
    }

    #[test]
    fn the_old_name_of_a_key_is_read_where_the_new_one_is_not() {
        let (options, warnings) = merged(&Options::default(), "custom_resource_config_file: /old.yaml\n");
        assert_eq!(options.custom_resource_config_file, "/old.yaml");
        assert!(
            warnings[0].contains("options.yaml:1:1: custom_resource_config_file is deprecated"),
            "{warnings:?}"
        );
        let both = "custom_resource_config_file: /old.yaml\ncustom_resource_state_config_file: /new.yaml\n";
        assert_eq!(merged(&Options::default(), both).0.custom_resource_config_file, "/new.yaml");
    }

    #[test]
    fn every_flag_has_a_key() {
        let keys: BTreeSet<&str> = KEYS.iter().map(|(_, flag, _)| *flag).collect();
        let klog = |name: &str| {
            name.contains('_')
                || matches!(name, "v" | "vmodule" | "alsologtostderr" | "logtostderr")
                || name.ends_with("threshold")
        };
        for flag in FLAGS.iter().filter(|flag| {
            !klog(flag.name) && !matches!(flag.name, "config" | "help" | "alsologtostderrthreshold")
        }) {
            assert!(keys.contains(flag.name), "{}", flag.name);
        }
    }

    #[test]
    fn unknown_keys_are_passed_over_and_said() {
        let (_, warnings) = merged(&Options::default(), "host: a\nmetric-allowlist: {}\nfoo: 1\nconfig: a\n");
        assert_eq!(
            warnings,
            [
                "options.yaml:2:1: unknown key metric-allowlist is passed over (did you mean metric_allowlist?)",
                "options.yaml:3:1: unknown key foo is passed over",
                "options.yaml:4:1: config has no effect in a file",
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_place() {
        let cases = [
            ("host: a\nport: http\n", "options.yaml:2:1: port: \"http\" is not a port"),
            ("port: \"80\"\n", "options.yaml:1:1: port: \"80\" is not a port (0 to 65535, without quotes)"),
            ("server_read_timeout: 60\n", "server_read_timeout: 60 is not a duration"),
            ("resources: pods\n", "resources: \"pods\" is not a map such as `pods: {}`"),
            ("resources:\n  pods: all\n", "resources: pods has the value \"all\": write `pods: {}`"),
            ("labels_allow_list:\n  pods: ['*a*']\n", "labels_allow_list: invalid format, only one wildcard"),
            ("labels_allow_list: pods=[a]\n", "is not a map of resources to lists of keys"),
            ("custom_resource_config:\n  kind: a\n", "put `|` after the colon"),
            ("- pods\n", "options.yaml:1:"),
            ("port: 1\nport: 2\n", "options.yaml:2:"),
            ("host: [\n", "options.yaml:"),
            ("compat: 2.19\n", "compat: the only version"),
        ];
        for (content, message) in cases {
            let error = merge(&Options::default(), "options.yaml", content).expect_err(content).to_string();
            assert!(error.contains(message), "{content:?}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
