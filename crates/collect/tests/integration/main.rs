//! The scrape engine and remote write against real HTTP servers on loopback, in virtual time.

mod delivery;
mod reload;
mod scraping;
mod servers;
mod staleness;
mod world;
