use proptest::prelude::*;

use super::*;

fn config(providers: usize, target_limit: u64) -> Arc<ScrapeConfig> {
    let mut config = ScrapeConfig::new("job");
    config.target_limit = target_limit;
    config.discovery = vec![outrigger_config::prometheus::DiscoveryConfig::Static(Vec::new()); providers];
    Arc::new(config)
}

fn targets(addresses: &[&str]) -> Vec<Labels> {
    addresses.iter().map(|address| Labels::from_pairs([("__address__", *address)])).collect()
}

/// What the engine would have after the deltas.
#[derive(Debug, Default, PartialEq)]
struct Engine {
    instances: BTreeMap<u64, String>,
    over_target_limit: bool,
}

impl Engine {
    fn apply(&mut self, deltas: Vec<TargetDelta>) {
        for delta in deltas {
            for id in &delta.removed {
                assert!(self.instances.remove(&id.0).is_some(), "removed a target that was never added");
            }
            for target in &delta.added {
                let instance = target.labels.get("instance").unwrap_or_default().to_owned();
                assert!(self.instances.insert(target.id.0, instance).is_none(), "added a target twice");
            }
            self.over_target_limit = delta.over_target_limit;
        }
    }

    fn instances(&self) -> Vec<&str> {
        let mut instances: Vec<_> = self.instances.values().map(String::as_str).collect();
        instances.sort_unstable();
        instances
    }
}

#[test]
fn a_target_of_two_sources_goes_with_the_last_of_them() {
    let mut job = JobTargets::new(config(2, 0));
    let mut engine = Engine::default();
    let none = Labels::empty();
    job.update(0, "one", &none, &targets(&["a", "b", "b"]));
    job.update(1, "two", &none, &targets(&["b"]));
    engine.apply(job.flush());
    assert_eq!(engine.instances(), ["a", "b"]);
    job.update(0, "one", &none, &[]);
    engine.apply(job.flush());
    assert_eq!(engine.instances(), ["b"]);
    job.update(1, "two", &none, &[]);
    engine.apply(job.flush());
    assert!(engine.instances().is_empty());
    assert_eq!(job.counts(), Counts::default());
}

#[test]
fn an_identical_result_gives_no_delta() {
    let mut job = JobTargets::new(config(1, 0));
    let none = Labels::empty();
    job.update(0, "one", &none, &targets(&["a"]));
    assert_eq!(job.flush().len(), 1);
    job.update(0, "one", &none, &targets(&["a"]));
    assert!(job.flush().is_empty());
    // Gone and back within one batch: the engine hears nothing.
    job.update(0, "one", &none, &[]);
    job.update(0, "other", &none, &targets(&["a"]));
    assert!(job.flush().is_empty());
}

#[test]
fn crossing_the_target_limit_is_told_even_when_no_target_changed_hands() {
    let mut job = JobTargets::new(config(1, 1));
    let mut engine = Engine::default();
    let none = Labels::empty();
    job.update(0, "one", &none, &targets(&["a", "b"]));
    engine.apply(job.flush());
    assert!(engine.over_target_limit);
    let mut job = JobTargets::succeed(config(1, 2), job, &[]);
    job.update(0, "one", &none, &targets(&["a", "b"]));
    let deltas = job.flush();
    assert_eq!((deltas.len(), deltas[0].added.len(), deltas[0].removed.len()), (1, 0, 0));
    engine.apply(deltas);
    assert!(!engine.over_target_limit);
}

#[test]
fn what_a_successor_inherits_stays_until_it_is_ready() {
    let mut job = JobTargets::new(config(2, 0));
    let mut engine = Engine::default();
    let none = Labels::empty();
    job.update(0, "one", &none, &targets(&["a", "b"]));
    job.update(1, "two", &none, &targets(&["c"]));
    engine.apply(job.flush());
    let mut job = JobTargets::succeed(config(1, 0), job, &[(0, 0)]);
    engine.apply(job.flush());
    assert_eq!(engine.instances(), ["a", "b"]);
    job.update(0, "one", &none, &targets(&["b", "d"]));
    engine.apply(job.flush());
    assert_eq!(engine.instances(), ["a", "b", "d"]);
    job.set_ready(0);
    engine.apply(job.flush());
    assert_eq!(engine.instances(), ["b", "d"]);
    job.clear();
    engine.apply(job.flush());
    assert!(engine.instances().is_empty());
}

