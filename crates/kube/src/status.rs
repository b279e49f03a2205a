//! What each watch does, and what the cluster's requests came to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use outrigger_model::clock::SharedClock;
use outrigger_model::sample::Timestamp;
use outrigger_rt::metrics::{Exposition, MetricKind, Registry};
use outrigger_wire::kubernetes::WatchEventKind;
use parking_lot::Mutex;

use crate::machine::{ReconnectReason, RelistReason, WatchPhase};
use crate::request::RequestKind;
use crate::resource::WatchedResource;

/// The permission that a 403 says is missing, and the rule that would grant it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RbacHint {
    /// `ClusterRole`, or `Role` for one namespace.
    pub role_kind: &'static str,
    /// Namespace of the `Role`.
    pub namespace: Option<String>,
    /// Who asked, as the server named it, for example `system:serviceaccount:monitoring:outrigger`.
    pub user: Option<String>,
    /// A manifest with exactly the missing rule, in YAML, for `kubectl apply`.
    pub rule: String,
}

impl RbacHint {
    /// The hint for a refused list or watch.
    pub(crate) fn new(resource: &WatchedResource, namespace: Option<&str>, message: &str) -> Self {
        Self::of_verbs(resource, &["list", "watch"], namespace, message)
    }

    /// The hint for refused requests of these verbs.
    pub(crate) fn of_verbs(
        resource: &WatchedResource,
        verbs: &[&str],
        namespace: Option<&str>,
        message: &str,
    ) -> Self {
        let role_kind = if namespace.is_some() { "Role" } else { "ClusterRole" };
        let name = format!("outrigger-{}", resource.plural());
        let mut metadata = format!("metadata:\n  name: {name}\n");
        if let Some(namespace) = namespace {
            metadata.push_str(&format!("  namespace: {namespace}\n"));
        }
        let rule = format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: {role_kind}\n{metadata}rules:\n- apiGroups: [{group:?}]\n  \
             resources: [{plural:?}]\n  verbs: {verbs:?}\n",
            group = resource.group(),
            plural = resource.plural(),
        );
        Self { role_kind, namespace: namespace.map(str::to_owned), user: user_of(message), rule }
    }
}

/// The user in `pods is forbidden: User "…" cannot list resource …`.
fn user_of(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("User \"")?;
    let (user, _) = rest.split_once('"')?;
    (!user.is_empty()).then(|| user.to_owned())
}

/// One watch, for status pages.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchStatus {
    /// What is watched.
    pub resource: WatchedResource,
    /// Where, when it is not the whole cluster.
    pub namespace: Option<String>,
    /// What the watch is doing.
    pub phase: WatchPhase,
    /// Whether a list was whole once.
    pub synced: bool,
    /// When an event, bookmark or list arrived last.
    pub last_event: Option<Timestamp>,
    /// Version of the last event, bookmark or list.
    pub resource_version: String,
    /// What failed last, as one line; `None` again once it works.
    pub last_error: Option<String>,
    /// The permission that is missing, after 403.
    pub missing_permission: Option<RbacHint>,
    /// Lists after the first.
    pub relists: u64,
    /// Watches that were opened again from their last version.
    pub reconnects: u64,
    /// Events of every type.
    pub events: u64,
    /// Bytes of bodies received.
    pub bytes: u64,
    /// Objects that could not be taken over.
    pub refused_objects: u64,
}

/// How many requests there were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestCount {
    /// Kind.
    pub request: RequestKind,
    /// Resource; `None` for `GET /version`.
    pub resource: Option<WatchedResource>,
    /// HTTP status; `None` when there was no answer.
    pub code: Option<u16>,
    /// How many.
    pub count: u64,
}

/// Counters of one resource in one namespace, written by its driver.
#[derive(Debug)]
pub(crate) struct WatchRecord {
    pub(crate) resource: WatchedResource,
    pub(crate) namespace: Option<String>,
    events: [AtomicU64; 5],
    bytes: AtomicU64,
    refused_objects: AtomicU64,
    /// Milliseconds since the epoch; zero before the first.
    last_event: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    phase: WatchPhase,
    synced: bool,
    resource_version: String,
    last_error: Option<String>,
    missing_permission: Option<RbacHint>,
    relists: BTreeMap<&'static str, u64>,
    reconnects: BTreeMap<&'static str, u64>,
}

