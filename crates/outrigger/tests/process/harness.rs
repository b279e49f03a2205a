//! Starts the binary, reads its log for its address, and asks its API.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use outrigger_model::clock::SystemClock;
use outrigger_sim::api_server::{ApiServer, ApiServerOptions};
use outrigger_sim::endpoints::{AddressBook, Endpoints};
use outrigger_sim::population::{Population, PopulationOptions};
use outrigger_sim::receiver::Receiver;
use outrigger_sim::store::Store;
use parking_lot::Mutex;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

/// Longest wait for a condition.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A running `outrigger run`.
pub(crate) struct Outrigger {
    child: Child,
    address: String,
    log: Arc<Mutex<Vec<String>>>,
    pub(crate) directory: TempDir,
}

impl Outrigger {
    /// Starts `outrigger run` on a configuration.
    pub(crate) async fn run(config: &str) -> Self {
        Self::run_in(tempfile::tempdir().expect("a temporary directory"), config).await
    }

    /// Starts `outrigger run` on a configuration in a directory where it may have run before.
    pub(crate) async fn run_in(directory: TempDir, config: &str) -> Self {
        let path = directory.path().join("prometheus.yml");
        std::fs::write(&path, config).expect("a file in it");
        let (config, data) = (path.to_string_lossy(), directory.path().join("data"));
        let data = data.to_string_lossy().into_owned();
        let arguments = ["run", "-c", &config, "--data-dir", &data, "--listen", "127.0.0.1:0"];
        Self::start(directory, &arguments).await
    }

    /// Starts the binary with these arguments and waits for the address in its log.
    pub(crate) async fn start(directory: TempDir, arguments: &[&str]) -> Self {
        let mut child = command()
            .args(arguments)
            .args(["--log-format", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary is built");
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut address = None;
        while address.is_none() {
            let line = tokio::time::timeout(PATIENCE, lines.next_line())
                .await
                .expect("a log line in time")
                .expect("readable log");
            let Some(line) = line else { panic!("the process ended: {:#?}", log.lock()) };
            address = serde_json::from_str::<Value>(&line)
                .ok()
                .filter(|event| event["message"] == "listening")
                .and_then(|event| event["address"].as_str().map(str::to_owned));
            log.lock().push(line);
        }
        let kept = log.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                kept.lock().push(line);
            }
        });
        Self { child, address: address.expect("the loop ended"), log, directory }
    }

    /// The address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Replaces the configuration file, without reloading it.
    pub(crate) fn write_config(&self, config: &str) {
        std::fs::write(self.directory.path().join("prometheus.yml"), config).expect("writable");
    }

    /// Status and body of a request.
    pub(crate) async fn request(&self, method: &str, path: &str) -> (u16, String) {
        http(&self.address, method, path).await.expect("an answer")
    }

    /// The JSON answer to a GET.
    pub(crate) async fn json(&self, path: &str) -> Value {
        let (status, body) = self.request("GET", path).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// Waits until an answer satisfies a condition and returns it.
    pub(crate) async fn until(&self, path: &str, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let wait = async {
            loop {
                let value = self.json(path).await;
                if condition(&value) {
                    return value;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(value) => value,
            Err(_) => {
                let last = self.json(path).await;
                panic!("{what} did not happen: {last:#}\nlog: {:#?}", self.log_tail());
            }
        }
    }

    /// The value of a metric whose line starts with `series`.
    pub(crate) async fn metric(&self, series: &str) -> Option<f64> {
        let (_, body) = self.request("GET", "/metrics").await;
        let line =
            body.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().expect("running").to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(sent.expect("kill").success());
    }

    /// Ends the process with SIGTERM and waits for it.
    pub(crate) async fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("ends in time").expect("its status")
    }

    /// Ends the process with SIGKILL and waits until it is gone.
    pub(crate) async fn kill(mut self) -> TempDir {
        self.child.kill().await.expect("it was running");
        self.directory
    }

    /// A field of the first line of the log with this message.
    pub(crate) fn logged(&self, message: &str, field: &str) -> Option<String> {
        let log = self.log.lock();
        let events = log.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut of_message = events.filter(|event| event["message"] == message);
        of_message.next().and_then(|event| event[field].as_str().map(str::to_owned))
    }

    /// The last log lines.
    pub(crate) fn log_tail(&self) -> Vec<String> {
        let log = self.log.lock();
        log[log.len().saturating_sub(30)..].to_vec()
    }
}

/// The binary under test.
pub(crate) fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_outrigger"))
}

/// One HTTP/1.1 request on a connection of its own.
pub(crate) async fn http(address: &str, method: &str, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let body = if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        unchunk(body)
    } else {
        body.to_owned()
    };
    Ok((status, body))
}

fn unchunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 || tail.len() < size {
            break;
        }
        body.push_str(&tail[..size]);
        rest = tail[size..].trim_start_matches("\r\n");
    }
    body
}

/// A simulated cluster with endpoints and a receiver.
pub(crate) struct Scene {
    pub(crate) server: ApiServer,
    pub(crate) population: Population,
    pub(crate) endpoints: Endpoints,
    pub(crate) receiver: Receiver,
    pub(crate) directory: TempDir,
}

impl Scene {
    pub(crate) async fn start(nodes: u32, pods: u32) -> Self {
        let addresses = Arc::new(AddressBook::default());
        let endpoints = Endpoints::start(addresses.clone(), Arc::new(SystemClock)).expect("a port");
        let store = Arc::new(Store::new());
        let options = PopulationOptions { nodes, pods, port: endpoints.port() };
        let population = Population::create(options, store.clone(), addresses, 1_700_000_000);
        let server = ApiServer::start(store, ApiServerOptions::default()).await.expect("loopback");
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("kubeconfig"), server.kubeconfig()).expect("a file in it");
        let receiver = Receiver::start_keeping().await.expect("loopback");
        Self { server, population, endpoints, receiver, directory }
    }

    /// The kubeconfig's path.
    pub(crate) fn kubeconfig(&self) -> String {
        path_text(&self.directory.path().join("kubeconfig"))
    }

    /// A configuration with these scrape configurations, remote write to the receiver and the kubeconfig.
    pub(crate) fn config(&self, scrape_configs: &str) -> String {
        format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n{scrape_configs}\n\
             remote_write: [{{url: \"{}\", queue_config: {{batch_send_deadline: 200ms}}}}]\n\
             outrigger: {{cluster_name: simulated, kubernetes: {{kubeconfig: {}}}, request_budget: {{requests_per_second: 200, burst: 200}}}}\n",
            self.receiver.url(),
            self.kubeconfig(),
        )
    }
}

pub(crate) fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
