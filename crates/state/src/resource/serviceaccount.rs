//! ServiceAccounts.

use super::{Family, Kind, annotations, created, deleted, labels, truth_text};
use crate::object::reference::{LocalObjectReference, ObjectReference};
use crate::object::{Repeated, object};
use crate::samples::{Samples, Value};

object! {
    /// `v1.ServiceAccount`.
    pub struct ServiceAccount {
        2 "secrets" secrets: Repeated<'a, ObjectReference<'a>>,
        3 "imagePullSecrets" image_pull_secrets: Repeated<'a, LocalObjectReference<'a>>,
        4 "automountServiceAccountToken" automount_token: Option<bool>,
    }
}

pub(crate) struct ServiceAccounts;

impl Kind for ServiceAccounts {
    type Object<'a> = ServiceAccount<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::alpha("kube_serviceaccount_info", "Information about a service account", info),
        Family::<Self>::alpha(
            "kube_serviceaccount_created",
            "Unix creation timestamp",
            |account, samples| created(&account.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_serviceaccount_deleted",
            "Unix deletion timestamp",
            |account, samples| deleted(&account.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_serviceaccount_secret",
            "Secret being referenced by a service account",
            secrets,
        ),
        Family::<Self>::alpha(
            "kube_serviceaccount_image_pull_secret",
            "Secret being referenced by a service account for the purpose of pulling images",
            image_pull_secrets,
        ),
        Family::<Self>::alpha(
            "kube_serviceaccount_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |account, samples| annotations(&account.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_serviceaccount_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |account, samples| labels(&account.metadata, samples),
        ),
    ];

    fn identity(account: &ServiceAccount<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", account.metadata.namespace);
        samples.add_identity("serviceaccount", account.metadata.name);
        samples.add_identity("uid", account.metadata.uid);
    }
}

fn info(account: &ServiceAccount<'_>, samples: &mut Samples) {
    let automount = account.automount_token.map_or("", truth_text);
    samples.add(&["automount_token"], &[Value::Word(automount)], 1.0);
}

fn secrets(account: &ServiceAccount<'_>, samples: &mut Samples) {
    for secret in &*account.secrets {
        samples.add(&["name"], &[Value::Text(secret.name)], 1.0);
    }
}

fn image_pull_secrets(account: &ServiceAccount<'_>, samples: &mut Samples) {
    for secret in &*account.image_pull_secrets {
        samples.add(&["name"], &[Value::Word(secret.name)], 1.0);
    }
}
