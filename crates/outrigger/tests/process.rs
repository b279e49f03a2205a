//! The binary as a process on loopback, against simulated and real peers.

mod process {
    pub(crate) mod harness;

    mod check_config;
    mod faults;
    mod run;
}
