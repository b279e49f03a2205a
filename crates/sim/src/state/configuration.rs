//! What configures everything else.

use outrigger_wire::kubernetes::ResourceKind;
use outrigger_wire::protobuf::Writer;

use super::encode::{ConditionFields, Object, pairs, quantities};
use super::names;
use super::pod::{application_labels, borrowed};

const CERTIFICATE: ConditionFields =
    ConditionFields { status: 6, updated: Some(4), changed: 5, reason: 2, message: 3 };
const QUOTA: [(&str, &str); 4] =
    [("limits.cpu", "400"), ("limits.memory", "800Gi"), ("pods", "400"), ("requests.cpu", "100")];
const USED: [(&str, &str); 4] =
    [("limits.cpu", "180"), ("limits.memory", "169Gi"), ("pods", "150"), ("requests.cpu", "46500m")];

impl Object {
    /// Every resource that no other file writes.
    pub(super) fn configuration(&self, writer: &mut Writer<'_>) {
        let labels = application_labels(self.number());
        match self.resource {
            ResourceKind::Secret | ResourceKind::ConfigMap | ResourceKind::ServiceAccount => {
                self.metadata(writer, &borrowed(&labels), None);
            }
            ResourceKind::Namespace => {
                self.metadata(writer, &[("kubernetes.io/metadata.name", &self.key.name)], None);
            }
            _ => self.metadata(writer, &[], None),
        }
        match self.resource {
            ResourceKind::Namespace => {
                writer.message(2, |spec| spec.string(1, "kubernetes"));
                writer.message(3, |status| status.string(1, "Active"));
            }
            ResourceKind::ConfigMap => {
                let text = "setting: value # a line of configuration\n".repeat(24);
                pairs(writer, 2, &[("config.yaml", &text)]);
            }
            ResourceKind::Secret => {
                for key in ["password", "username"] {
                    writer.message(2, |entry| {
                        entry.string(1, key);
                        entry.bytes(2, names::digest(self.random(key.len() as u64)).as_bytes());
                    });
                }
                writer
                    .string(3, if self.number().is_multiple_of(2) { "Opaque" } else { "kubernetes.io/tls" });
            }
            ResourceKind::ResourceQuota => {
                writer.message(2, |spec| quantities(spec, 1, &QUOTA));
                writer.message(3, |status| {
                    quantities(status, 1, &QUOTA);
                    quantities(status, 2, &USED);
                });
            }
            ResourceKind::LimitRange => writer.message(2, |spec| {
                spec.message(1, |item| {
                    item.string(1, "Container");
                    quantities(item, 2, &[("cpu", "8"), ("memory", "16Gi")]);
                    quantities(item, 4, &[("cpu", "500m"), ("memory", "512Mi")]);
                    quantities(item, 5, &[("cpu", "100m"), ("memory", "128Mi")]);
                });
            }),
            ResourceKind::Role | ResourceKind::ClusterRole => writer.message(2, |rule| {
                ["get", "list", "watch"].iter().for_each(|verb| rule.string(1, verb));
                rule.string(2, "");
                rule.string(3, "pods");
            }),
            ResourceKind::RoleBinding | ResourceKind::ClusterRoleBinding => {
                writer.message(2, |subject| {
                    subject.string(1, "ServiceAccount");
                    subject.string(2, "");
                    subject.string(3, "default");
                    subject.string(4, "kube-system");
                });
                writer.message(3, |role| {
                    role.string(1, "rbac.authorization.k8s.io");
                    role.string(2, "ClusterRole");
                    role.string(3, "clusterrole-1");
                });
            }
            ResourceKind::CertificateSigningRequest => {
                writer.message(2, |spec| {
                    spec.bytes(1, &[b'-'; 700]);
                    spec.string(2, "system:bootstrap:abcdef");
                    spec.string(5, "client auth");
                    spec.string(7, "kubernetes.io/kube-apiserver-client-kubelet");
                });
                writer.message(3, |status| {
                    status.message(1, |one| {
                        CERTIFICATE.write(one, "Approved", true, "AutoApproved", self.created());
                    });
                    status.bytes(2, &[b'-'; 1100]);
                });
            }
            ResourceKind::MutatingWebhookConfiguration | ResourceKind::ValidatingWebhookConfiguration => {
                writer.message(2, |webhook| {
                    webhook.string(1, "check.example.com");
                    webhook.message(2, |client| {
                        client.message(1, |service| {
                            service.string(1, "kube-system");
                            service.string(2, "webhook");
                            service.int(4, 443);
                        });
                    });
                    webhook.string(4, "Fail");
                    webhook.string(6, "None");
                    webhook.string(8, "v1");
                });
            }
            ResourceKind::ValidatingAdmissionPolicyBinding => writer.message(2, |spec| {
                spec.string(1, &format!("validatingadmissionpolicy-{}", self.number()));
                spec.string(4, "Deny");
            }),
            ResourceKind::MutatingAdmissionPolicyBinding => writer.message(2, |spec| {
                spec.string(1, &format!("mutatingadmissionpolicy-{}", self.number()));
            }),
            ResourceKind::ValidatingAdmissionPolicy => writer.message(2, |spec| spec.string(4, "Fail")),
            ResourceKind::MutatingAdmissionPolicy => writer.message(2, |spec| {
                spec.string(5, "Fail");
                spec.string(7, "Never");
            }),
            _ => {}
        }
    }
}
