//! A cluster as kube-state-metrics sees one: every resource it reads, in the shapes and proportions of a large real
//! cluster, made when it is asked for, so that 300,000 pods take little memory here.
//!
//! The same options give the same cluster. Thirty pods belong to each Deployment, which keeps ten old ReplicaSets;
//! a pod has two containers and an init container, managed fields and everything a kubelet reports.

mod configuration;
mod encode;
mod names;
mod node;
mod pod;
mod storage;
mod traffic;
mod workload;

use std::sync::Arc;
use std::time::Duration;

use outrigger_model::clock::SharedClock;
use outrigger_wire::kubernetes::ResourceKind;
use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;

use crate::store::{Made, Maker, ObjectKey, Store};

/// Pods of a Deployment, and of a node.
const PODS_PER_DEPLOYMENT: u64 = 30;
const PODS_PER_NODE: u64 = 30;
/// ReplicaSets of a Deployment: the current one and ten old ones.
const REPLICA_SETS: u64 = 11;
/// Deployments of a namespace.
const DEPLOYMENTS_PER_NAMESPACE: u64 = 5;
/// A node renews its lease this often.
const LEASE_SECONDS: u64 = 10;

/// How far a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Created,
    Scheduled,
    Running,
    Ready,
}

impl Stage {
    const ALL: [Stage; 4] = [Stage::Created, Stage::Scheduled, Stage::Running, Stage::Ready];
}

/// What an object is at one time: which of those that had its place, and how far it is.
fn edition(serial: u64, stage: Stage) -> u64 {
    serial << 2 | stage as u64
}

/// How large everything is; makes the objects.
#[derive(Debug, Clone, Copy)]
pub struct Proportions {
    pods: u64,
    /// Seconds since the epoch at which the cluster is.
    now: i64,
}

impl Proportions {
    fn deployments(&self) -> u64 {
        self.pods.div_ceil(PODS_PER_DEPLOYMENT)
    }

    fn nodes(&self) -> u64 {
        self.pods.div_ceil(PODS_PER_NODE).max(1)
    }

    fn namespaces(&self) -> u64 {
        self.deployments().div_ceil(DEPLOYMENTS_PER_NAMESPACE).max(1)
    }

    /// How many objects of a resource there are.
    pub fn count(&self, resource: ResourceKind) -> u64 {
        let (deployments, namespaces) = (self.deployments(), self.namespaces());
        let volumes = deployments / 4;
        match resource {
            ResourceKind::Pod => self.pods,
            ResourceKind::Node => self.nodes(),
            // Those of the nodes, and of a few controllers.
            ResourceKind::Lease => self.nodes() + 12,
            ResourceKind::Namespace => namespaces,
            ResourceKind::ReplicaSet => deployments * REPLICA_SETS,
            ResourceKind::Deployment | ResourceKind::Service => deployments,
            ResourceKind::EndpointSlice | ResourceKind::Endpoints => deployments,
            // One of the Deployment's own, and the root certificate of each namespace.
            ResourceKind::ConfigMap => deployments + namespaces,
            ResourceKind::Secret => deployments * 2,
            ResourceKind::ServiceAccount => deployments + namespaces,
            ResourceKind::HorizontalPodAutoscaler | ResourceKind::PodDisruptionBudget => deployments / 4,
            ResourceKind::Ingress => deployments / 10,
            ResourceKind::NetworkPolicy => namespaces,
            ResourceKind::ResourceQuota | ResourceKind::LimitRange => namespaces / 2,
            ResourceKind::Role | ResourceKind::RoleBinding => namespaces,
            ResourceKind::StatefulSet => volumes.div_ceil(3),
            ResourceKind::PersistentVolumeClaim
            | ResourceKind::PersistentVolume
            | ResourceKind::VolumeAttachment => volumes,
            ResourceKind::Job => deployments / 2,
            ResourceKind::CronJob => deployments / 10,
            ResourceKind::DaemonSet => 12,
            ResourceKind::ClusterRole | ResourceKind::ClusterRoleBinding => 120,
            ResourceKind::StorageClass => 5,
            ResourceKind::IngressClass => 2,
            ResourceKind::CertificateSigningRequest => 20,
            ResourceKind::ReplicationController => 3,
            ResourceKind::MutatingWebhookConfiguration
            | ResourceKind::ValidatingWebhookConfiguration
            | ResourceKind::ValidatingAdmissionPolicy
            | ResourceKind::ValidatingAdmissionPolicyBinding
            | ResourceKind::MutatingAdmissionPolicy
            | ResourceKind::MutatingAdmissionPolicyBinding => 6,
        }
    }

