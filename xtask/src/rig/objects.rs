//! Random and mutated objects of every resource that state metrics read, as a real API server takes them: the same
//! seed makes the same objects.
//!
//! Fields are unset, zero, ordinary or odd: strange quantities, label keys that meet when they are mapped to names of
//! Prometheus, many owners, every condition. A third kind of objects comes from kube-state-metrics' own test cases,
//! made valid by what they lack.

mod cluster;
mod custom;
mod network;
mod pods;
mod policy;
mod random;
mod seeds;
mod workloads;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Client, Rig};
use random::{Random, without_nulls};

/// Requests under way at a time.
const CONCURRENCY: usize = 32;
/// Namespaces of ordinary objects: `odd-0` …
const NAMESPACES: usize = 5;
const MERGE_PATCH: &str = "application/merge-patch+json";

/// What to make. Names are derived from numbers, so the same plan again finds its objects there.
#[derive(Debug, Clone)]
pub struct ObjectPlan {
    /// Chooses the objects.
    pub seed: u64,
    /// Objects of each resource; of pods five times as many, and a fifth of it more that are mutated.
    pub each: usize,
    /// File of kube-state-metrics' cases (JSON lines with a member `object`) to take objects from; none if `None`.
    pub cases: Option<PathBuf>,
}

/// What was made and what the server refused.
#[derive(Debug, Default)]
pub struct ObjectReport {
    /// Objects that are there, by resource.
    pub created: BTreeMap<String, usize>,
    /// Mutated ones among them.
    pub mutants: usize,
    /// Requests that the server refused: resource, what was asked, and why.
    pub refused: BTreeMap<Refusal, usize>,
    /// Time for all.
    pub took: Duration,
}

/// What the server would not take.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// Whether the object was mutated at random, so that a refusal says nothing about the generator.
    pub mutant: bool,
    /// Plural name of the resource.
    pub resource: String,
    /// `create`, or the subresource.
    pub step: &'static str,
    /// The server's reason.
    pub reason: String,
}

impl ObjectReport {
    /// Objects in all.
    pub fn objects(&self) -> usize {
        self.created.values().sum()
    }

    /// Refused requests, of mutated objects or of the others.
    pub fn refusals(&self, mutant: bool) -> usize {
        self.refused.iter().filter(|(refusal, _)| refusal.mutant == mutant).map(|(_, count)| count).sum()
    }

    fn count(&mut self, mut outcome: Outcome) {
        // A change of what was refused or deleted before.
        outcome.refused.retain(|(_, reason)| !reason.ends_with("not found"));
        if outcome.created {
            *self.created.entry(outcome.resource.to_owned()).or_default() += 1;
            self.mutants += usize::from(outcome.mutant);
        }
        for (step, reason) in outcome.refused {
            let refusal =
                Refusal { mutant: outcome.mutant, resource: outcome.resource.to_owned(), step, reason };
            *self.refused.entry(refusal).or_default() += 1;
        }
    }
}

impl fmt::Display for ObjectReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} objects of {} resources in {:.1?}, {} of them mutated; refused requests: {} of valid ones, {} of mutants",
            self.objects(),
            self.created.len(),
            self.took,
            self.mutants,
            self.refusals(false),
            self.refusals(true)
        )?;
        for (refusal, count) in &self.refused {
            let mutant = if refusal.mutant { "mutant " } else { "" };
            writeln!(f, "  {count:4}  {mutant}{} {}: {}", refusal.resource, refusal.step, refusal.reason)?;
        }
        Ok(())
    }
}

/// A resource of state metrics, at the version that kube-state-metrics reads.
#[derive(Debug, Clone, Copy)]
struct Resource {
    plural: &'static str,
    kind: &'static str,
    /// Such as `/apis/apps/v1`.
    api: &'static str,
    namespaced: bool,
}

const fn resource(plural: &'static str, kind: &'static str, api: &'static str, namespaced: bool) -> Resource {
    Resource { plural, kind, api, namespaced }
}

const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const NETWORKING: &str = "/apis/networking.k8s.io/v1";
const STORAGE: &str = "/apis/storage.k8s.io/v1";

