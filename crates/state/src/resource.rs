//! The resources and their families.

use jiff::tz::TimeZone;

use crate::family::{FamilyInfo, FamilyKind, Stability};
use crate::image::Generator;
use crate::labels::{KeyFilter, label_pairs};
use crate::object::condition::Condition;
use crate::object::meta::{ObjectMeta, Time};
use crate::object::{Encoding, KubernetesObject, Message, ObjectError};
use crate::samples::{Samples, Value};
use crate::selection::Selection;

mod certificatesigningrequest;
mod clusterrole;
mod clusterrolebinding;
mod configmap;
mod cronjob;
mod daemonset;
mod deployment;
mod endpoints;
mod endpointslice;
mod horizontalpodautoscaler;
mod ingress;
mod ingressclass;
mod job;
mod lease;
mod limitrange;
mod mutatingadmissionpolicy;
mod mutatingadmissionpolicybinding;
mod mutatingwebhookconfiguration;
mod namespace;
mod networkpolicy;
mod node;
mod persistentvolume;
mod persistentvolumeclaim;
mod pod;
mod poddisruptionbudget;
mod replicaset;
mod replicationcontroller;
mod resourcequota;
mod role;
mod rolebinding;
mod secret;
mod service;
mod serviceaccount;
mod statefulset;
mod storageclass;
mod units;
mod validatingadmissionpolicy;
mod validatingadmissionpolicybinding;
mod validatingwebhookconfiguration;
mod volumeattachment;

/// A kind of objects: how they are read and what is said of them.
pub(crate) trait Kind: Send + Sync + 'static {
    /// An object as it is read.
    type Object<'a>: KubernetesObject<'a>;

    /// The resource's families, in the order of their lines.
    const FAMILIES: &'static [Family<Self>];

    /// The labels that all samples of the object begin with.
    fn identity(object: &Self::Object<'_>, samples: &mut Samples);
}

/// Says a family's samples of an object.
type Generate<K> = for<'o, 'a> fn(&'o <K as Kind>::Object<'a>, &mut Samples);

/// A family of a kind.
pub(crate) struct Family<K: Kind + ?Sized> {
    name: &'static str,
    help: &'static str,
    kind: FamilyKind,
    stability: Stability,
    /// The version that deprecated it.
    deprecated: Option<&'static str>,
    opt_in: bool,
    generate: Generate<K>,
}

impl<K: Kind + ?Sized> Family<K> {
    /// A gauge that may change with any version.
    pub(crate) const fn alpha(name: &'static str, help: &'static str, generate: Generate<K>) -> Self {
        let (kind, stability) = (FamilyKind::Gauge, Stability::Alpha);
        Self { name, help, kind, stability, deprecated: None, opt_in: false, generate }
    }

    /// A gauge that is to be relied on.
    pub(crate) const fn stable(name: &'static str, help: &'static str, generate: Generate<K>) -> Self {
        let (kind, stability) = (FamilyKind::Gauge, Stability::Stable);
        Self { name, help, kind, stability, deprecated: None, opt_in: false, generate }
    }

    /// A counter in place of a gauge.
    pub(crate) const fn counter(mut self) -> Self {
        self.kind = FamilyKind::Counter;
        self
    }

    /// Only on request.
    pub(crate) const fn opt_in(mut self) -> Self {
        self.opt_in = true;
        self
    }

    /// Deprecated since a version.
    pub(crate) const fn deprecated(mut self, since: &'static str) -> Self {
        self.deprecated = Some(since);
        self
    }

    fn info(&self) -> FamilyInfo {
        let mut help = String::new();
        if self.stability == Stability::Stable {
            help.push_str("[STABLE] ");
        }
        if let Some(since) = self.deprecated {
            help.push_str("(Deprecated since ");
            help.push_str(since);
            help.push_str(") ");
        }
        help.push_str(self.help);
        FamilyInfo { name: self.name.to_owned(), help, kind: self.kind }
    }
}

/// A resource that state metrics are given of.
pub struct Resource {
    /// Its name in `--resources`, the plural of its kind.
    pub name: &'static str,
    /// Whether it is among the default ones.
    pub default_on: bool,
    /// Only metadata is read of its objects.
    pub metadata_only: bool,
    /// The type as kube-state-metrics' own metrics name it: `*v1.Pod`.
    pub go_type: &'static str,
    build: fn(&str, &Selection) -> Box<dyn Generator>,
}

