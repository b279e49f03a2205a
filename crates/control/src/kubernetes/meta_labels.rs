//! Writing `__meta_kubernetes_…` labels.

use outrigger_mirror::{Mirror, Pairs};
use outrigger_model::labels::{Labels, LabelsBuilder};
use outrigger_model::names::sanitize_label_name;

use crate::populate::ADDRESS_LABEL;

const PREFIX: &str = "__meta_kubernetes_";

/// A label set that is being written; later values win, an empty one removes the label.
#[derive(Debug, Default)]
pub(super) struct MetaLabels {
    builder: LabelsBuilder,
    name: String,
}

impl MetaLabels {
    /// The labels written; empty again afterwards.
    pub(super) fn take(&mut self) -> Labels {
        let labels = self.builder.build();
        self.builder.reset(&Labels::empty());
        labels
    }

    /// Sets `__address__`.
    pub(super) fn address(&mut self, address: &str) {
        self.builder.set(ADDRESS_LABEL, address);
    }

    /// Sets a label that has no prefix.
    pub(super) fn plain(&mut self, name: &str, value: &str) {
        self.builder.set(name, value);
    }

    /// Sets `__meta_kubernetes_<name>`.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.sanitized(name, "", value);
    }

    /// Sets `__meta_kubernetes_<prefix><key>`, the key made into a label name.
    pub(super) fn sanitized(&mut self, prefix: &str, key: &str, value: &str) {
        self.name.clear();
        self.name.push_str(PREFIX);
        self.name.push_str(prefix);
        sanitize_label_name(key, &mut self.name);
        self.builder.set(&self.name, value);
    }

    /// Sets name, labels and annotations of an object (Prometheus `addObjectMetaLabels`).
    pub(super) fn object(&mut self, kind: &str, name: &str, labels: Pairs<'_>, annotations: Pairs<'_>) {
        self.set(&format!("{kind}_name"), name);
        self.labels_and_annotations(kind, labels, annotations);
    }

    fn labels_and_annotations(&mut self, kind: &str, labels: Pairs<'_>, annotations: Pairs<'_>) {
        for (what, pairs) in [("label", labels), ("annotation", annotations)] {
            let value_prefix = format!("{kind}_{what}_");
            let present_prefix = format!("{kind}_{what}present_");
            for (key, value) in pairs {
                self.sanitized(&value_prefix, key, value);
                self.sanitized(&present_prefix, key, "true");
            }
        }
    }

    /// Adds the labels and annotations of a namespace (Prometheus `addNamespaceLabels`).
    pub(super) fn attach_namespace(&mut self, mirror: &Mirror, namespace: &str) {
        if let Some(namespace) = mirror.namespaces().find("", namespace) {
            self.labels_and_annotations("namespace", namespace.labels(), namespace.annotations());
        }
    }

    /// Adds name, labels and annotations of a node (Prometheus `addNodeLabels`).
    pub(super) fn attach_node(&mut self, mirror: &Mirror, node: &str) {
        if node.is_empty() {
            return;
        }
        if let Some(node) = mirror.nodes().find("", node) {
            self.object("node", node.name(), node.labels(), node.annotations());
        }
    }
}
