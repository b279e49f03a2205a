//! One scrape: what a target may answer, and what becomes of it.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::Response;
use outrigger_collect::scrape::Health;
use outrigger_config::prometheus::{ScrapeConfig, ScrapeProtocol};
use outrigger_config::relabel::{RelabelRaw, RelabelRule};
use outrigger_model::labels::Labels;
use outrigger_model::names::NameValidation;

use crate::servers::{Body, full, repeated, status, text};
use crate::world::{MakeAnswer, Script, World, job, samples, target, until};

/// The scrape's own report, without its duration.
pub(crate) fn report(up: u8, scraped: usize, post_relabel: usize, added: usize, at: i64) -> Vec<String> {
    [
        ("up", usize::from(up)),
        ("scrape_samples_scraped", scraped),
        ("scrape_samples_post_metric_relabeling", post_relabel),
        ("scrape_series_added", added),
    ]
    .map(|(name, value)| format!(r#"{name}{{instance="i",job="job"}} {value} @ {at}"#))
    .into()
}

pub(crate) fn rule(action: &str, source: &str, regex: &str, target: Option<&str>) -> RelabelRule {
    let raw = RelabelRaw {
        action: Some(action.to_owned()),
        source_labels: (!source.is_empty()).then(|| vec![source.to_owned()]),
        regex: Some(regex.to_owned()),
        target_label: target.map(str::to_owned),
        ..RelabelRaw::default()
    };
    RelabelRule::new(raw, NameValidation::Utf8).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn answer(make: impl Fn() -> Response<Body> + Send + Sync + 'static) -> MakeAnswer {
    Box::new(make)
}

fn typed(content_type: &'static str, body: &'static str) -> MakeAnswer {
    answer(move || {
        let mut response = Response::builder();
        if !content_type.is_empty() {
            response = response.header("content-type", content_type);
        }
        response.body(full(body)).unwrap()
    })
}

fn plain(body: &'static str) -> MakeAnswer {
    answer(move || text(body))
}

/// A target's answer under a configuration and what is to come of it.
struct Case {
    name: &'static str,
    config: ScrapeConfig,
    answer: MakeAnswer,
    /// Samples before the report, with labels beside `instance` and `job`.
    samples: &'static [&'static str],
    /// Scraped, after relabelling, added.
    counts: (usize, usize, usize),
    /// A part of the error, `""` for success.
    error: &'static str,
}

fn case(
    name: &'static str,
    edit: impl FnOnce(&mut ScrapeConfig),
    answer: MakeAnswer,
    samples: &'static [&'static str],
    counts: (usize, usize, usize),
    error: &'static str,
) -> Case {
    let mut config = job("job");
    edit(&mut config);
    Case { name, config, answer, samples, counts, error }
}

async fn check(case: Case) {
    let mut world = World::new();
    let script = Script::new(vec![case.answer]).await;
    world.configure(&[case.config]);
    world.add("job", &[target(1, script.url())]);
    let found = samples(&world.batches(1).await);
    let up = u8::from(case.error.is_empty());
    let mut expected: Vec<String> = case.samples.iter().map(|sample| (*sample).to_owned()).collect();
    expected.extend(report(up, case.counts.0, case.counts.1, case.counts.2, 0));
    assert_eq!(found, expected, "{}", case.name);
    let status = world.status("job", 1);
    assert_eq!(status.health, if up == 1 { Health::Up } else { Health::Down }, "{}", case.name);
    assert_eq!(status.last_error.is_empty(), up == 1, "{}: {}", case.name, status.last_error);
    assert!(status.last_error.contains(case.error), "{}: {}", case.name, status.last_error);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn bodies_become_samples_or_fail_as_in_prometheus() {
    let one = &[r#"a{instance="i",job="job"} 1 @ 0"#][..];
    let cases = [
        case("a sample", |_| {}, plain("a 1\n"), one, (1, 1, 1), ""),
        case("a missing last newline", |_| {}, plain("# TYPE a gauge\n# HELP a b\na 1"), one, (1, 1, 1), ""),
        case("an empty body", |_| {}, plain(""), &[], (0, 0, 0), ""),
        case("an empty body without a type", |_| {}, typed("", ""), &[], (0, 0, 0), ""),
        case("comments only", |_| {}, plain("# nothing\n"), &[], (0, 0, 0), ""),
        case(
            "a value that is NaN and one that is zero",
            |_| {},
            plain("a NaN\nb 0\nc -Inf\n"),
            &[
                r#"a{instance="i",job="job"} NaN @ 0"#,
                r#"b{instance="i",job="job"} 0 @ 0"#,
                r#"c{instance="i",job="job"} -inf @ 0"#,
            ],
            (3, 3, 3),
            "",
        ),
        case("no content type", |_| {}, typed("", "a 1\n"), &[], (0, 0, 0), "no fallback_scrape_protocol"),
        case(
            "no content type but a fallback",
            |config| config.fallback_scrape_protocol = Some(ScrapeProtocol::PrometheusText004),
            typed("", "a 1\n"),
            one,
            (1, 1, 1),
            "",
        ),
        case("html", |_| {}, typed("text/html", "a 1\n"), &[], (0, 0, 0), "unsupported Content-Type"),
        case(
            "OpenMetrics",
            |_| {},
            typed("application/openmetrics-text; version=1.0.0", "a 1\n# EOF\n"),
            &[r#"a{instance="i",job="job"} 1 @ 0"#],
            (1, 1, 1),
            "",
        ),
        case("a parse error rolls everything back", |_| {}, plain("a 1\nb {{ 2\n"), &[], (1, 1, 1), "line 2"),
        case(
            "invalid UTF-8",
            |_| {},
            answer(|| text(&b"a 1\nb{c=\"\xff\xfe\"} 2\n"[..])),
            &[],
            (1, 1, 1),
            "not valid UTF-8",
        ),
        case(
            "duplicates: the first one counts, the scrape succeeds",
            |_| {},
            plain("a 1\na 2\nb 3\n"),
            &[r#"a{instance="i",job="job"} 1 @ 0"#, r#"b{instance="i",job="job"} 3 @ 0"#],
            (3, 3, 2),
            "",
        ),
        case(
            "duplicates that are written differently",
            |_| {},
            plain("a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 2\n"),
            &[r#"a{instance="i",job="job",x="1",y="2"} 1 @ 0"#],
            (2, 2, 2),
            "",
        ),
        case("a label twice", |_| {}, plain("a 1\nb{c=\"1\",c=\"2\"} 2\n"), &[], (2, 1, 1), "is not unique"),
        case(
            "exposed labels give way to the target's",
            |_| {},
            plain("a{job=\"x\",instance=\"\"} 1\n"),
            &[r#"a{exported_job="x",instance="i",job="job"} 1 @ 0"#],
            (1, 1, 1),
            "",
        ),
        case(
            "honor_labels: exposed labels win, empty ones remove",
            |config| config.honor_labels = true,
            plain("a{job=\"x\",instance=\"\"} 1\n"),
            &[r#"a{job="x"} 1 @ 0"#],
            (1, 1, 1),
            "",
        ),
        case(
            "timestamps are honoured",
            |_| {},
            plain("a 1 1700000030000\nb 2\n"),
            &[r#"a{instance="i",job="job"} 1 @ -10000"#, r#"b{instance="i",job="job"} 2 @ 0"#],
            (2, 2, 2),
            "",
        ),
        case(
            "or not",
            |config| config.honor_timestamps = false,
            plain("a 1 1700000030000\n"),
            one,
            (1, 1, 1),
            "",
        ),
        case(
            "more than ten minutes ahead is left out",
            |_| {},
            plain("a 1 1700000640001\nb 2 1700000640000\n"),
            &[r#"b{instance="i",job="job"} 2 @ 600000"#],
            (2, 2, 1),
            "",
        ),
        case(
            "out of order within a scrape is left out",
            |_| {},
            plain("a 1 1700000030000\na 2 1700000029000\na 3 1700000031000\n"),
            &[r#"a{instance="i",job="job"} 1 @ -10000"#, r#"a{instance="i",job="job"} 3 @ -9000"#],
            (3, 3, 1),
            "",
        ),
        case(
            "metric relabelling drops and renames",
            |config| {
                config.metric_relabel =
                    vec![rule("drop", "__name__", "b.*", None), rule("labeldrop", "", "x", None)];
            },
            plain("a{x=\"1\"} 1\nb 2\nbb 3\n"),
            one,
            (3, 1, 1),
            "",
        ),
        case(
            "series that relabelling makes equal are duplicates",
            |config| config.metric_relabel = vec![rule("labeldrop", "", "x", None)],
            plain("a{x=\"1\"} 1\na{x=\"2\"} 2\n"),
            one,
            (2, 2, 2),
            "",
        ),
        case(
            "no metric name after relabelling",
            |config| config.metric_relabel = vec![rule("labeldrop", "", "__name__", None)],
            plain("a 1\n"),
            &[],
            (1, 0, 0),
            "missing metric name (__name__ label)",
        ),
        case(
            "a UTF-8 name under the legacy scheme",
            |config| config.metric_name_validation = NameValidation::Legacy,
            plain("a 1\n{\"b.c\"} 2\n"),
            &[],
            (2, 1, 1),
            "invalid metric name or label names: {__name__=\"b.c\"",
        ),
        case(
            "a UTF-8 name",
            |_| {},
            plain("{\"b.c\",\"d.e\"=\"f\"} 2\n"),
            &[r#"b.c{d.e="f",instance="i",job="job"} 2 @ 0"#],
            (1, 1, 1),
            "",
        ),
        case(
            "sample_limit counts after relabelling and fails the whole scrape",
            |config| {
                config.sample_limit = 2;
                config.metric_relabel = vec![rule("drop", "__name__", "d", None)];
            },
            plain("a 1\nb 2\nd 3\nc 4\n"),
            &[],
            (4, 3, 2),
            "sample limit exceeded",
        ),
        case(
            "sample_limit that just suffices",
            |config| config.sample_limit = 1,
            plain("a 1\na 2\n"),
            one,
            (2, 2, 1),
            "",
        ),
        case(
            "label_limit",
            |config| config.label_limit = 3,
            plain("a 1\nb{c=\"d\"} 1\n"),
            &[],
            (2, 1, 1),
            "label_limit exceeded (metric: b, number of labels: 4, limit: 3)",
        ),
        case(
            "label_name_length_limit",
            |config| config.label_name_length_limit = 8,
            plain("a{ninebytes=\"1\"} 1\n"),
            &[],
            (1, 0, 0),
            "label_name_length_limit exceeded",
        ),
        case(
            "label_value_length_limit",
            |config| config.label_value_length_limit = 3,
            plain("a{b=\"1234\"} 1\n"),
            &[],
            (1, 0, 0),
            "label_value_length_limit exceeded",
        ),
        case(
            "body_size_limit counts from the limit on",
            |config| config.body_size_limit = 4,
            plain("a 1\n"),
            &[],
            (0, 0, 0),
            "body size limit exceeded",
        ),
        case(
            "body_size_limit that suffices",
            |config| config.body_size_limit = 5,
            plain("a 1\n"),
            one,
            (1, 1, 1),
            "",
        ),
        case(
            "a status that is not 200",
            |_| {},
            answer(|| status(503)),
            &[],
            (0, 0, 0),
            "server returned HTTP status 503 Service Unavailable",
        ),
        case(
            "even a good one",
            |_| {},
            answer(|| status(204)),
            &[],
            (0, 0, 0),
            "server returned HTTP status 204 No Content",
        ),
        case(
            "gzip",
            |_| {},
            answer(|| {
                let response = Response::builder().header("content-type", "text/plain");
                response.header("content-encoding", "gzip").body(full(gzip(b"a 1\n"))).unwrap()
            }),
            one,
            (1, 1, 1),
            "",
        ),
        case(
            "broken gzip",
            |_| {},
            answer(|| {
                let response = Response::builder().header("content-type", "text/plain");
                response.header("content-encoding", "gzip").body(full("a 1\n")).unwrap()
            }),
            &[],
            (0, 0, 0),
            "broken gzip stream",
        ),
    ];
    for case in cases {
        check(case).await;
    }
}

#[tokio::test(start_paused = true)]
async fn hostile_bodies_are_refused_within_limits() {
    let bomb = gzip(&vec![b'\n'; 256 << 20]);
    let huge = bytes::Bytes::from(b"a{b=\"c\"} 1\n".repeat(100_000));
    let gzipped = |body: Vec<u8>| {
        answer(move || {
            let response = Response::builder().header("content-type", "text/plain");
            response.header("content-encoding", "gzip").body(full(body.clone())).unwrap()
        })
    };
    let endless = || {
        let chunk = huge.clone();
        answer(move || {
            let response = Response::builder().header("content-type", "text/plain");
            response.body(repeated(chunk.clone(), 100)).unwrap()
        })
    };
    for case in [
        case(
            "a gzip bomb against the engine's bound",
            |_| {},
            gzipped(bomb.clone()),
            &[],
            (0, 0, 0),
            "max_body_bytes",
        ),
        case(
            "a gzip bomb against the job's limit",
            |config| config.body_size_limit = 1 << 20,
            gzipped(bomb.clone()),
            &[],
            (0, 0, 0),
            "body size limit exceeded",
        ),
        case("110 MB against the engine's bound", |_| {}, endless(), &[], (0, 0, 0), "max_body_bytes"),
        case(
            "110 MB against the job's limit",
            |config| config.body_size_limit = 10_000_000,
            endless(),
            &[],
            (0, 0, 0),
            "body size limit exceeded",
        ),
    ] {
        check(case).await;
    }
}

#[tokio::test(start_paused = true)]
async fn large_bodies_are_parsed_whole() {
    let world = World::new();
    let script = Script::new(vec![answer(|| {
        let lines: String = (0..30_000).map(|i| format!("a_long_metric_name{{b=\"{i}\"}} {i}\n")).collect();
        text(lines)
    })])
    .await;
    world.configure(&[job("job")]);
    world.add("job", &[target(1, script.url())]);
    let batches = world.batches(1).await;
    assert_eq!(batches[0].samples.len(), 30_000 + 5);
    assert_eq!(world.status("job", 1).samples_scraped, 30_000);
    let bytes = world.metric("outrigger_scrape_cache_bytes");
    assert!((1_000_000.0..5_000_000.0).contains(&bytes), "{bytes}");
    assert_eq!(world.metric("outrigger_scrape_cache_series"), 30_005.0);
}

#[tokio::test(start_paused = true)]
async fn a_target_is_asked_as_prometheus_asks() {
    let world = World::new();
    let script = Script::bodies(&["a 1\n"]).await;
    let mut identity = job("identity");
    identity.enable_compression = false;
    identity.scrape_protocols = vec![ScrapeProtocol::PrometheusText004];
    world.configure(&[job("job"), identity]);
    for name in ["job", "identity"] {
        let mut target = target(1, script.url());
        target.timeout = Duration::from_millis(2_500);
        world.add(name, &[target]);
        world.batches(1).await;
    }
    let requests = script.requests.lock();
    let header = |request: usize, name: &str| requests[request].get(name).cloned().unwrap_or_default();
    assert_eq!(
        header(0, "accept"),
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.7,application/openmetrics-text;version=0.0.1;q=0.6,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.3"
    );
    assert_eq!(header(1, "accept"), "text/plain;version=0.0.4;q=0.7,*/*;q=0.6");
    assert_eq!(header(0, "accept-encoding"), "gzip");
    assert_eq!(header(1, "accept-encoding"), "identity");
    assert_eq!(header(0, "user-agent"), "Outrigger/test");
    assert_eq!(header(0, "x-prometheus-scrape-timeout-seconds"), "2.5");
}

#[tokio::test(start_paused = true)]
async fn a_redirect_loop_ends() {
    let world = World::new();
    let script = Script::new(vec![answer(|| {
        Response::builder().status(302).header("location", "/metrics").body(full("")).unwrap()
    })])
    .await;
    world.configure(&[job("job")]);
    world.add("job", &[target(1, script.url())]);
    assert_eq!(samples(&world.batches(1).await), report(0, 0, 0, 0, 0));
    let error = world.status("job", 1).last_error;
    assert!(error.contains("stopped after 10 redirects"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_says_so() {
    let world = World::new();
    let script = Script::bodies(&["a 1\n"]).await;
    let url = script.url();
    drop(script);
    world.configure(&[job("job")]);
    world.add("job", &[target(1, url.clone())]);
    assert_eq!(samples(&world.batches(1).await), report(0, 0, 0, 0, 0));
    let error = world.status("job", 1).last_error;
    assert!(error.starts_with(&format!("Get {url:?}: ")), "{error}");
    assert!(error.contains("connection refused"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_hangs_fails_at_its_timeout_and_delays_nobody() {
    let world = World::new();
    let hanging = crate::servers::Server::start(|_| std::future::pending()).await;
    let good = Script::bodies(&["a 1\n"]).await;
    world.configure(&[job("job")]);
    let mut other = target(2, good.url());
    other.labels = Labels::from_pairs([("job", "good")]);
    let mut all_the_time = target(1, hanging.url("/"));
    all_the_time.timeout = crate::world::INTERVAL;
    world.add("job", &[all_the_time, other]);
    assert_eq!(world.batches(1).await[0].samples[0].0.get("job"), Some("good"));
    assert_eq!(world.status("job", 1).health, Health::Unknown);

    // The timeout is as long as the interval: each scrape fails just when the next one is due, and none is missed.
    for tick in 1..4 {
        world.advance(crate::world::INTERVAL).await;
        let batches = world.batches(2).await;
        let failed = batches.iter().find(|batch| batch.samples.len() == 5).expect("only the report");
        let expected: Vec<String> = report(0, 0, 0, 0, (tick - 1) * 15_000);
        assert_eq!(samples(std::slice::from_ref(failed)), expected);
        let error = world.status("job", 1).last_error;
        assert!(error.ends_with("context deadline exceeded"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn extra_scrape_metrics_are_added_on_demand() {
    let mut world = World::new();
    let script =
        Script::new(vec![plain("a 1\n"), plain("a_body_that_is_too_long 1\n"), answer(|| status(500))]).await;
    let config =
        ScrapeConfig { extra_scrape_metrics: true, sample_limit: 7, body_size_limit: 10, ..job("job") };
    world.configure(&[config]);
    world.add("job", &[target(1, script.url())]);
    let extra = |batch: &[String]| batch[batch.len() - 3..].to_vec();
    let expected = |body: i64, at: i64| {
        [("scrape_timeout_seconds", 10), ("scrape_sample_limit", 7), ("scrape_body_size_bytes", body)]
            .map(|(name, value)| format!(r#"{name}{{instance="i",job="job"}} {value} @ {at}"#))
    };
    assert_eq!(extra(&samples(&world.batches(1).await)), expected(4, 0));
    assert_eq!(extra(&world.tick(1).await), expected(-1, 15_000));
    assert_eq!(extra(&world.tick(1).await), expected(0, 30_000));
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn too_many_targets_fail_every_scrape_of_the_job() {
    let world = World::new();
    let script = Script::bodies(&["a 1\n"]).await;
    world.configure(&[ScrapeConfig { target_limit: 1, ..job("job") }]);
    world.add("job", &[target(1, script.url())]);
    assert_eq!(samples(&world.batches(1).await)[1..], report(1, 1, 1, 1, 0));
    world.add("job", &[target(2, script.url())]);
    // The second target's first tick is now, and both series go on to be scraped: as failures.
    world.batches(1).await;
    let failed = world.tick(2).await;
    let up: Vec<&String> = failed.iter().filter(|sample| sample.starts_with("up{")).collect();
    assert!(up.iter().all(|sample| sample.contains("} 0 @")), "{failed:?}");
    assert_eq!(world.status("job", 1).last_error, "target_limit exceeded (number of targets: 2, limit: 1)");
    assert!(failed.contains(&r#"a{instance="i",job="job"} stale @ 15000"#.to_owned()), "{failed:?}");
    world.remove("job", 2);
    let recovered = world.tick(1).await;
    assert!(recovered.contains(&r#"a{instance="i",job="job"} 1 @ 30000"#.to_owned()), "{recovered:?}");
}

#[tokio::test(start_paused = true)]
async fn metadata_is_handed_over_when_it_is_new_changed_or_old() {
    let world = World::new();
    let script = Script::bodies(&[
        "# HELP a one\n# TYPE a counter\na 1\n",
        "# HELP a one\n# TYPE a counter\na 2\n",
        "# HELP a two\n# TYPE a counter\na 3\n",
    ])
    .await;
    world.configure(&[job("job")]);
    world.add("job", &[target(1, script.url())]);
    assert_eq!(described(&world.batches(1).await), ["a counter one "]);
    let expected = [
        (&[][..], "lines that are known are stepped over"),
        (&["a counter two "], "a changed line is handed over with its neighbours"),
        (&["a counter two "], "and then all of them"),
        (&[], "once"),
    ];
    for (expected, why) in expected {
        world.advance(crate::world::INTERVAL).await;
        assert_eq!(described(&world.batches(1).await), expected, "{why}");
    }
    world.advance(Duration::from_secs(600)).await;
    assert_eq!(described(&world.batches(1).await), ["a counter two "]);
}

/// What was said about families, that of the report left out.
fn described(batches: &[crate::world::Recorded]) -> Vec<String> {
    let all = batches.iter().flat_map(|batch| &batch.metadata);
    let exposed = all.filter(|known| &*known.family != "up" && !known.family.starts_with("scrape_"));
    let mut described: Vec<String> = exposed
        .map(|known| {
            let metric_type = format!("{:?}", known.metric_type).to_lowercase();
            format!("{} {metric_type} {} {}", known.family, known.help, known.unit)
        })
        .collect();
    described.sort();
    described
}

/// Remote write 2.0 says what a series is in the request that has it: a series that is new needs it at once.
#[tokio::test(start_paused = true)]
async fn a_new_series_is_described_in_the_scrape_that_brings_it() {
    const FIRST: &str = "# HELP a one\n# TYPE a counter\na_total 1\n# HELP b two\n# TYPE b gauge\nb 1\n";
    const GROWN: &str = "# HELP a one\n# TYPE a counter\na_total 1\n# HELP b two\n# TYPE b gauge\nb 1\nb{c=\"1\"} 1\nb{c=\"2\"} 1\n";
    const MORE: &str =
        "# HELP a one\n# TYPE a counter\na_total 1\n# TYPE c gauge\nc 1\n# HELP b two\n# TYPE b gauge\nb 1\n";
    for converted in [false, true] {
        let bodies = [FIRST, FIRST, GROWN, GROWN, MORE];
        let script = Script::bodies(&bodies).await;
        let world = World::new();
        let mut config = job("job");
        config.scrape_interval = Duration::from_secs(5);
        world.configure(&[config]);
        let mut target = target(1, script.url());
        target.interval = Duration::from_secs(5);
        target.timeout = Duration::from_secs(5);
        target.histograms.convert_classic = converted;
        world.add("job", &[target]);
        let mut found = vec![described(&world.batches(1).await)];
        for _ in 1..5 {
            world.advance(Duration::from_secs(5)).await;
            found.push(described(&world.batches(1).await));
        }
        let (a, b) = ("a counter one ", "b gauge two ");
        let expected: [&[&str]; 5] = [&[a, b], &[], &[b], &[], &["c gauge  "]];
        assert_eq!(found, expected, "converted {converted}");
    }
}

/// A failed scrape remembers series, but says nothing about them.
#[tokio::test(start_paused = true)]
async fn what_a_failed_scrape_brought_is_described_by_the_next() {
    let good = "# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\n";
    let script =
        Script::bodies(&["# TYPE a gauge\na 1\n", "# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\n{{\n", good])
            .await;
    let world = World::new();
    world.configure(&[job("job")]);
    world.add("job", &[target(1, script.url())]);
    assert_eq!(described(&world.batches(1).await), ["a gauge  "]);
    for expected in [&[][..], &["a gauge  ", "b gauge  "]] {
        world.advance(crate::world::INTERVAL).await;
        assert_eq!(described(&world.batches(1).await), expected);
    }
}

/// Prometheus describes the scrape's own report to remote write 2.0, also that of a target that never answered.
#[tokio::test(start_paused = true)]
async fn the_report_is_described_at_first_and_now_and_then() {
    let script = Script::new(vec![answer(|| status(500))]).await;
    let world = World::new();
    world.configure(&[job("job")]);
    world.add("job", &[target(1, script.url())]);
    let mut found = vec![world.batches(1).await.remove(0).metadata];
    for pause in [15, 15, 15, 600] {
        world.advance(Duration::from_secs(pause)).await;
        found.push(world.batches(1).await.remove(0).metadata);
    }
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [5, 0, 0, 0, 5]);
    let up = found[0].iter().find(|known| &*known.family == "up").unwrap();
    let help = "Health of the scrape target. 1 means the target is healthy, 0 if the scrape failed.";
    assert_eq!((&*up.help, &*up.unit), (help, "targets"));
}

#[tokio::test(start_paused = true)]
async fn drops_are_counted_by_reason() {
    let world = World::new();
    let script = Script::bodies(&[
        "a 1\na 2\nb 1 1700000030000\nc 1 1800000000000\n",
        "a 1\nb 1 1700000030000\nb 2 1700000029000\n",
        "a 1\nb 5 1700000030000\n",
    ])
    .await;
    world.configure(&[job("job")]);
    world.add("job", &[target(1, script.url())]);
    let dropped = |reason: &str| {
        world.metric(&format!("outrigger_scrape_samples_dropped_total{{reason=\"{reason}\"}}"))
    };
    world.batches(1).await;
    assert_eq!([dropped("duplicate"), dropped("out_of_order"), dropped("too_far_ahead")], [1.0, 0.0, 1.0]);
    // The same sample again is neither sent nor lost.
    let second = world.tick(1).await;
    assert!(!second.iter().any(|sample| sample.starts_with("b{")), "{second:?}");
    assert_eq!([dropped("duplicate"), dropped("out_of_order")], [1.0, 1.0]);
    world.tick(1).await;
    assert_eq!([dropped("duplicate"), dropped("out_of_order")], [2.0, 1.0]);
}

#[tokio::test(start_paused = true)]
async fn failed_scrapes_are_noted_in_the_failure_log() {
    let world = World::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("failures.log");
    let script = Script::new(vec![answer(|| status(500))]).await;
    world.configure(&[ScrapeConfig { scrape_failure_log_file: Some(path.clone()), ..job("job") }]);
    world.add("job", &[target(1, script.url())]);
    world.batches(1).await;
    until("the line is written", || std::fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n')))
        .await;
    let text = std::fs::read_to_string(&path).unwrap();
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["msg"], "server returned HTTP status 500 Internal Server Error");
    assert_eq!(line["job_name"], "job");
    assert_eq!(line["target"], script.url());
}

#[tokio::test(start_paused = true)]
async fn exemplars_are_handed_over_once() {
    let world = World::new();
    let body = |exemplar: &str| -> MakeAnswer {
        let body = format!("# TYPE a counter\na_total 1 # {exemplar}\n# EOF\n");
        typed("application/openmetrics-text; version=1.0.0", Box::leak(body.into_boxed_str()))
    };
    let script = Script::new(vec![
        body("{trace_id=\"x\"} 0.5 1699999999"),
        body("{trace_id=\"x\"} 0.5 1699999999"),
        body("{trace_id=\"older\"} 0.5 1699999998"),
        body("{trace_id=\"y\"} 0.5 1700000000"),
        body("{trace_id=\"untimed\"} 0.5"),
    ])
    .await;
    world.configure(&[job("job")]);
    world.add("job", &[target(1, script.url())]);
    let mut traces = Vec::new();
    for scrape in 0..6 {
        if scrape > 0 {
            world.advance(crate::world::INTERVAL).await;
        }
        for batch in world.batches(1).await {
            for (labels, exemplar) in batch.exemplars {
                assert_eq!(labels.get("__name__"), Some("a_total"));
                traces.push((scrape, exemplar.labels.get("trace_id").unwrap().to_owned()));
            }
        }
    }
    let expected = [(0, "x"), (3, "y"), (4, "untimed")].map(|(at, trace)| (at, trace.to_owned()));
    assert_eq!(traces, expected);
}

/// Exemplars of one sample come in order of time; those that were there before are not handed over again.
#[tokio::test(start_paused = true)]
async fn exemplars_of_a_converted_histogram_are_in_order_of_time() {
    const TYPE: &str = "application/openmetrics-text; version=1.0.0";
    const BODY: &str = "# TYPE h histogram\nh_bucket{le=\"1\"} 2 # {id=\"late\"} 0.5 1700000039\n\
         h_bucket{le=\"2\"} 2 # {id=\"untimed\"} 1.5\nh_bucket{le=\"+Inf\"} 3 # {id=\"early\"} 3 1700000030\n\
         h_sum 4\nh_count 3\n# EOF\n";
    const NEXT: &str = "# TYPE h histogram\nh_bucket{le=\"1\"} 2 # {id=\"new\"} 0.5 1700000050\n\
         h_bucket{le=\"+Inf\"} 3 # {id=\"older\"} 3 1700000035\nh_sum 4\nh_count 3\n# EOF\n";
    let world = World::new();
    let script = Script::new(vec![typed(TYPE, BODY), typed(TYPE, BODY), typed(TYPE, NEXT)]).await;
    world.configure(&[job("job")]);
    let mut converted = target(1, script.url());
    converted.histograms.convert_classic = true;
    world.add("job", &[converted]);
    let mut found = Vec::new();
    for scrape in 0..3 {
        if scrape > 0 {
            world.advance(crate::world::INTERVAL).await;
        }
        let batch = world.batches(1).await.remove(0);
        let ids = batch.exemplars.iter().map(|(_, exemplar)| exemplar.labels.get("id").unwrap().to_owned());
        found.push(ids.collect::<Vec<_>>());
    }
    assert_eq!(found, [&["early", "late"][..], &[], &["new"]]);
}

/// Prometheus goes on counting, and limits only what metric relabelling keeps.
#[tokio::test(start_paused = true)]
async fn a_histogram_over_the_bucket_limit_fails_the_scrape_after_all_is_counted() {
    const BODY: &str = "a 1\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\n\
         h_count 3\nb 1\nc 1\n";
    for (drop, expected) in [("x", report(0, 4, 4, 1, 0)), ("h", report(1, 4, 3, 3, 0))] {
        let world = World::new();
        let script = Script::bodies(&[BODY]).await;
        let mut config = job("job");
        config.metric_relabel = vec![rule("drop", "__name__", drop, None)];
        config.native_histogram_bucket_limit = 1;
        world.configure(&[config]);
        let mut limited = target(1, script.url());
        limited.histograms.convert_classic = true;

        world.add("job", &[limited]);
        let mut found = samples(&world.batches(1).await);
        found.retain(|sample| sample.starts_with("up{") || sample.starts_with("scrape_"));
        assert_eq!(found, expected, "{drop} is dropped");
    }
}

#[tokio::test(start_paused = true)]
async fn native_histograms_are_handed_over_and_go_stale_as_floats() {
    let world = World::new();
    let script = Script::bodies(&[
        "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\nh_count 3\n",
        "a 1\n",
    ])
    .await;
    world.configure(&[job("job")]);
    let mut converted = target(1, script.url());
    converted.histograms.convert_classic = true;
    world.add("job", &[converted]);
    let first = &world.batches(1).await[0];
    let [(labels, _, histogram)] = &first.histograms[..] else { panic!("one histogram") };
    assert_eq!(labels.get("__name__"), Some("h"));
    assert_eq!((histogram.sum, histogram.custom_values.as_slice()), (4.0, &[1.0][..]));
    assert_eq!(first.samples.len(), 5, "only the report");
    world.advance(crate::world::INTERVAL).await;
    let second = &world.batches(1).await[0];
    assert!(second.histograms.is_empty());
    let marker = r#"h{instance="i",job="job"} stale @ 15000"#.to_owned();
    assert!(samples(std::slice::from_ref(second)).contains(&marker));
    assert_eq!(second.samples.len(), 7, "the report, a and the marker");
}
