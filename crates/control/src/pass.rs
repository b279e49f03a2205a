//! One pass over a cluster's changes: the sources they touch are computed again, and only those.

use std::sync::Arc;
use std::sync::Weak;

use outrigger_mirror::{ObjectKey, RowId};
use outrigger_wire::kubernetes::ResourceKind;

use crate::cluster::ClusterRuntime;
use crate::job::ProviderIndex;
use crate::kubernetes::{ChangeSet, GroupWriter, RoleView};
use crate::live_job::LiveJob;

/// Sources that are computed while the mirror is locked against changes, before others get their turn.
const ROWS_PER_TURN: usize = 128;

/// Turns after which the engine hears of first results, so that it need not wait for the last.
const TURNS_PER_FLUSH: usize = 64;

/// What is kept from one pass over a cluster to the next.
#[derive(Default)]
pub(crate) struct Pass {
    pub(crate) subscriptions: Vec<Subscription>,
    /// By resource: how far its change feed was read.
    cursors: [u64; ResourceKind::MIRRORED.len()],
    writer: GroupWriter,
}

/// A Kubernetes provider of a job.
pub(crate) struct Subscription {
    pub(crate) job: Weak<LiveJob>,
    pub(crate) provider: ProviderIndex,
    pub(crate) view: Arc<RoleView>,
    /// Whether every source was computed once; from then on changes are enough.
    pub(crate) ready: bool,
}

impl Pass {
    /// Drops the subscriptions of jobs that are gone.
    pub(crate) fn retain_live(&mut self) {
        self.subscriptions.retain(|subscription| subscription.job.strong_count() > 0);
    }

    /// Brings all jobs up to date with the mirror.
    pub(crate) fn run(&mut self, cluster: &ClusterRuntime) {
        let seen = cluster.take_waiting_since();
        let changes = self.read_feed(cluster);
        for subscription in &mut self.subscriptions {
            let Some(job) = subscription.job.upgrade() else { continue };
            let work = Work { cluster, job: &job, view: &subscription.view, provider: subscription.provider };
            if subscription.ready {
                work.update(&changes, &mut self.writer);
            } else if work.is_possible() {
                let rows = work.view.rows(&cluster.mirror.read());
                for rows in rows.chunks(ROWS_PER_TURN * TURNS_PER_FLUSH) {
                    work.compute(rows, &mut self.writer);
                    job.flush();
                }
                subscription.ready = work.finish_all();
            }
            job.flush_seen(seen);
        }
    }

    fn read_feed(&mut self, cluster: &ClusterRuntime) -> ChangeSet {
        let mirror = cluster.mirror.read();
        let mut set = ChangeSet::default();
        for resource in ResourceKind::MIRRORED {
            let cursor = &mut self.cursors[resource.index()];
            let changes = mirror.changes_since(resource, *cursor);
            *cursor = changes.next;
            set.insert(resource, changes);
        }
        cluster.count_changes(set.len());
        set
    }
}

/// The groups of one provider, from the mirror into the job.
struct Work<'a> {
    cluster: &'a ClusterRuntime,
    job: &'a LiveJob,
    view: &'a RoleView,
    provider: ProviderIndex,
}

impl Work<'_> {
    /// Whether everything that the groups are made from is in the mirror.
    fn is_possible(&self) -> bool {
        self.view.resources().into_iter().all(|resource| self.cluster.is_synced(resource))
    }

    fn update(&self, changes: &ChangeSet, writer: &mut GroupWriter) {
        if changes.is_empty() {
            return;
        }
        let touched = self.view.touched(&self.cluster.mirror.read(), changes);
        if touched.all {
            self.compute_all(writer);
            return;
        }
        self.remove(&touched.gone);
        self.compute(&touched.rows.into_iter().collect::<Vec<_>>(), writer);
    }

    /// Computes every source and forgets those that are gone.
    fn compute_all(&self, writer: &mut GroupWriter) {
        let rows = self.view.rows(&self.cluster.mirror.read());
        self.compute(&rows, writer);
        self.finish_all();
    }

    /// Forgets the sources that are gone, now that all others are computed; false when the job is no more.
    fn finish_all(&self) -> bool {
        let Some(sources) =
            self.job.read(|targets| targets.sources(self.provider).map(Box::<str>::from).collect::<Vec<_>>())
        else {
            return false;
        };
        let gone: Vec<_> = {
            let mirror = self.cluster.mirror.read();
            let object = |source: &str| {
                let (namespace, name) = self.view.object_of(source)?;
                self.view.row_of(&mirror, namespace, name).is_none().then(|| ObjectKey::new(namespace, name))
            };
            sources.iter().filter_map(|source| object(source)).collect()
        };
        self.remove(&gone);
        self.job.update(|edit| edit.set_ready(self.provider))
    }

    /// Computes the groups of these rows, a few at a time.
    fn compute(&self, rows: &[RowId], writer: &mut GroupWriter) {
        for rows in rows.chunks(ROWS_PER_TURN) {
            let mirror = self.cluster.mirror.read();
            let goes_on = self.job.update(|edit| {
                for row in rows {
                    // A row that is gone by now is in the feed of the next pass.
                    if let Some((source, group)) = self.view.group(&mirror, *row, writer) {
                        edit.put(self.provider, &source, &group.labels, &group.targets);
                    }
                }
            });
            if !goes_on {
                return;
            }
        }
    }

    fn remove(&self, gone: &[ObjectKey]) {
        self.job.update(|edit| {
            for key in gone {
                let source = self.view.source(&key.namespace, &key.name);
                edit.put(self.provider, &source, &Default::default(), &[]);
            }
        });
    }
}

#[cfg(test)]
mod tests;
