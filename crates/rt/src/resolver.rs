//! Names to addresses: IP literals first, then `/etc/hosts` and DNS, with the last good answer as a safety net.
//!
//! A cached answer is served while its TTL lasts. After that it is refreshed; when the refresh fails or takes longer
//! than a moment, the last good answer is served on while the refresh goes on in the background. So a resolver that
//! is down costs a caller [`ResolverOptions::stale_after`] at most once per [`ResolverOptions::retry_failed`] for
//! each name, and nothing otherwise. A name that the resolver says does not exist is forgotten.

mod cache;
mod upstream;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::time::Instant;

use cache::{Cache, Cached};
use upstream::{Answer, Upstream};

/// Settings of a [`Resolver`].
#[derive(Debug, Clone)]
pub struct ResolverOptions {
    /// DNS servers to ask; `None` takes `/etc/resolv.conf` and follows its changes. `/etc/hosts` counts either way.
    pub nameservers: Option<Vec<SocketAddr>>,
    /// Time to wait for one DNS server's answer when [`ResolverOptions::nameservers`] is given.
    pub query_timeout: Duration,
    /// Time to wait for a refresh before the last good answer is served.
    pub stale_after: Duration,
    /// Time after a failed refresh during which the last good answer is served without asking again.
    pub retry_failed: Duration,
    /// Answers are kept at least and at most this long, whatever their TTL says.
    pub ttl_range: (Duration, Duration),
    /// Most names remembered; the least recently asked for are forgotten first.
    pub max_names: usize,
}

impl Default for ResolverOptions {
    fn default() -> Self {
        Self {
            nameservers: None,
            query_timeout: Duration::from_secs(5),
            stale_after: Duration::from_millis(500),
            retry_failed: Duration::from_secs(5),
            ttl_range: (Duration::from_secs(1), Duration::from_secs(3600)),
            max_names: 65_536,
        }
    }
}

/// A name that could not be resolved.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ResolveError {
    /// The resolver says that the name does not exist or has no address.
    #[error("no such host")]
    NotFound {
        /// The name.
        host: Arc<str>,
    },
    /// Not a name that DNS knows.
    #[error("{host:?} is not a host name")]
    InvalidName {
        /// The name.
        host: Arc<str>,
    },
    /// The resolver did not answer or answered that it cannot, and there is no earlier answer.
    #[error("{reason}")]
    Failed {
        /// The name.
        host: Arc<str>,
        /// What the resolver did.
        reason: Arc<str>,
    },
}

/// Counts of what a [`Resolver`] did, since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResolverStats {
    /// Lookups sent to `/etc/hosts` and DNS.
    pub lookups: u64,
    /// Lookups that failed (names that do not exist are no failure).
    pub failures: u64,
    /// Answers served after their TTL, for want of a fresh one.
    pub stale_answers: u64,
    /// Names remembered now.
    pub names: usize,
}

/// A caching resolver; cheap to clone, all clones share one cache.
#[derive(Debug, Clone)]
pub struct Resolver {
    shared: Arc<ResolverShared>,
}

#[derive(Debug)]
struct ResolverShared {
    options: ResolverOptions,
    upstream: Upstream,
    cache: Mutex<Cache>,
}

type Lookup = Shared<BoxFuture<'static, Result<Arc<[IpAddr]>, ResolveError>>>;

impl Resolver {
    /// A resolver with an empty cache; nothing is read or sent before the first name.
    pub fn new(options: ResolverOptions) -> Self {
        let upstream = Upstream::new(options.nameservers.clone(), options.query_timeout);
        let cache = Mutex::new(Cache::new(options.max_names));
        Self { shared: Arc::new(ResolverShared { options, upstream, cache }) }
    }

