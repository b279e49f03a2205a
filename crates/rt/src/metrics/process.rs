//! The `process_*` metrics that every Prometheus client exposes, read from `/proc`.

use std::fs;

use super::{Exposition, MetricKind, Registry};

/// Clock ticks per second in `/proc/*/stat`; Linux reports 100 on every architecture Outrigger is built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Adds `process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_virtual_memory_bytes`,
/// `process_open_fds`, `process_max_fds` and `process_start_time_seconds`, read anew at each rendering. What the
/// machine does not tell is left out.
pub fn register_process_metrics(registry: &Registry) {
    registry.collector(|exposition| {
        if let Ok(stat) = fs::read_to_string("/proc/self/stat") {
            let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
            collect_stat(&stat, &boot, exposition);
        }
        if let Ok(status) = fs::read_to_string("/proc/self/status") {
            collect_memory(&status, exposition);
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            // The directory handle itself is one of the entries.
            let open = entries.count().saturating_sub(1) as f64;
            gauge(exposition, "process_open_fds", "Number of open file descriptors.", open);
        }
        if let Ok(limits) = fs::read_to_string("/proc/self/limits")
            && let Some(limit) = max_open_files(&limits)
        {
            gauge(exposition, "process_max_fds", "Maximum number of open file descriptors.", limit);
        }
    });
}

fn gauge(exposition: &mut Exposition, name: &str, help: &str, value: f64) {
    exposition.family(name, help, MetricKind::Gauge).sample(&[], value);
}

fn collect_stat(stat: &str, boot: &str, exposition: &mut Exposition) {
    // The command name in parentheses may hold anything, so fields are counted after the last parenthesis:
    // the first one there is field 3.
    let Some((_, rest)) = stat.rsplit_once(')') else { return };
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<f64>().ok());
    if let (Some(user), Some(system)) = (field(14), field(15)) {
        exposition
            .family(
                "process_cpu_seconds_total",
                "Total user and system CPU time spent in seconds.",
                MetricKind::Counter,
            )
            .sample(&[], (user + system) / TICKS_PER_SECOND);
    }
    let boot_time =
        boot.lines().find_map(|line| line.strip_prefix("btime ")).and_then(|text| text.parse().ok());
    if let (Some(start), Some(boot_time)) = (field(22), boot_time) {
        let boot_time: f64 = boot_time;
        let help = "Start time of the process since unix epoch in seconds.";
        gauge(exposition, "process_start_time_seconds", help, boot_time + start / TICKS_PER_SECOND);
    }
}

fn collect_memory(status: &str, exposition: &mut Exposition) {
    let kibibytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_ascii_whitespace().next()?.parse::<f64>().ok()
    };
    if let Some(resident) = kibibytes("VmRSS:") {
        gauge(
            exposition,
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            resident * 1024.0,
        );
    }
    if let Some(size) = kibibytes("VmSize:") {
        gauge(exposition, "process_virtual_memory_bytes", "Virtual memory size in bytes.", size * 1024.0);
    }
}

fn max_open_files(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_a_strange_command_name_is_read() {
        let mut exposition = Exposition::default();
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 8 0 1200 999 100";
        collect_stat(stat, "cpu 1 2\nbtime 1700000000\n", &mut exposition);
        collect_memory("VmSize:\t  200 kB\nVmRSS:\t  100 kB\n", &mut exposition);
        let text = exposition.finish();
        assert!(text.contains("\nprocess_cpu_seconds_total 2\n"), "{text}");
        assert!(text.contains("\nprocess_start_time_seconds 1700000012\n"), "{text}");
        assert!(text.contains("\nprocess_resident_memory_bytes 102400\n"), "{text}");
        assert_eq!(max_open_files("Max open files            1024   4096   files"), Some(1024.0));
    }
}
