//! Discovery: from the mirror, files and HTTP to scrape targets.

mod job;
pub mod populate;
