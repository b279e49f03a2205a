//! Which of several masters leads.
//!
//! A master is a standby until the store has elected it; it leads as long as its lease can be renewed, and counts itself
//! out before the lease ends. When it stops in good order it resigns, so that the next one begins at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use outrigger_model::fault::chain;
use outrigger_rt::log_limit::LogLimit;
use outrigger_rt::metrics::{MetricKind, Registry};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::store::{
    Candidate, Change, EPOCH_KEY, Fence, LEADER_KEY, Leader, Leadership, StateStore, StoreError, Tenure,
    WatchEvent,
};

/// Time between two attempts to be elected while the store fails.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Time that resigning may take.
const RESIGN_TIMEOUT: Duration = Duration::from_secs(3);

/// Whether a master leads.
#[derive(Debug, Clone)]
pub enum Standing {
    /// Another one does, or none.
    Standby {
        /// The one that does, as far as this one knows.
        leader: Option<Leader>,
    },
    /// This one does.
    Leading {
        /// Higher than that of any leader before.
        epoch: u64,
        /// For commits.
        fence: Fence,
        /// Whether it still does at the moment of asking: the standing itself changes a moment later.
        tenure: Tenure,
    },
}

impl Standing {
    /// The epoch, if this master leads at this moment.
    pub fn leading_epoch(&self) -> Option<u64> {
        match self {
            Standing::Leading { epoch, tenure, .. } if tenure.is_current() => Some(*epoch),
            _ => None,
        }
    }
}

/// Takes part in the election of one store.
pub struct Election {
    store: Arc<dyn StateStore>,
    candidate: Candidate,
    ttl: Duration,
    standing: watch::Sender<Standing>,
    raises: mpsc::Sender<Raise>,
    raised: Option<mpsc::Receiver<Raise>>,
    terms: Arc<Terms>,
}

/// Counts of leaderships.
#[derive(Debug, Default)]
struct Terms {
    begun: AtomicU64,
    lost: AtomicU64,
}

/// Asks for a higher epoch.
struct Raise {
    above: u64,
    done: oneshot::Sender<Result<u64, StoreError>>,
}

/// Asks the [`Election`] that runs for things; cheap to clone.
#[derive(Debug, Clone)]
pub struct ElectionHandle {
    raises: mpsc::Sender<Raise>,
}

impl ElectionHandle {
    /// Raises the epoch of this leadership above another one: for when workers have obeyed a leader that the store does
    /// not know of any more, since the store was lost. Gives the new epoch, which is also the new [`Standing`].
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when this master does not lead, or what keeps the store from it.
    pub async fn raise_epoch(&self, above: u64) -> Result<u64, StoreError> {
        let (done, result) = oneshot::channel();
        self.raises.send(Raise { above, done }).await.map_err(|_| StoreError::Fenced)?;
        result.await.unwrap_or(Err(StoreError::Fenced))
    }
}

impl Election {
    /// A standby until [`Election::run`] runs. `ttl` is how long a leader that says nothing still counts as one.
    pub fn new(store: Arc<dyn StateStore>, candidate: Candidate, ttl: Duration) -> Self {
        let (raises, raised) = mpsc::channel(1);
        let standing = watch::Sender::new(Standing::Standby { leader: None });
        Self { store, candidate, ttl, standing, raises, raised: Some(raised), terms: Arc::default() }
    }

    /// The standing, now and later.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// For what others want of the election while it runs.
    pub fn handle(&self) -> ElectionHandle {
        ElectionHandle { raises: self.raises.clone() }
    }

    /// Shows standing, epoch and terms, and whether the store works.
    pub fn register(&self, registry: &Registry) {
        let (standing, store, terms) = (self.standing.subscribe(), self.store.clone(), self.terms.clone());
        registry.collector(move |exposition| {
            let (leading, epoch) = match &*standing.borrow() {
                Standing::Leading { epoch, tenure, .. } => (tenure.is_current(), *epoch),
                Standing::Standby { leader } => (false, leader.as_ref().map_or(0, |leader| leader.epoch)),
            };
            let store_up = store.trouble().is_none();
            let mut show = |name: &str, help: &str, kind, value: f64| {
                exposition.family(name, help, kind).sample(&[], value);
            };
            show(
                "outrigger_election_leading",
                "Whether this master leads at this moment, by its own clock.",
                MetricKind::Gauge,
                f64::from(u8::from(leading)),
            );
            show(
                "outrigger_election_epoch",
                "Epoch of the leader that this master knows of; 0 without one.",
                MetricKind::Gauge,
                epoch as f64,
            );
            show(
                "outrigger_election_terms_total",
                "Leaderships that this master was elected to.",
                MetricKind::Counter,
                terms.begun.load(Ordering::Relaxed) as f64,
            );
            show(
                "outrigger_election_lost_terms_total",
                "Leaderships that ended because the lease could not be renewed in time.",
                MetricKind::Counter,
                terms.lost.load(Ordering::Relaxed) as f64,
            );
            show(
                "outrigger_store_up",
                "Whether the last access to the state file or etcd worked.",
                MetricKind::Gauge,
                f64::from(u8::from(store_up)),
            );
        });
    }

