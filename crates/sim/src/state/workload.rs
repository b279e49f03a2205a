//! What keeps pods running.

use outrigger_wire::kubernetes::ResourceKind;
use outrigger_wire::protobuf::Writer;

use super::encode::{
    ConditionFields, Metadata, Object, Owner, number_or_text, seconds, selector, text_or_number,
};
use super::pod::{application_labels, borrowed, pod_spec};
use super::{PODS_PER_DEPLOYMENT, REPLICA_SETS, names};

const DEPLOYMENT: ConditionFields =
    ConditionFields { status: 2, updated: Some(6), changed: 7, reason: 4, message: 5 };
const JOB: ConditionFields =
    ConditionFields { status: 2, updated: Some(3), changed: 4, reason: 5, message: 6 };
const AUTOSCALER: ConditionFields =
    ConditionFields { status: 2, updated: None, changed: 3, reason: 4, message: 5 };

impl Object {
    /// Pods that a Deployment wants.
    fn replicas(&self, deployment: u64) -> i64 {
        let first = deployment * PODS_PER_DEPLOYMENT;
        (self.all.pods.saturating_sub(first)).min(PODS_PER_DEPLOYMENT) as i64
    }

    fn template(&self, template: &mut Writer<'_>, deployment: u64) {
        let labels = application_labels(deployment);
        template.message(1, |meta| super::encode::pairs(meta, 11, &borrowed(&labels)));
        template.message(2, |spec| pod_spec(spec, deployment, None));
    }

    pub(super) fn deployment(&self, writer: &mut Writer<'_>) {
        let number = self.number();
        let (labels, replicas) = (application_labels(number), self.replicas(number));
        let labels = borrowed(&labels);
        let uid = names::uid(self.resource, number, 0);
        self.metadata_of(
            writer,
            &Metadata {
                uid: &uid,
                created: self.created(),
                labels: &labels,
                annotations: &[("deployment.kubernetes.io/revision", "11")],
                owner: None,
                managers: 2,
            },
        );
        writer.message(2, |spec| {
            spec.int(1, replicas);
            spec.message(2, |one| selector(one, &labels[..1]));
            spec.message(3, |template| self.template(template, number));
            spec.message(4, |strategy| {
                strategy.string(1, "RollingUpdate");
                strategy.message(2, |rolling| {
                    rolling.message(1, |value| text_or_number(value, "25%"));
                    rolling.message(2, |value| text_or_number(value, "25%"));
                });
            });
            spec.int(5, 0);
            spec.int(6, 10);
            spec.boolean(7, false);
            spec.int(9, 600);
        });
        writer.message(3, |status| {
            for (field, value) in [(1, 3), (2, replicas), (3, replicas), (4, replicas), (5, 0)] {
                status.int(field, value);
            }
            for (kind, reason) in
                [("Available", "MinimumReplicasAvailable"), ("Progressing", "NewReplicaSetAvailable")]
            {
                status.message(6, |one| DEPLOYMENT.write(one, kind, true, reason, self.created()));
            }
            status.int(7, replicas);
        });
    }

    pub(super) fn replica_set(&self, writer: &mut Writer<'_>) {
        let (deployment, revision) = (self.number() / REPLICA_SETS, self.number() % REPLICA_SETS);
        let replicas = if revision == 0 { self.replicas(deployment) } else { 0 };
        let hash = names::template_hash(deployment, revision);
        let labels = application_labels(deployment);
        let mut labels = borrowed(&labels);
        labels.push(("pod-template-hash", &hash));
        let (uid, owner) = (names::uid(self.resource, self.number(), 0), names::application(deployment));
        let revision = (REPLICA_SETS - revision).to_string();
        self.metadata_of(
            writer,
            &Metadata {
                uid: &uid,
                created: self.created(),
                labels: &labels,
                annotations: &[
                    ("deployment.kubernetes.io/desired-replicas", "30"),
                    ("deployment.kubernetes.io/max-replicas", "38"),
                    ("deployment.kubernetes.io/revision", &revision),
                ],
                owner: Some(Owner {
                    api_version: "apps/v1",
                    kind: "Deployment",
                    name: &owner,
                    uid: names::uid(ResourceKind::Deployment, deployment, 0),
                }),
                managers: 2,
            },
        );
        writer.message(2, |spec| {
            spec.int(1, replicas);
            spec.message(2, |one| selector(one, &labels));
            spec.message(3, |template| self.template(template, deployment));
            spec.int(4, 0);
        });
        writer.message(3, |status| {
            for (field, value) in [(1, replicas), (2, replicas), (3, 1), (4, replicas), (5, replicas)] {
                status.int(field, value);
            }
        });
    }

    pub(super) fn stateful_set(&self, writer: &mut Writer<'_>) {
        let labels = application_labels(self.number());
        let labels = borrowed(&labels);
        self.metadata(writer, &labels, None);
        let revision = format!("{}-{}", self.key.name, names::template_hash(self.number(), 0));
        writer.message(2, |spec| {
            spec.int(1, 3);
            spec.message(2, |one| selector(one, &labels[..1]));
            spec.message(3, |template| self.template(template, self.number()));
            spec.string(5, &self.key.name);
            spec.string(6, "OrderedReady");
            spec.message(7, |strategy| {
                strategy.string(1, "RollingUpdate");
                strategy.message(2, |rolling| rolling.int(1, 0));
            });
            spec.int(8, 10);
            spec.message(10, |retention| {
                retention.string(1, "Retain");
                retention.string(2, "Retain");
            });
        });
        writer.message(3, |status| {
            for (field, value) in [(1, 3), (2, 3), (3, 3), (4, 3), (5, 3), (11, 3)] {
                status.int(field, value);
            }
            status.string(6, &revision);
            status.string(7, &revision);
        });
    }

