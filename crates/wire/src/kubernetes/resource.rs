use std::fmt;

/// The resources that Outrigger watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    /// `v1` Node.
    Node,
    /// `v1` Pod.
    Pod,
    /// `v1` Service.
    Service,
    /// `v1` Endpoints.
    Endpoints,
    /// `discovery.k8s.io/v1` EndpointSlice.
    EndpointSlice,
    /// `networking.k8s.io/v1` Ingress.
    Ingress,
    /// `v1` Namespace.
    Namespace,
    /// `apps/v1` ReplicaSet, as metadata.
    ReplicaSet,
    /// `batch/v1` Job, as metadata.
    Job,
    /// `batch/v1` CronJob, as metadata.
    CronJob,
}

impl ResourceKind {
    /// Every resource, in declaration order.
    pub const ALL: [ResourceKind; 10] = [
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

    /// Position in [`ALL`](Self::ALL).
    pub fn index(self) -> usize {
        self as usize
    }

    /// API group; `""` is the core group.
    pub fn group(self) -> &'static str {
        match self {
            Self::Node | Self::Pod | Self::Service | Self::Endpoints | Self::Namespace => "",
            Self::EndpointSlice => "discovery.k8s.io",
            Self::Ingress => "networking.k8s.io",
            Self::ReplicaSet => "apps",
            Self::Job | Self::CronJob => "batch",
        }
    }

    /// API version within the group.
    pub fn version(self) -> &'static str {
        "v1"
    }

    /// `apiVersion` of its objects: `v1` or `<group>/v1`.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Node | Self::Pod | Self::Service | Self::Endpoints | Self::Namespace => "v1",
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::Ingress => "networking.k8s.io/v1",
            Self::ReplicaSet => "apps/v1",
            Self::Job | Self::CronJob => "batch/v1",
        }
    }

    /// Name in URLs and RBAC rules.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Node => "nodes",
            Self::Pod => "pods",
            Self::Service => "services",
            Self::Endpoints => "endpoints",
            Self::EndpointSlice => "endpointslices",
            Self::Ingress => "ingresses",
            Self::Namespace => "namespaces",
            Self::ReplicaSet => "replicasets",
            Self::Job => "jobs",
            Self::CronJob => "cronjobs",
        }
    }

    /// `kind` of its objects.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Node => "Node",
            Self::Pod => "Pod",
            Self::Service => "Service",
            Self::Endpoints => "Endpoints",
            Self::EndpointSlice => "EndpointSlice",
            Self::Ingress => "Ingress",
            Self::Namespace => "Namespace",
            Self::ReplicaSet => "ReplicaSet",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
        }
    }

    /// URL path of the cluster-wide collection.
    pub fn path(self) -> &'static str {
        match self {
            Self::Node => "/api/v1/nodes",
            Self::Pod => "/api/v1/pods",
            Self::Service => "/api/v1/services",
            Self::Endpoints => "/api/v1/endpoints",
            Self::EndpointSlice => "/apis/discovery.k8s.io/v1/endpointslices",
            Self::Ingress => "/apis/networking.k8s.io/v1/ingresses",
            Self::Namespace => "/api/v1/namespaces",
            Self::ReplicaSet => "/apis/apps/v1/replicasets",
            Self::Job => "/apis/batch/v1/jobs",
            Self::CronJob => "/apis/batch/v1/cronjobs",
        }
    }

    /// Whether its objects live in a namespace.
    pub fn namespaced(self) -> bool {
        !matches!(self, Self::Node | Self::Namespace)
    }

    /// Whether only its metadata is read, so that it is requested as `PartialObjectMetadata`.
    pub fn metadata_only(self) -> bool {
        matches!(self, Self::Namespace | Self::ReplicaSet | Self::Job | Self::CronJob)
    }

    /// The resource of a `kind`, whatever its group.
    pub fn from_kind(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.kind() == kind)
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

/// A custom resource, which is listed and watched in JSON. All of them live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CustomResource {
    /// API group; `""` is the core group.
    pub group: &'static str,
    /// API version within the group.
    pub version: &'static str,
    /// Name in URLs and RBAC rules.
    pub plural: &'static str,
    /// `kind` of its objects.
    pub kind: &'static str,
}

impl CustomResource {
    /// URL path of the cluster-wide collection.
    pub fn path(&self) -> String {
        match self.group {
            "" => format!("/api/{}/{}", self.version, self.plural),
            group => format!("/apis/{group}/{}/{}", self.version, self.plural),
        }
    }
}

/// `plural.group`, as for [`ResourceKind`].
impl fmt::Display for CustomResource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group {
            "" => formatter.write_str(self.plural),
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
            let root = match resource.group() {
                "" => "/api/v1".to_owned(),
                group => format!("/apis/{group}/{}", resource.version()),
            };
            assert_eq!(resource.path(), format!("{root}/{}", resource.plural()));
            let api_version = root.trim_start_matches("/apis/").trim_start_matches("/api/");
            assert_eq!(resource.api_version(), api_version);
        }
        assert_eq!(ResourceKind::Pod.to_string(), "pods");
        assert_eq!(ResourceKind::EndpointSlice.to_string(), "endpointslices.discovery.k8s.io");
    }
}
