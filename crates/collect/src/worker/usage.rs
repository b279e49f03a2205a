//! What the process uses of its machine, and what it may use, as Linux tells; what it does not tell is 0.

use std::fs;
use std::path::PathBuf;

/// Clock ticks per second in `/proc/*/stat`; Linux reports 100 on every architecture Outrigger is built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Usage and limits.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Usage {
    /// Since the start.
    pub(crate) cpu_seconds: f64,
    /// CPUs.
    pub(crate) cpu_limit: f64,
    pub(crate) resident_bytes: u64,
    pub(crate) memory_limit_bytes: u64,
}

/// Reads a few small files of the kernel.
pub(crate) fn read() -> Usage {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let group = PathBuf::from("/sys/fs/cgroup").join(own_group(&text("/proc/self/cgroup")));
    let limit = |name: &str| fs::read_to_string(group.join(name)).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0.0, |cpus| cpus.get() as f64);
    let machine = kilobytes(&text("/proc/meminfo"), "MemTotal:");
    Usage {
        cpu_seconds: cpu_seconds(&text("/proc/self/stat")),
        cpu_limit: quota(&limit("cpu.max"))
            .map_or(cpus, |quota| if cpus > 0.0 { quota.min(cpus) } else { quota }),
        resident_bytes: kilobytes(&text("/proc/self/status"), "VmRSS:"),
        memory_limit_bytes: limit("memory.max").trim().parse().unwrap_or(machine),
    }
}

/// Path of the process's control group below the root of version 2.
fn own_group(groups: &str) -> String {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    path.unwrap_or_default().to_owned()
}

/// CPUs out of `cpu.max`: quota and period, or `max`.
fn quota(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0.0).then_some(quota / period)
}

fn cpu_seconds(stat: &str) -> f64 {
    // The command name in parentheses may hold anything: the first field after it is number 3.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace().collect();
    let ticks =
        |number: usize| fields.get(number - 3).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(14) + ticks(15)) / TICKS_PER_SECOND
}

fn kilobytes(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    number.unwrap_or(0) * 1_024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 12345 1000000 500";
        assert_eq!(cpu_seconds(stat), 3.0);
        assert_eq!(quota("150000 100000\n"), Some(1.5));
        assert_eq!(quota("max 100000\n"), None);
        assert_eq!(
            own_group("1:name=x:/y\n0::/system.slice/outrigger.service\n"),
            "system.slice/outrigger.service"
        );
        assert_eq!(kilobytes("VmPeak:\t 9 kB\nVmRSS:\t    20 kB\n", "VmRSS:"), 20 << 10);
        let here = read();
        assert!(
            here.resident_bytes > 0 && here.cpu_limit > 0.0 && here.memory_limit_bytes > here.resident_bytes
        );
    }
}
