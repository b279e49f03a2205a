//! Targets on their way from this worker to another one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use outrigger_model::target::{ScrapeTarget, TargetId};
use outrigger_wire::centre::{Inheritance, Released, ReleasedTarget};

use super::session::Millis;
use crate::scrape::HandedOver;

/// Bytes of one message; one target may be above.
const MAX_BYTES: usize = 4 << 20;
/// Most targets in one message.
const MAX_TARGETS: usize = 500;

type Key = (Arc<str>, TargetId);

/// What becomes of a target whose last scrape here has ended.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// The master that asked for it is told.
    Tell {
        /// `Release::request`.
        request: u64,
    },
    /// The master is gone: it is scraped on here.
    TakeBack(Arc<ScrapeTarget>, Option<Inheritance>),
    /// It is gone.
    Bury(Arc<ScrapeTarget>, Inheritance),
    /// Nothing.
    Forget,
}

/// Who waits for which target, and what a master may not have heard.
#[derive(Debug, Default)]
pub(crate) struct Handovers {
    busy: HashMap<Key, Busy>,
    unconfirmed: Vec<Unconfirmed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Busy {
    /// For this request.
    Asked(u64),
    /// The stream of the request has ended.
    Alone,
    /// The target was removed meanwhile.
    Removed,
}

#[derive(Debug, Clone)]
struct Unconfirmed {
    target: ReleasedTarget,
    sent: Millis,
    /// The last heartbeat before it.
    after: u64,
}

impl Handovers {
    /// Notes a request; returns those of the targets that are not on their way already.
    pub(crate) fn ask(&mut self, request: u64, job: &Arc<str>, ids: Vec<u64>) -> Vec<TargetId> {
        let ids = ids.into_iter().map(TargetId);
        ids.filter(|id| self.busy.insert((Arc::clone(job), *id), Busy::Asked(request)).is_none()).collect()
    }

    /// The master says that targets are gone.
    pub(crate) fn remove(&mut self, job: &Arc<str>, ids: &[TargetId]) {
        for id in ids {
            if let Some(busy) = self.busy.get_mut(&(Arc::clone(job), *id)) {
                *busy = Busy::Removed;
            }
        }
    }

    /// A target has stopped.
    pub(crate) fn stopped(&mut self, handed: &HandedOver) -> Next {
        let busy = self.busy.remove(&(Arc::clone(&handed.job), handed.id));
        match (busy, &handed.target, &handed.inheritance) {
            (Some(Busy::Asked(request)), ..) => Next::Tell { request },
            (Some(Busy::Alone) | None, Some(target), left) => {
                Next::TakeBack(Arc::clone(target), left.clone())
            }
            (Some(Busy::Removed), Some(target), Some(left)) => Next::Bury(Arc::clone(target), left.clone()),
            _ => Next::Forget,
        }
    }

    /// The stream has ended: what is still scraped stays here.
    pub(crate) fn part(&mut self) {
        for busy in self.busy.values_mut() {
            if let Busy::Asked(_) = busy {
                *busy = Busy::Alone;
            }
        }
    }

    /// Targets that are held although the engine does not have them: they come back when their scrape ends.
    pub(crate) fn held(&self) -> impl Iterator<Item = &Key> {
        self.busy.iter().filter(|(_, busy)| **busy == Busy::Alone).map(|(key, _)| key)
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.busy.is_empty() && self.unconfirmed.is_empty()
    }

    /// Messages of bounded size about targets that have stopped, by request; `after` is the last heartbeat that was sent.
    pub(crate) fn tell(&mut self, stopped: Vec<(u64, HandedOver)>, now: Millis, after: u64) -> Vec<Released> {
        let told: Vec<(u64, ReleasedTarget)> = stopped
            .into_iter()
            .map(|(request, handed)| {
                let (job, id, inheritance) = (handed.job.to_string(), handed.id.0, handed.inheritance);
                (request, ReleasedTarget { job, id, inheritance })
            })
            .collect();
        let unconfirmed =
            told.iter().map(|(_, target)| Unconfirmed { target: target.clone(), sent: now, after });
        self.unconfirmed.extend(unconfirmed);
        messages(told)
    }

    /// The master has heard everything before a heartbeat.
    pub(crate) fn confirm(&mut self, sequence: u64) {
        self.unconfirmed.retain(|told| told.after >= sequence);
    }

    /// Targets that were assigned to this worker again.
    pub(crate) fn adopted(&mut self, targets: &HashSet<(&str, TargetId)>) {
        self.unconfirmed
            .retain(|told| !targets.contains(&(told.target.job.as_str(), TargetId(told.target.id))));
    }

