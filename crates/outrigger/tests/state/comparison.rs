//! Both on the same API server, flags by flags.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use xtask::rig::{Component, ObjectPlan, Rig, User};

use crate::canonical::Canonical;
use crate::combinations::{self, Combination, Request};
use crate::process::{Exporter, Running};
use crate::{left_out, plan, rig_with_objects};

/// How long both may take until what they serve stands still, and how much longer for each of the plan's objects.
const PATIENCE: Duration = Duration::from_secs(90);
const PATIENCE_EACH: Duration = Duration::from_millis(500);
/// Scrapes in a row that have to say the same after a start or a change; later ones of the same pair need one.
const STEADY: usize = 3;
/// Scrapes in a row after which what differs is a difference and not a delay.
const UNEQUAL: usize = 20;
/// Combinations that are compared at a time.
const AT_A_TIME: usize = 2;

/// What was compared.
#[derive(Debug, Default, Clone, Copy)]
struct Compared {
    requests: usize,
    families: usize,
    samples: usize,
}

/// A pair of processes with the same flags.
struct Pair {
    theirs: Running,
    ours: Running,
}

impl Pair {
    async fn start(rig: &Rig, folder: &Path, combination: &Combination, ours: Exporter) -> Self {
        // Not the rig's own file, which a restart of the server writes anew: whoever sees it change starts anew too.
        let kubeconfig = rig.kubeconfig_at(User::KubeStateMetrics, rig.apiserver_url().unwrap()).unwrap();
        let own_flags = combination.own_flags.as_ref().unwrap_or(&combination.flags);
        Pair {
            theirs: Running::start(Exporter::KubeStateMetrics, &kubeconfig, folder, &combination.flags).await,
            ours: Running::start(ours, &kubeconfig, folder, own_flags).await,
        }
    }

    /// Scrapes ours, theirs and ours again; none if the state moved meanwhile. While it does not, Outrigger answers the
    /// same bytes.
    async fn scrape(&self, request: &Request) -> Option<(Canonical, Canonical)> {
        let own_path = request.own_path.as_ref().unwrap_or(&request.path);
        let headers: Vec<(&str, &str)> =
            request.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let before = self.ours.get(own_path, &headers).await;
        let theirs = Canonical::of(&self.theirs.get(&request.path, &headers).await);
        let after = self.ours.get(own_path, &headers).await;
        let ours = Canonical::of(&after);
        if before.body == after.body {
            return Some((theirs, ours));
        }
        let same = Canonical::of(&before) == ours;
        let stable = self.ours.exporter == Exporter::Outrigger;
        assert!(
            !(same && stable),
            "{own_path}: the order of lines is another one though nothing has changed"
        );
        same.then_some((theirs, ours))
    }

    /// Scrapes until both have said the same for a while, or have stood still for longer and differ.
    async fn compare(
        &self,
        request: &Request,
        at_least: usize,
        steady: usize,
        patience: Duration,
    ) -> Result<Canonical, Vec<String>> {
        let deadline = Instant::now() + patience;
        let mut last: Option<(Canonical, Canonical)> = None;
        let (mut equal, mut unequal) = (0, 0);
        loop {
            let pair = self.scrape(request).await;
            if let Some((theirs, ours)) = &pair {
                let same = theirs == ours && theirs.samples() >= at_least;
                equal = if same { equal + 1 } else { 0 };
                unequal = if !same && pair == last { unequal + 1 } else { 0 };
                if equal >= steady {
                    return Ok(ours.clone());
                }
                if unequal >= UNEQUAL || Instant::now() > deadline {
                    let mut all = theirs.differences(ours);
                    if theirs.samples() < at_least {
                        all.push(format!("{} samples, expected {at_least}", theirs.samples()));
                    }
                    return Err(all);
                }
            } else if Instant::now() > deadline {
                return Err(vec!["what Outrigger serves never stands still".to_owned()]);
            }
            last = pair;
            sleep(Duration::from_millis(if equal > 0 { 100 } else { 500 })).await;
        }
    }

    /// Compares every request of a combination.
    async fn compare_all(
        &self,
        combination: &Combination,
        plan: &ObjectPlan,
    ) -> Result<Compared, Vec<String>> {
        let mut compared = Compared::default();
        let mut problems = Vec::new();
        // Numbers of samples are those of the usual plan.
        let at_least = combination.at_least * plan.each.min(60) / 60;
        let patience = PATIENCE + PATIENCE_EACH * u32::try_from(plan.each).unwrap();
        for (index, request) in combination.requests.iter().enumerate() {
            let (at_least, steady) = if index == 0 { (at_least, STEADY) } else { (0, 1) };
            match self.compare(request, at_least, steady, patience).await {
                Ok(canonical) => {
                    compared.requests += 1;
                    compared.families = compared.families.max(canonical.families());
                    compared.samples += canonical.samples();
                }
                Err(differences) => {
                    problems.push(format!(
                        "{} {:?}: {} differences",
                        request.path,
                        request.headers,
                        differences.len()
                    ));
                    problems.extend(differences);
                }
            }
        }
        if problems.is_empty() { Ok(compared) } else { Err(problems) }
    }
}

