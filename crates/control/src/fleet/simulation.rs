//! Masters and workers in virtual time, with messages that take their time, streams that break, processes that die
//! and leaders that change. After every event it is checked that no target has more scrapers than it should.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use outrigger_model::labels::Labels;
use outrigger_model::target::{HistogramOptions, ScrapeTarget, TargetDelta, TargetId};
use outrigger_wire::centre::{
    Applied, Costs, FromMaster, Heartbeat, Hello, Inheritance, JobConfiguration, JobCosts, Leaving,
    RejectReason, Released, ReleasedTarget, TargetIds, from_master, from_worker,
};

use super::{
    Alive, ConfigurationBundle, Fleet, FleetEffect, FleetEvent, FleetOptions, ProbeAnswer, SessionId,
    WorkerRecord,
};

const LEASE: u64 = 10_000;
const JOB: &str = "pods";

/// Numbers that are the same each time.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}

/// A worker process, or the place of one.
struct SimWorker {
    name: String,
    instance: u64,
    runs: bool,
    /// Its own view of the network: it cannot connect before then.
    cut_until: u64,
    held: BTreeSet<u64>,
    releasing: BTreeSet<u64>,
    epoch: u64,
    link: Option<usize>,
    welcomed: bool,
    try_master: usize,
    configured: bool,
    draining: bool,
    from_disk: bool,
    /// It was cut off from the probes, too, or started after its targets had gone elsewhere.
    excused_until: u64,
}

struct Link {
    worker: usize,
    instance: u64,
    master: usize,
    open: bool,
    to_master_at: u64,
    to_worker_at: u64,
}

enum Happening {
    ToMaster(usize, from_worker::Kind),
    ToWorker(usize, Box<FromMaster>),
    LinkEnds(usize),
    Left(usize),
    MasterTick,
    WorkerTick(usize),
    ReleaseDone { link: usize, worker: usize, instance: u64, request: u64, ids: Vec<u64> },
    Probe { master: usize, name: Arc<str> },
    Probed { master: usize, name: Arc<str>, answer: ProbeAnswer },
    Record { master: usize, record: WorkerRecord },
    Restart { worker: usize, with_disk: bool },
    Elect { master: usize },
}

struct World {
    now: u64,
    sequence: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: HashMap<u64, Happening>,
    dice: Dice,
    masters: Vec<Fleet>,
    leader: Option<usize>,
    epoch: u64,
    store: BTreeMap<Arc<str>, WorkerRecord>,
    workers: Vec<SimWorker>,
    links: Vec<Link>,
    /// What discovery finds, and since when.
    truth: BTreeMap<u64, u64>,
    replicas: usize,
    max_delay: u64,
    moved: u64,
    /// Since when a target has no scraper.
    lost_at: BTreeMap<u64, u64>,
    longest_gap: u64,
    /// While nothing bad happens, gaps are counted.
    calm: bool,
    /// Targets whose stale markers a worker was told to write in place of another.
    buried: BTreeSet<u64>,
}

fn target(id: u64) -> Arc<ScrapeTarget> {
    let instance = format!("10.0.0.{id}:80");
    Arc::new(ScrapeTarget {
        id: TargetId(id),
        job: JOB.into(),
        url: format!("http://{instance}/metrics"),
        labels: Labels::from_pairs([("instance", instance.as_str()), ("job", JOB)]),
        interval: Duration::from_secs(15),
        timeout: Duration::from_secs(10),
        histograms: HistogramOptions::default(),
    })
}

/// Series of a target.
fn series(id: u64) -> u64 {
    200 + Dice(id).below(1_600)
}

fn costs(ids: &[u64]) -> Costs {
    let job = JobCosts {
        job: JOB.to_owned(),
        ids: ids.to_vec(),
        series: ids.iter().map(|id| series(*id)).collect(),
        body_bytes: vec![0; ids.len()],
        series_sets: Vec::new(),
        gone: Vec::new(),
    };
    Costs { jobs: vec![job] }
}

fn options(name: &str, replicas: usize) -> FleetOptions {
    FleetOptions {
        master: name.to_owned(),
        version: "1.2.3".to_owned(),
        lease: Duration::from_millis(LEASE),
        replication_factor: replicas,
        settle: Duration::from_secs(2),
    }
}

