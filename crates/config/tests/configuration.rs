//! Loading whole configurations: Prometheus' own cases, defaults and inheritance, messages, notices, promtool.

mod configuration {
    pub(crate) mod conformance;
    pub(crate) mod disk;
    pub(crate) mod messages;
    pub(crate) mod notices;
    pub(crate) mod parts;
    pub(crate) mod promtool;
    pub(crate) mod values;
}
