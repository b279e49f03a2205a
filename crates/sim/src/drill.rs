//! What a drill is judged by: targets that know when they were asked, a ledger of what arrived, and a judge.
//!
//! Every series of a [`targets::Targets`] has the number of the scrape as its value, so that each sample in the
//! [`ledger::Ledger`] says which scrape it is of; the [`judge`] compares the two, tick by tick.

pub mod judge;
pub mod ledger;
pub mod names;
pub mod targets;

use std::net::Ipv4Addr;

/// The label by which the drill's configuration gives each series its target: an IPv4 address or a name that
/// [`TargetKey::parse`] knows.
pub const TARGET_LABEL: &str = "drill_target";

/// First address of the targets that have names.
const FIRST_NAMED: u32 = u32::from_be_bytes([127, 48, 0, 0]);

/// A target, by its address as a number; one that is told apart by its path instead has a small number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetKey(pub u32);

impl TargetKey {
    /// The target with this address.
    pub fn of_address(address: Ipv4Addr) -> Self {
        Self(address.to_bits())
    }

    /// The target that the name `t<number>.` resolves to.
    pub fn of_name(number: u32) -> Self {
        Self(FIRST_NAMED + number)
    }

    /// An address, with or without a port; a name whose first label is `t<number>`; or the number of a path.
    pub fn parse(text: &str) -> Option<Self> {
        let host = text.split(':').next()?;
        if let Ok(address) = host.parse() {
            return Some(Self::of_address(address));
        }
        match host.split_once('.') {
            Some((label, _)) => label.strip_prefix('t')?.parse().ok().map(Self::of_name),
            None => host.parse().ok().map(Self),
        }
    }

    /// The address.
    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.0)
    }
}

impl std::fmt::Display for TargetKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 < 1 << 24 { write!(formatter, "/t/{}", self.0) } else { self.address().fmt(formatter) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_known_by_address_name_or_path() {
        let at = |a, b, c, d| Some(TargetKey(u32::from_be_bytes([a, b, c, d])));
        for (text, key) in [
            ("127.64.0.1:9100", at(127, 64, 0, 1)),
            ("127.64.0.1", at(127, 64, 0, 1)),
            ("t258.drill.test:80", at(127, 48, 1, 2)),
            ("17", Some(TargetKey(17))),
            ("web.drill.test", None),
            ("", None),
        ] {
            assert_eq!(TargetKey::parse(text), key, "{text}");
        }
    }
}
