//! The groups that a file or HTTP discovery found last, shared by all jobs that have the same configuration of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use outrigger_model::target::TargetGroup;
use parking_lot::Mutex;

use crate::job::ProviderIndex;
use crate::live_job::LiveJob;

/// Groups by source, and who wants to know of their changes.
#[derive(Default)]
pub(crate) struct GroupStore {
    state: Mutex<StoreState>,
}

#[derive(Default)]
struct StoreState {
    groups: BTreeMap<Arc<str>, TargetGroup>,
    ready: bool,
    error: Option<String>,
    subscribers: Vec<(Weak<LiveJob>, ProviderIndex)>,
}

impl GroupStore {
    /// Gives the job all groups now, and each change from now on.
    pub(crate) fn subscribe(&self, job: &Arc<LiveJob>, provider: ProviderIndex) {
        let mut state = self.state.lock();
        state.subscribers.retain(|(subscriber, _)| subscriber.strong_count() > 0);
        state.subscribers.push((Arc::downgrade(job), provider));
        if state.ready {
            job.update(|edit| {
                for group in state.groups.values() {
                    edit.put(provider, &group.source, &group.labels, &group.targets);
                }
                edit.set_ready(provider);
            });
            job.flush();
        }
    }

    /// Takes over a whole new result, with what is wrong in it, if anything.
    pub(crate) fn replace(&self, groups: Vec<TargetGroup>, error: Option<String>) {
        let groups: BTreeMap<_, _> =
            groups.into_iter().map(|group| (Arc::clone(&group.source), group)).collect();
        let mut state = self.state.lock();
        state.error = error;
        let old = std::mem::replace(&mut state.groups, groups);
        let first = !std::mem::replace(&mut state.ready, true);
        let groups = &state.groups;
        let changed = groups.values().filter(|group| old.get(&group.source) != Some(*group));
        let changed: Vec<_> = changed.collect();
        let gone: Vec<_> = old.into_values().filter(|group| !groups.contains_key(&group.source)).collect();
        for (job, provider) in &state.subscribers {
            let Some(job) = job.upgrade() else { continue };
            job.update(|edit| {
                for group in &changed {
                    edit.put(*provider, &group.source, &group.labels, &group.targets);
                }
                for group in &gone {
                    edit.put(*provider, &group.source, &group.labels, &[]);
                }
                if first {
                    edit.set_ready(*provider);
                }
            });
            job.flush();
        }
    }

    /// The last groups stay; `error` is shown until there is a new result.
    pub(crate) fn fail(&self, error: String) {
        self.state.lock().error = Some(error);
    }

    pub(crate) fn group(&self, source: &str) -> Option<TargetGroup> {
        self.state.lock().groups.get(source).cloned()
    }

    /// Why there is no newer result.
    pub(crate) fn error(&self) -> Option<String> {
        self.state.lock().error.clone()
    }
}
