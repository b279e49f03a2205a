//! When series end: stale markers of vanished series, failed scrapes and removed targets.

use outrigger_model::labels::Labels;

use crate::scraping::report;
use crate::servers::{status, text};
use crate::world::{INTERVAL, MakeAnswer, Script, World, job, samples, target, until};

fn of(name: &str, value: &str, at: i64) -> String {
    format!(r#"{name}{{instance="i",job="job"}} {value} @ {at}"#)
}

/// Everything that is a stale marker.
fn stale(samples: &[String]) -> Vec<String> {
    let mut stale: Vec<String> =
        samples.iter().filter(|sample| sample.contains(" stale ")).cloned().collect();
    stale.sort();
    stale
}

const REPORTS: [&str; 5] = [
    "scrape_duration_seconds",
    "scrape_samples_post_metric_relabeling",
    "scrape_samples_scraped",
    "scrape_series_added",
    "up",
];

/// Bodies of successive scrapes and the stale markers of each.
#[tokio::test(start_paused = true)]
async fn series_that_are_no_longer_exposed_get_one_marker() {
    type Steps = &'static [(&'static str, &'static [&'static str])];
    let cases: [(&str, bool, Steps); 6] = [
        ("vanished", false, &[("a 1\nb 1\n", &[]), ("a 1\n", &["b"]), ("a 1\n", &[])]),
        ("all vanished", false, &[("a 1\nb 1\n", &[]), ("", &["a", "b"]), ("", &[])]),
        (
            "came back",
            false,
            &[("a 1\nb 1\n", &[]), ("a 1\n", &["b"]), ("a 1\nb 1\n", &[]), ("a 1\n", &["b"])],
        ),
        (
            "written differently",
            false,
            &[
                ("a{x=\"1\",y=\"2\"} 1\n", &[]),
                ("a{y=\"2\",x=\"1\"} 2\n", &[]),
                ("a{ y=\"2\",x=\"1\"} 2\n", &[]),
            ],
        ),
        ("explicit timestamps are exempt", false, &[("a 1 1700000039000\nb 1\n", &[]), ("b 1\n", &[])]),
        ("unless they are tracked", true, &[("a 1 1700000039000\nb 1\n", &[]), ("b 1\n", &["a"])]),
    ];
    for (name, track, steps) in cases {
        let bodies: Vec<&'static str> = steps.iter().map(|(body, _)| *body).collect();
        let script = Script::bodies(&bodies).await;
        let world = World::new();
        let mut config = job("job");
        config.track_timestamps_staleness = track;
        world.configure(&[config]);
        world.add("job", &[target(1, script.url())]);
        for (step, (_, expected)) in steps.iter().enumerate() {
            let found = if step == 0 { samples(&world.batches(1).await) } else { world.tick(1).await };
            let expected: Vec<String> =
                expected.iter().map(|series| of(series, "stale", step as i64 * 15_000)).collect();
            assert_eq!(stale(&found), expected, "{name}, scrape {step}");
        }
    }
}

