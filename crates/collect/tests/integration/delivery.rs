//! Remote write against receivers that accept, refuse, pause, break and hang.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Incoming;
use outrigger_collect::batch::{BatchSample, MetricMetadata, SampleSink, ScrapeBatch};
use outrigger_collect::remote_write::{
    DropReason, EndpointStatus, QueueBounds, RemoteWrite, RemoteWriteOptions,
};
use outrigger_collect::series::SeriesTable;
use outrigger_config::prometheus::{RemoteWriteConfig, RemoteWriteMessage};
use outrigger_model::clock::{Clock, ManualClock};
use outrigger_model::http::{BasicUsername, HttpAuth};
use outrigger_model::labels::Labels;
use outrigger_model::sample::{Sample, Timestamp};
use outrigger_rt::metrics::Registry;
use outrigger_wire::exposition::MetricType;
use outrigger_wire::remote_write::{self, WriteRequest};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::scraping::rule;
use crate::servers::{Server, full, status};
use crate::world::{START, StandStill, resolver, shown, until};

/// What a receiver does with a request.
#[derive(Debug, Clone)]
enum Reaction {
    Status(u16),
    RetryAfter(u16, String),
    Hang,
    Complain(u16, String),
}

/// A receiver that reacts by script, then accepts everything.
struct Receiver {
    server: Server,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    script: Mutex<Vec<Reaction>>,
    /// All requests, also the refused ones.
    requests: Mutex<Vec<(BTreeMap<String, String>, WriteRequest)>>,
    /// Samples of accepted requests, in the order of arrival.
    accepted: Mutex<Vec<(Labels, Sample)>>,
}

impl Receiver {
    async fn new(script: Vec<Reaction>) -> Self {
        let seen = Arc::new(Seen::default());
        *seen.script.lock() = script.into_iter().rev().collect();
        let shared = Arc::clone(&seen);
        let server = Server::start(move |request: Request<Incoming>| {
            let seen = Arc::clone(&shared);
            async move {
                let headers = request
                    .headers()
                    .iter()
                    .map(|(name, value)| {
                        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                    })
                    .collect();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let message = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
                let message = remote_write::decode(&message).unwrap();
                let reaction = seen.script.lock().pop();
                let accepted = matches!(reaction, None | Some(Reaction::Status(200..=299)));
                if accepted {
                    let mut accepted = seen.accepted.lock();
                    for series in &message.series {
                        series.check_labels().unwrap();
                        let labels = Labels::from_pairs(series.labels.iter().map(|(n, v)| (n, v)));
                        accepted.extend(series.samples.iter().map(|sample| (labels.clone(), *sample)));
                    }
                }
                seen.requests.lock().push((headers, message));
                match reaction {
                    None => status(204),
                    Some(Reaction::Status(code)) => status(code),
                    Some(Reaction::RetryAfter(code, value)) => {
                        let response = hyper::Response::builder().status(code).header("retry-after", value);
                        response.body(full("slow down")).unwrap()
                    }
                    Some(Reaction::Complain(code, text)) => {
                        hyper::Response::builder().status(code).body(full(text)).unwrap()
                    }
                    Some(Reaction::Hang) => std::future::pending().await,
                }
            }
        })
        .await;
        Self { server, seen }
    }

    fn config(&self, name: &str) -> RemoteWriteConfig {
        RemoteWriteConfig {
            protobuf_message: Some(RemoteWriteMessage::V1),
            ..RemoteWriteConfig::new(name, &self.server.url("/api/v1/write"))
        }
    }

    fn requests(&self) -> usize {
        self.seen.requests.lock().len()
    }

    async fn has_requests(&self, requests: usize) {
        until("the receiver has been asked", || self.requests() >= requests).await;
    }

    /// Waits for this many accepted samples and shows all there are.
    async fn accepted(&self, samples: usize) -> Vec<String> {
        until("the receiver has accepted enough", || self.seen.accepted.lock().len() >= samples).await;
        let accepted = self.seen.accepted.lock();
        accepted.iter().map(|(labels, sample)| shown(labels, sample.value, sample.timestamp)).collect()
    }
}

