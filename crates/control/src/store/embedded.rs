//! The store of the only master: memory, and a file for the next start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use outrigger_model::clock::SharedClock;
use outrigger_model::fault::chain;
use outrigger_rt::log_limit::LogLimit;
use outrigger_storage::state_file::{StateChange, StateEntry, StateFile, StateFileError, StateTrouble};
use parking_lot::Mutex;
use tokio::sync::broadcast;

use super::leadership::{Leader, Leadership, Tenure};
use super::{
    Candidate, Change, EPOCH_KEY, Fence, LEADER_KEY, LeaseId, MAX_CHANGES, StateStore, StoreError, Versioned,
    WatchEvent,
};

/// Changes that a slow watcher may be behind before it gets everything anew.
const WATCH_BUFFER: usize = 1_024;

/// State in memory, written to a file with each commit.
///
/// What is in memory counts: when the file cannot be written (disk full or read-only), commits still succeed, the trouble
/// is logged and told by [`StateStore::trouble`], and the next commit writes everything. A damaged file is set aside and
/// a new one begun; epochs go on rising all the same, since none is lower than the wall clock's seconds.
#[derive(Debug, Clone)]
pub struct EmbeddedStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    clock: SharedClock,
    state: Mutex<State>,
    /// Held by the commit that is under way, so that file and memory have the same order; `None` in it until the file
    /// can be opened.
    file: tokio::sync::Mutex<FileState>,
    changes: broadcast::Sender<Arc<Vec<WatchEvent>>>,
    trouble: Mutex<Option<String>>,
    troubles: LogLimit,
    leases: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    revision: u64,
    entries: BTreeMap<String, StateEntry>,
}

#[derive(Debug)]
struct FileState {
    file: Option<Arc<StateFile>>,
    /// The file lacks changes that are in memory.
    behind: bool,
}