    /// What the next master has to be told again.
    pub(crate) fn tell_again(&mut self, now: Millis) -> Vec<Released> {
        let mut told = Vec::new();
        for unconfirmed in &mut self.unconfirmed {
            if let Some(inheritance) = &mut unconfirmed.target.inheritance
                && inheritance.last_scrape_millis != 0
            {
                inheritance.last_scrape_age_millis += now - unconfirmed.sent;
            }
            (unconfirmed.sent, unconfirmed.after) = (now, 0);
            told.push((0, unconfirmed.target.clone()));
        }
        messages(told)
    }
}

/// Messages of bounded size, in this order, about targets with the request that each answers.
pub(crate) fn messages(told: impl IntoIterator<Item = (u64, ReleasedTarget)>) -> Vec<Released> {
    let mut messages: Vec<Released> = Vec::new();
    let mut bytes = 0;
    for (request, target) in told {
        let size = target.inheritance.as_ref().map_or(0, |left| left.series.len()) + target.job.len() + 64;
        let has_room = messages.last().is_some_and(|last| {
            last.request == request && last.targets.len() < MAX_TARGETS && bytes + size <= MAX_BYTES
        });
        if !has_room {
            messages.push(Released { request, targets: Vec::new() });
            bytes = 0;
        }
        bytes += size;
        if let Some(last) = messages.last_mut() {
            last.targets.push(target);
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use outrigger_model::labels::Labels;
    use outrigger_model::target::HistogramOptions;

    use super::*;

    fn handed(id: u64, bytes: usize) -> HandedOver {
        let target = ScrapeTarget {
            id: TargetId(id),
            job: "job".into(),
            url: String::new(),
            labels: Labels::empty(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            histograms: HistogramOptions::default(),
        };
        HandedOver {
            job: "job".into(),
            id: TargetId(id),
            target: Some(Arc::new(target)),
            inheritance: Some(Inheritance {
                last_scrape_millis: 1,
                last_scrape_age_millis: 5,
                series: vec![0; bytes],
            }),
        }
    }

    #[test]
    fn what_a_master_may_not_have_heard_is_told_again_with_its_age() {
        let job: Arc<str> = "job".into();
        let mut handovers = Handovers::default();
        assert_eq!(handovers.ask(7, &job, vec![1, 2]), [TargetId(1), TargetId(2)]);
        assert_eq!(handovers.ask(8, &job, vec![2, 3]), [TargetId(3)], "one that is busy is asked for once");
        assert_eq!(handovers.stopped(&handed(1, 0)), Next::Tell { request: 7 });
        assert_eq!(handovers.stopped(&handed(2, 0)), Next::Tell { request: 8 });
        handovers.tell(vec![(7, handed(1, 0))], 100, 4);
        handovers.tell(vec![(8, handed(2, 0))], 200, 5);
        handovers.confirm(5);
        assert!(!handovers.is_idle());
        let again = handovers.tell_again(1_200);
        assert_eq!(again.len(), 1);
        assert_eq!((again[0].request, again[0].targets.len(), again[0].targets[0].id), (0, 1, 2));
        assert_eq!(
            again[0].targets[0].inheritance.as_ref().map(|left| left.last_scrape_age_millis),
            Some(1_005)
        );
        // The third is busy when the stream ends, and comes back.
        handovers.part();
        assert_eq!(handovers.held().map(|(_, id)| id.0).collect::<Vec<_>>(), [3]);
        assert!(matches!(handovers.stopped(&handed(3, 0)), Next::TakeBack(..)));
        handovers.confirm(1);
        assert!(handovers.is_idle());
    }

    #[test]
    fn targets_that_are_gone_are_buried_and_those_that_come_back_are_not_told_again() {
        let job: Arc<str> = "job".into();
        let mut handovers = Handovers::default();
        handovers.ask(1, &job, vec![1]);
        handovers.remove(&job, &[TargetId(1), TargetId(9)]);
        assert!(matches!(handovers.stopped(&handed(1, 0)), Next::Bury(..)));
        handovers.tell(vec![(1, handed(2, 0))], 0, 1);
        handovers.adopted(&HashSet::from([("job", TargetId(2))]));
        assert!(handovers.is_idle());
    }

    #[test]
    fn messages_are_bounded() {
        let mut handovers = Handovers::default();
        let told =
            |count: u64, bytes| (0..count).map(|id| (id % 2, handed(id / 2, bytes))).collect::<Vec<_>>();
        let sizes = |messages: Vec<Released>| {
            messages.iter().map(|message| message.targets.len()).collect::<Vec<_>>()
        };
        assert_eq!(sizes(handovers.tell(told(4, 0), 0, 0)), [1, 1, 1, 1]);
        let one: Vec<_> = (0..1_200).map(|id| (1, handed(id, 0))).collect();
        assert_eq!(sizes(handovers.tell(one, 0, 0)), [500, 500, 200]);
        let large: Vec<_> = (0..4).map(|id| (1, handed(id, 3 << 20))).collect();
        assert_eq!(sizes(handovers.tell(large, 0, 0)), [1, 1, 1, 1]);
    }
}
