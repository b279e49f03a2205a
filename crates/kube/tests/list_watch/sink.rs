//! A sink that keeps names, generation by generation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outrigger_kube::{ObjectError, ResourceKind, WatchChange, WatchSink};
use outrigger_wire::kubernetes::object_meta;
use parking_lot::Mutex;

use crate::server::PATIENCE;

#[derive(Default)]
pub(crate) struct Rows(Mutex<BTreeMap<ResourceKind, Table>>);

#[derive(Default)]
struct Table {
    rows: BTreeMap<String, u64>,
    generation: u64,
    commits: u64,
}

impl Rows {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Names of the pods, joined by spaces; `namespace/name` outside `default`.
    pub(crate) fn pods(&self) -> String {
        self.names(ResourceKind::Pod)
    }

    pub(crate) fn names(&self, resource: ResourceKind) -> String {
        let tables = self.0.lock();
        let names: Vec<_> =
            tables.get(&resource).iter().flat_map(|table| table.rows.keys()).cloned().collect();
        names.join(" ")
    }

    pub(crate) fn commits(&self, resource: ResourceKind) -> u64 {
        self.0.lock().get(&resource).map_or(0, |table| table.commits)
    }

    /// Waits until the pods are these.
    pub(crate) async fn until_pods(&self, expected: &str) {
        until(&format!("pods {expected:?}"), || self.pods() == expected).await;
    }
}

impl WatchSink for Rows {
    fn begin_generation(&self, resource: ResourceKind) {
        self.0.lock().entry(resource).or_default().generation += 1;
    }

    fn apply(&self, resource: ResourceKind, change: WatchChange, object: &[u8]) -> Result<(), ObjectError> {
        let meta = object_meta(object).map_err(|error| error.to_string())?;
        if meta.name.starts_with("bad") {
            return Err(format!("{} is bad", meta.name).into());
        }
        let name = match meta.namespace {
            "" | "default" => meta.name.to_owned(),
            namespace => format!("{namespace}/{}", meta.name),
        };
        let mut tables = self.0.lock();
        let table = tables.entry(resource).or_default();
        match change {
            WatchChange::Upsert => table.rows.insert(name, table.generation),
            WatchChange::Delete => table.rows.remove(&name),
        };
        Ok(())
    }

    fn commit_generation(&self, resource: ResourceKind) {
        let mut tables = self.0.lock();
        let table = tables.entry(resource).or_default();
        let generation = table.generation;
        table.rows.retain(|_, row| *row == generation);
        table.commits += 1;
    }
}

/// Waits for a condition, with patience.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let poll = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, poll).await.is_ok(), "waited in vain for {what}");
}
