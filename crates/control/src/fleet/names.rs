//! Host names that workers have resolved, for workers that have not and cannot.
//!
//! A worker that takes over a target while its name server is away would not know where the target is; the one that
//! scraped it before did. Kept apart from the master's own resolver: the master itself never connects to these addresses.

use std::collections::HashMap;
use std::net::IpAddr;

use outrigger_wire::centre::{Names, ResolvedName};

/// Names that are kept; those that were heard least recently go first, roughly.
const MOST_NAMES: usize = 65_536;
/// Addresses of one name.
const MOST_ADDRESSES: usize = 64;
/// Bytes of a name (RFC 1035).
const LONGEST_NAME: usize = 253;

/// The names, in two generations: when the younger one is full the older one goes.
#[derive(Debug, Default)]
pub(super) struct NameBook {
    young: HashMap<String, Vec<String>>,
    old: HashMap<String, Vec<String>>,
}

impl NameBook {
    /// Takes what a worker has resolved; what cannot be a name with addresses is left out.
    pub(super) fn learn(&mut self, names: Names) {
        for ResolvedName { host, mut addresses } in names.names {
            addresses.truncate(MOST_ADDRESSES);
            addresses.retain(|address| address.parse::<IpAddr>().is_ok());
            if host.is_empty() || host.len() > LONGEST_NAME || addresses.is_empty() {
                continue;
            }
            if self.young.len() >= MOST_NAMES / 2 {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(host, addresses);
        }
    }

    /// What is known of the names among these hosts, each once.
    pub(super) fn of<'a>(&self, hosts: impl Iterator<Item = &'a str>) -> Vec<ResolvedName> {
        if self.young.is_empty() && self.old.is_empty() {
            return Vec::new();
        }
        let mut found: HashMap<String, Vec<String>> = HashMap::new();
        for host in hosts {
            let host = host.to_ascii_lowercase();
            if !found.contains_key(&host)
                && let Some(addresses) = self.young.get(&host).or_else(|| self.old.get(&host))
            {
                found.insert(host, addresses.clone());
            }
        }
        let mut found: Vec<_> =
            found.into_iter().map(|(host, addresses)| ResolvedName { host, addresses }).collect();
        found.sort_by(|one, other| one.host.cmp(&other.host));
        found
    }
}

/// The host of a URL of a target, when that is a name.
pub(super) fn host_name(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.starts_with('[') {
        return None;
    }
    let host = host.split(':').next()?;
    (!host.is_empty() && host.parse::<IpAddr>().is_err()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[(&str, &[&str])]) -> Names {
        let resolved = names.iter().map(|(host, addresses)| ResolvedName {
            host: (*host).to_owned(),
            addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
        });
        Names { names: resolved.collect() }
    }

    #[test]
    fn hosts_that_are_names_are_told_from_addresses() {
        for (url, name) in [
            ("http://db.example:9100/metrics", Some("db.example")),
            ("https://user:word@db.example/metrics?a=b:c", Some("db.example")),
            ("http://db", Some("db")),
            ("http://10.0.0.1:9100/metrics", None),
            ("http://[::1]:9100/metrics", None),
            ("http://:80/", None),
            ("nonsense", None),
        ] {
            assert_eq!(host_name(url), name, "{url}");
        }
    }

    #[test]
    fn the_last_answer_for_a_name_is_kept_and_what_is_none_is_not() {
        let mut book = NameBook::default();
        assert_eq!(book.of(["a"].into_iter()), []);
        book.learn(names(&[("a", &["10.0.0.1"]), ("b", &["nonsense"]), ("", &["10.0.0.1"])]));
        book.learn(names(&[("a", &["10.0.0.2", "::1", "nonsense"])]));
        let found = book.of(["A", "a", "b", "c"].into_iter());
        assert_eq!(found, names(&[("a", &["10.0.0.2", "::1"])]).names);
    }

    #[test]
    fn there_is_a_limit_and_what_was_heard_last_stays() {
        let mut book = NameBook::default();
        for number in 0..MOST_NAMES * 2 {
            book.learn(names(&[(&format!("n{number}"), &["10.0.0.1"])]));
        }
        assert!(book.young.len() + book.old.len() <= MOST_NAMES);
        assert_eq!(book.of([&*format!("n{}", MOST_NAMES * 2 - 1)].into_iter()).len(), 1);
        assert_eq!(book.of(["n0"].into_iter()), []);
    }
}