#[test]
fn a_first_error_is_reported_once() {
    let mut job = JobTargets::new(config(1, 0));
    let none = Labels::empty();
    let bad = [Labels::from_pairs([("__address__", "a/b")])];
    assert!(job.update(0, "one", &none, &bad).is_some());
    assert!(job.update(0, "one", &none, &bad).is_none());
    assert_eq!(job.counts(), Counts { failed: 1, ..Counts::default() });
    job.update(0, "one", &none, &targets(&["a"]));
    assert!(job.update(0, "one", &none, &bad).is_some());
}

#[test]
fn a_window_lists_each_target_once() {
    let mut job = JobTargets::new(config(2, 0));
    let none = Labels::empty();
    job.update(0, "one", &none, &targets(&["a", "b", "c"]));
    job.update(0, "two", &none, &targets(&["c", "d"]));
    job.update(1, "one", &none, &targets(&["a", "e"]));
    let mut found = Vec::new();
    for offset in 0..6 {
        let (total, located) = job.window(TargetState::Active, offset, 1, &|_| true);
        assert_eq!(total, 5);
        for Located { pick, .. } in located {
            let Pick::Ids(ids) = pick else { panic!("active targets have ids") };
            found.extend(
                ids.iter().filter_map(|id| job.target(*id)?.labels.get("instance").map(str::to_owned)),
            );
        }
    }
    found.sort_unstable();
    assert_eq!(found, ["a", "b", "c", "d", "e"]);
}

#[test]
fn a_window_cuts_the_dropped_targets_of_a_source() {
    let mut job = JobTargets::new(config(1, 0));
    let bad: Vec<_> = (0..5).map(|_| Labels::from_pairs([("__address__", "a/b")])).collect();
    job.update(0, "one", &Labels::empty(), &bad);
    job.update(0, "two", &Labels::empty(), &bad);
    let (total, located) = job.window(TargetState::Failed, 3, 4, &|_| true);
    let range = |source: &str, skip, take| Located {
        provider: 0,
        source: source.into(),
        pick: Pick::Range { skip, take },
    };
    assert_eq!((total, located), (10, vec![range("one", 3, 2), range("two", 0, 2)]));
}

proptest! {
    #[test]
    fn deltas_add_up_to_the_distinct_targets_of_all_sources(
        updates in prop::collection::vec((0usize..2, 0u8..4, prop::collection::vec(0u8..6, 0..4), any::<bool>()), 0..40)
    ) {
        let mut job = JobTargets::new(config(2, 3));
        let mut engine = Engine::default();
        let mut model: BTreeMap<(usize, u8), Vec<u8>> = BTreeMap::new();
        for (provider, source, addresses, flush) in updates {
            let labels: Vec<_> =
                addresses.iter().map(|a| Labels::from_pairs([("__address__", format!("t{a}"))])).collect();
            job.update(provider, &format!("s{source}"), &Labels::empty(), &labels);
            model.insert((provider, source), addresses);
            if flush {
                engine.apply(job.flush());
            }
        }
        engine.apply(job.flush());
        let mut expected: Vec<_> = model.values().flatten().map(|a| format!("t{a}")).collect();
        expected.sort_unstable();
        expected.dedup();
        prop_assert_eq!(engine.instances(), expected.clone());
        prop_assert_eq!(engine.over_target_limit, expected.len() > 3);
        prop_assert_eq!(job.window(TargetState::Active, 0, usize::MAX, &|_| true).0, expected.len());
    }
}