    /// Seconds since the epoch at which an object was created: within the year before now.
    fn created(&self, resource: ResourceKind, number: u64) -> i64 {
        self.now - (names::mix(resource, number, 1) % 31_000_000) as i64
    }
}

impl Maker for Proportions {
    fn key(&self, resource: ResourceKind, made: Made) -> ObjectKey {
        let Made { number, .. } = made;
        let team = |number: u64| names::namespace(number % self.namespaces());
        let key = |namespace: String, name: String| ObjectKey { namespace, name };
        let kind = resource.kind().to_lowercase();
        match resource {
            ResourceKind::Pod => {
                let deployment = number / PODS_PER_DEPLOYMENT;
                key(team(deployment), names::pod(number, made.edition >> 2))
            }
            ResourceKind::Node => key(String::new(), names::node(number)),
            ResourceKind::Namespace => key(String::new(), names::namespace(number)),
            ResourceKind::Lease if number < self.nodes() => {
                key("kube-node-lease".to_owned(), names::node(number))
            }
            ResourceKind::Lease => key("kube-system".to_owned(), format!("controller-{number}")),
            ResourceKind::ReplicaSet => {
                let deployment = number / REPLICA_SETS;
                key(team(deployment), names::replica_set(deployment, number % REPLICA_SETS))
            }
            ResourceKind::ConfigMap if number >= self.deployments() => {
                key(names::namespace(number - self.deployments()), "kube-root-ca.crt".to_owned())
            }
            ResourceKind::ServiceAccount if number >= self.deployments() => {
                key(names::namespace(number - self.deployments()), "default".to_owned())
            }
            ResourceKind::Secret => {
                let suffix = if number.is_multiple_of(2) { "credentials" } else { "tls" };
                key(team(number / 2), format!("{}-{suffix}", names::application(number / 2)))
            }
            ResourceKind::EndpointSlice => {
                let suffix = names::suffix(names::mix(resource, number, 0));
                key(team(number), format!("{}-{suffix}", names::application(number)))
            }
            ResourceKind::PersistentVolumeClaim => {
                let set = names::application(number / 3);
                key(team(number / 3), format!("data-{set}-store-{}", number % 3))
            }
            ResourceKind::PersistentVolume => {
                let uid = names::uid(ResourceKind::PersistentVolumeClaim, number, 0);
                key(String::new(), format!("pvc-{uid}"))
            }
            ResourceKind::StatefulSet => key(team(number), format!("{}-store", names::application(number))),
            ResourceKind::Job => {
                let minute = (self.now - names::mix(resource, number, 3) as i64 % 10_000_000) / 60;
                key(
                    team(number / 5),
                    format!("{}-report-{minute}{}", names::application(number / 5), number % 5),
                )
            }
            ResourceKind::CronJob => key(team(number), format!("{}-report", names::application(number))),
            ResourceKind::DaemonSet => key("kube-system".to_owned(), format!("agent-{number}")),
            ResourceKind::NetworkPolicy | ResourceKind::Role | ResourceKind::RoleBinding => {
                key(team(number), format!("{kind}-default"))
            }
            ResourceKind::ResourceQuota | ResourceKind::LimitRange => {
                key(team(number), format!("{kind}-compute"))
            }
            _ if resource.namespaced() => key(team(number), names::application(number)),
            _ => key(String::new(), format!("{kind}-{number}")),
        }
    }

