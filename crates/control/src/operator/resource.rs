//! The custom resources of `monitoring.coreos.com`, as far as scrape configuration is made from them.
//!
//! Source of the fields: prometheus-operator `pkg/apis/monitoring/v1` and `v1alpha1` (v0.85.0). Unknown fields are
//! passed over: a newer operator's objects stay readable.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::selector::LabelSelector;

/// The kinds that are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MonitorKind {
    /// `monitoring.coreos.com/v1` ServiceMonitor.
    ServiceMonitor,
    /// `monitoring.coreos.com/v1` PodMonitor.
    PodMonitor,
    /// `monitoring.coreos.com/v1` Probe.
    Probe,
    /// `monitoring.coreos.com/v1alpha1` ScrapeConfig.
    ScrapeConfig,
}

impl MonitorKind {
    /// Every kind, in the order in which their jobs stand.
    pub const ALL: [MonitorKind; 4] =
        [Self::ServiceMonitor, Self::PodMonitor, Self::Probe, Self::ScrapeConfig];

    /// `kind` of its objects.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServiceMonitor => "ServiceMonitor",
            Self::PodMonitor => "PodMonitor",
            Self::Probe => "Probe",
            Self::ScrapeConfig => "ScrapeConfig",
        }
    }

    /// Name in URLs.
    pub fn plural(self) -> &'static str {
        match self {
            Self::ServiceMonitor => "servicemonitors",
            Self::PodMonitor => "podmonitors",
            Self::Probe => "probes",
            Self::ScrapeConfig => "scrapeconfigs",
        }
    }

    /// API version within the group.
    pub fn version(self) -> &'static str {
        match self {
            Self::ServiceMonitor | Self::PodMonitor | Self::Probe => "v1",
            Self::ScrapeConfig => "v1alpha1",
        }
    }

    /// `apiVersion` of its objects.
    pub fn api_version(self) -> String {
        format!("{GROUP}/{}", self.version())
    }
}

impl fmt::Display for MonitorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The API group of all kinds.
pub(crate) const GROUP: &str = "monitoring.coreos.com";

/// `metadata`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ObjectMeta {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    pub(crate) labels: BTreeMap<String, String>,
}

/// Only the metadata of an object, for one whose specification cannot be read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Head {
    pub(crate) metadata: ObjectMeta,
}

/// One custom resource.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Object<S: Default> {
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: S,
}

/// `spec` of a ServiceMonitor.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ServiceMonitorSpec {
    pub(crate) job_label: String,
    pub(crate) target_labels: Vec<String>,
    pub(crate) pod_target_labels: Vec<String>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) selector: LabelSelector,
    pub(crate) selector_mechanism: Option<String>,
    pub(crate) namespace_selector: NamespaceSelector,
    pub(crate) attach_metadata: Option<AttachMetadata>,
    pub(crate) body_size_limit: Option<String>,
    /// Since v0.86.
    pub(crate) service_discovery_role: Option<String>,
    #[serde(flatten)]
    pub(crate) common: Common,
}

/// `spec` of a PodMonitor.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PodMonitorSpec {
    pub(crate) job_label: String,
    pub(crate) pod_target_labels: Vec<String>,
    pub(crate) pod_metrics_endpoints: Vec<Endpoint>,
    pub(crate) selector: LabelSelector,
    pub(crate) selector_mechanism: Option<String>,
    pub(crate) namespace_selector: NamespaceSelector,
    pub(crate) attach_metadata: Option<AttachMetadata>,
    pub(crate) body_size_limit: Option<String>,
    #[serde(flatten)]
    pub(crate) common: Common,
}

/// `spec` of a Probe.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ProbeSpec {
    pub(crate) job_name: String,
    pub(crate) prober: Prober,
    pub(crate) module: String,
    pub(crate) params: Vec<ProbeParam>,
    pub(crate) targets: ProbeTargets,
    pub(crate) interval: String,
    pub(crate) scrape_timeout: String,
    pub(crate) metric_relabelings: Vec<Relabeling>,
    pub(crate) bearer_token_secret: Option<KeySelector>,
    pub(crate) basic_auth: Option<BasicAuth>,
    pub(crate) authorization: Option<Authorization>,
    pub(crate) oauth2: Option<OAuth2>,
    pub(crate) tls_config: Option<TlsConfig>,
    #[serde(flatten)]
    pub(crate) common: Common,
}

