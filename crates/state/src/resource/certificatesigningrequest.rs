//! CertificateSigningRequests.

use super::{Family, Kind, annotations, created, labels};
use crate::object::meta::ByteCount;
use crate::object::{Nested, Repeated, message, object};
use crate::samples::{Samples, Value};

object! {
    /// `v1.CertificateSigningRequest`.
    pub struct CertificateSigningRequest {
        2 "spec" spec: Nested<'a, CertificateSigningRequestSpec<'a>>,
        3 "status" status: Nested<'a, CertificateSigningRequestStatus<'a>>,
    }
}

message! {
    /// `v1.CertificateSigningRequestSpec`.
    pub struct CertificateSigningRequestSpec {
        7 "signerName" signer_name: &'a str,
    }

    /// `v1.CertificateSigningRequestStatus`.
    pub struct CertificateSigningRequestStatus {
        1 "conditions" conditions: Repeated<'a, CertificateSigningRequestCondition<'a>>,
        2 "certificate" certificate: ByteCount,
    }

    /// `v1.CertificateSigningRequestCondition`.
    pub struct CertificateSigningRequestCondition {
        1 "type" kind: &'a str,
    }
}

pub(crate) struct CertificateSigningRequests;

impl Kind for CertificateSigningRequests {
    type Object<'a> = CertificateSigningRequest<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::alpha(
            "kube_certificatesigningrequest_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |request, samples| annotations(&request.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_certificatesigningrequest_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |request, samples| labels(&request.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_certificatesigningrequest_created",
            "Unix creation timestamp",
            |request, samples| created(&request.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_certificatesigningrequest_condition",
            "The number of each certificatesigningrequest condition",
            condition,
        ),
        Family::<Self>::stable(
            "kube_certificatesigningrequest_cert_length",
            "Length of the issued cert",
            cert_length,
        ),
    ];

    fn identity(request: &CertificateSigningRequest<'_>, samples: &mut Samples) {
        samples.add_identity("certificatesigningrequest", request.metadata.name);
        samples.add_identity("signer_name", request.spec.signer_name);
    }
}

/// How many conditions of each known type there are.
fn condition(request: &CertificateSigningRequest<'_>, samples: &mut Samples) {
    for (kind, label) in [("Approved", "approved"), ("Denied", "denied"), ("Failed", "failed")] {
        let count = request.status.conditions.iter().filter(|condition| condition.kind == kind).count();
        samples.add(&["condition"], &[Value::Word(label)], count as f64);
    }
}

fn cert_length(request: &CertificateSigningRequest<'_>, samples: &mut Samples) {
    samples.add(&[], &[], request.status.certificate.0 as f64);
}
