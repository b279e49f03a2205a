//! The binary as a process on loopback, against simulated peers.

mod check_config;
mod faults;
mod harness;
mod page;
mod run;
