//! Change: pods replaced and made ready again, nodes that report, second by second.

use std::collections::VecDeque;
use std::time::Duration;

use outrigger_model::clock::SharedClock;
use tokio::time::MissedTickBehavior;

use crate::population::Population;

/// Seconds between two status updates of one node.
const HEARTBEAT_SECONDS: u32 = 300;
/// Seconds from a pod's creation to its readiness.
const START_SECONDS: usize = 2;

/// Replaces `pods_per_second` pods each second, in an order that visits all of them, and lets nodes report;
/// until dropped.
pub async fn run(mut population: Population, pods_per_second: u32, clock: SharedClock) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut starting: VecDeque<Vec<usize>> = VecDeque::new();
    let mut order = PodOrder::new(population.pods());
    let mut next_node = 0;
    loop {
        ticks.tick().await;
        if starting.len() >= START_SECONDS
            && let Some(started) = starting.pop_front()
        {
            for slot in started {
                population.make_ready(slot);
            }
        }
        let replaced: Vec<usize> = (0..pods_per_second).filter_map(|_| order.next()).collect();
        for &slot in &replaced {
            population.replace_pod(slot);
        }
        starting.push_back(replaced);
        let now = clock.now().millis() / 1000;
        for _ in 0..population.nodes().div_ceil(HEARTBEAT_SECONDS) {
            population.heartbeat(next_node, now);
            next_node = (next_node + 1) % population.nodes();
        }
    }
}

/// Visits every slot once in a scattered order, then again.
struct PodOrder {
    slots: usize,
    stride: usize,
    position: usize,
}

impl PodOrder {
    fn new(slots: usize) -> Self {
        let coprime = |candidate: &usize| greatest_common_divisor(*candidate, slots) == 1;
        let stride = (slots * 5 / 8 + 1..).find(coprime).unwrap_or(1);
        Self { slots, stride, position: 0 }
    }

    fn next(&mut self) -> Option<usize> {
        if self.slots == 0 {
            return None;
        }
        self.position = (self.position + self.stride) % self.slots;
        Some(self.position)
    }
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_slot_is_visited_before_one_is_visited_twice() {
        for slots in [1, 2, 7, 100, 1024] {
            let mut order = PodOrder::new(slots);
            let visited: BTreeSet<_> = (0..slots).filter_map(|_| order.next()).collect();
            assert_eq!(visited.len(), slots);
        }
        assert_eq!(PodOrder::new(0).next(), None);
    }
}