impl World {
    fn new(seed: u64, replicas: usize, targets: u64) -> Self {
        let mut world = Self {
            now: 1_000,
            sequence: 0,
            queue: BinaryHeap::new(),
            happenings: HashMap::new(),
            dice: Dice(seed),
            masters: vec![Fleet::new(options("a", replicas)), Fleet::new(options("b", replicas))],
            leader: None,
            epoch: 0,
            store: BTreeMap::new(),
            workers: Vec::new(),
            links: Vec::new(),
            truth: BTreeMap::new(),
            replicas,
            max_delay: 200,
            moved: 0,
            lost_at: BTreeMap::new(),
            longest_gap: 0,
            calm: false,
            buried: BTreeSet::new(),
        };
        let bundle = ConfigurationBundle {
            base: "global: {}".to_owned(),
            jobs: vec![JobConfiguration { job: JOB.to_owned(), yaml: format!("job_name: {JOB}") }],
            ..ConfigurationBundle::default()
        };
        for master in 0..2 {
            world.step(master, FleetEvent::Configured(Box::new(bundle.clone())));
        }
        world.discover(0..targets, []);
        for master in 0..2 {
            world.step(master, FleetEvent::JobSynced(JOB.into()));
        }
        world.at(0, Happening::MasterTick);
        world.at(0, Happening::Elect { master: 0 });
        world
    }

    fn at(&mut self, delay: u64, happening: Happening) {
        self.sequence += 1;
        self.happenings.insert(self.sequence, happening);
        self.queue.push(Reverse((self.now + delay, self.sequence)));
    }

    fn start_worker(&mut self, name: &str) -> usize {
        let worker = self.workers.len();
        let instance = self.dice.next();
        self.workers.push(SimWorker {
            name: name.to_owned(),
            instance,
            runs: true,
            cut_until: 0,
            held: BTreeSet::new(),
            releasing: BTreeSet::new(),
            epoch: 0,
            link: None,
            welcomed: false,
            try_master: 0,
            configured: false,
            draining: false,
            from_disk: false,
            excused_until: 0,
        });
        self.at(0, Happening::WorkerTick(worker));
        worker
    }

    fn discover(&mut self, added: impl IntoIterator<Item = u64>, removed: impl IntoIterator<Item = u64>) {
        let (added, removed): (Vec<u64>, Vec<u64>) =
            (added.into_iter().collect(), removed.into_iter().collect());
        for id in &removed {
            self.truth.remove(id);
            self.lost_at.remove(id);
        }
        for id in &added {
            self.truth.entry(*id).or_insert(self.now);
        }
        for master in 0..2 {
            let delta = TargetDelta {
                job: JOB.into(),
                added: added.iter().map(|id| target(*id)).collect(),
                removed: removed.iter().map(|id| TargetId(*id)).collect(),
                over_target_limit: false,
            };
            self.step(master, FleetEvent::Targets { delta, age: 0 });
        }
    }

    fn step(&mut self, master: usize, event: FleetEvent) {
        let effects = self.masters[master].step(self.now, event);
        for effect in effects {
            self.perform(master, effect);
        }
    }

    fn perform(&mut self, master: usize, effect: FleetEffect) {
        let delay = self.dice.below(self.max_delay);
        match effect {
            FleetEffect::Wake(session) => self.pump(master, session),
            FleetEffect::Close(session) => self.end_link(session.0 as usize),
            FleetEffect::Reject(session, rejected) => {
                let link = session.0 as usize;
                let message = FromMaster { kind: Some(from_master::Kind::Rejected(rejected)) };
                self.tell_worker(link, message);
                self.end_link(link);
            }
            FleetEffect::Probe { worker, .. } => self.at(delay, Happening::Probe { master, name: worker }),
            FleetEffect::Record(record) => self.at(delay, Happening::Record { master, record }),
            FleetEffect::Forget(name) => {
                if self.leader == Some(master) {
                    self.store.remove(&name);
                }
            }
            FleetEffect::Outranked(epoch) => {
                panic!("a worker has obeyed epoch {epoch}, which was never given")
            }
            FleetEffect::KeepSeries { .. }
            | FleetEffect::DropSeries { .. }
            | FleetEffect::AssignmentDelay(_) => {}
        }
    }

    fn pump(&mut self, master: usize, session: SessionId) {
        while let Some(next) = self.masters[master].next_message(session, 0) {
            let message = next.build(self.now, |_, _| vec![7], |_| Vec::new());
            self.check_removals(&message);
            self.tell_worker(session.0 as usize, message);
        }
    }

    /// No worker is told that a target is gone which is there.
    fn check_removals(&self, message: &FromMaster) {
        let Some(from_master::Kind::Remove(remove)) = &message.kind else { return };
        for id in remove.targets.iter().flat_map(|ids| &ids.ids) {
            let stands = self.truth.get(id).is_some_and(|since| since + 1_000 < self.now);
            assert!(!stands, "{}: target {id} is removed though it exists", self.now);
        }
    }

