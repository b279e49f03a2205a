//! The scrape engine and remote write against real HTTP servers on loopback, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod delivery;
mod extensions;
mod handover;
mod protocols;
mod reload;
mod scraping;
mod self_scrape;
mod servers;
mod staleness;
mod worker;
mod world;