    /// Addresses of `host`, never empty, in the order to try them. `host` is an IP address (IPv6 with or without
    /// brackets) or a name; a trailing dot means that no search domain is tried.
    ///
    /// Waits as long as the resolver does when there is no earlier answer: give it a deadline.
    ///
    /// # Errors
    /// [`ResolveError`], only when there is no earlier answer to serve.
    pub async fn resolve(&self, host: &str) -> Result<Arc<[IpAddr]>, ResolveError> {
        if let Some(addresses) = literal(host) {
            return Ok(addresses);
        }
        let name = host.to_ascii_lowercase();
        let (stale, lookup) = {
            let mut cache = self.shared.cache.lock();
            match cache.get(&name, Instant::now()) {
                Some(Cached::Fresh(addresses)) => return Ok(addresses),
                Some(Cached::StaleNoRetry(addresses)) => {
                    cache.stats.stale_answers += 1;
                    return Ok(addresses);
                }
                Some(Cached::Stale(addresses)) => (Some(addresses), self.join_lookup(&mut cache, &name)),
                None => (None, self.join_lookup(&mut cache, &name)),
            }
        };
        let Some(stale) = stale else { return lookup.await };
        match tokio::time::timeout(self.shared.options.stale_after, lookup).await {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(error @ ResolveError::NotFound { .. })) => Err(error),
            Ok(Err(_)) | Err(_) => {
                self.shared.cache.lock().stats.stale_answers += 1;
                Ok(stale)
            }
        }
    }

    /// Every name with the last good answer, to be kept on disk for [`Resolver::recall`].
    pub fn remembered(&self) -> Vec<(Arc<str>, Arc<[IpAddr]>)> {
        self.shared.cache.lock().names().map(|(name, addresses)| (name.clone(), addresses.clone())).collect()
    }

    /// Takes the answers of an earlier process, so that a start while the resolver is down knows the names too. They
    /// count as due to be refreshed; a name that this process has resolved already keeps its answer, and one without
    /// an address is left out.
    pub fn recall(&self, names: impl IntoIterator<Item = (Arc<str>, Arc<[IpAddr]>)>) {
        let now = Instant::now();
        let mut cache = self.shared.cache.lock();
        for (name, addresses) in names.into_iter().filter(|(_, addresses)| !addresses.is_empty()) {
            cache.recall(name, addresses, now);
        }
    }

    /// Grows whenever [`Resolver::remembered`] would answer differently.
    pub fn changes(&self) -> u64 {
        self.shared.cache.lock().changes
    }

    /// What was done so far.
    pub fn stats(&self) -> ResolverStats {
        let cache = self.shared.cache.lock();
        ResolverStats { names: cache.len(), ..cache.stats }
    }

    /// The lookup of `name` that is under way, or a new one; callers may go away, it goes on.
    fn join_lookup(&self, cache: &mut Cache, name: &str) -> Lookup {
        if let Some(lookup) = cache.in_flight.get(name) {
            return lookup.clone();
        }
        cache.stats.lookups += 1;
        let name: Arc<str> = name.into();
        let shared = self.shared.clone();
        let task = tokio::spawn(look_up(shared, name.clone()));
        let failed_name = name.clone();
        let lookup: Lookup = async move {
            task.await.unwrap_or_else(|_| {
                Err(ResolveError::Failed { host: failed_name, reason: "lookup was stopped".into() })
            })
        }
        .boxed()
        .shared();
        cache.in_flight.insert(name, lookup.clone());
        lookup
    }
}

async fn look_up(shared: Arc<ResolverShared>, name: Arc<str>) -> Result<Arc<[IpAddr]>, ResolveError> {
    let result = shared.upstream.look_up(&name).await;
    let now = Instant::now();
    let mut cache = shared.cache.lock();
    cache.in_flight.remove(&name);
    match result {
        Ok(Answer { addresses, ttl }) => {
            let (least, most) = shared.options.ttl_range;
            cache.insert(name, addresses.clone(), now, now + ttl.clamp(least, most));
            Ok(addresses)
        }
        Err(error @ (ResolveError::NotFound { .. } | ResolveError::InvalidName { .. })) => {
            cache.remove(&name);
            Err(error)
        }
        Err(error @ ResolveError::Failed { .. }) => {
            cache.stats.failures += 1;
            cache.defer_refresh(&name, now + shared.options.retry_failed);
            Err(error)
        }
    }
}

/// What needs no lookup: IP addresses and `localhost` (RFC 6761).
fn literal(host: &str) -> Option<Arc<[IpAddr]>> {
    let unbracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = unbracketed.parse::<IpAddr>() {
        return Some([address].into());
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let last_label = name.rsplit('.').next().unwrap_or(name);
    last_label
        .eq_ignore_ascii_case("localhost")
        .then(|| [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_need_no_lookup() {
        for (host, addresses) in [
            ("10.0.0.1", Some("10.0.0.1")),
            ("[::1]", Some("::1")),
            ("fe80::2", Some("fe80::2")),
            ("localhost", Some("127.0.0.1")),
            ("LOCALHOST.", Some("127.0.0.1")),
            ("db.localhost", Some("127.0.0.1")),
            ("localhost.example", None),
            ("example", None),
            ("1.2.3", None),
        ] {
            let first = literal(host).map(|addresses| addresses[0].to_string());
            assert_eq!(first.as_deref(), addresses, "{host}");
        }
    }
}
