use futures_util::FutureExt as _;
use outrigger_model::clock::SystemClock;
use outrigger_model::http::{HttpAuth, HttpClientConfig};
use outrigger_model::labels::Labels;
use outrigger_model::secret::{Secret, SecretSource};
use outrigger_model::target::{HistogramOptions, ScrapeTarget};
use outrigger_rt::grpc::{GrpcChannel, GrpcOptions, TokenName, Tokens, duplex_service};
use outrigger_rt::resolver::ResolverOptions;
use outrigger_rt::server::{Server, ServerConfig, ServerLimits};
use outrigger_wire::centre::{
    Applied, Costs, Heartbeat, JobConfiguration, JobCosts, KEEP_PATH, Names, ResolvedName, TargetIds,
    WORK_PATH, WorkerStatus,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::DropGuard;

use crate::election::Election;
use crate::store::{Candidate, EmbeddedStore};

use super::super::WorkerState;
use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A master on loopback.
struct Master {
    fleet: FleetHandle,
    url: String,
    registry: Registry,
    store: Arc<dyn StateStore>,
    /// Until this is notified another one may lead.
    candidacy: Arc<Notify>,
    stop: CancellationToken,
    _stop: DropGuard,
}

/// A worker's end of a stream.
struct Stream {
    to: mpsc::Sender<FromWorker>,
    from: DuplexReceiver<FromMaster>,
}

fn resolver() -> Resolver {
    Resolver::new(ResolverOptions::default())
}

async fn master(directory: &std::path::Path, tokens: &[(&str, &str, &str)]) -> Master {
    let clock: SharedClock = Arc::new(SystemClock);
    let store: Arc<dyn StateStore> =
        Arc::new(EmbeddedStore::open(directory.join("state.redb"), clock).unwrap());
    let master = master_with(directory, tokens, store).await;
    master.lead().await;
    master
}

/// One of several masters with the same store.
async fn master_with(
    directory: &std::path::Path,
    tokens: &[(&str, &str, &str)],
    store: Arc<dyn StateStore>,
) -> Master {
    let clock: SharedClock = Arc::new(SystemClock);
    let candidate = Candidate { name: "a".into(), address: "http://a".into() };
    let election = Election::new(Arc::clone(&store), candidate, Duration::from_secs(10));
    let registry = Registry::new();
    let token_workers = tokens.iter().map(|(name, _, worker)| (Arc::from(*name), (*worker).to_owned()));
    let fleet = FleetHandle::new(FleetDriverOptions {
        fleet: FleetOptions {
            master: "a".to_owned(),
            version: "1.2.3".to_owned(),
            lease: Duration::from_secs(2),
            replication_factor: 1,
            settle: Duration::from_millis(100),
        },
        clock,
        registry: registry.clone(),
        resolver: resolver(),
        store: Arc::clone(&store),
        data_dir: Some(directory.to_owned()),
        key: None,
        probe: HttpClientConfig::default(),
        token_workers: token_workers.collect(),
        offset_seed: 77,
        scaling: ScalingLimits::default(),
    })
    .unwrap();
    let job = JobConfiguration { job: "pods".to_owned(), yaml: "job_name: pods".to_owned() };
    fleet.set_configuration(ConfigurationBundle { jobs: vec![job], ..ConfigurationBundle::default() });
    let accepted = tokens.iter().map(|(name, token, _)| {
        (TokenName(Arc::from(*name)), SecretSource::Inline(Secret::new((*token).to_owned())))
    });
    let (workers, keeper) = (fleet.clone(), fleet.clone());
    let tokens = Tokens::new(accepted);
    let keep = duplex_service(KEEP_PATH, tokens.clone(), move |peer, from, to| {
        let keeper = keeper.clone();
        async move { keeper.keep(peer, from, to).await }.boxed()
    });
    let service = duplex_service(WORK_PATH, tokens, move |peer, from, to| {
        let workers = workers.clone();
        async move { workers.serve(peer, from, to).await }.boxed()
    });
    let service = service.merge(keep);
    let listen = "127.0.0.1:0".parse().unwrap();
    let config = ServerConfig { limits: ServerLimits::for_streams(), ..ServerConfig::new(listen) };
    let server = Server::bind(config).await.unwrap();
    let url = format!("http://{}", server.address());
    let stop = CancellationToken::new();
    tokio::spawn(fleet.clone().run(election.standing(), election.handle(), stop.clone()));
    let (candidacy, stops) = (Arc::new(Notify::new()), stop.clone());
    let stands = Arc::clone(&candidacy);
    tokio::spawn(async move {
        stands.notified().await;
        election.run(stops).await;
    });
    tokio::spawn(server.serve(service, stop.clone()));
    Master { fleet, url, registry, store, candidacy, _stop: stop.clone().drop_guard(), stop }
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(PATIENCE, wait).await.is_ok(), "waited in vain for {what}");
}