impl Resource {
    const fn of<K: Kind>(name: &'static str, go_type: &'static str) -> Self {
        Self { name, default_on: true, metadata_only: false, go_type, build: NativeGenerator::<K>::build }
    }

    /// Only served when it is named.
    const fn opt_in(mut self) -> Self {
        self.default_on = false;
        self
    }

    /// Only metadata is read.
    const fn metadata_only(mut self) -> Self {
        self.metadata_only = true;
        self
    }

    /// The generator of the families that are wanted.
    pub fn generator(&self, selection: &Selection) -> Box<dyn Generator> {
        (self.build)(self.name, selection)
    }

    /// The resource of a name.
    pub fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|resource| resource.name == name)
    }
}

/// All resources, sorted by name.
pub const ALL: &[Resource] = &[
    Resource::of::<certificatesigningrequest::CertificateSigningRequests>(
        "certificatesigningrequests",
        "*v1.CertificateSigningRequest",
    ),
    Resource::of::<clusterrolebinding::ClusterRoleBindings>("clusterrolebindings", "*v1.ClusterRoleBinding")
        .opt_in(),
    Resource::of::<clusterrole::ClusterRoles>("clusterroles", "*v1.ClusterRole").opt_in().metadata_only(),
    Resource::of::<configmap::ConfigMaps>("configmaps", "*v1.ConfigMap").metadata_only(),
    Resource::of::<cronjob::CronJobs>("cronjobs", "*v1.CronJob"),
    Resource::of::<daemonset::DaemonSets>("daemonsets", "*v1.DaemonSet"),
    Resource::of::<deployment::Deployments>("deployments", "*v1.Deployment"),
    Resource::of::<endpoints::EndpointsKind>("endpoints", "*v1.Endpoints").opt_in(),
    Resource::of::<endpointslice::EndpointSlices>("endpointslices", "*v1.EndpointSlice"),
    Resource::of::<horizontalpodautoscaler::HorizontalPodAutoscalers>(
        "horizontalpodautoscalers",
        "*v2.HorizontalPodAutoscaler",
    ),
    Resource::of::<ingressclass::IngressClasses>("ingressclasses", "*v1.IngressClass").opt_in(),
    Resource::of::<ingress::Ingresses>("ingresses", "*v1.Ingress"),
    Resource::of::<job::Jobs>("jobs", "*v1.Job"),
    Resource::of::<lease::Leases>("leases", "*v1.Lease"),
    Resource::of::<limitrange::LimitRanges>("limitranges", "*v1.LimitRange"),
    Resource::of::<mutatingadmissionpolicy::MutatingAdmissionPolicies>(
        "mutatingadmissionpolicies",
        "*v1.MutatingAdmissionPolicy",
    ),
    Resource::of::<mutatingadmissionpolicybinding::MutatingAdmissionPolicyBindings>(
        "mutatingadmissionpolicybindings",
        "*v1.MutatingAdmissionPolicyBinding",
    ),
    Resource::of::<mutatingwebhookconfiguration::MutatingWebhookConfigurations>(
        "mutatingwebhookconfigurations",
        "*v1.MutatingWebhookConfiguration",
    ),
    Resource::of::<namespace::Namespaces>("namespaces", "*v1.Namespace"),
    Resource::of::<networkpolicy::NetworkPolicies>("networkpolicies", "*v1.NetworkPolicy"),
    Resource::of::<node::Nodes>("nodes", "*v1.Node"),
    Resource::of::<persistentvolumeclaim::PersistentVolumeClaims>(
        "persistentvolumeclaims",
        "*v1.PersistentVolumeClaim",
    ),
    Resource::of::<persistentvolume::PersistentVolumes>("persistentvolumes", "*v1.PersistentVolume"),
    Resource::of::<poddisruptionbudget::PodDisruptionBudgets>(
        "poddisruptionbudgets",
        "*v1.PodDisruptionBudget",
    ),
    Resource::of::<pod::Pods>("pods", "*v1.Pod"),
    Resource::of::<replicaset::ReplicaSets>("replicasets", "*v1.ReplicaSet"),
    Resource::of::<replicationcontroller::ReplicationControllers>(
        "replicationcontrollers",
        "*v1.ReplicationController",
    ),
    Resource::of::<resourcequota::ResourceQuotas>("resourcequotas", "*v1.ResourceQuota"),
    Resource::of::<rolebinding::RoleBindings>("rolebindings", "*v1.RoleBinding").opt_in(),
    Resource::of::<role::Roles>("roles", "*v1.Role").opt_in().metadata_only(),
    Resource::of::<secret::Secrets>("secrets", "*v1.Secret"),
    Resource::of::<serviceaccount::ServiceAccounts>("serviceaccounts", "*v1.ServiceAccount").opt_in(),
    Resource::of::<service::Services>("services", "*v1.Service"),
    Resource::of::<statefulset::StatefulSets>("statefulsets", "*v1.StatefulSet"),
    Resource::of::<storageclass::StorageClasses>("storageclasses", "*v1.StorageClass"),
    Resource::of::<validatingadmissionpolicy::ValidatingAdmissionPolicies>(
        "validatingadmissionpolicies",
        "*v1.ValidatingAdmissionPolicy",
    ),
    Resource::of::<validatingadmissionpolicybinding::ValidatingAdmissionPolicyBindings>(
        "validatingadmissionpolicybindings",
        "*v1.ValidatingAdmissionPolicyBinding",
    ),
    Resource::of::<validatingwebhookconfiguration::ValidatingWebhookConfigurations>(
        "validatingwebhookconfigurations",
        "*v1.ValidatingWebhookConfiguration",
    ),
    Resource::of::<volumeattachment::VolumeAttachments>("volumeattachments", "*v1.VolumeAttachment"),
];

