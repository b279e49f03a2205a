//! Which worker scrapes which target: by measured load, bounded, with the least movement.
//!
//! [`Balance`] knows the workers and how much each carries, not the targets: adding or removing a target is one walk
//! over the workers at most. A target keeps its worker until that one is gone or above its bound. A single new target
//! goes by weighted rendezvous hashing to the best worker below the bound (Mirrokni et al., *Consistent Hashing with
//! Bounded Loads*); many at once go largest first to whoever is emptiest, so that nothing has to move afterwards.
//! [`Balance::plan`] finds the moves that bring every worker within [`TOLERANCE`] of its weighted mean: each leaves
//! its donor above the lower bound and its receiver below the upper one, the largest targets first, and there are no
//! more of them than the bounds ask for.

use std::collections::HashSet;
use std::sync::Arc;

use outrigger_model::labels::Fnv1a;
use outrigger_model::target::TargetId;

/// How far from its weighted mean a worker may be after a plan.
pub const TOLERANCE: f64 = 0.05;
/// How far from its weighted mean a worker must be for a plan to be made without any other reason.
pub const TRIGGER: f64 = 0.10;
/// A move that cannot bring its donor below the bound must at least take off this share of the peak.
const WORTHWHILE: f64 = 0.05;
/// Rounds of a plan; a further one is needed only where an earlier made room.
const MAX_ROUNDS: usize = 8;
/// Largest and smallest weight that a worker may ask for.
const WEIGHTS: std::ops::RangeInclusive<f64> = 0.01..=100.0;

/// A worker, by its place in a table of its owner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u32);

/// A target among all jobs: the job by its place in a table of its owner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetKey {
    /// Place of the job.
    pub job: u32,
    /// Identity within the job.
    pub id: TargetId,
}

/// What a worker may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Takes targets and gives them.
    Open,
    /// Keeps what it has: it is away, or not ready yet.
    Closed,
    /// Gives all that it has.
    Draining,
}

/// A target, or one replica of it, at its worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The target.
    pub key: TargetKey,
    /// What it costs.
    pub cost: u64,
    /// Its worker.
    pub owner: WorkerId,
    /// The workers of its other replicas.
    pub others: Vec<WorkerId>,
}

/// A target, or one replica of it, without a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vacancy {
    /// The target.
    pub key: TargetKey,
    /// What it costs.
    pub cost: u64,
    /// The workers of its other replicas.
    pub others: Vec<WorkerId>,
}

/// A target that is to go from one worker to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// The target.
    pub key: TargetKey,
    /// From whom.
    pub from: WorkerId,
    /// To whom.
    pub to: WorkerId,
}

/// The workers and what each carries.
#[derive(Debug, Clone, Default)]
pub struct Balance {
    bins: Vec<Option<Bin>>,
}

/// A worker.
#[derive(Debug, Clone)]
struct Bin {
    seed: u64,
    zone: Arc<str>,
    weight: f64,
    role: Role,
    load: u64,
    targets: u64,
}

impl Bin {
    /// Load for each unit of weight, with `more` on top.
    fn ratio(&self, more: u64) -> f64 {
        (self.load + more) as f64 / self.weight
    }
}

impl Balance {
    /// No workers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a worker without load or changes what is known of it. A weight that makes no sense counts as 1.
    pub fn set_worker(&mut self, worker: WorkerId, name: &str, zone: &Arc<str>, weight: f64, role: Role) {
        let place = worker.0 as usize;
        if self.bins.len() <= place {
            self.bins.resize_with(place + 1, || None);
        }
        let weight = if weight.is_finite() && weight > 0.0 {
            weight.clamp(*WEIGHTS.start(), *WEIGHTS.end())
        } else {
            1.0
        };
        let mut hash = Fnv1a::new();
        hash.update(name.as_bytes());
        let (load, targets) = self.bins[place].as_ref().map_or((0, 0), |bin| (bin.load, bin.targets));
        let (seed, zone) = (mix(hash.finish()), Arc::clone(zone));
        self.bins[place] = Some(Bin { seed, zone, weight, role, load, targets });
    }

    /// Changes what a worker may do.
    pub fn set_role(&mut self, worker: WorkerId, role: Role) {
        if let Some(bin) = self.bin_mut(worker) {
            bin.role = role;
        }
    }

