//! `outrigger.prometheus_operator`: scrape configuration from ServiceMonitors, PodMonitors, Probes and ScrapeConfigs.
//!
//! The keys are the fields of the `Prometheus` custom resource that shape the configuration which prometheus-operator
//! generates, in this file's spelling.

use std::time::Duration;

use crate::byte_size;
use crate::selector::LabelSelector;
use crate::yaml::Value;
use crate::yaml::walk::{Cursor, Section};

/// `outrigger.prometheus_operator`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OperatorSettings {
    /// `cluster`: the one of `outrigger.clusters` that the objects are read from; empty for the default one.
    pub cluster: String,
    /// `namespace` that stands for the Prometheus object's own: the one that is watched where a kind has no
    /// namespace selector. Empty: that of the cluster's credentials.
    pub namespace: String,
    /// `service_monitor_selector`, `service_monitor_namespace_selector`.
    pub service_monitors: Option<KindSelection>,
    /// `pod_monitor_selector`, `pod_monitor_namespace_selector`.
    pub pod_monitors: Option<KindSelection>,
    /// `probe_selector`, `probe_namespace_selector`.
    pub probes: Option<KindSelection>,
    /// `scrape_config_selector`, `scrape_config_namespace_selector`.
    pub scrape_configs: Option<KindSelection>,
    /// `scrape_interval` of endpoints that have none; `global.scrape_interval` when absent.
    pub scrape_interval: Option<Duration>,
    /// `scrape_timeout` of endpoints that have none; `global.scrape_timeout` when absent.
    pub scrape_timeout: Option<Duration>,
    /// `scrape_protocols` of objects that have none; `global.scrape_protocols` when empty.
    pub scrape_protocols: Vec<String>,
    /// `body_size_limit` of objects that have none.
    pub body_size_limit: Option<SizeLimit>,
    /// Limits of objects that have none of their own.
    pub limits: ScrapeLimits,
    /// `enforced_body_size_limit`: the most that an object may have.
    pub enforced_body_size_limit: Option<SizeLimit>,
    /// `enforced_…`: the most that objects may have.
    pub enforced: ScrapeLimits,
    /// `enforced_namespace_label`: label that always has the object's namespace; empty for none.
    pub enforced_namespace_label: String,
    /// `excluded_from_enforcement` of that label.
    pub excluded_from_enforcement: Vec<ExcludedObject>,
    /// `override_honor_labels`: `honor_labels` is false whatever objects say.
    pub override_honor_labels: bool,
    /// `override_honor_timestamps`: `honor_timestamps` is false whatever objects say.
    pub override_honor_timestamps: bool,
    /// `ignore_namespace_selectors`: objects select in their own namespace only.
    pub ignore_namespace_selectors: bool,
    /// `arbitrary_fs_access_through_sms.deny`: ServiceMonitors that name files are rejected.
    pub deny_arbitrary_fs_access: bool,
    /// `pod_target_labels`: labels of pods that every target gets.
    pub pod_target_labels: Vec<String>,
    /// `service_discovery_role` is `endpointslice` and not `endpoints`.
    pub endpoint_slices: bool,
    /// `name_validation_scheme` of jobs that have none: `utf8` or `legacy`.
    pub name_validation_scheme: String,
    /// `name_escaping_scheme` of jobs that have none.
    pub name_escaping_scheme: String,
    /// `convert_classic_histograms_to_nhcb` of jobs that do not say.
    pub convert_classic_histograms_to_nhcb: Option<bool>,
    /// `scrape_classic_histograms` of jobs that do not say.
    pub scrape_classic_histograms: Option<bool>,
    /// `scrape_classes`. Names are unique; at most one is the default.
    pub scrape_classes: Vec<ScrapeClass>,
    /// `events`: what is wrong with an object is told as an Event, true.
    pub events: bool,
    /// `secret_refresh_interval`: how often Secrets and ConfigMaps that objects name are read again, 5 minutes.
    pub secret_refresh_interval: Duration,
}

/// Which objects of a kind count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KindSelection {
    /// Labels of the objects; the empty selector takes all.
    pub objects: LabelSelector,
    /// Labels of their namespaces; absent: only the own namespace.
    pub namespaces: Option<LabelSelector>,
}

/// A size with the text that it was written as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SizeLimit {
    /// As written.
    pub text: String,
    /// In bytes.
    pub bytes: i64,
}