    fn tell_worker(&mut self, link: usize, message: FromMaster) {
        let delay = self.dice.below(self.max_delay);
        let entry = &mut self.links[link];
        if entry.open {
            entry.to_worker_at = entry.to_worker_at.max(self.now + delay);
            let delay = entry.to_worker_at - self.now;
            self.at(delay, Happening::ToWorker(link, Box::new(message)));
        }
    }

    fn tell_master(&mut self, link: usize, kind: from_worker::Kind) {
        let delay = self.dice.below(self.max_delay);
        let entry = &mut self.links[link];
        if entry.open {
            entry.to_master_at = entry.to_master_at.max(self.now + delay);
            let delay = entry.to_master_at - self.now;
            self.at(delay, Happening::ToMaster(link, kind));
        }
    }

    /// The master's side is closed now; the worker sees it when it has what was said before.
    fn end_link(&mut self, link: usize) {
        let entry = &mut self.links[link];
        if entry.open {
            let delay = entry.to_worker_at.saturating_sub(self.now);
            entry.open = false;
            let master = entry.master;
            self.at(delay, Happening::LinkEnds(link));
            self.step(master, FleetEvent::Disconnected { session: SessionId(link as u64) });
        }
    }

    /// A stream breaks: what is under way is lost.
    fn break_link(&mut self, worker: usize) {
        let Some(link) = self.workers[worker].link.take() else { return };
        self.workers[worker].welcomed = false;
        let entry = &mut self.links[link];
        if std::mem::replace(&mut entry.open, false) {
            let master = entry.master;
            self.happenings.retain(|_, happening| match happening {
                Happening::ToMaster(of, _) | Happening::ToWorker(of, _) => *of != link,
                _ => true,
            });
            self.step(master, FleetEvent::Disconnected { session: SessionId(link as u64) });
        }
    }

    fn connect(&mut self, worker: usize) {
        let sim = &mut self.workers[worker];
        let master = sim.try_master;
        sim.try_master = 1 - sim.try_master;
        let link = self.links.len();
        sim.link = Some(link);
        sim.welcomed = false;
        self.links.push(Link {
            worker,
            instance: sim.instance,
            master,
            open: true,
            to_master_at: 0,
            to_worker_at: 0,
        });
        let hello = Hello {
            worker: sim.name.clone(),
            instance: sim.instance,
            version: "1.2.3".to_owned(),
            protocol_min: 1,
            protocol_max: 1,
            // Replicas in zones cannot be spread evenly.
            zone: if self.replicas == 1 { format!("zone-{}", worker % 3) } else { String::new() },
            weight: 1.0,
            advertise: format!("http://{}", sim.name),
            epoch: sim.epoch,
            held: vec![TargetIds {
                job: JOB.to_owned(),
                ids: sim.held.union(&sim.releasing).copied().collect(),
            }],
            from_disk: sim.from_disk,
            ..Hello::default()
        };
        let draining = sim.draining;
        self.tell_master(link, from_worker::Kind::Hello(hello));
        if draining {
            self.tell_master(link, from_worker::Kind::Leaving(Leaving { grace_millis: 60_000 }));
        }
    }

    fn kill(&mut self, worker: usize) {
        self.break_link(worker);
        let sim = &mut self.workers[worker];
        sim.runs = false;
        sim.releasing.clear();
    }

    /// A process ends in good order: the master hears everything that it said.
    fn leave(&mut self, worker: usize) {
        self.workers[worker].runs = false;
        if let Some(link) = self.workers[worker].link.take() {
            let delay = self.links[link].to_master_at.saturating_sub(self.now);
            self.at(delay, Happening::Left(link));
        }
    }

    /// What the process does by itself.
    fn worker_tick(&mut self, worker: usize) {
        let sim = &self.workers[worker];
        if !sim.runs {
            return;
        }
        if sim.draining && sim.held.is_empty() && sim.releasing.is_empty() {
            self.leave(worker);
            return;
        }
        match sim.link {
            Some(link) if self.links[link].open && sim.welcomed => {
                self.tell_master(link, from_worker::Kind::Heartbeat(Heartbeat::default()));
            }
            Some(link) if self.links[link].open => {}
            _ if sim.cut_until <= self.now => self.connect(worker),
            _ => {}
        }
        let delay = 1_000 + self.dice.below(1_000);
        self.at(delay, Happening::WorkerTick(worker));
    }