const RESOURCES: [Resource; 39] = [
    resource(
        "certificatesigningrequests",
        "CertificateSigningRequest",
        "/apis/certificates.k8s.io/v1",
        false,
    ),
    resource("clusterrolebindings", "ClusterRoleBinding", RBAC, false),
    resource("clusterroles", "ClusterRole", RBAC, false),
    resource("configmaps", "ConfigMap", "/api/v1", true),
    resource("cronjobs", "CronJob", "/apis/batch/v1", true),
    resource("daemonsets", "DaemonSet", "/apis/apps/v1", true),
    resource("deployments", "Deployment", "/apis/apps/v1", true),
    resource("endpoints", "Endpoints", "/api/v1", true),
    resource("endpointslices", "EndpointSlice", "/apis/discovery.k8s.io/v1", true),
    resource("horizontalpodautoscalers", "HorizontalPodAutoscaler", "/apis/autoscaling/v2", true),
    resource("ingressclasses", "IngressClass", NETWORKING, false),
    resource("ingresses", "Ingress", NETWORKING, true),
    resource("jobs", "Job", "/apis/batch/v1", true),
    resource("leases", "Lease", "/apis/coordination.k8s.io/v1", true),
    resource("limitranges", "LimitRange", "/api/v1", true),
    resource("mutatingadmissionpolicies", "MutatingAdmissionPolicy", ADMISSION, false),
    resource("mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", ADMISSION, false),
    resource("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", ADMISSION, false),
    resource("namespaces", "Namespace", "/api/v1", false),
    resource("networkpolicies", "NetworkPolicy", NETWORKING, true),
    resource("nodes", "Node", "/api/v1", false),
    resource("persistentvolumeclaims", "PersistentVolumeClaim", "/api/v1", true),
    resource("persistentvolumes", "PersistentVolume", "/api/v1", false),
    resource("poddisruptionbudgets", "PodDisruptionBudget", "/apis/policy/v1", true),
    resource("pods", "Pod", "/api/v1", true),
    resource("replicasets", "ReplicaSet", "/apis/apps/v1", true),
    resource("replicationcontrollers", "ReplicationController", "/api/v1", true),
    resource("resourcequotas", "ResourceQuota", "/api/v1", true),
    resource("rolebindings", "RoleBinding", RBAC, true),
    resource("roles", "Role", RBAC, true),
    resource("secrets", "Secret", "/api/v1", true),
    resource("serviceaccounts", "ServiceAccount", "/api/v1", true),
    resource("services", "Service", "/api/v1", true),
    resource("statefulsets", "StatefulSet", "/apis/apps/v1", true),
    resource("storageclasses", "StorageClass", STORAGE, false),
    resource("validatingadmissionpolicies", "ValidatingAdmissionPolicy", ADMISSION, false),
    resource("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", ADMISSION, false),
    resource("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", ADMISSION, false),
    resource("volumeattachments", "VolumeAttachment", STORAGE, false),
];

/// An object with what is asked of the server after it is there.
#[derive(Debug, Clone)]
struct Made {
    resource: Resource,
    object: Value,
    /// For the subresource `status`; null if there is nothing to say.
    status: Value,
    /// For another subresource, with its method.
    other: Option<(&'static str, Method, Value)>,
    /// Deleted after all; what has a finalizer stays, with a deletion timestamp.
    delete: bool,
    mutant: bool,
}

impl Made {
    fn collection(&self) -> String {
        match self.object["metadata"]["namespace"].as_str() {
            Some(namespace) => {
                format!("{}/namespaces/{namespace}/{}", self.resource.api, self.resource.plural)
            }
            None => format!("{}/{}", self.resource.api, self.resource.plural),
        }
    }

    fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.object["metadata"]["name"].as_str().unwrap_or(""))
    }
}

