//! Partitions between masters, workers and etcd, in network namespaces.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use outrigger_sim::drill::TargetKey;
use outrigger_sim::drill::judge::{self, Evidence, Verdict};
use outrigger_sim::drill::ledger::Ledger;
use outrigger_sim::drill::targets::Targets;
use outrigger_sim::receiver::Receiver;
use tokio::time::{Instant, sleep};

use super::etcd::Etcd;
use super::network::Network;
use super::process::{Process, Surroundings};
use super::stage::Scale;
use crate::rig::free_port;

const MASTERS: usize = 2;
/// How often the masters are asked whether they lead.
const ASKED_EVERY: Duration = Duration::from_millis(100);
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

/// Who is apart from whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partition {
    /// The leading master cannot reach etcd, but the workers reach it.
    LeaderFromEtcd,
    /// The leading master reaches nobody.
    LeaderFromAll,
    /// The leading master cannot reach the workers, but etcd.
    LeaderFromWorkers,
    /// Neither master reaches any worker.
    MastersFromWorkers,
    /// One worker reaches no master, and no master reaches it.
    WorkerFromMasters,
    /// The standby cannot reach etcd.
    StandbyFromEtcd,
}

impl Partition {
    /// Every partition.
    pub const ALL: [Partition; 6] = [
        Partition::LeaderFromEtcd,
        Partition::LeaderFromAll,
        Partition::LeaderFromWorkers,
        Partition::MastersFromWorkers,
        Partition::WorkerFromMasters,
        Partition::StandbyFromEtcd,
    ];

    /// The name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Partition::LeaderFromEtcd => "leader / etcd",
            Partition::LeaderFromAll => "leader / etcd, workers",
            Partition::LeaderFromWorkers => "leader / workers",
            Partition::MastersFromWorkers => "masters / workers",
            Partition::WorkerFromMasters => "one worker / masters",
            Partition::StandbyFromEtcd => "standby / etcd",
        }
    }
}

/// What was seen of one partition.
#[derive(Debug, Clone)]
pub struct Row {
    /// Who was apart.
    pub partition: Partition,
    /// Times at which two masters said that they lead.
    pub two_leaders: usize,
    /// Longest time without a leader.
    pub leaderless: Duration,
    /// How often a worker was seen with a target that it had not a moment before.
    pub moves: usize,
    /// The largest number of such moves of one target.
    pub most_moves: usize,
    /// What the judge says.
    pub verdict: Verdict,
}

/// Targets that change hands.
struct Moves {
    holders: HashMap<String, HashSet<TargetKey>>,
    of_target: HashMap<TargetKey, usize>,
}

impl Moves {
    fn look(&mut self, holders: HashMap<String, HashSet<TargetKey>>) {
        for (worker, targets) in holders {
            let before = self.holders.insert(worker.clone(), targets).unwrap_or_default();
            for target in self.holders[&worker].difference(&before) {
                *self.of_target.entry(*target).or_default() += 1;
            }
        }
    }
}

struct Scene {
    targets: Targets,
    ledger: Arc<Ledger>,
    _receiver: Receiver,
    masters: Vec<Process>,
    workers: Vec<Process>,
    etcd: Etcd,
    /// After the processes, which run in it.
    network: Network,
    scale: Scale,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.workers.clear();
        self.masters.clear();
        self.etcd.kill_all();
        if !self.scale.keep {
            // What is left is in a temporary folder.
            let _ = fs::remove_dir_all(&self.scale.folder);
        }
    }
}

/// Places of the namespaces: the drill's own, etcd's, the masters', the workers'.
const ETCD: usize = 1;
const FIRST_MASTER: usize = 2;
const FIRST_WORKER: usize = FIRST_MASTER + MASTERS;

/// Runs every partition, each for so many intervals.
///
/// # Errors
/// When the drill itself cannot go on; without root it cannot begin.
pub async fn partition(scale: Scale, intervals: u32, say: impl Fn(&str)) -> Result<Vec<Row>> {
    let mut scene = Scene::start(scale).await?;
    let mut rows = Vec::new();
    let mut windows: Vec<Range<Duration>> = Vec::new();
    for partition in Partition::ALL {
        let from = scene.targets.now();
        let mut row = scene.run(partition, intervals).await?;
        let window = from..scene.targets.now();
        row.verdict = scene.verdict(&window);
        say(&line(&row));
        windows.push(window);
        rows.push(row);
    }
    sleep(scene.scale.interval * 3).await;
    for (row, window) in rows.iter_mut().zip(&windows) {
        row.verdict = scene.verdict(window);
    }
    Ok(rows)
}