impl SizeLimit {
    /// Reads for example `10MB`; `None` where that is no size.
    pub fn parse(text: &str) -> Option<Self> {
        byte_size::parse(text).map(|bytes| Self { text: text.to_owned(), bytes })
    }
}

/// Limits in number; absent and 0 mean none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScrapeLimits {
    /// `sample_limit`.
    pub sample: Option<u64>,
    /// `target_limit`.
    pub target: Option<u64>,
    /// `label_limit`.
    pub label: Option<u64>,
    /// `label_name_length_limit`.
    pub label_name_length: Option<u64>,
    /// `label_value_length_limit`.
    pub label_value_length: Option<u64>,
    /// `keep_dropped_targets`.
    pub keep_dropped_targets: Option<u64>,
}

/// Entry of `excluded_from_enforcement`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExcludedObject {
    /// `group`, `monitoring.coreos.com` when empty.
    pub group: String,
    /// `resource`, for example `servicemonitors`.
    pub resource: String,
    /// `namespace`.
    pub namespace: String,
    /// `name`; all of the namespace when empty.
    pub name: String,
}

/// Entry of `scrape_classes`: what objects that name it (or name none, if it is the default) have unless they say
/// otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScrapeClass {
    /// `name`.
    pub name: String,
    /// `default`.
    pub default: bool,
    /// `fallback_scrape_protocol`; empty for none.
    pub fallback_scrape_protocol: String,
    /// `tls_config`.
    pub tls: Option<ScrapeClassTls>,
    /// `authorization`.
    pub authorization: Option<ScrapeClassAuthorization>,
    /// `relabelings`, before those of the object.
    pub relabelings: Vec<RelabelingText>,
    /// `metric_relabelings`, before those of the object.
    pub metric_relabelings: Vec<RelabelingText>,
    /// `attach_metadata.node`; the outer one says whether there is an `attach_metadata`.
    pub attach_node: Option<Option<bool>>,
}

/// `tls_config` of a scrape class. Files are those of the process that scrapes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScrapeClassTls {
    /// `ca_file`.
    pub ca_file: String,
    /// `cert_file`.
    pub cert_file: String,
    /// `key_file`.
    pub key_file: String,
    /// `server_name`.
    pub server_name: Option<String>,
    /// `insecure_skip_verify`.
    pub insecure_skip_verify: Option<bool>,
    /// `min_version`.
    pub min_version: Option<String>,
    /// `max_version`.
    pub max_version: Option<String>,
}

/// `authorization` of a scrape class.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScrapeClassAuthorization {
    /// `type`, `Bearer` when empty.
    pub kind: String,
    /// `credentials_file`.
    pub credentials_file: String,
}

/// A relabelling rule as text; absent and empty are the same except for `separator` and `replacement`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RelabelingText {
    /// `source_labels`.
    pub source_labels: Vec<String>,
    /// `separator`.
    pub separator: Option<String>,
    /// `target_label`.
    pub target_label: String,
    /// `regex`.
    pub regex: String,
    /// `modulus`.
    pub modulus: u64,
    /// `replacement`.
    pub replacement: Option<String>,
    /// `action`.
    pub action: String,
}

/// The scrape protocols of the `Prometheus` custom resource.
const PROTOCOLS: [(&str, ()); 5] = [
    ("PrometheusProto", ()),
    ("OpenMetricsText0.0.1", ()),
    ("OpenMetricsText1.0.0", ()),
    ("PrometheusText0.0.4", ()),
    ("PrometheusText1.0.0", ()),
];

const TLS_VERSIONS: [(&str, ()); 4] = [("TLS10", ()), ("TLS11", ()), ("TLS12", ()), ("TLS13", ())];

impl OperatorSettings {
    /// What an empty section means: all objects of all kinds, from all namespaces.
    pub fn everything() -> Self {
        let all =
            || Some(KindSelection { namespaces: Some(LabelSelector::default()), ..KindSelection::default() });
        Self {
            service_monitors: all(),
            pod_monitors: all(),
            probes: all(),
            scrape_configs: all(),
            events: true,
            secret_refresh_interval: Duration::from_secs(300),
            ..Self::default()
        }
    }