    fn worker_hears(&mut self, link: usize, message: FromMaster) {
        let Link { worker, instance, .. } = self.links[link];
        let sim = &mut self.workers[worker];
        if !sim.runs || sim.instance != instance || sim.link != Some(link) {
            return;
        }
        match message.kind.expect("a kind") {
            from_master::Kind::Welcome(welcome) => {
                assert!(welcome.epoch >= sim.epoch, "an earlier leader welcomes");
                sim.epoch = welcome.epoch;
                sim.welcomed = true;
                sim.from_disk = false;
                let costs = costs(&sim.held.iter().copied().collect::<Vec<_>>());
                self.tell_master(link, from_worker::Kind::Costs(costs));
            }
            from_master::Kind::Rejected(rejected) => {
                assert_ne!(rejected.reason, RejectReason::BadHello as i32, "{}", rejected.message);
                sim.link = None;
            }
            from_master::Kind::Configuration(configuration) => {
                sim.configured |= configuration.complete;
            }
            from_master::Kind::Assign(assign) => {
                assert!(sim.welcomed && sim.configured, "targets before the welcome or the configuration");
                let revision = assign.revision;
                let (good, bad) = assign.read();
                assert!(bad.is_empty());
                let ids: Vec<u64> = good.iter().map(|assigned| assigned.target.id.0).collect();
                sim.held.extend(&ids);
                self.tell_master(link, from_worker::Kind::Applied(Applied { revision }));
                self.tell_master(link, from_worker::Kind::Costs(costs(&ids)));
            }
            from_master::Kind::Release(release) => {
                let ids: Vec<u64> = release.targets.into_iter().flat_map(|ids| ids.ids).collect();
                assert!(ids.len() <= 500, "{} targets to release at once", ids.len());
                for id in &ids {
                    if sim.held.remove(id) {
                        sim.releasing.insert(*id);
                    }
                }
                // A scrape that is under way ends first.
                let delay = self.dice.below(1_000);
                let request = release.request;
                self.at(delay, Happening::ReleaseDone { link, worker, instance, request, ids });
            }
            from_master::Kind::Remove(remove) => {
                for id in remove.targets.iter().flat_map(|ids| &ids.ids) {
                    sim.held.remove(id);
                    sim.releasing.remove(id);
                }
                let orphans = remove.orphans.into_iter().flat_map(|orphans| orphans.targets);
                for orphan in orphans {
                    assert!(orphan.inheritance.is_some(), "without it there is nothing to write");
                    self.buried.insert(orphan.id);
                }
                self.tell_master(link, from_worker::Kind::Applied(Applied { revision: remove.revision }));
            }
            from_master::Kind::Beat(beat) if !beat.leading => {
                sim.link = None;
                sim.welcomed = false;
                self.at(0, Happening::Left(link));
            }
            from_master::Kind::Jobs(_) | from_master::Kind::Beat(_) => {}
        }
    }

