//! Workers that come and go under load: what moves, how even the load is afterwards, and whether a tick was missed.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Result, bail};
use futures_util::future::try_join_all;
use outrigger_sim::drill::TargetKey;
use outrigger_sim::drill::judge::{self, Evidence, Verdict};
use tokio::time::{Instant, sleep};

use super::stage::{Scale, Stage};

/// Load of a worker over the mean beyond which it is not even.
const EVEN: f64 = 0.10;
/// How long a change of the number of workers may take to settle.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

/// One change of the number of workers.
#[derive(Debug, Clone)]
pub struct Step {
    /// Workers before and after.
    pub workers: (usize, usize),
    /// Targets that have another owner than before.
    pub moved: usize,
    /// Their series.
    pub moved_series: u64,
    /// Series that have to move at least: those of workers that go, or what others have above the mean.
    pub least_series: u64,
    /// From the first change to when all have the same load, within a tenth, and every target one owner.
    pub even_after: Duration,
    /// The largest deviation of a worker's series from the mean, one interval after that.
    pub deviation: f64,
    /// What the judge says of it.
    pub verdict: Verdict,
}

/// Who scrapes what.
type Owners = HashMap<TargetKey, String>;

/// Runs with the scale's number of workers, then with each of `counts` in turn.
///
/// # Errors
/// When the drill itself cannot go on, or the load does not become even.
pub async fn scale(scale: Scale, counts: &[usize], say: impl Fn(&str)) -> Result<Vec<Step>> {
    let mut stage = Stage::start(scale).await?;
    // How even the load is before anything has changed is not judged.
    let (mut owners, after) = even(&stage, f64::INFINITY).await?;
    say(&format!(
        "{} workers share all targets after {:.1} s, {:.1} % off the mean",
        stage.workers.len(),
        after.as_secs_f64(),
        deviation(&stage, &owners) * 100.0
    ));
    let mut windows = Vec::new();
    let mut steps = Vec::new();
    for count in counts {
        sleep(stage.scale.interval * 2).await;
        let before = owners.clone();
        let from = stage.targets.now();
        let workers = (running(&stage), *count);
        resize(&mut stage, *count).await?;
        let (now, even_after) = even(&stage, EVEN).await?;
        sleep(stage.scale.interval).await;
        owners = owners_now(&stage).await.unwrap_or(now);
        let step = step(&stage, workers, &before, &owners, even_after);
        windows.push(from..stage.targets.now());
        say(&line(&step));
        steps.push(step);
    }
    sleep(stage.scale.interval * 2).await;
    let (served, accounts, staying) = (stage.targets.served(), stage.ledger.accounts(), stage.staying());
    let evidence = Evidence {
        served: &served,
        accounts: &accounts,
        targets: &staying,
        interval: stage.scale.interval,
        excuses: &[],
    };
    for (step, window) in steps.iter_mut().zip(&windows) {
        step.verdict = judge::judge(&evidence, window);
    }
    Ok(steps)
}

fn running(stage: &Stage) -> usize {
    stage.workers.iter().filter(|worker| worker.id().is_some()).count()
}

/// Starts workers at the same time, or ends the last ones at the same time.
async fn resize(stage: &mut Stage, count: usize) -> Result<()> {
    if count >= stage.workers.len() {
        while stage.workers.len() < count {
            stage.add_worker().await?;
        }
        return Ok(());
    }
    let going = stage.workers.split_off(count);
    let ids = going.iter().filter_map(|worker| worker.id());
    try_join_all(ids.map(crate::rig::ProcessId::end)).await?;
    Ok(())
}

/// Waits until every target has one owner and no load is further off the mean; the owners, and how long it took.
async fn even(stage: &Stage, most: f64) -> Result<(Owners, Duration)> {
    let from = Instant::now();
    let mut last = String::new();
    while from.elapsed() < SETTLED_WITHIN {
        match owners_now(stage).await {
            Some(owners) => {
                let deviation = deviation(stage, &owners);
                if deviation <= most {
                    return Ok((owners, from.elapsed()));
                }
                last = format!("a worker's load is {:.0} % off the mean", deviation * 100.0);
            }
            None => "some target has no owner or two".clone_into(&mut last),
        }
        sleep(Duration::from_millis(250)).await;
    }
    bail!("after {SETTLED_WITHIN:?} {last}; the logs are in {}", stage.scale.folder.display())
}

