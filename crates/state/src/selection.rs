//! Which resources, families, labels, objects and namespaces the options select.

mod ecmascript;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use crate::labels::KeyFilter;
use crate::options::{LabelsAllowList, Options};
use crate::shard::Shard;

/// Steps that an expression may go back and try again, before it counts as not matching.
const BACKTRACK_LIMIT: usize = 1_000_000;

/// An expression that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{option}: {pattern:?} is not a regular expression{}: {problem}", dialect(.option))]
pub struct SelectionError {
    /// The option.
    pub option: &'static str,
    /// The expression.
    pub pattern: String,
    /// What is wrong.
    pub problem: String,
}

fn dialect(option: &str) -> &'static str {
    if option == "--metric-opt-in-list" { " (RE2)" } else { " (ECMAScript)" }
}

/// What is selected.
#[derive(Debug, Clone)]
pub struct Selection {
    /// Built-in resources by name, sorted.
    pub resources: Vec<String>,
    /// Which families.
    pub families: FamilyFilter,
    /// Keys of labels, by resource.
    labels: BTreeMap<String, KeyFilter>,
    /// Keys of annotations, by resource.
    annotations: BTreeMap<String, KeyFilter>,
    /// Which objects.
    pub scope: WatchScope,
    /// This process's part of them; `None` without sharding, and with automatic sharding, which is not known here.
    pub shard: Option<Shard>,
    /// The time zone of schedules that name none: UTC until the process says what its own is.
    pub local_time_zone: TimeZone,
}

impl Selection {
    /// What these options select.
    ///
    /// # Errors
    /// An expression that cannot be compiled.
    pub fn new(options: &Options) -> Result<Self, SelectionError> {
        let resources = options.enabled_resources();
        let allowed = |list: &LabelsAllowList| {
            let keys = resources
                .iter()
                .map(|resource| (resource.clone(), KeyFilter::new(list.keys(resource).to_vec())));
            keys.filter(|(_, keys)| !keys.is_empty()).collect()
        };
        Ok(Self {
            families: FamilyFilter::new(options)?,
            labels: allowed(&options.labels_allow_list),
            annotations: allowed(&options.annotations_allow_list),
            scope: WatchScope::new(options),
            shard: if options.auto_sharding() { None } else { static_shard(options) },
            local_time_zone: TimeZone::UTC,
            resources,
        })
    }

    /// Whether the family `name` is on.
    pub fn wants_family(&self, name: &str, opt_in: bool) -> bool {
        self.families.wants(name, opt_in)
    }

    /// The keys of labels that `resource` shows.
    pub fn labels(&self, resource: &str) -> &KeyFilter {
        self.labels.get(resource).unwrap_or(KeyFilter::NONE)
    }

    /// The keys of annotations that `resource` shows.
    pub fn annotations(&self, resource: &str) -> &KeyFilter {
        self.annotations.get(resource).unwrap_or(KeyFilter::NONE)
    }
}

impl Default for Selection {
    /// What kube-state-metrics selects without any flag.
    fn default() -> Self {
        Self::new(&Options::default()).expect("there is no expression in it")
    }
}

/// What `--shard` and `--total-shards` say; `None` without sharding.
fn static_shard(options: &Options) -> Option<Shard> {
    let index = u32::try_from(options.shard).ok()?;
    let total = u32::try_from(options.total_shards).ok().filter(|total| *total > 1)?;
    Some(Shard { index, total })
}

/// Which families are on, by their names (kube-state-metrics `pkg/allowdenylist`, `pkg/optin`).
#[derive(Debug, Clone)]
pub struct FamilyFilter {
    /// Whether `names` are those allowed; else they are those denied.
    allow: bool,
    names: Vec<fancy_regex::Regex>,
    opted_in: Vec<regex::Regex>,
}