/// `spec` of a ScrapeConfig.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ScrapeConfigSpec {
    pub(crate) job_name: Option<String>,
    pub(crate) static_configs: Vec<StaticConfig>,
    #[serde(rename = "fileSDConfigs")]
    pub(crate) file_sd_configs: Vec<FileSd>,
    #[serde(rename = "httpSDConfigs")]
    pub(crate) http_sd_configs: Vec<HttpSd>,
    #[serde(rename = "kubernetesSDConfigs")]
    pub(crate) kubernetes_sd_configs: Vec<KubernetesSd>,
    pub(crate) relabelings: Vec<Relabeling>,
    pub(crate) metric_relabelings: Vec<Relabeling>,
    pub(crate) metrics_path: Option<String>,
    pub(crate) scrape_interval: Option<String>,
    pub(crate) scrape_timeout: Option<String>,
    pub(crate) honor_timestamps: Option<bool>,
    pub(crate) track_timestamps_staleness: Option<bool>,
    pub(crate) honor_labels: Option<bool>,
    pub(crate) params: BTreeMap<String, Vec<String>>,
    pub(crate) scheme: Option<String>,
    pub(crate) enable_compression: Option<bool>,
    #[serde(rename = "enableHTTP2")]
    pub(crate) enable_http2: Option<bool>,
    pub(crate) basic_auth: Option<BasicAuth>,
    pub(crate) authorization: Option<Authorization>,
    pub(crate) oauth2: Option<OAuth2>,
    pub(crate) tls_config: Option<TlsConfig>,
    pub(crate) name_validation_scheme: Option<String>,
    pub(crate) name_escaping_scheme: Option<String>,
    #[serde(flatten)]
    pub(crate) proxy: Proxy,
    #[serde(flatten)]
    pub(crate) common: Common,
    /// Every other key; those of further kinds of discovery are reported.
    #[serde(flatten)]
    pub(crate) other: BTreeMap<String, serde_json::Value>,
}

impl ScrapeConfigSpec {
    /// Whether there is a discovery that is acted on.
    pub(crate) fn has_discovery(&self) -> bool {
        !(self.static_configs.is_empty()
            && self.file_sd_configs.is_empty()
            && self.http_sd_configs.is_empty()
            && self.kubernetes_sd_configs.is_empty())
    }

    /// Fields of other discoveries that are filled in.
    pub(crate) fn further_discoveries(&self) -> Vec<&str> {
        let filled = |value: &serde_json::Value| value.as_array().is_some_and(|list| !list.is_empty());
        let kinds = self.other.iter().filter(|(key, value)| key.ends_with("SDConfigs") && filled(value));
        kinds.map(|(key, _)| key.as_str()).collect()
    }
}

/// Keys that all kinds share.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Common {
    pub(crate) scrape_class: Option<String>,
    pub(crate) sample_limit: Option<u64>,
    pub(crate) target_limit: Option<u64>,
    pub(crate) label_limit: Option<u64>,
    pub(crate) label_name_length_limit: Option<u64>,
    pub(crate) label_value_length_limit: Option<u64>,
    pub(crate) keep_dropped_targets: Option<u64>,
    pub(crate) scrape_protocols: Vec<String>,
    pub(crate) fallback_scrape_protocol: Option<String>,
    pub(crate) scrape_classic_histograms: Option<bool>,
    pub(crate) native_histogram_bucket_limit: Option<u64>,
    pub(crate) native_histogram_min_bucket_factor: Option<Quantity>,
    #[serde(rename = "convertClassicHistogramsToNHCB")]
    pub(crate) convert_classic_histograms_to_nhcb: Option<bool>,
}

/// An entry of `endpoints` or `podMetricsEndpoints`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Endpoint {
    pub(crate) port: String,
    pub(crate) port_number: Option<i32>,
    pub(crate) target_port: Option<IntOrString>,
    pub(crate) path: String,
    pub(crate) scheme: String,
    pub(crate) params: Option<BTreeMap<String, Vec<String>>>,
    pub(crate) interval: String,
    pub(crate) scrape_timeout: String,
    pub(crate) tls_config: Option<TlsConfig>,
    pub(crate) bearer_token_file: String,
    pub(crate) bearer_token_secret: Option<KeySelector>,
    pub(crate) authorization: Option<Authorization>,
    pub(crate) honor_labels: bool,
    pub(crate) honor_timestamps: Option<bool>,
    pub(crate) track_timestamps_staleness: Option<bool>,
    pub(crate) basic_auth: Option<BasicAuth>,
    pub(crate) oauth2: Option<OAuth2>,
    pub(crate) metric_relabelings: Vec<Relabeling>,
    pub(crate) relabelings: Vec<Relabeling>,
    pub(crate) follow_redirects: Option<bool>,
    pub(crate) enable_http2: Option<bool>,
    pub(crate) filter_running: Option<bool>,
    #[serde(flatten)]
    pub(crate) proxy: Proxy,
}