fn hello(name: &str) -> Hello {
    Hello { worker: name.to_owned(), instance: 0xabc, protocol_min: 1, protocol_max: 1, ..Hello::default() }
}

impl Master {
    async fn lead(&self) {
        self.candidacy.notify_one();
        eventually("the election", || self.fleet.is_leading()).await;
    }

    /// Ends, and waits until the store has no leader.
    async fn resign(&self) {
        self.stop.cancel();
        let leaders = async || self.store.list("leader").await.unwrap().len();
        while leaders().await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn connect(&self, hello: Hello, token: Option<&str>) -> Stream {
        self.open(WORK_PATH, hello, token).await
    }

    async fn open(&self, path: &'static str, hello: Hello, token: Option<&str>) -> Stream {
        let auth = token.map(|token| HttpAuth::Authorization {
            scheme: "Bearer".to_owned(),
            credentials: Some(SecretSource::Inline(Secret::new(token.to_owned()))),
        });
        let config = HttpClientConfig { auth, ..HttpClientConfig::default() };
        let options = GrpcOptions::new(ClientOptions::new("test", "test", Blame::Us));
        let channel = GrpcChannel::new(&self.url, &config, options, resolver()).unwrap();
        let (to, from) = channel.duplex(path).await.unwrap();
        let mut stream = Stream { to, from };
        stream.say(from_worker::Kind::Hello(hello)).await;
        stream
    }

    fn discover(&self, ids: std::ops::Range<u64>) {
        self.fleet.sink().apply(TargetDelta {
            job: "pods".into(),
            added: ids.map(target).collect(),
            ..TargetDelta::default()
        });
    }
}

impl Stream {
    async fn say(&mut self, kind: from_worker::Kind) {
        self.to.send(FromWorker { kind: Some(kind) }).await.unwrap();
    }

    async fn hear(&mut self) -> from_master::Kind {
        let message = timeout(PATIENCE, self.from.next()).await.expect("a message in time");
        message.unwrap().expect("a message").kind.expect("a kind")
    }

    async fn rejected(&mut self) -> Rejected {
        match self.hear().await {
            from_master::Kind::Rejected(rejected) => rejected,
            other => panic!("{other:?}"),
        }
    }