impl Scene {
    async fn start(scale: Scale) -> Result<Self> {
        fs::create_dir_all(&scale.folder).with_context(|| format!("create {}", scale.folder.display()))?;
        let network = Network::new(FIRST_WORKER + scale.workers - 1)
            .context("make network namespaces, which needs root")?;
        let own = network.spokes()[0].address.clone();
        let anywhere: SocketAddr = format!("{own}:0").parse()?;
        let targets = Targets::on_address(anywhere).context("start the targets")?;
        let ledger = Arc::new(Ledger::default());
        let taking = ledger.clone();
        let receiver = Receiver::start_handing(anywhere, move |request| taking.enter(request)).await?;
        let place = &network.spokes()[ETCD];
        let etcd = Etcd::start(&scale.folder, &place.address, place.namespace.as_deref(), scale.etcd).await?;
        let mut scene = Self {
            targets,
            ledger,
            _receiver: receiver,
            masters: Vec::new(),
            workers: Vec::new(),
            etcd,
            network,
            scale,
        };
        let receiver = scene._receiver.url();
        scene.start_processes(&receiver).await?;
        scene.until_scraped_twice().await?;
        Ok(scene)
    }

    async fn start_processes(&mut self, receiver: &str) -> Result<()> {
        let mut centres = Vec::new();
        for index in 0..MASTERS {
            let master = self.process("master", index, FIRST_MASTER + index)?;
            let address = &self.network.spokes()[FIRST_MASTER + index].address;
            let centre = format!("{address}:{}", free_port()?);
            master.configure(&self.master_config(index, &centre, receiver))?;
            centres.push(format!("\"http://{centre}\""));
            self.masters.push(master);
        }
        for index in 0..self.scale.workers {
            let worker = self.process("worker", index, FIRST_WORKER + index)?;
            worker.configure(&format!(
                "outrigger:\n  worker: {{name: {}, masters: [{}], advertise: \"{}\"}}\n",
                worker.name,
                centres.join(", "),
                worker.url,
            ))?;
            self.workers.push(worker);
        }
        for process in self.masters.iter_mut().chain(&mut self.workers) {
            process.start()?;
            process.ready().await?;
        }
        Ok(())
    }

    fn process(&self, role: &'static str, index: usize, place: usize) -> Result<Process> {
        let spoke = &self.network.spokes()[place];
        let surroundings = Surroundings {
            resolv_conf: None,
            namespace: spoke.namespace.clone(),
            host: Some(spoke.address.clone()),
        };
        let name = format!("{role}-{index}");
        Process::new(&self.scale.outrigger, role, &name, &self.scale.folder, surroundings)
    }

    fn master_config(&self, index: usize, centre: &str, receiver: &str) -> String {
        let own = format!("{}:{}", self.network.spokes()[0].address, self.targets.port());
        let interval = self.scale.interval;
        let mut text = format!(
            "global: {{scrape_interval: {}ms, scrape_timeout: {}ms}}\n\
             remote_write: [{{url: \"{receiver}\", queue_config: {{batch_send_deadline: 1s}}}}]\n\
             outrigger:\n  \
               centre:\n    \
                 name: master-{index}\n    \
                 listen: \"{centre}\"\n    \
                 listen_without_authentication: true\n    \
                 lease: {lease}ms\n    \
                 leader_lease: {lease}ms\n    \
                 etcd: {{endpoints: [{}]}}\n\
             scrape_configs:\n\
             - job_name: paths\n  \
               static_configs:\n",
            interval.as_millis(),
            interval.mul_f64(0.8).as_millis(),
            self.etcd.endpoints().iter().map(|url| format!("\"{url}\"")).collect::<Vec<_>>().join(", "),
            lease = self.scale.lease.as_millis(),
        );
        for number in 1..=self.scale.targets {
            let _ = writeln!(
                text,
                "  - {{targets: [\"{own}\"], labels: {{__metrics_path__: /t/{number}, drill_target: \"{number}\"}}}}"
            );
        }
        text
    }

    fn staying(&self) -> Vec<TargetKey> {
        (1..=self.scale.targets).map(TargetKey).collect()
    }

