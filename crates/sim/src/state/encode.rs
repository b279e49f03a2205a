//! Messages in protobuf. Field numbers are those of `generated.proto` in k8s.io/api; like the Go encoder, every field
//! that is not a pointer is written where real objects have it set.

use outrigger_wire::kubernetes::ResourceKind;
use outrigger_wire::protobuf::Writer;

use super::{Proportions, names};
use crate::store::{Made, ObjectKey};

/// One object to encode.
pub(super) struct Object {
    pub(super) all: Proportions,
    pub(super) resource: ResourceKind,
    pub(super) made: Made,
    pub(super) resource_version: u64,
    pub(super) key: ObjectKey,
}

impl Object {
    pub(super) fn encode(&self, into: &mut Vec<u8>) {
        let writer = &mut Writer::new(into);
        match self.resource {
            ResourceKind::Pod => self.pod(writer),
            ResourceKind::Node => self.node(writer),
            ResourceKind::Lease => self.lease(writer),
            ResourceKind::Deployment => self.deployment(writer),
            ResourceKind::ReplicaSet => self.replica_set(writer),
            ResourceKind::StatefulSet => self.stateful_set(writer),
            ResourceKind::DaemonSet => self.daemon_set(writer),
            ResourceKind::ReplicationController => self.replication_controller(writer),
            ResourceKind::Job => self.job(writer),
            ResourceKind::CronJob => self.cron_job(writer),
            ResourceKind::HorizontalPodAutoscaler => self.autoscaler(writer),
            ResourceKind::PodDisruptionBudget => self.disruption_budget(writer),
            ResourceKind::Service => self.service(writer),
            ResourceKind::Ingress => self.ingress(writer),
            ResourceKind::IngressClass => self.ingress_class(writer),
            ResourceKind::NetworkPolicy => self.network_policy(writer),
            ResourceKind::PersistentVolume => self.volume(writer),
            ResourceKind::PersistentVolumeClaim => self.claim(writer),
            ResourceKind::VolumeAttachment => self.attachment(writer),
            ResourceKind::StorageClass => self.storage_class(writer),
            // The population puts these whole, because they change with their pods.
            ResourceKind::EndpointSlice | ResourceKind::Endpoints => self.metadata(writer, &[], None),
            _ => self.configuration(writer),
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.made.number
    }

    /// A number that looks random and is this object's.
    pub(super) fn random(&self, salt: u64) -> u64 {
        names::mix(self.resource, self.made.number, salt)
    }

    pub(super) fn created(&self) -> i64 {
        self.all.created(self.resource, self.made.number)
    }

    /// `metadata`, created as the resource is and owned by `owner`.
    pub(super) fn metadata(
        &self,
        writer: &mut Writer<'_>,
        labels: &[(&str, &str)],
        owner: Option<Owner<'_>>,
    ) {
        let uid = names::uid(self.resource, self.made.number, 0);
        self.metadata_of(
            writer,
            &Metadata { uid: &uid, created: self.created(), labels, annotations: &[], owner, managers: 1 },
        );
    }

    pub(super) fn metadata_of(&self, writer: &mut Writer<'_>, metadata: &Metadata<'_>) {
        writer.message(1, |meta| {
            meta.string(1, &self.key.name);
            meta.string(2, "");
            meta.string(3, &self.key.namespace);
            meta.string(4, "");
            meta.string(5, metadata.uid);
            meta.string(6, &self.resource_version.to_string());
            meta.int(7, if self.resource == ResourceKind::Pod { 1 } else { 3 });
            meta.message(8, |time| seconds(time, metadata.created));
            pairs(meta, 11, metadata.labels);
            pairs(meta, 12, metadata.annotations);
            if let Some(owner) = &metadata.owner {
                meta.message(13, |reference| {
                    reference.string(1, owner.kind);
                    reference.string(3, owner.name);
                    reference.string(4, &owner.uid);
                    reference.string(5, owner.api_version);
                    reference.boolean(6, true);
                    reference.boolean(7, true);
                });
            }
            for manager in 0..metadata.managers {
                meta.message(17, |entry| managed_fields(entry, manager, metadata.created));
            }
        });
    }
}

/// What differs between the metadata of objects.
pub(super) struct Metadata<'a> {
    pub(super) uid: &'a str,
    pub(super) created: i64,
    pub(super) labels: &'a [(&'a str, &'a str)],
    pub(super) annotations: &'a [(&'a str, &'a str)],
    pub(super) owner: Option<Owner<'a>>,
    /// Entries of managed fields.
    pub(super) managers: usize,
}

/// The controller of an object.
pub(super) struct Owner<'a> {
    pub(super) api_version: &'a str,
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
    pub(super) uid: String,
}

