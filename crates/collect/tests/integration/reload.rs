//! What a new configuration keeps.

use outrigger_config::prometheus::ScrapeConfig;
use outrigger_model::http::HttpClientConfig;
use outrigger_model::target::TargetId;

use crate::scraping::rule;
use crate::world::{INTERVAL, Script, World, job, samples, target, until};

fn added(samples: &[String]) -> &str {
    let sample =
        samples.iter().find(|sample| sample.starts_with("scrape_series_added")).expect("always reported");
    sample.split("} ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a value")
}

/// A change of the job and whether its caches, and with them the staleness of its series, live on.
#[tokio::test(start_paused = true)]
async fn caches_live_on_unless_the_change_could_alter_samples() {
    type Edit = fn(&mut ScrapeConfig);
    let cases: [(&str, Edit, bool); 13] = [
        ("nothing", |_| {}, true),
        ("timeout", |config| config.scrape_timeout = INTERVAL, true),
        ("interval", |config| config.scrape_interval = 2 * INTERVAL, true),
        ("sample_limit", |config| config.sample_limit = 100, true),
        (
            "http_config",
            |config| {
                config.http = HttpClientConfig { follow_redirects: false, ..HttpClientConfig::default() }
            },
            true,
        ),
        ("target_limit", |config| config.target_limit = 100, true),
        ("relabel_configs", |config| config.relabel = vec![rule("keep", "a", ".*", None)], true),
        ("series_limit", |config| config.series_limit = 100, true),
        ("job_series_limit", |config| config.job_series_limit = 100, true),
        ("disable_keepalive", |config| config.disable_keepalive = true, true),
        ("label_limit", |config| config.label_limit = 100, false),
        ("honor_labels", |config| config.honor_labels = true, false),
        (
            "metric_relabel_configs",
            |config| config.metric_relabel = vec![rule("keep", "a", ".*", None)],
            false,
        ),
    ];
    for (name, edit, kept) in cases {
        let script = Script::bodies(&["a 1\nb 1\n", "a 1\n"]).await;
        let world = World::new();
        world.configure(&[job("job")]);
        world.add("job", &[target(1, script.url())]);
        world.batches(1).await;
        let mut changed = job("job");
        edit(&mut changed);
        world.configure(&[changed]);
        if !kept {
            // The new loop's first tick is the present one.
            world.batches(1).await;
        }
        let mut found = world.tick(1).await;
        assert_eq!(added(&found), "0", "{name}");
        found.extend(world.tick(1).await);
        world.advance(INTERVAL / 10).await;
        until("nothing waits", || world.metric("outrigger_scrape_pending_stale_series") == 0.0).await;
        found.extend(samples(&world.sink.take()));
        let stale: Vec<&String> = found.iter().filter(|sample| sample.contains(" stale ")).collect();
        // b vanished either way, and is marked once: by the next scrape, or when the old loop's time is up.
        assert_eq!(stale, [r#"b{instance="i",job="job"} stale @ 15000"#], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_gone_ends_its_series_and_one_that_is_new_waits_for_its_targets() {
    let script = Script::bodies(&["a 1\n"]).await;
    let world = World::new();
    world.configure(&[job("job")]);
    world.add("job", &[target(1, script.url())]);
    // Targets may arrive before their job.
    world.add("other", &[target(1, script.url())]);
    world.batches(1).await;
    world.configure(&[job("other")]);
    assert!(world.engine.status("job", TargetId(1)).is_none());
    assert!(world.engine.status("other", TargetId(1)).is_some());
    let first = samples(&world.batches(1).await);
    assert_eq!(added(&first), "1", "{first:?}");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_cannot_be_set_up_leaves_everything_as_it_was() {
    let script = Script::bodies(&["a 1\n"]).await;
    let world = World::new();
    world.configure(&[job("job")]);
    world.add("job", &[target(1, script.url())]);
    world.batches(1).await;
    let mut bad = job("bad");
    bad.http.tls.ca = Some(outrigger_model::http::PemSource::Inline("not a certificate".to_owned()));
    let configs = [job("other"), bad].map(std::sync::Arc::new);
    let error = world.engine.apply_config(&configs).unwrap_err();
    assert_eq!(error.to_string(), "scrape job \"bad\": set up the HTTP client");
    assert!(world.engine.status("job", TargetId(1)).is_some());
    assert_eq!(world.tick(1).await[0], r#"a{instance="i",job="job"} 1 @ 15000"#);
}

#[tokio::test(start_paused = true)]
async fn a_known_target_is_replaced_without_a_gap() {
    let (old, new) = (Script::bodies(&["a 1\nb 1\n"]).await, Script::bodies(&["a 2\nb 2\n"]).await);
    let world = World::new();
    world.configure(&[job("job")]);
    world.add("job", &[target(1, old.url())]);
    world.batches(1).await;
    world.add("job", &[target(1, new.url())]);
    let found = world.tick(1).await;
    assert_eq!(found[0], r#"a{instance="i",job="job"} 2 @ 15000"#);
    assert_eq!(added(&found), "0");
}
