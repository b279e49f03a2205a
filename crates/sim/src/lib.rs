//! A simulated cluster: API server, node and pod endpoints, remote-write receiver, faults.
