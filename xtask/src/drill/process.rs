//! The processes of Outrigger in a drill: masters and workers that end and come back as they were.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use outrigger_sim::drill::{TARGET_LABEL, TargetKey};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::network;
use crate::rig::{Client, Lifetime, ProcessId, free_port, spawn};

/// How long a process may take until its web server answers.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long one question to a process may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What surrounds a process: a file in place of `/etc/resolv.conf`, a network namespace.
#[derive(Debug, Clone, Default)]
pub(super) struct Surroundings {
    /// What the process finds as `/etc/resolv.conf`.
    pub(super) resolv_conf: Option<PathBuf>,
    /// Network namespace, by the name that `ip netns` knows.
    pub(super) namespace: Option<String>,
    /// Address on which its web server listens and is asked.
    pub(super) host: Option<String>,
}

/// A master or worker.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) name: String,
    outrigger: PathBuf,
    role: &'static str,
    folder: PathBuf,
    surroundings: Surroundings,
    /// Of its web server, with scheme.
    pub(super) url: String,
    id: Option<ProcessId>,
}

impl Process {
    /// One that is not started yet, with a folder of its own in `folder`.
    pub(super) fn new(
        outrigger: &Path,
        role: &'static str,
        name: &str,
        folder: &Path,
        surroundings: Surroundings,
    ) -> Result<Self> {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let host = surroundings.host.as_deref().unwrap_or("127.0.0.1");
        let url = format!("http://{host}:{}", free_port()?);
        let outrigger = outrigger.to_owned();
        Ok(Self { name: name.to_owned(), outrigger, role, folder, surroundings, url, id: None })
    }

    /// Writes its configuration.
    pub(super) fn configure(&self, text: &str) -> Result<()> {
        let path = self.config();
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    fn config(&self) -> PathBuf {
        self.folder.join("outrigger.yml")
    }

    /// Its log.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The process, while it runs.
    pub(super) fn id(&self) -> Option<ProcessId> {
        self.id.filter(|id| id.is_alive())
    }

    /// Starts it unless it runs.
    pub(super) fn start(&mut self) -> Result<()> {
        if self.id().is_some() {
            return Ok(());
        }
        let mut words = self.prefix();
        words.extend([self.outrigger.display().to_string(), self.role.to_owned(), "-c".to_owned()]);
        words.push(self.config().display().to_string());
        words.extend(["--data-dir".to_owned(), self.folder.join("data").display().to_string()]);
        words.extend(["--listen".to_owned(), self.url.trim_start_matches("http://").to_owned()]);
        if self.surroundings.host.is_some() {
            words.push("--listen-without-authentication".to_owned());
        }
        words.extend(["--log-format".to_owned(), "json".to_owned()]);
        let program = PathBuf::from(words.remove(0));
        self.id = Some(spawn(&program, &words, &self.folder, &self.log(), Lifetime::Owner)?);
        Ok(())
    }

    /// The words before the program that give it its surroundings.
    fn prefix(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(namespace) = &self.surroundings.namespace {
            words.extend(network::enter(namespace));
        }
        if let Some(file) = &self.surroundings.resolv_conf {
            let script = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";
            words.extend(
                ["/usr/bin/unshare", "--mount", "--propagation", "private", "sh", "-c"].map(str::to_owned),
            );
            words.extend([script.to_owned(), "sh".to_owned(), file.display().to_string()]);
        }
        words
    }

    /// Waits until its web server answers.
    pub(super) async fn ready(&self) -> Result<()> {
        let client = Client::plain(&self.url)?;
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if matches!(timeout(ANSWER_WITHIN, client.get_text("/-/healthy")).await, Ok(Ok(_))) {
                return Ok(());
            }
            if self.id().is_none() {
                bail!("{} did not start; its log ends:\n{}", self.name, self.log_end());
            }
            if Instant::now() > deadline {
                bail!("{} is not ready after {READY_WITHIN:?}; its log ends:\n{}", self.name, self.log_end());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn log_end(&self) -> String {
        let bytes = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Kills it.
    pub(super) async fn kill(&mut self) -> Result<()> {
        match self.id.take() {
            Some(id) => id.kill().await,
            None => Ok(()),
        }
    }

    async fn get(&self, path: &str) -> Result<Value> {
        timeout(ANSWER_WITHIN, Client::plain(&self.url)?.get(path)).await.context("no answer in time")?
    }

    /// A metric of it, by the start of its line.
    pub(super) async fn metric(&self, series: &str) -> Option<f64> {
        let client = Client::plain(&self.url).ok()?;
        let text = timeout(ANSWER_WITHIN, client.get_text("/metrics")).await.ok()?.ok()?;
        let rest = |line: &str| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' '));
        text.lines().find(|line| rest(line))?.rsplit(' ').next()?.parse().ok()
    }

    /// The targets that it scrapes just now.
    pub(super) async fn targets(&self) -> Result<HashSet<TargetKey>> {
        let answer = self.get("/api/v1/targets?state=active").await?;
        let targets = answer["data"]["activeTargets"].as_array().context("no activeTargets")?;
        let key = |target: &Value| TargetKey::parse(target["labels"][TARGET_LABEL].as_str()?);
        Ok(targets.iter().filter_map(key).collect())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            id.kill_now();
        }
    }
}