/// The object of that number.
fn object(resource: Resource, seed: u64, index: usize) -> Made {
    let random = &mut Random::new(seed, resource.plural, index);
    let name = match resource.plural {
        "nodes" => format!("odd-node-{index}"),
        "namespaces" => format!("odd-namespace-{index}"),
        // Names of services and of pods with an ordinal are labels of DNS.
        plural @ ("services" | "statefulsets") => format!("{}-{index}", &plural[..2]),
        plural => {
            format!("{}{index}", random.pick(&[&plural[..2], "a-name-that-is-longer-than-others-", "x.y-"]))
        }
    };
    let delete = random.chance(6);
    let namespace = match resource.plural {
        // Admission would hold other objects of the namespace to them.
        "limitranges" => "odd-limits".to_owned(),
        "resourcequotas" => "odd-quotas".to_owned(),
        _ => format!("odd-{}", random.below(NAMESPACES)),
    };
    let mut metadata = json!({
        "name": name,
        "namespace": resource.namespaced.then_some(namespace),
        "labels": random.labels(),
        "annotations": random.annotations(),
        "ownerReferences": random.owners(),
        "finalizers": if delete { random.maybe(70, |_| json!(["example.com/keep"])) } else { Value::Null },
    });
    let mut made =
        Made { resource, object: json!({}), status: Value::Null, other: None, delete, mutant: false };
    let spec = |made: &mut Made, (spec, status): (Value, Value)| {
        made.object = json!({"spec": spec});
        made.status = status;
    };
    match resource.plural {
        "certificatesigningrequests" => {
            let (of, rest) = cluster::signing_request(random);
            spec(&mut made, (of, rest["status"].clone()));
            made.other = Some(("approval", Method::PATCH, json!({"status": rest["approval"]})));
        }
        "clusterrolebindings" => made.object = json!({"roleRef": policy::role_reference(random, true)}),
        "rolebindings" => made.object = json!({"roleRef": policy::role_reference(random, false)}),
        "clusterroles" | "roles" => made.object = json!({"rules": []}),
        "configmaps" => made.object = json!({"data": {"key": "value"}, "immutable": random.flag()}),
        "cronjobs" => spec(&mut made, workloads::cron_job(random, &name)),
        "daemonsets" => spec(&mut made, workloads::daemon_set(random, &name)),
        "deployments" => spec(&mut made, workloads::deployment(random, &name)),
        "endpoints" => made.object = json!({"subsets": network::endpoints(random)}),
        "endpointslices" => made.object = network::endpoint_slice(random),
        "horizontalpodautoscalers" => spec(&mut made, workloads::autoscaler(random)),
        "ingressclasses" => {
            made.object = json!({"spec": {"controller": random.text(&["example.com/ingress", "a.b/c"])}})
        }
        "ingresses" => {
            spec(&mut made, network::ingress(random));
            if made.object["spec"]["ingressClassName"].is_null() && random.chance(40) {
                metadata["annotations"]["kubernetes.io/ingress.class"] =
                    random.text(&["nginx", "", "say \"x\""]);
            }
        }
        "jobs" => spec(&mut made, workloads::job(random, &name)),
        "leases" => made.object = json!({"spec": policy::lease(random)}),
        "limitranges" => made.object = json!({"spec": cluster::limit_range(random)}),
        "mutatingadmissionpolicies" => made.object = json!({"spec": policy::mutating_policy(random)}),
        "mutatingadmissionpolicybindings" => {
            made.object = json!({"spec": policy::policy_binding(random, false)})
        }
        "mutatingwebhookconfigurations" | "validatingwebhookconfigurations" => {
            made.object = json!({"webhooks": policy::webhooks(random)});
        }
        "namespaces" => made.status = cluster::namespace_status(random),
        "networkpolicies" => made.object = json!({"spec": network::network_policy(random)}),
        "nodes" => {
            spec(&mut made, cluster::node(random));
            let roles = cluster::node_roles(random);
            seeds::overlay(&mut metadata["labels"], &roles);
        }
        "persistentvolumeclaims" => {
            spec(&mut made, cluster::volume_claim(random));
            if random.chance(20) {
                metadata["annotations"]["volume.beta.kubernetes.io/storage-class"] =
                    random.text(&["beta-class", ""]);
            }
        }
        "persistentvolumes" => spec(&mut made, cluster::volume(random)),
        "poddisruptionbudgets" => spec(&mut made, workloads::disruption_budget(random, &name)),
        "pods" => {
            let of = pods::spec(random);
            let status = pods::status(random, &of);
            spec(&mut made, (of, status));
            if random.chance(10) {
                made.other = Some(("ephemeralcontainers", Method::PATCH, pods::ephemeral(random)));
            }
        }
        "replicasets" => spec(&mut made, workloads::replica_set(random, &name)),
        "replicationcontrollers" => spec(&mut made, workloads::replication_controller(random, &name)),
        "resourcequotas" => spec(&mut made, cluster::quota(random)),
        "secrets" => made.object = policy::secret(random),
        "serviceaccounts" => made.object = policy::service_account(random),
        "services" => spec(&mut made, network::service(random, index)),
        "statefulsets" => spec(&mut made, workloads::stateful_set(random, &name)),
        "storageclasses" => made.object = cluster::storage_class(random),
        "validatingadmissionpolicies" => made.object = json!({"spec": policy::validating_policy(random)}),
        "validatingadmissionpolicybindings" => {
            made.object = json!({"spec": policy::policy_binding(random, true)})
        }
        "volumeattachments" => spec(&mut made, cluster::volume_attachment(random)),
        other => unreachable!("{other} is in RESOURCES and not here"),
    }
    made.object["metadata"] = metadata;
    made.object = without_nulls(made.object);
    made.status = without_nulls(made.status);
    made
}

