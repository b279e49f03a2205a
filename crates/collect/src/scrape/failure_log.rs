//! `scrape_failure_log_file`: one JSON line for each failed scrape.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use outrigger_model::sample::Timestamp;
use outrigger_rt::log_limit::LogLimit;
use outrigger_rt::metrics::Counter;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Lines that may wait for the disk.
const QUEUE_LINES: usize = 4_096;

/// Hands lines to the task that writes them; never waits.
#[derive(Debug, Clone)]
pub(crate) struct FailureLog {
    lines: mpsc::Sender<Line>,
    dropped: Counter,
}

/// The task's end.
#[derive(Debug)]
pub(crate) struct FailureLogWriter {
    lines: mpsc::Receiver<Line>,
    dropped: Counter,
    log_limit: LogLimit,
}

#[derive(Debug)]
struct Line {
    path: PathBuf,
    text: String,
}

pub(crate) fn failure_log(dropped: Counter, log_period: Duration) -> (FailureLog, FailureLogWriter) {
    let (sender, receiver) = mpsc::channel(QUEUE_LINES);
    let writer =
        FailureLogWriter { lines: receiver, dropped: dropped.clone(), log_limit: LogLimit::new(log_period) };
    (FailureLog { lines: sender, dropped }, writer)
}

impl FailureLog {
    /// Notes a failed scrape in `path`; dropped and counted when the disk cannot keep up.
    pub(crate) fn write(&self, path: &Path, now: Timestamp, job: &str, target: &str, error: &str) {
        let line = Line { path: path.to_owned(), text: json_line(now, job, target, error) };
        if self.lines.try_send(line).is_err() {
            self.dropped.inc();
        }
    }
}

/// The keys of Prometheus' JSON log.
fn json_line(now: Timestamp, job: &str, target: &str, error: &str) -> String {
    let time =
        jiff::Timestamp::from_millisecond(now.millis()).map(|time| time.to_string()).unwrap_or_default();
    let fields =
        [("time", time.as_str()), ("level", "ERROR"), ("msg", error), ("job_name", job), ("target", target)];
    let fields: Vec<String> =
        fields.iter().map(|(key, value)| format!("{:?}:{}", key, serde_json::Value::from(*value))).collect();
    format!("{{{}}}\n", fields.join(","))
}

impl FailureLogWriter {
    /// Writes until `stop` is cancelled, and then what is there. Files are opened anew for each batch of lines, so that
    /// they can be rotated by renaming.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut lines = Vec::new();
        loop {
            tokio::select! {
                received = self.lines.recv_many(&mut lines, QUEUE_LINES) => {
                    if received == 0 {
                        return;
                    }
                }
                () = stop.cancelled() => self.lines.close(),
            }
            self.write(&mut lines).await;
        }
    }

    async fn write(&self, lines: &mut Vec<Line>) {
        let mut by_file: BTreeMap<PathBuf, (String, u64)> = BTreeMap::new();
        for line in lines.drain(..) {
            let (text, count) = by_file.entry(line.path).or_default();
            text.push_str(&line.text);
            *count += 1;
        }
        for (path, (text, count)) in by_file {
            self.append(path, text, count).await;
        }
    }

    async fn append(&self, path: PathBuf, text: String, count: u64) {
        let name = path.display().to_string();
        let written = tokio::task::spawn_blocking(move || append_to_file(&path, &text)).await;
        let Err(error) = written.map_err(io::Error::other).flatten() else { return };
        self.dropped.add(count);
        if let Some(suppressed) = self.log_limit.permit(&name) {
            tracing::warn!(file = name, %error, suppressed, "cannot write scrape_failure_log_file");
        }
    }
}

fn append_to_file(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn failures_become_json_lines_in_their_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("failures.log");
        let dropped = Counter::default();
        let (log, writer) = failure_log(dropped.clone(), Duration::from_secs(60));
        let now = Timestamp::from_millis(1_700_000_000_123);
        log.write(&path, now, "node", "http://127.0.0.1:1/metrics", "server returned \"503\"\n");
        log.write(&directory.path().join("no/such/directory"), now, "node", "x", "y");
        let stop = CancellationToken::new();
        stop.cancel();
        writer.run(stop).await;
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "{\"time\":\"2023-11-14T22:13:20.123Z\",\"level\":\"ERROR\",\
             \"msg\":\"server returned \\\"503\\\"\\n\",\"job_name\":\"node\",\
             \"target\":\"http://127.0.0.1:1/metrics\"}\n",
        );
        assert_eq!(dropped.get(), 1, "the line for the directory that is not there");
    }
}
