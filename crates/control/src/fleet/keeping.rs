//! What a master is told while another one leads, so that it can serve the heirs of a worker that dies together with the
//! leader: series sets, and names that workers have resolved.

use std::sync::Arc;

use outrigger_model::fault::chain;
use outrigger_rt::grpc::{DuplexReceiver, Peer};
use outrigger_wire::centre::{Costs, FromMaster, FromWorker, Names, RejectReason, from_worker};
use tokio::sync::mpsc;

use super::driver::Shared;
use super::{FleetEvent, FleetHandle};

impl FleetHandle {
    /// Serves one stream of a worker that works for another master until it ends: the handler of
    /// [`outrigger_rt::grpc::duplex_service`] for [`outrigger_wire::centre::KEEP_PATH`]. Refused while this master
    /// leads: then the worker tells it the same on its other stream.
    pub async fn keep(&self, peer: Peer, mut from: DuplexReceiver<FromWorker>, to: mpsc::Sender<FromMaster>) {
        let Some(hello) = self.shared.greeted(&peer, &mut from, &to).await else { return };
        let worker: Arc<str> = Arc::from(hello.worker);
        tracing::debug!(worker = &*worker, peer = %peer.address, "keeps what the heirs of a worker need");
        self.shared.step(FleetEvent::KeeperOpened(Arc::clone(&worker)));
        let mut leading = self.shared.leading.subscribe();
        let leads = tokio::select! {
            _ = leading.wait_for(|leading| *leading) => true,
            () = self.shared.ended.cancelled() => false,
            () = self.shared.keep_what_comes(&worker, from) => false,
        };
        self.shared.step(FleetEvent::KeeperClosed(worker));
        if leads {
            // So that a worker that looks for the leader has found it.
            let message = "this master leads, it is told with everything else";
            self.shared.refuse(&to, RejectReason::Leads, message).await;
        }
    }
}

impl Shared {
    async fn keep_what_comes(&self, worker: &str, mut from: DuplexReceiver<FromWorker>) {
        loop {
            match from.next().await {
                Ok(Some(FromWorker { kind: Some(from_worker::Kind::Costs(costs)) })) => self.keep_sets(costs),
                Ok(Some(FromWorker { kind: Some(from_worker::Kind::Names(names)) })) => {
                    self.learn_names(names)
                }
                // What only a leader needs, or a later version knows.
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(worker, error = chain(&error), "a worker tells no more for its heirs");
                    return;
                }
            }
        }
    }

    fn keep_sets(&self, costs: Costs) {
        for told in costs.jobs {
            let job: Arc<str> = Arc::from(told.job);
            let mut kept = Vec::new();
            for (id, set) in told.ids.into_iter().zip(told.series_sets).filter(|(_, set)| !set.is_empty()) {
                self.change_set(&job, id, Some(set));
                kept.push(id);
            }
            told.gone.iter().for_each(|id| self.change_set(&job, *id, None));
            self.step(FleetEvent::Kept { job, ids: kept, gone: told.gone });
        }
    }

    pub(super) fn learn_names(&self, names: Names) {
        self.names.lock().learn(names);
    }
}
