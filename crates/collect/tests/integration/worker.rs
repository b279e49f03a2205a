//! Workers and scripted masters over real streams, in real time.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use outrigger_collect::batch::SampleSink;
use outrigger_collect::remote_write::{QueueBounds, RemoteWrite, RemoteWriteOptions};
use outrigger_collect::scrape::{EngineOptions, ScrapeEngine};
use outrigger_collect::worker::{Worker, WorkerOptions};
use outrigger_model::clock::{SharedClock, SystemClock};
use outrigger_model::http::HttpClientConfig;
use outrigger_model::labels::Labels;
use outrigger_model::sample::is_stale_nan;
use outrigger_model::target::{HistogramOptions, ScrapeTarget, TargetId};
use outrigger_rt::grpc::{DuplexReceiver, Tokens, duplex_service};
use outrigger_rt::metrics::Registry;
use outrigger_rt::server::{Server, ServerConfig};
use outrigger_storage::sealed::Key;
use outrigger_wire::centre::{
    AssignBuilder, Beat, Configuration, File, FromMaster, FromWorker, Hello, Inheritance, JobConfiguration,
    KEEP_PATH, RejectReason, Rejected, Release, Released, Remove, TargetIds, WORK_PATH, Welcome,
    WorkerStatus, from_master, from_worker,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::servers::text;
use crate::world::{MakeAnswer, Recorder, Script, metric, resolver, until};

const INTERVAL: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(20);

/// A master that does what the test says.
struct Master {
    url: String,
    streams: mpsc::UnboundedReceiver<Stream>,
    _serving: DropGuard,
}

/// A stream of a worker, as the master sees it.
struct Stream {
    from: DuplexReceiver<FromWorker>,
    to: mpsc::Sender<FromMaster>,
    hello: Hello,
    /// The last heartbeat's.
    status: WorkerStatus,
    /// Answers heartbeats.
    leading: Option<bool>,
}

impl Master {
    async fn new() -> Self {
        let (sender, streams) = mpsc::unbounded_channel();
        let service = duplex_service(WORK_PATH, Tokens::default(), move |_, from, to| {
            let sender = sender.clone();
            async move {
                let closed = to.clone();
                let stream = Stream {
                    from,
                    to,
                    hello: Hello::default(),
                    status: WorkerStatus::default(),
                    leading: Some(true),
                };
                let _ = sender.send(stream);
                closed.closed().await;
            }
            .boxed()
        });
        let server = Server::bind(ServerConfig::new("127.0.0.1:0".parse().unwrap())).await.unwrap();
        let url = format!("http://{}", server.address());
        let stop = CancellationToken::new();
        tokio::spawn(server.serve(service, stop.clone()));
        Self { url, streams, _serving: stop.drop_guard() }
    }

    /// The next stream, greeted.
    async fn stream(&mut self) -> Stream {
        let stream = tokio::time::timeout(PATIENCE, self.streams.recv()).await;
        let mut stream = stream.expect("a worker connects").unwrap();
        match stream.next().await {
            Some(from_worker::Kind::Hello(hello)) => stream.hello = hello,
            other => panic!("{other:?} before Hello"),
        }
        stream
    }

    /// A worker that has joined in this epoch.
    async fn join(&mut self, epoch: u64) -> Stream {
        let mut stream = self.stream().await;
        stream.welcome(epoch).await;
        stream
    }
}

impl Stream {
    /// The next message; `None` at the end of the stream.
    async fn next(&mut self) -> Option<from_worker::Kind> {
        let message =
            tokio::time::timeout(PATIENCE, self.from.next()).await.expect("the worker says something");
        message.ok().flatten()?.kind
    }

    async fn send(&self, kind: from_master::Kind) {
        let _ = self.to.send(FromMaster { kind: Some(kind) }).await;
    }

    async fn welcome(&mut self, epoch: u64) {
        let welcome = Welcome {
            epoch,
            master: "m".into(),
            protocol: 1,
            lease_millis: 10_000,
            offset_seed: 7,
            ..Welcome::default()
        };
        self.send(from_master::Kind::Welcome(welcome)).await;
    }

    /// Waits for a message for which `wanted` gives something; answers heartbeats meanwhile.
    async fn expect<T>(&mut self, what: &str, mut wanted: impl FnMut(&from_worker::Kind) -> Option<T>) -> T {
        let waiting = async {
            loop {
                let Some(kind) = self.next().await else { panic!("the stream ended before {what}") };
                if let from_worker::Kind::Heartbeat(heartbeat) = &kind {
                    self.status = heartbeat.status.clone().unwrap_or_default();
                    if let Some(leading) = self.leading {
                        let beat = Beat {
                            sequence: heartbeat.sequence,
                            worker_millis: heartbeat.now_millis,
                            now_millis: heartbeat.now_millis + 600_000,
                            leading,
                        };
                        self.send(from_master::Kind::Beat(beat)).await;
                    }
                }
                if let Some(found) = wanted(&kind) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }

    async fn applied(&mut self, revision: u64) {
        self.expect("Applied", |kind| match kind {
            from_worker::Kind::Applied(applied) if applied.revision >= revision => Some(()),
            _ => None,
        })
        .await;
    }

    async fn released(&mut self) -> Released {
        self.expect("Released", |kind| match kind {
            from_worker::Kind::Released(released) => Some(released.clone()),
            _ => None,
        })
        .await
    }

    async fn configure(&self, revision: u64, jobs: &[&str]) {
        let jobs = jobs.iter().map(|job| JobConfiguration {
            job: (*job).to_owned(),
            yaml: format!("{{job_name: {job}, scrape_interval: 200ms, scrape_timeout: 200ms}}"),
        });
        let configuration = Configuration {
            revision,
            complete: true,
            base: Some(String::new()),
            jobs: jobs.collect(),
            ..Configuration::default()
        };
        self.send(from_master::Kind::Configuration(configuration)).await;
    }

    async fn assign(&mut self, revision: u64, target: &ScrapeTarget, inheritance: Option<Inheritance>) {
        let mut builder = AssignBuilder::default();
        builder.push(target, inheritance);
        self.send(from_master::Kind::Assign(builder.build(revision))).await;
        self.applied(revision).await;
    }

    async fn release(&self, request: u64, ids: &[u64]) {
        let targets = vec![TargetIds { job: "job".into(), ids: ids.to_vec() }];
        self.send(from_master::Kind::Release(Release { request, targets })).await;
    }

    fn held(&self) -> Vec<u64> {
        let mut held: Vec<u64> = self.hello.held.iter().flat_map(|ids| ids.ids.clone()).collect();
        held.sort_unstable();
        held
    }
}

/// A worker in a process of its own, as far as it can tell.
struct Process {
    worker: Worker,
    sink: Arc<Recorder>,
    registry: Registry,
    stop: CancellationToken,
    running: Option<JoinHandle<()>>,
}

impl Process {
    fn start(masters: &[&Master], data_dir: Option<&Path>) -> Self {
        Self::with(masters, data_dir, None)
    }

    fn with(masters: &[&Master], data_dir: Option<&Path>, key: Option<Arc<Key>>) -> Self {
        let clock: SharedClock = Arc::new(SystemClock);
        let registry = Registry::new();
        let sink = Arc::new(Recorder::default());
        let engine = ScrapeEngine::new(EngineOptions {
            clock: Arc::clone(&clock),
            registry: registry.clone(),
            resolver: resolver(),
            sink: Arc::clone(&sink) as Arc<dyn SampleSink>,
            user_agent: "Outrigger/test".into(),
            offset_seed: 0,
            max_body_bytes: 1 << 20,
            body_budget_bytes: 1 << 20,
            drain_deadline: Duration::from_secs(5),
            log_period: Duration::from_secs(60),
        });
        let remote_write = RemoteWrite::new(
            &[],
            &Labels::empty(),
            QueueBounds { memory_bytes: 1 << 20, disk_bytes: 0 },
            RemoteWriteOptions {
                clock: Arc::clone(&clock),
                registry: registry.clone(),
                resolver: resolver(),
                user_agent: "Outrigger/test".into(),
                directory: None,
                flush_deadline: Duration::ZERO,
                log_period: Duration::from_secs(60),
            },
        );
        let worker = Worker::build(WorkerOptions {
            name: "w".into(),
            version: "0".into(),
            zone: "z".into(),
            weight: 2.0,
            advertise: String::new(),
            masters: masters.iter().map(|master| master.url.clone()).collect(),
            client: HttpClientConfig::default(),
            user_agent: "outrigger-worker/test".into(),
            data_dir: data_dir.map(Path::to_owned),
            key,
            clock,
            registry: registry.clone(),
            resolver: resolver(),
            engine,
            remote_write: Arc::new(remote_write.unwrap()),
            leave_grace: Duration::from_secs(15),
            log_period: Duration::from_secs(60),
        })
        .unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn({
            let (worker, stop) = (worker.clone(), stop.clone());
            async move { worker.run(stop).await }
        });
        Self { worker, sink, registry, stop, running: Some(running) }
    }

    /// Waits until what is known is on disk.
    async fn saved(&self) {
        until("it is saved", || !self.worker.status().unsaved).await;
    }

    async fn ended(&mut self) {
        if let Some(running) = self.running.take() {
            tokio::time::timeout(PATIENCE, running).await.expect("it ends").unwrap();
        }
    }

    async fn stop(&mut self) {
        self.stop.cancel();
        self.ended().await;
    }

    /// Ends it at once, as `kill -9` does.
    async fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
            let _ = running.await;
        }
    }

    fn metric(&self, series: &str) -> f64 {
        metric(&self.registry, series)
    }

    /// Names of the series that got stale markers so far.
    fn markers(&self) -> Vec<String> {
        let batches = self.sink.take();
        let samples = batches.iter().flat_map(|batch| &batch.samples);
        let stale = samples.filter(|(_, sample)| is_stale_nan(sample.value));
        stale.map(|(labels, _)| labels.get("__name__").unwrap_or_default().to_owned()).collect()
    }
}

fn target(id: u64, url: String) -> ScrapeTarget {
    ScrapeTarget {
        id: TargetId(id),
        job: "job".into(),
        url,
        labels: Labels::from_pairs([("instance", "i"), ("job", "job")]),
        interval: INTERVAL,
        timeout: INTERVAL,
        histograms: HistogramOptions::default(),
    }
}

/// A target that says how often it was scraped.
async fn counting(body: &'static str) -> (Script, Arc<AtomicU32>) {
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    let answer: MakeAnswer = Box::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        text(body)
    });
    (Script::new(vec![answer]).await, count)
}

