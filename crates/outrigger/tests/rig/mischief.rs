//! A real Prometheus and Outrigger scrape the same mischievous targets, and what a receiver gets from each is
//! compared sample by sample: labels, value bits, order, explicit timestamps, stale markers, exemplars, native
//! histograms and metadata.
//!
//! The two scrape at different moments, so a sample that carries the time of a scrape is told by the number of that
//! scrape, which is counted in samples of `up`.

mod families;
mod scripts;
mod target;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use outrigger_model::sample::Timestamp;
use outrigger_sim::receiver::{Kept, Receiver};
use outrigger_wire::exposition::MetricType;
use outrigger_wire::remote_write::MetricMetadata;
use tokio::time::{Instant, sleep};
use xtask::rig::{Component, Options, Rig};

use self::scripts::Script;
use self::target::Targets;
use crate::harness::{Outrigger, PATIENCE};
use crate::left_out;

const VERSION_1: &str = "prometheus.WriteRequest";
const VERSION_2: &str = "io.prometheus.write.v2.Request";

/// How many scrapes after a script's last new answer are compared too.
const BEYOND: usize = 2;

/// Scripts where Outrigger differs from Prometheus on purpose, with the reason; ARCHITECTURE.md has them too.
const DIFFER: &[(&str, &str)] = &[
    ("zeros", NEGATIVE_ZERO),
    ("between-numbers-and-not", NEGATIVE_ZERO),
    ("long-past", LONG_PAST),
    ("om-negative-timestamp", LONG_PAST),
];

/// The same for what version 1.0 sends only.
const DIFFER_IN_VERSION_1: &[(&str, &str)] = &[(
    "om-to-custom-buckets",
    "the exemplars of a histogram with custom buckets, which version 1.0 cannot send, are left out with it",
)];

/// The same for version 2.0.
const DIFFER_IN_VERSION_2: &[(&str, &str)] =
    &[("escapes", "HELP behind the samples of its family describes them, too")];

const NEGATIVE_ZERO: &str =
    "Prometheus stores -0, but its protobuf encoder takes it for the default and leaves it out: 0 arrives";
const LONG_PAST: &str = "a Prometheus server refuses times an hour before the newest of its storage; its agent, as Outrigger, sends them";

/// What a series was sent, in the words of the comparison.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Seen {
    samples: Vec<String>,
    exemplars: Vec<String>,
    histograms: Vec<String>,
    metadata: Option<String>,
}

type SeriesSeen = BTreeMap<String, Seen>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_gets_from_outrigger_what_it_gets_from_prometheus_by_remote_write_2() {
    compare(VERSION_2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_gets_from_outrigger_what_it_gets_from_prometheus_by_remote_write_1() {
    compare(VERSION_1).await;
}

async fn compare(message: &str) {
    if left_out("the comparison with Prometheus on mischievous targets") {
        return;
    }
    let (theirs, ours) = (Receiver::start_keeping().await.unwrap(), Receiver::start_keeping().await.unwrap());
    // Prometheus sends no sample that is older than its queue, so that has to run before the first time in a body.
    let mut rig = Rig::up(&[Component::Prometheus], options(&theirs, message)).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    let scripts = scripts::all(now_millis());
    let answers = scripts.iter().map(|script| (script.name.to_owned(), script.answers.clone())).collect();
    let targets = Targets::start(answers).await;
    let config = |receiver: &Receiver| {
        format!("{}{}", scrape_configs(&scripts, &targets), remote_write(receiver, message))
    };
    rig.configure(Component::Prometheus, &config(&theirs)).unwrap();
    let outrigger = Outrigger::run(&config(&ours)).await;

    until_scraped(&scripts, &targets, &outrigger).await;
    let differences = until_equal(&scripts, &theirs, &ours, &known(message)).await;
    same_requests(&scripts, &targets);
    assert_eq!(ours.malformed(), 0, "Outrigger sent what the receiver could not read");
    let compared: usize =
        seen(&scripts, &theirs).values().flat_map(BTreeMap::values).map(|seen| seen.samples.len()).sum();
    println!("{} targets, {compared} samples, {} targets differ", scripts.len(), differences.len());
    let known = known(message);
    let gone: Vec<_> = known.iter().filter(|name| !differences.contains_key(**name)).collect();
    assert!(gone.is_empty(), "no longer differ, and can be taken off the lists: {gone:?}");
    let unexpected: BTreeMap<_, _> =
        differences.into_iter().filter(|(name, _)| !known.contains(name.as_str())).collect();
    let text: String = unexpected.iter().map(|(name, text)| format!("== {name}\n{text}")).collect();
    assert!(unexpected.is_empty(), "{} targets differ:\n{text}", unexpected.len());
    assert!(outrigger.stop().await.success());
}

/// Names of the scripts that differ by this version of remote write.
fn known(message: &str) -> BTreeSet<&'static str> {
    let of_version = if message == VERSION_1 { DIFFER_IN_VERSION_1 } else { DIFFER_IN_VERSION_2 };
    DIFFER.iter().chain(of_version).map(|(name, _)| *name).collect()
}

fn now_millis() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "a test against processes that have the real time")]
    let now = SystemTime::now();
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64
}

