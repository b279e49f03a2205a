//! `outrigger state-metrics` in front of a simulated API server.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use outrigger_sim::api_server::{ApiServer, ApiServerOptions};
use outrigger_sim::state::StatePopulation;
use outrigger_sim::store::Store;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Child;

use crate::harness::{PATIENCE, command, path_text};

/// A simulated cluster.
pub(crate) struct Cluster {
    pub(crate) server: ApiServer,
    directory: TempDir,
}

impl Cluster {
    pub(crate) async fn start(pods: u32) -> Self {
        let store = Arc::new(Store::new());
        StatePopulation::create(pods, store.clone(), 1_700_000_000);
        let server = ApiServer::start(store, ApiServerOptions::default()).await.expect("loopback");
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("kubeconfig"), server.kubeconfig()).expect("a file in it");
        Self { server, directory }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).expect("a file in it");
        path_text(&path)
    }

    pub(crate) async fn serve(&self, flags: &[&str]) -> StateMetrics {
        let kubeconfig = format!("--kubeconfig={}", path_text(&self.directory.path().join("kubeconfig")));
        let fixed = ["--host=127.0.0.1", "--telemetry-host=127.0.0.1", "--port=0", "--telemetry-port=0"];
        let mut arguments: Vec<&str> = fixed.to_vec();
        arguments.push(&kubeconfig);
        arguments.extend(flags);
        StateMetrics::start(&arguments).await
    }
}

/// The running process.
pub(crate) struct StateMetrics {
    child: Child,
    pub(crate) addresses: BTreeMap<String, String>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: String,
    body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    fn has(&self, header: &str) -> bool {
        self.headers.to_ascii_lowercase().contains(&header.to_ascii_lowercase())
    }
}

