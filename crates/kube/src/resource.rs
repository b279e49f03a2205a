//! What a list/watch is of.

use std::fmt;

use outrigger_wire::kubernetes::{CustomResource, ResourceKind};

/// A resource that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WatchedResource {
    /// One that discovery reads, in protobuf.
    Kind(ResourceKind),
    /// Any other, in JSON.
    Custom(CustomResource),
}

impl WatchedResource {
    /// API group; `""` is the core group.
    pub fn group(&self) -> &'static str {
        match self {
            Self::Kind(kind) => kind.group(),
            Self::Custom(custom) => custom.group,
        }
    }

    /// Name in URLs and RBAC rules.
    pub fn plural(&self) -> &'static str {
        match self {
            Self::Kind(kind) => kind.plural(),
            Self::Custom(custom) => custom.plural,
        }
    }

    /// URL path of the cluster-wide collection.
    pub fn path(&self) -> String {
        match self {
            Self::Kind(kind) => kind.path().to_owned(),
            Self::Custom(custom) => custom.path(),
        }
    }

    /// Whether its objects live in a namespace.
    pub fn namespaced(&self) -> bool {
        match self {
            Self::Kind(kind) => kind.namespaced(),
            Self::Custom(_) => true,
        }
    }

    /// URL path of the collection in one namespace, or in all.
    pub(crate) fn collection(&self, namespace: Option<&str>) -> String {
        let all = self.path();
        match namespace.filter(|_| self.namespaced()) {
            None => all,
            Some(namespace) => {
                let root = all.strip_suffix(self.plural()).unwrap_or(&all);
                format!("{root}namespaces/{}/{}", segment(namespace), self.plural())
            }
        }
    }
}

/// A text as a segment of a path. A space is `+` in a query only.
pub(crate) fn segment(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

impl From<ResourceKind> for WatchedResource {
    fn from(kind: ResourceKind) -> Self {
        Self::Kind(kind)
    }
}

impl From<CustomResource> for WatchedResource {
    fn from(custom: CustomResource) -> Self {
        Self::Custom(custom)
    }
}

impl PartialEq<ResourceKind> for WatchedResource {
    fn eq(&self, kind: &ResourceKind) -> bool {
        *self == Self::Kind(*kind)
    }
}

impl PartialEq<WatchedResource> for ResourceKind {
    fn eq(&self, resource: &WatchedResource) -> bool {
        resource == self
    }
}

/// `plural.group` as kubectl prints it, `plural` alone for the core group.
impl fmt::Display for WatchedResource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => kind.fmt(formatter),
            Self::Custom(custom) => custom.fmt(formatter),
        }
    }
}