impl FamilyFilter {
    fn new(options: &Options) -> Result<Self, SelectionError> {
        let allow = !options.metric_allowlist.is_empty();
        let (option, list) = if allow {
            ("--metric-allowlist", &options.metric_allowlist)
        } else {
            ("--metric-denylist", &options.metric_denylist)
        };
        let names = list.iter().map(|pattern| {
            compile(pattern).map_err(|problem| SelectionError { option, pattern: pattern.clone(), problem })
        });
        let opted_in = options.metric_opt_in_list.iter().map(|pattern| {
            regex::Regex::new(pattern).map_err(|error| SelectionError {
                option: "--metric-opt-in-list",
                pattern: pattern.clone(),
                problem: last_line(&error.to_string()),
            })
        });
        Ok(Self {
            allow,
            names: names.collect::<Result<_, _>>()?,
            opted_in: opted_in.collect::<Result<_, _>>()?,
        })
    }

    /// Whether the family `name` is on; `opt_in` families only when they are opted into as well.
    pub fn wants(&self, name: &str, opt_in: bool) -> bool {
        // An expression that gives up excludes the family, in either list.
        let matched = self.names.iter().try_fold(false, |matched, pattern| {
            if matched { Ok(true) } else { pattern.is_match(name).map_err(|_| ()) }
        });
        let included = matched.is_ok_and(|matched| matched == self.allow);
        included && (!opt_in || self.opted_in.iter().any(|pattern| pattern.is_match(name)))
    }
}

fn compile(pattern: &str) -> Result<fancy_regex::Regex, String> {
    let translated = ecmascript::translate(pattern)?;
    let built = fancy_regex::RegexBuilder::new(&translated).backtrack_limit(BACKTRACK_LIMIT).build();
    built.map_err(|error| last_line(&error.to_string()))
}

fn last_line(message: &str) -> String {
    let line = message.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(message).trim();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// Which objects are asked of the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchScope {
    /// Namespaces to watch one by one, in this order; `None` for the whole cluster. Only for resources that have
    /// namespaces.
    pub namespaces: Option<Vec<String>>,
    /// Field selector for resources that have namespaces; empty for none.
    pub field_selector: String,
    /// Only pods can be selected by their node; other resources with namespaces have nothing to say then.
    pub only_pods: bool,
    /// List with `resourceVersion=0`.
    pub from_cache: bool,
    /// Most objects of a list.
    pub object_limit: Option<u64>,
}

impl WatchScope {
    fn new(options: &Options) -> Self {
        let mut selectors: Vec<String> = Vec::new();
        let denied = |namespace: &String| options.namespaces_denylist.contains(namespace);
        let mut namespaces: Vec<String> = Vec::new();
        for namespace in options.namespaces.iter().filter(|namespace| !denied(namespace)) {
            if !namespaces.contains(namespace) {
                namespaces.push(namespace.clone());
            }
        }
        let all = options.namespaces.is_empty();
        if all {
            let denied = options.namespaces_denylist.iter().map(|name| escaped(name));
            selectors.extend(denied.map(|name| format!("metadata.namespace!={name}")));
        }
        if options.track_unscheduled_pods {
            selectors.push("spec.nodeName=".to_owned());
        } else if !options.node.is_empty() {
            selectors.push(format!("spec.nodeName={}", escaped(&options.node)));
        }
        Self {
            namespaces: (!all).then_some(namespaces),
            field_selector: selectors.join(","),
            only_pods: options.track_unscheduled_pods || !options.node.is_empty(),
            from_cache: options.use_api_server_cache,
            object_limit: u64::try_from(options.object_limit).ok().filter(|limit| *limit > 0),
        }
    }
}

