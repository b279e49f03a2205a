use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Targets at their workers: what the fleet keeps, as simply as can be.
#[derive(Clone, Default)]
struct Model {
    balance: Balance,
    workers: BTreeSet<u32>,
    targets: BTreeMap<TargetKey, (u64, Vec<WorkerId>)>,
    replicas: usize,
}

impl Model {
    fn new(replicas: usize) -> Self {
        Self { replicas, ..Self::default() }
    }

    fn join(&mut self, worker: u32, zone: &str, weight: f64) {
        let zone = Arc::from(zone);
        self.balance.set_worker(WorkerId(worker), &format!("worker-{worker}"), &zone, weight, Role::Open);
        self.workers.insert(worker);
    }

    fn key(id: u64) -> TargetKey {
        TargetKey { job: 0, id: TargetId(mix(id)) }
    }

    /// One by one, as discovery finds them.
    fn add(&mut self, id: u64, cost: u64) {
        let key = Self::key(id);
        let mut owners = Vec::new();
        for _ in 0..self.replicas {
            if let Some(worker) = self.balance.choose(&Vacancy { key, cost, others: owners.clone() }) {
                self.balance.add(worker, cost);
                owners.push(worker);
            }
        }
        self.targets.insert(key, (cost, owners));
    }

    /// All that lack a worker, at once.
    fn spread(&mut self) {
        let vacancies = self.targets.iter().flat_map(|(key, (cost, owners))| {
            let vacancy = Vacancy { key: *key, cost: *cost, others: owners.clone() };
            vec![vacancy; self.replicas.saturating_sub(owners.len())]
        });
        let vacancies = vacancies.collect();
        for (key, worker) in self.balance.spread(vacancies) {
            self.targets.get_mut(&key).unwrap().1.push(worker);
        }
    }

    /// Forgets a dead worker; gives the number of targets that lost a replica.
    fn die(&mut self, worker: u32) -> usize {
        let worker = WorkerId(worker);
        let mut lost = 0;
        for (_, owners) in self.targets.values_mut() {
            let before = owners.len();
            owners.retain(|owner| *owner != worker);
            lost += before - owners.len();
        }
        self.balance.remove_worker(worker);
        self.workers.remove(&worker.0);
        lost
    }

    fn drain(&mut self, worker: u32) {
        self.balance.set_role(WorkerId(worker), Role::Draining);
        self.workers.remove(&worker);
    }

    fn plan(&self) -> Vec<Move> {
        let placements = self.targets.iter().flat_map(|(key, (cost, owners))| {
            owners.iter().enumerate().map(|(place, owner)| {
                let mut others = owners.clone();
                others.remove(place);
                Placement { key: *key, cost: *cost, owner: *owner, others }
            })
        });
        self.balance.plan(placements)
    }

    fn apply(&mut self, moves: &[Move]) {
        for planned in moves {
            let (cost, owners) = self.targets.get_mut(&planned.key).unwrap();
            let place = owners.iter().position(|owner| *owner == planned.from).expect("it is there");
            owners[place] = planned.to;
            self.balance.subtract(planned.from, *cost);
            self.balance.add(planned.to, *cost);
        }
    }

    fn rebalance(&mut self) -> usize {
        let moves = self.plan();
        self.apply(&moves);
        moves.len()
    }

    fn largest(&self) -> u64 {
        self.targets.values().map(|(cost, _)| *cost).max().unwrap_or(0)
    }

    fn ratios(&self) -> Vec<f64> {
        self.workers.iter().map(|worker| self.balance.ratio(WorkerId(*worker))).collect()
    }

    fn check_books(&self) {
        let mut loads: BTreeMap<WorkerId, (u64, u64)> = BTreeMap::new();
        for (cost, owners) in self.targets.values() {
            let distinct: BTreeSet<_> = owners.iter().collect();
            assert_eq!(distinct.len(), owners.len(), "a worker has two replicas of one target");
            assert_eq!(owners.len(), self.replicas.min(self.workers.len()));
            for owner in owners {
                let entry = loads.entry(*owner).or_default();
                *entry = (entry.0 + cost, entry.1 + 1);
            }
        }
        for worker in &self.workers {
            let carried = self.balance.carried(WorkerId(*worker));
            assert_eq!(carried, loads.get(&WorkerId(*worker)).copied().unwrap_or_default());
        }
    }
}