async fn scraped_again(count: &AtomicU32) {
    let before = count.load(Ordering::SeqCst);
    until("it is scraped again", || count.load(Ordering::SeqCst) > before + 1).await;
}

#[tokio::test]
async fn a_worker_scrapes_what_it_is_assigned_and_hands_it_over() {
    let mut master = Master::new().await;
    let (script, count) = counting("a 1\n").await;
    let mut process = Process::start(&[&master], None);
    let mut stream = master.join(3).await;
    let hello = &stream.hello;
    assert_eq!((hello.worker.as_str(), hello.zone.as_str(), hello.weight), ("w", "z", 2.0));
    assert!(hello.from_disk && hello.held.is_empty() && hello.instance != 0);
    // The target comes before its job.
    stream.assign(1, &target(1, script.url()), None).await;
    stream.configure(4, &["job"]).await;
    scraped_again(&count).await;
    let status = process.worker.status();
    assert_eq!(status.master.map(|master| (master.name, master.epoch)), Some(("m".into(), 3)));

    stream
        .expect("the costs", |kind| match kind {
            from_worker::Kind::Costs(costs) => {
                let job = &costs.jobs[0];
                assert_eq!((job.job.as_str(), &job.ids[..], &job.series[..]), ("job", &[1][..], &[1][..]));
                assert_eq!(job.body_bytes, [4]);
                (!job.series_sets[0].is_empty()).then_some(())
            }
            _ => None,
        })
        .await;
    stream.release(8, &[1, 2]).await;
    let mut told = Vec::new();
    while told.len() < 2 {
        let released = stream.released().await;
        assert_eq!(released.request, 8);
        told.extend(released.targets);
    }
    told.sort_by_key(|target| target.id);
    let left = told[0].inheritance.clone().expect("it was scraped");
    assert!(left.last_scrape_millis > 0 && !left.series.is_empty());
    assert_eq!(told[1].inheritance, None);
    let before = count.load(Ordering::SeqCst);
    tokio::time::sleep(3 * INTERVAL).await;
    assert_eq!(count.load(Ordering::SeqCst), before, "released is not scraped");
    assert_eq!(process.markers(), [""; 0]);

    // It comes back, and goes for good.
    stream.assign(2, &target(1, script.url()), Some(left)).await;
    scraped_again(&count).await;
    let gone =
        Remove { revision: 3, targets: vec![TargetIds { job: "job".into(), ids: vec![1] }], orphans: None };
    stream.send(from_master::Kind::Remove(gone)).await;
    stream.applied(3).await;
    until("its markers are written", || process.metric("outrigger_scrape_stale_markers_total") == 6.0).await;
    assert_eq!(process.metric("outrigger_worker_targets_adopted_total{inherited=\"true\"}"), 1.0);
    assert_eq!(process.metric("outrigger_worker_targets_handed_over_total"), 2.0);
    until("the clock is measured", || process.worker.status().clock_offset_millis.is_some()).await;
    assert_eq!(process.metric("outrigger_worker_clock_offset_seconds").round(), 600.0);
    process.stop().await;
}

