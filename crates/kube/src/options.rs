//! How one resource is watched.

use outrigger_wire::kubernetes::ResourceKind;

/// What of a resource is watched, and how it is asked for. The default is all of it, whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WatchOptions {
    /// Namespaces, each listed and watched by itself; empty is the whole cluster. Resources without a namespace
    /// are always watched whole. First lists of all of them are one generation of the sink.
    pub namespaces: Vec<String>,
    /// Namespaces that are watched one by one where the server forbids the whole cluster (403).
    pub fallback_namespaces: Vec<String>,
    /// Selects objects at the server, for example `spec.nodeName=worker-1` or `metadata.namespace!=kube-system`;
    /// empty selects all.
    pub field_selector: String,
    /// Ask for `PartialObjectMetadata` instead of the object.
    pub metadata_only: bool,
    /// List from the watch cache only (`resourceVersion=0`), never streamed and never consistent.
    pub cache_only: bool,
    /// Take over at most this many objects of a list (for each namespace, where there are some); what is added
    /// later is not counted. Such a list is not streamed.
    pub object_limit: Option<u32>,
    /// Version of the API other than the usual one, for a server that serves the resource in another only. The
    /// messages must have the same fields.
    pub version: Option<String>,
}

impl WatchOptions {
    /// What discovery needs of a resource: only its metadata where the mirror reads no more.
    pub fn for_discovery(resource: ResourceKind) -> Self {
        Self { metadata_only: resource.mirrored_as_metadata(), ..Self::default() }
    }
}
