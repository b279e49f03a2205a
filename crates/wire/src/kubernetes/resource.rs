use std::borrow::Cow;
use std::fmt;

/// Declares [`ResourceKind`] with what is known of each: scope, group, version, plural.
macro_rules! resources {
    ($($(#[$documentation:meta])* $kind:ident $scope:ident $group:tt $version:tt $plural:literal;)*) => {
        /// The resources that Outrigger watches in protobuf.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ResourceKind {
            $($(#[$documentation])* $kind,)*
        }

        impl ResourceKind {
            /// Every resource, in declaration order.
            pub const ALL: [ResourceKind; FACTS.len()] = [$(ResourceKind::$kind,)*];
        }

        const FACTS: &[Facts] = &[$(Facts {
            group: $group,
            version: $version,
            api_version: resources!(@api_version $group $version),
            plural: $plural,
            kind: stringify!($kind),
            path: resources!(@path $group $version $plural),
            namespaced: resources!(@scope $scope),
        },)*];
    };
    (@api_version "" $version:tt) => { $version };
    (@api_version $group:tt $version:tt) => { concat!($group, "/", $version) };
    (@path "" $version:tt $plural:literal) => { concat!("/api/", $version, "/", $plural) };
    (@path $group:tt $version:tt $plural:literal) => { concat!("/apis/", $group, "/", $version, "/", $plural) };
    (@scope cluster) => { false };
    (@scope namespaced) => { true };
}

struct Facts {
    group: &'static str,
    version: &'static str,
    api_version: &'static str,
    plural: &'static str,
    kind: &'static str,
    path: &'static str,
    namespaced: bool,
}

// The first ten are those that discovery reads (`ResourceKind::MIRRORED`).
resources! {
    /// `v1` Node.
    Node cluster "" "v1" "nodes";
    /// `v1` Pod.
    Pod namespaced "" "v1" "pods";
    /// `v1` Service.
    Service namespaced "" "v1" "services";
    /// `v1` Endpoints.
    Endpoints namespaced "" "v1" "endpoints";
    /// `discovery.k8s.io/v1` EndpointSlice.
    EndpointSlice namespaced "discovery.k8s.io" "v1" "endpointslices";
    /// `networking.k8s.io/v1` Ingress.
    Ingress namespaced "networking.k8s.io" "v1" "ingresses";
    /// `v1` Namespace.
    Namespace cluster "" "v1" "namespaces";
    /// `apps/v1` ReplicaSet.
    ReplicaSet namespaced "apps" "v1" "replicasets";
    /// `batch/v1` Job.
    Job namespaced "batch" "v1" "jobs";
    /// `batch/v1` CronJob.
    CronJob namespaced "batch" "v1" "cronjobs";
    /// `certificates.k8s.io/v1` CertificateSigningRequest.
    CertificateSigningRequest cluster "certificates.k8s.io" "v1" "certificatesigningrequests";
    /// `rbac.authorization.k8s.io/v1` ClusterRoleBinding.
    ClusterRoleBinding cluster "rbac.authorization.k8s.io" "v1" "clusterrolebindings";
    /// `rbac.authorization.k8s.io/v1` ClusterRole.
    ClusterRole cluster "rbac.authorization.k8s.io" "v1" "clusterroles";
    /// `v1` ConfigMap.
    ConfigMap namespaced "" "v1" "configmaps";
    /// `apps/v1` DaemonSet.
    DaemonSet namespaced "apps" "v1" "daemonsets";
    /// `apps/v1` Deployment.
    Deployment namespaced "apps" "v1" "deployments";
    /// `autoscaling/v2` HorizontalPodAutoscaler.
    HorizontalPodAutoscaler namespaced "autoscaling" "v2" "horizontalpodautoscalers";
    /// `networking.k8s.io/v1` IngressClass.
    IngressClass cluster "networking.k8s.io" "v1" "ingressclasses";
    /// `coordination.k8s.io/v1` Lease.
    Lease namespaced "coordination.k8s.io" "v1" "leases";
    /// `v1` LimitRange.
    LimitRange namespaced "" "v1" "limitranges";
    /// `admissionregistration.k8s.io/v1` MutatingAdmissionPolicy, from Kubernetes 1.36 on.
    MutatingAdmissionPolicy cluster "admissionregistration.k8s.io" "v1" "mutatingadmissionpolicies";
    /// `admissionregistration.k8s.io/v1` MutatingAdmissionPolicyBinding, from Kubernetes 1.36 on.
    MutatingAdmissionPolicyBinding cluster "admissionregistration.k8s.io" "v1" "mutatingadmissionpolicybindings";
    /// `admissionregistration.k8s.io/v1` MutatingWebhookConfiguration.
    MutatingWebhookConfiguration cluster "admissionregistration.k8s.io" "v1" "mutatingwebhookconfigurations";
    /// `networking.k8s.io/v1` NetworkPolicy.
    NetworkPolicy namespaced "networking.k8s.io" "v1" "networkpolicies";
    /// `v1` PersistentVolumeClaim.
    PersistentVolumeClaim namespaced "" "v1" "persistentvolumeclaims";
    /// `v1` PersistentVolume.
    PersistentVolume cluster "" "v1" "persistentvolumes";
    /// `policy/v1` PodDisruptionBudget.
    PodDisruptionBudget namespaced "policy" "v1" "poddisruptionbudgets";
    /// `v1` ReplicationController.
    ReplicationController namespaced "" "v1" "replicationcontrollers";
    /// `v1` ResourceQuota.
    ResourceQuota namespaced "" "v1" "resourcequotas";
    /// `rbac.authorization.k8s.io/v1` RoleBinding.
    RoleBinding namespaced "rbac.authorization.k8s.io" "v1" "rolebindings";
    /// `rbac.authorization.k8s.io/v1` Role.
    Role namespaced "rbac.authorization.k8s.io" "v1" "roles";
    /// `v1` Secret.
    Secret namespaced "" "v1" "secrets";
    /// `v1` ServiceAccount.
    ServiceAccount namespaced "" "v1" "serviceaccounts";
    /// `apps/v1` StatefulSet.
    StatefulSet namespaced "apps" "v1" "statefulsets";
    /// `storage.k8s.io/v1` StorageClass.
    StorageClass cluster "storage.k8s.io" "v1" "storageclasses";
    /// `admissionregistration.k8s.io/v1` ValidatingAdmissionPolicy.
    ValidatingAdmissionPolicy cluster "admissionregistration.k8s.io" "v1" "validatingadmissionpolicies";
    /// `admissionregistration.k8s.io/v1` ValidatingAdmissionPolicyBinding.
    ValidatingAdmissionPolicyBinding cluster "admissionregistration.k8s.io" "v1" "validatingadmissionpolicybindings";
    /// `admissionregistration.k8s.io/v1` ValidatingWebhookConfiguration.
    ValidatingWebhookConfiguration cluster "admissionregistration.k8s.io" "v1" "validatingwebhookconfigurations";
    /// `storage.k8s.io/v1` VolumeAttachment.
    VolumeAttachment cluster "storage.k8s.io" "v1" "volumeattachments";
}

impl ResourceKind {
    /// The resources that discovery reads and the mirror keeps: the first of [`ALL`](Self::ALL), so that
    /// [`index`](Self::index) is their position here too.
    pub const MIRRORED: [ResourceKind; 10] = [
        ResourceKind::Node,
        ResourceKind::Pod,
        ResourceKind::Service,
        ResourceKind::Endpoints,
        ResourceKind::EndpointSlice,
        ResourceKind::Ingress,
        ResourceKind::Namespace,
        ResourceKind::ReplicaSet,
        ResourceKind::Job,
        ResourceKind::CronJob,
    ];

    fn facts(self) -> &'static Facts {
        &FACTS[self.index()]
    }

    /// Position in [`ALL`](Self::ALL).
    pub fn index(self) -> usize {
        self as usize
    }

    /// API group; `""` is the core group.
    pub fn group(self) -> &'static str {
        self.facts().group
    }

    /// API version within the group.
    pub fn version(self) -> &'static str {
        self.facts().version
    }

    /// `apiVersion` of its objects: `v1` or `<group>/<version>`.
    pub fn api_version(self) -> &'static str {
        self.facts().api_version
    }

    /// Name in URLs and RBAC rules.
    pub fn plural(self) -> &'static str {
        self.facts().plural
    }

    /// `kind` of its objects.
    pub fn kind(self) -> &'static str {
        self.facts().kind
    }

    /// URL path of the cluster-wide collection.
    pub fn path(self) -> &'static str {
        self.facts().path
    }

    /// Whether its objects live in a namespace.
    pub fn namespaced(self) -> bool {
        self.facts().namespaced
    }

    /// Whether the mirror keeps it.
    pub fn is_mirrored(self) -> bool {
        self.index() < Self::MIRRORED.len()
    }

    /// Whether the mirror reads nothing but its metadata, so that discovery alone asks for
    /// `PartialObjectMetadata`.
    pub fn mirrored_as_metadata(self) -> bool {
        matches!(self, Self::Namespace | Self::ReplicaSet | Self::Job | Self::CronJob)
    }

    /// The resource of a `kind`, whatever its group.
    pub fn from_kind(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.kind() == kind)
    }

    /// The resource of a plural, whatever its group.
    pub fn from_plural(plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.plural() == plural)
    }
}

