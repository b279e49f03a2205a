//! The process's own metrics on their way to a sink.

use std::sync::Arc;
use std::time::Duration;

use outrigger_collect::batch::SampleSink;
use outrigger_collect::self_scrape::{SelfScrape, SelfScrapeOptions};
use outrigger_model::clock::{Clock, ManualClock};
use outrigger_model::labels::Labels;
use outrigger_model::sample::Timestamp;
use outrigger_rt::metrics::{MetricKind, Registry};
use tokio_util::sync::CancellationToken;

use crate::world::{INTERVAL, Recorder, START, StandStill, samples, until};

#[tokio::test(start_paused = true)]
async fn own_metrics_are_scraped_like_those_of_a_target() {
    let _stand_still = StandStill::new();
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(START)));
    let (registry, sink) = (Registry::new(), Arc::new(Recorder::default()));
    let counter = registry.counter("outrigger_things_total", "Things.", &[("job", "a")]);
    let shown = Arc::new(std::sync::atomic::AtomicBool::new(true));
    registry.collector({
        let shown = Arc::clone(&shown);
        move |exposition| {
            if shown.load(std::sync::atomic::Ordering::SeqCst) {
                exposition.family("outrigger_some", "Some.", MetricKind::Gauge).sample(&[], 5.0);
            }
        }
    });
    let scrape = SelfScrape::new(SelfScrapeOptions {
        instance: "w1".into(),
        role: "worker".into(),
        labels: Labels::from_pairs([("site", "x")]),
        interval: INTERVAL,
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        registry,
        sink: Arc::clone(&sink) as Arc<dyn SampleSink>,
    });
    let stop = CancellationToken::new();
    let running = tokio::spawn(scrape.run(stop.clone()));
    let advance = |by: Duration| {
        clock.advance(by.as_millis() as i64);
        tokio::time::advance(by)
    };
    // The first tick is somewhere in the first interval.
    while sink.len() == 0 {
        tokio::task::yield_now().await;
        advance(Duration::from_millis(100)).await;
        tokio::task::yield_now().await;
    }
    let first = sink.take();
    let expected = r#"outrigger_things_total{exported_job="a",instance="w1",job="outrigger",role="worker",site="x"} 0 @"#;
    let found = samples(&first);
    assert!(found.iter().any(|sample| sample.starts_with(expected)), "{found:?}");
    assert!(found.iter().any(|sample| sample.starts_with("up{") && sample.contains(" 1 @")));
    assert!(first[0].metadata.iter().any(|metadata| &*metadata.family == "outrigger_things_total"));

    counter.add(3);
    shown.store(false, std::sync::atomic::Ordering::SeqCst);
    advance(INTERVAL).await;
    until("the second scrape", || sink.len() == 1).await;
    let found = samples(&sink.take());
    assert!(found.iter().any(|sample| sample.contains("outrigger_things_total") && sample.contains("} 3 @")));
    assert!(found.iter().any(|sample| sample.starts_with("outrigger_some{") && sample.contains(" stale ")));

    // The last values are not lost.
    counter.add(1);
    advance(Duration::from_secs(1)).await;
    stop.cancel();
    running.await.unwrap();
    let found = samples(&sink.take());
    assert!(found.iter().any(|sample| sample.contains("outrigger_things_total") && sample.contains("} 4 @")));
    assert!(!found.iter().any(|sample| sample.contains(" stale ")));
}
