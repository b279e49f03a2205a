//! Targets that move from one engine to another: as if it had been one engine all the time.

use std::sync::Arc;
use std::time::Duration;

use outrigger_collect::scrape::HandedOver;
use outrigger_model::target::{ScrapeTarget, TargetId};
use outrigger_wire::centre::Inheritance;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::sync::mpsc;

use crate::servers::{Server, status, text};
use crate::world::{INTERVAL, MakeAnswer, Script, World, job, samples, target, until};

/// So far time moves at once; ticks are on multiples of it.
const STEP: Duration = Duration::from_millis(500);
const STEPS_PER_TICK: usize = 30;
const TICKS: usize = 12;

/// When targets move, in steps after the one before has arrived, and how long each is under way.
type Moves = Vec<(usize, usize)>;

/// Bodies in which series come and go, some with times of their own, and failed scrapes.
fn answers() -> Vec<MakeAnswer> {
    let body = |body: &'static str| -> MakeAnswer { Box::new(move || text(body)) };
    vec![
        body("a 1\nb{x=\"1\"} 1\nc 1\n"),
        body("a 2\nc 2\n"),
        body("a 3\nd 1\nc 3\n"),
        body("d 2\n"),
        Box::new(|| status(500)),
        body("a 5\nown 1 1700000039000\n"),
        body("a 6\nown 1 1700000039000\nb{x=\"1\"} 2\n"),
        body("a 7\nown 2 1700000040000\n"),
        body("a 8\n"),
        body(""),
        body("a 9\nb{x=\"1\"} 3\n"),
        body("b{x=\"1\"} 4\n"),
        body("b{x=\"1\"} 5\n"),
    ]
}

async fn release(world: &World, id: u64) -> HandedOver {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    world.engine.release("job", &[TargetId(id)], &sender);
    receiver.recv().await.unwrap()
}

/// All samples of the scripted target, with the tick that each scrape belongs to in place of its time.
async fn run(moves: Moves) -> Vec<Vec<String>> {
    let script = Script::new(answers()).await;
    let first = World::new();
    let second = first.beside();
    let worlds = [first, second];
    worlds.iter().for_each(|world| world.configure(&[job("job")]));
    let the_target = target(1, script.url());
    worlds[0].add("job", std::slice::from_ref(&the_target));
    let sink = Arc::clone(&worlds[0].sink);
    let mut owner = 0;
    let mut moves = moves.into_iter();
    let mut next = moves.next();
    let (mut since, mut under_way) = (0, None::<(usize, Option<Inheritance>)>);
    for step in 0..TICKS * STEPS_PER_TICK {
        if step > 0 {
            worlds[0].advance(STEP).await;
        }
        if let Some((steps, inheritance)) = under_way.take() {
            if steps == 0 {
                owner = 1 - owner;
                worlds[owner].engine.adopt(vec![(Arc::new(the_target.clone()), inheritance)]);
            } else {
                under_way = Some((steps - 1, inheritance));
            }
        }
        if under_way.is_none() {
            let ticks = step / STEPS_PER_TICK + 1;
            until("the scrape of this tick is done", || sink.len() >= ticks).await;
            assert_eq!(sink.len(), ticks, "at step {step}");
            since += 1;
            if let Some((_, delay)) = next.filter(|(after, _)| since > *after) {
                let handed = release(&worlds[owner], 1).await;
                under_way = Some((delay, handed.inheritance));
                (next, since) = (moves.next(), 0);
            }
        }
    }
    let batches = sink.take();
    let mut found: Vec<Vec<String>> = Vec::new();
    for (tick, batch) in batches.iter().enumerate() {
        let at = tick as i64 * INTERVAL.as_millis() as i64;
        let of_tick = samples(std::slice::from_ref(batch)).into_iter().map(|sample| {
            let (series, time) = sample.rsplit_once(" @ ").unwrap();
            let late = time.parse::<i64>().unwrap() - at;
            // Times of their own are kept, times of the scrape are shown as its tick.
            let own = series.starts_with("own");
            assert!(own || (0..15_000).contains(&late), "{sample} in tick {tick}");
            if own { sample } else { format!("{series} @ tick {tick}") }
        });
        found.push(of_tick.collect());
    }
    assert_eq!(script.requests.lock().len(), found.len());
    found
}