impl StateMetrics {
    async fn start(arguments: &[&str]) -> Self {
        let mut child = command()
            .args(["--log-format", "json", "state-metrics"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary is built");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (mut addresses, mut log) = (BTreeMap::new(), Vec::new());
        // The main port is said last.
        while !addresses.contains_key("metrics") {
            let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("a log line in time");
            let Some(line) = line.expect("readable log") else { panic!("the process ended: {log:#?}") };
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["message"] == "listening" {
                let text = |field: &str| event[field].as_str().expect("text").to_owned();
                addresses.insert(text("server"), text("address"));
            }
            log.push(line);
        }
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, addresses }
    }

    pub(crate) async fn get(&self, server: &str, path: &str, headers: &str) -> Answer {
        get(&self.addresses[server], path, headers).await
    }

    pub(crate) async fn metrics(&self, path: &str) -> Answer {
        self.get("metrics", path, "").await
    }

    /// Memory of the process now.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().expect("it runs")));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// Waits until a GET is answered with 200 and what it then says satisfies the condition.
    pub(crate) async fn until(&self, server: &str, path: &str, condition: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let wait = async {
            loop {
                let answer = self.get(server, path, "").await;
                if answer.status == 200 && condition(answer.text()) {
                    return answer.text().to_owned();
                }
                last = format!("{} {}", answer.status, answer.text().chars().take(2_000).collect::<String>());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(text) => text,
            Err(_) => panic!("{server} {path} did not come to it: {last}"),
        }
    }

    pub(crate) async fn ready(&self) -> String {
        self.until("telemetry", "/readyz", |_| true).await;
        self.until("metrics", "/metrics", |_| true).await
    }
}

async fn get(address: &str, path: &str, headers: &str) -> Answer {
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
    // HTTP/1.0 has no chunks: the body ends with the connection.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it answers");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("headers");
    let headers = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = headers.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Answer { status, headers, body: answer[end + 4..].to_vec() }
}

pub(crate) fn samples(text: &str) -> BTreeSet<&str> {
    text.lines().filter(|line| !line.starts_with('#')).collect()
}

pub(crate) fn count(text: &str, family: &str) -> usize {
    text.lines().filter(|line| line.strip_prefix(family).is_some_and(|rest| rest.starts_with('{'))).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_is_served() {
    let cluster = Cluster::start(300).await;
    let served = cluster.serve(&["--enable-gzip-encoding", "--resources=pods,configmaps"]).await;
    let whole = served.ready().await;
    assert_eq!(count(&whole, "kube_pod_info"), 300);
    assert!(count(&whole, "kube_configmap_info") > 0);

    let pods = served.metrics("/metrics?resources=pods").await;
    assert!(pods.has("content-type: text/plain; version=0.0.4; charset=utf-8"), "{}", pods.headers);
    assert!(!pods.text().contains("kube_configmap_") && count(pods.text(), "kube_pod_info") == 300);
    let others = served.metrics("/metrics?exclude_resources=pods").await;
    assert!(!others.text().contains("kube_pod_info") && count(others.text(), "kube_configmap_info") > 0);
    assert_eq!(served.metrics("/metrics?resources=").await.text(), "");
    assert_eq!(served.metrics("/metrics?shard=1").await.status, 400);
    assert_eq!(served.metrics("/shards/3/3/metrics").await.status, 400);

    let accept = "Accept: application/openmetrics-text;version=1.0.0\r\n";
    let open = served.get("metrics", "/metrics", accept).await;
    let kind =
        "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores";
    assert!(open.has(kind), "{}", open.headers);
    assert!(open.text().ends_with("# EOF\n"));

    let gzip = served.get("metrics", "/metrics", "Accept-Encoding: gzip\r\n").await;
    assert!(gzip.has("content-encoding: gzip"));
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(&gzip.body[..]).read_to_string(&mut text).expect("gzip");
    assert_eq!(samples(&text), samples(&whole));
    let packed = served.get("metrics", "/metrics", "Accept-Encoding: zstd\r\n").await;
    assert!(packed.has("content-encoding: zstd"));
    let text = String::from_utf8(zstd::decode_all(&packed.body[..]).expect("zstd")).expect("UTF-8");
    assert_eq!(samples(&text), samples(&whole));

    for (server, path) in [("metrics", "/healthz"), ("metrics", "/"), ("telemetry", "/")] {
        assert_eq!(served.get(server, path, "").await.status, 200, "{server} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn virtual_shards_share_one_process_and_part_the_whole() {
    let cluster = Cluster::start(200).await;
    let port = xtask::rig::free_port().expect("a free port");
    let ports = format!("--virtual-shard-ports={port}");
    let served = cluster.serve(&["--resources=pods", &ports]).await;
    let whole = served.ready().await;
    let mut parts = Vec::new();
    for index in 0..3 {
        let by_path = served.metrics(&format!("/shards/{index}/3/metrics")).await;
        let by_query = served.metrics(&format!("/metrics?shard={index}&total=3")).await;
        assert_eq!(samples(by_path.text()), samples(by_query.text()));
        parts.push(by_path.text().to_owned());
    }
    let all: Vec<&str> = parts.iter().flat_map(|part| samples(part)).collect();
    assert_eq!(all.len(), samples(&whole).len(), "no sample is in two shards");
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), samples(&whole));
    let by_port = served.get("shard", "/metrics", "").await;
    assert_eq!(samples(by_port.text()), samples(&whole), "one port is one shard of one");

    // A shard by flag is the same part.
    let alone = cluster.serve(&["--resources=pods", "--shard=1", "--total-shards=3"]).await;
    let text = alone.ready().await;
    assert_eq!(samples(&text), samples(&parts[1]));
    let own = alone.get("telemetry", "/metrics", "").await;
    assert!(
        own.text().contains("\nkube_state_metrics_shard_ordinal{shard_ordinal=\"1\"} 1\n"),
        "{}",
        own.text()
    );
    assert!(own.text().contains("\nkube_state_metrics_total_shards 3\n"), "{}", own.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_is_let_go_and_holds_nobody_up() {
    let cluster = Cluster::start(2_000).await;
    let served = cluster.serve(&["--resources=pods", "--server-write-timeout=500ms"]).await;
    served.ready().await;
    let mut slow = tokio::net::TcpStream::connect(&served.addresses["metrics"]).await.expect("it listens");
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("it reads");
    let counted = |text: &str| text.contains("outrigger_state_metrics_slow_scrapes_cut_off_total 1\n");
    assert_eq!(count(served.metrics("/metrics").await.text(), "kube_pod_info"), 2_000);
    served.until("telemetry", "/metrics", counted).await;
    let mut taken = Vec::new();
    let _ = slow.read_to_end(&mut taken).await;
    assert!(!taken.ends_with(b"0\r\n\r\n"), "a body that is cut off does not look whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_is_followed_and_a_bad_one_is_refused() {
    let cluster = Cluster::start(20).await;
    let config = cluster.file("options.yaml", "resources: {configmaps: {}}\n");
    let flag = format!("--config={config}");
    let served = cluster.serve(&["--resources=pods", &flag]).await;
    let first = served.ready().await;
    assert!(!first.contains("kube_pod_info") && first.contains("kube_configmap_info"));
    let success = |value: u8| {
        format!("_last_config_reload_successful{{type=\"config\",filename=\"{config}\"}} {value}\n")
    };
    let own = served.get("telemetry", "/metrics", "").await;
    assert!(own.text().contains(&success(1)), "{}", own.text());

    cluster.file("options.yaml", "resources: {pots: {}}\n");
    served.until("telemetry", "/metrics", |text| text.contains(&success(0))).await;
    assert!(served.metrics("/metrics").await.text().contains("kube_configmap_info"), "what ran goes on");

    cluster.file("options.yaml", "resources: {pods: {}}\nmetric_allowlist: [kube_pod_info]\n");
    let now = served.until("metrics", "/metrics", |text| text.contains("kube_pod_info")).await;
    assert_eq!(count(&now, "kube_pod_info"), 20);
    assert_eq!(samples(&now).len(), 20, "only the family that is allowed");
    served.until("telemetry", "/metrics", |text| text.contains(&success(1))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_who_may_read_metrics() {
    let cluster = Cluster::start(5).await;
    let hash = bcrypt::hash("right", 4).expect("a hash");
    let web = cluster.file("web.yml", &format!("basic_auth_users: {{a: \"{hash}\"}}\n"));
    let flag = format!("--tls-config={web}");
    let served = cluster.serve(&["--resources=pods", &flag]).await;
    assert_eq!(served.metrics("/metrics").await.status, 401);
    assert_eq!(served.get("telemetry", "/readyz", "").await.status, 401);
    let right = "Authorization: Basic YTpyaWdodA==\r\n";
    assert_ne!(served.get("telemetry", "/metrics", right).await.status, 401);

    // The simulated server has no TokenReview: nobody can be asked, so nobody passes.
    let served = cluster.serve(&["--resources=pods", "--auth-filter"]).await;
    assert_eq!(served.metrics("/metrics").await.status, 401);
    assert_eq!(served.metrics("/shards/0/2/metrics").await.status, 401);
    assert_eq!(served.get("metrics", "/metrics", "Authorization: Bearer a\r\n").await.status, 503);
    assert_eq!(served.metrics("/healthz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_as_kube_state_metrics_counts_them() {
    let cluster = Cluster::start(5).await;
    let served = cluster.serve(&["--resources=pods", "--object-limit=3"]).await;
    let text = served.ready().await;
    assert_eq!(count(&text, "kube_pod_info"), 3);
    let own = served.get("telemetry", "/metrics", "").await;
    for line in [
        "kube_state_metrics_list_total{result=\"success\",resource=\"*v1.Pod\"} 1\n",
        "kube_state_metrics_list_objects{resource=\"*v1.Pod\"} 3\n",
        "kube_state_metrics_list_objects_limit{resource=\"*v1.Pod\"} 3\n",
        "http_request_duration_seconds_bucket{handler=\"metrics\",method=\"get\",le=\"+Inf\"}",
        "kube_state_metrics_build_info{",
        "kube_state_metrics_total_shards 1\n",
        "process_resident_memory_bytes ",
    ] {
        assert!(own.text().contains(line), "{line} is missing in {}", own.text());
    }
    assert_eq!(cluster.server.requests().iter().filter(|request| request.path.ends_with("/pods")).count(), 2);
}

#[tokio::test]
async fn what_cannot_run_ends_with_a_reason() {
    let cases: &[(&[&str], &str)] = &[
        (&["--resource=pods"], "unknown flag: --resource (did you mean --resources?)"),
        (&["--resources=pots"], "--resources: resource pots does not exist"),
        (&["--metric-allowlist=*a"], "--metric-allowlist: \"*a\" is not a regular expression"),
        (&["--config=/nowhere/options.yaml"], "--config /nowhere/options.yaml"),
        (&["--kubeconfig=/nowhere/config"], "/nowhere/config"),
    ];
    for (arguments, message) in cases {
        let output =
            command().arg("state-metrics").args(*arguments).output().await.expect("the binary is built");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(message), "{arguments:?}: {said}");
    }
    for (arguments, message) in [
        (&["--help"][..], "--metric-annotations-allowlist"),
        (&["-h"], "--virtual-shard-ports"),
        (&["version"], "compatible with kube-state-metrics 2.20"),
        (&["completion", "bash"], "complete -F"),
    ] {
        let output =
            command().arg("state-metrics").args(arguments).output().await.expect("the binary is built");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains(message), "{arguments:?}: {said}");
    }
}