/// An object with one to three of its values removed or replaced.
fn mutant(resource: Resource, seed: u64, index: usize) -> Made {
    let mut made = object(resource, seed, index);
    let random = &mut Random::new(seed, "mutants", index);
    made.mutant = true;
    for _ in 0..random.between(1, 3) {
        let part =
            if random.chance(75) && !made.status.is_null() { &mut made.status } else { &mut made.object };
        mutate(random, part, true);
    }
    made
}

/// Walks down at random and changes what it meets.
fn mutate(random: &mut Random, value: &mut Value, top: bool) {
    let stop = !top && random.chance(25);
    match value {
        Value::Object(members) if !members.is_empty() && !stop => {
            let keys: Vec<String> =
                members.keys().filter(|key| !(top && *key == "metadata")).cloned().collect();
            let Some(key) = keys.get(random.below(keys.len().max(1))) else { return };
            if random.chance(20) {
                members.remove(key);
            } else if let Some(member) = members.get_mut(key) {
                mutate(random, member, false);
            }
        }
        Value::Array(items) if !items.is_empty() && !stop => {
            let index = random.below(items.len());
            match random.below(4) {
                0 => drop(items.remove(index)),
                1 => items.push(items[index].clone()),
                _ => mutate(random, &mut items[index], false),
            }
        }
        Value::Object(_) => *value = json!({}),
        Value::Array(_) => *value = json!([]),
        Value::String(_) => *value = random.text(&["", "x", "Odd.Value", "0", "1Gi", "True"]),
        Value::Number(_) => *value = random.one_of(&[json!(0), json!(1), json!(-1), json!(2_147_483_647)]),
        Value::Bool(bool) => *bool = !*bool,
        Value::Null => {}
    }
}

/// The objects of a plan. Those of cases come last.
fn planned(plan: &ObjectPlan) -> Result<Vec<Made>> {
    let mut all = Vec::new();
    for resource in RESOURCES {
        let each = count_of(resource, plan);
        all.extend((0..each).map(|index| object(resource, plan.seed, index)));
        all.extend((each..each + each / 5).map(|index| mutant(resource, plan.seed, index)));
    }
    if let Some(path) = &plan.cases {
        all.extend(seeds::of_cases(path, plan.seed)?);
    }
    all.extend(custom::objects(plan));
    Ok(all)
}

fn count_of(resource: Resource, plan: &ObjectPlan) -> usize {
    if resource.plural == "pods" { plan.each * 5 } else { plan.each }
}