/// The fewest of these targets that together cost at least `load`.
fn fewest(costs: impl IntoIterator<Item = u64>, load: f64) -> usize {
    let mut costs: Vec<u64> = costs.into_iter().collect();
    costs.sort_unstable_by(|one, other| other.cmp(one));
    let mut sum = 0.0;
    costs
        .iter()
        .take_while(|cost| {
            let goes_on = sum < load;
            sum += **cost as f64;
            goes_on
        })
        .count()
}

/// Costs as they are in clusters: most targets small, a few large.
fn cost(id: u64) -> u64 {
    match mix(id ^ 0x5eed) % 100 {
        0..60 => 100 + mix(id) % 300,
        60..95 => 500 + mix(id) % 1_000,
        _ => 3_000 + mix(id) % 5_000,
    }
}

#[test]
fn scaling_out_and_in_moves_hardly_more_than_it_must() {
    for cost in [cost as fn(u64) -> u64, |_| 1_000] {
        let mut model = Model::new(1);
        (0..4).for_each(|worker| model.join(worker, "", 1.0));
        (0..2_000).for_each(|id| model.add(id, cost(id)));
        model.rebalance();
        model.check_books();

        (4..16).for_each(|worker| model.join(worker, "", 1.0));
        let total: u64 = model.targets.values().map(|(cost, _)| *cost).sum();
        let mean = total as f64 / 16.0;
        // Each of the twelve must get to its lower bound at least.
        let costs = model.targets.values().map(|(cost, _)| *cost);
        let least = fewest(costs, 12.0 * mean * (1.0 - TOLERANCE));
        let moved = model.rebalance();
        assert!(moved as f64 <= 1.1 * least as f64, "{moved} targets moved, {least} would do");
        assert!(model.ratios().iter().all(|ratio| (ratio - 1.0).abs() <= TOLERANCE), "{:?}", model.ratios());
        model.check_books();

        (3..16).for_each(|worker| model.drain(worker));
        let least = model.targets.values().filter(|(_, owners)| owners[0].0 >= 3).count();
        let moved = model.rebalance();
        assert!(moved as f64 <= 1.1 * least as f64, "{moved} targets moved, {least} had to");
        assert!(model.ratios().iter().all(|ratio| (ratio - 1.0).abs() <= TOLERANCE), "{:?}", model.ratios());
        model.check_books();
    }
}

#[test]
fn a_new_target_is_where_it_was_before_while_the_workers_are_the_same() {
    let place = |ids: &mut dyn Iterator<Item = u64>| {
        let mut model = Model::new(1);
        (0..5).for_each(|worker| model.join(worker, "", 1.0));
        ids.for_each(|id| model.add(id, 100));
        model.targets
    };
    assert_eq!(place(&mut (0..500)), place(&mut (0..500)));
    // In another order many are there all the same; only those that meet a bound differ.
    let (forth, back) = (place(&mut (0..500)), place(&mut (0..500).rev()));
    let same = forth.iter().filter(|(key, owners)| back[*key] == **owners).count();
    assert!(same > 250, "{same} of 500");
}

#[test]
fn replicas_go_to_different_zones_while_there_are_some() {
    let mut model = Model::new(2);
    (0..6).for_each(|worker| model.join(worker, if worker < 3 { "a" } else { "b" }, 1.0));
    (0..300).for_each(|id| model.add(id, cost(id)));
    model.rebalance();
    let zone = |worker: &WorkerId| worker.0 / 3;
    assert!(model.targets.values().all(|(_, owners)| zone(&owners[0]) != zone(&owners[1])));
    // All of one zone die: the others take both replicas.
    (0..3).for_each(|worker| {
        model.die(worker);
    });
    model.spread();
    model.check_books();
}

#[test]
fn weights_share_the_load() {
    let mut model = Model::new(1);
    model.join(0, "", 1.0);
    model.join(1, "", 3.0);
    (0..1_000).for_each(|id| model.add(id, cost(id)));
    model.rebalance();
    let (small, _) = model.balance.carried(WorkerId(0));
    let (large, _) = model.balance.carried(WorkerId(1));
    let share = large as f64 / small as f64;
    assert!((2.7..=3.3).contains(&share), "{share}");
    assert!(model.ratios().iter().all(|ratio| (ratio - 1.0).abs() <= TOLERANCE));
}