/// `plural.group` as kubectl prints it, `plural` alone for the core group.
impl fmt::Display for ResourceKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.plural())?;
        match self.group() {
            "" => Ok(()),
            group => write!(formatter, ".{group}"),
        }
    }
}

/// A custom resource, or any other that is listed and watched in JSON.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CustomResource {
    /// API group; `""` is the core group.
    pub group: Cow<'static, str>,
    /// API version within the group.
    pub version: Cow<'static, str>,
    /// Name in URLs and RBAC rules.
    pub plural: Cow<'static, str>,
    /// `kind` of its objects.
    pub kind: Cow<'static, str>,
    /// Whether its objects live in a namespace.
    pub namespaced: bool,
}

impl CustomResource {
    /// A resource whose objects live in a namespace.
    pub const fn namespaced(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        kind: &'static str,
    ) -> Self {
        Self {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            plural: Cow::Borrowed(plural),
            kind: Cow::Borrowed(kind),
            namespaced: true,
        }
    }

    /// A resource whose objects belong to the cluster.
    pub const fn cluster_scoped(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        kind: &'static str,
    ) -> Self {
        let mut resource = Self::namespaced(group, version, plural, kind);
        resource.namespaced = false;
        resource
    }

    /// URL path of the cluster-wide collection.
    pub fn path(&self) -> String {
        match &*self.group {
            "" => format!("/api/{}/{}", self.version, self.plural),
            group => format!("/apis/{group}/{}/{}", self.version, self.plural),
        }
    }
}