fn blocking<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(future)
}

#[test]
fn a_target_that_moves_loses_no_tick_no_sample_and_no_marker() {
    let expected = blocking(run(Vec::new()));
    assert_eq!(expected.len(), TICKS);
    let mut runner = TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
    // Under way for less than an interval: nothing may be missed.
    let moves = prop::collection::vec((0usize..70, 0usize..STEPS_PER_TICK - 1), 0..8);
    runner
        .run(&moves, |moves| {
            prop_assert_eq!(blocking(run(moves)), expected.clone());
            Ok(())
        })
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_scrape_under_way_ends_before_the_target_is_handed_over() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let server = Server::start(move |_| {
        let gate = Arc::clone(&opened);
        async move {
            gate.acquire().await.unwrap().forget();
            text("a 1\n")
        }
    })
    .await;
    let world = World::new();
    world.configure(&[job("job")]);
    let quick = Script::bodies(&["b 1\n"]).await;
    world.add("job", &[target(1, server.url("/")), target(2, quick.url())]);
    until("one is scraped, the other under way", || {
        world.sink.len() == 1 && world.metric("outrigger_scrapes_running") == 1.0
    })
    .await;
    let (sender, mut receiver) = mpsc::unbounded_channel();
    world.engine.release("job", &[TargetId(1), TargetId(2), TargetId(3)], &sender);
    let mut early = [receiver.recv().await.unwrap(), receiver.recv().await.unwrap()];
    early.sort_by_key(|handed| handed.id);
    assert_eq!(early.each_ref().map(|handed| handed.id.0), [2, 3], "one that is busy holds up no other");
    assert!(early[0].inheritance.is_some() && early[1].inheritance.is_none());
    assert!(receiver.try_recv().is_err());
    assert_eq!(world.engine.targets().len(), 0);
    gate.add_permits(1);
    let late = receiver.recv().await.unwrap();
    assert_eq!(late.id, TargetId(1));
    assert!(!late.inheritance.unwrap().series.is_empty());
    assert_eq!(world.sink.len(), 2);
    // No marker, no further scrape, nothing left.
    world.advance(3 * INTERVAL).await;
    until("nothing is remembered", || world.metric("outrigger_scrape_cache_bytes") == 0.0).await;
    assert_eq!(world.sink.len(), 2);
}

/// Everything that is a stale marker, by name.
fn markers(found: &[String]) -> Vec<&str> {
    let stale = found.iter().filter(|sample| sample.contains(" stale "));
    let mut names: Vec<&str> = stale.filter_map(|sample| sample.split('{').next()).collect();
    names.sort_unstable();
    names
}

const REPORTS: [&str; 5] = [
    "scrape_duration_seconds",
    "scrape_samples_post_metric_relabeling",
    "scrape_samples_scraped",
    "scrape_series_added",
    "up",
];