/// How a change of what is there went on.
struct Outcome {
    resource: &'static str,
    mutant: bool,
    created: bool,
    refused: Vec<(&'static str, String)>,
}

pub(super) async fn make(rig: &Rig, plan: &ObjectPlan) -> Result<ObjectReport> {
    let started = Instant::now();
    let api = rig.api()?;
    prepare(&api).await?;
    custom::define(&api).await?;
    let mut report = ObjectReport::default();
    let requests = planned(plan)?.into_iter().map(|made| ask(&api, made));
    let outcomes: Vec<Outcome> = stream::iter(requests).buffer_unordered(CONCURRENCY).try_collect().await?;
    outcomes.into_iter().for_each(|outcome| report.count(outcome));
    report.took = started.elapsed();
    Ok(report)
}

/// What the objects need to be taken: namespaces, priority and runtime classes.
async fn prepare(api: &Client) -> Result<()> {
    let namespaces = (0..NAMESPACES).map(|index| format!("odd-{index}"));
    for name in namespaces.chain(["odd-limits".to_owned(), "odd-quotas".to_owned()]) {
        api.create("/api/v1/namespaces", &json!({"metadata": {"name": name}})).await?;
    }
    let priority = json!({"metadata": {"name": "odd-priority"}, "value": 7});
    api.create("/apis/scheduling.k8s.io/v1/priorityclasses", &priority).await?;
    for (name, cpu, memory) in pods::RUNTIME_CLASSES {
        let overhead =
            if cpu.is_empty() { Value::Null } else { json!({"podFixed": {"cpu": cpu, "memory": memory}}) };
        let class =
            without_nulls(json!({"metadata": {"name": name}, "handler": "runc", "overhead": overhead}));
        api.create("/apis/node.k8s.io/v1/runtimeclasses", &class).await?;
    }
    Ok(())
}

/// Creates an object, sets its status and whatever else it is to have.
async fn ask(api: &Client, made: Made) -> Result<Outcome> {
    let mut outcome =
        Outcome { resource: made.resource.plural, mutant: made.mutant, created: false, refused: Vec::new() };
    let collection = made.collection();
    if let Some(reason) = request(api, Method::POST, &collection, "application/json", &made.object).await?
        && !reason.ends_with("already exists")
    {
        outcome.refused.push(("create", reason));
        return Ok(outcome);
    }
    outcome.created = true;
    follow_up(api, &made, &mut outcome).await?;
    Ok(outcome)
}

async fn follow_up(api: &Client, made: &Made, outcome: &mut Outcome) -> Result<()> {
    let path = made.path();
    if let Some((subresource, method, body)) = &made.other {
        let kind =
            if *subresource == "approval" { MERGE_PATCH } else { "application/strategic-merge-patch+json" };
        let path = format!("{path}/{subresource}");
        if let Some(reason) = request(api, method.clone(), &path, kind, body).await? {
            outcome.refused.push((subresource, reason));
        }
    }
    if made.status.as_object().is_some_and(|status| !status.is_empty()) {
        let body = json!({"status": made.status});
        let path = format!("{path}/status");
        if let Some(reason) = request(api, Method::PATCH, &path, MERGE_PATCH, &body).await? {
            outcome.refused.push(("status", reason));
        }
    }
    if made.delete
        && let Some(reason) = request(api, Method::DELETE, &path, "application/json", &json!({})).await?
    {
        outcome.refused.push(("delete", reason));
    }
    Ok(())
}

/// Sends a request; the reason if the server refuses the object.
async fn request(
    api: &Client,
    method: Method,
    path: &str,
    kind: &str,
    body: &Value,
) -> Result<Option<String>> {
    let answer = api.send(method.clone(), path, kind, serde_json::to_vec(body)?).await?;
    if answer.status.is_success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    if answer.status.is_server_error() || answer.status == http::StatusCode::TOO_MANY_REQUESTS {
        // Not the object's fault, unless the server fails on it each time.
        if text.contains("etcdserver") || answer.status == http::StatusCode::TOO_MANY_REQUESTS {
            bail!("{method} {path} was answered {}: {text}", answer.status);
        }
    }
    Ok(Some(reason(&text)))
}

/// The first cause that the server names, without what differs between objects.
fn reason(body: &str) -> String {
    let status: Value = serde_json::from_str(body).unwrap_or_default();
    let cause = &status["details"]["causes"][0];
    let text = match cause["field"].as_str() {
        Some(field) => format!("{field}: {}", cause["message"].as_str().unwrap_or("")),
        None => status["message"].as_str().unwrap_or(body).to_owned(),
    };
    let mut short = String::new();
    for character in text.chars().take(170) {
        if !character.is_ascii_digit() {
            short.push(character);
        } else if !short.ends_with('#') {
            short.push('#');
        }
    }
    short
}

/// Changes what a plan made and what of it is still there: labels, statuses, deletions, and a fifth more objects.
pub(super) async fn change(rig: &Rig, plan: &ObjectPlan, seed: u64) -> Result<ObjectReport> {
    let started = Instant::now();
    let api = rig.api()?;
    let mut report = ObjectReport::default();
    let mut changes = Vec::new();
    for resource in RESOURCES {
        let each = count_of(resource, plan);
        let new = each + each / 5..2 * each / 5 + each;
        changes.extend(new.map(|index| Change::Create(object(resource, plan.seed, index))));
        changes.extend((0..each).filter_map(|index| Change::of(resource, plan.seed, seed, index)));
    }
    let requests = changes.into_iter().map(|change| change.ask(&api));
    let outcomes: Vec<Outcome> = stream::iter(requests).buffer_unordered(CONCURRENCY).try_collect().await?;
    outcomes.into_iter().for_each(|outcome| report.count(outcome));
    report.took = started.elapsed();
    Ok(report)
}

enum Change {
    Create(Made),
    /// Other labels and annotations.
    Metadata(Made, Value),
    /// Another status.
    Status(Made),
    Delete(Made),
}

impl Change {
    fn of(resource: Resource, seed: u64, change: u64, index: usize) -> Option<Change> {
        let made = object(resource, seed, index);
        let random = &mut Random::new(change, resource.plural, index);
        match random.below(10) {
            0..=2 => {
                let metadata =
                    without_nulls(json!({"labels": random.labels(), "annotations": random.annotations()}));
                Some(Change::Metadata(made, json!({"metadata": metadata})))
            }
            3..=5 => {
                let status = match resource.plural {
                    // It has to go with the spec.
                    "pods" => without_nulls(pods::status(random, &made.object["spec"])),
                    _ => object(resource, change, index).status,
                };
                Some(Change::Status(Made { status, other: None, delete: false, ..made }))
            }
            6 => Some(Change::Delete(made)),
            _ => None,
        }
    }

