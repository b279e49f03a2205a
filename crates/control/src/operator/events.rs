//! What is wrong with an object, told as an Event beside it.

use std::collections::HashMap;

use outrigger_kube::{Cluster, Created, CustomResource, RequestError};
use outrigger_model::clock::SharedClock;
use outrigger_model::fault::chain;
use rapidhash::v3::rapidhash_v3;
use serde_json::json;

use super::ObjectProblem;
use super::resource::MonitorKind;

/// `events.k8s.io/v1` Event.
const EVENT: CustomResource = CustomResource::namespaced("events.k8s.io", "v1", "events", "Event");
/// The API server refuses longer notes.
const MAX_NOTE: usize = 1024;
/// Longest name of an object.
const MAX_NAME: usize = 253;

/// Kind, namespace and name of an object.
type ObjectKey = (MonitorKind, String, String);

/// Writes at most one Event for each version of an object.
pub(crate) struct EventWriter {
    clock: SharedClock,
    instance: String,
    /// Version of each object that has its Event already.
    told: HashMap<ObjectKey, String>,
}

impl EventWriter {
    pub(crate) fn new(clock: SharedClock, instance: String) -> Self {
        Self { clock, instance, told: HashMap::new() }
    }

    /// The first problem that has no Event yet. Forgets objects without a problem.
    pub(crate) fn next<'a>(&mut self, problems: &'a [ObjectProblem]) -> Option<&'a ObjectProblem> {
        let lasting = || problems.iter().filter(|problem| !problem.waiting);
        if self.told.len() > problems.len() {
            let keys: std::collections::HashSet<ObjectKey> = lasting().map(key).collect();
            self.told.retain(|key, _| keys.contains(key));
        }
        lasting().find(|problem| self.told.get(&key(problem)) != Some(&problem.resource_version))
    }

    /// Writes the Event of a problem.
    ///
    /// # Errors
    /// When it has to be tried again later.
    pub(crate) async fn write(
        &mut self,
        cluster: &Cluster,
        problem: &ObjectProblem,
    ) -> Result<(), RequestError> {
        let event = self.event(problem).to_string().into_bytes();
        match cluster.create_object(EVENT, &problem.namespace, event).await {
            Ok(Created::New | Created::Exists) => {}
            // The namespace is going away, or the Event is not acceptable: another try would fail in the same way.
            Err(error @ RequestError::Refused { code: 400 | 404 | 422, .. }) => {
                tracing::debug!(object = %problem.object(), error = chain(&error), "no event written");
            }
            Err(error) => return Err(error),
        }
        self.told.insert(key(problem), problem.resource_version.clone());
        Ok(())
    }

    fn event(&self, problem: &ObjectProblem) -> serde_json::Value {
        let ObjectProblem { kind, namespace, name, uid, resource_version, message, .. } = problem;
        // The name follows from the object's version, so that a master that starts anew writes no second one.
        let version = format!("{kind} {uid} {resource_version}");
        let suffix = format!(".{:016x}", rapidhash_v3(version.as_bytes()));
        let room = MAX_NAME - suffix.len();
        json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"namespace": namespace, "name": format!("{}{suffix}", cut(name, room))},
            "eventTime": event_time(&self.clock),
            "reportingController": "outrigger-master",
            "reportingInstance": self.instance,
            "action": "Configure",
            "reason": "InvalidConfiguration",
            "type": "Warning",
            "regarding": {
                "apiVersion": kind.api_version(),
                "kind": kind.as_str(),
                "namespace": namespace,
                "name": name,
                "uid": uid,
                "resourceVersion": resource_version,
            },
            "note": cut(message, MAX_NOTE),
        })
    }
}

/// `metav1.MicroTime`.
fn event_time(clock: &SharedClock) -> String {
    let now = jiff::Timestamp::from_millisecond(clock.now().millis()).unwrap_or_default();
    now.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

fn key(problem: &ObjectProblem) -> ObjectKey {
    (problem.kind, problem.namespace.clone(), problem.name.clone())
}

/// The first bytes of a text, not more than `most`.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