fn options(receiver: &Receiver, message: &str) -> Options {
    Options {
        initial_prometheus_config: remote_write(receiver, message),
        arguments: vec![(
            Component::Prometheus,
            "--enable-feature=exemplar-storage,metadata-wal-records".to_owned(),
        )],
        ..Options::default()
    }
}

fn scrape_configs(scripts: &[Script], targets: &Targets) -> String {
    let mut text = "global: {scrape_interval: 1s, scrape_timeout: 900ms}\nscrape_configs:\n".to_owned();
    for Script { name, config, .. } in scripts {
        let comma = if config.is_empty() { "" } else { ", " };
        let address = targets.address;
        let _ = writeln!(
            text,
            "- {{job_name: {name}, metrics_path: /{name}, static_configs: [{{targets: [\"{address}\"], labels: {{scenario: {name}}}}}]{comma}{config}}}"
        );
    }
    text
}

/// One shard keeps the order among series too.
fn remote_write(receiver: &Receiver, message: &str) -> String {
    format!(
        "remote_write:\n- url: \"{}\"\n  protobuf_message: {message}\n  send_exemplars: true\n  send_native_histograms: true\n  \
         queue_config: {{min_shards: 1, max_shards: 1, batch_send_deadline: 200ms}}\n  metadata_config: {{send: true, send_interval: 1s}}\n",
        receiver.url()
    )
}

/// Waits until both have seen every script to its end and some scrapes beyond.
async fn until_scraped(scripts: &[Script], targets: &Targets, outrigger: &Outrigger) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let behind: Vec<_> = scripts
            .iter()
            .flat_map(|script| [true, false].map(|outrigger| (script, outrigger)))
            .filter(|(script, outrigger)| {
                targets.scrapes(script.name, *outrigger) < script.answers.len() + BEYOND + 2
            })
            .map(|(script, outrigger)| (script.name, outrigger))
            .collect();
        if behind.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "behind: {behind:?}\n{:#?}", outrigger.log_tail());
        sleep(Duration::from_millis(200)).await;
    }
}

/// What is sent may still be under way, so the comparison is repeated until nothing differs or the patience ends.
async fn until_equal(
    scripts: &[Script],
    theirs: &Receiver,
    ours: &Receiver,
    known: &BTreeSet<&str>,
) -> BTreeMap<String, String> {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let found = differences(scripts, theirs, ours);
        let unexpected = found.keys().any(|name| !known.contains(name.as_str()));
        if !unexpected || Instant::now() > deadline {
            return found;
        }
        sleep(Duration::from_millis(500)).await;
    }
}

