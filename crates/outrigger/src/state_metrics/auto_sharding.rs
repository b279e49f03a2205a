//! Which shard this is, read off the StatefulSet that the pod belongs to (`--pod`, `--pod-namespace`).

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use outrigger_kube::{
    Cluster, CustomResource, ObjectError, ObjectSink, RequestError, WatchChange, WatchOptions,
};
use outrigger_model::fault::chain;
use outrigger_state::options::Options;
use outrigger_state::shard::Shard;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

const PODS: CustomResource = CustomResource::namespaced("", "v1", "pods", "Pod");
const STATEFUL_SETS: CustomResource = CustomResource::namespaced("apps", "v1", "statefulsets", "StatefulSet");
/// Pause before the API server is asked again, doubled up to the last.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// Follows the StatefulSet.
pub(super) struct AutoSharding {
    shards: watch::Receiver<Shard>,
    _stop: DropGuard,
}

impl AutoSharding {
    /// Finds the pod's StatefulSet, waiting for an API server that does not answer, and follows it. Must be called
    /// within a runtime.
    ///
    /// # Errors
    /// When the pod has no StatefulSet, or it may not be read.
    pub(super) async fn start(cluster: &Cluster, options: &Options) -> anyhow::Result<Self> {
        let (namespace, pod) = (options.pod_namespace.as_str(), options.pod.as_str());
        let found = get(cluster, PODS, namespace, pod)
            .await
            .with_context(|| format!("detect StatefulSet: retrieve pod {namespace}/{pod} for sharding"))?;
        let name = owner(&found).with_context(|| {
            format!("no suitable statefulset found for auto detecting sharding for Pod {namespace}/{pod}")
        })?;
        let set = get(cluster, STATEFUL_SETS, namespace, &name)
            .await
            .with_context(|| format!("retrieve shard's StatefulSet: {namespace}/{name}"))?;
        let index = ordinal(&name, pod)?;
        let first = shard(index, &set);
        let (changed, shards) = watch::channel(first);
        let sink = Arc::new(SetSink { name: name.clone(), index, changed });
        let options = WatchOptions {
            namespaces: vec![namespace.to_owned()],
            field_selector: format!("metadata.name={name}"),
            ..WatchOptions::default()
        };
        let follow = cluster.watch_custom_with(STATEFUL_SETS, options, sink);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move { stopped.run_until_cancelled(follow).await });
        tracing::info!(
            pod,
            statefulset = name,
            shard = first.index,
            total = first.total,
            "sharding was detected"
        );
        Ok(Self { shards, _stop: stop.drop_guard() })
    }

    /// The shard now.
    pub(super) fn current(&mut self) -> Shard {
        *self.shards.borrow_and_update()
    }

    /// Waits for another shard or number of shards. Cancel safe.
    pub(super) async fn changed(&mut self) {
        if self.shards.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn get(
    cluster: &Cluster,
    resource: CustomResource,
    namespace: &str,
    name: &str,
) -> anyhow::Result<Value> {
    let mut attempts = 0;
    loop {
        match cluster.get_object(resource.clone(), namespace, name).await {
            Ok(Some(object)) => return Ok(serde_json::from_slice(&object)?),
            Ok(None) => anyhow::bail!("there is none"),
            Err(error @ RequestError::Refused { code: 400..500, .. }) => return Err(error.into()),
            Err(error) => {
                let pause = PAUSES[attempts.min(PAUSES.len() - 1)];
                attempts += 1;
                tracing::warn!(name, error = chain(&error), "sharding waits for the API server");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// The StatefulSet that controls a pod.
fn owner(pod: &Value) -> Option<String> {
    let owners = pod["metadata"]["ownerReferences"].as_array()?;
    let controller = owners.iter().find(|owner| {
        owner["apiVersion"] == "apps/v1" && owner["kind"] == "StatefulSet" && owner["controller"] == true
    });
    controller?["name"].as_str().map(str::to_owned)
}

/// `2` of `state-metrics-2`.
fn ordinal(set: &str, pod: &str) -> anyhow::Result<u32> {
    let text = pod.strip_prefix(set).and_then(|rest| rest.strip_prefix('-')).unwrap_or(pod);
    text.parse().ok().with_context(|| {
        format!("failed to detect shard index for Pod {pod} of StatefulSet {set}: {text:?} is not a number")
    })
}

fn shard(index: u32, set: &Value) -> Shard {
    let replicas = set["spec"]["replicas"].as_u64().and_then(|replicas| u32::try_from(replicas).ok());
    Shard { index, total: replicas.unwrap_or(1).max(1) }
}

struct SetSink {
    name: String,
    index: u32,
    changed: watch::Sender<Shard>,
}

impl ObjectSink for SetSink {
    fn begin_generation(&self) {}

    fn apply(&self, change: WatchChange, object: &[u8]) -> Result<(), ObjectError> {
        let set: Value = serde_json::from_slice(object).map_err(|error| ObjectError(error.to_string()))?;
        if change == WatchChange::Delete || set["metadata"]["name"] != self.name.as_str() {
            return Ok(());
        }
        let now = shard(self.index, &set);
        self.changed.send_if_modified(|shard| std::mem::replace(shard, now) != now);
        Ok(())
    }

    fn commit_generation(&self) {}
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shards_are_read_off_names_and_replicas() {
        assert_eq!(ordinal("ksm", "ksm-2").ok(), Some(2));
        assert!(ordinal("ksm", "other-2").is_err());
        assert!(ordinal("ksm", "ksm-x").is_err());
        let set = |spec| json!({ "spec": spec });
        assert_eq!(shard(1, &set(json!({ "replicas": 3 }))), Shard { index: 1, total: 3 });
        assert_eq!(shard(0, &set(json!({}))), Shard { index: 0, total: 1 });
        assert_eq!(shard(2, &set(json!({ "replicas": 2 }))), Shard { index: 2, total: 2 }, "holds nothing");
        let owners = |owner| json!({ "metadata": { "ownerReferences": [owner] } });
        let owned =
            json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "ksm", "controller": true });
        assert_eq!(owner(&owners(owned)).as_deref(), Some("ksm"));
        assert_eq!(
            owner(&owners(json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "ksm" }))),
            None
        );
    }
}