    /// Reads the section; null is the empty one.
    pub(super) fn read(value: &Cursor<'_>) -> Option<Self> {
        if value.is_null() {
            return Some(Self::everything());
        }
        let section = value.section()?;
        let mut settings = Self {
            cluster: section.owned_text("cluster"),
            namespace: section.owned_text("namespace"),
            service_monitors: selection(
                &section,
                "service_monitor_selector",
                "service_monitor_namespace_selector",
            ),
            pod_monitors: selection(&section, "pod_monitor_selector", "pod_monitor_namespace_selector"),
            probes: selection(&section, "probe_selector", "probe_namespace_selector"),
            scrape_configs: selection(&section, "scrape_config_selector", "scrape_config_namespace_selector"),
            scrape_interval: positive(&section, "scrape_interval"),
            scrape_timeout: positive(&section, "scrape_timeout"),
            scrape_protocols: section.items("scrape_protocols").iter().filter_map(protocol).collect(),
            body_size_limit: size(&section, "body_size_limit"),
            limits: ScrapeLimits {
                sample: section.unsigned("sample_limit"),
                target: section.unsigned("target_limit"),
                label: section.unsigned("label_limit"),
                label_name_length: section.unsigned("label_name_length_limit"),
                label_value_length: section.unsigned("label_value_length_limit"),
                keep_dropped_targets: section.unsigned("keep_dropped_targets"),
            },
            enforced_body_size_limit: size(&section, "enforced_body_size_limit"),
            enforced: ScrapeLimits {
                sample: section.unsigned("enforced_sample_limit"),
                target: section.unsigned("enforced_target_limit"),
                label: section.unsigned("enforced_label_limit"),
                label_name_length: section.unsigned("enforced_label_name_length_limit"),
                label_value_length: section.unsigned("enforced_label_value_length_limit"),
                keep_dropped_targets: section.unsigned("enforced_keep_dropped_targets"),
            },
            enforced_namespace_label: section.owned_text("enforced_namespace_label"),
            excluded_from_enforcement: section
                .items("excluded_from_enforcement")
                .iter()
                .filter_map(excluded)
                .collect(),
            override_honor_labels: section.boolean("override_honor_labels").unwrap_or(false),
            override_honor_timestamps: section.boolean("override_honor_timestamps").unwrap_or(false),
            ignore_namespace_selectors: section.boolean("ignore_namespace_selectors").unwrap_or(false),
            deny_arbitrary_fs_access: section
                .section("arbitrary_fs_access_through_sms")
                .map(deny)
                .unwrap_or_default(),
            pod_target_labels: section.texts("pod_target_labels"),
            endpoint_slices: choice(
                &section,
                "service_discovery_role",
                "role",
                &[
                    ("Endpoints", false),
                    ("EndpointSlice", true),
                    ("endpoints", false),
                    ("endpointslice", true),
                ],
            )
            .unwrap_or(false),
            name_validation_scheme: choice(
                &section,
                "name_validation_scheme",
                "scheme",
                &[("UTF8", "utf8"), ("Legacy", "legacy"), ("utf8", "utf8"), ("legacy", "legacy")],
            )
            .unwrap_or_default()
            .to_owned(),
            name_escaping_scheme: choice(
                &section,
                "name_escaping_scheme",
                "scheme",
                &[
                    ("AllowUTF8", "allow-utf-8"),
                    ("Underscores", "underscores"),
                    ("Dots", "dots"),
                    ("Values", "values"),
                    ("allow-utf-8", "allow-utf-8"),
                    ("underscores", "underscores"),
                    ("dots", "dots"),
                    ("values", "values"),
                ],
            )
            .unwrap_or_default()
            .to_owned(),
            convert_classic_histograms_to_nhcb: section.boolean("convert_classic_histograms_to_nhcb"),
            scrape_classic_histograms: section.boolean("scrape_classic_histograms"),
            scrape_classes: classes(&section),
            events: section.boolean("events").unwrap_or(true),
            secret_refresh_interval: positive(&section, "secret_refresh_interval")
                .unwrap_or(Duration::from_secs(300)),
        };
        settings.select_everything_if_nothing_is_selected(&section);
        if let (Some(interval), Some(timeout)) = (settings.scrape_interval, settings.scrape_timeout)
            && timeout > interval
        {
            section.error_at(
                "scrape_timeout",
                "this is longer than scrape_interval",
                "write at most the interval",
            );
        }
        section.finish(&[
            ("external_labels", "write it below global, where it holds for everything that is sent"),
            ("prometheus_external_label_name", "write global.external_labels"),
            ("replica_external_label_name", "write global.external_labels"),
            ("shards", "workers share the targets; leave it out"),
            ("replicas", "set replication_factor below outrigger.centre"),
            ("apiserver_config", "write outrigger.kubernetes"),
            ("additional_scrape_configs", "write scrape_configs or scrape_config_files"),
            ("remote_write", "write it at the top of the file"),
            ("service_monitors", "write service_monitor_selector; {} takes all"),
        ]);
        Some(settings)
    }

