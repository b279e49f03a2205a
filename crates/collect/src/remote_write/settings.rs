//! What one endpoint is set to; replaced as a whole by a reload.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use outrigger_config::prometheus::RemoteWriteConfig;
use outrigger_config::relabel;
use outrigger_model::labels::{Labels, LabelsBuilder};
use outrigger_rt::http::{BuildClientError, HttpClient};

use super::protocol::{Negotiation, Protocol};
use super::queue::QueueLimits;

/// An endpoint that cannot be set up as configured.
#[derive(Debug, thiserror::Error)]
pub enum EndpointSetupError {
    /// The HTTP client.
    #[error("remote_write {name:?}: set up the HTTP client")]
    Client {
        /// Name of the endpoint.
        name: String,
        /// Why.
        source: BuildClientError,
    },
    /// A configured header.
    #[error("remote_write {name:?}: headers: {header:?} is not a header that can be sent")]
    Header {
        /// Name of the endpoint.
        name: String,
        /// Name of the header.
        header: String,
    },
}

/// What may wait for one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueBounds {
    /// In memory.
    pub memory_bytes: u64,
    /// On disk, where there is a directory for it.
    pub disk_bytes: u64,
}

/// Settings of one endpoint.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) config: Arc<RemoteWriteConfig>,
    pub(crate) external_labels: Labels,
    pub(crate) queue_bytes: u64,
    pub(crate) disk_bytes: u64,
    pub(crate) client: HttpClient,
    headers: HeaderMap,
    /// Changes with everything that [`Settings::relabel`] depends on.
    pub(crate) generation: u32,
}

impl Settings {
    pub(crate) fn new(
        config: Arc<RemoteWriteConfig>,
        external_labels: Labels,
        bounds: QueueBounds,
        client: HttpClient,
        generation: u32,
    ) -> Result<Self, EndpointSetupError> {
        let headers = headers(&config)?;
        let QueueBounds { memory_bytes: queue_bytes, disk_bytes } = bounds;
        Ok(Self { config, external_labels, queue_bytes, disk_bytes, client, headers, generation })
    }

    /// Whether series are encoded alike under both settings.
    pub(crate) fn encodes_like(&self, config: &RemoteWriteConfig, external_labels: &Labels) -> bool {
        self.config.write_relabel == config.write_relabel && self.external_labels == *external_labels
    }

    pub(crate) fn bounds(&self) -> QueueBounds {
        QueueBounds { memory_bytes: self.queue_bytes, disk_bytes: self.disk_bytes }
    }

    /// How to find out what the receiver takes.
    pub(crate) fn negotiation(&self) -> Arc<Negotiation> {
        Arc::new(Negotiation::new(self.config.protobuf_message))
    }

    pub(crate) fn queue_limits(&self) -> QueueLimits {
        QueueLimits {
            bytes: self.queue_bytes,
            max_samples_per_send: self.config.queue.max_samples_per_send.max(1),
            batch_send_deadline: self.config.queue.batch_send_deadline.max(Duration::from_millis(1)),
        }
    }

    /// Whether the endpoint gets all series as they are.
    pub(crate) fn changes_nothing(&self) -> bool {
        self.external_labels.is_empty() && self.config.write_relabel.is_empty()
    }

    /// Makes `labels` those of the series as this endpoint gets it: external labels are added where absent, then
    /// `write_relabel_configs` apply. False when it does not get the series.
    pub(crate) fn relabel(&self, labels: &mut LabelsBuilder) -> bool {
        for (name, value) in &self.external_labels {
            labels.set_default(name, value);
        }
        relabel::apply(&self.config.write_relabel, labels) && !labels.is_empty()
    }

    /// Headers of a request; `attempt` counts from 0.
    pub(crate) fn request_headers(&self, protocol: Protocol, attempt: u32) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.extend(protocol.headers());
        if attempt > 0 {
            headers.insert(HeaderName::from_static("retry-attempt"), attempt.into());
        }
        headers
    }

    pub(crate) fn method(&self) -> Method {
        Method::POST
    }
}

fn headers(config: &RemoteWriteConfig) -> Result<HeaderMap, EndpointSetupError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &config.headers {
        let bad = || EndpointSetupError::Header { name: config.name.clone(), header: name.clone() };
        let header = HeaderName::from_str(name).map_err(|_| bad())?;
        headers.insert(header, HeaderValue::from_str(value).map_err(|_| bad())?);
    }
    Ok(headers)
}
