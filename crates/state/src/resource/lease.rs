//! Leases.

use super::{Family, Kind};
use crate::object::meta::Time;
use crate::object::{Nested, message, object};
use crate::samples::{Samples, Value};

object! {
    /// `v1.Lease`.
    pub struct Lease {
        2 "spec" spec: Nested<'a, LeaseSpec<'a>>,
    }
}

message! {
    /// `v1.LeaseSpec`.
    pub struct LeaseSpec {
        1 "holderIdentity" holder_identity: &'a str,
        4 "renewTime" renew_time: Time,
    }
}

pub(crate) struct Leases;

impl Kind for Leases {
    type Object<'a> = Lease<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::alpha("kube_lease_owner", "Information about the Lease's owner.", owner),
        Family::<Self>::alpha("kube_lease_renew_time", "Kube lease renew time.", renew_time),
    ];

    fn identity(lease: &Lease<'_>, samples: &mut Samples) {
        samples.add_identity("lease", lease.metadata.name);
    }
}

/// A sample for each owner, or one with empty texts.
fn owner(lease: &Lease<'_>, samples: &mut Samples) {
    let owners = &*lease.metadata.owner_references;
    for owner in owners {
        owned_by(owner.kind, owner.name, lease, samples);
    }
    if owners.is_empty() {
        owned_by("", "", lease, samples);
    }
}

fn owned_by(kind: &str, name: &str, lease: &Lease<'_>, samples: &mut Samples) {
    const LABELS: &[&str] = &["owner_kind", "owner_name", "namespace", "lease_holder"];
    let values = [kind, name, lease.metadata.namespace, lease.spec.holder_identity];
    samples.add(LABELS, &values.map(Value::Word), 1.0);
}

fn renew_time(lease: &Lease<'_>, samples: &mut Samples) {
    if let Some(seconds) = lease.spec.renew_time.unix() {
        samples.add(&["namespace"], &[Value::Word(lease.metadata.namespace)], seconds as f64);
    }
}