#[tokio::test]
async fn a_worker_goes_on_from_its_disk_when_everything_else_is_down() {
    let directory = tempfile::tempdir().unwrap();
    let (script, count) = counting("a 1\n").await;
    let key = || Some(Arc::new(Key::parse(&"ab".repeat(32)).unwrap()));
    {
        let mut master = Master::new().await;
        let mut process = Process::with(&[&master], Some(directory.path()), key());
        let mut stream = master.join(5).await;
        stream.configure(4, &["job"]).await;
        stream.assign(1, &target(1, script.url()), None).await;
        process.saved().await;
        process.kill().await;
    }
    let state = std::fs::read(directory.path().join("worker.state")).unwrap();
    assert!(!String::from_utf8_lossy(&state).contains("job_name"));

    // No master at all: everything is as it was.
    let nobody = Master::new().await;
    let mut gone = Master::new().await;
    gone.url = "http://127.0.0.1:1".into();
    let mut process = Process::with(&[&gone], Some(directory.path()), key());
    scraped_again(&count).await;
    let status = process.worker.status();
    assert!(status.from_disk && status.heard.is_some() && status.master.is_none());
    assert_eq!((status.epoch, status.revision_in_force, status.targets), (5, 4, 1));
    process.stop().await;
    drop(nobody);

    // A restart in good order remembers the last scrape, too; and a master hears what is held.
    let mut master = Master::new().await;
    let mut process = Process::with(&[&master], Some(directory.path()), key());
    let mut stream = master.stream().await;
    assert_eq!((stream.held(), stream.hello.from_disk, stream.hello.epoch), (vec![1], true, 5));
    // A leader of the past is not obeyed.
    stream.welcome(4).await;
    assert!(stream.next().await.is_none());
    assert!(process.worker.status().last_error.unwrap().1.contains("epoch 4"));
    let mut stream = master.join(6).await;
    stream.release(1, &[1]).await;
    let released = stream.released().await;
    assert!(released.targets[0].inheritance.is_some());
    process.kill().await;
}