/// The owner of each target that stays; `None` while one has none or two.
async fn owners_now(stage: &Stage) -> Option<Owners> {
    let mut owners = Owners::new();
    let mut twice = false;
    for (worker, targets) in stage.owners().await {
        for target in targets {
            twice |= owners.insert(target, worker.clone()).is_some();
        }
    }
    let staying: HashSet<TargetKey> = stage.staying().into_iter().collect();
    owners.retain(|target, _| staying.contains(target));
    (!twice && owners.len() == staying.len()).then_some(owners)
}

fn loads(stage: &Stage, owners: &Owners) -> HashMap<String, u64> {
    let mut loads: HashMap<String, u64> =
        stage.workers.iter().map(|worker| (worker.name.clone(), 0)).collect();
    for (target, worker) in owners {
        *loads.entry(worker.clone()).or_default() += stage.targets.series_of(*target);
    }
    loads
}

fn deviation(stage: &Stage, owners: &Owners) -> f64 {
    let loads = loads(stage, owners);
    let mean = loads.values().sum::<u64>() as f64 / loads.len().max(1) as f64;
    loads.values().map(|load| (*load as f64 / mean - 1.0).abs()).fold(0.0, f64::max)
}

fn step(
    stage: &Stage,
    workers: (usize, usize),
    before: &Owners,
    after: &Owners,
    even_after: Duration,
) -> Step {
    let moved: Vec<TargetKey> = after
        .iter()
        .filter(|(target, worker)| before.get(target).is_some_and(|owner| owner != *worker))
        .map(|(target, _)| *target)
        .collect();
    let total: u64 = after.keys().map(|target| stage.targets.series_of(*target)).sum();
    let mean = total as f64 / workers.1.max(1) as f64;
    let stay: HashSet<&str> = stage.workers.iter().map(|worker| worker.name.as_str()).collect();
    let mut had: HashMap<&str, u64> = HashMap::new();
    for (target, worker) in before {
        *had.entry(worker).or_default() += stage.targets.series_of(*target);
    }
    let must_go = |(worker, load): (&&str, &u64)| {
        if stay.contains(*worker) { (*load as f64 - mean).max(0.0) } else { *load as f64 }
    };
    Step {
        workers,
        moved: moved.len(),
        moved_series: moved.iter().map(|target| stage.targets.series_of(*target)).sum(),
        least_series: had.iter().map(must_go).sum::<f64>() as u64,
        even_after,
        deviation: deviation(stage, after),
        verdict: Verdict::default(),
    }
}

fn line(step: &Step) -> String {
    format!(
        "{} -> {} workers: {} targets moved with {} series, {:.3} of the least; even after {:.1} s, then {:.1} % off the mean",
        step.workers.0,
        step.workers.1,
        step.moved,
        step.moved_series,
        step.ratio(),
        step.even_after.as_secs_f64(),
        step.deviation * 100.0
    )
}

impl Step {
    /// Series that moved for each one that had to.
    pub fn ratio(&self) -> f64 {
        self.moved_series as f64 / (self.least_series as f64).max(1.0)
    }

    /// Whether nothing was missed and no more than a tenth moved needlessly.
    pub fn is_clean(&self) -> bool {
        self.verdict.is_clean() && self.ratio() <= 1.0 + EVEN && self.deviation <= EVEN
    }

    /// All steps as a table.
    pub fn markdown(steps: &[Self]) -> String {
        let mut text = String::from(
            "| workers | targets moved | series moved | least possible | ratio | even after s | off the mean | missed | double | lost | wrong, missing markers |\n\
             |---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for step in steps {
            let verdict = &step.verdict;
            let _ = writeln!(
                text,
                "| {} -> {} | {} | {} | {} | {:.3} | {:.1} | {:.1} % | {} | {} | {} | {}, {} |",
                step.workers.0,
                step.workers.1,
                step.moved,
                step.moved_series,
                step.least_series,
                step.ratio(),
                step.even_after.as_secs_f64(),
                step.deviation * 100.0,
                verdict.missed,
                verdict.double,
                verdict.lost,
                verdict.wrong_markers,
                verdict.missing_markers,
            );
        }
        text
    }
}