    /// As the `Prometheus` resource has it, a kind without a selector is not taken; but a section without any selector
    /// takes everything.
    fn select_everything_if_nothing_is_selected(&mut self, section: &Section<'_>) {
        let selectors =
            ["service_monitor_selector", "pod_monitor_selector", "probe_selector", "scrape_config_selector"];
        if selectors.into_iter().any(|name| section.has(name)) {
            return;
        }
        let all = Self::everything();
        let kinds = [
            (&mut self.service_monitors, all.service_monitors, "service_monitor_namespace_selector"),
            (&mut self.pod_monitors, all.pod_monitors, "pod_monitor_namespace_selector"),
            (&mut self.probes, all.probes, "probe_namespace_selector"),
            (&mut self.scrape_configs, all.scrape_configs, "scrape_config_namespace_selector"),
        ];
        for (kind, everything, name) in kinds {
            let namespaces = section.get(name).and_then(|value| selector(&value));
            *kind = everything.map(|all| KindSelection { namespaces: namespaces.or(all.namespaces), ..all });
        }
    }
}

fn selection(
    section: &Section<'_>,
    objects: &'static str,
    namespaces: &'static str,
) -> Option<KindSelection> {
    let namespaces = section.get(namespaces).filter(|value| !value.is_null());
    let objects = section.get(objects).filter(|value| !value.is_null())?;
    Some(KindSelection {
        objects: selector(&objects)?,
        namespaces: namespaces.and_then(|value| selector(&value)),
    })
}

/// A selector as text (`app=web,tier in (a, b)`), or as Kubernetes' mapping of `match_labels` and `match_expressions`.
fn selector(value: &Cursor<'_>) -> Option<LabelSelector> {
    let text = match &value.node().value {
        Value::Scalar(_) => value.text()?.to_owned(),
        Value::Sequence(_) | Value::Mapping(_) => structured(value.section()?),
    };
    match LabelSelector::parse(&text) {
        Ok(selector) => Some(selector),
        Err(error) => {
            value.error(format!("{text:?} is not a label selector: {error}"), "write for example app=web");
            None
        }
    }
}

/// The textual form of a mapping. Kubernetes' own spelling of the keys is understood too, so that they can be copied.
fn structured(section: Section<'_>) -> String {
    let mut terms = Vec::new();
    for key in ["match_labels", "matchLabels"] {
        for (name, value) in section.get(key).map(|labels| labels.text_map()).unwrap_or_default() {
            terms.push(format!("{name}={value}"));
        }
    }
    for key in ["match_expressions", "matchExpressions"] {
        terms.extend(section.items(key).iter().filter_map(expression));
    }
    section.finish(&[("app", "write it below match_labels")]);
    terms.join(",")
}

fn expression(value: &Cursor<'_>) -> Option<String> {
    let section = value.section()?;
    let key = section.owned_text("key");
    let operator = section.owned_text("operator");
    let values = section.texts("values");
    let joined = values.join(",");
    let term = match (operator.as_str(), values.is_empty()) {
        ("In", false) => Some(format!("{key} in ({joined})")),
        ("NotIn", false) => Some(format!("{key} notin ({joined})")),
        ("Exists", true) => Some(key),
        ("DoesNotExist", true) => Some(format!("!{key}")),
        ("In" | "NotIn", true) => {
            section.missing("values", format!("{operator} needs values"), "name at least one");
            None
        }
        ("Exists" | "DoesNotExist", false) => {
            section.error_at("values", format!("{operator} takes no values"), "remove them");
            None
        }
        _ => {
            let fix = "write In, NotIn, Exists or DoesNotExist";
            section.error_at("operator", format!("{operator:?} is not an operator"), fix);
            None
        }
    };
    section.finish(&[]);
    term
}

fn positive(section: &Section<'_>, name: &'static str) -> Option<Duration> {
    let value = section.get(name)?;
    let duration = value.duration()?;
    if duration.is_zero() {
        value.error("this must be longer than 0", "write for example 30s");
        return None;
    }
    Some(duration)
}