    /// Forgets a worker.
    pub fn remove_worker(&mut self, worker: WorkerId) {
        if let Some(bin) = self.bins.get_mut(worker.0 as usize) {
            *bin = None;
        }
    }

    /// What a worker may do; `None` when it is not known.
    pub fn role(&self, worker: WorkerId) -> Option<Role> {
        self.bin(worker).map(|bin| bin.role)
    }

    /// Load and number of targets of a worker.
    pub fn carried(&self, worker: WorkerId) -> (u64, u64) {
        self.bin(worker).map_or((0, 0), |bin| (bin.load, bin.targets))
    }

    /// A worker has one target more.
    pub fn add(&mut self, worker: WorkerId, cost: u64) {
        if let Some(bin) = self.bin_mut(worker) {
            bin.load += cost;
            bin.targets += 1;
        }
    }

    /// A worker has one target less.
    pub fn subtract(&mut self, worker: WorkerId, cost: u64) {
        if let Some(bin) = self.bin_mut(worker) {
            bin.load = bin.load.saturating_sub(cost);
            bin.targets = bin.targets.saturating_sub(1);
        }
    }

    /// Whether there is a worker that takes targets.
    pub fn has_open(&self) -> bool {
        self.open().next().is_some()
    }

    /// Load of a worker over its share; 1 when it carries exactly that, or when there is no load at all.
    pub fn ratio(&self, worker: WorkerId) -> f64 {
        match (self.bin(worker), self.mean(0)) {
            (Some(bin), Some(mean)) if mean > 0.0 => bin.ratio(0) / mean,
            _ => 1.0,
        }
    }

    /// Whether somebody is so far from the mean that targets should move, or has to give all that it has.
    pub fn wants_plan(&self) -> bool {
        let Some(mean) = self.mean(0) else { return false };
        let leaves = |bin: &Bin| bin.role == Role::Draining && bin.targets > 0;
        self.known().any(|(_, bin)| leaves(bin))
            || self.open().any(|(_, bin)| (bin.ratio(0) - mean).abs() > TRIGGER * mean)
    }

    /// Where a new target, or another replica of one, goes; `None` when no worker can take it.
    pub fn choose(&self, vacancy: &Vacancy) -> Option<WorkerId> {
        let mean = self.mean(vacancy.cost)?;
        let zones = self.zones_to_avoid(&vacancy.others);
        let bound = mean * (1.0 + TOLERANCE);
        let candidates = || self.candidates(&vacancy.others, &zones);
        let score = |bin: &Bin| rendezvous(bin, vacancy.key);
        let below = candidates().filter(|(_, bin)| bin.ratio(vacancy.cost) <= bound);
        let best = below.max_by(|(_, one), (_, other)| score(one).total_cmp(&score(other)));
        best.map(|(worker, _)| worker)
            .or_else(|| self.emptiest(vacancy.key, vacancy.cost, &vacancy.others, &zones))
    }

    /// Where many targets go at once; counts them as carried there. Those that no worker can take are left out.
    pub fn spread(&mut self, mut vacancies: Vec<Vacancy>) -> Vec<(TargetKey, WorkerId)> {
        vacancies.sort_unstable_by_key(|vacancy| (std::cmp::Reverse(vacancy.cost), vacancy.key));
        let mut placed: Vec<(TargetKey, WorkerId)> = Vec::with_capacity(vacancies.len());
        for mut vacancy in vacancies {
            // Replicas of one target cost the same, so that they come one after the other.
            let twins = placed.iter().rev().take_while(|(key, _)| *key == vacancy.key);
            vacancy.others.extend(twins.map(|(_, worker)| *worker));
            let zones = self.zones_to_avoid(&vacancy.others);
            let emptiest = self.emptiest(vacancy.key, vacancy.cost, &vacancy.others, &zones);
            if let Some(worker) = emptiest {
                self.add(worker, vacancy.cost);
                placed.push((vacancy.key, worker));
            }
        }
        placed
    }