const EVENT_KINDS: [WatchEventKind; 5] = [
    WatchEventKind::Added,
    WatchEventKind::Modified,
    WatchEventKind::Deleted,
    WatchEventKind::Bookmark,
    WatchEventKind::Error,
];

impl WatchRecord {
    fn new(resource: WatchedResource, namespace: Option<String>) -> Self {
        Self {
            resource,
            namespace,
            events: Default::default(),
            bytes: AtomicU64::new(0),
            refused_objects: AtomicU64::new(0),
            last_event: AtomicU64::new(0),
            inner: Mutex::new(Inner {
                phase: WatchPhase::Starting,
                synced: false,
                resource_version: String::new(),
                last_error: None,
                missing_permission: None,
                relists: BTreeMap::new(),
                reconnects: BTreeMap::new(),
            }),
        }
    }

    pub(crate) fn count_event(&self, kind: WatchEventKind, now: Timestamp) {
        let position = EVENT_KINDS.iter().position(|candidate| *candidate == kind).unwrap_or(0);
        self.events[position].fetch_add(1, Ordering::Relaxed);
        self.touch(now);
    }

    pub(crate) fn touch(&self, now: Timestamp) {
        self.last_event.store(u64::try_from(now.millis()).unwrap_or(0), Ordering::Relaxed);
    }

    pub(crate) fn count_bytes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_refused_object(&self) {
        self.refused_objects.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_relist(&self, reason: RelistReason) {
        *self.inner.lock().relists.entry(reason.as_str()).or_default() += 1;
    }

    pub(crate) fn count_reconnect(&self, reason: ReconnectReason) {
        *self.inner.lock().reconnects.entry(reason.as_str()).or_default() += 1;
    }

    /// Takes over what the machine says; what works again has no error.
    pub(crate) fn set_phase(&self, phase: WatchPhase, synced: bool, version: &str) {
        let mut inner = self.inner.lock();
        inner.phase = phase;
        inner.synced = synced;
        if inner.resource_version != version {
            inner.resource_version.clear();
            inner.resource_version.push_str(version);
        }
    }

    /// The server answered as it should.
    pub(crate) fn clear_error(&self) {
        let mut inner = self.inner.lock();
        inner.last_error = None;
        inner.missing_permission = None;
    }

    pub(crate) fn set_error(&self, error: String, missing_permission: Option<RbacHint>) {
        let mut inner = self.inner.lock();
        inner.last_error = Some(error);
        inner.missing_permission = missing_permission;
    }

    /// Whether this is what failed last too.
    pub(crate) fn has_error(&self, error: &str) -> bool {
        self.inner.lock().last_error.as_deref() == Some(error)
    }

    fn events(&self) -> u64 {
        self.events.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    fn last_event(&self) -> Option<Timestamp> {
        let millis = self.last_event.load(Ordering::Relaxed);
        (millis > 0).then(|| Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX)))
    }

    fn status(&self) -> WatchStatus {
        let inner = self.inner.lock();
        WatchStatus {
            resource: self.resource.clone(),
            namespace: self.namespace.clone(),
            phase: inner.phase,
            synced: inner.synced,
            last_event: self.last_event(),
            resource_version: inner.resource_version.clone(),
            last_error: inner.last_error.clone(),
            missing_permission: inner.missing_permission.clone(),
            relists: inner.relists.values().sum(),
            reconnects: inner.reconnects.values().sum(),
            events: self.events(),
            bytes: self.bytes.load(Ordering::Relaxed),
            refused_objects: self.refused_objects.load(Ordering::Relaxed),
        }
    }
}

/// Kind, resource and HTTP status; zero when there was no answer.
type RequestKey = (RequestKind, Option<WatchedResource>, u16);

/// All watches and requests of one cluster.
pub(crate) struct Accounts {
    cluster: String,
    clock: SharedClock,
    requests: Mutex<BTreeMap<RequestKey, u64>>,
    /// In order of their start. A watch that ended stays in the counters, not in the list of statuses.
    watches: Mutex<Vec<Registered>>,
    pub(crate) connections: Arc<AtomicU64>,
}

struct Registered {
    record: Arc<WatchRecord>,
    running: Weak<Running>,
}

