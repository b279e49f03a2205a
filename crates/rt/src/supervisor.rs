//! One owner for every long-running task: names, readiness, early ends, ordered shutdown.
//!
//! A supervised task runs until its [`CancellationToken`] is cancelled. One that ends or panics before that is a
//! failure which [`Supervisor::failed`] reports; there is no restart policy, the binary decides. Shutdown goes
//! [`Phase`] by phase: cancel, wait, then the next; what is still running at the deadline is aborted and named.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// When a task is stopped, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// What lets new work in: discovery, watches, scrape timers.
    Intake,
    /// What works off what came in: queues, senders.
    Drain,
    /// What others use to see how the shutdown goes: the web server, the logs.
    Last,
}

impl Phase {
    const ALL: [Phase; 3] = [Phase::Intake, Phase::Drain, Phase::Last];
}

/// A task that ended although nobody asked it to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("task {name} {reason}")]
pub struct TaskFailure {
    /// Name of the task.
    pub name: Arc<str>,
    /// How it ended.
    pub reason: TaskEnd,
}

/// How a task ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEnd {
    /// Its future returned.
    Returned,
    /// It panicked with this message.
    Panicked(String),
}

impl std::fmt::Display for TaskEnd {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TaskEnd::Returned => formatter.write_str("ended early"),
            TaskEnd::Panicked(message) => write!(formatter, "panicked: {message}"),
        }
    }
}

/// What a shutdown left behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShutdownReport {
    /// Tasks that did not end in time and were aborted, by name.
    pub aborted: Vec<Arc<str>>,
    /// The force future (a second signal) completed before the tasks ended.
    pub forced: bool,
}

/// Owner of tasks and readiness; cheap to clone, all clones are the same supervisor.
#[derive(Debug, Clone, Default)]
pub struct Supervisor {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    phases: [CancellationToken; 3],
    state: Mutex<State>,
    failures: watch::Sender<Vec<TaskFailure>>,
    /// Grows whenever a task ends, for those who wait for a phase.
    ended: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    running: BTreeMap<u64, Running>,
    readiness: Vec<(Arc<str>, Arc<AtomicBool>)>,
}

#[derive(Debug)]
struct Running {
    name: Arc<str>,
    phase: Phase,
    abort: Option<AbortHandle>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            phases: std::array::from_fn(|_| CancellationToken::new()),
            state: Mutex::default(),
            failures: watch::Sender::default(),
            ended: watch::Sender::default(),
        }
    }
}

