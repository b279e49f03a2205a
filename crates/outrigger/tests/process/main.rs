//! The binary as a process on loopback, against simulated peers.
#![allow(clippy::print_stdout, reason = "tests")]

mod check_config;
mod faults;
mod fleet;
mod harness;
mod kill;
mod page;
mod run;
mod state_faults;
mod state_metrics;
mod state_role;
