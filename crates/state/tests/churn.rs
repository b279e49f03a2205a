//! Objects come, change and go for a long time: what is kept follows what there is, not what there was.

use outrigger_state::Encoding;
use outrigger_state::image::StateImage;
use outrigger_state::resource::Resource;
use outrigger_state::selection::Selection;
use serde_json::json;

/// Pods at any time.
const PODS: u64 = 1_500;
/// Rounds in which every pod is replaced.
const GENERATIONS: u64 = 12;

/// A pod whose texts nobody else has: image, node, reason and owner are new in each generation.
fn pod(number: u64, restarts: u64) -> Vec<u8> {
    let generation = number / PODS;
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let running = json!({"running": {"startedAt": "2026-01-02T03:04:06Z"}});
    let pod = json!({
        "metadata": {
            "name": format!("pod-{number}"), "namespace": format!("namespace-{}", number % 20),
            "uid": format!("uid-{number}"), "creationTimestamp": "2026-01-02T03:04:03Z",
            "ownerReferences": [{"kind": "ReplicaSet", "name": format!("owner-{generation}-{}", number % 50), "controller": true}],
        },
        "spec": {
            "nodeName": format!("node-{generation}-{}", number % 100),
            "containers": [{"name": "app", "image": format!("image:{generation}.{restarts}")}],
        },
        "status": {
            "phase": "Running", "podIP": format!("10.0.{}.{}", number >> 8 & 255, number & 255),
            "containerStatuses": [{
                "name": "app", "ready": restarts.is_multiple_of(2), "restartCount": restarts,
                "image": format!("image:{generation}.{restarts}"), "containerID": format!("containerd://{number:064x}"),
                "state": if restarts.is_multiple_of(2) { running } else { waiting },
            }],
        },
    });
    pod.to_string().into_bytes()
}

#[test]
fn memory_follows_what_there_is() {
    let generator = Resource::find("pods").expect("pods").generator(&Selection::default());
    let image = StateImage::new(vec![("pods".to_owned(), generator)]);
    let table = image.table("pods").expect("its table");
    let mut samples = image.samples(table);
    let mut upsert = |number: u64, restarts: u64| {
        image.upsert(table, Encoding::Json, &pod(number, restarts), &mut samples).expect("readable");
    };
    image.begin_generation(table);
    (0..PODS).for_each(|number| upsert(number, 0));
    image.commit_generation(table);
    let kept = || {
        let rows: usize = image.memory().iter().map(|table| table.bytes).sum();
        (rows, image.dictionary_memory())
    };
    let (rows, (texts, text_bytes)) = kept();

    let mut delete_samples = image.samples(table);
    // Held throughout, as a slow client holds it: it must not hold what comes later.
    let snapshot = image.snapshot();
    for number in PODS..PODS * (GENERATIONS + 1) {
        upsert(number, 0);
        upsert(number, 1);
        upsert(number, 2);
        let old = pod(number - PODS, 2);
        image.delete(table, Encoding::Json, &old, &mut delete_samples).expect("readable");
    }
    let (rows_then, (texts_then, text_bytes_then)) = kept();
    assert_eq!(image.memory()[0].objects as u64, PODS);
    assert!(rows_then < rows + rows / 3, "rows: {rows} bytes, then {rows_then}");
    assert!(texts_then < texts + texts / 10 + 20, "texts: {texts}, then {texts_then}");
    assert!(
        text_bytes_then < text_bytes + text_bytes / 3,
        "texts: {text_bytes} bytes, then {text_bytes_then}"
    );
    assert_eq!(snapshot.resources().map(|(_, objects)| objects as u64).sum::<u64>(), PODS);

    image.begin_generation(table);
    image.commit_generation(table);
    let (rows_then, (texts_then, _)) = kept();
    assert_eq!(texts_then, 0);
    assert!(rows_then < rows / 4, "rows: {rows} bytes, of none {rows_then}");
}