fn differences(scripts: &[Script], theirs: &Receiver, ours: &Receiver) -> BTreeMap<String, String> {
    let (their_seen, our_seen) = (seen(scripts, theirs), seen(scripts, ours));
    let mut found = BTreeMap::new();
    let nothing = SeriesSeen::new();
    for script in scripts {
        let their_series = their_seen.get(script.name).unwrap_or(&nothing);
        let our_series = our_seen.get(script.name).unwrap_or(&nothing);
        assert!(their_series.len() >= 5, "Prometheus sent no report of {}", script.name);
        let names: BTreeSet<&String> = their_series.keys().chain(our_series.keys()).collect();
        let mut text = String::new();
        for name in names {
            let (theirs, ours) = (their_series.get(name), our_series.get(name));
            if theirs != ours {
                explain(
                    &mut text,
                    name,
                    theirs.unwrap_or(&Seen::default()),
                    ours.unwrap_or(&Seen::default()),
                );
            }
        }
        if !text.is_empty() {
            found.insert(script.name.to_owned(), text);
        }
    }
    // What Outrigger sends of a series is in order, with no time twice: nothing is left for a storage to refuse.
    for (labels, kept) in ours.kept() {
        let times: Vec<i64> = kept.samples.iter().map(|sample| sample.timestamp.millis()).collect();
        if !times.is_sorted_by(|a, b| a < b) {
            let script = found.entry(labels.get("scenario").unwrap_or("").to_owned()).or_default();
            let _ = writeln!(script, "{labels:?}\n  Outrigger sends out of order {times:?}");
        }
    }
    let (their_families, our_families) = (theirs.families(), ours.families());
    for (family, metadata) in their_families.iter().filter(|(family, _)| family.starts_with("only")) {
        if our_families.get(family) != Some(metadata) {
            let text = format!("{metadata:?}\n  Outrigger {:?}\n", our_families.get(family));
            found.entry("family-metadata".to_owned()).or_default().push_str(&text);
        }
    }
    found
}

fn explain(text: &mut String, series: &str, theirs: &Seen, ours: &Seen) {
    let _ = writeln!(text, "{series}");
    let parts = [
        ("samples", &theirs.samples, &ours.samples),
        ("exemplars", &theirs.exemplars, &ours.exemplars),
        ("histograms", &theirs.histograms, &ours.histograms),
    ];
    for (part, theirs, ours) in parts {
        if theirs != ours {
            let _ = writeln!(text, "  {part} of Prometheus {theirs:?}\n  {part} of Outrigger  {ours:?}");
        }
    }
    if theirs.metadata != ours.metadata {
        let _ = writeln!(
            text,
            "  metadata of Prometheus {:?}\n  metadata of Outrigger  {:?}",
            theirs.metadata, ours.metadata
        );
    }
}

/// What a receiver got, by script and series.
fn seen(scripts: &[Script], receiver: &Receiver) -> BTreeMap<String, SeriesSeen> {
    let mut by_script: HashMap<String, Vec<(String, Kept)>> = HashMap::new();
    for (labels, kept) in receiver.kept() {
        let name = labels.get("scenario").unwrap_or("").to_owned();
        let text: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        by_script.entry(name).or_default().push((text.join(","), kept));
    }
    let lengths: HashMap<&str, usize> =
        scripts.iter().map(|script| (script.name, script.answers.len() + BEYOND)).collect();
    by_script
        .into_iter()
        .filter_map(|(name, series)| {
            let scrapes = *lengths.get(name.as_str())?;
            let ticks = ticks(&series);
            let seen = series.into_iter().map(|(labels, kept)| {
                let seen = Seen::of(&labels, kept, &ticks, scrapes);
                (labels, seen)
            });
            Some((name, seen.filter(|(_, seen)| *seen != Seen::default()).collect()))
        })
        .collect()
}

/// The times of a target's scrapes, each with its number.
fn ticks(series: &[(String, Kept)]) -> HashMap<Timestamp, usize> {
    // A target may expose a series `up` too, whose job or instance then differs by `exported_`.
    let reports = series.iter().filter(|(labels, _)| labels.starts_with("__name__=\"up\",instance="));
    let longest = reports.map(|(_, kept)| &kept.samples).max_by_key(|samples| samples.len());
    let mut times: Vec<Timestamp> = longest.into_iter().flatten().map(|sample| sample.timestamp).collect();
    times.dedup();
    let times = times.into_iter();
    times.enumerate().map(|(number, time)| (time, number)).collect()
}