/// A failed scrape has no samples. What was read before the failure is not stale yet, as in Prometheus; everything else
/// is.
#[tokio::test(start_paused = true)]
async fn a_failed_scrape_ends_the_series_that_were_not_read_but_not_the_report() {
    type Failure = (&'static str, &'static [&'static str], fn() -> MakeAnswer);
    let failures: [Failure; 4] = [
        ("status", &["a", "b"], || Box::new(|| status(500))),
        ("parse error after some samples", &[], || Box::new(|| text("a 2\nb 2\n{{{\n"))),
        ("sample limit", &[], || Box::new(|| text("a 2\nb 2\nc 2\n"))),
        ("label limit after some samples", &["b"], || {
            Box::new(|| text("a 2\nx{y=\"a value that is too long\"} 1\n"))
        }),
    ];
    for (name, unread, failure) in failures {
        let good = || -> MakeAnswer { Box::new(|| text("a 1\nb 1\n")) };
        let script = Script::new(vec![good(), failure(), good(), failure(), failure()]).await;
        let world = World::new();
        let mut config = job("job");
        config.sample_limit = 2;
        config.label_value_length_limit = 10;
        world.configure(&[config]);
        world.add("job", &[target(1, script.url())]);
        world.batches(1).await;
        for (scrape, expected) in [(1, unread), (2, &[]), (3, unread), (4, &[])] {
            let found = world.tick(1).await;
            let at = scrape * 15_000;
            let expected: Vec<String> = expected.iter().map(|series| of(series, "stale", at)).collect();
            assert_eq!(stale(&found), expected, "{name}, scrape {scrape}");
            let values = found.iter().filter(|sample| sample.starts_with("a{") && !sample.contains("stale"));
            assert_eq!(values.count(), usize::from(scrape == 2), "{name}, scrape {scrape}");
            assert!(found.contains(&of("up", if scrape == 2 { "1" } else { "0" }, at)), "{name}: {found:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn series_that_only_a_failed_scrape_had_end_with_the_next() {
    let script = Script::bodies(&["a 1\n", "a 2\nb 2\n{{{\n", "a 3\n"]).await;
    let world = World::new();
    world.configure(&[job("job")]);
    world.add("job", &[target(1, script.url())]);
    world.batches(1).await;
    assert_eq!(stale(&world.tick(1).await), Vec::<String>::new());
    assert_eq!(stale(&world.tick(1).await), [of("b", "stale", 30_000)]);
}

#[tokio::test(start_paused = true)]
async fn the_series_of_a_failing_scrape_are_counted_as_prometheus_counts_them() {
    let script = Script::bodies(&["a 1\nb 1\nc 1\n"]).await;
    let world = World::new();
    let mut config = job("job");
    config.sample_limit = 2;
    world.configure(&[config]);
    world.add("job", &[target(1, script.url())]);
    // a and b are remembered although nothing was taken; c is new each time but over the limit.
    assert_eq!(samples(&world.batches(1).await), report(0, 3, 3, 2, 0));
    assert_eq!(world.tick(1).await, report(0, 3, 3, 0, 15_000));
}

#[tokio::test(start_paused = true)]
async fn a_removed_target_is_marked_at_its_first_missed_scrape_after_two_ticks_and_a_tenth() {
    let script = Script::bodies(&["a 1\nb 1 1700000039000\n"]).await;
    let world = World::new();
    world.configure(&[job("job")]);
    world.add("job", &[target(1, script.url())]);
    world.batches(1).await;
    world.remove("job", 1);
    assert!(world.engine.status("job", outrigger_model::target::TargetId(1)).is_none());

    // Nothing yet after two ticks.
    world.advance(2 * INTERVAL).await;
    until("the series wait", || world.metric("outrigger_scrape_pending_stale_series") == 6.0).await;
    assert_eq!(world.sink.len(), 0);
    world.advance(INTERVAL / 10).await;
    let mut found = samples(&world.batches(1).await);
    found.sort();
    let mut expected: Vec<String> = REPORTS.iter().map(|name| of(name, "stale", 15_000)).collect();
    expected.push(of("a", "stale", 15_000));
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(world.metric("outrigger_scrape_pending_stale_series"), 0.0);
    assert_eq!(world.metric("outrigger_scrape_cache_bytes"), 0.0);
    assert_eq!(script.requests.lock().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_was_never_scraped_leaves_nothing_behind() {
    let script = Script::bodies(&["a 1\n"]).await;
    let world = World::with(|options| options.offset_seed = 7_000_000_000);
    world.configure(&[job("job")]);
    world.add("job", &[target(0, script.url())]);
    world.remove("job", 0);
    world.add("job", &[target(0, script.url())]);
    // Only the second one is scraped, seven seconds after the full interval.
    world.advance(INTERVAL / 15 * 7).await;
    let found = samples(&world.batches(1).await);
    assert_eq!(found[0], of("a", "1", 7_000));
    for _ in 0..3 {
        assert_eq!(stale(&world.tick(1).await), [""; 0]);
    }
}

/// The same series under another identity: nothing is marked that is exposed again.
#[tokio::test(start_paused = true)]
async fn a_target_that_reappears_is_not_marked() {
    // What the old and the new target expose, and what is marked when the old one's time is up.
    let cases: [(&str, &str, u64, &[&str]); 3] = [
        ("a 1\nb 1\n", "a 2\nb 2\n", 2, &[]),
        ("a 1\nb 1\n", "a 2\n", 2, &["b"]),
        ("a 1\nb 1\n", "a 2\n", 1, &["b"]),
    ];
    for (old, new, new_id, expected) in cases {
        let (old, new) = (Script::bodies(&[old]).await, Script::bodies(&[new]).await);
        let world = World::new();
        world.configure(&[job("job")]);
        world.add("job", &[target(1, old.url())]);
        world.batches(1).await;
        world.remove("job", 1);
        world.add("job", &[target(new_id, new.url())]);
        // Its first tick is the present one; the sample has the same time as the old one's and is the newer word.
        world.batches(1).await;
        let mut found = world.tick(1).await;
        found.extend(world.tick(1).await);
        world.advance(INTERVAL / 10).await;
        until("the old target's time is up", || world.metric("outrigger_scrape_pending_stale_series") == 0.0)
            .await;
        found.extend(samples(&world.sink.take()));
        let expected: Vec<String> = expected.iter().map(|series| of(series, "stale", 15_000)).collect();
        assert_eq!(stale(&found), expected);
    }
}

/// A target that comes back too late, or with other labels, does not save the series.
#[tokio::test(start_paused = true)]
async fn a_target_with_other_labels_saves_nothing() {
    let script = Script::bodies(&["a 1\n"]).await;
    let world = World::new();
    world.configure(&[job("job")]);
    world.add("job", &[target(1, script.url())]);
    world.batches(1).await;
    world.remove("job", 1);
    let mut other = target(2, script.url());
    other.labels = Labels::from_pairs([("job", "job"), ("instance", "other")]);
    world.add("job", &[other]);
    world.batches(1).await;
    world.tick(1).await;
    world.tick(1).await;
    world.advance(INTERVAL / 10).await;
    let found = samples(&world.batches(1).await);
    assert_eq!(stale(&found).len(), 6, "{found:?}");
}

/// Two targets that expose the same series (a private label tells them apart): one of them leaves.
#[tokio::test(start_paused = true)]
async fn series_that_another_target_exposes_as_well_are_not_marked() {
    let (first, second) = (Script::bodies(&["a 1\nb 1\n"]).await, Script::bodies(&["a 2\n"]).await);
    let world = World::new();
    world.configure(&[job("job")]);
    world.add("job", &[target(1, first.url()), target(2, second.url())]);
    world.batches(2).await;
    world.tick(2).await;
    world.remove("job", 1);
    let mut found = Vec::new();
    for _ in 0..2 {
        found.extend(world.tick(1).await);
    }
    world.advance(INTERVAL / 10).await;
    found.extend(samples(&world.batches(1).await));
    assert_eq!(stale(&found), [of("b", "stale", 30_000)]);
}

#[tokio::test(start_paused = true)]
async fn a_target_removed_during_its_scrape_is_marked_with_what_that_scrape_brought() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let opened = std::sync::Arc::clone(&gate);
    let server = crate::servers::Server::start(move |_| {
        let gate = std::sync::Arc::clone(&opened);
        async move {
            gate.acquire().await.unwrap().forget();
            text("a 1\n")
        }
    })
    .await;
    let world = World::new();
    world.configure(&[job("job")]);
    world.add("job", &[target(1, server.url("/"))]);
    until("the scrape is under way", || world.metric("outrigger_scrapes_running") == 1.0).await;
    world.remove("job", 1);
    gate.add_permits(1);
    assert_eq!(samples(&world.batches(1).await)[0], of("a", "1", 0));
    world.advance(2 * INTERVAL + INTERVAL / 10).await;
    assert_eq!(stale(&samples(&world.batches(1).await)).len(), 6);
}

#[tokio::test(start_paused = true)]
async fn shutdown_writes_no_markers_and_lets_scrapes_finish() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(1));
    let opened = std::sync::Arc::clone(&gate);
    let server = crate::servers::Server::start(move |_| {
        let gate = std::sync::Arc::clone(&opened);
        async move {
            gate.acquire().await.unwrap().forget();
            text("a 1\n")
        }
    })
    .await;
    let mut world = World::new();
    world.configure(&[job("job")]);
    world.add("job", &[target(1, server.url("/"))]);
    world.batches(1).await;
    world.advance(INTERVAL).await;
    until("the scrape is under way", || world.metric("outrigger_scrapes_running") == 1.0).await;
    world.stop.cancel();
    gate.add_permits(1);
    world.end().await;
    let found = samples(&world.sink.take());
    assert_eq!(found[0], of("a", "1", 15_000));
    assert_eq!(stale(&found), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn markers_of_removed_targets_do_not_wait_beyond_a_shutdown() {
    let script = Script::bodies(&["a 1\n"]).await;
    let stays = Script::bodies(&["b 1\n"]).await;
    let mut world = World::new();
    world.configure(&[job("job")]);
    world.add("job", &[target(1, script.url()), target(2, stays.url())]);
    world.batches(2).await;
    world.remove("job", 1);
    world.end().await;
    let found = samples(&world.sink.take());
    assert_eq!(stale(&found), [of("a", "stale", 15_000)], "the reports are those of the other target, too");
}

#[tokio::test(start_paused = true)]
async fn a_scrape_that_outlasts_the_shutdown_says_nothing() {
    let hanging = crate::servers::Server::start(|_| std::future::pending()).await;
    let mut world = World::new();
    world.configure(&[job("job")]);
    world.add("job", &[target(1, hanging.url("/"))]);
    until("the scrape is under way", || world.metric("outrigger_scrapes_running") == 1.0).await;
    world.stop.cancel();
    tokio::task::yield_now().await;
    world.advance(std::time::Duration::from_secs(5)).await;
    world.end().await;
    assert_eq!(world.sink.len(), 0);
}

/// What a series had last is remembered beyond its end: nothing is sent that is older, whatever becomes of it between.
#[tokio::test(start_paused = true)]
async fn a_series_that_comes_back_has_no_sample_older_than_its_marker() {
    type Steps = &'static [(&'static str, &'static [(&'static str, i64)])];
    // Bodies, and the samples of `a` with their times.
    let cases: [(&str, Steps); 4] = [
        (
            "own times all the time",
            &[
                ("a 1 1700000039000\nb 1\n", &[("1", -1_000)]),
                ("b 1\n", &[("stale", 15_000)]),
                ("a 2 1700000054000\nb 1\n", &[]),
                ("a 3 1700000055001\nb 1\n", &[("3", 15_001)]),
            ],
        ),
        (
            "own times only when it is back",
            &[
                ("a 1\nb 1\n", &[("1", 0)]),
                ("b 1\n", &[("stale", 15_000)]),
                ("a 2 1700000054000\nb 1\n", &[]),
                ("a 3 1700000055001\nb 1\n", &[("3", 15_001)]),
            ],
        ),
        (
            "ended by a failure",
            &[
                ("a 1\nb 1\n", &[("1", 0)]),
                ("{{{\n", &[("stale", 15_000)]),
                ("a 2 1700000054000\nb 1\n", &[]),
                ("a 3 1700000055001\nb 1\n", &[("3", 15_001)]),
            ],
        ),
        (
            "never there before",
            &[
                ("b 1\n", &[]),
                ("b 1\n", &[]),
                ("a 1 1700000039000\nb 1\n", &[("1", -1_000)]),
                // Another value for the same time is not taken, so the series is no longer there.
                ("a 2 1700000039000\nb 1\n", &[("stale", 45_000)]),
            ],
        ),
    ];
    for (name, steps) in cases {
        let bodies: Vec<&'static str> = steps.iter().map(|(body, _)| *body).collect();
        let script = Script::bodies(&bodies).await;
        let world = World::new();
        let mut config = job("job");
        config.track_timestamps_staleness = true;
        world.configure(&[config]);
        world.add("job", &[target(1, script.url())]);
        for (step, (_, expected)) in steps.iter().enumerate() {
            let found = if step == 0 { samples(&world.batches(1).await) } else { world.tick(1).await };
            let found: Vec<_> = found.into_iter().filter(|sample| sample.starts_with("a{")).collect();
            let expected: Vec<_> = expected.iter().map(|(value, at)| of("a", value, *at)).collect();
            assert_eq!(found, expected, "{name}, scrape {step}");
        }
    }
}

/// The very sample that was there before is neither sent again nor lost, and its series is still there.
#[tokio::test(start_paused = true)]
async fn a_sample_that_is_exposed_again_with_its_own_time_keeps_its_series_alive() {
    const BODY: &str = "a NaN 1700000039000\nb +Inf 1700000039000\n# TYPE h histogram\n\
         h_bucket{le=\"1\"} 2 1700000039000\nh_bucket{le=\"+Inf\"} 3 1700000039000\n\
         h_sum 4 1700000039000\nh_count 3 1700000039000\n";
    for convert in [false, true] {
        let script = Script::bodies(&[BODY]).await;
        let world = World::new();
        let mut config = job("job");
        config.track_timestamps_staleness = true;
        world.configure(&[config]);
        let mut target = target(1, script.url());
        target.histograms.convert_classic = convert;
        world.add("job", &[target]);
        let first = world.batches(1).await.remove(0);
        assert_eq!(first.samples.len() + first.histograms.len(), if convert { 8 } else { 11 });
        for _ in 0..2 {
            world.advance(INTERVAL).await;
            let again = world.batches(1).await.remove(0);
            assert_eq!((again.samples.len(), again.histograms.len()), (5, 0), "only the report");
        }
        assert_eq!(world.metric("outrigger_scrape_samples_dropped_total{reason=\"duplicate\"}"), 0.0);
    }
}

/// The scrape's own report and an exposed series of the same name and labels are one series.
#[tokio::test(start_paused = true)]
async fn a_report_and_an_exposed_series_of_its_name_stay_in_order() {
    let script = Script::bodies(&["up 5\n", "up 6 1700000050000\n", "up 7 1700000041000\n", "a 1\n"]).await;
    let world = World::new();
    let mut config = job("job");
    config.track_timestamps_staleness = true;
    world.configure(&[config]);
    world.add("job", &[target(1, script.url())]);
    let mut found = samples(&world.batches(1).await);
    for _ in 1..4 {
        found.extend(world.tick(1).await);
    }
    found.retain(|sample| sample.starts_with("up{"));
    // The third exposed value is too old, so the series ends then, and the marker has the first word.
    let expected = [("5", 0), ("6", 10_000), ("1", 15_000), ("stale", 30_000), ("1", 45_000)];
    assert_eq!(found, expected.map(|(value, at)| of("up", value, at)));
}
