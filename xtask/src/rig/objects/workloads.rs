//! What makes pods, and what acts on it.

use serde_json::{Value, json};

use super::{Random, pods};

const SCHEDULES: [&str; 24] = [
    "*/5 * * * *",
    "0 0 1 1 *",
    "@hourly",
    "@daily",
    "@weekly",
    "@monthly",
    "@yearly",
    "@midnight",
    "*/120 4-22 * * *",
    "*/32 * * * *",
    "5 4 * * sun",
    "0 22 * * 1-5",
    "23 0-20/2 * * *",
    "0 0,12 1 */2 *",
    "30 2 * * *",
    "30 1 * * *",
    "0 0 29 2 *",
    "0 0 13 * 5",
    "0 0 ? * MON-FRI",
    "1-59/2 * * * *",
    "0 12 * JAN,jul *",
    "15 10 31 * *",
    "0 0 * * 0",
    "59 23 31 12 *",
];

fn labelled(name: &str) -> Value {
    json!({"matchLabels": {"app": name}})
}

/// Counts of which each is at most the one before it.
fn descending<const N: usize>(random: &mut Random) -> [usize; N] {
    let mut most = *random.pick(&[&0, &1, &7, &1_000_000]);
    [(); N].map(|()| {
        most = random.between(most / 2, most);
        most
    })
}

pub(super) fn deployment(random: &mut Random, name: &str) -> (Value, Value) {
    let share = [json!(0), json!(1), json!(10), json!("25%"), json!("100%"), json!("1%"), json!("33%")];
    let strategy = match random.below(4) {
        0 => Value::Null,
        1 => json!({"type": "Recreate"}),
        _ => {
            let surge = random.one_of(&share);
            let unavailable = if surge == 0 { json!("50%") } else { random.one_of(&share) };
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
        }
    };
    let spec = json!({
        "replicas": random.one_of(&[Value::Null, json!(0), json!(1), json!(3), json!(200), json!(1_234_567)]),
        "selector": labelled(name),
        "template": pods::template(random, name),
        "paused": random.flag(),
        "strategy": strategy,
    });
    let [replicas, ready, available] = descending(random);
    let status = json!({
        "observedGeneration": random.count(),
        "replicas": replicas,
        "readyReplicas": ready,
        "availableReplicas": available,
        "updatedReplicas": random.between(0, replicas),
        "unavailableReplicas": random.count(),
        "terminatingReplicas": random.count(),
        "conditions": random.conditions(
            &["Available", "Progressing", "ReplicaFailure", "Odd"],
            &["MinimumReplicasAvailable", "ProgressDeadlineExceeded", "NewReplicaSetAvailable", "FailedCreate", "Whatever", ""],
            true,
        ),
    });
    (spec, status)
}

pub(super) fn daemon_set(random: &mut Random, name: &str) -> (Value, Value) {
    let spec = json!({"selector": labelled(name), "template": pods::template(random, name)});
    let count = |random: &mut Random| match random.count() {
        Value::Null => json!(0),
        count => count,
    };
    let status = json!({
        "currentNumberScheduled": count(random),
        "desiredNumberScheduled": count(random),
        "numberMisscheduled": count(random),
        "numberReady": count(random),
        "numberAvailable": random.count(),
        "numberUnavailable": random.count(),
        "updatedNumberScheduled": random.count(),
        "observedGeneration": random.count(),
    });
    (spec, status)
}

pub(super) fn replica_set(random: &mut Random, name: &str) -> (Value, Value) {
    let spec = json!({
        "replicas": random.one_of(&[Value::Null, json!(0), json!(5), json!(999_999)]),
        "selector": labelled(name),
        "template": pods::template(random, name),
    });
    let [replicas, labelled, ready, available] = descending(random);
    let status = json!({
        "replicas": replicas,
        "fullyLabeledReplicas": labelled,
        "readyReplicas": ready,
        "availableReplicas": available,
        "terminatingReplicas": random.count(),
        "observedGeneration": random.count(),
    });
    (spec, status)
}

pub(super) fn replication_controller(random: &mut Random, name: &str) -> (Value, Value) {
    let (mut spec, mut status) = replica_set(random, name);
    spec["selector"] = json!({"app": name});
    status["terminatingReplicas"] = Value::Null;
    (spec, status)
}

