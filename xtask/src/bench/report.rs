//! What was measured, as a table for the terminal and for `bench-results/`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::Plan;
use super::agent::Agent;
use super::message::Contents;
use super::receiver::Received;
use super::targets::{Load, Punctuality};

/// One scraper's window.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Who.
    pub agent: Agent,
    /// With metric relabelling.
    pub relabel: bool,
    /// Length of the window.
    pub seconds: f64,
    /// The scraper's user and system time in the window.
    pub cpu_seconds: f64,
    /// Its largest resident size since it started.
    pub peak_bytes: u64,
    /// Its resident size at the end.
    pub resident_bytes: u64,
    /// User and system time of the targets in the window.
    pub load_cpu_seconds: f64,
    /// User and system time of the receiver in the window.
    pub receiver_cpu_seconds: f64,
    /// The share of the machine's processors that was in use, by whatever process.
    pub machine_share: f64,
    /// What arrived in the window.
    pub received: Received,
    /// How the targets were asked in the window.
    pub punctuality: Punctuality,
    /// 99th percentile of Outrigger's own histogram in the window, in milliseconds.
    pub own_lateness_ms: Option<f64>,
    /// Last warnings of its log.
    pub complaints: Vec<String>,
}

impl Measured {
    fn cpu_per_million(&self) -> f64 {
        self.cpu_seconds * 1e6 / (self.samples() as f64).max(1.0)
    }

    fn wire_per_sample(&self) -> f64 {
        self.received.wire_bytes as f64 / (self.samples() as f64).max(1.0)
    }

    fn samples(&self) -> u64 {
        self.received.contents.samples
    }

    fn protocol(&self) -> String {
        let Received { requests, version_2, zstd, .. } = self.received;
        let version = if version_2 * 2 > requests { "2.0" } else { "1.0" };
        let compression = if zstd * 2 > requests { "zstd" } else { "snappy" };
        format!("{version} {compression}")
    }
}

/// All scrapers under one load.
#[derive(Debug)]
pub struct Report {
    heading: String,
    machine: String,
    /// In the order of measuring.
    pub measured: Vec<Measured>,
}

impl Report {
    pub(super) fn new(plan: &Plan, load: Load) -> Result<Self> {
        let series = load.targets as usize * load.shape.series_of_target();
        let heading = format!(
            "{}: {} targets, {series} series, every {} s, measured for {} s",
            load.shape.name(),
            load.targets,
            plan.interval.as_secs(),
            plan.window.as_secs()
        );
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let information = fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
        let model = information.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let machine =
            format!("{processors} processors, {}", model.map_or("of unknown model", |(_, name)| name));
        Ok(Self { heading, machine, measured: Vec::new() })
    }

    /// The report as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n{}. Commit {}.\n\n", self.heading, self.machine, commit());
        text.push_str(
            "| scraper | protocol | samples/s | CPU s per million | peak MiB | resident MiB | bytes/sample | late p50/p99/max ms | missed | machine busy, of it load and receiver |\n\
             |---|---|---|---|---|---|---|---|---|---|\n",
        );
        for measured in &self.measured {
            let _ = writeln!(text, "{}", row(measured));
        }
        text.push('\n');
        for measured in &self.measured {
            let _ = write!(text, "{}", self.ratios(measured));
        }
        for measured in self.measured.iter().filter(|measured| !measured.complaints.is_empty()) {
            let _ = writeln!(text, "{} said: `{}`", label(measured), measured.complaints.join("` `"));
        }
        text
    }

    /// How many times more each peer takes than Outrigger under the same relabelling.
    fn ratios(&self, ours: &Measured) -> String {
        if ours.agent != Agent::Outrigger {
            return String::new();
        }
        let mut text = String::new();
        for peer in
            self.measured.iter().filter(|peer| peer.agent != ours.agent && peer.relabel == ours.relabel)
        {
            let _ = writeln!(
                text,
                "- {} takes {:.1} times the CPU, {:.1} times the peak memory and {:.1} times the bytes of {}",
                label(peer),
                peer.cpu_per_million() / ours.cpu_per_million(),
                peer.peak_bytes as f64 / ours.peak_bytes as f64,
                peer.wire_per_sample() / ours.wire_per_sample(),
                label(ours)
            );
        }
        text
    }

    /// Appends the report to the day's file in `folder`, and returns that file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(&self, folder: &Path) -> Result<PathBuf> {
        let day = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
        let path = folder.join(format!("{day}-scrape.md"));
        let mut text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                format!("# {day}: `cargo xtask bench scrape`\n")
            }
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        let _ = write!(text, "\n{}", self.markdown());
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

fn label(measured: &Measured) -> String {
    format!("{}{}", measured.agent.name(), if measured.relabel { ", relabelling" } else { "" })
}

