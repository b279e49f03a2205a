//! The cluster of the benchmark: API server and targets, with pods that are replaced on demand.

use std::collections::VecDeque;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use outrigger_sim::api_server::{ApiServer, ApiServerOptions};
use outrigger_sim::drill::TargetKey;
use outrigger_sim::drill::targets::Targets;
use outrigger_sim::endpoints::AddressBook;
use outrigger_sim::population::{Population, PopulationOptions};
use outrigger_sim::store::Store;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::FOLLOWED_WORKLOADS;
use crate::bench::control;

/// From a pod's creation to when it is ready.
const BECOMES_READY_AFTER: Duration = Duration::from_secs(2);

/// From when pods became ready to their first scrape.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Delays {
    /// Pods that became ready.
    pub ready: usize,
    /// Of them, those that were scraped while they lived.
    pub scraped: usize,
    /// Half were scraped within so many milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 were.
    pub p99_ms: f64,
    /// All were.
    pub max_ms: f64,
}

struct Shared {
    targets: Targets,
    replaced_per_second: AtomicU32,
    /// Since the churn was last switched on: who became ready, and when.
    ready: Mutex<Vec<(TargetKey, Duration)>>,
}

/// Serves until the process is killed. `GET /ready` is answered once everything is there and the kubeconfig is in
/// `folder`; `POST /churn/N` replaces so many pods each second; `GET /delays` answers with [`Delays`].
pub async fn serve(listen: SocketAddr, nodes: u32, pods: u32, folder: &Path) -> Result<()> {
    let targets = Targets::on_loopback().context("start the targets")?;
    let store = Arc::new(Store::new());
    let options = PopulationOptions { nodes, pods, port: targets.port() };
    let now = jiff::Timestamp::now().as_second();
    let population = Population::create(options, store.clone(), Arc::new(AddressBook::default()), now);
    let server =
        ApiServer::start(store, ApiServerOptions::default()).await.context("start the API server")?;
    fs::write(folder.join("kubeconfig"), server.kubeconfig()).context("write the kubeconfig")?;
    let shared =
        Arc::new(Shared { targets, replaced_per_second: AtomicU32::new(0), ready: Mutex::default() });
    tokio::spawn(churn(population, shared.clone()));
    control::serve(listen, move |word| match word.split_once('/') {
        Some(("churn", number)) => {
            let number = number.parse().ok()?;
            if number > 0 {
                lock(&shared.ready).clear();
            }
            shared.replaced_per_second.store(number, Ordering::Relaxed);
            Some("{}".to_owned())
        }
        _ if word == "ready" => Some("{}".to_owned()),
        _ if word == "delays" => serde_json::to_string(&shared.delays()).ok(),
        _ => None,
    })
    .await
}

/// Replaces the pods of the followed workloads in turn, evenly over each second.
async fn churn(mut population: Population, shared: Arc<Shared>) {
    let slots = (FOLLOWED_WORKLOADS as usize * 50).min(population.pods());
    let mut starting: VecDeque<(usize, Instant)> = VecDeque::new();
    let mut next = 0;
    let mut due = Instant::now();
    loop {
        while let Some((slot, _)) = starting.pop_front_if(|(_, at)| *at <= Instant::now()) {
            population.make_ready(slot);
            let key = TargetKey::of_address(population.address(slot));
            lock(&shared.ready).push((key, shared.targets.now()));
        }
        let per_second = shared.replaced_per_second.load(Ordering::Relaxed);
        if per_second == 0 {
            due = Instant::now();
        } else if due <= Instant::now() {
            due += Duration::from_secs(1) / per_second;
            population.replace_pod(next);
            starting.push_back((next, Instant::now() + BECOMES_READY_AFTER));
            next = (next + 1) % slots;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

impl Shared {
    fn delays(&self) -> Delays {
        let served = self.targets.served();
        let ready = lock(&self.ready).clone();
        let first = |(key, at): &(TargetKey, Duration)| {
            let served = served.get(key)?.iter().find(|served| served.at >= *at)?;
            Some((served.at - *at).as_secs_f64() * 1e3)
        };
        let mut delays: Vec<f64> = ready.iter().filter_map(first).collect();
        delays.sort_by(f64::total_cmp);
        let quantile = |q: f64| delays.get((delays.len() as f64 * q) as usize).or(delays.last()).copied();
        Delays {
            ready: ready.len(),
            scraped: delays.len(),
            p50_ms: quantile(0.5).unwrap_or(0.0),
            p99_ms: quantile(0.99).unwrap_or(0.0),
            max_ms: delays.last().copied().unwrap_or(0.0),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