    async fn ask(self, api: &Client) -> Result<Outcome> {
        let outcome = |made: &Made| Outcome {
            resource: made.resource.plural,
            mutant: false,
            created: false,
            refused: Vec::new(),
        };
        match self {
            Change::Create(made) => ask(api, made).await,
            Change::Status(made) => {
                let mut outcome = outcome(&made);
                follow_up(api, &made, &mut outcome).await?;
                Ok(outcome)
            }
            Change::Metadata(made, body) => {
                let mut outcome = outcome(&made);
                let refused = request(api, Method::PATCH, &made.path(), MERGE_PATCH, &body).await?;
                outcome.refused.extend(refused.map(|reason| ("metadata", reason)));
                Ok(outcome)
            }
            Change::Delete(made) => {
                let mut outcome = outcome(&made);
                let refused =
                    request(api, Method::DELETE, &made.path(), "application/json", &json!({})).await?;
                outcome.refused.extend(refused.map(|reason| ("delete", reason)));
                Ok(outcome)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_makes_the_same_objects_each_time_and_others_with_another_seed() {
        let names = |seed| {
            let plan = ObjectPlan { seed, each: 5, cases: None };
            planned(&plan).unwrap().into_iter().map(|made| made.object.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(1), names(1));
        assert_ne!(names(1), names(2));
    }

    #[test]
    fn objects_have_their_place_and_names_of_their_own() {
        let all = planned(&ObjectPlan { seed: 7, each: 40, cases: None }).unwrap();
        let paths: std::collections::BTreeSet<String> = all.iter().map(Made::path).collect();
        assert_eq!(paths.len(), all.len());
    }

    #[test]
    fn reasons_leave_out_what_differs() {
        let body = r#"{"message": "x", "details": {"causes": [{"field": "spec.a[12].b", "message": "too long: 77"}]}}"#;
        assert_eq!(reason(body), "spec.a[#].b: too long: #");
        assert_eq!(reason("{\"message\": \"pods a is forbidden\"}"), "pods a is forbidden");
    }
}