    /// Takes part until `stop`, then resigns.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut raised = self.raised.take().expect("made by new, and run takes the election");
        let failures = LogLimit::new(Duration::from_secs(60));
        loop {
            let elected = tokio::select! {
                () = stop.cancelled() => return,
                elected = self.wait_for_election(&mut raised) => elected,
            };
            match elected {
                Ok(leadership) => {
                    let stopped = self.lead(leadership, &mut raised, &stop).await;
                    if stopped {
                        return;
                    }
                }
                Err(error) => {
                    if let Some(suppressed) = failures.permit("") {
                        tracing::warn!(error = %chain(&error), suppressed, "no part in the election");
                    }
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(RETRY_PAUSE) => {}
                    }
                }
            }
        }
    }

    /// Waits for the leadership, and meanwhile tells who has it.
    async fn wait_for_election(&self, raised: &mut mpsc::Receiver<Raise>) -> Result<Leadership, StoreError> {
        let mut watched = self.store.watch(LEADER_KEY);
        let mut campaign = self.store.campaign(&self.candidate, self.ttl);
        loop {
            tokio::select! {
                elected = &mut campaign => return elected,
                Some(event) = watched.next() => self.observe(event),
                Some(raise) = raised.recv() => {
                    let _ = raise.done.send(Err(StoreError::Fenced));
                }
            }
        }
    }

    fn observe(&self, event: WatchEvent) {
        let leader = match event {
            WatchEvent::Reset(entries) => entries.into_iter().find(|(key, _)| key == LEADER_KEY),
            WatchEvent::Put { key, value } if key == LEADER_KEY => Some((key, value)),
            WatchEvent::Delete { key, .. } if key == LEADER_KEY => None,
            WatchEvent::Put { .. } | WatchEvent::Delete { .. } => return,
        };
        let leader = leader.and_then(|(_, record)| Leader::decode(&record.value));
        self.standing.send_if_modified(|standing| match standing {
            Standing::Standby { leader: known } if *known == leader => false,
            _ => {
                *standing = Standing::Standby { leader };
                true
            }
        });
    }

    /// Leads until that is over; whether it was over because of `stop`.
    async fn lead(
        &self,
        mut leadership: Leadership,
        raised: &mut mpsc::Receiver<Raise>,
        stop: &CancellationToken,
    ) -> bool {
        tracing::info!(epoch = leadership.epoch, master = %self.candidate.name, "this master leads");
        self.terms.begun.fetch_add(1, Ordering::Relaxed);
        self.tell_leading(&leadership);
        let stopped = loop {
            tokio::select! {
                () = stop.cancelled() => break true,
                () = leadership.tenure.over() => break false,
                Some(raise) = raised.recv() => {
                    let result = self.raise(&mut leadership, raise.above).await;
                    let fenced = matches!(result, Err(StoreError::Fenced));
                    let _ = raise.done.send(result);
                    if fenced {
                        break false;
                    }
                }
            }
        };
        self.standing.send_replace(Standing::Standby { leader: None });
        let epoch = leadership.epoch;
        if tokio::time::timeout(RESIGN_TIMEOUT, leadership.resign()).await.is_err() {
            tracing::debug!("the store did not take the resignation in time");
        }
        if stopped {
            tracing::info!(epoch, "this master has resigned");
        } else {
            self.terms.lost.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                epoch,
                "this master does not lead any more: its lease could not be renewed in time"
            );
        }
        stopped
    }

    fn tell_leading(&self, leadership: &Leadership) {
        let Leadership { epoch, fence, tenure, .. } = leadership;
        self.standing.send_replace(Standing::Leading {
            epoch: *epoch,
            fence: fence.clone(),
            tenure: tenure.clone(),
        });
    }

    async fn raise(&self, leadership: &mut Leadership, above: u64) -> Result<u64, StoreError> {
        if leadership.epoch > above {
            return Ok(leadership.epoch);
        }
        let epoch = above.saturating_add(1);
        let leader = Leader::new(&self.candidate, epoch).encode();
        let changes = vec![
            Change::Put { key: EPOCH_KEY.to_owned(), value: epoch.to_string().into(), lease: None },
            Change::Put { key: LEADER_KEY.to_owned(), value: leader, lease: Some(leadership.lease) },
        ];
        self.store.commit(Some(&leadership.fence), changes).await?;
        tracing::warn!(
            from = leadership.epoch,
            to = epoch,
            "workers have obeyed a leader that the store does not know of; the epoch is raised above its"
        );
        leadership.epoch = epoch;
        self.tell_leading(leadership);
        Ok(epoch)
    }
}

impl std::fmt::Debug for Election {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Election").field("candidate", &self.candidate).finish_non_exhaustive()
    }
}