    /// Hears until so many targets are assigned, and says that they are in force.
    async fn assigned(&mut self, number: usize) -> Vec<u64> {
        let mut ids = Vec::new();
        while ids.len() < number {
            if let from_master::Kind::Assign(assign) = self.hear().await {
                assert!(assign.targets.len() <= 2_000);
                ids.extend(assign.targets.iter().map(|target| target.id));
                self.say(from_worker::Kind::Applied(Applied { revision: assign.revision })).await;
            }
        }
        ids
    }
}

fn target(id: u64) -> Arc<ScrapeTarget> {
    Arc::new(ScrapeTarget {
        id: TargetId(id),
        job: "pods".into(),
        url: format!("http://10.0.0.1:{id}/metrics"),
        labels: Labels::from_pairs([("instance", "10.0.0.1")]),
        interval: Duration::from_secs(15),
        timeout: Duration::from_secs(10),
        histograms: HistogramOptions::default(),
    })
}

#[tokio::test]
async fn a_worker_gets_its_welcome_its_configuration_and_its_targets() {
    let directory = tempfile::tempdir().unwrap();
    let master = master(directory.path(), &[]).await;
    master.discover(0..5_000);
    let mut stream = master.connect(hello("w"), None).await;
    let from_master::Kind::Welcome(welcome) = stream.hear().await else { panic!("no welcome") };
    assert_eq!((welcome.offset_seed, welcome.lease_millis), (77, 2_000));
    assert!(welcome.epoch > 0 && welcome.now_millis > 0);
    let from_master::Kind::Configuration(configuration) = stream.hear().await else { panic!() };
    assert!(configuration.complete && configuration.jobs.len() == 1);
    assert_eq!(stream.assigned(5_000).await.len(), 5_000);
    let heartbeat = Heartbeat { sequence: 9, now_millis: 5, ..Heartbeat::default() };
    stream.say(from_worker::Kind::Heartbeat(heartbeat)).await;
    let from_master::Kind::Beat(beat) = stream.hear().await else { panic!() };
    assert_eq!((beat.sequence, beat.worker_millis, beat.leading), (9, 5, true));
    let registry = master.registry.clone();
    eventually("the delays of all assignments", || {
        registry.render().contains("outrigger_assignment_delay_seconds_count 5000")
    })
    .await;
    assert_eq!(master.fleet.owners("pods", TargetId(3)), ["w".into()]);
    let records = master.store.list("workers/").await.unwrap();
    assert_eq!(records.len(), 1, "the store knows that it exists");
}

#[tokio::test]
async fn a_token_of_one_worker_is_not_good_for_another() {
    let directory = tempfile::tempdir().unwrap();
    let tokens = [("tokens[0]", "t0p", "one"), ("tokens[1]", "t1p", "")];
    let master = master(directory.path(), &tokens).await;
    let mut stream = master.connect(hello("two"), Some("t0p")).await;
    let rejected = stream.rejected().await;
    assert_eq!(rejected.reason(), RejectReason::WrongName);
    assert!(rejected.message.contains("is for the worker one, not for two"), "{}", rejected.message);
    for (worker, token) in [("one", "t0p"), ("two", "t1p")] {
        let mut stream = master.connect(hello(worker), Some(token)).await;
        assert!(matches!(stream.hear().await, from_master::Kind::Welcome(_)));
    }
}

#[tokio::test]
async fn what_is_not_a_usable_hello_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let master = master(directory.path(), &[]).await;
    let cases = [
        (Hello { worker: String::new(), ..hello("") }, RejectReason::BadHello),
        (Hello { protocol_min: 9, protocol_max: 12, ..hello("w") }, RejectReason::Protocol),
    ];
    for (hello, reason) in cases {
        let mut stream = master.connect(hello, None).await;
        assert_eq!(stream.rejected().await.reason(), reason);
    }
    let mut first = master.connect(hello("w"), None).await;
    first.hear().await;
    let mut second = master.connect(Hello { instance: 2, ..hello("w") }, None).await;
    assert_eq!(second.rejected().await.reason(), RejectReason::NameTaken);
}