/// A value of a field selector (`k8s.io/apimachinery` `fields.EscapeValue`).
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        if matches!(character, '\\' | ',' | '=') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{CommandLine, testdata};

    fn selection(arguments: &[&str]) -> Selection {
        let Ok(CommandLine::Run(options)) = CommandLine::parse(arguments.iter().copied()) else {
            panic!("{arguments:?}")
        };
        Selection::new(&options).expect("valid")
    }

    fn texts(value: &serde_json::Value) -> Vec<String> {
        serde_json::from_value(value.clone()).unwrap_or_default()
    }

    #[test]
    fn families_are_selected_as_in_the_cases() {
        let cases = testdata("families.json");
        for case in cases["allow_deny"].as_array().expect("cases") {
            let options = Options {
                metric_allowlist: texts(&case["allow"]).into_iter().collect(),
                metric_denylist: texts(&case["deny"]).into_iter().collect(),
                ..Options::default()
            };
            let filter = FamilyFilter::new(&options).expect("valid");
            assert_eq!(filter.wants(case["name"].as_str().expect("name"), false), case["included"], "{case}");
        }
        for case in cases["opt_in"].as_array().expect("cases") {
            let options = Options {
                metric_opt_in_list: texts(&case["list"]).into_iter().collect(),
                ..Options::default()
            };
            let filter = FamilyFilter::new(&options).expect("valid");
            let wanted = filter.wants(case["name"].as_str().expect("name"), case["opt_in"] == true);
            assert_eq!(wanted, case["included"], "{case}");
        }
        for pattern in texts(&cases["invalid"]) {
            for (option, flag) in
                [("--metric-allowlist", 0), ("--metric-denylist", 1), ("--metric-opt-in-list", 2)]
            {
                let mut options = Options::default();
                let list = match flag {
                    0 => &mut options.metric_allowlist,
                    1 => &mut options.metric_denylist,
                    _ => &mut options.metric_opt_in_list,
                };
                list.insert(pattern.clone());
                let error = FamilyFilter::new(&options).expect_err("invalid").to_string();
                assert!(
                    error.starts_with(&format!("{option}: {pattern:?} is not a regular expression")),
                    "{error}"
                );
                assert!(!error.contains('\n'), "{error}");
            }
        }
    }

    #[test]
    fn an_expression_that_gives_up_excludes() {
        let options =
            Options { metric_denylist: ["^(?=a)(a|aa)+\\1b$".to_owned()].into(), ..Options::default() };
        let filter = FamilyFilter::new(&options).expect("valid");
        assert!(!filter.wants(&format!("{}c", "a".repeat(60)), false));
        assert!(filter.wants("b", false));
    }

    #[test]
    fn keys_belong_to_enabled_resources() {
        let selection = selection(&[
            "--resources=pods,nodes",
            "--metric-labels-allowlist=pods=[],jobs=[a],nodes=[b]",
            "--metric-annotations-allowlist=*=[c]",
        ]);
        assert!(selection.labels("pods").is_empty(), "an empty list allows nothing");
        assert!(selection.labels("jobs").is_empty(), "it is not enabled");
        assert!(selection.labels("nodes").allows("b"));
        assert!(selection.annotations("pods").allows("c") && selection.annotations("jobs").is_empty());
    }

    #[test]
    fn field_selectors_are_those_of_the_cases() {
        for case in testdata("field_selectors.json").as_array().expect("cases") {
            let options = Options {
                namespaces_denylist: texts(&case["namespaces_denylist"]),
                node: case["node"].as_str().expect("node").to_owned(),
                ..Options::default()
            };
            assert_eq!(WatchScope::new(&options).field_selector, case["want"], "{case}");
        }
    }

    #[test]
    fn namespaces_are_watched_one_by_one_without_those_denied() {
        let scope = selection(&["--namespaces=b,a,b,c", "--namespaces-denylist=c,d"]).scope;
        assert_eq!(scope.namespaces.as_deref(), Some(&["b".to_owned(), "a".to_owned()][..]));
        assert_eq!(scope.field_selector, "");
        let scope = selection(&["--track-unscheduled-pods", "--node=n"]).scope;
        assert_eq!((scope.field_selector.as_str(), scope.only_pods), ("spec.nodeName=", true));
        assert_eq!(selection(&[]).scope.namespaces, None);
    }
}
