//! Starting, finding again and ending the rig's processes.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

/// How long a process may take to end after SIGTERM before it gets SIGKILL.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process by its number and its start time in clock ticks since boot, so that a number given to
/// another process later is never mistaken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process number.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`.
    pub start_time: u64,
}

impl ProcessId {
    /// The calling process.
    pub fn own() -> Result<Self> {
        Self::of(std::process::id()).context("this process has no /proc entry; the rig needs Linux")
    }

    fn of(pid: u32) -> Option<Self> {
        let (_, start_time) = stat(pid)?;
        Some(ProcessId { pid, start_time })
    }

    /// Whether this very process still runs; one that has ended and waits to be reaped does not.
    pub fn is_alive(self) -> bool {
        matches!(stat(self.pid), Some((state, start)) if start == self.start_time && state != 'Z' && state != 'X')
    }

    /// Sends a signal if this very process still runs.
    pub fn signal(self, signal: Signal) {
        if self.is_alive()
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            // It may end in between, which is what the caller wanted or will notice by itself.
            let _ = kill_process(pid, signal);
        }
    }

    /// Asks the process to end and waits until it has, for at most half a minute before it is killed.
    pub async fn end(self) -> Result<()> {
        self.signal(Signal::CONT);
        self.signal(Signal::TERM);
        if !self.gone_within(PATIENCE).await {
            self.signal(Signal::KILL);
        }
        self.killed().await
    }

    /// Kills the process and waits until it is gone.
    pub async fn kill(self) -> Result<()> {
        self.signal(Signal::KILL);
        self.killed().await
    }

    async fn killed(self) -> Result<()> {
        if !self.gone_within(PATIENCE).await {
            bail!("process {} outlives SIGKILL", self.pid);
        }
        CHILDREN.reap(self);
        Ok(())
    }

    async fn gone_within(self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.is_alive() {
            if Instant::now() > deadline {
                return false;
            }
            sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// Kills the process and waits for it without a runtime: for `Drop`.
    pub(crate) fn kill_now(self) {
        self.signal(Signal::KILL);
        CHILDREN.reap(self);
    }

    /// How the process ended, if it is a child of this process and has ended.
    pub(super) fn exit_status(self) -> Option<ExitStatus> {
        CHILDREN.exit_status(self)
    }
}

/// State letter and start time of a process.
fn stat(pid: u32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name stands in parentheses and may hold anything, so count fields after it.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let start_time = fields.nth(18)?.parse().ok()?;
    Some((state, start_time))
}

/// Whether the process ends with the one that started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Killed by the kernel when this process ends, however it ends.
    Owner,
    /// Runs on until told to end.
    Detached,
}

/// Starts a program with its output appended to `log`.
pub(crate) fn spawn(
    program: &Path,
    args: &[String],
    dir: &Path,
    log: &Path,
    lifetime: Lifetime,
) -> Result<ProcessId> {
    let output = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("open {}", log.display()))?;
    let mut command = match lifetime {
        Lifetime::Detached => Command::new(program),
        Lifetime::Owner => {
            let mut setpriv = Command::new(setpriv()?);
            setpriv.args(["--pdeathsig", "KILL", "--"]).arg(program);
            setpriv
        }
    };
    command.args(args).current_dir(dir).stdin(Stdio::null());
    command.stdout(output.try_clone().context("duplicate the log's handle")?).stderr(output);
    // Its own group: Ctrl-C at a terminal is for the command that was typed, not for the rig.
    command.process_group(0);
    CHILDREN.spawn(command).with_context(|| format!("start {}", program.display()))
}

/// `setpriv` sets the parent-death signal; doing it in this process would need unsafe code.
fn setpriv() -> Result<PathBuf> {
    ["/usr/bin/setpriv", "/bin/setpriv"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .context("setpriv is missing: apt-get install util-linux")
}

static CHILDREN: LazyLock<Children> = LazyLock::new(Children::start);

/// The processes started by this one, and the thread that started them.
///
/// The kernel's parent-death signal is tied to the *thread* that started the child; a test's thread ends
/// with the test. So all are started by one thread that lives as long as the process.
struct Children {
    starter: Mutex<mpsc::Sender<Start>>,
    running: Mutex<HashMap<u32, Child>>,
}

struct Start {
    command: Command,
    reply: mpsc::Sender<std::io::Result<Child>>,
}

impl Children {
    fn start() -> Self {
        let (starter, requests) = mpsc::channel::<Start>();
        std::thread::spawn(move || {
            while let Ok(mut start) = requests.recv() {
                let _ = start.reply.send(start.command.spawn());
            }
        });
        Children { starter: Mutex::new(starter), running: Mutex::default() }
    }

    fn spawn(&self, command: Command) -> Result<ProcessId> {
        let (reply, answer) = mpsc::channel();
        lock(&self.starter).send(Start { command, reply }).context("the starting thread is gone")?;
        let child = answer.recv().context("the starting thread is gone")??;
        let id = ProcessId::of(child.id()).context("it is not in /proc")?;
        lock(&self.running).insert(id.pid, child);
        Ok(id)
    }

    /// Takes the exit status of an ended child from the kernel, waiting for the end.
    fn reap(&self, id: ProcessId) {
        let child = lock(&self.running).remove(&id.pid);
        if let Some(mut child) = child {
            let _ = child.wait();
        }
    }

    fn exit_status(&self, id: ProcessId) -> Option<ExitStatus> {
        lock(&self.running).get_mut(&id.pid)?.try_wait().ok().flatten()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_process_is_alive_and_a_reused_number_is_not_it() {
        let own = ProcessId::own().unwrap();
        assert!(own.is_alive());
        assert!(!ProcessId { start_time: own.start_time + 1, ..own }.is_alive());
    }

    #[tokio::test]
    async fn ended_process_is_gone_and_reaped() {
        let dir = std::env::temp_dir();
        let log = dir.join(format!("xtask-process-{}.log", std::process::id()));
        let sleeper = Path::new("/bin/sleep");
        let id = spawn(sleeper, &["600".to_owned()], &dir, &log, Lifetime::Owner).unwrap();
        assert!(id.is_alive());
        id.end().await.unwrap();
        assert!(!id.is_alive());
        assert!(!Path::new(&format!("/proc/{}", id.pid)).exists());
        fs::remove_file(log).unwrap();
    }
}
