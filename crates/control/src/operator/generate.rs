//! The scrape configuration of one monitor, equal in meaning to what prometheus-operator generates
//! (`pkg/prometheus/promcfg.go`, v0.85.0, for the newest Prometheus it knows).
//!
//! Two differences do not change a target: the three rules for sharding are left out (workers share the targets), and
//! certificates stand inline instead of in files.

mod endpoint;
mod http;
mod probe;
mod scrape_config;

use std::time::Duration;

use outrigger_config::prometheus::{OperatorSettings, RelabelingText, ScrapeClass, SizeLimit};
use outrigger_model::duration;

use super::Defaults;
use super::assets::Assets;
use super::resource::{
    AttachMetadata, Common, GROUP, Monitor, MonitorKind, NamespaceSelector, ObjectMeta, Relabeling,
};
use super::selector::LabelSelector;
use super::yaml::{Map, Yaml};

/// One entry of `scrape_configs`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) job: String,
    pub(crate) map: Map,
}

/// Generates entries by the settings.
pub(crate) struct Generator<'a> {
    pub(crate) settings: &'a OperatorSettings,
    pub(crate) defaults: &'a Defaults,
    pub(crate) assets: &'a Assets<'a>,
}

/// Rules of an entry in the making.
type Rules = Vec<Map>;

impl<'a> Generator<'a> {
    /// The entries of an object that was checked.
    pub(crate) fn entries(&self, monitor: &Monitor) -> Vec<Entry> {
        match monitor {
            Monitor::Service(object) => {
                let endpoints = object.spec.endpoints.iter().enumerate();
                endpoints.map(|(index, endpoint)| self.service_endpoint(object, endpoint, index)).collect()
            }
            Monitor::Pod(object) => {
                let endpoints = object.spec.pod_metrics_endpoints.iter().enumerate();
                endpoints.map(|(index, endpoint)| self.pod_endpoint(object, endpoint, index)).collect()
            }
            Monitor::Probe(object) => vec![self.probe(object)],
            Monitor::Scrape(object) => vec![self.scrape_config(object)],
        }
    }