    fn make(&self, resource: ResourceKind, made: Made, resource_version: u64, into: &mut Vec<u8>) {
        let object =
            encode::Object { all: *self, resource, made, resource_version, key: self.key(resource, made) };
        object.encode(into);
    }
}

/// The objects of the cluster in a store, and how they change.
#[derive(Debug)]
pub struct StatePopulation {
    all: Proportions,
    maker: Arc<dyn Maker>,
    store: Arc<Store>,
    /// By pod: which it is of those that had its place, and how far it is.
    pods: Mutex<Vec<(u64, Stage)>>,
}

impl StatePopulation {
    /// Puts all objects of a cluster of so many pods into `store`; `now` in seconds since the epoch.
    pub fn create(pods: u32, store: Arc<Store>, now: i64) -> Self {
        let all = Proportions { pods: pods.into(), now };
        let pods = Mutex::new(vec![(0, Stage::Ready); pods as usize]);
        let population = Self { all, maker: Arc::new(all), store, pods };
        for resource in ResourceKind::ALL {
            match resource {
                ResourceKind::EndpointSlice | ResourceKind::Endpoints => {}
                _ => (0..all.count(resource)).for_each(|number| population.put(resource, number, 0)),
            }
        }
        (0..all.deployments()).for_each(|deployment| population.put_endpoints(deployment));
        population
    }

    /// How many objects there are of each resource.
    pub fn proportions(&self) -> Proportions {
        self.all
    }

    fn put(&self, resource: ResourceKind, number: u64, edition: u64) {
        let edition = if resource == ResourceKind::Pod { edition | Stage::Ready as u64 } else { edition };
        self.store.put_made(resource, Made { number, edition }, &self.maker);
    }

    /// Renews the leases of the nodes whose turn it is in this second, in `parts` of a second.
    fn renew(&self, second: u64, part: u64, parts: u64) {
        let turn = (second * parts + part) % (LEASE_SECONDS * parts);
        let nodes = self.all.nodes();
        let range = |turn: u64| nodes * turn / (LEASE_SECONDS * parts);
        for node in range(turn)..range(turn + 1) {
            self.store.put_made(ResourceKind::Lease, Made { number: node, edition: second + 1 }, &self.maker);
        }
    }

    /// Deletes a pod and creates its successor.
    fn replace(&self, number: u64) {
        let (serial, stage) = {
            let pod = &mut self.pods.lock()[number as usize];
            std::mem::replace(pod, (pod.0 + 1, Stage::Created))
        };
        let last = Made { number, edition: edition(serial, stage) };
        self.store.delete_made(ResourceKind::Pod, last, &self.maker);
        self.advance(number, Stage::Created);
        self.put_endpoints(number / PODS_PER_DEPLOYMENT);
    }

    fn advance(&self, number: u64, stage: Stage) {
        let serial = {
            let pod = &mut self.pods.lock()[number as usize];
            pod.1 = stage;
            pod.0
        };
        let made = Made { number, edition: edition(serial, stage) };
        self.store.put_made(ResourceKind::Pod, made, &self.maker);
        if stage == Stage::Ready {
            self.put_endpoints(number / PODS_PER_DEPLOYMENT);
        }
    }

    /// Lets every pod be ready: those that had just been created when the changes ended.
    pub fn settle(&self) {
        let started =
            |(number, pod): (usize, &(u64, Stage))| (pod.1 != Stage::Ready).then_some(number as u64);
        let starting: Vec<u64> = self.pods.lock().iter().enumerate().filter_map(started).collect();
        starting.into_iter().for_each(|number| self.advance(number, Stage::Ready));
    }

