//! What is said of a metric family.

/// Type of a family, as its `# TYPE` line has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyKind {
    /// `gauge`.
    Gauge,
    /// `counter`.
    Counter,
    /// `info`; only in OpenMetrics, `gauge` in text.
    Info,
    /// `stateset`; only in OpenMetrics, `gauge` in text.
    StateSet,
}

/// How much a family's name and labels are to be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stability {
    /// May change with any version; nothing is said of it in the help.
    Alpha,
    /// `[STABLE]` in the help.
    Stable,
}

/// A metric family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamilyInfo {
    /// Its name.
    pub name: String,
    /// What its `# HELP` line says, stability and deprecation included, not escaped.
    pub help: String,
    /// Its type.
    pub kind: FamilyKind,
}

impl FamilyInfo {
    /// `# HELP` and `# TYPE` as bytes, for text or for OpenMetrics.
    ///
    /// Source: kube-state-metrics 2.20, `pkg/metric_generator` and `pkg/metrics_store`.
    pub fn header(&self, open_metrics: bool) -> Vec<u8> {
        let kind = match self.kind {
            FamilyKind::Counter => "counter",
            FamilyKind::Info if open_metrics => "info",
            FamilyKind::StateSet if open_metrics => "stateset",
            FamilyKind::Gauge | FamilyKind::Info | FamilyKind::StateSet => "gauge",
        };
        let help = self.help.replace('\\', "\\\\").replace('\n', "\\n");
        format!("# HELP {name} {help}\n# TYPE {name} {kind}\n", name = self.name).into_bytes()
    }
}
