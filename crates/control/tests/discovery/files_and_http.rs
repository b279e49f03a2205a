//! Static targets, target files and HTTP discovery on loopback.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::engine::{Rig, load, wait_until};

/// An HTTP server that answers every request alike, and remembers what it was asked.
struct HttpServer {
    url: String,
    answer: Arc<Mutex<(u16, &'static str, String)>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl HttpServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/targets", listener.local_addr().expect("bound"));
        let answer = Arc::new(Mutex::new((200, "application/json", "[]".to_owned())));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (answers, seen) = (Arc::clone(&answer), Arc::clone(&requests));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (answers, seen) = (Arc::clone(&answers), Arc::clone(&seen));
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => request.push(byte),
                            Err(_) => return,
                        }
                    }
                    seen.lock().push(String::from_utf8_lossy(&request).to_lowercase());
                    let (code, content_type, body) = answers.lock().clone();
                    let response = format!(
                        "HTTP/1.1 {code} X\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                        body.len()
                    );
                    let _ = stream.write_all(response.as_bytes()).await;
                });
            }
        });
        Self { url, answer, requests }
    }

    fn answer(&self, code: u16, content_type: &'static str, body: &str) {
        *self.answer.lock() = (code, content_type, body.to_owned());
    }
}

#[tokio::test]
async fn a_reload_touches_only_what_is_different() {
    let rig = Rig::new();
    let config = |second: &str| {
        format!(
            "scrape_configs:\n- job_name: one\n  static_configs: [{{targets: ['a:1', 'b:1']}}]\n- job_name: two\n  {second}\n"
        )
    };
    rig.apply(&config("static_configs: [{targets: ['c:1', 'd:1']}]"));
    assert_eq!(
        rig.engine.urls(),
        [
            "one http://a:1/metrics",
            "one http://b:1/metrics",
            "two http://c:1/metrics",
            "two http://d:1/metrics"
        ]
    );
    let deltas = rig.engine.deltas();
    rig.apply(&config("static_configs: [{targets: ['c:1', 'd:1']}]"));
    assert_eq!(rig.engine.deltas(), deltas, "an equal configuration changes nothing");
    rig.apply(&config("static_configs: [{targets: ['d:1', 'e:1']}]"));
    assert_eq!(rig.engine.deltas(), deltas + 1, "one job changed");
    rig.apply(
        "scrape_configs:\n- job_name: two\n  metrics_path: /m\n  static_configs: [{targets: ['d:1']}]\n",
    );
    assert_eq!(rig.engine.urls(), ["two http://d:1/m"]);
    rig.apply("");
    assert!(rig.engine.urls().is_empty());
}

#[tokio::test]
async fn the_page_sees_labels_before_relabelling_and_why_a_target_is_not_scraped() {
    let rig = Rig::new();
    rig.apply(
        "scrape_configs:\n- job_name: j\n  keep_dropped_targets: 2\n  static_configs:\n  \
         - {targets: ['a:1', 'b:1', 'drop1', 'drop2', 'drop3'], labels: {__meta_x: y}}\n  \
         - {targets: ['a:1'], labels: {__scrape_timeout__: 2h}}\n  relabel_configs:\n  \
         - {source_labels: [__address__], regex: 'drop.', action: drop}\n",
    );
    let active = rig.discovery.active(None, |_| true, 0, 10);
    assert_eq!((active.total, active.items.len()), (2, 2));
    for found in &active.items {
        assert_eq!(found.discovered.get("__meta_x"), Some("y"));
        assert_eq!(found.discovered.get("__address__"), found.target.labels.get("instance"));
        assert_eq!(found.relabelled.get("__scrape_interval__"), Some("1m"));
        assert_eq!(found.relabelled.get("__meta_x"), None);
    }
    let second = rig.discovery.active(Some("j"), |_| true, 1, 1);
    assert_eq!((second.total, second.items.len()), (2, 1));
    assert_eq!(second.items[0].target.id, active.items[1].target.id);
    assert_eq!(rig.discovery.active(Some("other"), |_| true, 0, 10).total, 0);
    assert_eq!(rig.discovery.active(None, |target| target.url.contains("b:1"), 0, 10).total, 1);

    let dropped = rig.discovery.dropped(None, 0, 10);
    assert_eq!((dropped.total, dropped.items.len()), (2, 2), "as many as keep_dropped_targets");
    assert_eq!(dropped.items[0].discovered.get("__address__"), Some("drop1"));
    let failed = rig.discovery.failed(None, 0, 10);
    assert_eq!(
        failed.items[0].error.as_deref(),
        Some("scrape timeout cannot be greater than scrape interval (\"2h\" > \"1m\")")
    );
    let job = &rig.discovery.jobs()[0];
    assert_eq!((job.counts.active, job.counts.dropped, job.counts.failed), (2, 3, 1), "the count is exact");
    assert_eq!(job.providers[0].description, "static, 2 groups");

    let metrics = rig.registry.render();
    for line in [
        "outrigger_discovery_targets{job=\"j\"} 2",
        "outrigger_discovery_dropped_targets{job=\"j\"} 3",
        "outrigger_discovery_failed_targets{job=\"j\"} 1",
        "outrigger_discovery_errors_total{reason=\"target\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
}

#[tokio::test]
async fn target_files_are_followed() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("web.yml");
    let rig = Rig::new();
    std::fs::write(&file, "- targets: ['a:1']\n").expect("written");
    let config = |job: &str| {
        format!(
            "scrape_configs:\n- job_name: {job}\n  file_sd_configs: [{{files: ['{}/*.yml']}}]\n",
            directory.path().display()
        )
    };
    rig.apply(&config("files"));
    rig.wait_for(&["files http://a:1/metrics"]).await;

    std::fs::write(&file, "- targets: ['b:1']\n  labels: {env: prod}\n").expect("written");
    rig.wait_for(&["files http://b:1/metrics"]).await;
    let found = rig.discovery.active(None, |_| true, 0, 1).items.remove(0);
    assert_eq!(found.discovered.get("__meta_filepath"), file.to_str());

    std::fs::write(&file, "- targets: 'b:1'\n").expect("written");
    let error = || rig.discovery.jobs()[0].providers[0].error.clone().unwrap_or_default();
    wait_until(|| !error().is_empty(), || "the error".to_owned()).await;
    assert!(error().starts_with(&format!("{}:1:", file.display())), "{}", error());
    assert_eq!(rig.engine.urls(), ["files http://b:1/metrics"], "a bad file keeps its targets");

    // Another job with the same files gets them at once, and a renamed job too.
    rig.apply(&format!("{}{}", config("files"), config("more").trim_start_matches("scrape_configs:\n")));
    assert_eq!(rig.engine.urls(), ["files http://b:1/metrics", "more http://b:1/metrics"]);
    std::fs::remove_file(&file).expect("removed");
    rig.wait_for(&[]).await;
}