#[tokio::test]
async fn files_that_cannot_be_used_are_set_aside_and_said() {
    let (script, _) = counting("a 1\n").await;
    let key = |digit: &str| Some(Arc::new(Key::parse(&digit.repeat(64)).unwrap()));
    for (name, trouble) in [("another key", "wrong_key"), ("cut", "damaged"), ("newer", "newer")] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("worker.state");
        let mut master = Master::new().await;
        let mut process = Process::with(&[&master], Some(directory.path()), key("a"));
        let mut stream = master.join(1).await;
        stream.configure(1, &["job"]).await;
        stream.assign(1, &target(1, script.url()), None).await;
        process.saved().await;
        process.kill().await;
        let mut bytes = std::fs::read(&file).unwrap();
        match name {
            "cut" => bytes.truncate(bytes.len() / 2),
            "newer" => bytes[8] += 1,
            _ => {}
        }
        std::fs::write(&file, bytes).unwrap();
        let mut process = Process::with(
            &[&master],
            Some(directory.path()),
            key(if name == "another key" { "b" } else { "a" }),
        );
        let series = "outrigger_worker_state_file_errors_total";
        let labels = format!("{{file=\"worker.state\",trouble=\"{trouble}\"}}");
        assert_eq!(process.metric(&format!("{series}{labels}")), 1.0, "{name}");
        assert!(directory.path().join("worker.state.unusable").exists());
        // It starts with nothing and works.
        let stream = master.join(1).await;
        assert_eq!(stream.held(), [0; 0]);
        stream.configure(1, &["job"]).await;
        process.saved().await;
        process.stop.cancel();
        drop(stream);
        process.kill().await;
    }
}

