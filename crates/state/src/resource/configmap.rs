//! ConfigMaps; only their metadata is read.

use super::{Family, Kind, annotations, created, labels, resource_version};
use crate::object::object;
use crate::samples::Samples;

object! {
    /// `v1.ConfigMap`, or its `PartialObjectMetadata`.
    pub struct ConfigMap {}
}

pub(crate) struct ConfigMaps;

impl Kind for ConfigMaps {
    type Object<'a> = ConfigMap<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::alpha(
            "kube_configmap_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |map, samples| annotations(&map.metadata, samples),
        ),
        Family::stable(
            "kube_configmap_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |map, samples| labels(&map.metadata, samples),
        ),
        Family::stable("kube_configmap_info", "Information about configmap.", |_, samples| {
            samples.add(&[], &[], 1.0)
        }),
        Family::stable("kube_configmap_created", "Unix creation timestamp", |map, samples| {
            created(&map.metadata, samples)
        }),
        Family::alpha(
            "kube_configmap_metadata_resource_version",
            "Resource version representing a specific version of the configmap.",
            |map, samples| resource_version(&map.metadata, samples),
        ),
    ];

    fn identity(map: &ConfigMap<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", map.metadata.namespace);
        samples.add_identity("configmap", map.metadata.name);
    }
}