fn size(section: &Section<'_>, name: &'static str) -> Option<SizeLimit> {
    let value = section.get(name).filter(|value| !value.is_null())?;
    let bytes = value.size()?;
    (bytes != 0).then(|| SizeLimit { text: value.text().unwrap_or_default().to_owned(), bytes })
}

fn choice<T: Copy>(section: &Section<'_>, name: &'static str, what: &str, known: &[(&str, T)]) -> Option<T> {
    section.get(name).filter(|value| !value.is_null())?.one_of(what, known)
}

fn protocol(value: &Cursor<'_>) -> Option<String> {
    value.one_of("scrape protocol", &PROTOCOLS)?;
    value.owned_text()
}

fn deny(section: Section<'_>) -> bool {
    let deny = section.boolean("deny").unwrap_or(false);
    section.finish(&[]);
    deny
}

fn excluded(value: &Cursor<'_>) -> Option<ExcludedObject> {
    let section = value.section()?;
    let object = ExcludedObject {
        group: section.owned_text("group"),
        resource: section.owned_text("resource"),
        namespace: section.owned_text("namespace"),
        name: section.owned_text("name"),
    };
    for (name, text) in [("resource", &object.resource), ("namespace", &object.namespace)] {
        if text.is_empty() {
            section.missing(
                name,
                "this is needed",
                "for example resource: servicemonitors, namespace: monitoring",
            );
        }
    }
    section.finish(&[("kind", "write resource, for example servicemonitors")]);
    Some(object)
}

fn classes(section: &Section<'_>) -> Vec<ScrapeClass> {
    let mut classes: Vec<ScrapeClass> = Vec::new();
    for entry in section.items("scrape_classes") {
        let Some(class) = scrape_class(&entry) else { continue };
        if class.name.is_empty() {
            entry.error("the class has no name", "give it a name");
        }
        if classes.iter().any(|other| other.name == class.name) {
            entry.error(format!("the class {:?} stands twice", class.name), "rename one of the two");
        }
        if class.default && classes.iter().any(|other| other.default) {
            entry.error("another class is the default already", "keep one default");
        }
        classes.push(class);
    }
    classes
}

fn scrape_class(value: &Cursor<'_>) -> Option<ScrapeClass> {
    let section = value.section()?;
    let class = ScrapeClass {
        name: section.owned_text("name"),
        default: section.boolean("default").unwrap_or(false),
        fallback_scrape_protocol: section
            .get("fallback_scrape_protocol")
            .and_then(|value| protocol(&value))
            .unwrap_or_default(),
        tls: section.section("tls_config").map(class_tls),
        authorization: section.section("authorization").map(class_authorization),
        relabelings: section.items("relabelings").iter().filter_map(relabeling).collect(),
        metric_relabelings: section.items("metric_relabelings").iter().filter_map(relabeling).collect(),
        attach_node: section.section("attach_metadata").map(|section| {
            let node = section.boolean("node");
            section.finish(&[]);
            node
        }),
    };
    section.finish(&[
        ("relabel_configs", "write relabelings"),
        ("metric_relabel_configs", "write metric_relabelings"),
    ]);
    Some(class)
}

fn class_tls(section: Section<'_>) -> ScrapeClassTls {
    let version = |name| {
        let value: Option<Cursor<'_>> = section.get(name);
        value.and_then(|value| value.one_of("TLS version", &TLS_VERSIONS).and_then(|()| value.owned_text()))
    };
    let tls = ScrapeClassTls {
        ca_file: section.owned_text("ca_file"),
        cert_file: section.owned_text("cert_file"),
        key_file: section.owned_text("key_file"),
        server_name: section.get("server_name").and_then(|value| value.owned_text()),
        insecure_skip_verify: section.boolean("insecure_skip_verify"),
        min_version: version("min_version"),
        max_version: version("max_version"),
    };
    if tls.cert_file.is_empty() != tls.key_file.is_empty() {
        section.error_at("cert_file", "cert_file and key_file are needed together", "write both or none");
    }
    let files = "a class applies in every namespace; write the …_file that workers have";
    section.finish(&[("ca", files), ("cert", files), ("key_secret", files), ("key", files)]);
    tls
}