#[tokio::test]
async fn a_disk_that_takes_nothing_is_said_and_does_not_stop_the_worker() {
    let directory = tempfile::tempdir().unwrap();
    let (script, count) = counting("a 1\n").await;
    // Something stands where the file would be written.
    std::fs::create_dir(directory.path().join("worker.state.new")).unwrap();
    let mut master = Master::new().await;
    let mut process = Process::start(&[&master], Some(directory.path()));
    let mut stream = master.join(1).await;
    stream.configure(1, &["job"]).await;
    stream.assign(1, &target(1, script.url()), None).await;
    scraped_again(&count).await;
    until("the failure shows", || process.worker.status().save_error.is_some()).await;
    let error = process.worker.status().save_error.unwrap();
    assert!(error.contains("worker.state"), "{error}");
    let errors = "outrigger_worker_state_file_errors_total{file=\"worker.state\",trouble=\"failed\"}";
    assert!(process.metric(errors) >= 1.0);
    std::fs::remove_dir(directory.path().join("worker.state.new")).unwrap();
    until("it is written again", || process.worker.status().save_error.is_none()).await;
    process.saved().await;
    process.kill().await;
}

#[tokio::test]
async fn a_configuration_that_cannot_be_read_leaves_the_one_before_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let mut master = Master::new().await;
    let (script, count) = counting("a 1\n").await;
    let mut process = Process::start(&[&master], Some(directory.path()));
    let mut stream = master.join(1).await;
    stream.configure(1, &["job"]).await;
    stream.assign(1, &target(1, script.url()), None).await;
    let tomorrow = Configuration {
        revision: 2,
        jobs: vec![JobConfiguration {
            job: "new".into(),
            yaml: "{job_name: new, key_of_tomorrow: 1}".into(),
        }],
        ..Configuration::default()
    };
    stream.send(from_master::Kind::Configuration(tomorrow)).await;
    let status = stream
        .expect("the refusal", |kind| match kind {
            from_worker::Kind::Heartbeat(heartbeat) => {
                heartbeat.status.clone().filter(|status| !status.configuration_error.is_empty())
            }
            _ => None,
        })
        .await;
    assert!(status.configuration_error.contains("key_of_tomorrow"), "{}", status.configuration_error);
    assert_eq!(status.configuration_revision, 1);
    scraped_again(&count).await;
    process.saved().await;
    process.kill().await;

    // Also after a restart.
    let mut process = Process::start(&[&master], Some(directory.path()));
    let mut stream = master.join(1).await;
    assert_eq!(stream.hello.configuration_revision, 2);
    let status = process.worker.status();
    assert_eq!((status.revision, status.revision_in_force), (2, 1));
    assert!(status.configuration_error.contains("key_of_tomorrow"));
    assert_eq!(process.metric("outrigger_worker_configuration_refused"), 1.0);
    scraped_again(&count).await;
    // One that is understood again.
    stream.configure(3, &["job"]).await;
    until("it is in force", || process.worker.status().revision_in_force == 3).await;
    assert_eq!(process.worker.status().configuration_error, "");
    stream.leading = Some(false);
    process.kill().await;
}

