//! A pod's life through kubectl, followed by its target.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};
use xtask::rig::{Component, FillPlan, Options, Rig, User};

use crate::harness::{Outrigger, PATIENCE};

/// A step, and the time from kubectl's return to the target's change.
pub(crate) struct Followed {
    pub(crate) step: &'static str,
    pub(crate) after: Duration,
}

/// Starts a filled cluster and Outrigger on it, and takes pods through their lives `rounds` times.
pub(crate) async fn follow(plan: &FillPlan, rounds: usize) -> Vec<Followed> {
    let rig = Rig::up(&[Component::Kwok], Options::default()).await.unwrap();
    rig.fill(plan).await.unwrap();
    // A node that kwok does not play: its pods change only when they are told to.
    let node = r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"still"}}"#;
    apply(&rig, node).await;
    let kubeconfig = rig.kubeconfig_of(User::Outrigger).display().to_string();
    let config = format!(
        "scrape_configs:\n- job_name: pods\n  kubernetes_sd_configs: [{{role: pod, kubeconfig_file: {kubeconfig}}}]\n  relabel_configs:\n\
         \x20 - {{source_labels: [__meta_kubernetes_pod_node_name], regex: still, action: keep}}\n\
         \x20 - {{source_labels: [__meta_kubernetes_pod_ready], target_label: ready}}\n\
         \x20 - {{source_labels: [__meta_kubernetes_pod_label_tier], target_label: tier}}\n"
    );
    let outrigger = Outrigger::run(&config).await;
    outrigger.until("/api/outrigger/v1/overview", "ready", |v| v["ready"] == true).await;
    let mut followed = Vec::new();
    for round in 0..rounds {
        life(&rig, &outrigger, &format!("followed-{round}"), &mut followed).await;
    }
    followed
}

async fn life(rig: &Rig, outrigger: &Outrigger, pod: &str, followed: &mut Vec<Followed>) {
    let manifest = format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{pod}"}},"spec":{{"nodeName":"still","containers":[{{"name":"a","image":"example.com/a","ports":[{{"containerPort":9}}]}}]}}}}"#
    );
    let status = |ready: &str, ip: &str| {
        format!(
            r#"{{"status":{{"phase":"Running","podIP":"{ip}","podIPs":[{{"ip":"{ip}"}}],"conditions":[{{"type":"Ready","status":"{ready}"}}]}}}}"#
        )
    };
    let patch = async |text: String| {
        rig.kubectl(&["patch", "pod", pod, "--subresource=status", "--type=merge", "-p", &text])
            .await
            .unwrap();
    };
    let labelled = |name: &'static str, value: &'static str| move |t: &&Value| t["labels"][name] == value;

    apply(rig, &manifest).await;
    patch(status("False", "127.0.0.1")).await;
    let created =
        until(outrigger, pod, |targets| targets.iter().any(|t| t["labels"]["instance"] == "127.0.0.1:9"))
            .await;
    followed.push(Followed { step: "created", after: created });
    patch(status("True", "127.0.0.1")).await;
    followed.push(Followed {
        step: "ready",
        after: until(outrigger, pod, |t| t.iter().any(labelled("ready", "true"))).await,
    });
    rig.kubectl(&["label", "pod", pod, "tier=front"]).await.unwrap();
    followed.push(Followed {
        step: "relabelled",
        after: until(outrigger, pod, |t| t.iter().any(labelled("tier", "front"))).await,
    });
    patch(status("True", "127.0.0.2")).await;
    let moved = until(outrigger, pod, |targets| {
        targets.len() == 1 && targets[0]["labels"]["instance"] == "127.0.0.2:9"
    })
    .await;
    followed.push(Followed { step: "moved", after: moved });
    rig.kubectl(&["delete", "pod", pod, "--force", "--grace-period=0"]).await.unwrap();
    followed
        .push(Followed { step: "deleted", after: until(outrigger, pod, |targets| targets.is_empty()).await });
}

async fn apply(rig: &Rig, manifest: &str) {
    let path = rig.dir().join("manifest.json");
    std::fs::write(&path, manifest).unwrap();
    rig.kubectl(&["apply", "-f", path.to_str().unwrap()]).await.unwrap();
}

/// Time until the targets of a pod satisfy a condition.
async fn until(outrigger: &Outrigger, pod: &str, condition: impl Fn(&[&Value]) -> bool) -> Duration {
    let start = Instant::now();
    loop {
        let answer = outrigger.json("/api/v1/targets?state=active").await;
        let active = answer["data"]["activeTargets"].as_array().unwrap();
        let of_pod: Vec<&Value> =
            active.iter().filter(|t| t["discoveredLabels"]["__meta_kubernetes_pod_name"] == pod).collect();
        if condition(&of_pod) {
            return start.elapsed();
        }
        assert!(start.elapsed() < PATIENCE, "{pod} is not followed: {of_pod:#?}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_is_followed_through_its_life() {
    if crate::left_out("a pod's life") {
        return;
    }
    let plan = FillPlan { nodes: 10, pods: 100, ..FillPlan::default() };
    for Followed { step, after } in follow(&plan, 2).await {
        println!("{step}: {after:?}");
    }
}
