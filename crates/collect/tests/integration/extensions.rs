//! What vmagent has beside Prometheus: series limits, ticks at chosen times, scrapes without stale markers.

use std::time::Duration;

use outrigger_config::prometheus::{ScrapeConfig, ScrapePhase};
use outrigger_model::target::ScrapeTarget;

use crate::world::{INTERVAL, Script, World, job, samples, target, until};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Samples that are no report, without labels and time; and the reports of the series limits.
fn shown(samples: &[String]) -> (Vec<String>, Vec<String>) {
    let short = |sample: &String| {
        let (series, rest) = sample.split_once('{').unwrap();
        let label = rest.split_once("x=\"").map_or("", |(_, rest)| rest.split('"').next().unwrap());
        format!("{series}{label} {}", rest.split("} ").nth(1).unwrap().split(" @").next().unwrap())
    };
    let (reports, own): (Vec<&String>, Vec<&String>) =
        samples.iter().partition(|sample| sample.starts_with("up{") || sample.starts_with("scrape_"));
    let limits = reports
        .into_iter()
        .filter(|sample| sample.starts_with("scrape_series_") && !sample.contains("_added"));
    (own.into_iter().map(short).collect(), limits.map(short).collect())
}

fn limits(limit: u64, current: u64, dropped: u64) -> Vec<String> {
    vec![
        format!("scrape_series_limit {limit}"),
        format!("scrape_series_current {current}"),
        format!("scrape_series_limit_samples_dropped {dropped}"),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_series_limit_keeps_the_first_series_of_a_day_and_says_what_it_leaves_out() {
    let script = Script::bodies(&[
        "m{x=\"1\"} 1\nm{x=\"2\"} 2\n",
        "m{x=\"1\"} 1\nm{x=\"3\"} 3\nm{x=\"2\"} 2\nm{x=\"4\"} 4\n",
        "m{x=\"3\"} 3\nm{x=\"4\"} 4\nm{x=\"1\"} 1\n",
        "m{x=\"3\"} 3\nm{x=\"4\"} 4\nm{x=\"1\"} 1\n",
    ])
    .await;
    let mut world = World::new();
    world.configure(&[ScrapeConfig { series_limit: 2, ..job("job") }]);
    world.add("job", &[target(0, script.url())]);
    assert_eq!(
        shown(&samples(&world.batches(1).await)),
        (vec!["m1 1".into(), "m2 2".into()], limits(2, 2, 0))
    );
    let second = world.tick(1).await;
    assert_eq!(shown(&second), (vec!["m1 1".into(), "m2 2".into()], limits(2, 2, 2)));
    assert!(
        second
            .iter()
            .any(|sample| sample.starts_with("scrape_samples_post_metric_relabeling")
                && sample.contains(" 4 @"))
    );
    // What is admitted goes stale as ever; what is not has no marker.
    assert_eq!(shown(&world.tick(1).await), (vec!["m1 1".into(), "m2 stale".into()], limits(2, 2, 2)));
    assert_eq!(world.metric("outrigger_scrape_samples_dropped_total{reason=\"series_limit\"}"), 4.0);
    // A day later others come first.
    world.advance(DAY).await;
    world.batches(1).await;
    let next = world.tick(1).await;
    assert_eq!(shown(&next), (vec!["m3 3".into(), "m4 4".into()], limits(2, 2, 1)));
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_jobs_series_limit_counts_all_its_targets_and_may_be_raised() {
    let (first, second) = (
        Script::bodies(&["m{x=\"1\"} 1\nm{x=\"2\"} 2\n"]).await,
        Script::bodies(&["m{x=\"3\"} 3\nm{x=\"4\"} 4\n"]).await,
    );
    let mut world = World::new();
    let config = ScrapeConfig { job_series_limit: 3, ..job("job") };
    world.configure(std::slice::from_ref(&config));
    world.add("job", &[target(0, first.url())]);
    assert_eq!(shown(&samples(&world.batches(1).await)).0.len(), 2);
    world.add(
        "job",
        &[ScrapeTarget {
            labels: outrigger_model::labels::Labels::from_pairs([("instance", "j")]),
            ..target(1 << 32, second.url())
        }],
    );
    world.advance(Duration::ZERO).await;
    let both = world.tick(2).await;
    let (own, limits) = shown(&both);
    assert_eq!(own.len(), 3, "{own:?}");
    let dropped: Vec<&String> = limits.iter().collect();
    assert_eq!(dropped.len(), 2, "only what a job's limit drops: {limits:?}");
    assert!(limits.contains(&"scrape_series_limit_samples_dropped 1".to_owned()), "{limits:?}");
    world.configure(&[ScrapeConfig { job_series_limit: 4, ..config }]);
    world.sink.take();
    let all = world.tick(2).await;
    assert_eq!(shown(&all).0.len(), 4, "{all:?}");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_may_do_without_stale_markers() {
    let script = Script::bodies(&["a 1\nb 1\n", "a 1\n"]).await;
    let mut world = World::new();
    world.configure(&[ScrapeConfig { no_stale_markers: true, ..job("job") }]);
    world.add("job", &[target(1, script.url())]);
    world.batches(1).await;
    let found = world.tick(1).await;
    assert!(found.iter().any(|sample| sample.starts_with("a{")), "{found:?}");
    assert!(!found.iter().any(|sample| sample.contains("stale")), "{found:?}");
    world.remove("job", 1);
    world.advance(3 * INTERVAL).await;
    until("nothing waits", || world.metric("outrigger_scrape_pending_stale_series") == 0.0).await;
    assert_eq!(world.sink.len(), 0);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn ticks_are_where_the_job_wants_them_also_after_a_reload() {
    let script = Script::bodies(&["a 1\n"]).await;
    let mut world = World::new();
    let config = ScrapeConfig { phase: ScrapePhase::Offset(Duration::from_secs(4)), ..job("job") };
    world.configure(std::slice::from_ref(&config));
    world.add("job", &[target(1, script.url())]);
    world.advance(Duration::from_secs(4)).await;
    let first = samples(&world.batches(1).await);
    assert!(first[0].ends_with(" @ 4000"), "{first:?}");
    world.configure(&[ScrapeConfig { phase: ScrapePhase::Offset(Duration::from_secs(6)), ..config }]);
    // The tick that was planned before takes place.
    let second = world.tick(1).await;
    assert!(second[0].ends_with(" @ 19000"), "{second:?}");
    world.advance(Duration::from_secs(2)).await;
    let third = samples(&world.batches(1).await);
    assert!(third[0].ends_with(" @ 21000"), "{third:?}");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn small_targets_are_asked_for_plain_text_and_connections_end_where_that_is_wanted() {
    let script = Script::bodies(&["a 1\n"]).await;
    let mut world = World::new();
    world.configure(&[ScrapeConfig { disable_keepalive: true, ..job("job") }]);
    world.add("job", &[target(1, script.url())]);
    world.batches(1).await;
    world.tick(1).await;
    let requests = script.requests.lock().clone();
    let header = |at: usize, name: &str| requests[at].get(name).map(String::as_str);
    assert_eq!(
        (header(0, "accept-encoding"), header(1, "accept-encoding")),
        (Some("gzip"), Some("identity"))
    );
    assert_eq!((header(0, "connection"), header(1, "connection")), (Some("close"), Some("close")));
    world.end().await;
}