#[tokio::test]
async fn a_worker_that_obeyed_a_lost_leader_makes_this_one_raise_its_epoch() {
    let directory = tempfile::tempdir().unwrap();
    let master = master(directory.path(), &[]).await;
    const LATER: u64 = 4_000_000_000;
    let mut stream = master.connect(Hello { epoch: LATER, ..hello("w") }, None).await;
    assert_eq!(stream.rejected().await.reason(), RejectReason::Deposed);
    let raised = async {
        loop {
            let mut stream = master.connect(Hello { epoch: LATER, ..hello("w") }, None).await;
            if let from_master::Kind::Welcome(welcome) = stream.hear().await {
                return welcome.epoch;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let epoch = timeout(PATIENCE, raised).await.expect("a higher epoch in time");
    assert!(epoch > LATER, "{epoch}");
}

/// Answers as the worker `w` does where it is asked whether it lives.
async fn alive_endpoint() -> (String, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let dies = CancellationToken::new();
    let serve = async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.read(&mut [0; 4096]).await;
            let body = r#"{"worker":"w","instance":"0000000000000abc"}"#;
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    };
    tokio::spawn(dies.clone().run_until_cancelled_owned(serve));
    (url, dies)
}

#[tokio::test]
async fn a_worker_without_a_stream_keeps_its_targets_as_long_as_it_answers() {
    let directory = tempfile::tempdir().unwrap();
    let master = master(directory.path(), &[]).await;
    let (advertise, dies) = alive_endpoint().await;
    master.discover(0..10);
    let mut stream = master.connect(Hello { advertise, ..hello("w") }, None).await;
    stream.assigned(10).await;
    drop(stream);
    let fleet = master.fleet.clone();
    eventually("that it is unreachable", || fleet.workers()[0].state == WorkerState::Unreachable).await;
    assert_eq!(fleet.owners("pods", TargetId(3)), ["w".into()]);
    dies.cancel();
    eventually("its death", || fleet.workers().is_empty()).await;
    assert!(master.store.list("workers/").await.unwrap().is_empty());
    assert_eq!(fleet.target_counts().unassigned, 10);
}

#[tokio::test]
async fn a_worker_that_reads_nothing_loses_its_stream_and_delays_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let master = master(directory.path(), &[]).await;
    let slow = master.connect(hello("slow"), None).await;
    let mut quick = master.connect(hello("quick"), None).await;
    assert!(matches!(quick.hear().await, from_master::Kind::Welcome(_)));
    // More messages than wait for anybody, and more bytes than a connection takes unread.
    const CHANGES: usize = 300;
    for change in 0..CHANGES {
        let base = format!("# {change} {}", "x".repeat(100_000));
        master.fleet.set_configuration(ConfigurationBundle { base, ..ConfigurationBundle::default() });
    }
    let last = format!("# {} ", CHANGES - 1);
    loop {
        if let from_master::Kind::Configuration(configuration) = quick.hear().await
            && configuration.base.is_some_and(|base| base.starts_with(&last))
        {
            break;
        }
    }
    let registry = master.registry.clone();
    eventually("the end of the slow one's stream", || {
        registry.render().contains(r#"outrigger_fleet_rejected_sessions_total{reason="too_slow"} 1"#)
    })
    .await;
    drop(slow);
}

#[tokio::test]
async fn a_master_begins_with_the_targets_and_series_that_it_knew() {
    let directory = tempfile::tempdir().unwrap();
    let first = master(directory.path(), &[]).await;
    first.discover(0..100);
    let mut stream = first.connect(hello("w"), None).await;
    stream.assigned(100).await;
    let costs = JobCosts {
        job: "pods".to_owned(),
        ids: vec![3, 4],
        series: vec![1_000, 50],
        body_bytes: vec![0, 0],
        series_sets: vec![b"the series of 3".to_vec(), Vec::new()],
        gone: Vec::new(),
    };
    stream.say(from_worker::Kind::Costs(Costs { jobs: vec![costs] })).await;
    let fleet = first.fleet.clone();
    eventually("the measured cost", || fleet.workers()[0].cost > 100 * 500).await;
    first.stop.cancel();
    // The state file has one user at a time.
    let store = Arc::downgrade(&first.store);
    drop((first, stream, fleet));
    eventually("the end of the first master", || store.strong_count() == 0).await;

    let second = master(directory.path(), &[]).await;
    assert_eq!(second.fleet.recalled().targets, 100);
    assert_eq!(second.fleet.take_recalled_configuration().expect("one").jobs.len(), 1);
    // Nobody has discovered anything. The worker has lost its memory.
    let mut stream = second.connect(Hello { instance: 2, ..hello("w") }, None).await;
    let mut inherited = Vec::new();
    let mut number = 0;
    while number < 100 {
        if let from_master::Kind::Assign(assign) = stream.hear().await {
            number += assign.targets.len();
            inherited.extend(assign.targets.into_iter().filter_map(|t| Some((t.id, t.inheritance?.series))));
        }
    }
    assert_eq!(inherited, [(3, b"the series of 3".to_vec())]);
    // What a worker holds beyond that is not known to be wrong until discovery is done.
    drop(stream);
    let held = vec![TargetIds { job: "pods".to_owned(), ids: (0..101).collect() }];
    let mut stream = second.connect(Hello { instance: 2, held, ..hello("w") }, None).await;
    stream.hear().await;
    second.discover(0..99);
    second.fleet.sink().synced(&"pods".into());
    let removed = loop {
        if let from_master::Kind::Remove(remove) = stream.hear().await {
            break remove.targets[0].ids.clone();
        }
    };
    assert!(removed == [99] || removed == [100] || removed == [99, 100], "{removed:?}");
}

fn sets(sets: &[(u64, &[u8])], gone: &[u64]) -> from_worker::Kind {
    let job = JobCosts {
        job: "pods".to_owned(),
        ids: sets.iter().map(|(id, _)| *id).collect(),
        series: vec![1; sets.len()],
        body_bytes: vec![1; sets.len()],
        series_sets: sets.iter().map(|(_, set)| set.to_vec()).collect(),
        gone: gone.to_vec(),
    };
    from_worker::Kind::Costs(Costs { jobs: vec![job] })
}

fn resolved(host: &str, address: &str) -> ResolvedName {
    ResolvedName { host: host.to_owned(), addresses: vec![address.to_owned()] }
}

/// Two masters of one store; the first leads.
async fn leader_and_standby(directory: &std::path::Path) -> (Master, Master) {
    let store: Arc<dyn StateStore> =
        Arc::new(EmbeddedStore::open(directory.join("state.redb"), Arc::new(SystemClock)).unwrap());
    let (one, other) = (directory.join("one"), directory.join("other"));
    let leader = master_with(&one, &[], Arc::clone(&store)).await;
    leader.lead().await;
    let standby = master_with(&other, &[], store).await;
    (leader, standby)
}

#[tokio::test]
async fn a_new_leader_has_what_heirs_of_a_worker_need_that_died_with_the_leader_before() {
    let directory = tempfile::tempdir().unwrap();
    let (leader, standby) = leader_and_standby(directory.path()).await;
    for master in [&leader, &standby] {
        master.discover(0..4);
        master.fleet.sink().synced(&"pods".into());
    }
    let mut dying = leader.connect(hello("dying"), None).await;
    dying.assigned(4).await;
    // The leader does not take it twice.
    let mut refused = leader.open(KEEP_PATH, hello("dying"), None).await;
    assert!(refused.rejected().await.message.contains("leads"));
    let mut keeper = standby.open(KEEP_PATH, hello("dying"), None).await;
    keeper.say(sets(&[(0, b"the series of 0"), (1, b"the series of 1"), (2, b"old")], &[])).await;
    keeper.say(sets(&[(2, b"the series of 2"), (9, b"the series of 9")], &[1])).await;
    let names = vec![resolved("pod-0.example", "10.0.0.1"), resolved("other.example", "10.0.0.2")];
    keeper.say(from_worker::Kind::Names(Names { names })).await;
    let shared = Arc::clone(&standby.fleet.shared);
    eventually("everything is kept", || !shared.names.lock().of(["pod-0.example"].into_iter()).is_empty())
        .await;
    leader.resign().await;
    drop((leader, dying, keeper));
    standby.lead().await;
    let named = ScrapeTarget { url: "http://pod-0.example:80/metrics".to_owned(), ..(*target(9)).clone() };
    standby.fleet.sink().apply(TargetDelta {
        job: "pods".into(),
        added: vec![Arc::new(named)],
        removed: Vec::new(),
        over_target_limit: false,
    });
    let mut heir = standby.connect(hello("heir"), None).await;
    let beats = heir.to.clone();
    // It lives for longer than the lease of the dead one.
    tokio::spawn(async move {
        let beat = || FromWorker { kind: Some(from_worker::Kind::Heartbeat(Heartbeat::default())) };
        while beats.send(beat()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    });
    let (mut number, mut names) = (0, Vec::new());
    let mut inherited = std::collections::BTreeMap::new();
    while number < 5 {
        if let from_master::Kind::Assign(assign) = heir.hear().await {
            number += assign.targets.len();
            names.extend(assign.names);
            let left = assign.targets.into_iter().filter_map(|t| Some((t.id, t.inheritance?.series)));
            inherited.extend(left.map(|(id, series)| (id, String::from_utf8(series).unwrap())));
        }
    }
    let expected = [0, 2, 9].map(|id| (id, format!("the series of {id}")));
    assert_eq!(inherited, expected.into());
    assert_eq!(names, [resolved("pod-0.example", "10.0.0.1")]);
}

#[tokio::test]
async fn a_standby_says_how_many_workers_the_leader_wants_and_begins_with_that_number() {
    let directory = tempfile::tempdir().unwrap();
    let (leader, standby) = leader_and_standby(directory.path()).await;
    let mut stream = leader.connect(hello("w"), None).await;
    // Three times what a worker should have.
    let status = WorkerStatus { series: 6_000_000, ..WorkerStatus::default() };
    let beat = Heartbeat { sequence: 1, status: Some(status), ..Heartbeat::default() };
    stream.say(from_worker::Kind::Heartbeat(beat)).await;
    let told =
        |master: &Master| master.fleet.scale().map(|scale| (scale.leading, scale.workers, scale.desired));
    eventually("the leader knows", || told(&leader) == Some((true, 1, 3))).await;
    eventually("the standby knows", || told(&standby) == Some((false, 1, 3))).await;
    leader.resign().await;
    drop((leader, stream));
    standby.lead().await;
    assert_eq!(told(&standby), Some((true, 0, 3)));
}