impl Seen {
    fn of(labels: &str, kept: Kept, ticks: &HashMap<Timestamp, usize>, scrapes: usize) -> Self {
        let when = |time: Timestamp| match ticks.get(&time) {
            Some(number) => (format!("scrape {number}"), *number < scrapes),
            None => (format!("at {}", time.millis()), true),
        };
        let is_duration = labels.starts_with("__name__=\"scrape_duration_seconds\"");
        // Prometheus ends a native histogram with a float marker, which its storage turns into a histogram's.
        let is_histogram = !kept.histograms.is_empty();
        let floats = as_stored(kept.samples, |sample| sample.timestamp).into_iter();
        let (markers, floats): (Vec<_>, Vec<_>) =
            floats.partition(|sample| is_histogram && sample.value.to_bits() == STALE);
        let samples = floats.into_iter().map(|sample| {
            let bits = sample.value.to_bits();
            let value =
                if is_duration && bits != STALE { "some".to_owned() } else { value_text(sample.value) };
            (sample.timestamp, value)
        });
        let exemplars = kept.exemplars.into_iter().filter_map(|exemplar| {
            let labels: Vec<String> =
                exemplar.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            Some((exemplar.timestamp?, format!("{{{}}} {}", labels.join(","), value_text(exemplar.value))))
        });
        let histograms = kept.histograms.into_iter().map(|(time, histogram)| {
            let text = if histogram.is_stale() { "stale".to_owned() } else { format!("{histogram:?}") };
            (time, text)
        });
        let markers = markers.into_iter().map(|marker| (marker.timestamp, "stale".to_owned()));
        let mut histograms: Vec<_> = histograms.chain(markers).collect();
        histograms.sort_by_key(|(time, _)| *time);
        let histograms = as_stored(histograms, |(time, _)| *time).into_iter();
        let told = |items: &mut dyn Iterator<Item = (Timestamp, String)>| {
            let told = items.map(|(time, text)| (when(time), text));
            told.filter(|((_, is_compared), _)| *is_compared)
                .map(|((when, _), text)| format!("{when}: {text}"))
                .collect()
        };
        let (mut samples, mut exemplars, mut histograms) = (samples, exemplars, histograms);
        let mut seen = Self {
            samples: told(&mut samples),
            exemplars: told(&mut exemplars),
            histograms: told(&mut histograms),
            metadata: kept.metadata.filter(says_something).map(|metadata| format!("{metadata:?}")),
        };
        // What is said about a series that has nothing but a stale marker is of no use.
        let mut values = seen.samples.iter().chain(&seen.histograms);
        if values.all(|value| value.ends_with(": stale")) {
            seen.metadata = None;
        }
        seen
    }
}

/// What a storage keeps that takes each time once and none out of order. Prometheus also sends what only its log has:
/// a second sample of the same time, and one that is older than another of the same scrape.
fn as_stored<T>(items: Vec<T>, time: impl Fn(&T) -> Timestamp) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for item in items {
        if kept.last().is_none_or(|last| time(&item) > time(last)) {
            kept.push(item);
        }
    }
    kept
}

/// Prometheus sends metadata for families that nothing is known of.
fn says_something(metadata: &MetricMetadata) -> bool {
    metadata.metric_type != MetricType::Unknown || !metadata.help.is_empty() || !metadata.unit.is_empty()
}

const STALE: u64 = 0x7ff0_0000_0000_0002;

fn value_text(value: f64) -> String {
    match value.to_bits() {
        STALE => "stale".to_owned(),
        bits if value.is_nan() => format!("NaN {bits:x}"),
        _ => format!("{value:?}"),
    }
}

/// Both ask in the same words.
fn same_requests(scripts: &[Script], targets: &Targets) {
    for script in scripts {
        let (theirs, ours) = (targets.asked(script.name, false), targets.asked(script.name, true));
        assert_eq!(theirs, ours, "{} is asked for in another way", script.name);
    }
}
