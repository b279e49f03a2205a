//! An etcd cluster of a drill, whose members can be killed and come back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep};

use super::network;
use crate::rig::{Cache, Client, Lifetime, Pin, ProcessId, Program, free_port, spawn};

const READY_WITHIN: Duration = Duration::from_secs(60);

/// Members of one cluster.
#[derive(Debug)]
pub(super) struct Etcd {
    program: PathBuf,
    /// Words before the program's.
    prefix: Vec<String>,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    arguments: Vec<String>,
    url: String,
    folder: PathBuf,
    id: Option<ProcessId>,
}

impl Etcd {
    /// Starts members on `host`, an IPv4 address, in a network namespace if one is named, and waits until the cluster
    /// answers.
    pub(super) async fn start(
        folder: &Path,
        host: &str,
        namespace: Option<&str>,
        count: usize,
    ) -> Result<Self> {
        let program = Cache::from_environment()?.find(Pin::new(Program::Etcd, None)?)?;
        let mut places = Vec::new();
        for index in 0..count {
            let peer = format!("http://{host}:{}", free_port()?);
            places.push((format!("member-{index}"), format!("http://{host}:{}", free_port()?), peer));
        }
        let cluster: Vec<String> = places.iter().map(|(name, _, peer)| format!("{name}={peer}")).collect();
        let member = |(name, url, peer): &(String, String, String)| Member {
            arguments: arguments(name, url, peer, &cluster.join(","), &folder.join(name)),
            url: url.clone(),
            folder: folder.to_owned(),
            id: None,
        };
        let prefix = namespace.map(network::enter).unwrap_or_default();
        let mut etcd = Self { program, prefix, members: places.iter().map(member).collect() };
        etcd.start_missing()?;
        etcd.wait().await?;
        Ok(etcd)
    }

    /// Where clients ask.
    pub(super) fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| member.url.clone()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether a member runs.
    pub(super) fn runs(&self, index: usize) -> bool {
        self.members[index].id.is_some_and(ProcessId::is_alive)
    }

    /// Starts the members that do not run.
    pub(super) fn start_missing(&mut self) -> Result<()> {
        self.start_members(&(0..self.members.len()).collect::<Vec<_>>())
    }

    /// Starts these members, unless they run.
    pub(super) fn start_members(&mut self, members: &[usize]) -> Result<()> {
        for index in members.iter().copied() {
            if !self.runs(index) {
                let member = &mut self.members[index];
                let log = member.folder.join(format!("etcd-{index}.log"));
                let mut words = self.prefix.clone();
                words.push(self.program.display().to_string());
                words.extend(member.arguments.iter().cloned());
                let program = PathBuf::from(words.remove(0));
                member.id = Some(spawn(&program, &words, &member.folder, &log, Lifetime::Owner)?);
            }
        }
        Ok(())
    }

    /// Kills a member.
    pub(super) async fn kill(&mut self, index: usize) -> Result<()> {
        match self.members[index].id.take() {
            Some(id) => id.kill().await,
            None => Ok(()),
        }
    }

    /// Waits until a majority answers reads.
    pub(super) async fn wait(&self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            for member in &self.members {
                let client = Client::plain(&member.url)?;
                let asked = tokio::time::timeout(Duration::from_secs(2), client.get_text("/health")).await;
                if matches!(asked, Ok(Ok(_))) {
                    return Ok(());
                }
            }
            if Instant::now() > deadline {
                let log = self.members.first().context("no member")?.folder.join("etcd-0.log");
                bail!("etcd is not ready after {READY_WITHIN:?}; see {}", log.display());
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Etcd {
    /// Kills every member at once, without a runtime.
    pub(super) fn kill_all(&mut self) {
        self.members.iter_mut().filter_map(|member| member.id.take()).for_each(ProcessId::kill_now);
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill_all();
    }
}

fn arguments(name: &str, url: &str, peer: &str, cluster: &str, data: &Path) -> Vec<String> {
    vec![
        format!("--name={name}"),
        format!("--data-dir={}", data.display()),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster={cluster}"),
        // The machine does not lose power in a drill.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ]
}