    async fn until_scraped_twice(&self) -> Result<()> {
        let deadline = Instant::now() + SETTLED_WITHIN;
        loop {
            let served = self.targets.served();
            let scraped = served.values().filter(|list| list.len() > 1).count();
            if scraped == self.scale.targets as usize {
                return Ok(());
            }
            if Instant::now() > deadline {
                let folder = self.scale.folder.display();
                bail!("only {scraped} targets were scraped twice; the logs are in {folder}");
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// The masters that say they lead.
    async fn leaders(&self) -> Vec<usize> {
        let asked = self.masters.iter().map(|master| master.metric("outrigger_fleet_leading"));
        let answers = futures_util::future::join_all(asked).await;
        answers.iter().enumerate().filter(|(_, leads)| **leads == Some(1.0)).map(|(index, _)| index).collect()
    }

    async fn run(&mut self, partition: Partition, intervals: u32) -> Result<Row> {
        let leader = self.leaders().await.first().copied().context("nobody leads")?;
        let (leader, standby) = (FIRST_MASTER + leader, FIRST_MASTER + (leader + 1) % MASTERS);
        let workers = FIRST_WORKER..FIRST_WORKER + self.scale.workers;
        let apart: Vec<(usize, usize)> = match partition {
            Partition::LeaderFromEtcd => vec![(leader, ETCD)],
            Partition::LeaderFromAll => {
                workers.map(|worker| (leader, worker)).chain([(leader, ETCD), (leader, standby)]).collect()
            }
            Partition::LeaderFromWorkers => workers.map(|worker| (leader, worker)).collect(),
            Partition::MastersFromWorkers => {
                workers.flat_map(|worker| [(leader, worker), (standby, worker)]).collect()
            }
            Partition::WorkerFromMasters => vec![(leader, FIRST_WORKER), (standby, FIRST_WORKER)],
            Partition::StandbyFromEtcd => vec![(standby, ETCD)],
        };
        for (one, other) in apart {
            self.network.cut(one, other)?;
        }
        let mut row = Row {
            partition,
            two_leaders: 0,
            leaderless: Duration::ZERO,
            moves: 0,
            most_moves: 0,
            verdict: Verdict::default(),
        };
        let mut moves = Moves { holders: self.holders().await, of_target: HashMap::new() };
        self.watch(intervals, &mut row, &mut moves).await;
        self.network.heal()?;
        self.watch(intervals, &mut row, &mut moves).await;
        row.moves = moves.of_target.values().sum();
        row.most_moves = moves.of_target.values().max().copied().unwrap_or(0);
        Ok(row)
    }

    async fn watch(&self, intervals: u32, row: &mut Row, moves: &mut Moves) {
        let mut looked = Instant::now();
        let until = Instant::now() + self.scale.interval * intervals;
        let mut since = Instant::now();
        while Instant::now() < until {
            let leaders = self.leaders().await.len();
            row.two_leaders += usize::from(leaders > 1);
            if leaders > 0 {
                since = Instant::now();
            }
            row.leaderless = row.leaderless.max(since.elapsed());
            if looked.elapsed() > self.scale.interval / 4 {
                moves.look(self.holders().await);
                looked = Instant::now();
            }
            sleep(ASKED_EVERY).await;
        }
    }

    /// Which worker has which target; those of a worker that does not answer are left out.
    async fn holders(&self) -> HashMap<String, HashSet<TargetKey>> {
        let mut holders = HashMap::new();
        for worker in &self.workers {
            if let Ok(targets) = worker.targets().await {
                holders.insert(worker.name.clone(), targets);
            }
        }
        holders
    }

    fn verdict(&self, window: &Range<Duration>) -> Verdict {
        let (served, accounts, staying) = (self.targets.served(), self.ledger.accounts(), self.staying());
        let excuses = [];
        let evidence = Evidence {
            served: &served,
            accounts: &accounts,
            targets: &staying,
            interval: self.scale.interval,
            excuses: &excuses,
        };
        judge::judge(&evidence, window)
    }
}

fn line(row: &Row) -> String {
    format!(
        "{}: two leaders {} times, without one for {:.1} s at most; {} moves, {} of one target at most; {} missed, {} double",
        row.partition.name(),
        row.two_leaders,
        row.leaderless.as_secs_f64(),
        row.moves,
        row.most_moves,
        row.verdict.missed,
        row.verdict.double,
    )
}

impl Row {
    /// Whether there was at most one leader, no target went to and fro, and no scrape was missed or double. A worker
    /// that neither the masters reach nor itself reaches one is taken for dead: both it and the heir scrape.
    pub fn is_clean(&self) -> bool {
        let cut_off = self.partition == Partition::WorkerFromMasters;
        // There and back.
        let moves = if cut_off { 2 } else { 0 };
        self.two_leaders == 0
            && self.most_moves <= moves
            && self.verdict.missed == 0
            && (cut_off || self.verdict.double == 0)
            && self.verdict.lost == 0
    }

    /// All rows as a table.
    pub fn markdown(rows: &[Self]) -> String {
        let mut text = String::from(
            "| apart | two leaders | longest without one s | moves, of one target at most | missed | double | lost | wrong, missing markers |\n\
             |---|---|---|---|---|---|---|---|\n",
        );
        for row in rows {
            let verdict = &row.verdict;
            let _ = writeln!(
                text,
                "| {} | {} | {:.1} | {}, {} | {} | {} | {} | {}, {} |",
                row.partition.name(),
                row.two_leaders,
                row.leaderless.as_secs_f64(),
                row.moves,
                row.most_moves,
                verdict.missed,
                verdict.double,
                verdict.lost,
                verdict.wrong_markers,
                verdict.missing_markers,
            );
        }
        text
    }
}