    /// The class that an object names, or the default one.
    fn class(&self, common: &Common) -> Option<&'a ScrapeClass> {
        let classes = &self.settings.scrape_classes;
        let named =
            common.scrape_class.as_ref().and_then(|name| classes.iter().find(|class| class.name == *name));
        named.or_else(|| classes.iter().find(|class| class.default))
    }

    // ---- keys that all kinds have ----

    fn honor_timestamps(&self, map: &mut Map, wanted: Option<bool>) {
        let overridden = self.settings.override_honor_timestamps;
        if wanted.is_some() || overridden {
            map.put("honor_timestamps", wanted.unwrap_or(false) && !overridden);
        }
    }

    fn honor_labels(&self, map: &mut Map, wanted: bool) {
        map.put("honor_labels", wanted && !self.settings.override_honor_labels);
    }

    /// Limits, protocols and histograms.
    fn common(&self, map: &mut Map, common: &Common, class: Option<&ScrapeClass>) {
        let (settings, enforced) = (&self.settings.limits, &self.settings.enforced);
        for (key, wanted, default, enforced) in [
            ("sample_limit", common.sample_limit, settings.sample, enforced.sample),
            ("target_limit", common.target_limit, settings.target, enforced.target),
            ("label_limit", common.label_limit, settings.label, enforced.label),
            (
                "label_name_length_limit",
                common.label_name_length_limit,
                settings.label_name_length,
                enforced.label_name_length,
            ),
            (
                "label_value_length_limit",
                common.label_value_length_limit,
                settings.label_value_length,
                enforced.label_value_length,
            ),
            (
                "keep_dropped_targets",
                common.keep_dropped_targets,
                settings.keep_dropped_targets,
                enforced.keep_dropped_targets,
            ),
        ] {
            let limit =
                limit(wanted, enforced).or_else(|| limit(default, enforced)).or(enforced.filter(|l| *l > 0));
            map.put_some(key, limit);
        }
        map.put_some("native_histogram_bucket_limit", common.native_histogram_bucket_limit);
        let factor =
            common.native_histogram_min_bucket_factor.as_ref().and_then(super::resource::Quantity::value);
        map.put_some("native_histogram_min_bucket_factor", factor);
        let classic = common.scrape_classic_histograms.or(self.settings.scrape_classic_histograms);
        map.put_some("always_scrape_classic_histograms", classic);
        let convert =
            common.convert_classic_histograms_to_nhcb.or(self.settings.convert_classic_histograms_to_nhcb);
        map.put_some("convert_classic_histograms_to_nhcb", convert);
        let protocols = match common.scrape_protocols.as_slice() {
            [] => self.settings.scrape_protocols.as_slice(),
            own => own,
        };
        if !protocols.is_empty() {
            map.put("scrape_protocols", protocols);
        }
        let of_class =
            class.map(|class| class.fallback_scrape_protocol.as_str()).filter(|name| !name.is_empty());
        let fallback = common.fallback_scrape_protocol.as_deref().or(of_class);
        map.put_some("fallback_scrape_protocol", fallback);
    }

    /// `body_size_limit`: the object's own, but not above the enforced one.
    fn body_size_limit(&self, map: &mut Map, own: Option<&str>) {
        let enforced = self.settings.enforced_body_size_limit.as_ref();
        let own = own.filter(|text| !text.is_empty());
        let limit = match (own, enforced) {
            (Some(own), None) => Some(own),
            (Some(own), Some(enforced)) => {
                let bytes = SizeLimit::parse(own).map_or(0, |size| size.bytes);
                Some(if bytes > enforced.bytes { enforced.text.as_str() } else { own })
            }
            (None, Some(enforced)) => Some(enforced.text.as_str()),
            (None, None) => self.settings.body_size_limit.as_ref().map(|size| size.text.as_str()),
        };
        map.put_some("body_size_limit", limit);
    }

    /// `scrape_interval` and `scrape_timeout`, by the settings where the object has none.
    fn times(&self, map: &mut Map, interval: &str, timeout: &str) {
        // Zero is the same as nothing, as for Prometheus.
        let own = duration::parse(interval).ok().filter(|interval| !interval.is_zero());
        if own.is_some() {
            map.put("scrape_interval", interval);
        } else {
            map.put_some("scrape_interval", self.settings.scrape_interval.map(duration::format));
        }
        let in_force = own.unwrap_or(self.defaults.scrape_interval);
        if timeout.is_empty() {
            let default = self.settings.scrape_timeout.map(|timeout: Duration| timeout.min(in_force));
            map.put_some("scrape_timeout", default.map(duration::format));
        } else {
            map.put("scrape_timeout", timeout);
        }
    }

    fn name_schemes(&self, map: &mut Map, validation: Option<&str>, escaping: Option<&str>) {
        let validation = match validation {
            Some(scheme) => scheme.to_lowercase(),
            None => self.settings.name_validation_scheme.clone(),
        };
        map.put_text("metric_name_validation_scheme", &validation);
        let escaping = match escaping {
            None => self.settings.name_escaping_scheme.as_str(),
            Some("AllowUTF8") => "allow-utf-8",
            Some("Underscores") => "underscores",
            Some("Dots") => "dots",
            Some("Values") => "values",
            Some(_) => "",
        };
        map.put_text("metric_name_escaping_scheme", escaping);
    }

    // ---- relabelling ----

    /// The object's rules, and after them the one that enforces the namespace label.
    fn enforced(&self, kind: MonitorKind, metadata: &ObjectMeta, rules: &[Relabeling]) -> Rules {
        let mut all: Rules = rules.iter().map(rule_of).collect();
        let label = self.settings.enforced_namespace_label.as_str();
        if !label.is_empty() && !self.is_excluded(kind, metadata) {
            all.push(Map::new().with("target_label", label).with("replacement", &metadata.namespace));
        }
        all
    }

    fn is_excluded(&self, kind: MonitorKind, metadata: &ObjectMeta) -> bool {
        self.settings.excluded_from_enforcement.iter().any(|excluded| {
            matches!(excluded.group.as_str(), "" | GROUP)
                && excluded.resource == kind.plural()
                && excluded.namespace == metadata.namespace
                && (excluded.name.is_empty() || excluded.name == metadata.name)
        })
    }

    fn metric_rules(
        &self,
        map: &mut Map,
        class: Option<&ScrapeClass>,
        kind: MonitorKind,
        metadata: &ObjectMeta,
        rules: &[Relabeling],
    ) {
        let mut all: Rules =
            class.iter().flat_map(|class| &class.metric_relabelings).map(rule_of_class).collect();
        all.extend(self.enforced(kind, metadata, rules));
        if !all.is_empty() {
            map.put("metric_relabel_configs", all);
        }
    }

    // ---- discovery ----

    /// `kubernetes_sd_configs` of a monitor in `namespace`.
    fn kubernetes_discovery(
        &self,
        role: &str,
        namespace: &str,
        namespaces: &NamespaceSelector,
        attach: Option<AttachMetadata>,
        selectors: Vec<Map>,
    ) -> Yaml {
        let mut discovery = Map::new().with("role", role);
        let names = match namespaces {
            _ if self.settings.ignore_namespace_selectors => vec![namespace.to_owned()],
            NamespaceSelector { any: true, .. } => Vec::new(),
            NamespaceSelector { match_names, .. } if match_names.is_empty() => vec![namespace.to_owned()],
            NamespaceSelector { match_names, .. } => match_names.clone(),
        };
        if !names.is_empty() {
            discovery.put("namespaces", Map::new().with("names", names));
        }
        if let Some(attach) = attach {
            // Without a value it is off.
            discovery.put("attach_metadata", Map::new().with("node", attach.node == Some(true)));
        }
        if !selectors.is_empty() {
            discovery.put("selectors", selectors);
        }
        vec![self.with_cluster(discovery)].into()
    }

    /// Names the cluster where there are several.
    fn with_cluster(&self, mut discovery: Map) -> Map {
        discovery.put_text("cluster", &self.defaults.cluster);
        discovery
    }
}

