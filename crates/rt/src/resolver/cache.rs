//! The last good answer of every name, bounded.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::{Lookup, ResolverStats};

pub(super) struct Cache {
    entries: HashMap<Arc<str>, Entry>,
    max_names: usize,
    pub(super) in_flight: HashMap<Arc<str>, Lookup>,
    pub(super) stats: ResolverStats,
    /// Grows with every name that comes, goes or has other addresses than before.
    pub(super) changes: u64,
}

struct Entry {
    addresses: Arc<[IpAddr]>,
    fresh_until: Instant,
    no_refresh_until: Instant,
    last_used: Instant,
}

pub(super) enum Cached {
    /// Within its TTL.
    Fresh(Arc<[IpAddr]>),
    /// To be refreshed.
    Stale(Arc<[IpAddr]>),
    /// A refresh failed a moment ago.
    StaleNoRetry(Arc<[IpAddr]>),
}

impl Cache {
    pub(super) fn new(max_names: usize) -> Self {
        Self {
            entries: HashMap::new(),
            max_names: max_names.max(1),
            in_flight: HashMap::new(),
            stats: ResolverStats::default(),
            changes: 0,
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<[IpAddr]>)> {
        self.entries.iter().map(|(name, entry)| (name, &entry.addresses))
    }

    /// Takes an answer of an earlier process: due to be refreshed, and never in place of one of this process.
    pub(super) fn recall(&mut self, name: Arc<str>, addresses: Arc<[IpAddr]>, now: Instant) {
        if !self.entries.contains_key(&name) && self.entries.len() < self.max_names {
            self.insert(name, addresses, now, now);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&mut self, name: &str, now: Instant) -> Option<Cached> {
        let entry = self.entries.get_mut(name)?;
        entry.last_used = now;
        let addresses = entry.addresses.clone();
        Some(if now < entry.fresh_until {
            Cached::Fresh(addresses)
        } else if now < entry.no_refresh_until {
            Cached::StaleNoRetry(addresses)
        } else {
            Cached::Stale(addresses)
        })
    }

    pub(super) fn insert(
        &mut self,
        name: Arc<str>,
        addresses: Arc<[IpAddr]>,
        now: Instant,
        fresh_until: Instant,
    ) {
        if !self.entries.contains_key(&name) && self.entries.len() >= self.max_names {
            self.forget_least_used();
        }
        let before = self.entries.get(&name).map(|entry| &entry.addresses);
        self.changes += u64::from(before != Some(&addresses));
        self.entries.insert(name, Entry { addresses, fresh_until, no_refresh_until: now, last_used: now });
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.changes += u64::from(self.entries.remove(name).is_some());
    }

    pub(super) fn defer_refresh(&mut self, name: &str, until: Instant) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.no_refresh_until = until;
        }
    }

    /// Drops a sixteenth at once, so that the sort is paid rarely.
    fn forget_least_used(&mut self) {
        let mut uses: Vec<Instant> = self.entries.values().map(|entry| entry.last_used).collect();
        uses.sort_unstable();
        let mut surplus = self.max_names / 16 + 1;
        let newest_forgotten = uses[surplus.min(uses.len()) - 1];
        self.changes += 1;
        self.entries.retain(|_, entry| {
            let forget = surplus > 0 && entry.last_used <= newest_forgotten;
            surplus -= usize::from(forget);
            !forget
        });
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cache").field("names", &self.entries.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_least_recently_used_names_are_forgotten_first() {
        let mut cache = Cache::new(32);
        let addresses: Arc<[IpAddr]> = [IpAddr::from([10, 0, 0, 1])].into();
        for name in 0..40 {
            let now = Instant::now();
            cache.insert(name.to_string().into(), addresses.clone(), now, now);
            cache.get("0", now);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(cache.len() <= 32);
        assert!(cache.get("0", Instant::now()).is_some());
        assert!(cache.get("39", Instant::now()).is_some());
        assert!(cache.get("1", Instant::now()).is_none());
    }
}