    fn release_done(&mut self, link: usize, worker: usize, instance: u64, request: u64, ids: Vec<u64>) {
        let sim = &mut self.workers[worker];
        if !sim.runs || sim.instance != instance {
            return;
        }
        for id in &ids {
            sim.releasing.remove(id);
        }
        self.moved += ids.len() as u64;
        let targets = ids.into_iter().map(|id| ReleasedTarget {
            job: JOB.to_owned(),
            id,
            inheritance: Some(Inheritance {
                last_scrape_millis: 1,
                last_scrape_age_millis: 0,
                series: vec![1, 2, 3],
            }),
        });
        let released = Released { request, targets: targets.collect() };
        self.tell_master(link, from_worker::Kind::Released(released));
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::ToMaster(link, kind) => {
                let session = SessionId(link as u64);
                let master = self.links[link].master;
                match kind {
                    _ if !self.links[link].open => {}
                    from_worker::Kind::Hello(hello) => {
                        self.step(master, FleetEvent::Connected { session, hello });
                    }
                    message => self.step(master, FleetEvent::Heard { session, message }),
                }
            }
            Happening::ToWorker(link, message) => self.worker_hears(link, *message),
            Happening::LinkEnds(link) => {
                let worker = self.links[link].worker;
                if self.workers[worker].link == Some(link) {
                    self.workers[worker].link = None;
                    self.workers[worker].welcomed = false;
                }
            }
            Happening::Left(link) => self.end_link(link),
            Happening::MasterTick => {
                (0..2).for_each(|master| self.step(master, FleetEvent::Tick));
                self.at(200, Happening::MasterTick);
            }
            Happening::WorkerTick(worker) => self.worker_tick(worker),
            Happening::ReleaseDone { link, worker, instance, request, ids } => {
                self.release_done(link, worker, instance, request, ids);
            }
            Happening::Probe { master, name } => {
                let alive = self.workers.iter().find(|worker| worker.runs && *worker.name == *name);
                let alive =
                    alive.map(|worker| Alive { instance: worker.instance, scrapes: !worker.held.is_empty() });
                let delay = if alive.is_some() { self.dice.below(500) } else { self.dice.below(2_000) };
                let gone = if self.dice.below(2) == 0 { ProbeAnswer::Refused } else { ProbeAnswer::Silence };
                let answer = alive.map_or(gone, ProbeAnswer::Alive);
                self.at(delay, Happening::Probed { master, name, answer });
            }
            Happening::Probed { master, name, answer } => {
                self.step(master, FleetEvent::Probed { worker: name, answer });
            }
            Happening::Record { master, record } => {
                let worker = Arc::clone(&record.name);
                if self.leader == Some(master) {
                    self.store.insert(Arc::clone(&record.name), record);
                }
                self.step(master, FleetEvent::Recorded { worker });
            }
            Happening::Restart { worker, with_disk } => {
                let instance = self.dice.next();
                let sim = &mut self.workers[worker];
                if sim.runs {
                    return;
                }
                sim.runs = true;
                sim.instance = instance;
                sim.from_disk = with_disk;
                sim.configured = with_disk;
                if !with_disk {
                    sim.held.clear();
                    sim.epoch = 0;
                }
                self.at(0, Happening::WorkerTick(worker));
            }
            Happening::Elect { master } => {
                self.epoch += 1;
                self.leader = Some(master);
                let known = self.store.values().cloned().collect();
                let event = FleetEvent::Elected { epoch: self.epoch, offset_seed: 1, known };
                self.step(master, event);
            }
        }
    }

    fn depose(&mut self) {
        if let Some(old) = self.leader.take() {
            self.step(old, FleetEvent::Deposed { leader: None });
            let delay = self.dice.below(6_000);
            let master = if self.dice.one_in(3) { old } else { 1 - old };
            self.at(delay, Happening::Elect { master });
        }
    }

    fn run_until(&mut self, end: u64) {
        while let Some(Reverse((at, sequence))) = self.queue.peek().copied()
            && at <= end
        {
            self.queue.pop();
            self.now = at;
            if let Some(happening) = self.happenings.remove(&sequence) {
                let matters = !matches!(happening, Happening::MasterTick);
                self.happen(happening);
                if matters {
                    self.check_scrapers();
                }
            }
        }
        self.now = end;
    }

    fn run_for(&mut self, millis: u64) {
        self.run_until(self.now + millis);
    }

    fn scrapers(&self) -> BTreeMap<u64, Vec<usize>> {
        let mut scrapers: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (place, worker) in self.workers.iter().enumerate() {
            if worker.runs {
                for id in worker.held.union(&worker.releasing) {
                    scrapers.entry(*id).or_default().push(place);
                }
            }
        }
        scrapers
    }

    fn check_scrapers(&mut self) {
        let scrapers = self.scrapers();
        for (id, by) in &scrapers {
            let counted = by.iter().filter(|worker| self.workers[**worker].excused_until <= self.now).count();
            assert!(counted <= self.replicas, "{}: target {id} is scraped by {by:?}", self.now);
        }
        for id in self.truth.keys() {
            if !scrapers.contains_key(id) {
                self.lost_at.entry(*id).or_insert(self.now);
            } else if let Some(since) = self.lost_at.remove(id)
                && self.calm
            {
                self.longest_gap = self.longest_gap.max(self.now - since);
            }
        }
    }

    /// Everybody who runs is content: exactly the right targets, evenly spread.
    fn check_settled(&self) {
        // One that leaves takes nothing new, and keeps what nobody else can take.
        let staying = self.workers.iter().filter(|worker| worker.runs && !worker.draining).count();
        let scrapers = self.scrapers();
        let least = self.replicas.min(staying);
        for id in self.truth.keys() {
            let by = scrapers.get(id).map_or(0, Vec::len);
            assert!(by >= least, "{}: scrapers of target {id}: {:?}", self.now, scrapers.get(id));
        }
        let strays: Vec<_> = scrapers.keys().filter(|id| !self.truth.contains_key(id)).collect();
        assert!(strays.is_empty(), "scraped though they are gone: {strays:?}");
        let master = &self.masters[self.leader.expect("somebody leads")];
        let counts = master.target_counts();
        assert_eq!((counts.queued, counts.moving, counts.outside), (0, 0, 0));
        let load = |worker: &SimWorker| worker.held.iter().map(|id| series(*id)).sum::<u64>() as f64;
        let staying = self.workers.iter().filter(|worker| worker.runs && !worker.draining);
        let loads: Vec<f64> = staying.map(load).collect();
        let mean = loads.iter().sum::<f64>() / loads.len() as f64;
        for load in &loads {
            let off = (load - mean).abs();
            assert!(off <= 0.1 * mean || off <= 3_000.0, "loads {loads:?}");
        }
    }
}