/// The wanted families of a kind.
struct NativeGenerator<K: Kind> {
    infos: Vec<FamilyInfo>,
    generate: Vec<Generate<K>>,
    /// What each writer begins with.
    labels: KeyFilter,
    annotations: KeyFilter,
    local_time_zone: TimeZone,
}

impl<K: Kind> NativeGenerator<K> {
    fn build(resource: &str, selection: &Selection) -> Box<dyn Generator> {
        let families = K::FAMILIES.iter().filter(|family| selection.wants_family(family.name, family.opt_in));
        let (infos, generate) = families.map(|family| (family.info(), family.generate)).unzip();
        Box::new(Self {
            infos,
            generate,
            labels: selection.labels(resource).clone(),
            annotations: selection.annotations(resource).clone(),
            local_time_zone: selection.local_time_zone.clone(),
        })
    }

    fn say(&self, object: &K::Object<'_>, samples: &mut Samples) -> Result<(), ObjectError> {
        name_object(object.metadata(), samples);
        K::identity(object, samples);
        for (place, generate) in self.generate.iter().enumerate() {
            samples.begin_family(place as u16);
            generate(object, samples);
        }
        object.check()
    }
}

fn name_object(metadata: &ObjectMeta<'_>, samples: &mut Samples) {
    samples.set_object(metadata.namespace, metadata.name, metadata.uid);
}

impl<K: Kind> Generator for NativeGenerator<K> {
    fn families(&self) -> &[FamilyInfo] {
        &self.infos
    }

    fn samples(&self) -> Samples {
        Samples::new(self.labels.clone(), self.annotations.clone()).in_time_zone(self.local_time_zone.clone())
    }

    fn generate(&self, encoding: Encoding, object: &[u8], samples: &mut Samples) -> Result<(), ObjectError> {
        read::<K>(encoding, object, |object| self.say(object, samples))
    }

    fn identify(&self, encoding: Encoding, object: &[u8], samples: &mut Samples) -> Result<(), ObjectError> {
        read::<K>(encoding, object, |object| {
            name_object(object.metadata(), samples);
            // Metadata that cannot be read names nothing.
            object.check()
        })
    }
}