/// The smaller one of an object's limit and the enforced one; `None` where the object has none.
fn limit(wanted: Option<u64>, enforced: Option<u64>) -> Option<u64> {
    let wanted = wanted.filter(|limit| *limit > 0)?;
    Some(enforced.filter(|limit| *limit > 0).map_or(wanted, |enforced| enforced.min(wanted)))
}

/// The `attach_metadata` of an object, or of its class.
fn attach(own: Option<AttachMetadata>, class: Option<&ScrapeClass>) -> Option<AttachMetadata> {
    own.or_else(|| Some(AttachMetadata { node: class?.attach_node? }))
}

/// Begins every entry's rules: the job's name is kept in a label that ends with relabelling.
fn first_rule() -> Rules {
    vec![Map::new().with("source_labels", vec!["job"]).with("target_label", "__tmp_prometheus_job_name")]
}

fn class_rules(class: Option<&ScrapeClass>) -> impl Iterator<Item = Map> {
    class.into_iter().flat_map(|class| &class.relabelings).map(rule_of_class)
}

fn rule_of_class(rule: &RelabelingText) -> Map {
    rule_of(&Relabeling {
        source_labels: rule.source_labels.clone(),
        separator: rule.separator.clone(),
        target_label: rule.target_label.clone(),
        regex: rule.regex.clone(),
        modulus: rule.modulus,
        replacement: rule.replacement.clone(),
        action: rule.action.clone(),
    })
}

fn rule_of(rule: &Relabeling) -> Map {
    let mut map = Map::new();
    if !rule.source_labels.is_empty() {
        map.put("source_labels", rule.source_labels.as_slice());
    }
    map.put_some("separator", rule.separator.as_ref());
    map.put_text("target_label", &rule.target_label);
    map.put_text("regex", &rule.regex);
    map.put_some("modulus", Some(rule.modulus).filter(|modulus| *modulus > 0));
    map.put_some("replacement", rule.replacement.as_ref());
    map.put_text("action", &rule.action.to_lowercase());
    map
}

/// `[^a-zA-Z0-9_]` as `_`.
fn sanitized(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// `action`, `source_labels`, `regex`.
fn filter(action: &str, labels: Vec<String>, regex: impl Into<Yaml>) -> Map {
    Map::new().with("action", action).with("source_labels", labels).with("regex", regex)
}

/// Copies a meta label to a label of the target.
fn copy(from: &str, to: &str) -> Map {
    Map::new().with("source_labels", vec![from]).with("target_label", to)
}

/// Copies a meta label to a label of the target unless it is empty.
fn copy_if_set(from: String, to: &str) -> Map {
    Map::new()
        .with("source_labels", vec![from])
        .with("target_label", to)
        .with("regex", "(.+)")
        .with("replacement", "${1}")
}

fn set(label: &str, value: &str) -> Map {
    Map::new().with("target_label", label).with("replacement", value)
}

/// Rules that keep what a selector selects; `object` is the word in the meta labels.
fn selector_rules(selector: &LabelSelector, object: &str) -> Rules {
    let labels = |key: &str| {
        let key = sanitized(key);
        vec![
            format!("__meta_kubernetes_{object}_label_{key}"),
            format!("__meta_kubernetes_{object}_labelpresent_{key}"),
        ]
    };
    let present = |key: &str| labels(key).split_off(1);
    let mut rules: Rules = selector
        .match_labels
        .iter()
        .map(|(key, value)| filter("keep", labels(key), format!("({value});true")))
        .collect();
    rules.extend(selector.match_expressions.iter().filter_map(|requirement| {
        let key = requirement.key.as_str();
        let values = requirement.values.join("|");
        Some(match requirement.operator.as_str() {
            "In" => filter("keep", labels(key), format!("({values});true")),
            "NotIn" => filter("drop", labels(key), format!("({values});true")),
            "Exists" => filter("keep", present(key), "true"),
            "DoesNotExist" => filter("drop", present(key), "true"),
            _ => return None,
        })
    }));
    rules
}
