//! Scrape engine and remote write.
//!
//! Layer 3. A [`scrape::ScrapeEngine`] turns targets into [`batch::ScrapeBatch`]es on their ticks; a
//! [`batch::SampleSink`] takes them, in the first place [`remote_write::RemoteWrite`]. Neither waits for the other:
//! the sink's memory is bounded and what does not fit is dropped and counted.

pub mod batch;
pub mod remote_write;
pub mod scrape;
pub mod series;
pub mod worker;

pub use scrape::self_scrape;