pub(super) fn stateful_set(random: &mut Random, name: &str) -> (Value, Value) {
    let spec = json!({
        "replicas": random.one_of(&[Value::Null, json!(0), json!(3), json!(1000)]),
        "selector": labelled(name),
        "template": pods::template(random, name),
        "serviceName": name,
        "ordinals": random.one_of(&[Value::Null, json!({}), json!({"start": 5})]),
        "persistentVolumeClaimRetentionPolicy": random.maybe(60, |random| json!({
            "whenDeleted": random.one_of(&[Value::Null, json!("Retain"), json!("Delete")]),
            "whenScaled": random.one_of(&[Value::Null, json!("Retain"), json!("Delete")]),
        })),
    });
    let [replicas, ready, available] = descending(random);
    let status = json!({
        "replicas": replicas,
        "readyReplicas": ready,
        "availableReplicas": available,
        "currentReplicas": random.between(0, replicas),
        "updatedReplicas": random.between(0, replicas),
        "currentRevision": random.text(&["", "web-5d9c", "a.b-1"]),
        "updateRevision": random.text(&["", "web-5d9c", "web-7777"]),
        "observedGeneration": random.one_of(&[json!(0), json!(1), json!(7)]),
    });
    (spec, status)
}

pub(super) fn job(random: &mut Random, name: &str) -> (Value, Value) {
    let mut template = pods::template(random, name);
    template["spec"]["restartPolicy"] = json!("Never");
    template["metadata"] = Value::Null;
    let suspended = random.chance(20);
    let spec = json!({
        "parallelism": random.one_of(&[Value::Null, json!(0), json!(1), json!(50)]),
        "completions": random.one_of(&[Value::Null, json!(1), json!(0), json!(50)]),
        "activeDeadlineSeconds": random.one_of(&[Value::Null, json!(1), json!(900)]),
        "suspend": suspended,
        "template": template,
    });
    (spec, job_status(random, suspended))
}

fn job_status(random: &mut Random, suspended: bool) -> Value {
    let condition = |kind: &str, status: &str, reason: &str| json!({"type": kind, "status": status, "reason": reason, "lastTransitionTime": "2024-05-01T00:00:00Z"});
    if suspended {
        return json!({"conditions": [condition("Suspended", random.pick(&["True", "False"]), "JobSuspended")]});
    }
    let start = random.plain_time(2024);
    match random.below(5) {
        0 => json!({}),
        1 => {
            let active = random.between(0, 9);
            json!({"startTime": start, "active": active, "ready": random.maybe(70, |random| json!(random.between(0, active))), "failed": random.count(), "succeeded": random.maybe(50, |_| json!(0))})
        }
        2 => json!({
            "startTime": start,
            "completionTime": random.plain_time(2025),
            "succeeded": random.between(1, 9),
            "failed": random.one_of(&[Value::Null, json!(2)]),
            "ready": random.maybe(50, |_| json!(0)),
            "conditions": [condition("SuccessCriteriaMet", "True", "CompletionsReached"), condition("Complete", "True", "CompletionsReached")],
        }),
        3 => {
            json!({"startTime": start, "conditions": [condition("Odd", random.pick(&["True", "Unknown"]), "x")]})
        }
        _ => {
            let reason =
                random.pick(&["BackoffLimitExceeded", "DeadlineExceeded", "Evicted", "PodFailurePolicy", ""]);
            json!({
                "startTime": start,
                "failed": random.one_of(&[Value::Null, json!(0), json!(1), json!(7)]),
                "conditions": [condition("FailureTarget", "True", reason), condition("Failed", "True", reason)],
            })
        }
    }
}

pub(super) fn cron_job(random: &mut Random, name: &str) -> (Value, Value) {
    let mut template = pods::template(random, name);
    template["spec"]["restartPolicy"] = json!("OnFailure");
    let spec = json!({
        "schedule": random.text(&SCHEDULES),
        "timeZone": random.maybe(50, |random| random.text(&["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Etc/UTC", "Pacific/Apia", "Australia/Lord_Howe"])),
        "concurrencyPolicy": random.one_of(&[Value::Null, json!("Allow"), json!("Forbid"), json!("Replace")]),
        "suspend": random.flag(),
        "startingDeadlineSeconds": random.one_of(&[Value::Null, json!(0), json!(300)]),
        "successfulJobsHistoryLimit": random.one_of(&[Value::Null, json!(0), json!(5)]),
        "failedJobsHistoryLimit": random.one_of(&[Value::Null, json!(0), json!(5)]),
        "jobTemplate": {"spec": {"template": template}},
    });
    let times = [
        "2024-03-31T00:59:59Z",
        "2024-10-27T00:30:00Z",
        "2011-12-29T12:00:00Z",
        "2024-02-28T23:59:59Z",
        "2025-12-31T23:59:59Z",
    ];
    let status = json!({
        "active": random.maybe(50, |random| random.list(0, 3, |_, index| json!({"kind": "Job", "name": format!("job-{index}")}))),
        "lastScheduleTime": random.maybe(70, |random| if random.chance(50) { random.plain_time(2023) } else { random.text(&times) }),
        "lastSuccessfulTime": random.maybe(50, Random::time),
    });
    (spec, status)
}