    /// Lets leases be renewed and pods be replaced, with five events for each, until it is dropped.
    pub async fn churn(self: Arc<Self>, pod_events_per_second: u32, clock: SharedClock) {
        const PARTS: u64 = 10;
        let mut ticks = tokio::time::interval(Duration::from_millis(1000 / PARTS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let events = u64::from(pod_events_per_second);
        let mut next = 0;
        let mut owed = 0;
        let mut starting: std::collections::VecDeque<Vec<u64>> = std::collections::VecDeque::new();
        for tick in 0.. {
            ticks.tick().await;
            let second = clock.now().millis().max(0) as u64 / 1000;
            self.renew(second, tick % PARTS, PARTS);
            // Each pod takes one step in each part of a second.
            for (age, pods) in starting.iter().rev().enumerate() {
                let Some(stage) = Stage::ALL.get(age + 1) else { continue };
                pods.iter().for_each(|pod| self.advance(*pod, *stage));
            }
            if starting.len() >= Stage::ALL.len() - 1 {
                starting.pop_front();
            }
            owed += events;
            let replaced = owed / (5 * PARTS);
            owed %= 5 * PARTS;
            let mut pods = Vec::new();
            for _ in 0..replaced.min(self.all.pods) {
                // Far apart, so that the pods of one Deployment are not replaced together.
                next = (next + 7919) % self.all.pods;
                self.replace(next);
                pods.push(next);
            }
            starting.push_back(pods);
        }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_wire::kubernetes::object_meta;

    use super::*;

    #[test]
    fn every_resource_is_there_in_proportion_and_named_as_its_key_says() {
        let store = Arc::new(Store::new());
        let population = StatePopulation::create(3000, Arc::clone(&store), 1_790_000_000);
        assert_eq!(store.len(ResourceKind::Pod), 3000);
        assert_eq!(store.len(ResourceKind::ReplicaSet), 1100, "ten old ones for each Deployment");
        for resource in ResourceKind::ALL {
            let (_, objects) = store.snapshot(resource);
            assert_eq!(
                objects.len() as u64,
                population.proportions().count(resource),
                "{resource}: names differ"
            );
            assert!(!objects.is_empty(), "{resource}");
            for object in objects {
                let raw = object.raw();
                let meta = object_meta(&raw).expect("readable");
                assert_eq!((meta.namespace, meta.name), (&*object.key.namespace, &*object.key.name));
                assert_eq!(meta.resource_version, object.resource_version.to_string());
                assert_eq!((meta.uid.len(), meta.namespace.is_empty()), (36, !resource.namespaced()));
            }
        }
        let (_, pods) = store.snapshot(ResourceKind::Pod);
        let bytes: usize = pods.iter().map(|pod| pod.raw().len()).sum();
        assert!((4000..12_000).contains(&(bytes / pods.len())), "{} bytes a pod", bytes / pods.len());
    }

    #[test]
    fn a_replaced_pod_is_another_one_in_its_slice_too() {
        let store = Arc::new(Store::new());
        let population = StatePopulation::create(60, Arc::clone(&store), 1_790_000_000);
        let names = |resource| -> Vec<String> {
            let (_, objects) = store.snapshot(resource);
            objects.iter().map(|object| object.key.name.clone()).collect()
        };
        let before = names(ResourceKind::Pod);
        let revision = store.resource_version();
        population.replace(31);
        population.advance(31, Stage::Scheduled);
        population.advance(31, Stage::Running);
        population.settle();
        population.settle();
        let after = names(ResourceKind::Pod);
        assert_eq!(after.len(), 60);
        assert_eq!(after.iter().filter(|name| !before.contains(name)).count(), 1);
        let changes = |resource| store.changes_after(resource, revision, 100).expect("in the log").len();
        assert_eq!((changes(ResourceKind::Pod), changes(ResourceKind::EndpointSlice)), (5, 2));
        population.renew(0, 0, 1);
        population.renew(9, 0, 1);
        assert_eq!(changes(ResourceKind::Lease), 1, "two nodes renew once each in ten seconds");
    }
}