#[test]
fn scaling_out_and_in_leaves_no_gap_and_moves_little() {
    let mut world = World::new(1, 1, 2_000);
    for worker in 0..4 {
        world.start_worker(&format!("worker-{worker}"));
    }
    world.run_for(60_000);
    world.check_settled();
    world.calm = true;
    world.moved = 0;
    for worker in 4..16 {
        world.start_worker(&format!("worker-{worker}"));
    }
    world.run_for(60_000);
    world.check_settled();
    assert!(world.moved <= 1_500 + 150, "{} of 2000 targets moved", world.moved);
    world.moved = 0;
    let leaving = (3..16).map(|worker| world.workers[worker].held.len() as u64).sum::<u64>();
    for worker in 3..16 {
        world.workers[worker].draining = true;
        if let Some(link) = world.workers[worker].link {
            world.tell_master(link, from_worker::Kind::Leaving(Leaving { grace_millis: 60_000 }));
        }
    }
    world.run_for(60_000);
    world.check_settled();
    assert!(world.workers[3..].iter().all(|worker| !worker.runs), "who has given all away ends");
    assert!(world.moved <= leaving + leaving / 10, "{} targets moved, {leaving} had to", world.moved);
    // A released target is without scraper for two messages' time.
    assert!(world.longest_gap <= 3 * world.max_delay, "a gap of {} ms", world.longest_gap);
    let store: Vec<&str> = world.store.keys().map(|name| &**name).collect();
    assert_eq!(store, ["worker-0", "worker-1", "worker-2"]);
}

#[test]
fn a_dead_workers_targets_move_after_the_lease() {
    let mut world = World::new(2, 1, 400);
    (0..4).for_each(|worker| {
        world.start_worker(&format!("worker-{worker}"));
    });
    world.run_for(30_000);
    world.check_settled();
    world.kill(1);
    world.run_for(LEASE - 3_000);
    assert!(world.scrapers().len() < 400, "nothing moves before the lease is over");
    world.run_for(8_000);
    world.check_settled();
}

#[test]
fn a_restart_within_the_lease_moves_nothing() {
    let mut world = World::new(3, 1, 400);
    (0..4).for_each(|worker| {
        world.start_worker(&format!("worker-{worker}"));
    });
    world.run_for(30_000);
    let before: Vec<_> = world.workers.iter().map(|worker| worker.held.clone()).collect();
    for (worker, with_disk) in [(0, true), (1, false)] {
        world.kill(worker);
        world.at(4_000, Happening::Restart { worker, with_disk });
    }
    world.run_for(30_000);
    world.check_settled();
    let after: Vec<_> = world.workers.iter().map(|worker| worker.held.clone()).collect();
    assert_eq!(before, after);
}

#[test]
fn a_worker_that_is_cut_off_but_alive_keeps_its_targets() {
    let mut world = World::new(4, 1, 400);
    (0..4).for_each(|worker| {
        world.start_worker(&format!("worker-{worker}"));
    });
    world.run_for(30_000);
    let before = world.workers[2].held.clone();
    world.workers[2].cut_until = world.now + 60_000;
    world.break_link(2);
    world.run_for(50_000);
    assert_eq!(world.workers[2].held, before);
    let view = world.masters[0].workers(world.now);
    assert_eq!(view[2].state, super::WorkerState::Unreachable);
    // What goes meanwhile it stops scraping when it is back.
    let gone: Vec<u64> = before.iter().copied().take(5).collect();
    world.discover([], gone);
    world.run_for(60_000);
    world.check_settled();
}

#[test]
fn when_most_workers_are_gone_at_once_nothing_moves_for_a_while() {
    let mut world = World::new(5, 1, 400);
    (0..4).for_each(|worker| {
        world.start_worker(&format!("worker-{worker}"));
    });
    world.run_for(30_000);
    let before = world.workers[0].held.clone();
    (1..4).for_each(|worker| world.kill(worker));
    world.run_for(3 * LEASE);
    assert_eq!(world.workers[0].held, before, "it may be the master that is cut off");
    world.run_for(4 * LEASE);
    world.check_settled();
}

