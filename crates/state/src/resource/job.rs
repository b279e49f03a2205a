//! Jobs.

use super::{
    Family, Kind, annotations, condition_rows, created, labels, number, optional, owners, time, truth,
};
use crate::object::meta::Time;
use crate::object::{Nested, Repeated, message, object};
use crate::samples::{Samples, Value};

object! {
    /// `v1.Job`.
    pub struct Job {
        2 "spec" spec: Nested<'a, JobSpec<'a>>,
        3 "status" status: Nested<'a, JobStatus<'a>>,
    }
}

message! {
    /// `v1.JobSpec`.
    pub struct JobSpec {
        1 "parallelism" parallelism: Option<i32>,
        2 "completions" completions: Option<i32>,
        3 "activeDeadlineSeconds" active_deadline_seconds: Option<i64>,
    }

    /// `v1.JobStatus`.
    pub struct JobStatus {
        1 "conditions" conditions: Repeated<'a, JobCondition<'a>>,
        2 "startTime" start_time: Option<Time>,
        3 "completionTime" completion_time: Option<Time>,
        4 "active" active: i32,
        5 "succeeded" succeeded: i32,
        6 "failed" failed: i32,
        9 "ready" ready: i32,
    }

    /// `v1.JobCondition`.
    pub struct JobCondition {
        1 "type" kind: &'a str,
        2 "status" status: &'a str,
        5 "reason" reason: &'a str,
    }
}

pub(crate) struct Jobs;

impl Kind for Jobs {
    type Object<'a> = Job<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::alpha(
            "kube_job_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |job, samples| annotations(&job.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_job_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |job, samples| labels(&job.metadata, samples),
        ),
        Family::<Self>::stable("kube_job_info", "Information about job.", |_, samples| {
            samples.add(&[], &[], 1.0)
        }),
        Family::<Self>::stable("kube_job_created", "Unix creation timestamp", |job, samples| {
            created(&job.metadata, samples)
        }),
        Family::<Self>::stable(
            "kube_job_spec_parallelism",
            "The maximum desired number of pods the job should run at any given time.",
            |job, samples| optional(job.spec.parallelism, samples),
        ),
        Family::<Self>::stable(
            "kube_job_spec_completions",
            "The desired number of successfully finished pods the job should be run with.",
            |job, samples| optional(job.spec.completions, samples),
        ),
        Family::<Self>::stable(
            "kube_job_spec_active_deadline_seconds",
            "The duration in seconds relative to the startTime that the job may be active before the system tries to terminate it.",
            |job, samples| optional(job.spec.active_deadline_seconds, samples),
        ),
        Family::<Self>::stable(
            "kube_job_status_succeeded",
            "The number of pods which reached Phase Succeeded.",
            |job, samples| number(job.status.succeeded, samples),
        ),
        Family::<Self>::stable(
            "kube_job_status_failed",
            "The number of pods which reached Phase Failed and the reason for failure.",
            failed,
        ),
        Family::<Self>::stable(
            "kube_job_status_active",
            "The number of actively running pods.",
            |job, samples| number(job.status.active, samples),
        ),
        Family::<Self>::alpha(
            "kube_job_status_ready",
            "The number of ready pods that belong to this Job.",
            |job, samples| number(job.status.ready, samples),
        ),
        Family::<Self>::stable(
            "kube_job_complete",
            "The job has completed its execution.",
            |job, samples| condition(job, "Complete", samples),
        ),
        Family::<Self>::stable("kube_job_failed", "The job has failed its execution.", |job, samples| {
            condition(job, "Failed", samples)
        }),
        Family::<Self>::stable(
            "kube_job_status_start_time",
            "StartTime represents time when the job was acknowledged by the Job Manager.",
            |job, samples| time(job.status.start_time, samples),
        ),
        Family::<Self>::stable(
            "kube_job_status_completion_time",
            "CompletionTime represents time when the job was completed.",
            |job, samples| time(job.status.completion_time, samples),
        ),
        Family::<Self>::alpha(
            "kube_job_status_suspended",
            "The number of pods which reached Phase Suspended.",
            suspended,
        ),
        Family::<Self>::stable("kube_job_owner", "Information about the Job's owner.", |job, samples| {
            owners(&job.metadata, samples)
        }),
    ];

    fn identity(job: &Job<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", job.metadata.namespace);
        samples.add_identity("job_name", job.metadata.name);
    }
}

/// The count without a reason while there is none, or where the reason is not among the known ones; a row for each known
/// reason where the job has failed.
fn failed(job: &Job<'_>, samples: &mut Samples) {
    const REASONS: [&str; 3] = ["BackoffLimitExceeded", "DeadlineExceeded", "Evicted"];
    if job.status.failed == 0 {
        return samples.add(&[], &[], 0.0);
    }
    let mut known = false;
    for condition in of_kind(job, "Failed") {
        for reason in REASONS {
            let is_it = condition.reason == reason;
            known |= is_it;
            samples.add(&["reason"], &[Value::Word(reason)], truth(is_it));
        }
    }
    if !known {
        samples.add(&["reason"], &[Value::Word("")], f64::from(job.status.failed));
    }
}

fn of_kind<'o, 'a>(job: &'o Job<'a>, kind: &'static str) -> impl Iterator<Item = &'o JobCondition<'a>> {
    job.status.conditions.iter().filter(move |condition| condition.kind == kind)
}

fn condition(job: &Job<'_>, kind: &'static str, samples: &mut Samples) {
    for condition in of_kind(job, kind) {
        for (status, number) in condition_rows(condition.status) {
            samples.add(&["condition"], &[Value::Word(status)], number);
        }
    }
}

fn suspended(job: &Job<'_>, samples: &mut Samples) {
    for condition in of_kind(job, "Suspended") {
        samples.add(&[], &[], truth(condition.status == "True"));
    }
}
