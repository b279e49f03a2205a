//! The flags of Kubernetes' logging library, which manifests carry.

/// How severe a line must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Everything.
    Info,
    /// Warnings and errors.
    Warning,
    /// Errors.
    Error,
    /// What ends the process.
    Fatal,
}

impl Severity {
    /// A name in any case, or its number.
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_uppercase().as_str() {
            "INFO" | "0" => Some(Self::Info),
            "WARNING" | "1" => Some(Self::Warning),
            "ERROR" | "2" => Some(Self::Error),
            "FATAL" | "3" => Some(Self::Fatal),
            _ => None,
        }
    }
}

/// What was said of logging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Klog {
    /// `-v`: from 4 on, debugging lines; from 6 on, everything.
    pub verbosity: i32,
    /// `--stderrthreshold`: less severe lines are not written.
    pub threshold: Severity,
    /// `--legacy_stderr_threshold_behavior`: the threshold does not count.
    pub legacy_threshold: bool,
    /// Flags that were given and do nothing here.
    pub(super) ignored: Vec<&'static str>,
}

impl Default for Klog {
    fn default() -> Self {
        Self { verbosity: 0, threshold: Severity::Info, legacy_threshold: false, ignored: Vec::new() }
    }
}

impl Klog {
    /// What to log, as a filter of the `tracing` library; `None` when nothing was said of it.
    pub fn filter(&self) -> Option<&'static str> {
        let threshold = if self.legacy_threshold { Severity::Info } else { self.threshold };
        match threshold {
            Severity::Warning => Some("warn"),
            Severity::Error | Severity::Fatal => Some("error"),
            Severity::Info if self.verbosity >= 6 => Some("trace"),
            Severity::Info if self.verbosity >= 4 => Some("debug"),
            Severity::Info => None,
        }
    }

    pub(super) fn without_effect(&self) -> impl Iterator<Item = String> {
        let mut ignored = self.ignored.clone();
        ignored.sort_unstable();
        ignored.dedup();
        ignored.into_iter().map(|flag| {
            let why = match flag {
                "vmodule" => "lines are filtered by module with --log-level, before state-metrics",
                "log_backtrace_at" => "log lines carry no stack traces",
                "add_dir_header" | "skip_headers" => {
                    "the form of log lines is --log-format's, before state-metrics"
                }
                _ => "log lines go to standard error, not to files",
            };
            format!("--{flag}: {why}")
        })
    }
}

/// `file.go:234`.
pub(super) fn is_trace_location(text: &str) -> bool {
    match text.rsplit_once(':') {
        Some((_, line)) => line.parse::<u32>().is_ok(),
        None => text.is_empty(),
    }
}

/// `pattern=N,pattern=N`.
pub(super) fn is_module_list(text: &str) -> bool {
    text.split(',').filter(|entry| !entry.is_empty()).all(|entry| {
        entry
            .split_once('=')
            .is_some_and(|(pattern, level)| !pattern.is_empty() && level.parse::<i32>().is_ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbosity_and_threshold_become_a_filter() {
        let cases = [
            (0, "INFO", false, None),
            (3, "info", false, None),
            (4, "INFO", false, Some("debug")),
            (10, "0", false, Some("trace")),
            (0, "WARNING", false, Some("warn")),
            (10, "2", false, Some("error")),
            (4, "ERROR", true, Some("debug")),
        ];
        for (verbosity, threshold, legacy_threshold, want) in cases {
            let threshold = Severity::parse(threshold).expect("a severity");
            let klog = Klog { verbosity, threshold, legacy_threshold, ignored: Vec::new() };
            assert_eq!(klog.filter(), want, "{klog:?}");
        }
    }
}
