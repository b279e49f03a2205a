//! Monitors that come, change and go, and what is wrong with them.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use xtask::rig::{Component, FillPlan, Rig};

use crate::side::Side;
use crate::{PATIENCE, cluster, create, left_out};

const PATH: &str = "/apis/monitoring.coreos.com/v1/namespaces/default/servicemonitors";

fn monitor(endpoint: Value) -> Value {
    json!({"spec": {"selector": {}, "endpoints": [endpoint]}})
}

/// Events about an object.
async fn events(rig: &Rig, name: &str) -> Vec<Value> {
    let all = rig.api().unwrap().get("/apis/events.k8s.io/v1/namespaces/default/events").await.unwrap();
    let about = |event: &&Value| event["regarding"]["name"] == name;
    all["items"].as_array().unwrap().iter().filter(about).cloned().collect()
}

async fn until_events(rig: &Rig, name: &str, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let events = events(rig, name).await;
        if events.len() == count {
            return events;
        }
        assert!(Instant::now() < deadline, "{} events about {name}, not {count}: {events:#?}", events.len());
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn monitors_follow_their_objects_and_secrets_and_events_tell_what_is_wrong_once() {
    if left_out("the life of monitors") {
        return;
    }
    let mut rig = cluster(&FillPlan::default()).await;
    let settings = "{secret_refresh_interval: 2s}";
    let side = Side::start(&rig, settings).await;
    side.until("an empty start", |jobs| jobs.complete && jobs.jobs.is_empty()).await;
    let has = |job: &'static str, text: &'static str| {
        move |jobs: &outrigger_control::operator::OperatorJobs| {
            jobs.jobs.iter().any(|known| &*known.job == job && known.yaml.contains(text))
        }
    };
    let lacks = |job: &'static str| {
        move |jobs: &outrigger_control::operator::OperatorJobs| {
            jobs.jobs.iter().all(|known| &*known.job != job)
        }
    };

    // It waits for its Secret, then has its contents, then the new ones.
    create(
        &rig,
        "ServiceMonitor",
        "default",
        "good",
        monitor(json!({"port": "metrics", "authorization":
        {"credentials": {"name": "token", "key": "t"}}})),
    )
    .await;
    let deadline = Instant::now() + PATIENCE;
    let missing = "there is no secret \"token\"";
    while !side.operator.view().problems.iter().any(|problem| problem.message.contains(missing)) {
        assert!(
            Instant::now() < deadline,
            "the missing Secret is not told: {:?}",
            side.operator.view().problems
        );
        sleep(Duration::from_millis(50)).await;
    }
    create(&rig, "Secret", "default", "token", json!({"data": {"t": "b25l"}})).await;
    side.until("the Secret", has("serviceMonitor/default/good/0", "\"one\"")).await;
    let api = rig.api().unwrap();
    let secret = "/api/v1/namespaces/default/secrets/token";
    api.merge(secret, &json!({"data": {"t": "dHdv"}})).await.unwrap();
    side.until("the new contents", has("serviceMonitor/default/good/0", "\"two\"")).await;
    assert!(!format!("{:?} {:?}", side.jobs(), side.operator.view()).contains("two"), "a secret is shown");

    // One that is wrong takes nothing from the others, and is told once for each version.
    create(
        &rig,
        "ServiceMonitor",
        "default",
        "bad",
        monitor(json!({"port": "metrics", "relabelings":
        [{"regex": "(", "targetLabel": "x"}]})),
    )
    .await;
    let told = until_events(&rig, "bad", 1).await;
    assert_eq!((&told[0]["reason"], &told[0]["type"]), (&json!("InvalidConfiguration"), &json!("Warning")));
    assert!(told[0]["note"].as_str().unwrap().contains("endpoints[0]: relabelings: [0]: regex"), "{told:?}");
    let label = json!({"metadata": {"labels": {"touched": "yes"}}});
    api.merge(&format!("{PATH}/bad"), &label).await.unwrap();
    until_events(&rig, "bad", 2).await;
    side.until("the good one", has("serviceMonitor/default/good/0", "two")).await;

    // A master that starts anew writes no Event again.
    let second = Side::start(&rig, settings).await;
    second.until("the same jobs", |jobs| jobs.complete && *jobs.jobs == *side.jobs().jobs).await;
    sleep(Duration::from_secs(3)).await;
    until_events(&rig, "bad", 2).await;
    drop(second);

    // The server is away: everything stays. It comes back, and the changes since.
    rig.kill(Component::KubeApiserver).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    assert!(has("serviceMonitor/default/good/0", "two")(&side.jobs()));
    rig.start(Component::KubeApiserver).await.unwrap();
    let api = rig.api().unwrap();
    let fixed = json!({"spec": {"endpoints": [{"port": "fixed"}]}});
    api.merge(&format!("{PATH}/bad"), &fixed).await.unwrap();
    side.until("the repaired one", has("serviceMonitor/default/bad/0", "\"fixed\"")).await;
    api.delete(&format!("{PATH}/good")).await.unwrap();
    side.until("the deletion", lacks("serviceMonitor/default/good/0")).await;
    assert!(side.operator.view().problems.is_empty());
}