/// Managers with the fields that they own of a pod, as a server writes them.
const MANAGERS: [(&str, &str, &str); 2] = [
    (
        "kube-controller-manager",
        "",
        r#"{"f:metadata":{"f:generateName":{},"f:labels":{".":{},"f:app.kubernetes.io/name":{},"f:app.kubernetes.io/instance":{},"f:app.kubernetes.io/version":{},"f:pod-template-hash":{}},"f:ownerReferences":{".":{},"k:{\"uid\":\"0f3c2b1a-7d6e-4f5a-9b8c-1d2e3f4a5b6c\"}":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"main\"}":{".":{},"f:env":{".":{},"k:{\"name\":\"LOG_LEVEL\"}":{".":{},"f:name":{},"f:value":{}}},"f:image":{},"f:imagePullPolicy":{},"f:livenessProbe":{".":{},"f:failureThreshold":{},"f:httpGet":{".":{},"f:path":{},"f:port":{},"f:scheme":{}},"f:periodSeconds":{}},"f:name":{},"f:ports":{".":{},"k:{\"containerPort\":8080,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:name":{},"f:protocol":{}}},"f:resources":{".":{},"f:limits":{".":{},"f:cpu":{},"f:memory":{}},"f:requests":{".":{},"f:cpu":{},"f:memory":{}}},"f:terminationMessagePath":{},"f:terminationMessagePolicy":{}}},"f:dnsPolicy":{},"f:enableServiceLinks":{},"f:restartPolicy":{},"f:schedulerName":{},"f:securityContext":{},"f:terminationGracePeriodSeconds":{}}}"#,
    ),
    (
        "kubelet",
        "status",
        r#"{"f:status":{"f:conditions":{"k:{\"type\":\"ContainersReady\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},"k:{\"type\":\"Initialized\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},"k:{\"type\":\"Ready\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}}},"f:containerStatuses":{},"f:hostIP":{},"f:hostIPs":{},"f:initContainerStatuses":{},"f:phase":{},"f:podIP":{},"f:podIPs":{".":{},"k:{\"ip\":\"10.0.0.1\"}":{".":{},"f:ip":{}}},"f:startTime":{}}}"#,
    ),
];

fn managed_fields(entry: &mut Writer<'_>, manager: usize, time: i64) {
    let (name, subresource, fields) = MANAGERS[manager % MANAGERS.len()];
    entry.string(1, name);
    entry.string(2, "Update");
    entry.string(3, "v1");
    entry.message(4, |at| seconds(at, time));
    entry.string(6, "FieldsV1");
    entry.message(7, |raw| raw.string(1, fields));
    entry.string(8, subresource);
}

/// `Time` or `MicroTime`.
pub(super) fn seconds(time: &mut Writer<'_>, seconds: i64) {
    time.int(1, seconds);
    time.int(2, 0);
}

/// A `map<string, string>`.
pub(super) fn pairs(writer: &mut Writer<'_>, field: u32, pairs: &[(&str, &str)]) {
    for (key, value) in pairs {
        writer.message(field, |entry| {
            entry.string(1, key);
            entry.string(2, value);
        });
    }
}

/// A `map<string, Quantity>`.
pub(super) fn quantities(writer: &mut Writer<'_>, field: u32, quantities: &[(&str, &str)]) {
    for (name, quantity) in quantities {
        writer.message(field, |entry| {
            entry.string(1, name);
            entry.message(2, |value| value.string(1, quantity));
        });
    }
}

/// A number as `IntOrString`.
pub(super) fn number_or_text(value: &mut Writer<'_>, number: i64) {
    value.int(1, 0);
    value.int(2, number);
    value.string(3, "");
}

/// A text, such as a percentage, as `IntOrString`.
pub(super) fn text_or_number(value: &mut Writer<'_>, text: &str) {
    value.int(1, 1);
    value.int(2, 0);
    value.string(3, text);
}

/// A `LabelSelector` of equalities.
pub(super) fn selector(selector: &mut Writer<'_>, labels: &[(&str, &str)]) {
    pairs(selector, 1, labels);
}

/// A condition whose type, status, times and reason have these fields.
pub(super) struct ConditionFields {
    pub(super) status: u32,
    pub(super) updated: Option<u32>,
    pub(super) changed: u32,
    pub(super) reason: u32,
    pub(super) message: u32,
}

impl ConditionFields {
    pub(super) fn write(&self, condition: &mut Writer<'_>, kind: &str, status: bool, reason: &str, at: i64) {
        condition.string(1, kind);
        condition.string(self.status, if status { "True" } else { "False" });
        if let Some(updated) = self.updated {
            condition.message(updated, |time| seconds(time, at));
        }
        condition.message(self.changed, |time| seconds(time, at));
        condition.string(self.reason, reason);
        condition.string(self.message, "");
    }
}
