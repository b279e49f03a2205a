//! StorageClasses.

use super::{Family, Kind, annotations, created, labels};
use crate::object::object;
use crate::samples::{Samples, Value};

object! {
    /// `v1.StorageClass`.
    pub struct StorageClass {
        2 "provisioner" provisioner: &'a str,
        4 "reclaimPolicy" reclaim_policy: Option<&'a str>,
        7 "volumeBindingMode" volume_binding_mode: Option<&'a str>,
    }
}

pub(crate) struct StorageClasses;

impl Kind for StorageClasses {
    type Object<'a> = StorageClass<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::stable("kube_storageclass_info", "Information about storageclass.", info),
        Family::<Self>::stable("kube_storageclass_created", "Unix creation timestamp", |class, samples| {
            created(&class.metadata, samples)
        }),
        Family::<Self>::alpha(
            "kube_storageclass_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |class, samples| annotations(&class.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_storageclass_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |class, samples| labels(&class.metadata, samples),
        ),
    ];

    fn identity(class: &StorageClass<'_>, samples: &mut Samples) {
        samples.add_identity("storageclass", class.metadata.name);
    }
}

/// With what Kubernetes takes for policies that are not set.
fn info(class: &StorageClass<'_>, samples: &mut Samples) {
    let values = [
        class.provisioner,
        class.reclaim_policy.unwrap_or("Delete"),
        class.volume_binding_mode.unwrap_or("Immediate"),
    ];
    samples.add(&["provisioner", "reclaim_policy", "volume_binding_mode"], &values.map(Value::Word), 1.0);
}
