use std::sync::Arc;

use super::*;

const SECOND: Millis = 1_000;

fn loads(workers: u64, status: impl Fn(u64) -> WorkerStatus) -> Vec<WorkerLoad> {
    (0..workers)
        .map(|worker| WorkerLoad {
            name: Arc::from(format!("worker-{worker}")),
            instance: 1,
            status: status(worker),
        })
        .collect()
}

/// Each worker has these series and has used this share of its only CPU so far.
fn status(now: Millis, series: u64, cpu: f64) -> WorkerStatus {
    WorkerStatus {
        series,
        cpu_seconds: cpu * now as f64 / 1_000.0,
        cpu_limit: 1.0,
        memory_limit_bytes: 1 << 30,
        resident_bytes: 100 << 20,
        ..WorkerStatus::default()
    }
}

/// Calls every two seconds from `from` to `until`; gives the last answer.
fn follow(
    scaling: &mut Scaling,
    (from, until): (Millis, Millis),
    workers: impl Fn(Millis) -> Vec<WorkerLoad>,
) -> u64 {
    let mut wanted = 0;
    for now in (from..=until).step_by(2_000) {
        wanted = scaling.update(now, &workers(now));
    }
    wanted
}

#[test]
fn series_beyond_the_limit_ask_for_more_workers_after_a_while() {
    let mut scaling = Scaling::new(ScalingLimits::default());
    let calm = |now| loads(2, |_| status(now, 900_000, 0.2));
    assert_eq!(follow(&mut scaling, (0, 30 * SECOND), calm), 1);
    let busy = |now| loads(2, |_| status(now, 2_500_000, 0.2));
    assert_eq!(follow(&mut scaling, (30 * SECOND, 40 * SECOND), busy), 1, "it may pass");
    assert_eq!(follow(&mut scaling, (42 * SECOND, 50 * SECOND), busy), 3);
}

#[test]
fn cpu_is_measured_between_two_looks() {
    let mut scaling = Scaling::new(ScalingLimits::default());
    let busy = |now| loads(3, |_| status(now, 1_000, 0.9));
    // 3 x 0.9 CPU at 60 % each: five workers.
    assert_eq!(follow(&mut scaling, (0, 90 * SECOND), busy), 5);
}

#[test]
fn it_shrinks_one_by_one_and_slowly() {
    let mut scaling = Scaling::new(ScalingLimits::default());
    let busy = |now| loads(4, |_| status(now, 1_900_000, 0.3));
    assert_eq!(follow(&mut scaling, (0, 30 * SECOND), busy), 4);
    let idle = |now| loads(4, |_| status(now, 100_000, 0.05));
    assert_eq!(follow(&mut scaling, (32 * SECOND, 5 * 60 * SECOND), idle), 4);
    assert_eq!(follow(&mut scaling, (302 * SECOND, 6 * 60 * SECOND), idle), 3);
    assert_eq!(follow(&mut scaling, (362 * SECOND, 12 * 60 * SECOND), idle), 2);
}

#[test]
fn a_load_that_comes_and_goes_changes_nothing() {
    let mut scaling = Scaling::new(ScalingLimits::default());
    let mut answers = std::collections::BTreeSet::new();
    for now in (0..20 * 60 * SECOND).step_by(2_000) {
        let series = if (now / 10_000) % 2 == 0 { 1_950_000 } else { 2_100_000 };
        let wanted = scaling.update(now, &loads(4, |_| status(now, series, 0.2)));
        if now > 60 * SECOND {
            answers.insert(wanted);
        }
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[test]
fn workers_that_are_late_need_help_whatever_they_say_otherwise() {
    let mut scaling = Scaling::new(ScalingLimits::default());
    let late = |now| loads(3, |_| WorkerStatus { lateness_seconds: 2.0, ..status(now, 1_000, 0.1) });
    let fine = |now| loads(3, |_| status(now, 1_000, 0.1));
    follow(&mut scaling, (0, 10 * SECOND), fine);
    assert_eq!(follow(&mut scaling, (12 * SECOND, 40 * SECOND), late), 4);
}

#[test]
fn the_number_stays_between_its_bounds_and_nothing_is_known_without_workers() {
    let limits = ScalingLimits { least: 2, most: 3, ..ScalingLimits::default() };
    let mut scaling = Scaling::new(limits.clone());
    assert_eq!(scaling.update(0, &[]), 2);
    let busy = |now| loads(2, |_| status(now, 50_000_000, 0.9));
    assert_eq!(follow(&mut scaling, (2 * SECOND, 60 * SECOND), busy), 3);
    // All workers are gone for a moment: what was wanted is still wanted.
    assert_eq!(scaling.update(62 * SECOND, &[]), 3);
}