    pub(super) fn daemon_set(&self, writer: &mut Writer<'_>) {
        let labels = application_labels(self.number());
        let labels = borrowed(&labels);
        self.metadata(writer, &labels, None);
        let nodes = self.all.nodes() as i64;
        writer.message(2, |spec| {
            spec.message(1, |one| selector(one, &labels[..1]));
            spec.message(2, |template| self.template(template, self.number()));
            spec.message(3, |strategy| strategy.string(1, "RollingUpdate"));
            spec.int(6, 10);
        });
        writer.message(3, |status| {
            for (field, value) in
                [(1, nodes), (2, 0), (3, nodes), (4, nodes), (5, 3), (6, nodes), (7, nodes), (8, 0)]
            {
                status.int(field, value);
            }
        });
    }

    pub(super) fn replication_controller(&self, writer: &mut Writer<'_>) {
        self.metadata(writer, &[], None);
        writer.message(2, |spec| {
            spec.int(1, 2);
            spec.message(3, |template| self.template(template, self.number()));
        });
        writer.message(3, |status| {
            for (field, value) in [(1, 2), (2, 2), (3, 3), (4, 2), (5, 2)] {
                status.int(field, value);
            }
        });
    }

    pub(super) fn job(&self, writer: &mut Writer<'_>) {
        let owner = format!("{}-report", names::application(self.number() / 5));
        let owner = Owner {
            api_version: "batch/v1",
            kind: "CronJob",
            name: &owner,
            uid: names::uid(ResourceKind::CronJob, self.number() / 5, 0),
        };
        let labels = application_labels(self.number() / 5);
        self.metadata(writer, &borrowed(&labels), Some(owner));
        let failed = self.random(4).is_multiple_of(20);
        let at = self.created() + 90;
        writer.message(2, |spec| {
            spec.int(1, 1);
            spec.int(2, 1);
            spec.message(6, |template| self.template(template, self.number() / 5));
            spec.int(7, 6);
            spec.string(9, "NonIndexed");
            spec.boolean(10, false);
        });
        writer.message(3, |status| {
            let (kind, reason) =
                if failed { ("Failed", "BackoffLimitExceeded") } else { ("Complete", "CompletionsReached") };
            status.message(1, |one| JOB.write(one, kind, true, reason, at));
            status.message(2, |time| seconds(time, self.created() + 1));
            if !failed {
                status.message(3, |time| seconds(time, at));
            }
            status.int(4, 0);
            status.int(5, i64::from(!failed));
            status.int(6, if failed { 7 } else { 0 });
        });
    }

    pub(super) fn cron_job(&self, writer: &mut Writer<'_>) {
        let labels = application_labels(self.number());
        self.metadata(writer, &borrowed(&labels), None);
        writer.message(2, |spec| {
            spec.string(1, &format!("{} */2 * * *", self.number() % 60));
            spec.string(3, "Forbid");
            spec.boolean(4, false);
            spec.message(5, |job| {
                job.message(2, |spec| spec.message(6, |template| self.template(template, self.number())));
            });
            spec.int(6, 3);
            spec.int(7, 1);
        });
        writer.message(3, |status| {
            status.message(4, |time| seconds(time, self.all.now - 3000));
            status.message(5, |time| seconds(time, self.all.now - 2910));
        });
    }

    pub(super) fn autoscaler(&self, writer: &mut Writer<'_>) {
        let labels = application_labels(self.number());
        self.metadata(writer, &borrowed(&labels), None);
        let utilization = 40 + (self.random(2) % 40) as i64;
        writer.message(2, |spec| {
            spec.message(1, |reference| {
                reference.string(1, "Deployment");
                reference.string(2, &self.key.name);
                reference.string(3, "apps/v1");
            });
            spec.int(2, 3);
            spec.int(3, 60);
            spec.message(4, |metric| {
                metric.string(1, "Resource");
                metric.message(4, |resource| {
                    resource.string(1, "cpu");
                    resource.message(2, |target| {
                        target.string(1, "Utilization");
                        target.int(4, 75);
                    });
                });
            });
        });
        writer.message(3, |status| {
            status.int(1, 1);
            status.int(3, PODS_PER_DEPLOYMENT as i64);
            status.int(4, PODS_PER_DEPLOYMENT as i64);
            status.message(5, |metric| {
                metric.string(1, "Resource");
                metric.message(4, |resource| {
                    resource.string(1, "cpu");
                    resource.message(2, |current| {
                        current.message(2, |value| value.string(1, "131m"));
                        current.int(3, utilization);
                    });
                });
            });
            for (kind, holds, reason) in [
                ("AbleToScale", true, "ReadyForNewScale"),
                ("ScalingActive", true, "ValidMetricFound"),
                ("ScalingLimited", false, "DesiredWithinRange"),
            ] {
                status.message(6, |one| AUTOSCALER.write(one, kind, holds, reason, self.created()));
            }
        });
    }

    pub(super) fn disruption_budget(&self, writer: &mut Writer<'_>) {
        let labels = application_labels(self.number());
        let labels = borrowed(&labels);
        self.metadata(writer, &labels, None);
        let pods = PODS_PER_DEPLOYMENT as i64;
        writer.message(2, |spec| {
            spec.message(2, |one| selector(one, &labels[..1]));
            spec.message(3, |value| number_or_text(value, 1));
        });
        writer.message(3, |status| {
            for (field, value) in [(1, 1), (3, 1), (4, pods), (5, pods - 1), (6, pods)] {
                status.int(field, value);
            }
        });
    }
}