#[test]
fn a_new_leader_moves_nothing_and_begins_when_it_has_heard_everybody() {
    let mut world = World::new(6, 1, 400);
    (0..4).for_each(|worker| {
        world.start_worker(&format!("worker-{worker}"));
    });
    world.run_for(30_000);
    world.moved = 0;
    let before: Vec<_> = world.workers.iter().map(|worker| worker.held.clone()).collect();
    for _ in 0..3 {
        world.depose();
        world.run_for(40_000);
        world.check_settled();
    }
    let after: Vec<_> = world.workers.iter().map(|worker| worker.held.clone()).collect();
    assert_eq!((before, 0), (after, world.moved));
}

#[test]
fn a_second_process_with_a_living_workers_name_is_sent_away() {
    let mut world = World::new(7, 1, 40);
    world.start_worker("one");
    world.run_for(20_000);
    world.start_worker("one");
    world.run_for(60_000);
    assert_eq!((world.workers[0].held.len(), world.workers[1].held.len()), (40, 0));
}

/// Everything that can go wrong, except what nobody could know: that a worker lives which neither has a stream nor
/// answers.
fn chaos(seed: u64, replicas: usize) {
    let mut world = World::new(seed, replicas, 120);
    let mut names = 0;
    for _ in 0..3 + seed % 4 {
        world.start_worker(&format!("worker-{names}"));
        names += 1;
    }
    let mut next_id = 1_000;
    for _ in 0..60 {
        let pause = world.dice.below(8_000);
        world.run_for(pause);
        let count = world.workers.len() as u64;
        let worker = world.dice.below(count) as usize;
        match world.dice.below(12) {
            0 | 1 => world.break_link(worker),
            2 => {
                world.break_link(worker);
                world.workers[worker].cut_until = world.now + world.dice.below(4 * LEASE);
            }
            3 if world.workers[worker].runs => {
                // One that was cut off before may be taken for dead before it is back; its disk would be outdated.
                // One that was leaving is not waited for.
                let was_heard = world.workers[worker].welcomed && !world.workers[worker].draining;
                world.kill(worker);
                let delay = world.dice.below(LEASE / 2);
                let with_disk = was_heard && world.dice.one_in(2);
                world.at(delay, Happening::Restart { worker, with_disk });
            }
            4 if world.workers[worker].runs && world.workers.iter().filter(|w| w.runs).count() > 2 => {
                world.kill(worker);
            }
            5 => world.depose(),
            6 => {
                world.start_worker(&format!("worker-{names}"));
                names += 1;
            }
            7 if world.workers[worker].runs && !world.workers[worker].draining => {
                world.workers[worker].draining = true;
                if let Some(link) = world.workers[worker].link {
                    let leaving = Leaving { grace_millis: 60_000 };
                    world.tell_master(link, from_worker::Kind::Leaving(leaving));
                }
            }
            8..=10 => {
                let added: Vec<u64> = (next_id..next_id + world.dice.below(10)).collect();
                next_id += 10;
                let ids: Vec<u64> = world.truth.keys().copied().collect();
                let removed: Vec<u64> = ids.into_iter().filter(|_| world.dice.one_in(20)).collect();
                // Some come back, perhaps before anybody has noticed that they were gone.
                let back: Vec<u64> = removed.iter().copied().filter(|_| world.dice.one_in(3)).collect();
                world.discover(added, removed);
                let pause = world.dice.below(3_000);
                world.run_for(pause);
                world.discover(back, []);
            }
            _ => {}
        }
    }
    world.workers.iter_mut().for_each(|worker| worker.cut_until = 0);
    if world.leader.is_none() {
        world.run_for(6_000);
    }
    if !world.workers.iter().any(|worker| worker.runs && !worker.draining) {
        world.start_worker("last");
    }
    world.run_for(12 * LEASE);
    world.check_settled();
}

#[test]
fn whatever_happens_no_target_is_scraped_twice_or_forgotten() {
    for seed in 0..24 {
        chaos(seed, 1);
    }
}

#[test]
fn replicas_survive_whatever_happens() {
    for seed in 100..112 {
        chaos(seed, 2);
    }
}

/// A leader with one worker that holds nothing; gives what the worker is told from now on.
fn one_worker(fleet: &mut Fleet, held: Vec<u64>) -> Vec<from_master::Kind> {
    fleet.step(0, FleetEvent::Elected { epoch: 1, offset_seed: 1, known: Vec::new() });
    let session = SessionId(1);
    let held = vec![TargetIds { job: JOB.to_owned(), ids: held }];
    let hello = Hello { worker: "w".to_owned(), protocol_min: 1, protocol_max: 1, held, ..Hello::default() };
    fleet.step(0, FleetEvent::Connected { session, hello });
    fleet.step(0, FleetEvent::Recorded { worker: "w".into() });
    fleet.step(3_000, FleetEvent::Tick);
    told(fleet)
}

