//! Secrets: their metadata and type; what they hold is passed over unread.

use super::{Family, Kind, annotations, created, labels, owners, resource_version};
use crate::object::object;
use crate::samples::{Samples, Value};

object! {
    /// `v1.Secret`.
    pub struct Secret {
        3 "type" kind: &'a str,
    }
}

pub(crate) struct Secrets;

impl Kind for Secrets {
    type Object<'a> = Secret<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::stable("kube_secret_info", "Information about secret.", |_, samples| {
            samples.add(&[], &[], 1.0)
        }),
        Family::<Self>::stable("kube_secret_type", "Type about secret.", kind),
        Family::<Self>::alpha(
            "kube_secret_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |secret, samples| annotations(&secret.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_secret_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |secret, samples| labels(&secret.metadata, samples),
        ),
        Family::<Self>::stable("kube_secret_created", "Unix creation timestamp", |secret, samples| {
            created(&secret.metadata, samples)
        }),
        Family::<Self>::alpha(
            "kube_secret_metadata_resource_version",
            "Resource version representing a specific version of secret.",
            |secret, samples| resource_version(&secret.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_secret_owner",
            "Information about the Secret's owner.",
            |secret, samples| owners(&secret.metadata, samples),
        ),
    ];

    fn identity(secret: &Secret<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", secret.metadata.namespace);
        samples.add_identity("secret", secret.metadata.name);
    }
}

fn kind(secret: &Secret<'_>, samples: &mut Samples) {
    samples.add(&["type"], &[Value::Word(secret.kind)], 1.0);
}
