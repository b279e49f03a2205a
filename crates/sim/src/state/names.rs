//! Names and identifiers: the same number has always the same.

use outrigger_wire::kubernetes::ResourceKind;

use super::{PODS_PER_DEPLOYMENT, REPLICA_SETS};

const FIRST: [&str; 12] = [
    "checkout",
    "payments",
    "catalog",
    "search",
    "billing",
    "profile",
    "gateway",
    "inventory",
    "notify",
    "ledger",
    "shipping",
    "session",
];
const SECOND: [&str; 6] = ["api", "worker", "web", "sync", "cache", "stream"];
/// Characters of generated names in Kubernetes.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// A number that looks random.
pub(super) fn mix(resource: ResourceKind, number: u64, salt: u64) -> u64 {
    let seed = number ^ (resource.index() as u64) << 48 ^ salt << 56;
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `team-0042`.
pub(super) fn namespace(number: u64) -> String {
    format!("team-{number:04}")
}

/// `node-00042`.
pub(super) fn node(number: u64) -> String {
    format!("node-{number:05}")
}

/// Name of a Deployment, its Service and what else belongs to it.
pub(super) fn application(number: u64) -> String {
    let first = FIRST[(number % 12) as usize];
    let second = SECOND[(number / 12 % 6) as usize];
    format!("{first}-{second}-{number}")
}

/// Five characters as Kubernetes generates them; different for different numbers below 27^5.
pub(super) fn suffix(number: u64) -> String {
    const ALL: u64 = 27_u64.pow(5);
    let mut rest = (number % ALL) * 4_870_847 % ALL;
    let mut text = String::with_capacity(5);
    for _ in 0..5 {
        text.push(char::from(ALPHABET[(rest % 27) as usize]));
        rest /= 27;
    }
    text
}

/// The hash of a pod template in a ReplicaSet's name.
pub(super) fn template_hash(deployment: u64, revision: u64) -> String {
    let first = suffix(deployment * REPLICA_SETS + revision);
    let second = suffix(mix(ResourceKind::ReplicaSet, deployment, revision));
    format!("{first}{second}")
}

/// Name of a ReplicaSet; revision 0 is the current one.
pub(super) fn replica_set(deployment: u64, revision: u64) -> String {
    format!("{}-{}", application(deployment), template_hash(deployment, revision))
}

/// Name of a pod of a Deployment's current ReplicaSet.
pub(super) fn pod(number: u64, serial: u64) -> String {
    let place = number % PODS_PER_DEPLOYMENT;
    format!(
        "{}-{}",
        replica_set(number / PODS_PER_DEPLOYMENT, 0),
        suffix(place + serial * PODS_PER_DEPLOYMENT)
    )
}

/// A version-4 UUID.
pub(super) fn uid(resource: ResourceKind, number: u64, serial: u64) -> String {
    let (high, low) = (mix(resource, number, 2 * serial + 7), mix(resource, number, 2 * serial + 8));
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0xfff,
        low & 0xffff_ffff_ffff
    )
}

/// 64 hexadecimal digits.
pub(super) fn digest(seed: u64) -> String {
    let part = |salt| mix(ResourceKind::Pod, seed, salt);
    format!("{:016x}{:016x}{:016x}{:016x}", part(3), part(4), part(5), part(6))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn pods_of_a_deployment_and_their_successors_have_different_names() {
        let names: BTreeSet<String> =
            (0..3).flat_map(|serial| (60..90).map(move |number| pod(number, serial))).collect();
        assert_eq!(names.len(), 90);
        assert_eq!(uid(ResourceKind::Pod, 5, 0).len(), 36);
        assert_ne!(uid(ResourceKind::Pod, 5, 0), uid(ResourceKind::Pod, 5, 1));
        assert_eq!(digest(1).len(), 64);
    }
}
