//! Discovery: from the mirror, files and HTTP to scrape targets.

mod job;
mod kubernetes;
pub mod populate;
