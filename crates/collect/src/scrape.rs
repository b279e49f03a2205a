//! The scrape engine: Prometheus' scrape semantics for many thousands of targets.

mod bits;
mod body;
mod cache;
mod content_type;
mod departed;
mod engine;
mod error;
mod failure_log;
mod fetch;
mod headers;
mod ingest;
mod job;
mod layout;
mod lines;
pub(crate) mod metadata;
mod metrics;
mod pending_stale;
mod relabel_sample;
pub(crate) mod report;
mod schedule;
mod series_limit;
mod start_times;
mod status;
mod target_loop;
mod turn;

pub use body::{BodyError, GunzipError};
pub use content_type::ContentTypeError;
pub use engine::{EngineOptions, JobSetupError, ScrapeEngine};
pub use error::ScrapeError;
pub use ingest::IngestError;
pub use relabel_sample::SeriesError;
pub use schedule::Schedule;
pub use status::{Health, TargetStatus};
