//! Discovery with the jobs of monitors, as a master runs it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use outrigger_config::file_access::FileAccess;
use outrigger_config::prometheus::parts::compose;
use outrigger_config::prometheus::{Config, Source, load};
use outrigger_control::operator::{Operator, OperatorJobs, OperatorOptions};
use outrigger_control::{Discovery, DiscoveryOptions, TargetSink};
use outrigger_model::clock::SystemClock;
use outrigger_model::target::TargetDelta;
use outrigger_rt::metrics::Registry;
use outrigger_rt::resolver::{Resolver, ResolverOptions};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use xtask::rig::{Rig, User};

use crate::PATIENCE;

/// Job and labels of a target after relabelling.
pub(crate) type Target = (String, BTreeMap<String, String>);

struct Ignored;

impl TargetSink for Ignored {
    fn apply(&self, _: TargetDelta) {}
}

struct NoFiles;

impl FileAccess for NoFiles {
    fn read(&self, _: &Path) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }

    fn list(&self, _: &Path) -> std::io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn exists(&self, _: &Path) -> bool {
        true
    }
}

/// Our side: discovery and the operator over one connection.
pub(crate) struct Side {
    base: String,
    discovery: Discovery,
    pub(crate) operator: Arc<Operator>,
    _tasks: JoinSet<()>,
}

impl Side {
    /// Starts with these settings below `outrigger.prometheus_operator`.
    pub(crate) async fn start(rig: &Rig, settings: &str) -> Self {
        let base = format!(
            "global: {{scrape_interval: 5m}}\noutrigger:\n  kubernetes: {{kubeconfig: {:?}}}\n  \
             request_budget: {{requests_per_second: 100, burst: 100}}\n  prometheus_operator: {settings}\n",
            rig.kubeconfig_of(User::Outrigger).display().to_string()
        );
        let discovery = Discovery::new(DiscoveryOptions {
            clock: Arc::new(SystemClock),
            registry: Registry::new(),
            resolver: Resolver::new(ResolverOptions::default()),
            sink: Arc::new(Ignored),
            user_agent: "outrigger-master/test".to_owned(),
        });
        let config = read(&base);
        discovery.apply(&config).unwrap();
        let operator = Arc::new(Operator::new(OperatorOptions {
            access: discovery.operator_access(&config).unwrap(),
            settings: config.outrigger.prometheus_operator.clone().unwrap(),
            global: config.global.clone(),
            resolver: Resolver::new(ResolverOptions::default()),
            clock: Arc::new(SystemClock),
            instance: "test".to_owned(),
            registry: Registry::new(),
        }));
        let mut tasks = JoinSet::new();
        let running = operator.clone();
        tasks.spawn(async move { running.run().await });
        Self { base, discovery, operator, _tasks: tasks }
    }

    pub(crate) fn jobs(&self) -> OperatorJobs {
        self.operator.jobs().borrow().clone()
    }

    /// Waits until everything is known and the jobs are as they should be.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&OperatorJobs) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(&self.jobs()) {
            if Instant::now() > deadline {
                let view = self.operator.view();
                panic!("waited in vain for {what}: {} jobs, {view:#?}", self.jobs().jobs.len());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Runs discovery with the jobs that there are.
    pub(crate) fn discover(&self) {
        let jobs = self.jobs();
        let text = compose(&self.base, jobs.jobs.iter().map(|job| &*job.yaml));
        self.discovery.apply(&read(&text)).unwrap();
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.discovery.is_settled()
    }

    /// All targets.
    pub(crate) fn targets(&self) -> BTreeSet<Target> {
        let active = self.discovery.active(None, |_| true, 0, usize::MAX);
        let target = |active: &outrigger_control::ActiveTarget| {
            let labels = active.target.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
            (active.target.job.to_string(), labels.collect())
        };
        active.items.iter().map(target).collect()
    }

    /// How many targets relabelling dropped, by job.
    pub(crate) fn dropped(&self) -> BTreeMap<String, u64> {
        let jobs = self.discovery.jobs();
        jobs.iter().map(|job| (job.config.job_name.to_string(), job.counts.dropped)).collect()
    }
}

fn read(text: &str) -> Config {
    let source = Source {
        path: "test",
        text,
        directory: PathBuf::from("/"),
        environment: &|_| None,
        files: &NoFiles,
        agent_mode: false,
    };
    load(&source).unwrap_or_else(|errors| panic!("{errors}")).config
}