/// `relabelings` entry. All scalars are text, as they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Relabeling {
    pub(crate) source_labels: Vec<String>,
    pub(crate) separator: Option<String>,
    pub(crate) target_label: String,
    pub(crate) regex: String,
    pub(crate) modulus: u64,
    pub(crate) replacement: Option<String>,
    pub(crate) action: String,
}

/// A port by number or by name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum IntOrString {
    Int(i32),
    Text(String),
}

impl fmt::Display for IntOrString {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => write!(formatter, "{number}"),
            Self::Text(text) => formatter.write_str(text),
        }
    }
}

/// A Kubernetes quantity, `1.5` or `1500m`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Quantity {
    Number(f64),
    Text(String),
}

impl Quantity {
    /// The value; `None` where the text is no quantity.
    pub(crate) fn value(&self) -> Option<f64> {
        let text = match self {
            Self::Number(number) => return Some(*number),
            Self::Text(text) => text.trim(),
        };
        if let Ok(number) = text.parse() {
            return Some(number);
        }
        const SUFFIXES: [(&str, f64); 15] = [
            ("Ki", 1024.0),
            ("Mi", 1_048_576.0),
            ("Gi", 1_073_741_824.0),
            ("Ti", 1_099_511_627_776.0),
            ("Pi", 1_125_899_906_842_624.0),
            ("Ei", 1_152_921_504_606_846_976.0),
            ("n", 1e-9),
            ("u", 1e-6),
            ("m", 1e-3),
            ("k", 1e3),
            ("M", 1e6),
            ("G", 1e9),
            ("T", 1e12),
            ("P", 1e15),
            ("E", 1e18),
        ];
        SUFFIXES.iter().find_map(|(suffix, factor)| {
            let digits = text.strip_suffix(suffix)?;
            // A quotient is exact where the factor is a power of ten below one.
            let number: f64 = digits.parse().ok()?;
            Some(if *factor < 1.0 { number / factor.recip() } else { number * factor })
        })
    }
}

/// A key of a Secret or ConfigMap.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(default)]
pub(crate) struct KeySelector {
    pub(crate) name: String,
    pub(crate) key: String,
}

/// Where a value comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SecretOrConfigMap {
    pub(crate) secret: Option<KeySelector>,
    pub(crate) config_map: Option<KeySelector>,
}

impl SecretOrConfigMap {
    pub(crate) fn is_set(&self) -> bool {
        self.secret.is_some() || self.config_map.is_some()
    }
}

/// `tlsConfig`; the files only on a ServiceMonitor's endpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct TlsConfig {
    pub(crate) ca: SecretOrConfigMap,
    pub(crate) cert: SecretOrConfigMap,
    pub(crate) key_secret: Option<KeySelector>,
    pub(crate) server_name: Option<String>,
    pub(crate) insecure_skip_verify: Option<bool>,
    pub(crate) min_version: Option<String>,
    pub(crate) max_version: Option<String>,
    pub(crate) ca_file: String,
    pub(crate) cert_file: String,
    pub(crate) key_file: String,
}

/// `authorization`; the file only in scrape classes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Authorization {
    pub(crate) r#type: String,
    pub(crate) credentials: Option<KeySelector>,
    #[serde(skip)]
    pub(crate) credentials_file: String,
}

/// `basicAuth`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct BasicAuth {
    pub(crate) username: KeySelector,
    pub(crate) password: KeySelector,
}

/// `oauth2`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct OAuth2 {
    pub(crate) client_id: SecretOrConfigMap,
    pub(crate) client_secret: KeySelector,
    pub(crate) token_url: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) endpoint_params: BTreeMap<String, String>,
    pub(crate) tls_config: Option<TlsConfig>,
    #[serde(flatten)]
    pub(crate) proxy: Proxy,
}

