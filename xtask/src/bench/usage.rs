//! What a process has used, from `/proc`.

use std::fs;

use anyhow::{Context, Result};

/// Processor time and memory of a process so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Usage {
    /// User and system time in seconds.
    pub(super) cpu_seconds: f64,
    /// Largest resident size in bytes.
    pub(super) peak_bytes: u64,
    /// Resident size in bytes.
    pub(super) resident_bytes: u64,
}

impl Usage {
    pub(super) fn of(pid: u32) -> Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).with_context(|| format!("read {path}"))
        };
        Self::parse(&read("stat")?, &read("status")?)
            .with_context(|| format!("read the usage of process {pid}"))
    }

    fn parse(stat: &str, status: &str) -> Result<Self> {
        // The command's name stands in parentheses and may hold anything, so count fields after it.
        let fields = stat.rsplit_once(')').context("no name in stat")?.1;
        let ticks =
            |at: usize| fields.split_ascii_whitespace().nth(at).and_then(|field| field.parse::<f64>().ok());
        let ticks = ticks(11).zip(ticks(12)).context("no times in stat")?;
        let kibibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
            number.map(|number| number * 1024).with_context(|| format!("no {name} in status"))
        };
        Ok(Self {
            cpu_seconds: (ticks.0 + ticks.1) / rustix::param::clock_ticks_per_second() as f64,
            peak_bytes: kibibytes("VmHWM:")?,
            resident_bytes: kibibytes("VmRSS:")?,
        })
    }
}

/// Processor seconds of the whole machine so far: used, and in all.
pub(super) fn machine() -> Result<(f64, f64)> {
    let text = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    let line =
        text.lines().next().and_then(|line| line.strip_prefix("cpu ")).context("no total in /proc/stat")?;
    // User, nice, system, idle, iowait, irq, softirq and steal; what follows is counted in user already.
    let ticks: Vec<f64> =
        line.split_ascii_whitespace().take(8).filter_map(|field| field.parse().ok()).collect();
    let all: f64 = ticks.iter().sum();
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    let second = rustix::param::clock_ticks_per_second() as f64;
    Ok(((all - idle) / second, all / second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_behind_a_name_with_parentheses_and_spaces() {
        let stat = "12 (a) b) S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 1 0 9 0 0";
        let usage = Usage::parse(stat, "Name:\ta\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\n").unwrap();
        let second = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(
            usage,
            Usage { cpu_seconds: 200.0 / second, peak_bytes: 2 << 20, resident_bytes: 1 << 20 }
        );
    }

    #[test]
    fn reads_this_process() {
        assert!(Usage::of(std::process::id()).unwrap().resident_bytes > 0);
        let (used, all) = machine().unwrap();
        assert!(used > 0.0 && all > used);
    }
}
