//! A running kube-state-metrics or `outrigger state-metrics`.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use xtask::rig::{Cache, Pin, Program, free_port};

use crate::exposition::{self, Answer};

const PATIENCE: Duration = Duration::from_secs(60);

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exporter {
    KubeStateMetrics,
    Outrigger,
}

impl Exporter {
    fn command(self) -> Command {
        match self {
            Exporter::KubeStateMetrics => {
                let pin = Pin::new(Program::KubeStateMetrics, None).unwrap();
                Command::new(Cache::from_environment().and_then(|cache| cache.find(pin)).unwrap())
            }
            Exporter::Outrigger => {
                let other = std::env::var_os("OUTRIGGER_STATE_BINARY");
                let mut command = Command::new(other.unwrap_or(env!("CARGO_BIN_EXE_outrigger").into()));
                command.arg("state-metrics");
                command
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Exporter::KubeStateMetrics => "kube-state-metrics",
            Exporter::Outrigger => "outrigger",
        }
    }
}

/// A process that listens; killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) exporter: Exporter,
    child: Child,
    pub(crate) main: SocketAddr,
    pub(crate) telemetry: SocketAddr,
    log: PathBuf,
}

impl Running {
    /// Starts it with these flags and waits until it answers. Its log is left in `folder`.
    pub(crate) async fn start(
        exporter: Exporter,
        kubeconfig: &Path,
        folder: &Path,
        flags: &[String],
    ) -> Self {
        let address = || SocketAddr::new(Ipv4Addr::LOCALHOST.into(), free_port().unwrap());
        let (main, telemetry) = (address(), address());
        let log = folder.join(format!("{}-{}.log", exporter.name(), main.port()));
        let output = File::create(&log).unwrap();
        let child = exporter
            .command()
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .args(["--host=127.0.0.1", "--telemetry-host=127.0.0.1"])
            .args([format!("--port={}", main.port()), format!("--telemetry-port={}", telemetry.port())])
            .args(flags)
            // As in their image.
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut running = Running { exporter, child, main, telemetry, log };
        running.until_it_answers(flags).await;
        running
    }

    async fn until_it_answers(&mut self, flags: &[String]) {
        let deadline = Instant::now() + PATIENCE;
        while exposition::get(self.main, "/healthz", &[]).await.is_err() {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "{} {flags:?} does not answer ({ended:?}); its log ends:\n{}",
                self.exporter.name(),
                self.log_end()
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let answer = exposition::get(self.main, path, headers).await;
        answer.unwrap_or_else(|error| panic!("{} {path}: {error}\n{}", self.exporter.name(), self.log_end()))
    }

    /// What the telemetry port answers.
    pub(crate) async fn telemetry(&self, path: &str) -> Answer {
        let answer = exposition::get(self.telemetry, path, &[]).await;
        answer.unwrap_or_else(|error| panic!("{} {path}: {error}\n{}", self.exporter.name(), self.log_end()))
    }

    /// The last lines of its log.
    pub(crate) fn log_end(&self) -> String {
        let text = String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    pub(crate) async fn stop(mut self) {
        self.child.kill().await.unwrap();
    }
}