fn class_authorization(section: Section<'_>) -> ScrapeClassAuthorization {
    let authorization = ScrapeClassAuthorization {
        kind: section.owned_text("type"),
        credentials_file: section.owned_text("credentials_file"),
    };
    if authorization.kind.trim().eq_ignore_ascii_case("basic") {
        section.error_at("type", "the type cannot be basic", "use basicAuth in the monitors");
    }
    section.finish(&[("credentials", "a class applies in every namespace; write credentials_file")]);
    authorization
}

fn relabeling(value: &Cursor<'_>) -> Option<RelabelingText> {
    let section = value.section()?;
    let optional = |name| section.get(name).and_then(|value: Cursor<'_>| value.owned_text());
    let rule = RelabelingText {
        source_labels: section.texts("source_labels"),
        separator: optional("separator"),
        target_label: section.owned_text("target_label"),
        regex: section.owned_text("regex"),
        modulus: section.unsigned("modulus").unwrap_or(0),
        replacement: optional("replacement"),
        action: section.owned_text("action"),
    };
    section.finish(&[("source_label", "write source_labels, which is a list")]);
    Some(rule)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::file_access::FileAccess;
    use crate::prometheus::{Source, load};

    struct NoFiles;

    impl FileAccess for NoFiles {
        fn read(&self, _: &Path) -> io::Result<String> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn list(&self, _: &Path) -> io::Result<Vec<String>> {
            Ok(Vec::new())
        }

        fn exists(&self, _: &Path) -> bool {
            false
        }
    }

    fn read(section: &str) -> Result<OperatorSettings, String> {
        let text = format!("outrigger: {{prometheus_operator: {section}}}");
        let source = Source {
            path: "f",
            text: &text,
            directory: PathBuf::from("/"),
            environment: &|_| None,
            files: &NoFiles,
            agent_mode: false,
        };
        let loaded = load(&source).map_err(|errors| errors.to_string())?;
        loaded.config.outrigger.prometheus_operator.ok_or_else(|| "no section".to_owned())
    }

    #[test]
    fn a_section_without_selectors_takes_everything_and_one_with_a_selector_that_kind_only() {
        for section in ["", "{}", "{events: true}"] {
            assert_eq!(read(section).unwrap(), OperatorSettings::everything(), "{section}");
        }
        let own = read(
            "{service_monitor_selector: {matchLabels: {app: web}}, pod_monitor_namespace_selector: a=b}",
        );
        let settings = own.unwrap();
        let monitors = settings.service_monitors.unwrap();
        assert_eq!((monitors.objects.to_string().as_str(), monitors.namespaces), ("app=web", None));
        assert_eq!((settings.pod_monitors, settings.probes, settings.scrape_configs), (None, None, None));
        let narrowed = read("{probe_namespace_selector: 'team in (a, b)'}").unwrap();
        assert_eq!(narrowed.probes.unwrap().namespaces.unwrap().to_string(), "team in (a,b)");
        assert!(narrowed.pod_monitors.unwrap().namespaces.unwrap().is_empty());
    }

    #[test]
    fn mistakes_are_named_with_their_place_and_fix() {
        for (section, expected) in [
            (
                "{service_monitor_selector: {match_expressions: [{key: a, operator: Gt, values: [b]}]}}",
                "match_expressions[0].operator: \"Gt\" is not an operator (write In, NotIn, Exists or DoesNotExist)",
            ),
            (
                "{service_monitor_selector: 'a=('}",
                "service_monitor_selector: \"a=(\" is not a label selector",
            ),
            ("{external_labels: {a: b}}", "external_labels: unknown key (write it below global"),
            ("{scrape_interval: 10s, scrape_timeout: 20s}", "this is longer than scrape_interval"),
            ("{enforced_body_size_limit: many}", "enforced_body_size_limit: \"many\" is not a size"),
            (
                "{scrape_classes: [{name: a, default: true}, {name: b, default: true}]}",
                "another class is the default",
            ),
            (
                "{scrape_classes: [{name: a, tls_config: {cert_file: x}}]}",
                "cert_file and key_file are needed together",
            ),
            ("{service_discovery_role: pods}", "service_discovery_role: \"pods\" is not a role"),
            (
                "{excluded_from_enforcement: [{namespace: a}]}",
                "excluded_from_enforcement[0].resource: this is needed",
            ),
        ] {
            let error = read(section).unwrap_err();
            assert!(error.contains(expected), "{section}: {error}");
        }
    }
}