impl EmbeddedStore {
    /// Opens the state file, or begins one. Call it on a runtime's thread that may block for a moment.
    ///
    /// # Errors
    /// Only when another process has the file, or a newer version wrote it. With any other trouble the store works from
    /// memory, with what could be read.
    pub fn open(path: impl Into<PathBuf>, clock: SharedClock) -> Result<Self, StateFileError> {
        let path = path.into();
        let troubles = LogLimit::new(Duration::from_secs(60));
        let mut trouble = None;
        let (file, content) = match StateFile::open(&path) {
            Ok(file) => {
                if let Some(aside) = file.set_aside() {
                    tracing::error!(
                        file = %path.display(), aside = %aside.display(),
                        "the state file was damaged: it was set aside and a new one begun; workers tell the master what \
                         they hold, so no target is lost"
                    );
                }
                let content = file.revision().and_then(|revision| Ok((revision, file.list("")?)))?;
                (Some(Arc::new(file)), content)
            }
            Err(error) if matches!(error.trouble(), StateTrouble::InUse | StateTrouble::Newer) => {
                return Err(error);
            }
            Err(error) => {
                let text = chain(&error);
                tracing::error!(error = %text, "the state file cannot be used: going on without it until it can");
                troubles.permit("");
                trouble = Some(text);
                (None, StateFile::read(&path).unwrap_or_default())
            }
        };
        let (revision, mut entries) = content;
        // The process that held the leases of before is gone.
        let all = entries.len();
        entries.retain(|(_, entry)| entry.lease == 0);
        let behind = file.is_none() || entries.len() < all;
        let state = State { revision, entries: entries.into_iter().collect() };
        let shared = Shared {
            path,
            clock,
            state: Mutex::new(state),
            file: tokio::sync::Mutex::new(FileState { file, behind }),
            changes: broadcast::Sender::new(WATCH_BUFFER),
            trouble: Mutex::new(trouble),
            troubles,
            leases: AtomicU64::new(1),
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Shared {
    async fn commit(&self, fence: Option<&Fence>, changes: Vec<Change>) -> Result<u64, StoreError> {
        if changes.len() > MAX_CHANGES {
            return Err(StoreError::TooManyChanges { changes: changes.len() });
        }
        let mut file = self.file.lock().await;
        if let Some(fence) = fence
            && !self.state.lock().holds(fence)
        {
            return Err(StoreError::Fenced);
        }
        let changes: Vec<StateChange> = changes.into_iter().map(state_change).collect();
        let (revision, everything) = {
            let mut state = self.state.lock();
            let events = state.apply(&changes);
            // Told under the lock, so that a watcher that begins now gets each change once.
            let _ = self.changes.send(Arc::new(events));
            (state.revision, file.behind.then(|| state.everything()))
        };
        self.write(&mut file, revision, changes, everything).await;
        Ok(revision)
    }

    async fn write(
        &self,
        held: &mut FileState,
        revision: u64,
        changes: Vec<StateChange>,
        everything: Option<Vec<(String, StateEntry)>>,
    ) {
        let (file, path) = (held.file.take(), self.path.clone());
        let writing = tokio::task::spawn_blocking(move || {
            let file = match file {
                Some(file) => file,
                None => match StateFile::open(path) {
                    Ok(file) => Arc::new(file),
                    Err(error) => return (None, Err(error)),
                },
            };
            let result = match everything {
                Some(everything) => file.replace(revision, &everything),
                None => file.commit(&changes).map(drop),
            };
            (Some(file), result)
        });
        // It fails when the runtime ends, or when redb panicked on a file that is not what it wrote.
        let Ok((file, result)) = writing.await else {
            held.behind = true;
            return;
        };
        held.file = file;
        held.behind = result.is_err();
        let trouble = result.err().map(|error| chain(&error));
        match &trouble {
            Some(error) => {
                if let Some(suppressed) = self.troubles.permit("") {
                    tracing::error!(%error, suppressed, "state is kept in memory alone until its file can be written");
                }
            }
            None if self.trouble.lock().is_some() => {
                tracing::info!(file = %self.path.display(), "the state file is written again");
            }
            None => {}
        }
        *self.trouble.lock() = trouble;
    }

    async fn campaign(self: &Arc<Self>, candidate: &Candidate) -> Result<Leadership, StoreError> {
        let before = self.state.lock().value(EPOCH_KEY).map(parse_epoch).transpose()?.unwrap_or(0);
        let epoch = next_epoch(before, &self.clock);
        let lease = LeaseId(self.leases.fetch_add(1, Ordering::Relaxed));
        let revision = self
            .commit(
                None,
                vec![
                    // The key is made anew, so that a fence of an earlier leadership does not hold for it.
                    Change::Delete { key: LEADER_KEY.to_owned() },
                    Change::Put {
                        key: LEADER_KEY.to_owned(),
                        value: Leader::new(candidate, epoch).encode(),
                        lease: Some(lease),
                    },
                    Change::Put { key: EPOCH_KEY.to_owned(), value: epoch.to_string().into(), lease: None },
                ],
            )
            .await?;
        let fence = Fence { key: LEADER_KEY.to_owned(), create_revision: revision };
        let shared = self.clone();
        let release = move || async move { shared.end_lease(lease).await }.boxed();
        Ok(Leadership::new(epoch, fence, lease, Tenure::endless(), Box::new(release)))
    }

    async fn end_lease(&self, lease: LeaseId) {
        let bound: Vec<Change> = {
            let state = self.state.lock();
            let bound = state.entries.iter().filter(|(_, entry)| entry.lease == lease.0);
            bound.map(|(key, _)| Change::Delete { key: key.clone() }).collect()
        };
        for changes in bound.chunks(MAX_CHANGES) {
            // Without a fence it does not fail.
            let _ = self.commit(None, changes.to_vec()).await;
        }
    }
}

impl StateStore for EmbeddedStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Versioned>, StoreError>> {
        let found = self.shared.state.lock().entries.get(key).map(versioned);
        std::future::ready(Ok(found)).boxed()
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<(String, Versioned)>, StoreError>> {
        let found = self.shared.state.lock().list(prefix);
        std::future::ready(Ok(found)).boxed()
    }

    fn commit<'a>(
        &'a self,
        fence: Option<&'a Fence>,
        changes: Vec<Change>,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        self.shared.commit(fence, changes).boxed()
    }

    fn watch(&self, prefix: &str) -> BoxStream<'static, WatchEvent> {
        watch(self.shared.clone(), prefix.to_owned()).boxed()
    }

    fn campaign<'a>(
        &'a self,
        candidate: &'a Candidate,
        _ttl: Duration,
    ) -> BoxFuture<'a, Result<Leadership, StoreError>> {
        self.shared.campaign(candidate).boxed()
    }

    fn trouble(&self) -> Option<String> {
        self.shared.trouble.lock().clone()
    }
}

