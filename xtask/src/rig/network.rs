//! Addresses for fake and real pods that never leave the machine.
//!
//! The API server refuses addresses of 127.0.0.0/8 in Endpoints and EndpointSlices (`ValidateEndpointIP` in
//! `pkg/apis/core/validation`). Root can route a range to the loopback device instead: then every address of
//! 198.18.0.0/15 (RFC 2544: benchmarks, never on the internet) is local; a real process can listen on it, and
//! a connection to a fake pod is refused at once.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use super::ports;

/// The range that is routed to loopback.
pub const RANGE: &str = "198.18.0.0/15";
/// First address of the range; pods of fake nodes take from here upwards.
pub(super) const PODS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// How many addresses fake pods have: up to [`NODES`].
pub(super) const POD_ADDRESSES: u32 = 3 << 15;
/// First address of fake nodes.
pub(super) const NODES: Ipv4Addr = Ipv4Addr::new(198, 19, 128, 0);
/// First address of nodes with a real node_exporter.
const LIVE: Ipv4Addr = Ipv4Addr::new(198, 19, 192, 1);
/// The same without the route.
const LIVE_UNROUTED: Ipv4Addr = Ipv4Addr::new(127, 64, 0, 1);

/// The address `index` after `first`.
pub(super) fn nth(first: Ipv4Addr, index: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(first.to_bits() + index)
}

/// The address of the `index`th node with a real node_exporter.
pub(super) fn live(routed: bool, index: u32) -> Ipv4Addr {
    nth(if routed { LIVE } else { LIVE_UNROUTED }, index)
}

/// Routes [`RANGE`] to loopback. The metric is the rig's own, so rigs add and remove their routes independently.
/// None: not permitted (needs root and iproute2).
pub(super) fn add_route() -> Option<u32> {
    let metric = u32::try_from(1_000 + ports::random() % 1_000_000).unwrap_or(1_000);
    ip_route("add", metric).then_some(metric)
}

/// Takes the rig's own route away again.
pub(super) fn remove_route(metric: u32) {
    ip_route("del", metric);
}

fn ip_route(verb: &str, metric: u32) -> bool {
    ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"].into_iter().any(|ip| {
        let metric = metric.to_string();
        let args = ["route", verb, "local", RANGE, "dev", "lo", "metric", &metric];
        let quiet = Command::new(ip)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        quiet.is_ok_and(|status| status.success())
    })
}