    /// The moves that bring every worker within [`TOLERANCE`] of its mean and take all from those that leave.
    /// `placements` are the targets that may move; what cannot is counted in the workers' loads all the same.
    pub fn plan(&self, placements: impl IntoIterator<Item = Placement>) -> Vec<Move> {
        let Some(mean) = self.mean(0) else { return Vec::new() };
        let mut plan = Plan { balance: self.clone(), mean, replicas_moved: HashSet::new() };
        let (mut leaving, mut staying) = (Vec::new(), Vec::new());
        for placement in placements {
            let place = Place { from: placement.owner, placement };
            match self.role(place.from) {
                Some(Role::Draining) => leaving.push(place),
                Some(Role::Open) => staying.push(place),
                Some(Role::Closed) | None => {}
            }
        }
        leaving.sort_unstable_by_key(Place::order);
        plan.empty(&mut leaving);
        // What has just come from those that leave may go on to a better place.
        staying.append(&mut leaving);
        staying.sort_unstable_by_key(Place::order);
        for _ in 0..MAX_ROUNDS {
            let moved = plan.shed(&mut staying) + plan.fill(&mut staying) + plan.flatten(&mut staying);
            if moved == 0 {
                break;
            }
        }
        staying.iter().filter_map(Place::planned_move).collect()
    }

    fn bin(&self, worker: WorkerId) -> Option<&Bin> {
        self.bins.get(worker.0 as usize)?.as_ref()
    }

    fn bin_mut(&mut self, worker: WorkerId) -> Option<&mut Bin> {
        self.bins.get_mut(worker.0 as usize)?.as_mut()
    }

    fn known(&self) -> impl Iterator<Item = (WorkerId, &Bin)> {
        let place = |place: usize| WorkerId(u32::try_from(place).unwrap_or(u32::MAX));
        self.bins.iter().enumerate().filter_map(move |(index, bin)| Some((place(index), bin.as_ref()?)))
    }

    fn open(&self) -> impl Iterator<Item = (WorkerId, &Bin)> {
        self.known().filter(|(_, bin)| bin.role == Role::Open)
    }

    /// Load for each unit of weight once those that leave have given all and `more` has come; `None` without a
    /// worker that takes targets.
    fn mean(&self, more: u64) -> Option<f64> {
        let weight: f64 = self.open().map(|(_, bin)| bin.weight).sum();
        let load: u64 =
            self.known().filter(|(_, bin)| bin.role != Role::Closed).map(|(_, bin)| bin.load).sum();
        (weight > 0.0).then(|| (load + more) as f64 / weight)
    }

    /// Zones that have a replica already, as long as there are others.
    fn zones_to_avoid(&self, others: &[WorkerId]) -> Vec<&str> {
        if others.is_empty() {
            return Vec::new();
        }
        let zones: Vec<&str> =
            others.iter().filter_map(|worker| self.bin(*worker)).map(|bin| &*bin.zone).collect();
        let has_other =
            self.open().any(|(worker, bin)| !others.contains(&worker) && !zones.contains(&&*bin.zone));
        if has_other { zones } else { Vec::new() }
    }

    /// Workers that may take a target whose replicas are at `others`.
    fn candidates<'a>(
        &'a self,
        others: &'a [WorkerId],
        zones: &'a [&str],
    ) -> impl Iterator<Item = (WorkerId, &'a Bin)> {
        self.open().filter(|(worker, bin)| !others.contains(worker) && !zones.contains(&&*bin.zone))
    }

    fn emptiest(&self, key: TargetKey, cost: u64, others: &[WorkerId], zones: &[&str]) -> Option<WorkerId> {
        let score = |bin: &Bin| rendezvous(bin, key);
        self.candidates(others, zones)
            .min_by(|(_, one), (_, other)| {
                one.ratio(cost)
                    .total_cmp(&other.ratio(cost))
                    .then_with(|| score(other).total_cmp(&score(one)))
            })
            .map(|(worker, _)| worker)
    }
}

/// A target where the plan has it so far.
#[derive(Debug)]
struct Place {
    /// Where it was.
    from: WorkerId,
    /// Where it is to be.
    placement: Placement,
}

impl Place {
    /// Largest first; the rest only makes it the same every time.
    fn order(&self) -> (std::cmp::Reverse<u64>, TargetKey, WorkerId) {
        (std::cmp::Reverse(self.placement.cost), self.placement.key, self.from)
    }