#[tokio::test]
async fn http_discovery_keeps_its_targets_through_bad_answers() {
    let server = HttpServer::start().await;
    server.answer(
        200,
        "application/json",
        r#"[{"targets": ["a:1"]}, {"targets": ["b:1"], "labels": {"x": "y"}}]"#,
    );
    let rig = Rig::new();
    rig.apply(&format!(
        "scrape_configs:\n- job_name: http\n  http_sd_configs: [{{url: '{}', refresh_interval: 200ms}}]\n",
        server.url
    ));
    rig.wait_for(&["http http://a:1/metrics", "http http://b:1/metrics"]).await;
    let request = server.requests.lock()[0].clone();
    for header in [
        "accept: application/json",
        "user-agent: outrigger-test/1",
        "x-prometheus-refresh-interval-seconds: 0.2",
    ] {
        assert!(request.contains(header), "{header} in\n{request}");
    }
    let found = rig.discovery.active(None, |target| target.url.contains("b:1"), 0, 1).items.remove(0);
    assert_eq!(found.discovered.get("__meta_url"), Some(server.url.as_str()));

    let error = || rig.discovery.jobs()[0].providers[0].error.clone().unwrap_or_default();
    for (code, content_type, body, message) in [
        (500, "application/json", "[]", "the answer is HTTP status 500"),
        (200, "text/html", "[]", "the answer has content type \"text/html\", not application/json"),
        (200, "application/json", "[{\"targets\": [1]}]", "the answer is not a list of target groups"),
        (200, "application/json", "[null]", "the group is null"),
    ] {
        server.answer(code, content_type, body);
        wait_until(|| error().contains(message), || format!("{message}, not {}", error())).await;
        assert_eq!(rig.engine.urls().len(), 2, "{message}");
    }
    server.answer(200, "application/json; charset=utf-8", r#"[{"targets": ["b:1"]}]"#);
    rig.wait_for(&["http http://b:1/metrics"]).await;
    assert_eq!(error(), "");
}

#[tokio::test]
async fn a_configuration_that_cannot_work_leaves_the_old_one_running() {
    let rig = Rig::new();
    rig.apply("scrape_configs:\n- job_name: one\n  static_configs: [{targets: ['a:1']}]\n");
    let bad = load(
        "scrape_configs:\n- job_name: two\n  kubernetes_sd_configs:\n  - role: service\n    selectors: [{role: service, field: spec.nodeName=x}]\n",
    );
    let errors = rig.discovery.apply(&bad).expect_err("no such field");
    let text = outrigger_model::fault::chain(&errors.0[0]);
    assert_eq!(
        text,
        "job two: kubernetes_sd_configs: selectors: field: the service role has no field selector \"spec.nodeName\"; \
         it has metadata.name, metadata.namespace, spec.clusterIP, spec.type"
    );
    assert_eq!(rig.engine.urls(), ["one http://a:1/metrics"]);
}