/// The differences of one combination, empty if there are none.
async fn run(
    rig: &Rig,
    folder: &Path,
    combination: &Combination,
    ours: Exporter,
    plan: &ObjectPlan,
) -> Vec<String> {
    let started = Instant::now();
    let pair = Pair::start(rig, folder, combination, ours).await;
    let mut outcome = pair.compare_all(combination, plan).await;
    if combination.changes && outcome.is_ok() {
        let report = rig.change_objects(plan, plan.seed + 1).await.unwrap();
        println!("changes: {report}");
        outcome = pair.compare_all(combination, plan).await;
    }
    let named = |problem: String| format!("[{}] {problem}", combination.name);
    match outcome {
        Ok(Compared { requests, families, samples }) => {
            println!(
                "equal: {:32} {requests:3} requests {families:4} families {samples:8} samples {:6.1?}",
                combination.name,
                started.elapsed()
            );
            pair.theirs.stop().await;
            pair.ours.stop().await;
            Vec::new()
        }
        Err(problems) => {
            println!("UNEQUAL: {}: {}", combination.name, problems.len());
            println!("their log ends:\n{}\nour log ends:\n{}", pair.theirs.log_end(), pair.ours.log_end());
            problems.into_iter().map(named).collect()
        }
    }
}

fn is_chosen(combination: &Combination) -> bool {
    let only = std::env::var("OUTRIGGER_STATE_ONLY").unwrap_or_default();
    only.is_empty() || only.split(',').any(|part| combination.name.contains(part))
}

/// Runs combinations, a few at a time, and what changes objects at the end and alone.
async fn run_all(rig: &Rig, combinations: &[Combination], ours: Exporter, plan: &ObjectPlan) -> Vec<String> {
    use futures_util::stream::{self, StreamExt as _};
    let folder = rig.dir();
    let (changing, standing): (Vec<_>, Vec<_>) =
        combinations.iter().partition(|combination| combination.changes);
    let runs = standing.into_iter().map(|combination| run(rig, folder, combination, ours, plan));
    let mut problems: Vec<String> = stream::iter(runs).buffered(AT_A_TIME).concat().await;
    for combination in changing {
        problems.extend(run(rig, folder, combination, ours, plan).await);
    }
    problems
}

fn fail_on(problems: &[String]) {
    assert!(
        problems.is_empty(),
        "{} lines of differences (first theirs, second ours):\n{}",
        problems.len(),
        problems.join("\n")
    );
}

/// Without this the comparison could call something a difference that differs between two kube-state-metrics.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kube_state_metrics_equals_itself() {
    if left_out("kube-state-metrics beside itself") {
        return;
    }
    let plan = plan();
    let rig = rig_with_objects(&plan).await;
    let whole = std::env::var_os("OUTRIGGER_STATE_ITSELF").is_some();
    let chosen = |combination: &Combination| {
        is_chosen(combination)
            && combination.own_flags.is_none()
            && (whole
                || ["defaults", "everything", "custom resources", "changes"].contains(&combination.name))
    };
    let combinations: Vec<_> = combinations::all(&rig).into_iter().filter(chosen).collect();
    fail_on(&run_all(&rig, &combinations, Exporter::KubeStateMetrics, &plan).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outrigger_equals_kube_state_metrics() {
    if left_out("Outrigger beside kube-state-metrics") {
        return;
    }
    let plan = plan();
    let rig = rig_with_objects(&plan).await;
    let combinations = combinations::all(&rig);
    let names: BTreeSet<_> = combinations.iter().map(|combination| combination.name).collect();
    assert!(names.len() == combinations.len() && names.len() >= 20, "{names:?}");
    let chosen: Vec<_> = combinations.into_iter().filter(is_chosen).collect();
    fail_on(&run_all(&rig, &chosen, Exporter::Outrigger, &plan).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_are_equal_again_after_the_api_server_was_away() {
    if left_out("Outrigger beside kube-state-metrics while the API server restarts") {
        return;
    }
    let plan = ObjectPlan { each: 10, ..plan() };
    let mut rig = rig_with_objects(&plan).await;
    let everything = combinations::all(&rig).into_iter().find(|one| one.name == "everything").unwrap();
    let pair = Pair::start(&rig, rig.dir(), &everything, Exporter::Outrigger).await;
    fail_on(&pair.compare_all(&everything, &plan).await.err().unwrap_or_default());
    let before = pair.ours.get("/metrics", &[]).await;
    rig.stop(Component::KubeApiserver).await.unwrap();
    let meanwhile = pair.ours.get("/metrics", &[]).await;
    let differences = Canonical::of(&before).differences(&Canonical::of(&meanwhile));
    // The server's own lease is renewed meanwhile, and goes when it ends.
    assert!(differences.iter().all(|difference| difference.starts_with("kube_lease_")), "{differences:#?}");
    rig.start(Component::KubeApiserver).await.unwrap();
    println!("{}", rig.change_objects(&plan, plan.seed + 2).await.unwrap());
    fail_on(&pair.compare_all(&everything, &plan).await.err().unwrap_or_default());
}