pub(super) fn autoscaler(random: &mut Random) -> (Value, Value) {
    let behaviour = |random: &mut Random| {
        json!({
            "tolerance": random.maybe(60, |random| random.text(&["0", "100m", "0.25", "1n", "50m", "1"])),
            "policies": [{"type": "Pods", "value": 4, "periodSeconds": 60}],
        })
    };
    let spec = json!({
        "minReplicas": random.one_of(&[Value::Null, json!(1), json!(2)]),
        "maxReplicas": random.between(2, 100),
        "scaleTargetRef": {
            "kind": random.text(&["Deployment", "ReplicaSet", "Weird"]),
            "name": "target-0",
            "apiVersion": random.text(&["apps/v1", "example.com/v1alpha1", "x/y"]),
        },
        "metrics": random.maybe(80, |random| random.list(0, 5, |random, _| metric(random, "target"))),
        "behavior": random.maybe(50, |random| json!({"scaleUp": random.maybe(70, behaviour), "scaleDown": random.maybe(70, behaviour)})),
    });
    let status = json!({
        "currentReplicas": random.between(0, 9),
        "desiredReplicas": random.between(0, 9),
        "observedGeneration": random.count(),
        "currentMetrics": random.maybe(80, |random| random.list(0, 5, |random, _| metric(random, "current"))),
        "conditions": random.conditions(&["AbleToScale", "ScalingActive", "ScalingLimited", "Odd"], &["ReadyForNewScale", "FailedGetResourceMetric"], true),
    });
    (spec, status)
}

/// A metric's source (`target`) or status (`current`).
fn metric(random: &mut Random, side: &str) -> Value {
    let metric = json!({"name": random.text(&["hits", "requests_per_second", "sqs-Queue.length"])});
    let name = random.pick(&["cpu", "memory", "example.com/thing"]);
    let of_resource = |random: &mut Random| amount(random, side, &["averageUtilization", "averageValue"]);
    match random.below(5) {
        0 => json!({"type": "Resource", "resource": {"name": name, side: of_resource(random)}}),
        1 => {
            json!({"type": "ContainerResource", "containerResource": {"name": name, "container": random.text(&["c0", "sidecar"]), side: of_resource(random)}})
        }
        2 => {
            json!({"type": "Pods", "pods": {"metric": metric, side: amount(random, side, &["averageValue"])}})
        }
        3 => json!({"type": "Object", "object": {
            "metric": metric,
            "describedObject": {"kind": "Service", "name": "web", "apiVersion": "v1"},
            side: amount(random, side, &["value", "averageValue"]),
        }}),
        _ => {
            json!({"type": "External", "external": {"metric": metric, side: amount(random, side, &["value", "averageValue"])}})
        }
    }
}

/// A target has exactly one value; a current value may have all or none.
fn amount(random: &mut Random, side: &str, kinds: &[&str]) -> Value {
    let mut amount = json!({});
    let value = |random: &mut Random, kind: &str| match kind {
        "averageUtilization" => json!(random.between(1, 300)),
        _ if side == "target" => random.text(&["10", "500m", "1e3", "2Ki", "0.5", "1n", "1234567890"]),
        _ => random.quantity(),
    };
    if side == "target" {
        let kind = random.pick(kinds);
        amount["type"] = json!(match kind {
            "averageUtilization" => "Utilization",
            "averageValue" => "AverageValue",
            _ => "Value",
        });
        amount[kind] = value(random, kind);
        return amount;
    }
    for kind in random.some_of(&["value", "averageValue", "averageUtilization"], 3) {
        amount[kind] = value(random, kind);
    }
    amount
}

pub(super) fn disruption_budget(random: &mut Random, name: &str) -> (Value, Value) {
    let spec = json!({"selector": labelled(name), "minAvailable": random.one_of(&[json!(1), json!("50%"), json!(0)])});
    let count = |random: &mut Random| json!(random.one_of(&[json!(0), json!(1), json!(1_000_001)]));
    let status = json!({
        "currentHealthy": count(random),
        "desiredHealthy": count(random),
        "disruptionsAllowed": count(random),
        "expectedPods": count(random),
        "observedGeneration": random.count(),
    });
    (spec, status)
}