/// Proxy keys, inline wherever they may stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Proxy {
    pub(crate) proxy_url: Option<String>,
    pub(crate) no_proxy: Option<String>,
    pub(crate) proxy_from_environment: Option<bool>,
    pub(crate) proxy_connect_header: Option<BTreeMap<String, Vec<KeySelector>>>,
}

/// `namespaceSelector`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct NamespaceSelector {
    pub(crate) any: bool,
    pub(crate) match_names: Vec<String>,
}

/// `attachMetadata`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct AttachMetadata {
    pub(crate) node: Option<bool>,
}

/// `prober`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Prober {
    pub(crate) url: String,
    pub(crate) scheme: String,
    pub(crate) path: String,
    #[serde(flatten)]
    pub(crate) proxy: Proxy,
}

/// `params` entry of a Probe.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProbeParam {
    pub(crate) name: String,
    pub(crate) values: Vec<String>,
}

/// `targets` of a Probe.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ProbeTargets {
    pub(crate) static_config: Option<ProbeStatic>,
    pub(crate) ingress: Option<ProbeIngress>,
}

/// `staticConfig` of a Probe.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ProbeStatic {
    pub(crate) r#static: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) relabeling_configs: Vec<Relabeling>,
}

/// `ingress` of a Probe.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ProbeIngress {
    pub(crate) selector: LabelSelector,
    pub(crate) namespace_selector: NamespaceSelector,
    pub(crate) relabeling_configs: Vec<Relabeling>,
}

/// `staticConfigs` entry.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StaticConfig {
    pub(crate) targets: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// `fileSDConfigs` entry.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct FileSd {
    pub(crate) files: Vec<String>,
    pub(crate) refresh_interval: Option<String>,
}

/// `httpSDConfigs` entry.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct HttpSd {
    pub(crate) url: String,
    pub(crate) refresh_interval: Option<String>,
    #[serde(flatten)]
    pub(crate) http: SdHttp,
}

/// `kubernetesSDConfigs` entry.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct KubernetesSd {
    pub(crate) api_server: Option<String>,
    pub(crate) role: String,
    pub(crate) namespaces: Option<SdNamespaces>,
    pub(crate) attach_metadata: Option<AttachMetadata>,
    pub(crate) selectors: Vec<SdSelector>,
    #[serde(flatten)]
    pub(crate) http: SdHttp,
}

/// How a discovery reaches its server.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SdHttp {
    pub(crate) basic_auth: Option<BasicAuth>,
    pub(crate) authorization: Option<Authorization>,
    pub(crate) oauth2: Option<OAuth2>,
    pub(crate) tls_config: Option<TlsConfig>,
    pub(crate) follow_redirects: Option<bool>,
    #[serde(rename = "enableHTTP2")]
    pub(crate) enable_http2: Option<bool>,
    #[serde(flatten)]
    pub(crate) proxy: Proxy,
}

/// `namespaces` of a Kubernetes discovery.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SdNamespaces {
    pub(crate) own_namespace: Option<bool>,
    pub(crate) names: Vec<String>,
}

/// `selectors` entry of a Kubernetes discovery.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SdSelector {
    pub(crate) role: String,
    pub(crate) label: Option<String>,
    pub(crate) field: Option<String>,
}

/// One object of any kind.
#[derive(Debug, Clone)]
pub(crate) enum Monitor {
    Service(Object<ServiceMonitorSpec>),
    Pod(Object<PodMonitorSpec>),
    Probe(Object<ProbeSpec>),
    Scrape(Object<ScrapeConfigSpec>),
}

impl Monitor {
    /// Reads an object of this kind from JSON.
    ///
    /// # Errors
    /// Where a field has another type than its schema says.
    pub(crate) fn parse(kind: MonitorKind, json: &[u8]) -> Result<Self, serde_json::Error> {
        Ok(match kind {
            MonitorKind::ServiceMonitor => Self::Service(serde_json::from_slice(json)?),
            MonitorKind::PodMonitor => Self::Pod(serde_json::from_slice(json)?),
            MonitorKind::Probe => Self::Probe(serde_json::from_slice(json)?),
            MonitorKind::ScrapeConfig => Self::Scrape(serde_json::from_slice(json)?),
        })
    }

    #[cfg(test)]
    pub(crate) fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Service(object) => &object.metadata,
            Self::Pod(object) => &object.metadata,
            Self::Probe(object) => &object.metadata,
            Self::Scrape(object) => &object.metadata,
        }
    }
}
