//! The fault matrix: every part down alone and in pairs, under load.

use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result};
use outrigger_sim::drill::TargetKey;
use outrigger_sim::drill::judge::{self, Evidence, Excuse, Verdict};
use tokio::time::{Instant, sleep};

use super::fault::{Combination, Course, Fault};
use super::stage::{PASSING_PODS, Scale, Stage};

/// How long what is on its way may take at the end.
const DELIVERED_WITHIN: Duration = Duration::from_secs(60);

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How large.
    pub scale: Scale,
    /// Faults, in this order.
    pub combinations: Vec<Combination>,
    /// How long each lasts, in intervals.
    pub fault_intervals: u32,
    /// How long it is watched after its end, in intervals.
    pub calm_intervals: u32,
}

/// What was seen.
#[derive(Debug)]
pub struct Report {
    heading: String,
    /// Each combination with its verdict.
    pub rows: Vec<(String, Verdict)>,
    /// Pods that went, and how many of their series had no stale marker at the end.
    pub gone: (usize, usize),
    /// Targets of which something is wrong, with what, at most a few for each row.
    pub suspects: Vec<String>,
}

/// A pod that went while everything else went on.
struct Gone {
    target: TargetKey,
}

/// Runs the plan; `say` gets a line for whoever waits.
///
/// # Errors
/// When the drill itself cannot go on, such as a process that does not start.
pub async fn outage(plan: &Plan, say: impl Fn(&str)) -> Result<Report> {
    let mut stage = Stage::start(plan.scale.clone()).await?;
    say(&format!(
        "{} targets, {} workers, {} masters, {} members of etcd{}; logs in {}",
        plan.scale.targets,
        plan.scale.workers,
        plan.scale.masters,
        plan.scale.etcd,
        if stage.names.is_some() { "" } else { ", without names (they need root)" },
        plan.scale.folder.display()
    ));
    let interval = plan.scale.interval;
    sleep(interval * 2).await;
    let mut excuses: Vec<Excuse> = Vec::new();
    let mut windows: Vec<(String, Range<Duration>)> = Vec::new();
    let mut course = Course::default();
    let mut gone: Vec<Gone> = Vec::new();
    for combination in &plan.combinations {
        if stage.names.is_none() && combination.0.contains(&Fault::Dns) {
            say(&format!("not run: {} needs root for a name server of its own", combination.name()));
            continue;
        }
        let from = stage.targets.now();
        if let Some(one) = let_one_pod_go(&mut stage, course.turn) {
            gone.push(one);
        }
        run_one(&mut stage, plan, combination, &mut course, &mut excuses).await?;
        let window = from..stage.targets.now();
        let verdict = verdict_of(&stage, &excuses, &window);
        say(&format!("{}: {}", combination.name(), line(&verdict)));
        windows.push((combination.name(), window));
        course.turn += 1;
    }
    until_delivered(&stage, &excuses, &windows).await;
    if stage.scale.keep {
        describe_suspects(&stage, &excuses, &windows)?;
    }
    Ok(report(&stage, plan, &excuses, &windows, &gone))
}

async fn run_one(
    stage: &mut Stage,
    plan: &Plan,
    combination: &Combination,
    course: &mut Course,
    excuses: &mut Vec<Excuse>,
) -> Result<()> {
    let interval = plan.scale.interval;
    let until = Instant::now() + interval * plan.fault_intervals;
    for fault in &combination.0 {
        stage.begin(*fault, course).await?;
        // Not both within one interval, so that the second meets what the first has done.
        sleep(interval / 2).await;
    }
    tokio::time::sleep_until(until - interval * plan.fault_intervals / 2).await;
    stage.change(combination, course);
    tokio::time::sleep_until(until).await;
    stage.heal(combination, course, excuses).await?;
    sleep(interval * plan.calm_intervals).await;
    Ok(())
}

/// Replaces a pod that is not among the staying ones: its series have to end with stale markers, whatever else fails.
fn let_one_pod_go(stage: &mut Stage, turn: usize) -> Option<Gone> {
    let slot = stage.population.pods() - 1 - turn % PASSING_PODS as usize;
    let target = TargetKey::of_address(stage.population.address(slot));
    let scraped = stage.targets.served().contains_key(&target);
    stage.population.replace_pod(slot);
    stage.population.make_ready(slot);
    // One that had not been found yet has nothing to mark.
    scraped.then_some(Gone { target })
}

fn verdict_of(stage: &Stage, excuses: &[Excuse], window: &Range<Duration>) -> Verdict {
    with_evidence(stage, excuses, |evidence| judge::judge(evidence, window))
}

