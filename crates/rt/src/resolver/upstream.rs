//! `/etc/hosts` and DNS through hickory; the system's files are read anew when they change.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::system_conf::read_system_conf;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::ResolveError;
use crate::file::FileStamp;

const SYSTEM_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];
const SYSTEM_FILES_CHECKED_EVERY: Duration = Duration::from_secs(5);

pub(super) struct Answer {
    pub(super) addresses: Arc<[IpAddr]>,
    pub(super) ttl: Duration,
}

pub(super) struct Upstream {
    nameservers: Option<Vec<SocketAddr>>,
    query_timeout: Duration,
    current: Mutex<Option<Current>>,
}

struct Current {
    dns: Arc<Dns>,
    stamps: [FileStamp; 2],
    checked: Instant,
}

/// A resolver and how to complete names for it. The search list is walked here and not by hickory, which reports
/// only the last name's failure: a cluster zone that cannot be asked, followed by a "no such host" for the bare name,
/// must count as a failure.
struct Dns {
    resolver: TokioResolver,
    search: Vec<Name>,
    ndots: usize,
}

impl Upstream {
    pub(super) fn new(nameservers: Option<Vec<SocketAddr>>, query_timeout: Duration) -> Self {
        Self { nameservers, query_timeout, current: Mutex::new(None) }
    }

    pub(super) async fn look_up(&self, host: &Arc<str>) -> Result<Answer, ResolveError> {
        let failed =
            |error: &NetError| ResolveError::Failed { host: host.clone(), reason: describe(error).into() };
        let dns = self.dns().map_err(|error| failed(&error))?;
        let name = Name::from_utf8(&**host).ok().filter(|name| name.num_labels() > 0);
        let name = name.ok_or_else(|| ResolveError::InvalidName { host: host.clone() })?;
        let mut failure = None;
        for candidate in dns.candidates(name) {
            match dns.resolver.lookup_ip(candidate).await {
                Ok(lookup) => {
                    let addresses: Arc<[IpAddr]> = lookup.iter().collect();
                    if !addresses.is_empty() {
                        let valid_until = Instant::from_std(lookup.valid_until());
                        return Ok(Answer { addresses, ttl: valid_until.duration_since(Instant::now()) });
                    }
                }
                Err(error) if error.is_no_records_found() => {}
                Err(error) => failure = failure.or(Some(failed(&error))),
            }
        }
        Err(failure.unwrap_or_else(|| ResolveError::NotFound { host: host.clone() }))
    }

    fn dns(&self) -> Result<Arc<Dns>, NetError> {
        let now = Instant::now();
        let mut current = self.current.lock();
        if let Some(current) = &*current
            && now.duration_since(current.checked) < SYSTEM_FILES_CHECKED_EVERY
        {
            return Ok(current.dns.clone());
        }
        let stamps = SYSTEM_FILES.map(|path| FileStamp::of(Path::new(path)));
        if let Some(current) = &mut *current {
            current.checked = now;
            if current.stamps == stamps {
                return Ok(current.dns.clone());
            }
        }
        let dns = match (self.build(), &*current) {
            (Ok(dns), _) => Arc::new(dns),
            // A half-written resolv.conf must not take away the resolver that works.
            (Err(error), Some(current)) => {
                tracing::warn!(%error, "reading the resolver's configuration failed, keeping the earlier one");
                return Ok(current.dns.clone());
            }
            (Err(error), None) => {
                tracing::warn!(%error, "the system names no DNS server, asking 127.0.0.1");
                Arc::new(Self::build_without_system()?)
            }
        };
        *current = Some(Current { dns: dns.clone(), stamps, checked: now });
        Ok(dns)
    }

    /// Where `/etc/resolv.conf` names no server, the one on this machine is asked, as by libc and Go.
    fn build_without_system() -> Result<Dns, NetError> {
        let servers = vec![name_server(&SocketAddr::from(([127, 0, 0, 1], 53)))];
        complete(ResolverConfig::from_parts(None, Vec::new(), servers), ResolverOpts::default())
    }

    fn build(&self) -> Result<Dns, NetError> {
        let (config, options) = match &self.nameservers {
            None => read_system_conf()?,
            Some(addresses) => {
                let servers = addresses.iter().map(name_server).collect();
                let mut options = ResolverOpts::default();
                options.timeout = self.query_timeout;
                (ResolverConfig::from_parts(None, Vec::new(), servers), options)
            }
        };
        complete(config, options)
    }
}

fn complete(config: ResolverConfig, mut options: ResolverOpts) -> Result<Dns, NetError> {
    let mut search = config.search().to_vec();
    if search.is_empty() {
        search.extend(config.domain().cloned());
    }
    let ndots = options.ndots;
    adjust(&mut options);
    let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()?;
    Ok(Dns { resolver, search, ndots })
}

impl Dns {
    /// The full names to try, in order, as resolv.conf(5) says.
    fn candidates(&self, name: Name) -> Vec<Name> {
        let mut bare = name.clone();
        bare.set_fqdn(true);
        if name.is_fqdn() {
            return vec![bare];
        }
        let searched = self.search.iter().filter_map(|domain| {
            let mut full = name.clone().append_domain(domain).ok()?;
            full.set_fqdn(true);
            Some(full)
        });
        let dots = usize::from(name.num_labels()).saturating_sub(1);
        let mut names: Vec<Name> = searched.collect();
        names.insert(if dots >= self.ndots { 0 } else { names.len() }, bare);
        names
    }
}

fn adjust(options: &mut ResolverOpts) {
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Always;
    options.max_active_requests = 1024;
    // The cache above this one decides how long an answer lives.
    options.cache_size = 0;
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn describe(error: &NetError) -> String {
    match error {
        NetError::Timeout => "DNS request timed out".to_owned(),
        NetError::NoConnections => "no DNS server can be reached".to_owned(),
        other => other.to_string(),
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Upstream").field("nameservers", &self.nameservers).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_are_completed_as_resolv_conf_says() {
        let upstream = Upstream::new(Some(vec![([127, 0, 0, 1], 9).into()]), Duration::from_secs(1));
        let search =
            ["default.svc.cluster.local", "svc.cluster.local"].map(|name| Name::from_utf8(name).unwrap());
        let dns = Dns { search: search.into(), ndots: 3, ..upstream.build().unwrap() };
        for (name, candidates) in [
            ("web", "web.default.svc.cluster.local. web.svc.cluster.local. web."),
            (
                "web.default",
                "web.default.default.svc.cluster.local. web.default.svc.cluster.local. web.default.",
            ),
            ("a.b.c.d", "a.b.c.d. a.b.c.d.default.svc.cluster.local. a.b.c.d.svc.cluster.local."),
            ("web.", "web."),
        ] {
            let names: Vec<String> =
                dns.candidates(Name::from_utf8(name).unwrap()).iter().map(Name::to_string).collect();
            assert_eq!(names.join(" "), candidates);
        }
    }
}