fn row(measured: &Measured) -> String {
    let mebibytes = |bytes: u64| bytes as f64 / (1 << 20) as f64;
    let [p50, p99, max] = measured.punctuality.late_ms;
    let own = measured.own_lateness_ms.map_or(String::new(), |own| format!(" (own p99 {own:.0})"));
    let (load, receiver) = (measured.load_cpu_seconds, measured.receiver_cpu_seconds);
    let refused = measured.received.refused;
    format!(
        "| {} | {} | {:.0} | {:.2} | {:.0} | {:.0} | {:.1} | {p50:.0} / {p99:.0} / {max:.0}{own} | {}{} | {:.0} %, {:.1} and {:.1} % of a core |",
        label(measured),
        measured.protocol(),
        measured.samples() as f64 / measured.seconds,
        measured.cpu_per_million(),
        mebibytes(measured.peak_bytes),
        mebibytes(measured.resident_bytes),
        measured.wire_per_sample(),
        measured.punctuality.missed,
        if refused > 0 { format!(", {refused} requests refused") } else { String::new() },
        measured.machine_share * 100.0,
        load / measured.seconds * 100.0,
        receiver / measured.seconds * 100.0,
    )
}

/// One line for whoever waits.
pub(super) fn line(measured: &Measured) -> String {
    format!(
        "  {:.0} samples/s, {:.2} CPU s per million, peak {} MiB, {:.1} bytes a sample, late p99 {:.0} ms, {} missed",
        measured.samples() as f64 / measured.seconds,
        measured.cpu_per_million(),
        measured.peak_bytes >> 20,
        measured.wire_per_sample(),
        measured.punctuality.late_ms[1],
        measured.punctuality.missed
    )
}

/// What arrived between two readings.
pub(super) fn difference(before: &Received, after: &Received) -> Received {
    let (from, to) = (before.contents, after.contents);
    Received {
        requests: after.requests - before.requests,
        version_2: after.version_2 - before.version_2,
        zstd: after.zstd - before.zstd,
        refused: after.refused - before.refused,
        wire_bytes: after.wire_bytes - before.wire_bytes,
        message_bytes: after.message_bytes - before.message_bytes,
        contents: Contents {
            series: to.series - from.series,
            samples: to.samples - from.samples,
            histograms: to.histograms - from.histograms,
            exemplars: to.exemplars - from.exemplars,
            metadata: to.metadata - from.metadata,
        },
        distinct_series: after.distinct_series,
        sequence: after.sequence,
    }
}

/// Upper bounds and cumulative counts of a histogram in an exposition.
pub(super) fn buckets(text: &str, name: &str) -> Vec<(f64, f64)> {
    let lines = text.lines().filter(|line| line.starts_with(name));
    let parsed = lines.filter_map(|line| {
        let bound = line.split_once("le=\"")?.1.split_once('"')?.0;
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
        Some((bound, line.rsplit_once(' ')?.1.parse().ok()?))
    });
    parsed.collect()
}

/// The 99th percentile between two readings of a histogram, interpolated within its bucket.
pub(super) fn histogram_p99_ms(before: &[(f64, f64)], after: &[(f64, f64)]) -> Option<f64> {
    let counts: Vec<(f64, f64)> =
        after.iter().zip(before).map(|(after, before)| (after.0, after.1 - before.1)).collect();
    let rank = counts.last()?.1 * 0.99;
    let at = counts.iter().position(|(_, count)| *count >= rank && *count > 0.0)?;
    let (bound, count) = counts[at];
    let (lower, below) = if at == 0 { (0.0, 0.0) } else { counts[at - 1] };
    let upper = if bound.is_finite() { bound } else { lower };
    Some((lower + (upper - lower) * (rank - below) / (count - below).max(1.0)) * 1e3)
}

/// The commit that was measured, if git tells.
fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let text = output
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok());
    text.map_or("unknown".to_owned(), |text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_taken_from_what_was_added_to_the_buckets() {
        let text =
            "x_bucket{le=\"0.01\"} 100\nx_bucket{le=\"0.1\"} 100\nx_bucket{le=\"+Inf\"} 100\nx_count 100\n";
        let before = buckets(text, "x_bucket");
        let text =
            "x_bucket{le=\"0.01\"} 190\nx_bucket{le=\"0.1\"} 200\nx_bucket{le=\"+Inf\"} 200\nx_count 200\n";
        let p99 = histogram_p99_ms(&before, &buckets(text, "x_bucket")).unwrap();
        assert!((p99 - 91.0).abs() < 1e-6, "{p99}");
        assert_eq!(histogram_p99_ms(&before, &before), None);
    }
}