/// Held by a watch while it runs.
pub(crate) struct Running;

impl Accounts {
    pub(crate) fn new(cluster: String, clock: SharedClock) -> Self {
        Self {
            cluster,
            clock,
            requests: Mutex::default(),
            watches: Mutex::default(),
            connections: Arc::default(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The record of a watch that starts; one that ended before continues its counters.
    pub(crate) fn start(
        &self,
        resource: &WatchedResource,
        namespace: Option<&str>,
    ) -> (Arc<WatchRecord>, Arc<Running>) {
        let running = Arc::new(Running);
        let mut watches = self.watches.lock();
        let known = watches.iter_mut().find(|known| {
            known.running.strong_count() == 0
                && known.record.resource == *resource
                && known.record.namespace.as_deref() == namespace
        });
        if let Some(known) = known {
            known.running = Arc::downgrade(&running);
            return (known.record.clone(), running);
        }
        let record = Arc::new(WatchRecord::new(resource.clone(), namespace.map(str::to_owned)));
        watches.push(Registered { record: record.clone(), running: Arc::downgrade(&running) });
        (record, running)
    }

    pub(crate) fn count_request(
        &self,
        request: RequestKind,
        resource: Option<&WatchedResource>,
        code: Option<u16>,
    ) {
        *self.requests.lock().entry((request, resource.cloned(), code.unwrap_or(0))).or_default() += 1;
    }

    pub(crate) fn statuses(&self) -> Vec<WatchStatus> {
        let watches = self.watches.lock();
        watches
            .iter()
            .filter(|watch| watch.running.strong_count() > 0)
            .map(|watch| watch.record.status())
            .collect()
    }

    pub(crate) fn requests(&self) -> Vec<RequestCount> {
        let requests = self.requests.lock();
        requests
            .iter()
            .map(|((request, resource, code), count)| RequestCount {
                request: *request,
                resource: resource.clone(),
                code: (*code != 0).then_some(*code),
                count: *count,
            })
            .collect()
    }

    /// Exports everything through the registry for as long as the cluster lives.
    pub(crate) fn register(self: &Arc<Self>, registry: &Registry) {
        let accounts = Arc::downgrade(self);
        registry.collector(move |exposition| {
            if let Some(accounts) = accounts.upgrade() {
                accounts.collect(exposition);
            }
        });
    }

    fn collect(&self, exposition: &mut Exposition) {
        let cluster = self.cluster.as_str();
        let mut requests = exposition.family(
            "outrigger_kubernetes_requests_total",
            "Requests to the Kubernetes API server, by HTTP status (error: no answer).",
            MetricKind::Counter,
        );
        for count in self.requests() {
            let resource = count.resource.map(|resource| resource.to_string()).unwrap_or_default();
            let code = count.code.map_or("error".to_owned(), |code| code.to_string());
            let labels = [
                ("cluster", cluster),
                ("resource", resource.as_str()),
                ("request", count.request.as_str()),
                ("code", code.as_str()),
            ];
            requests.sample(&labels, count.count as f64);
        }
        exposition
            .family(
                "outrigger_kubernetes_connections_opened_total",
                "Connections opened to the Kubernetes API server.",
                MetricKind::Counter,
            )
            .sample(&[("cluster", cluster)], self.connections.load(Ordering::Relaxed) as f64);
        self.collect_watches(exposition);
    }

    fn collect_watches(&self, exposition: &mut Exposition) {
        let mut totals: BTreeMap<WatchedResource, Totals> = BTreeMap::new();
        for watch in self.watches.lock().iter() {
            totals
                .entry(watch.record.resource.clone())
                .or_default()
                .add(&watch.record, watch.running.strong_count() > 0);
        }
        let cluster = self.cluster.as_str();
        for (resource, total) in totals {
            let resource = resource.to_string();
            total.write(cluster, &resource, exposition);
        }
    }
}

/// Counters of one resource over all namespaces.
#[derive(Default)]
struct Totals {
    events: [u64; 5],
    bytes: u64,
    refused_objects: u64,
    relists: BTreeMap<&'static str, u64>,
    reconnects: BTreeMap<&'static str, u64>,
    running: u32,
    unsynced: u32,
    /// The oldest of the running watches: the mirror is as old as that.
    last_event: Option<Timestamp>,
}

impl Totals {
    fn add(&mut self, record: &WatchRecord, running: bool) {
        for (total, count) in self.events.iter_mut().zip(&record.events) {
            *total += count.load(Ordering::Relaxed);
        }
        self.bytes += record.bytes.load(Ordering::Relaxed);
        self.refused_objects += record.refused_objects.load(Ordering::Relaxed);
        let inner = record.inner.lock();
        for (reason, count) in &inner.relists {
            *self.relists.entry(reason).or_default() += count;
        }
        for (reason, count) in &inner.reconnects {
            *self.reconnects.entry(reason).or_default() += count;
        }
        if running {
            self.running += 1;
            self.unsynced += u32::from(!inner.synced);
            let last = record.last_event();
            self.last_event = match (self.last_event, last) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
    }

    fn write(&self, cluster: &str, resource: &str, exposition: &mut Exposition) {
        let labels = [("cluster", cluster), ("resource", resource)];
        let mut events = exposition.family(
            "outrigger_kubernetes_watch_events_total",
            "Watch events received, by type.",
            MetricKind::Counter,
        );
        for (kind, count) in EVENT_KINDS.iter().zip(self.events) {
            events.sample(&[labels[0], labels[1], ("type", kind.as_str())], count as f64);
        }
        let mut counter = |name: &str, help: &str, value: u64| {
            exposition.family(name, help, MetricKind::Counter).sample(&labels, value as f64);
        };
        counter("outrigger_kubernetes_watch_bytes_total", "Bytes of lists and watches received.", self.bytes);
        counter(
            "outrigger_kubernetes_refused_objects_total",
            "Objects that could not be read and were left out.",
            self.refused_objects,
        );
        let mut by_reason = |name: &str, help: &str, counts: &BTreeMap<&'static str, u64>| {
            let mut family = exposition.family(name, help, MetricKind::Counter);
            for (reason, count) in counts {
                family.sample(&[labels[0], labels[1], ("reason", reason)], *count as f64);
            }
        };
        by_reason(
            "outrigger_kubernetes_relists_total",
            "Lists after the first, by the reason for them.",
            &self.relists,
        );
        by_reason(
            "outrigger_kubernetes_watch_reconnects_total",
            "Watches opened again from their last version, by the reason for it.",
            &self.reconnects,
        );
        if self.running == 0 {
            return;
        }
        exposition
            .family(
                "outrigger_kubernetes_synced",
                "Whether the first list of the resource is whole.",
                MetricKind::Gauge,
            )
            .sample(&labels, f64::from(u8::from(self.unsynced == 0)));
        if let Some(last) = self.last_event {
            exposition
                .family(
                    "outrigger_kubernetes_last_event_timestamp_seconds",
                    "When the last event, bookmark or list arrived.",
                    MetricKind::Gauge,
                )
                .sample(&labels, last.seconds());
        }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_wire::kubernetes::ResourceKind;

    use super::*;

    #[test]
    fn a_hint_is_a_manifest_with_the_missing_rule_and_names_who_needs_it() {
        let message = "endpointslices.discovery.k8s.io is forbidden: User \"system:serviceaccount:m:o\" cannot list \
                       resource \"endpointslices\" in API group \"discovery.k8s.io\" at the cluster scope";
        let hint = RbacHint::new(&ResourceKind::EndpointSlice.into(), None, message);
        assert_eq!(hint.user.as_deref(), Some("system:serviceaccount:m:o"));
        assert_eq!(
            hint.rule,
            "apiVersion: rbac.authorization.k8s.io/v1\n\
             kind: ClusterRole\n\
             metadata:\n  name: outrigger-endpointslices\n\
             rules:\n\
             - apiGroups: [\"discovery.k8s.io\"]\n  resources: [\"endpointslices\"]\n  verbs: [\"list\", \"watch\"]\n"
        );
        let hint = RbacHint::new(&ResourceKind::Pod.into(), Some("web"), "forbidden");
        assert_eq!((hint.role_kind, hint.user), ("Role", None));
        assert!(
            hint.rule.contains("kind: Role\nmetadata:\n  name: outrigger-pods\n  namespace: web\n"),
            "{}",
            hint.rule
        );
        assert!(hint.rule.contains("apiGroups: [\"\"]"));
    }
}