/// Remote write in virtual time.
pub(crate) struct Sender {
    clock: Arc<ManualClock>,
    pub(crate) remote_write: Arc<RemoteWrite>,
    registry: Registry,
    stop: CancellationToken,
    running: Option<JoinHandle<()>>,
    pub(crate) table: Mutex<SeriesTable>,
    _stand_still: StandStill,
}

const QUEUE_BYTES: u64 = 64 << 20;

fn bounds(memory_bytes: u64) -> QueueBounds {
    QueueBounds { memory_bytes, disk_bytes: 0 }
}

impl Sender {
    pub(crate) fn new(configs: &[RemoteWriteConfig]) -> Self {
        Self::with(configs, &Labels::empty(), QUEUE_BYTES)
    }

    fn with(configs: &[RemoteWriteConfig], external_labels: &Labels, queue_bytes: u64) -> Self {
        Self::keeping(configs, external_labels, bounds(queue_bytes), None)
    }

    /// With disk queues.
    pub(crate) fn keeping(
        configs: &[RemoteWriteConfig],
        external_labels: &Labels,
        bounds: QueueBounds,
        directory: Option<PathBuf>,
    ) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(START)));
        let registry = Registry::new();
        let options = RemoteWriteOptions {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            registry: registry.clone(),
            resolver: resolver(),
            user_agent: "Outrigger/test".to_owned(),
            directory,
            flush_deadline: Duration::from_secs(20),
            log_period: Duration::from_secs(60),
        };
        let configs: Vec<_> = configs.iter().cloned().map(Arc::new).collect();
        let remote_write = Arc::new(RemoteWrite::new(&configs, external_labels, bounds, options).unwrap());
        let stop = CancellationToken::new();
        let running = tokio::spawn({
            let (remote_write, stop) = (Arc::clone(&remote_write), stop.clone());
            async move { remote_write.run(stop).await }
        });
        Self {
            clock,
            remote_write,
            registry,
            stop,
            running: Some(running),
            table: Mutex::default(),
            _stand_still: StandStill::new(),
        }
    }

    fn apply(&self, configs: &[RemoteWriteConfig]) {
        let configs: Vec<_> = configs.iter().cloned().map(Arc::new).collect();
        self.remote_write.apply_config(&configs, &Labels::empty(), bounds(QUEUE_BYTES)).unwrap();
    }

    /// One batch of samples `name value`, all at `at` milliseconds after the start.
    pub(crate) fn append(&self, samples: &[(&str, f64)], at: i64) {
        self.append_all(samples.iter().map(|(name, value)| (*name, *value, at)), &[]);
    }

    fn append_all<'s>(
        &self,
        samples: impl Iterator<Item = (&'s str, f64, i64)>,
        metadata: &[Arc<MetricMetadata>],
    ) {
        let mut table = self.table.lock();
        let samples: Vec<BatchSample> = samples
            .map(|(name, value, at)| BatchSample {
                series: table.intern(&Labels::from_pairs([("__name__", name), ("job", "j")])),
                timestamp: Timestamp::from_millis(START + at),
                value,
            })
            .collect();
        self.remote_write.append(&ScrapeBatch {
            job: &"j".into(),
            target: 1,
            series: &table,
            samples: &samples,
            histograms: &[],
            exemplars: &[],
            starts: &[],
            metadata,
        });
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by.as_millis() as i64);
        tokio::time::advance(by).await;
    }

    /// Longer than `batch_send_deadline`.
    pub(crate) async fn pass_deadline(&self) {
        // The worker has to see the new samples before it can wait for them.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        self.advance(Duration::from_secs(5)).await;
    }

    /// Lets the time pass in small steps until the condition holds.
    pub(crate) async fn pass_time_until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        for _ in 0..10_000 {
            if condition() {
                return;
            }
            tokio::task::spawn_blocking(|| std::thread::park_timeout(Duration::from_millis(1)))
                .await
                .unwrap();
            self.advance(Duration::from_millis(100)).await;
        }
        panic!("time passed in vain until {what}");
    }

    pub(crate) fn status(&self) -> EndpointStatus {
        self.remote_write.status().remove(0)
    }

    async fn until_sent(&self, samples: u64) {
        until("the samples were sent", || self.status().samples_sent >= samples).await;
    }

    pub(crate) fn metric(&self, series: &str) -> f64 {
        crate::world::metric(&self.registry, series)
    }

    /// Ends although the receiver is away, when the time for it is over.
    pub(crate) async fn give_up(&mut self) {
        self.stop.cancel();
        let Some(running) = self.running.take() else { return };
        self.pass_time_until("it ended", || running.is_finished()).await;
        running.await.unwrap();
    }

    pub(crate) async fn end(&mut self) {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            running.await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn samples_arrive_in_batches_by_number_and_by_deadline() {
    let receiver = Receiver::new(vec![]).await;
    let mut config = receiver.config("central");
    config.queue.max_samples_per_send = 3;
    config.headers = vec![("X-Scope-OrgID".to_owned(), "tenant".to_owned())];
    config.http.auth =
        Some(HttpAuth::Basic { username: BasicUsername::Inline("u".to_owned()), password: None });
    let sender = Sender::new(&[config]);
    sender.append(&[("a", 1.0), ("b", 2.0), ("c", 3.0), ("d", 4.0)], 0);
    // Three fill a batch at once.
    receiver.has_requests(1).await;
    assert_eq!(
        receiver.accepted(3).await,
        [r#"a{job="j"} 1 @ 0"#, r#"b{job="j"} 2 @ 0"#, r#"c{job="j"} 3 @ 0"#]
    );
    sender.until_sent(3).await;
    assert_eq!(sender.status().pending_samples, 1);
    sender.pass_deadline().await;
    assert_eq!(receiver.accepted(4).await[3], r#"d{job="j"} 4 @ 0"#);
    let (headers, _) = receiver.seen.requests.lock()[0].clone();
    for (name, value) in [
        ("content-encoding", "snappy"),
        ("content-type", "application/x-protobuf"),
        ("x-prometheus-remote-write-version", "0.1.0"),
        ("user-agent", "Outrigger/test"),
        ("x-scope-orgid", "tenant"),
        ("authorization", "Basic dTo="),
    ] {
        assert_eq!(headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!headers.contains_key("retry-attempt"));
    sender.until_sent(4).await;
    let status = sender.status();
    assert_eq!((status.pending_samples, status.pending_bytes, status.lag_seconds), (0, 0, 0.0));
    assert!(!status.is_failing());
    assert_eq!(sender.metric("outrigger_remote_write_samples_sent_total{endpoint=\"central\"}"), 4.0);
}

/// The reactions of a receiver to one batch, and whether the batch arrives in the end.
#[tokio::test(start_paused = true)]
async fn failures_are_retried_until_they_are_cured_and_refusals_drop_the_batch() {
    use Reaction::{Complain, Hang, Status};
    let cases = [
        (vec![Status(500), Status(503), Status(200)], true),
        (vec![Status(401), Status(401), Status(200)], true),
        (vec![Status(403)], true),
        (vec![Status(404), Status(405)], true),
        (vec![Status(407), Status(408)], true),
        (vec![Status(429)], true),
        (vec![Hang], true),
        (vec![Status(400)], false),
        (vec![Status(409)], false),
        (vec![Status(413)], false),
        (vec![Status(415)], false),
        (vec![Complain(422, "x".repeat(10_000))], false),
    ];
    for (reactions, arrives) in cases {
        let receiver = Receiver::new(reactions.clone()).await;
        let sender = Sender::new(&[receiver.config("central")]);
        sender.append(&[("a", 1.0)], 0);
        sender.pass_deadline().await;
        for attempt in 1..=reactions.len() {
            receiver.has_requests(attempt).await;
            let failures =
                reactions[..attempt].iter().filter(|reaction| !matches!(reaction, Status(200))).count();
            let settled = || !arrives || sender.status().requests_retried >= failures as u64;
            // A receiver that hangs is given up after remote_timeout.
            if matches!(reactions[attempt - 1], Hang) {
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                sender.advance(Duration::from_secs(30)).await;
            }
            until("the answer was taken in", settled).await;
            sender.advance(Duration::from_secs(5)).await;
        }
        if arrives {
            assert_eq!(receiver.accepted(1).await, [r#"a{job="j"} 1 @ 0"#], "{reactions:?}");
            let retries = reactions.iter().filter(|reaction| !matches!(reaction, Status(200))).count();
            let last = receiver.seen.requests.lock().last().cloned().unwrap();
            assert_eq!(last.0.get("retry-attempt"), Some(&retries.to_string()), "{reactions:?}");
        } else {
            until("the batch is dropped", || !sender.status().samples_dropped.is_empty()).await;
            let status = sender.status();
            assert_eq!(status.samples_dropped, [(DropReason::Rejected, 1)], "{reactions:?}");
            let error = status.last_error.unwrap().1;
            assert!(error.starts_with("server returned HTTP status 4") && error.len() < 400, "{error}");
            // The next batch is sent.
            sender.append(&[("a", 2.0)], 5_000);
            sender.pass_deadline().await;
            assert_eq!(receiver.accepted(1).await, [r#"a{job="j"} 2 @ 5000"#], "{reactions:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed() {
    for value in ["7", "Tue, 14 Nov 2023 22:14:12 GMT"] {
        let receiver = Receiver::new(vec![Reaction::RetryAfter(429, value.to_owned())]).await;
        let sender = Sender::new(&[receiver.config("central")]);
        sender.append(&[("a", 1.0)], 0);
        sender.pass_deadline().await;
        until("the answer was taken in", || sender.status().requests_retried == 1).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        sender.advance(Duration::from_millis(6_900)).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(receiver.requests(), 1, "{value}");
        sender.advance(Duration::from_millis(100)).await;
        receiver.accepted(1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_too_large_is_split_until_it_fits() {
    let receiver = Receiver::new(vec![Reaction::Status(413), Reaction::Status(413)]).await;
    let sender = Sender::new(&[receiver.config("central")]);
    sender.append(&[("a", 1.0), ("b", 2.0), ("c", 3.0), ("d", 4.0), ("e", 5.0)], 0);
    sender.pass_deadline().await;
    receiver.accepted(5).await;
    let sizes: Vec<usize> =
        receiver.seen.requests.lock().iter().map(|(_, message)| message.series.len()).collect();
    assert_eq!(sizes, [5, 3, 2, 1, 2]);
    until("nothing is pending", || sender.status().pending_bytes == 0).await;
}

#[tokio::test(start_paused = true)]
async fn external_labels_are_added_where_absent_and_write_relabelling_follows() {
    let receiver = Receiver::new(vec![]).await;
    let mut config = receiver.config("central");
    config.write_relabel =
        vec![rule("drop", "__name__", "secret.*", None), rule("replace", "cluster", "(.*)", Some("zone"))];
    let external = Labels::from_pairs([("cluster", "c1"), ("job", "external")]);
    let sender = Sender::with(&[config], &external, QUEUE_BYTES);
    sender.append(&[("a", 1.0), ("secret_a", 2.0)], 0);
    sender.pass_deadline().await;
    assert_eq!(receiver.accepted(1).await, [r#"a{cluster="c1",job="j",zone="c1"} 1 @ 0"#]);
    assert_eq!(sender.metric("outrigger_remote_write_samples_filtered_total{endpoint=\"central\"}"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_the_oldest_first_and_other_endpoints_do_not_notice() {
    let (dead, good) = (Receiver::new(vec![Reaction::Hang; 100]).await, Receiver::new(vec![]).await);
    let mut configs = [dead.config("dead"), good.config("good")];
    for config in &mut configs {
        config.queue.max_samples_per_send = 1;
    }
    configs[0].remote_timeout = Duration::from_secs(1_000_000);
    let limit = 2_000;
    let sender = Sender::with(&configs, &Labels::empty(), limit);
    for i in 0..100 {
        sender.append(&[("a", f64::from(i))], i64::from(i) * 1_000);
        good.accepted(i as usize + 1).await;
        let status = sender.status();
        assert!(status.pending_bytes <= limit, "{status:?}");
    }
    let status = sender.status();
    let [(DropReason::QueueFull, dropped)] = status.samples_dropped[..] else { panic!("{status:?}") };
    assert_eq!(dropped + status.pending_samples, 100);
    // All that is left, after the one in flight, is the newest.
    dead.seen.script.lock().clear();
    sender.apply(&[dead.config("dead"), good.config("good")]);
    sender.advance(Duration::from_secs(1_000_000)).await;
    let expected = status.pending_samples;
    let accepted = dead.accepted(expected as usize).await;
    assert_eq!(accepted.last().unwrap(), r#"a{job="j"} 99 @ 99000"#);
    assert_eq!(accepted[0], r#"a{job="j"} 0 @ 0"#, "it was in flight all the time");
    let dropped_in_metrics = sender
        .metric("outrigger_remote_write_samples_dropped_total{endpoint=\"dead\",reason=\"queue_full\"}");
    assert_eq!(dropped_in_metrics, dropped as f64);
}

#[tokio::test(start_paused = true)]
async fn samples_over_the_age_limit_are_left_out() {
    let receiver = Receiver::new(vec![Reaction::Status(500)]).await;
    let mut config = receiver.config("central");
    config.queue.sample_age_limit = Duration::from_secs(60);
    let sender = Sender::new(&[config]);
    sender.append(&[("a", 1.0)], 0);
    sender.append(&[("a", 2.0)], 58_000);
    sender.pass_deadline().await;
    until("the answer was taken in", || sender.status().requests_retried == 1).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    sender.advance(Duration::from_secs(57)).await;
    assert_eq!(receiver.accepted(1).await, [r#"a{job="j"} 2 @ 58000"#]);
    until("nothing is pending", || sender.status().pending_bytes == 0).await;
    assert_eq!(sender.status().samples_dropped, [(DropReason::TooOld, 1)]);
}

/// Series keep their order while the number of shards changes under load and failures.
#[tokio::test(start_paused = true)]
async fn resharding_keeps_the_order_of_every_series() {
    let receiver = Receiver::new(vec![Reaction::Status(500); 3]).await;
    let config = |shards: usize| {
        let mut config = receiver.config("central");
        config.queue.max_samples_per_send = 7;
        config.queue.min_shards = shards;
        config.queue.max_shards = shards;
        config
    };
    let sender = Sender::new(&[config(1)]);
    let names: Vec<String> = (0..20).map(|i| format!("m{i}")).collect();
    let mut sent = 0;
    for (round, shards) in [1, 4, 3, 1, 6, 2].into_iter().enumerate() {
        sender.apply(&[config(shards)]);
        for step in 0..5 {
            let at = (round * 5 + step) as i64 * 1_000;
            let samples: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), at as f64)).collect();
            sender.append(&samples, at);
            sent += samples.len();
            tokio::task::yield_now().await;
        }
        sender
            .pass_time_until("the number of shards is as configured", || sender.status().shards == shards)
            .await;
    }
    sender.pass_time_until("everything has arrived", || sender.status().samples_sent as usize == sent).await;
    receiver.accepted(sent).await;
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    for (labels, sample) in receiver.seen.accepted.lock().iter() {
        let name = labels.get("__name__").unwrap().to_owned();
        let before = last.insert(name.clone(), sample.timestamp.millis());
        assert!(before.is_none_or(|before| before < sample.timestamp.millis()), "{name} overtook itself");
    }
}

#[tokio::test(start_paused = true)]
async fn a_corrected_configuration_delivers_what_waits() {
    let (wrong, right) =
        (Receiver::new(vec![Reaction::Status(401); 1_000]).await, Receiver::new(vec![]).await);
    let sender = Sender::new(&[wrong.config("wrong")]);
    sender.append(&[("a", 1.0)], 0);
    sender.pass_deadline().await;
    until("the answer was taken in", || sender.status().requests_retried >= 1).await;
    assert!(sender.status().is_failing());
    // Another name and another URL: the one that went is the one that came.
    sender.apply(&[right.config("right")]);
    assert_eq!(right.accepted(1).await, [r#"a{job="j"} 1 @ 0"#]);
    sender.until_sent(1).await;
    assert_eq!(sender.status().name, "right");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_no_longer_configured_is_emptied_first() {
    let (old, new) = (Receiver::new(vec![]).await, Receiver::new(vec![]).await);
    let sender = Sender::new(&[old.config("old"), new.config("new")]);
    sender.append(&[("a", 1.0)], 0);
    sender.apply(&[new.config("new")]);
    sender.append(&[("a", 2.0)], 1_000);
    assert_eq!(old.accepted(1).await, [r#"a{job="j"} 1 @ 0"#]);
    sender.pass_deadline().await;
    assert_eq!(new.accepted(2).await, [r#"a{job="j"} 1 @ 0"#, r#"a{job="j"} 2 @ 1000"#]);
    assert_eq!(old.accepted(1).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn shutdown_sends_what_is_left_within_the_deadline() {
    let receiver = Receiver::new(vec![Reaction::Status(500)]).await;
    let mut sender = Sender::new(&[receiver.config("central")]);
    sender.append(&[("a", 1.0), ("b", 2.0)], 0);
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    sender.stop.cancel();
    until("the first attempt has failed", || sender.status().requests_retried == 1).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    sender.advance(Duration::from_secs(1)).await;
    sender.end().await;
    assert_eq!(receiver.accepted(2).await.len(), 2);
    assert_eq!(sender.status().samples_dropped, []);
}

#[tokio::test(start_paused = true)]
async fn shutdown_gives_up_on_a_dead_receiver_and_counts_the_loss() {
    let receiver = Receiver::new(vec![Reaction::Hang; 100]).await;
    let mut config = receiver.config("central");
    config.queue.max_samples_per_send = 1;
    let mut sender = Sender::new(&[config]);
    sender.append(&[("a", 1.0), ("b", 2.0), ("c", 3.0)], 0);
    receiver.has_requests(1).await;
    sender.stop.cancel();
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    sender.advance(Duration::from_secs(20)).await;
    sender.end().await;
    assert_eq!(sender.status().samples_dropped, [(DropReason::Shutdown, 3)]);
}

#[tokio::test(start_paused = true)]
async fn metadata_is_sent_in_each_interval() {
    let receiver = Receiver::new(vec![]).await;
    let mut config = receiver.config("central");
    config.metadata.max_samples_per_send = 2;
    let sender = Sender::new(&[config]);
    let family = |name: &str, help: &str| {
        Arc::new(MetricMetadata {
            metric_type: MetricType::Counter,
            family: name.into(),
            help: help.into(),
            unit: "".into(),
        })
    };
    let metadata = vec![family("a", "1"), family("b", "2"), family("c", "3")];
    sender.append_all(std::iter::empty(), &metadata);
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    sender.advance(Duration::from_secs(60)).await;
    receiver.has_requests(2).await;
    let mut found: Vec<(String, String)> = receiver
        .seen
        .requests
        .lock()
        .iter()
        .flat_map(|(_, message)| &message.metadata)
        .map(|family| (family.family.to_string(), family.help.to_string()))
        .collect();
    found.sort();
    assert_eq!(found, [("a", "1"), ("b", "2"), ("c", "3")].map(|(n, h)| (n.to_owned(), h.to_owned())));
    until("it is counted", || {
        sender.metric("outrigger_remote_write_metadata_sent_total{endpoint=\"central\"}") == 3.0
    })
    .await;
}
