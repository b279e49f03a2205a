//! Custom resource state: metrics of custom resources as a configuration file describes them.
//!
//! [`Config::read`] takes kube-state-metrics' file (`kind: CustomResourceStateMetrics`), [`Config::resolve`] says which
//! resources that means where these CRDs are installed, and [`CustomResource::generator`] says their samples.
//!
//! Source: kube-state-metrics 2.20, `pkg/customresourcestate`, `internal/discovery` and
//! `docs/metrics/extend/customresourcestate-metrics.md`. It is feature-frozen there; nothing is added here but checks.

mod config;
mod discovery;
mod each;
mod fields;
mod go_text;
mod labels;
mod number;
mod path;
mod problem;
mod resource;

pub use config::{Config, ConfigErrors, ConfigProblem, Loaded};
pub use discovery::{CrdProblem, ServedKind, served_kinds};
pub use problem::{NumberError, PathError, Problem, ValueError};
pub use resource::{CustomResource, GroupVersionKind, ReportProblem, Resolution};

#[cfg(test)]
mod tests;