#[test]
fn a_target_that_is_larger_than_any_share_stays_where_it_is() {
    let mut model = Model::new(1);
    (0..3).for_each(|worker| model.join(worker, "", 1.0));
    model.add(0, 1_000_000);
    (1..100).for_each(|id| model.add(id, 100));
    model.rebalance();
    assert_eq!(model.plan(), []);
    model.check_books();
}

#[test]
fn workers_that_are_away_keep_theirs_and_get_none() {
    let mut model = Model::new(1);
    (0..3).for_each(|worker| model.join(worker, "", 1.0));
    (0..300).for_each(|id| model.add(id, 100));
    model.balance.set_role(WorkerId(1), Role::Closed);
    let before = model.balance.carried(WorkerId(1));
    (300..600).for_each(|id| model.add(id, 100));
    model.join(3, "", 1.0);
    model.rebalance();
    assert_eq!(model.balance.carried(WorkerId(1)), before);
}

#[derive(Debug, Clone)]
enum Step {
    Add { id: u64, cost: u64 },
    Remove { id: u64 },
    Cost { id: u64, cost: u64 },
    Join { worker: u32, weight: u8 },
    Die { worker: u32 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let cost = || prop_oneof![8 => 1u64..400, 1 => 1u64..5_000];
    let step = prop_oneof![
        30 => (0u64..400, cost()).prop_map(|(id, cost)| Step::Add { id, cost }),
        6 => (0u64..400).prop_map(|id| Step::Remove { id }),
        6 => (0u64..400, cost()).prop_map(|(id, cost)| Step::Cost { id, cost }),
        2 => (0u32..8, 1u8..4).prop_map(|(worker, weight)| Step::Join { worker, weight }),
        1 => (0u32..8).prop_map(|worker| Step::Die { worker }),
    ];
    proptest::collection::vec(step, 1..300)
}

fn run(steps: &[Step], replicas: usize) -> Model {
    let mut model = Model::new(replicas);
    model.join(100, "z0", 1.0);
    for step in steps {
        match *step {
            Step::Add { id, cost } if !model.targets.contains_key(&Model::key(id)) => model.add(id, cost),
            Step::Add { .. } => {}
            Step::Remove { id } => {
                if let Some((cost, owners)) = model.targets.remove(&Model::key(id)) {
                    owners.into_iter().for_each(|owner| model.balance.subtract(owner, cost));
                }
            }
            Step::Cost { id, cost } => {
                if let Some((old, owners)) = model.targets.get_mut(&Model::key(id)) {
                    for owner in owners {
                        model.balance.subtract(*owner, *old);
                        model.balance.add(*owner, cost);
                    }
                    *old = cost;
                }
            }
            Step::Join { worker, weight } => {
                model.join(worker, &format!("z{}", worker % 3), f64::from(weight));
                model.spread();
            }
            Step::Die { worker } => {
                model.die(worker);
                model.spread();
            }
        }
    }
    model
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_target_has_its_replicas_and_the_books_are_right(steps in steps(), replicas in 1usize..4) {
        let mut model = run(&steps, replicas);
        model.check_books();
        model.rebalance();
        model.check_books();
    }

    #[test]
    fn nothing_moves_when_nothing_changed(steps in steps()) {
        let mut model = run(&steps, 1);
        let first = model.plan();
        prop_assert_eq!(&first, &model.plan(), "the same plan each time");
        model.apply(&first);
        prop_assert_eq!(model.plan(), vec![]);
    }

    #[test]
    fn loads_are_within_the_bounds_as_far_as_the_sizes_of_targets_allow(steps in steps()) {
        let mut model = run(&steps, 1);
        model.rebalance();
        let total: u64 = model.targets.values().map(|(cost, _)| *cost).sum();
        let weight: f64 = model.workers.iter().map(|w| model.balance.bin(WorkerId(*w)).unwrap().weight).sum();
        let mean = total as f64 / weight;
        let largest = model.largest() as f64;
        for worker in &model.workers {
            let bin = model.balance.bin(WorkerId(*worker)).unwrap();
            let allowed = (mean * bin.weight * TOLERANCE).max(largest);
            let load = bin.load as f64;
            prop_assert!(load <= mean * bin.weight + allowed + 1.0, "{load} of {}", mean * bin.weight);
        }
    }
}
