//! What a list/watch is of.

use std::fmt;

use outrigger_wire::kubernetes::{CustomResource, ResourceKind};

/// A resource that is watched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WatchedResource {
    /// One that Outrigger knows, in protobuf.
    Kind(ResourceKind),
    /// Any other, in JSON.
    Custom(CustomResource),
}

impl WatchedResource {
    /// API group; `""` is the core group.
    pub fn group(&self) -> &str {
        match self {
            Self::Kind(kind) => kind.group(),
            Self::Custom(custom) => &custom.group,
        }
    }

    /// API version within the group.
    pub fn version(&self) -> &str {
        match self {
            Self::Kind(kind) => kind.version(),
            Self::Custom(custom) => &custom.version,
        }
    }

    /// Name in URLs and RBAC rules.
    pub fn plural(&self) -> &str {
        match self {
            Self::Kind(kind) => kind.plural(),
            Self::Custom(custom) => &custom.plural,
        }
    }

    /// `kind` of its objects.
    pub fn kind(&self) -> &str {
        match self {
            Self::Kind(kind) => kind.kind(),
            Self::Custom(custom) => &custom.kind,
        }
    }

    /// URL path of the cluster-wide collection.
    pub fn path(&self) -> String {
        self.collection(None, None)
    }

    /// Whether its objects live in a namespace.
    pub fn namespaced(&self) -> bool {
        match self {
            Self::Kind(kind) => kind.namespaced(),
            Self::Custom(custom) => custom.namespaced,
        }
    }

    /// URL path of the collection in one namespace, or in all; in another version of the API where one is given.
    pub(crate) fn collection(&self, namespace: Option<&str>, version: Option<&str>) -> String {
        let mut path = match self.group() {
            "" => "/api/".to_owned(),
            group => format!("/apis/{group}/"),
        };
        path.push_str(version.unwrap_or(self.version()));
        if let Some(namespace) = namespace.filter(|_| self.namespaced()) {
            path.push_str("/namespaces/");
            path.push_str(&segment(namespace));
        }
        path.push('/');
        path.push_str(self.plural());
        path
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
        matches!(self, Self::Kind(own) if own == kind)
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
