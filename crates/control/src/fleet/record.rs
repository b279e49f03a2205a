//! A worker's record in the store.

use std::sync::Arc;

use prost::Message;

use super::WorkerRecord;

/// Keys of the records begin with this; the worker's name follows.
pub(super) const PREFIX: &str = "workers/";

/// [`WorkerRecord`] in the store; fields are only ever added.
#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(fixed64, tag = "2")]
    instance: u64,
    #[prost(string, tag = "3")]
    zone: String,
    #[prost(double, tag = "4")]
    weight: f64,
    #[prost(string, tag = "5")]
    advertise: String,
}

impl WorkerRecord {
    /// Key in the store.
    pub(super) fn key(name: &str) -> String {
        format!("{PREFIX}{name}")
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let stored = Stored {
            name: self.name.to_string(),
            instance: self.instance,
            zone: self.zone.to_string(),
            weight: self.weight,
            advertise: self.advertise.clone(),
        };
        stored.encode_to_vec()
    }

    /// `None` when these bytes are no record.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let stored = Stored::decode(bytes).ok().filter(|stored| !stored.name.is_empty())?;
        Some(Self {
            name: Arc::from(stored.name),
            instance: stored.instance,
            zone: Arc::from(stored.zone),
            weight: stored.weight,
            advertise: stored.advertise,
        })
    }
}
