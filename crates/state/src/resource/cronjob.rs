//! CronJobs.

mod schedule;

use self::schedule::Schedule;
use super::{Family, Kind, annotations, created, labels, resource_version, truth};
use crate::object::meta::Time;
use crate::object::{Count, Nested, message, object};
use crate::samples::{Samples, Value};

object! {
    /// `v1.CronJob`.
    pub struct CronJob {
        2 "spec" spec: Nested<'a, CronJobSpec<'a>>,
        3 "status" status: Nested<'a, CronJobStatus<'a>>,
    }
}

message! {
    /// `v1.CronJobSpec`.
    pub struct CronJobSpec {
        1 "schedule" schedule: &'a str,
        2 "startingDeadlineSeconds" starting_deadline_seconds: Option<i64>,
        3 "concurrencyPolicy" concurrency_policy: &'a str,
        4 "suspend" suspend: bool,
        6 "successfulJobsHistoryLimit" successful_jobs_history_limit: Option<i32>,
        7 "failedJobsHistoryLimit" failed_jobs_history_limit: Option<i32>,
        8 "timeZone" time_zone: Option<&'a str>,
    }

    /// `v1.CronJobStatus`.
    pub struct CronJobStatus {
        1 "active" active: Count,
        4 "lastScheduleTime" last_schedule_time: Option<Time>,
        5 "lastSuccessfulTime" last_successful_time: Option<Time>,
    }
}

pub(crate) struct CronJobs;

impl Kind for CronJobs {
    type Object<'a> = CronJob<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::alpha(
            "kube_cronjob_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |job, samples| annotations(&job.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_cronjob_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |job, samples| labels(&job.metadata, samples),
        ),
        Family::<Self>::stable("kube_cronjob_info", "Info about cronjob.", info),
        Family::<Self>::stable("kube_cronjob_created", "Unix creation timestamp", |job, samples| {
            created(&job.metadata, samples)
        }),
        Family::<Self>::stable(
            "kube_cronjob_status_active",
            "Active holds pointers to currently running jobs.",
            |job, samples| samples.add(&[], &[], job.status.active.0 as f64),
        ),
        Family::<Self>::stable(
            "kube_cronjob_status_last_schedule_time",
            "LastScheduleTime keeps information of when was the last time the job was successfully scheduled.",
            |job, samples| time(job.status.last_schedule_time, samples),
        ),
        Family::<Self>::stable(
            "kube_cronjob_status_last_successful_time",
            "LastSuccessfulTime keeps information of when was the last time the job was completed successfully.",
            |job, samples| time(job.status.last_successful_time, samples),
        ),
        Family::<Self>::stable(
            "kube_cronjob_spec_suspend",
            "Suspend flag tells the controller to suspend subsequent executions.",
            |job, samples| samples.add(&[], &[], truth(job.spec.suspend)),
        ),
        Family::<Self>::stable(
            "kube_cronjob_spec_starting_deadline_seconds",
            "Deadline in seconds for starting the job if it misses scheduled time for any reason.",
            starting_deadline,
        ),
        Family::<Self>::stable(
            "kube_cronjob_next_schedule_time",
            "Next time the cronjob should be scheduled. The time after lastScheduleTime, or after the cron job's creation time if it's never been scheduled. Use this to determine if the job is delayed.",
            next_schedule_time,
        ),
        Family::<Self>::alpha(
            "kube_cronjob_schedule_invalid",
            "Emitted with value 1 for cronjobs whose schedule, in its configured timezone, cannot be parsed.",
            schedule_invalid,
        ),
        Family::<Self>::stable(
            "kube_cronjob_metadata_resource_version",
            "Resource version representing a specific version of the cronjob.",
            |job, samples| resource_version(&job.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_cronjob_spec_successful_job_history_limit",
            "Successful job history limit tells the controller how many completed jobs should be preserved.",
            |job, samples| limit(job.spec.successful_jobs_history_limit, samples),
        ),
        Family::<Self>::alpha(
            "kube_cronjob_spec_failed_job_history_limit",
            "Failed job history limit tells the controller how many failed jobs should be preserved.",
            |job, samples| limit(job.spec.failed_jobs_history_limit, samples),
        ),
    ];

    fn identity(job: &CronJob<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", job.metadata.namespace);
        samples.add_identity("cronjob", job.metadata.name);
    }
}

fn info(job: &CronJob<'_>, samples: &mut Samples) {
    let spec = &job.spec;
    let values = [spec.schedule, spec.concurrency_policy, spec.time_zone.unwrap_or("local")];
    samples.add(&["schedule", "concurrency_policy", "timezone"], &values.map(Value::Word), 1.0);
}

/// Said once it is set, be it to the zero time.
fn time(time: Option<Time>, samples: &mut Samples) {
    if let Some(time) = time {
        samples.add(&[], &[], time.unix_or_zero_time() as f64);
    }
}

fn starting_deadline(job: &CronJob<'_>, samples: &mut Samples) {
    if let Some(seconds) = job.spec.starting_deadline_seconds {
        samples.add(&[], &[], seconds as f64);
    }
}

fn limit(limit: Option<i32>, samples: &mut Samples) {
    if let Some(limit) = limit {
        samples.add(&[], &[], f64::from(limit));
    }
}

fn schedule(job: &CronJob<'_>, samples: &Samples) -> Option<Schedule> {
    Schedule::parse(job.spec.schedule, job.spec.time_zone, samples.local_time_zone())
}

/// The first time after the last one, or after the job was made; nothing of a suspended job.
fn next_schedule_time(job: &CronJob<'_>, samples: &mut Samples) {
    let last = job.status.last_schedule_time.and_then(Time::unix);
    let after = last.or(job.metadata.creation_timestamp.unix());
    if let Some(after) = after.filter(|_| !job.spec.suspend)
        && let Some(schedule) = schedule(job, samples)
    {
        samples.add(&[], &[], schedule.next(after) as f64);
    }
}

fn schedule_invalid(job: &CronJob<'_>, samples: &mut Samples) {
    if schedule(job, samples).is_none() {
        samples.add(&[], &[], 1.0);
    }
}
