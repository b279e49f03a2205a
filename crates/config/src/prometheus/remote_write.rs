//! `remote_write`.

use std::time::Duration;

use md5::{Digest, Md5};
use outrigger_model::http::{HttpAuth, HttpClientConfig};
use outrigger_model::names::NameValidation;

use super::files::Files;
use super::{cloud_auth, http_client, relabel_rules};
use crate::relabel::RelabelRule;
use crate::yaml::walk::{Cursor, Section};

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
    /// `protobuf_message`; found out from the receiver's answers when it is not set.
    pub protobuf_message: Option<RemoteWriteMessage>,
    /// `round_robin_dns`, false.
    pub round_robin_dns: bool,
    /// `queue_config`.
    pub queue: QueueConfig,
    /// `metadata_config`.
    pub metadata: MetadataConfig,
    /// How the endpoint is reached, `sigv4`, `azuread` and `google_iam` included; HTTP/2 is off unless set.
    pub http: HttpClientConfig,
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
            protobuf_message: None,
            round_robin_dns: false,
            queue: QueueConfig::default(),
            metadata: MetadataConfig::default(),
            http: HttpClientConfig { enable_http2: false, ..HttpClientConfig::default() },
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
    /// `max_samples_per_send`, 20,000 (Prometheus: 2,000, which costs a third more bytes a sample); positive.
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
            max_samples_per_send: 20_000,
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

impl RemoteWriteConfig {
    pub(super) fn read(value: &Cursor<'_>, validation: NameValidation, files: &Files<'_>) -> Option<Self> {
        if value.is_null() {
            value.error("the remote write configuration is empty", "remove the entry or fill it in");
            return None;
        }
        let section = value.section()?;
        let url = section.get("url").filter(|value| !value.is_absent());
        if url.is_none() {
            section.error_at(
                "url",
                "url is missing",
                "add url, for example http://storage:9090/api/v1/write",
            );
        }
        let url = url.and_then(|value| http_client::checked_url(&value)).unwrap_or_default();
        let mut config = Self::new(section.text("name").unwrap_or(""), &url);
        let http = http_client::read(&section, &config.http, files);
        let cloud = cloud_auth::read(&section, &http.auth_keys, &["sigv4", "azuread", "google_iam"], files);
        config.http = http.config;
        config.http.auth = config.http.auth.or(cloud.map(|cloud| HttpAuth::Cloud(Box::new(cloud))));
        config.remote_timeout = section.duration("remote_timeout").unwrap_or(config.remote_timeout);
        config.headers = section.get("headers").map(|value| headers(&value)).unwrap_or_default();
        config.write_relabel = relabel_rules::read(&section, "write_relabel_configs", validation);
        let flag = |name| section.boolean(name).unwrap_or(false);
        config.send_exemplars = flag("send_exemplars");
        config.send_native_histograms = flag("send_native_histograms");
        config.round_robin_dns = flag("round_robin_dns");
        flag("failed_request_logging");
        flag("convert_nhcb_to_classic");
        if let Some(message) = section.get("protobuf_message") {
            let known =
                [RemoteWriteMessage::V1, RemoteWriteMessage::V2].map(|message| (message.as_str(), message));
            config.protobuf_message = message.one_of("remote write message", &known);
        }
        config.queue = section.get("queue_config").map(|value| queue(&value)).unwrap_or_default();
        config.metadata = section.get("metadata_config").map(|value| metadata(&value)).unwrap_or_default();
        section.finish(&[
            ("relabel_configs", "write write_relabel_configs"),
            ("timeout", "write remote_timeout"),
            ("http_config", "write its keys directly in the entry"),
        ]);
        if config.name.is_empty() {
            config.name = config.derived_name();
        }
        Some(config)
    }

    /// A name that stays the same as long as the configuration does.
    fn derived_name(&self) -> String {
        let digest = Md5::digest(format!("{self:?}"));
        digest[..3].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Headers that are set elsewhere, or that belong to the connection or the protocol.
const RESERVED_HEADERS: [&str; 15] = [
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-amz-date",
    "x-amz-security-token",
];

/// Reads a mapping of header to value and refuses reserved ones.
pub(super) fn headers(value: &Cursor<'_>) -> Vec<(String, String)> {
    for (name, value) in value.entries() {
        let name = name.to_lowercase();
        if name == "authorization" {
            value.error(
                "the header authorization cannot be set here",
                "write basic_auth, authorization or oauth2",
            );
        } else if RESERVED_HEADERS.contains(&&*name) || name == "x-amz-content-sha256" {
            value.error(format!("the header {name} is reserved"), "remove it");
        }
    }
    value.clone().secret().text_map()
}

/// Reads `queue_config`. Null is a queue of nothing, which is an error.
fn queue(value: &Cursor<'_>) -> QueueConfig {
    let default = QueueConfig::default();
    let Some(section) = value.section() else {
        if value.is_null() {
            value.error("the queue configuration is empty", "remove queue_config to get the defaults");
        }
        return default;
    };
    let duration = |name, default| section.duration(name).unwrap_or(default);
    let queue = QueueConfig {
        capacity: positive(&section, "capacity", default.capacity),
        max_shards: positive(&section, "max_shards", default.max_shards),
        min_shards: positive(&section, "min_shards", default.min_shards),
        max_samples_per_send: positive(&section, "max_samples_per_send", default.max_samples_per_send),
        batch_send_deadline: duration("batch_send_deadline", default.batch_send_deadline),
        min_backoff: duration("min_backoff", default.min_backoff),
        max_backoff: duration("max_backoff", default.max_backoff),
        retry_on_http_429: section.boolean("retry_on_http_429").unwrap_or(false),
        sample_age_limit: duration("sample_age_limit", Duration::ZERO),
    };
    if queue.min_shards > queue.max_shards {
        let key = if section.has("min_shards") { "min_shards" } else { "max_shards" };
        let message =
            format!("min_shards {} is greater than max_shards {}", queue.min_shards, queue.max_shards);
        section.error_at(key, message, "make max_shards at least min_shards");
    }
    if queue.max_backoff < queue.min_backoff {
        let key = if section.has("max_backoff") { "max_backoff" } else { "min_backoff" };
        section.error_at(
            key,
            "max_backoff is less than min_backoff",
            "make max_backoff at least min_backoff",
        );
    }
    section.finish(&[
        ("max_retries", "remove it: samples are retried until they are too old"),
        ("on_error", "remove it"),
    ]);
    queue
}

/// A whole number greater than zero.
fn positive(section: &Section<'_>, name: &'static str, default: usize) -> usize {
    let Some(value) = section.get(name) else { return default };
    match value.integer() {
        Some(number) if number > 0 => usize::try_from(number).unwrap_or(usize::MAX),
        Some(number) => {
            value.error(
                format!("{name} is {number}, but must be positive"),
                format!("the default is {default}"),
            );
            default
        }
        None => default,
    }
}

fn metadata(value: &Cursor<'_>) -> MetadataConfig {
    let default = MetadataConfig::default();
    let Some(section) = value.section() else {
        return MetadataConfig { send: false, send_interval: Duration::ZERO, max_samples_per_send: 0 };
    };
    let count = section.get("max_samples_per_send").and_then(|value| value.integer());
    let metadata = MetadataConfig {
        send: section.boolean("send").unwrap_or(default.send),
        send_interval: section.duration("send_interval").unwrap_or(default.send_interval),
        max_samples_per_send: count.map_or(default.max_samples_per_send, |n| usize::try_from(n).unwrap_or(0)),
    };
    section.finish(&[]);
    metadata
}
