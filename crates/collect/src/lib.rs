//! Scrape engine and remote write.