#[tokio::test(start_paused = true)]
async fn the_heir_marks_series_of_a_target_that_goes_before_its_first_scrape_there() {
    let script = Script::bodies(&["a 1\n"]).await;
    let world = World::new();
    let heir = world.beside();
    [&world, &heir].iter().for_each(|world| world.configure(&[job("job")]));
    world.add("job", &[target(1, script.url())]);
    world.batches(1).await;
    let handed = release(&world, 1).await;
    heir.engine.adopt(vec![(Arc::new(target(1, script.url())), handed.inheritance)]);
    heir.remove("job", 1);
    heir.advance(2 * INTERVAL + INTERVAL / 10).await;
    let found = samples(&heir.batches(1).await);
    assert_eq!(markers(&found), [&["a"][..], &REPORTS].concat());
    assert_eq!(script.requests.lock().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_went_while_nobody_scraped_it_is_buried() {
    let script = Script::bodies(&["a 1\nb 1\n"]).await;
    let other = Script::bodies(&["a 1\n"]).await;
    let world = World::new();
    let heir = world.beside();
    [&world, &heir].iter().for_each(|world| world.configure(&[job("job")]));
    world.add("job", &[target(1, script.url())]);
    world.batches(1).await;
    let orphan = release(&world, 1).await.inheritance.unwrap();
    assert!(
        !heir.engine.bury(
            Arc::new(ScrapeTarget { job: "unknown".into(), ..target(1, script.url()) }),
            orphan.clone(),
        )
    );
    assert!(heir.engine.bury(Arc::new(target(1, script.url())), orphan));
    // The same series under another identity save their lives.
    heir.add("job", &[target(2, other.url())]);
    heir.batches(1).await;
    let mut found = heir.tick(1).await;
    found.extend(heir.tick(1).await);
    heir.advance(INTERVAL / 10).await;
    found.extend(samples(&heir.batches(1).await));
    assert_eq!(markers(&found), ["b"]);
    assert_eq!(heir.metric("outrigger_scrape_ticks_skipped_total"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_at_the_heir_still_ends_the_series() {
    let good = || -> MakeAnswer { Box::new(|| text("a 1\nb 1\n")) };
    // Not gzip at all: the body cannot be read.
    let broken = || -> MakeAnswer {
        Box::new(|| {
            let mut answer = text("a 1\nnew 1\n");
            answer.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
            answer
        })
    };
    let script = Script::new(vec![good(), broken(), good()]).await;
    let world = World::new();
    let heir = world.beside();
    [&world, &heir].iter().for_each(|world| world.configure(&[job("job")]));
    world.add("job", &[target(1, script.url())]);
    world.batches(1).await;
    let handed = release(&world, 1).await;
    heir.engine.adopt(vec![(Arc::new(target(1, script.url())), handed.inheritance)]);
    assert_eq!(markers(&heir.tick(1).await), ["a", "b"]);
    assert_eq!(markers(&heir.tick(1).await), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_target_waits_for_its_job_with_what_it_inherited() {
    let script = Script::bodies(&["a 1\nb 1\n", "a 2\n"]).await;
    let world = World::new();
    let heir = world.beside();
    world.configure(&[job("job")]);
    world.add("job", &[target(1, script.url())]);
    world.batches(1).await;
    let handed = release(&world, 1).await;
    heir.engine.adopt(vec![(Arc::new(target(1, script.url())), handed.inheritance)]);
    // Moved on unscraped, and back.
    let handed = release(&heir, 1).await;
    assert!(handed.inheritance.is_some());
    heir.engine.adopt(vec![(Arc::new(target(1, script.url())), handed.inheritance)]);
    assert_eq!(heir.engine.targets().len(), 1);
    heir.configure(&[job("job")]);
    assert_eq!(markers(&heir.tick(1).await), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stood_still_asks_before_it_scrapes() {
    let script = Script::bodies(&["a 1\n"]).await;
    let world = World::new();
    world.configure(&[job("job")]);
    world.engine.set_stall_limit(Duration::from_secs(20));
    world.add("job", &[target(1, script.url())]);
    world.batches(1).await;
    // Late, but within the limit.
    world.advance(INTERVAL + Duration::from_secs(19)).await;
    world.batches(1).await;
    world.advance(INTERVAL + Duration::from_secs(21)).await;
    world.engine.stalled().await;
    assert_eq!(world.sink.len(), 0);
    world.engine.set_paused(false);
    world.batches(1).await;
    assert_eq!(script.requests.lock().len(), 3);
}