impl Supervisor {
    /// A supervisor without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task that runs until `stop` is cancelled; a task that may take time to finish its work does so
    /// after that. Ending (or panicking) earlier is reported through [`Supervisor::failed`].
    ///
    /// Must be called within a runtime. A task spawned after shutdown began sees a cancelled `stop` at once.
    pub fn spawn<F, Task>(&self, name: impl Into<Arc<str>>, phase: Phase, task: Task)
    where
        Task: FnOnce(CancellationToken) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let name: Arc<str> = name.into();
        let stop = self.stop_token(phase);
        let future = task(stop.clone());
        let id = self.register(name.clone(), phase);
        let guard = EndGuard { shared: self.shared.clone(), id };
        let shared = self.shared.clone();
        let handle = tokio::spawn(async move {
            let _guard = guard;
            let reason = match AssertUnwindSafe(future).catch_unwind().await {
                Ok(()) => TaskEnd::Returned,
                Err(payload) => TaskEnd::Panicked(panic_message(payload.as_ref())),
            };
            let expected = stop.is_cancelled() && reason == TaskEnd::Returned;
            if !expected {
                tracing::error!(task = %name, %reason, "task failed");
                shared.failures.send_modify(|failures| failures.push(TaskFailure { name, reason }));
            }
        });
        if let Some(running) = self.shared.state.lock().running.get_mut(&id) {
            running.abort = Some(handle.abort_handle());
        }
    }

    /// The token that is cancelled when `phase` is shut down.
    pub fn stop_token(&self, phase: Phase) -> CancellationToken {
        self.shared.phases[phase as usize].clone()
    }

    /// Registers something that must be ready before the process is; not ready until told so.
    pub fn readiness(&self, name: impl Into<Arc<str>>) -> Readiness {
        let ready = Arc::new(AtomicBool::new(false));
        self.shared.state.lock().readiness.push((name.into(), ready.clone()));
        Readiness { ready }
    }

    /// Names of what is not ready yet; everything counts as not ready once shutdown has begun.
    pub fn unready(&self) -> Vec<Arc<str>> {
        if self.is_shutting_down() {
            return vec!["shutdown".into()];
        }
        let state = self.shared.state.lock();
        let unready = state.readiness.iter().filter(|(_, ready)| !ready.load(Ordering::Acquire));
        unready.map(|(name, _)| name.clone()).collect()
    }

    /// Whether everything registered is ready and shutdown has not begun.
    pub fn is_ready(&self) -> bool {
        self.unready().is_empty()
    }

    /// Whether shutdown has begun.
    pub fn is_shutting_down(&self) -> bool {
        self.shared.phases[0].is_cancelled()
    }

    /// Waits for the first task that ended early or panicked. Cancel safe.
    pub async fn failed(&self) -> TaskFailure {
        let mut failures = self.shared.failures.subscribe();
        loop {
            if let Some(failure) = failures.borrow_and_update().first() {
                return failure.clone();
            }
            if failures.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// All tasks that ended early so far.
    pub fn failures(&self) -> Vec<TaskFailure> {
        self.shared.failures.borrow().clone()
    }

    /// Names of the running tasks.
    pub fn running(&self) -> Vec<Arc<str>> {
        self.shared.state.lock().running.values().map(|task| task.name.clone()).collect()
    }

    /// Ends everything: each [`Phase`] is cancelled and waited for, in order, all within `deadline`. When the
    /// deadline passes or `force` completes (a second signal), what is left is aborted.
    pub async fn shutdown(&self, deadline: Duration, force: impl Future<Output = ()>) -> ShutdownReport {
        let end = Instant::now() + deadline;
        let mut report = ShutdownReport::default();
        tokio::pin!(force);
        for phase in Phase::ALL {
            self.shared.phases[phase as usize].cancel();
            if report.forced {
                continue;
            }
            tokio::select! {
                _ = tokio::time::timeout_at(end, self.phase_ended(phase)) => {}
                () = &mut force => report.forced = true,
            }
        }
        let state = self.shared.state.lock();
        for task in state.running.values() {
            if let Some(abort) = &task.abort {
                abort.abort();
            }
            tracing::warn!(task = %task.name, forced = report.forced, "task aborted");
            report.aborted.push(task.name.clone());
        }
        report
    }

    async fn phase_ended(&self, phase: Phase) {
        let mut ended = self.shared.ended.subscribe();
        loop {
            ended.borrow_and_update();
            if !self.shared.state.lock().running.values().any(|task| task.phase <= phase) {
                return;
            }
            if ended.changed().await.is_err() {
                return;
            }
        }
    }

    fn register(&self, name: Arc<str>, phase: Phase) -> u64 {
        let mut state = self.shared.state.lock();
        let id = state.next_id;
        state.next_id += 1;
        state.running.insert(id, Running { name, phase, abort: None });
        id
    }
}

/// Takes the task out of the list however it ends, abort included.
struct EndGuard {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.shared.state.lock().running.remove(&self.id);
        self.shared.ended.send_modify(|count| *count += 1);
    }
}

/// A readiness flag; dropping it while not ready leaves it unready for ever, which is a failure that shows.
#[derive(Debug)]
pub struct Readiness {
    ready: Arc<AtomicBool>,
}

impl Readiness {
    /// Says whether the part is ready.
    pub fn set(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }
}

fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "(no message)".to_owned()
    }
}