/// Changes from the moment of the first poll on, after everything that is there then.
fn watch(shared: Arc<Shared>, prefix: String) -> impl futures_util::Stream<Item = WatchEvent> {
    let reset = move |shared: &Shared, prefix: &str| {
        let state = shared.state.lock();
        (WatchEvent::Reset(state.list(prefix)), shared.changes.subscribe())
    };
    let start: Option<broadcast::Receiver<Arc<Vec<WatchEvent>>>> = None;
    stream::unfold((shared, prefix, start), move |(shared, prefix, receiver)| async move {
        let Some(mut receiver) = receiver else {
            let (event, receiver) = reset(&shared, &prefix);
            return Some((vec![event], (shared, prefix, Some(receiver))));
        };
        match receiver.recv().await {
            Ok(events) => {
                let events = events.iter().filter(|event| concerns(event, &prefix)).cloned().collect();
                Some((events, (shared, prefix, Some(receiver))))
            }
            Err(_) => {
                let (event, receiver) = reset(&shared, &prefix);
                Some((vec![event], (shared, prefix, Some(receiver))))
            }
        }
    })
    .flat_map(stream::iter)
}

fn concerns(event: &WatchEvent, prefix: &str) -> bool {
    match event {
        WatchEvent::Reset(_) => true,
        WatchEvent::Put { key, .. } | WatchEvent::Delete { key, .. } => key.starts_with(prefix),
    }
}

impl State {
    fn holds(&self, fence: &Fence) -> bool {
        self.entries.get(&fence.key).is_some_and(|entry| entry.create_revision == fence.create_revision)
    }

    fn value(&self, key: &str) -> Option<&[u8]> {
        self.entries.get(key).map(|entry| entry.value.as_slice())
    }

    fn list(&self, prefix: &str) -> Vec<(String, Versioned)> {
        let entries = self.entries.range(prefix.to_owned()..);
        let entries = entries.take_while(|(key, _)| key.starts_with(prefix));
        entries.map(|(key, entry)| (key.clone(), versioned(entry))).collect()
    }

    fn everything(&self) -> Vec<(String, StateEntry)> {
        self.entries.iter().map(|(key, entry)| (key.clone(), entry.clone())).collect()
    }

    fn apply(&mut self, changes: &[StateChange]) -> Vec<WatchEvent> {
        self.revision += 1;
        let revision = self.revision;
        let mut events = Vec::with_capacity(changes.len());
        for change in changes {
            match change {
                StateChange::Put { key, value, lease } => {
                    let create_revision =
                        self.entries.get(key).map_or(revision, |entry| entry.create_revision);
                    let entry = StateEntry { value: value.clone(), create_revision, revision, lease: *lease };
                    events.push(WatchEvent::Put { key: key.clone(), value: versioned(&entry) });
                    self.entries.insert(key.clone(), entry);
                }
                StateChange::Delete { key } => {
                    if self.entries.remove(key).is_some() {
                        events.push(WatchEvent::Delete { key: key.clone(), revision });
                    }
                }
            }
        }
        events
    }
}

fn versioned(entry: &StateEntry) -> Versioned {
    Versioned { value: entry.value.clone().into(), revision: entry.revision }
}

fn state_change(change: Change) -> StateChange {
    match change {
        Change::Put { key, value, lease } => {
            StateChange::Put { key, value: value.to_vec(), lease: lease.map_or(0, |lease| lease.0) }
        }
        Change::Delete { key } => StateChange::Delete { key },
    }
}

/// The value of [`EPOCH_KEY`].
pub(super) fn parse_epoch(value: &[u8]) -> Result<u64, StoreError> {
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| StoreError::BadValue { key: EPOCH_KEY.to_owned() })
}

/// Above the epoch before, and not below the wall clock's seconds: so that workers obey a master whose store was lost,
/// although they have obeyed a later one than the new store knows of.
pub(super) fn next_epoch(before: u64, clock: &SharedClock) -> u64 {
    let seconds = u64::try_from(clock.now().millis() / 1_000).unwrap_or(0);
    before.saturating_add(1).max(seconds)
}