    fn planned_move(&self) -> Option<Move> {
        let to = self.placement.owner;
        (to != self.from).then_some(Move { key: self.placement.key, from: self.from, to })
    }
}

/// A plan in the making.
struct Plan {
    /// As it will be.
    balance: Balance,
    mean: f64,
    /// Targets of which a replica moves: no other one does, so that two never meet.
    replicas_moved: HashSet<TargetKey>,
}

impl Plan {
    fn upper(&self) -> f64 {
        self.mean * (1.0 + TOLERANCE)
    }

    fn lower(&self) -> f64 {
        self.mean * (1.0 - TOLERANCE)
    }

    /// Load for each unit of weight of a worker once it has `change` more.
    fn ratio(&self, worker: WorkerId, change: i64) -> f64 {
        self.balance.bin(worker).map_or(0.0, |bin| (bin.load as f64 + change as f64) / bin.weight)
    }

    /// Those that leave give all.
    fn empty(&mut self, leaving: &mut [Place]) {
        for place in leaving {
            self.relocate(place, |_, _| true);
        }
    }

    /// Those above the upper bound give until they are not, without falling below the lower one.
    fn shed(&mut self, staying: &mut [Place]) -> usize {
        let (upper, lower) = (self.upper(), self.lower());
        let mut moved = 0;
        for place in staying {
            let (owner, cost) = (place.placement.owner, signed(place.placement.cost));
            if cost > 0 && self.ratio(owner, 0) > upper && self.ratio(owner, -cost) >= lower {
                moved += self.relocate(place, |plan, to| plan.ratio(to, cost) <= upper);
            }
        }
        moved
    }

    /// Those below the lower bound take until they are not: from those above the mean first, then from all that
    /// stay above the lower bound.
    fn fill(&mut self, staying: &mut [Place]) -> usize {
        let (upper, lower, mean) = (self.upper(), self.lower(), self.mean);
        let mut moved = 0;
        for floor in [mean, lower] {
            for place in &mut *staying {
                let (owner, cost) = (place.placement.owner, signed(place.placement.cost));
                if cost > 0 && self.ratio(owner, -cost) >= floor {
                    moved += self.relocate(place, |plan, to| {
                        plan.ratio(to, 0) < lower && plan.ratio(to, cost) <= upper
                    });
                }
            }
        }
        moved
    }

    /// Where targets are too large for the bounds, peaks are still made lower.
    fn flatten(&mut self, staying: &mut [Place]) -> usize {
        let upper = self.upper();
        let mut moved = 0;
        for place in staying {
            let (owner, cost) = (place.placement.owner, signed(place.placement.cost));
            let peak = self.ratio(owner, 0);
            if cost > 0 && peak > upper {
                moved += self.relocate(place, |plan, to| plan.ratio(to, cost) <= peak * (1.0 - WORTHWHILE));
            }
        }
        moved
    }

    /// Moves a target to the emptiest worker if `fits` holds for that; gives how many were moved.
    fn relocate(&mut self, place: &mut Place, fits: impl Fn(&Self, WorkerId) -> bool) -> usize {
        let Placement { key, cost, owner, others } = &mut place.placement;
        if self.replicas_moved.contains(key) {
            return 0;
        }
        let zones = self.balance.zones_to_avoid(others);
        let Some(to) = self.balance.emptiest(*key, *cost, others, &zones) else { return 0 };
        if to == *owner || !fits(self, to) {
            return 0;
        }
        if !others.is_empty() {
            self.replicas_moved.insert(*key);
        }
        self.balance.subtract(*owner, *cost);
        self.balance.add(to, *cost);
        *owner = to;
        1
    }
}

fn signed(cost: u64) -> i64 {
    i64::try_from(cost).unwrap_or(i64::MAX)
}

/// Weighted rendezvous score: the share of targets for which a worker's is the highest is its weight's share.
fn rendezvous(bin: &Bin, key: TargetKey) -> f64 {
    let hash = mix(bin.seed ^ mix(key.id.0 ^ mix(u64::from(key.job))));
    // 53 bits make every value distinct and below 1; half a step keeps it above 0.
    let unit = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -bin.weight / unit.ln()
}

/// Spreads a number over 64 bits (finaliser of SplitMix64).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests;