fn with_evidence<T>(stage: &Stage, excuses: &[Excuse], judge: impl FnOnce(&Evidence<'_>) -> T) -> T {
    let (served, accounts, staying) = (stage.targets.served(), stage.ledger.accounts(), stage.staying());
    judge(&Evidence {
        served: &served,
        accounts: &accounts,
        targets: &staying,
        interval: stage.scale.interval,
        excuses,
    })
}

/// Waits until everything that was scraped has arrived, as long as more arrives.
async fn until_delivered(stage: &Stage, excuses: &[Excuse], windows: &[(String, Range<Duration>)]) {
    let Some(((_, first), (_, last))) = windows.first().zip(windows.last()) else { return };
    let all = first.start..last.end;
    let deadline = Instant::now() + DELIVERED_WITHIN;
    while Instant::now() < deadline && verdict_of(stage, excuses, &all).lost > 0 {
        sleep(Duration::from_secs(2)).await;
    }
}

fn report(
    stage: &Stage,
    plan: &Plan,
    excuses: &[Excuse],
    windows: &[(String, Range<Duration>)],
    gone: &[Gone],
) -> Report {
    let mut report = Report {
        heading: format!(
            "{} targets every {} s, {} workers, {} masters, {} members of etcd; leases of {} s, faults of {} s",
            plan.scale.targets,
            plan.scale.interval.as_secs_f64(),
            plan.scale.workers,
            plan.scale.masters,
            plan.scale.etcd,
            plan.scale.lease.as_secs_f64(),
            (plan.scale.interval * plan.fault_intervals).as_secs_f64(),
        ),
        rows: Vec::new(),
        gone: (gone.len(), 0),
        suspects: Vec::new(),
    };
    with_evidence(stage, excuses, |evidence| {
        for (name, window) in windows {
            report.rows.push((name.clone(), judge::judge(evidence, window)));
            let suspects = judge::suspects(evidence, window);
            for (target, verdict) in suspects.iter().take(3) {
                report.suspects.push(format!("{name}: {target}: {}", line(verdict)));
            }
        }
        for one in gone {
            let served = evidence.served.get(&one.target).map_or(&[][..], Vec::as_slice);
            let unmarked = evidence.accounts.get(&one.target).map(|a| judge::unmarked_at_end(served, a));
            report.gone.1 += unmarked.map_or(0, |series| series.len());
        }
    });
    report
}

/// Leaves what happened to the suspects beside the logs.
fn describe_suspects(stage: &Stage, excuses: &[Excuse], windows: &[(String, Range<Duration>)]) -> Result<()> {
    let now = jiff::Timestamp::now();
    let text = with_evidence(stage, excuses, |evidence| {
        let mut text = String::new();
        for (name, window) in windows {
            let ago = stage.targets.now().saturating_sub(window.start);
            let began = now - jiff::SignedDuration::try_from(ago).unwrap_or_default();
            let _ = writeln!(text, "{name}, from {began}");
            for (target, verdict) in judge::suspects(evidence, window).iter().take(100) {
                let _ =
                    writeln!(text, "  {}\n    {}", judge::describe(evidence, *target, window), line(verdict));
            }
        }
        text
    });
    let path = stage.scale.folder.join("suspects.txt");
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// One line for whoever waits.
fn line(verdict: &Verdict) -> String {
    format!(
        "{} scrapes, {} missed, {} double, {} lost, {} wrong and {} missing markers, {} failed; of a killed worker: {} missed, {} scrapes and {} markers lost with it; longest gap {:.1} s, latest {:.1} s",
        verdict.scrapes,
        verdict.missed,
        verdict.double,
        verdict.lost,
        verdict.wrong_markers,
        verdict.missing_markers,
        verdict.failed,
        verdict.excused_missed,
        verdict.excused_scrapes,
        verdict.excused_markers,
        verdict.longest_gap.as_secs_f64(),
        verdict.latest.as_secs_f64(),
    )
}

impl Report {
    /// Whether nothing was missed, double, lost or marked wrongly without an excuse.
    pub fn is_clean(&self) -> bool {
        self.gone.1 == 0 && self.rows.iter().all(|(_, verdict)| verdict.is_clean())
    }

    /// The heading.
    pub fn heading(&self) -> &str {
        &self.heading
    }

    /// The report as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::from(
            "| down | scrapes | missed | double | lost | wrong markers | missing markers | late markers | failed | repeated | killed worker's: missed, scrapes lost, markers lost | longest gap s | latest s |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        let mut total = Verdict::default();
        for (name, verdict) in &self.rows {
            total += *verdict;
            row(&mut text, name, verdict);
        }
        row(&mut text, "**all**", &total);
        let _ = writeln!(
            text,
            "\n{} pods went meanwhile; {} of their series had no stale marker at the end.",
            self.gone.0, self.gone.1
        );
        if !self.suspects.is_empty() {
            let _ = writeln!(text, "\nSuspects:\n");
            self.suspects.iter().for_each(|suspect| {
                let _ = writeln!(text, "- {suspect}");
            });
        }
        text
    }
}

fn row(text: &mut String, name: &str, verdict: &Verdict) {
    let _ = writeln!(
        text,
        "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {}, {}, {} | {:.1} | {:.1} |",
        verdict.scrapes,
        verdict.missed,
        verdict.double,
        verdict.lost,
        verdict.wrong_markers,
        verdict.missing_markers,
        verdict.late_markers,
        verdict.failed,
        verdict.repeated,
        verdict.excused_missed,
        verdict.excused_scrapes,
        verdict.excused_markers,
        verdict.longest_gap.as_secs_f64(),
        verdict.latest.as_secs_f64(),
    );
}