/// Reads an object in either encoding.
fn read<K: Kind>(
    encoding: Encoding,
    object: &[u8],
    take: impl FnOnce(&K::Object<'_>) -> Result<(), ObjectError>,
) -> Result<(), ObjectError> {
    match encoding {
        Encoding::Protobuf => take(&<K::Object<'_>>::from_protobuf(object)?),
        Encoding::Json => {
            let value: serde_json::Value =
                serde_json::from_slice(object).map_err(|error| ObjectError::NotJson(error.to_string()))?;
            take(&<K::Object<'_>>::from_json(&value)?)
        }
    }
}

/// `kube_<kind>_labels`: the allowed labels of an object; a sample without them once any are allowed.
pub(crate) fn labels(metadata: &ObjectMeta<'_>, samples: &mut Samples) {
    if samples.label_filter().is_empty() {
        return;
    }
    let filter = samples.label_filter();
    let allowed = metadata.labels.iter().filter(|(key, _)| filter.allows(key));
    let pairs = label_pairs("label", allowed.map(|(key, value)| (key, *value)).collect());
    samples.add_pairs(&[], &[], &pairs, 1.0);
}

/// `kube_<kind>_annotations`: as [`labels`].
pub(crate) fn annotations(metadata: &ObjectMeta<'_>, samples: &mut Samples) {
    if samples.annotation_filter().is_empty() {
        return;
    }
    let filter = samples.annotation_filter();
    let allowed = metadata.annotations.iter().filter(|(key, _)| filter.allows(key));
    let pairs = label_pairs("annotation", allowed.map(|(key, value)| (key, *value)).collect());
    samples.add_pairs(&[], &[], &pairs, 1.0);
}

/// `kube_<kind>_created`.
pub(crate) fn created(metadata: &ObjectMeta<'_>, samples: &mut Samples) {
    if let Some(seconds) = metadata.creation_timestamp.unix() {
        samples.add(&[], &[], seconds as f64);
    }
}

/// `kube_<kind>_metadata_resource_version`, where it is a number.
pub(crate) fn resource_version(metadata: &ObjectMeta<'_>, samples: &mut Samples) {
    if let Ok(version) = metadata.resource_version.parse::<f64>() {
        samples.add(&[], &[], version);
    }
}

/// `kube_<kind>_deletion_timestamp`.
pub(crate) fn deleted(metadata: &ObjectMeta<'_>, samples: &mut Samples) {
    if let Some(seconds) = metadata.deletion_timestamp.and_then(Time::unix) {
        samples.add(&[], &[], seconds as f64);
    }
}

/// `kube_<kind>_metadata_generation`.
pub(crate) fn generation(metadata: &ObjectMeta<'_>, samples: &mut Samples) {
    samples.add(&[], &[], metadata.generation as f64);
}

/// `kube_<kind>_owner`: a sample for each owner, or one with empty texts.
pub(crate) fn owners(metadata: &ObjectMeta<'_>, samples: &mut Samples) {
    const LABELS: &[&str] = &["owner_kind", "owner_name", "owner_is_controller"];
    if metadata.owner_references.is_empty() {
        return samples.add(LABELS, &[Value::Word(""); 3], 1.0);
    }
    for owner in &*metadata.owner_references {
        let is_controller = truth_text(owner.controller == Some(true));
        samples.add(LABELS, &[owner.kind, owner.name, is_controller].map(Value::Word), 1.0);
    }
}

/// A sample without labels.
pub(crate) fn number(number: impl Into<i64>, samples: &mut Samples) {
    samples.add(&[], &[], number.into() as f64);
}

/// A sample without labels where there is a number.
pub(crate) fn optional(value: Option<impl Into<i64>>, samples: &mut Samples) {
    if let Some(value) = value {
        number(value, samples);
    }
}

/// A sample in Unix seconds where there is a time, be it the zero time.
pub(crate) fn time(time: Option<Time>, samples: &mut Samples) {
    optional(time.map(Time::unix_or_zero_time), samples);
}

/// One for true.
pub(crate) fn truth(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// `true` or `false`.
pub(crate) fn truth_text(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// The three rows of a condition: which status, and whether it has it.
pub(crate) fn condition_rows(status: &str) -> [(&'static str, f64); 3] {
    [("True", "true"), ("False", "false"), ("Unknown", "unknown")]
        .map(|(each, label)| (label, truth(each == status)))
}

/// `kube_<kind>_status_condition`: three rows for each condition.
pub(crate) fn conditions(conditions: &[Condition<'_>], samples: &mut Samples) {
    for condition in conditions {
        for (status, number) in condition_rows(condition.status) {
            samples.add(&["condition", "status"], &[condition.kind, status].map(Value::Word), number);
        }
    }
}
