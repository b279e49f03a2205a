//! What the tests share: configurations from text, and an engine that keeps what it is told.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use outrigger_config::file_access::FileAccess;
use outrigger_config::prometheus::{self, Config, Source};
use outrigger_control::{Discovery, DiscoveryOptions, TargetSink};
use outrigger_model::clock::SystemClock;
use outrigger_model::target::{ScrapeTarget, TargetDelta, TargetId};
use outrigger_rt::metrics::Registry;
use outrigger_rt::resolver::{Resolver, ResolverOptions};
use parking_lot::Mutex;

/// No files: what the configurations refer to is read by discovery, not with the configuration.
struct NoFiles;

impl FileAccess for NoFiles {
    fn read(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn exists(&self, _: &Path) -> bool {
        false
    }
}

/// The configuration that `text` is.
pub(crate) fn load(text: &str) -> Config {
    let source = Source {
        path: "prometheus.yml",
        text,
        directory: PathBuf::from("/"),
        environment: &|_| None,
        files: &NoFiles,
        agent_mode: false,
    };
    match prometheus::load(&source) {
        Ok(loaded) => loaded.config,
        Err(errors) => panic!("{errors}\nin\n{text}"),
    }
}

/// By job and id.
type Targets = BTreeMap<(Arc<str>, TargetId), Arc<ScrapeTarget>>;

/// An engine that keeps its targets; it checks that deltas fit on what it has.
#[derive(Default)]
pub(crate) struct Engine {
    targets: Mutex<Targets>,
    deltas: Mutex<usize>,
}

impl TargetSink for Engine {
    fn apply(&self, delta: TargetDelta) {
        let mut targets = self.targets.lock();
        *self.deltas.lock() += 1;
        for id in &delta.removed {
            let removed = targets.remove(&(Arc::clone(&delta.job), *id));
            assert!(removed.is_some(), "{}: removed a target that was not there", delta.job);
        }
        for target in delta.added {
            let before = targets.insert((Arc::clone(&delta.job), target.id), target);
            assert!(before.is_none(), "{}: added a target twice", delta.job);
        }
    }
}

impl Engine {
    /// `job url` of every target, sorted.
    pub(crate) fn urls(&self) -> Vec<String> {
        let mut urls: Vec<_> =
            self.targets.lock().iter().map(|((job, _), target)| format!("{job} {}", target.url)).collect();
        urls.sort();
        urls
    }

    pub(crate) fn deltas(&self) -> usize {
        *self.deltas.lock()
    }
}

/// Discovery with its engine and metrics.
pub(crate) struct Rig {
    pub(crate) discovery: Discovery,
    pub(crate) engine: Arc<Engine>,
    pub(crate) registry: Registry,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let engine = Arc::new(Engine::default());
        let registry = Registry::new();
        let sink: Arc<dyn TargetSink> = Arc::<Engine>::clone(&engine);
        let discovery = Discovery::new(DiscoveryOptions {
            clock: Arc::new(SystemClock),
            registry: registry.clone(),
            resolver: Resolver::new(ResolverOptions::default()),
            sink,
            user_agent: "outrigger-test/1".to_owned(),
        });
        Self { discovery, engine, registry }
    }

    pub(crate) fn apply(&self, text: &str) {
        self.discovery.apply(&load(text)).expect("a configuration that works");
    }

    /// Waits until the engine has exactly these targets.
    pub(crate) async fn wait_for(&self, urls: &[&str]) {
        wait_until(|| self.engine.urls() == urls, || format!("{urls:?}, not {:?}", self.engine.urls())).await;
    }
}

/// Waits for a condition, not for ever.
pub(crate) async fn wait_until(condition: impl Fn() -> bool, what: impl Fn() -> String) {
    for _ in 0..1500 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited in vain for {}", what());
}