/// `plural.group`, as for [`ResourceKind`].
impl fmt::Display for CustomResource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.group {
            "" => formatter.write_str(&self.plural),
            group => write!(formatter, "{}.{group}", self.plural),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_agree_with_each_other() {
        for (position, resource) in ResourceKind::ALL.into_iter().enumerate() {
            assert_eq!(resource.index(), position);
            assert_eq!(ResourceKind::from_kind(resource.kind()), Some(resource));
            assert_eq!(ResourceKind::from_plural(resource.plural()), Some(resource));
            let root = match resource.group() {
                "" => format!("/api/{}", resource.version()),
                group => format!("/apis/{group}/{}", resource.version()),
            };
            assert_eq!(resource.path(), format!("{root}/{}", resource.plural()));
            let api_version = root.trim_start_matches("/apis/").trim_start_matches("/api/");
            assert_eq!(resource.api_version(), api_version);
            let mirrored = ResourceKind::MIRRORED.get(position) == Some(&resource);
            assert_eq!(resource.is_mirrored(), mirrored, "{resource}");
        }
        assert_eq!(ResourceKind::ALL.len(), 39);
        assert_eq!(ResourceKind::Pod.to_string(), "pods");
        assert_eq!(ResourceKind::EndpointSlice.to_string(), "endpointslices.discovery.k8s.io");
        assert_eq!(
            ResourceKind::HorizontalPodAutoscaler.path(),
            "/apis/autoscaling/v2/horizontalpodautoscalers"
        );
    }

    /// Resources of kube-state-metrics 2.20: plural, `group/version` without the group's domain, kind, scope.
    #[test]
    fn every_resource_of_kube_state_metrics_is_there() {
        let all = include_str!("../../testdata/kube-state-metrics-resources.tsv");
        let mut seen = 0;
        for line in all.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [plural, group_version, kind, scope] = fields[..] else { panic!("{line}") };
            let resource = ResourceKind::from_plural(plural).expect(plural);
            let (group, version) = group_version.split_once('/').expect("group and version");
            let short = match resource.group() {
                "" => "core",
                full => full.split('.').next().unwrap_or(full),
            };
            assert_eq!((short, resource.version(), resource.kind()), (group, version, kind));
            assert_eq!(resource.namespaced(), scope == "namespaced", "{plural}");
            seen += 1;
        }
        assert_eq!(seen, ResourceKind::ALL.len());
    }

    #[test]
    fn a_custom_resource_may_belong_to_the_cluster() {
        let definition = CustomResource::cluster_scoped(
            "apiextensions.k8s.io",
            "v1",
            "customresourcedefinitions",
            "CustomResourceDefinition",
        );
        assert_eq!(definition.path(), "/apis/apiextensions.k8s.io/v1/customresourcedefinitions");
        assert_eq!(definition.to_string(), "customresourcedefinitions.apiextensions.k8s.io");
        assert!(!definition.namespaced);
    }
}