#[tokio::test]
async fn the_leader_is_found_and_one_that_leads_no_longer_is_left() {
    let (mut first, mut second) = (Master::new().await, Master::new().await);
    let mut process = Process::start(&[&first], None);
    let stream = first.stream().await;
    let rejected = Rejected {
        reason: RejectReason::NotLeader.into(),
        message: "this master does not lead".into(),
        leader: second.url.clone(),
    };
    stream.send(from_master::Kind::Rejected(rejected)).await;
    let mut stream = second.join(1).await;
    while let Some(kind) = stream.next().await {
        if let from_worker::Kind::Heartbeat(heartbeat) = kind {
            let beat = Beat { sequence: heartbeat.sequence, leading: false, ..Beat::default() };
            stream.send(from_master::Kind::Beat(beat)).await;
        }
    }
    first.join(2).await;
    until("it has joined", || process.worker.status().epoch == 2).await;
    process.kill().await;
}

#[tokio::test]
async fn a_worker_that_ends_hands_everything_over_first() {
    let directory = tempfile::tempdir().unwrap();
    let mut master = Master::new().await;
    let (script, count) = counting("a 1\n").await;
    let mut process = Process::start(&[&master], Some(directory.path()));
    let mut stream = master.join(1).await;
    stream.configure(1, &["job"]).await;
    stream.assign(1, &target(1, script.url()), None).await;
    scraped_again(&count).await;
    process.stop.cancel();
    let grace = stream
        .expect("Leaving", |kind| match kind {
            from_worker::Kind::Leaving(leaving) => Some(leaving.grace_millis),
            _ => None,
        })
        .await;
    assert_eq!(grace, 15_000);
    scraped_again(&count).await;
    stream.release(1, &[1]).await;
    let released = stream.released().await;
    assert!(released.targets[0].inheritance.is_some());
    // It ends once the master is known to have heard that.
    let rest = async {
        while let Some(kind) = stream.next().await {
            if let from_worker::Kind::Heartbeat(heartbeat) = kind {
                let beat = Beat { sequence: heartbeat.sequence, leading: true, ..Beat::default() };
                stream.send(from_master::Kind::Beat(beat)).await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, rest).await.expect("the stream ends");
    process.ended().await;
    assert_eq!(process.markers(), [""; 0]);

    let mut process = Process::start(&[&master], Some(directory.path()));
    assert_eq!(master.join(1).await.held(), [0; 0]);
    // Without anything to hand over it ends at once.
    process.stop().await;
}

#[tokio::test]
async fn a_worker_that_nobody_relieves_says_when_it_scraped_last() {
    let mut master = Master::new().await;
    let (script, count) = counting("a 1\n").await;
    let mut process = Process::start(&[&master], None);
    let mut stream = master.join(1).await;
    stream.configure(1, &["job"]).await;
    stream.assign(1, &target(1, script.url()), None).await;
    scraped_again(&count).await;
    process.stop.cancel();
    // Nobody asks for the target.
    let farewell = stream.released().await;
    assert_eq!((farewell.request, farewell.targets.len()), (0, 1));
    let left = farewell.targets[0].inheritance.as_ref().unwrap();
    assert!(left.last_scrape_millis > 0 && !left.series.is_empty());
    let at_the_end = count.load(Ordering::SeqCst);
    while stream.next().await.is_some() {}
    drop(stream);
    process.ended().await;
    assert_eq!(count.load(Ordering::SeqCst), at_the_end, "it is not scraped after that word");
    assert_eq!(process.markers(), [""; 0]);
}

/// A target whose scrapes wait for permits.
async fn gated() -> (crate::servers::Server, Arc<tokio::sync::Semaphore>, Arc<AtomicU32>) {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let begun = Arc::new(AtomicU32::new(0));
    let (opened, counted) = (Arc::clone(&gate), Arc::clone(&begun));
    let server = crate::servers::Server::start(move |_| {
        let gate = Arc::clone(&opened);
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            gate.acquire().await.unwrap().forget();
            text("a 1\n")
        }
    })
    .await;
    (server, gate, begun)
}

#[tokio::test]
async fn a_hand_over_that_is_broken_off_leaves_the_target_where_it_is() {
    let mut master = Master::new().await;
    let (server, gate, begun) = gated().await;
    let mut process = Process::start(&[&master], None);
    let mut stream = master.join(1).await;
    let job = JobConfiguration {
        job: "job".into(),
        yaml: "{job_name: job, scrape_interval: 20s, scrape_timeout: 20s}".into(),
    };
    let configuration =
        Configuration { revision: 1, complete: true, jobs: vec![job], ..Configuration::default() };
    stream.send(from_master::Kind::Configuration(configuration)).await;
    // Its tick is now: the last scrape was one interval ago.
    let slow = ScrapeTarget {
        interval: Duration::from_secs(20),
        timeout: Duration::from_secs(20),
        ..target(1, server.url("/"))
    };
    let now = outrigger_model::clock::Clock::now(&SystemClock).millis();
    let inheritance =
        Inheritance { last_scrape_millis: now - 20_000, last_scrape_age_millis: 20_000, series: Vec::new() };
    stream.assign(1, &slow, Some(inheritance)).await;
    until("its scrape is under way", || begun.load(Ordering::SeqCst) == 1).await;
    stream.release(5, &[1]).await;
    // The master has sent that, and is gone before the scrape ends.
    until("it is released", || process.worker.status().targets == 0).await;
    drop(stream);
    let mut stream = master.join(1).await;
    assert_eq!(stream.held(), [1], "held until the scrape ends, and then again");
    gate.add_permits(100);
    until("it is taken back", || process.worker.status().targets == 1).await;
    assert_eq!(process.metric("outrigger_worker_targets_taken_back_total"), 1.0);

    // What was told is told again to a master that may not have heard it.
    stream.release(6, &[1]).await;
    stream.leading = None;
    assert_eq!(stream.released().await.request, 6);
    drop(stream);
    let mut stream = master.stream().await;
    assert_eq!(stream.held(), [0; 0]);
    let again = stream.released().await;
    assert_eq!((again.request, again.targets.len()), (0, 1));
    assert!(again.targets[0].inheritance.as_ref().unwrap().last_scrape_millis >= now);
    stream.welcome(1).await;
    stream.expect("a heartbeat", |kind| matches!(kind, from_worker::Kind::Heartbeat(_)).then_some(())).await;
    process.kill().await;
}

#[tokio::test]
async fn contents_of_the_masters_files_are_used() {
    let mut master = Master::new().await;
    let script = Script::bodies(&["a 1\n"]).await;
    let mut process = Process::start(&[&master], None);
    let mut stream = master.join(1).await;
    let configuration = |revision, token: &str| {
        from_master::Kind::Configuration(Configuration {
            revision,
            complete: revision == 1,
            jobs: vec![JobConfiguration {
                job: "job".into(),
                yaml: "{job_name: job, scrape_interval: 200ms, scrape_timeout: 200ms, authorization: \
                       {credentials_file: token}}"
                    .into(),
            }],
            directory: "/no/such".into(),
            files: vec![File { path: "/no/such/token".into(), contents: token.into(), missing: false }],
            ..Configuration::default()
        })
    };
    stream.send(configuration(1, "t0\n")).await;
    stream.assign(1, &target(1, script.url()), None).await;
    let seen = |token: &str| {
        let token = format!("Bearer {token}");
        script.requests.lock().iter().any(|headers| headers.get("authorization") == Some(&token))
    };
    until("the token is used", || seen("t0")).await;
    stream.send(configuration(2, "t1")).await;
    until("the new one is used", || seen("t1")).await;
    assert!(script.requests.lock().iter().all(|headers| headers.contains_key("authorization")));
    process.kill().await;
}

#[tokio::test]
async fn series_that_vanish_during_a_restart_get_their_markers() {
    let directory = tempfile::tempdir().unwrap();
    let count = Arc::new(AtomicU32::new(0));
    let vanished = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (counted, gone) = (Arc::clone(&count), Arc::clone(&vanished));
    let answer: MakeAnswer = Box::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        text(if gone.load(Ordering::SeqCst) { "a 1\n" } else { "a 1\nb 1\n" })
    });
    let script = Script::new(vec![answer]).await;
    {
        let mut master = Master::new().await;
        let mut process = Process::start(&[&master], Some(directory.path()));
        let mut stream = master.join(1).await;
        stream.configure(1, &["job"]).await;
        stream.assign(1, &target(1, script.url()), None).await;
        scraped_again(&count).await;
        drop((stream, master));
        until("it has noticed", || process.worker.status().master.is_none()).await;
        scraped_again(&count).await;
        process.stop().await;
        assert_eq!(process.markers(), [""; 0]);
    }
    vanished.store(true, Ordering::SeqCst);
    let mut nobody = Master::new().await;
    nobody.url = "http://127.0.0.1:1".into();
    let mut process = Process::start(&[&nobody], Some(directory.path()));
    scraped_again(&count).await;
    scraped_again(&count).await;
    assert_eq!(process.markers(), ["b"]);
    // The times of last scrapes are good for one restart only.
    assert!(!directory.path().join("worker.series").exists());
    process.stop().await;
    assert!(directory.path().join("worker.series").exists());
}