fn told(fleet: &mut Fleet) -> Vec<from_master::Kind> {
    let mut kinds = Vec::new();
    while let Some(next) = fleet.next_message(SessionId(1), 0) {
        kinds.extend(next.build(0, |_, _| Vec::new(), |_| Vec::new()).kind);
    }
    kinds
}

fn assigned(kinds: &[from_master::Kind]) -> Vec<u64> {
    let assigns = kinds.iter().filter_map(|kind| match kind {
        from_master::Kind::Assign(assign) => Some(assign.targets.iter().map(|target| target.id)),
        _ => None,
    });
    let mut ids: Vec<u64> = assigns.flatten().collect();
    ids.sort_unstable();
    ids
}

fn removed(kinds: &[from_master::Kind]) -> Vec<u64> {
    let removes = kinds.iter().filter_map(|kind| match kind {
        from_master::Kind::Remove(remove) => Some(remove.targets.iter().flat_map(|ids| ids.ids.clone())),
        _ => None,
    });
    let mut ids: Vec<u64> = removes.flatten().collect();
    ids.sort_unstable();
    ids
}

fn found(ids: &[u64]) -> FleetEvent {
    let added = ids.iter().map(|id| target(*id)).collect();
    let delta = TargetDelta { job: JOB.into(), added, ..TargetDelta::default() };
    FleetEvent::Targets { delta, age: 0 }
}

#[test]
fn targets_from_the_disk_are_served_until_discovery_is_done() {
    let mut fleet = Fleet::new(options("a", 1));
    fleet.step(0, FleetEvent::Recalled(vec![target(1), target(2), target(3)]));
    assert_eq!(assigned(&one_worker(&mut fleet, Vec::new())), [1, 2, 3]);
    fleet.step(11_000, found(&[2, 4]));
    let kinds = told(&mut fleet);
    assert_eq!((assigned(&kinds), removed(&kinds)), (vec![4], vec![]), "discovery is not done");
    fleet.step(12_000, FleetEvent::JobSynced(JOB.into()));
    let kinds = told(&mut fleet);
    assert_eq!((assigned(&kinds), removed(&kinds)), (vec![], vec![1, 3]));
}

#[test]
fn what_a_worker_scrapes_and_nobody_knows_goes_when_discovery_is_done() {
    let mut fleet = Fleet::new(options("a", 1));
    let kinds = one_worker(&mut fleet, vec![1, 2, 3]);
    assert_eq!((assigned(&kinds), removed(&kinds)), (vec![], vec![]));
    fleet.step(11_000, found(&[2, 3]));
    assert_eq!(told(&mut fleet), [], "it scrapes them already");
    assert_eq!(fleet.owners(JOB, TargetId(2)), ["w".into()]);
    fleet.step(12_000, FleetEvent::JobSynced(JOB.into()));
    assert_eq!(removed(&told(&mut fleet)), [1]);
    // Discovery ends with the leadership, say: what it knows is not all there is any more.
    fleet.step(13_000, FleetEvent::DiscoverySuspended);
    fleet.step(14_000, FleetEvent::Deposed { leader: None });
    assert_eq!(removed(&one_worker(&mut fleet, vec![2, 3, 9])), Vec::<u64>::new());
}

#[test]
fn a_job_that_is_not_configured_any_more_takes_its_targets_along() {
    let mut fleet = Fleet::new(options("a", 1));
    fleet.step(0, FleetEvent::Recalled(vec![target(1)]));
    one_worker(&mut fleet, Vec::new());
    fleet.step(11_000, FleetEvent::Configured(Box::default()));
    assert_eq!(removed(&told(&mut fleet)), [1]);
    assert_eq!(fleet.target_counts().assigned, 0);
}

#[test]
fn the_markers_of_a_target_that_went_with_its_worker_are_written_by_another() {
    let mut world = World::new(8, 1, 60);
    (0..3).for_each(|worker| {
        world.start_worker(&format!("worker-{worker}"));
    });
    world.run_for(30_000);
    world.kill(0);
    let gone: Vec<u64> = world.workers[0].held.iter().copied().take(3).collect();
    world.run_for(2_000);
    world.discover([], gone.clone());
    world.run_for(30_000);
    assert_eq!(world.buried, gone.into_iter().collect());
    world.check_settled();
}
