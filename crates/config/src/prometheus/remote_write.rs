//! `remote_write`.

use std::time::Duration;

use outrigger_model::http::HttpClientConfig;

use crate::relabel::RelabelRule;

/// The message that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RemoteWriteMessage {
    /// `prometheus.WriteRequest` (remote write 1.0).
    V1,
    /// `io.prometheus.write.v2.Request` (remote write 2.0).
    V2,
}

impl RemoteWriteMessage {
    /// The name in the configuration and in the `Content-Type` header.
    pub fn as_str(self) -> &'static str {
        match self {
            RemoteWriteMessage::V1 => "prometheus.WriteRequest",
            RemoteWriteMessage::V2 => "io.prometheus.write.v2.Request",
        }
    }
}

/// Authentication of a cloud vendor; `run` refuses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloudAuth {
    /// `sigv4`.
    SigV4,
    /// `azuread`.
    AzureAd,
    /// `google_iam`.
    GoogleIam,
}

/// One remote-write endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteWriteConfig {
    /// `name`, or six hexadecimal digits made from the rest when it is not set; unique.
    pub name: String,
    /// `url`.
    pub url: String,
    /// `remote_timeout`, 30 seconds.
    pub remote_timeout: Duration,
    /// `headers`, sorted by name; none is reserved.
    pub headers: Vec<(String, String)>,
    /// `write_relabel_configs`.
    pub write_relabel: Vec<RelabelRule>,
    /// `send_exemplars`, false.
    pub send_exemplars: bool,
    /// `send_native_histograms`, false.
    pub send_native_histograms: bool,
    /// `protobuf_message`, 1.0.
    pub protobuf_message: RemoteWriteMessage,
    /// `round_robin_dns`, false.
    pub round_robin_dns: bool,
    /// `queue_config`.
    pub queue: QueueConfig,
    /// `metadata_config`.
    pub metadata: MetadataConfig,
    /// How the endpoint is reached; HTTP/2 is off unless set.
    pub http: HttpClientConfig,
    /// `sigv4`, `azuread` or `google_iam`.
    pub cloud_auth: Option<CloudAuth>,
}

impl RemoteWriteConfig {
    /// An endpoint at `url` with Prometheus' defaults.
    pub fn new(name: &str, url: &str) -> Self {
        Self {
            name: name.to_owned(),
            url: url.to_owned(),
            remote_timeout: Duration::from_secs(30),
            headers: Vec::new(),
            write_relabel: Vec::new(),
            send_exemplars: false,
            send_native_histograms: false,
            protobuf_message: RemoteWriteMessage::V1,
            round_robin_dns: false,
            queue: QueueConfig::default(),
            metadata: MetadataConfig::default(),
            http: HttpClientConfig { enable_http2: false, ..HttpClientConfig::default() },
            cloud_auth: None,
        }
    }
}

/// `queue_config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig {
    /// `capacity`: samples buffered for each shard, 10,000; positive.
    pub capacity: usize,
    /// `max_shards`, 50; positive.
    pub max_shards: usize,
    /// `min_shards`, 1; positive, at most `max_shards`.
    pub min_shards: usize,
    /// `max_samples_per_send`, 2,000; positive.
    pub max_samples_per_send: usize,
    /// `batch_send_deadline`: longest wait of a sample for its batch to fill, 5 seconds.
    pub batch_send_deadline: Duration,
    /// `min_backoff`, 30 milliseconds.
    pub min_backoff: Duration,
    /// `max_backoff`, 5 seconds; at least `min_backoff`.
    pub max_backoff: Duration,
    /// `retry_on_http_429`, false.
    pub retry_on_http_429: bool,
    /// `sample_age_limit`; zero is none.
    pub sample_age_limit: Duration,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            capacity: 10_000,
            max_shards: 50,
            min_shards: 1,
            max_samples_per_send: 2_000,
            batch_send_deadline: Duration::from_secs(5),
            min_backoff: Duration::from_millis(30),
            max_backoff: Duration::from_secs(5),
            retry_on_http_429: false,
            sample_age_limit: Duration::ZERO,
        }
    }
}

/// `metadata_config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataConfig {
    /// `send`, true.
    pub send: bool,
    /// `send_interval`, 1 minute.
    pub send_interval: Duration,
    /// `max_samples_per_send`, 2,000.
    pub max_samples_per_send: usize,
}

impl Default for MetadataConfig {
    fn default() -> Self {
        Self { send: true, send_interval: Duration::from_secs(60), max_samples_per_send: 2_000 }
    }
}
