//! The scrapers that are compared, each started with the same jobs and the same receiver.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::targets::Load;
use crate::rig::{Cache, Pin, Program};

/// A scraper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    /// `outrigger run`.
    Outrigger,
    /// VictoriaMetrics' agent; built with cgo, so with the C zstd.
    Vmagent,
    /// Prometheus in agent mode.
    Prometheus,
}

impl Agent {
    /// Every scraper, in the order in which they run.
    pub const ALL: [Agent; 3] = [Agent::Outrigger, Agent::Vmagent, Agent::Prometheus];

    /// The name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Agent::Outrigger => "outrigger",
            Agent::Vmagent => "vmagent",
            Agent::Prometheus => "prometheus",
        }
    }

    /// The scraper of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn parse(name: &str) -> Result<Self> {
        let Some(agent) = Self::ALL.into_iter().find(|agent| agent.name() == name) else {
            bail!("`{name}` is none of the scrapers: outrigger, vmagent, prometheus");
        };
        Ok(agent)
    }
}

/// What a scraper is started with.
#[derive(Debug)]
pub(super) struct Setup<'a> {
    pub(super) load: Load,
    /// Whether series are dropped and relabelled after the scrape.
    pub(super) relabel: bool,
    /// The receiver's address.
    pub(super) receiver: SocketAddr,
    /// A folder of the run's own.
    pub(super) dir: &'a Path,
    /// The scraper's own address.
    pub(super) listen: SocketAddr,
    /// Outrigger's binary.
    pub(super) outrigger: &'a Path,
    /// Further keys of Outrigger's remote write, as flow YAML without braces.
    pub(super) outrigger_remote_write: &'a str,
}

/// Program and arguments.
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
}

impl Agent {
    /// Writes the scraper's configuration and tells how to start it.
    pub(super) fn prepare(self, setup: &Setup<'_>) -> Result<Launch> {
        let config = setup.dir.join("config.yml");
        fs::write(&config, self.config(setup)).with_context(|| format!("write {}", config.display()))?;
        let (config, data) = (config.display().to_string(), setup.dir.join("data").display().to_string());
        let listen = setup.listen;
        let built = |program| Cache::from_environment()?.find(Pin::new(program, None)?);
        Ok(match self {
            Agent::Outrigger => Launch {
                program: setup.outrigger.to_path_buf(),
                arguments: ["run", "-c", &config, "--data-dir", &data, "--listen", &listen.to_string()]
                    .map(str::to_owned)
                    .to_vec(),
            },
            Agent::Vmagent => Launch {
                program: built(Program::Vmagent)?,
                arguments: vec![
                    format!("-promscrape.config={config}"),
                    format!("-httpListenAddr={listen}"),
                    format!("-remoteWrite.url={}", write_url(setup)),
                    format!("-remoteWrite.tmpDataPath={data}"),
                    // Its default of 16 MiB is less than a cluster's kube-state-metrics.
                    "-promscrape.maxScrapeSize=512MiB".to_owned(),
                    "-loggerLevel=WARN".to_owned(),
                ],
            },
            Agent::Prometheus => Launch {
                program: built(Program::Prometheus)?,
                arguments: vec![
                    "--agent".to_owned(),
                    format!("--config.file={config}"),
                    format!("--storage.agent.path={data}"),
                    format!("--web.listen-address={listen}"),
                    "--log.level=warn".to_owned(),
                ],
            },
        })
    }

    fn config(self, setup: &Setup<'_>) -> String {
        let load = setup.load;
        let seconds = load.interval.as_secs();
        let mut text = format!(
            "global: {{scrape_interval: {seconds}s, scrape_timeout: {seconds}s}}\nscrape_configs:\n- job_name: {}\n",
            load.shape.name()
        );
        if setup.relabel {
            let _ = write!(text, "  metric_relabel_configs:\n{}", load.shape.metric_relabel_configs());
        }
        text.push_str("  static_configs:\n  - targets:\n");
        for target in 0..load.targets {
            let _ = writeln!(text, "    - {}", load.address(target));
        }
        let further = match self {
            Agent::Vmagent => return text,
            Agent::Outrigger if !setup.outrigger_remote_write.is_empty() => {
                format!(", {}", setup.outrigger_remote_write)
            }
            Agent::Outrigger | Agent::Prometheus => String::new(),
        };
        let _ = writeln!(text, "remote_write:\n- {{url: \"{}\"{further}}}", write_url(setup));
        text
    }
}

fn write_url(setup: &Setup<'_>) -> String {
    format!("http://{}/api/v1/write", setup.receiver)
}