/// A master that does not lead, and what a worker tells it.
async fn standby()
-> (String, mpsc::UnboundedReceiver<(DuplexReceiver<FromWorker>, mpsc::Sender<FromMaster>)>, DropGuard) {
    let (sender, streams) = mpsc::unbounded_channel();
    let keep = duplex_service(KEEP_PATH, Tokens::default(), move |_, from, to: mpsc::Sender<FromMaster>| {
        let sender = sender.clone();
        async move {
            let closed = to.clone();
            let _ = sender.send((from, to));
            closed.closed().await;
        }
        .boxed()
    });
    let server = Server::bind(ServerConfig::new("127.0.0.1:0".parse().unwrap())).await.unwrap();
    let url = format!("http://{}", server.address());
    let stop = CancellationToken::new();
    tokio::spawn(server.serve(keep, stop.clone()));
    (url, streams, stop.drop_guard())
}

#[tokio::test]
async fn masters_that_do_not_lead_are_told_what_heirs_need() {
    let (standby_url, mut streams, _serving) = standby().await;
    let mut leader = Master::new().await;
    let other = Master { url: standby_url.clone(), ..Master::new().await };
    let (script, count) = counting("a 1\nb 2\n").await;
    let mut process = Process::start(&[&leader, &other], None);
    let mut stream = leader.join(1).await;
    stream.configure(1, &["job"]).await;
    stream.assign(2, &target(1, script.url()), None).await;
    scraped_again(&count).await;
    let waiting = tokio::time::timeout(PATIENCE, streams.recv()).await;
    let (mut from, to) = waiting.expect("a stream to the standby").unwrap();
    let mut set = Vec::new();
    let mut heard_hello = false;
    while set.is_empty() {
        let message = tokio::time::timeout(PATIENCE, from.next()).await.expect("news");
        match message.unwrap().unwrap().kind {
            Some(from_worker::Kind::Hello(hello)) => {
                assert_eq!((hello.worker.as_str(), hello.held.len()), ("w", 0));
                heard_hello = true;
            }
            Some(from_worker::Kind::Costs(costs)) => {
                let job = costs.jobs.into_iter().find(|job| !job.series_sets.is_empty());
                set = job.map(|mut job| job.series_sets.remove(0)).unwrap_or_default();
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(heard_hello && process.worker.status().keepers == 1);
    // An heir that gets this marks what is gone.
    let inheritance = Inheritance { series: set, ..Inheritance::default() };
    let (changed, changed_count) = counting("a 1\n").await;
    stream.assign(3, &target(2, changed.url()), Some(inheritance)).await;
    scraped_again(&changed_count).await;
    until("the marker of b", || process.markers().contains(&"b".to_owned())).await;
    // One that is gone needs no heir.
    let targets = vec![TargetIds { job: "job".into(), ids: vec![1] }];
    stream.send(from_master::Kind::Remove(Remove { revision: 4, targets, orphans: None })).await;
    loop {
        let message = tokio::time::timeout(PATIENCE, from.next()).await.expect("news");
        if let Some(from_worker::Kind::Costs(costs)) = message.unwrap().unwrap().kind
            && costs.jobs.iter().any(|job| job.gone == [1])
        {
            break;
        }
    }
    // The leader goes and the other one says that it leads: the worker comes to it at once.
    drop((stream, leader));
    let leads = Rejected { reason: RejectReason::Leads.into(), ..Rejected::default() };
    let _ = to.send(FromMaster { kind: Some(from_master::Kind::Rejected(leads)) }).await;
    drop((from, to));
    until("it looks for another master", || process.worker.status().master.is_none()).await;
    process.stop().await;
}
