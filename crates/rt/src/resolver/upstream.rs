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
    resolver: TokioResolver,
    stamps: [FileStamp; 2],
    checked: Instant,
}

impl Upstream {
    pub(super) fn new(nameservers: Option<Vec<SocketAddr>>, query_timeout: Duration) -> Self {
        Self { nameservers, query_timeout, current: Mutex::new(None) }
    }

    pub(super) async fn look_up(&self, name: &Arc<str>) -> Result<Answer, ResolveError> {
        let failed = |reason: &str| ResolveError::Failed { host: name.clone(), reason: reason.into() };
        let resolver = self.resolver().map_err(|error| failed(&error.to_string()))?;
        let lookup = resolver.lookup_ip(&**name).await.map_err(|error| describe(name, &error))?;
        let addresses: Arc<[IpAddr]> = lookup.iter().collect();
        if addresses.is_empty() {
            return Err(ResolveError::NotFound { host: name.clone() });
        }
        let ttl = Instant::from_std(lookup.valid_until()).saturating_duration_since(Instant::now());
        Ok(Answer { addresses, ttl })
    }

    fn resolver(&self) -> Result<TokioResolver, NetError> {
        let now = Instant::now();
        let mut current = self.current.lock();
        if let Some(current) = &*current
            && now.duration_since(current.checked) < SYSTEM_FILES_CHECKED_EVERY
        {
            return Ok(current.resolver.clone());
        }
        let stamps = SYSTEM_FILES.map(|path| FileStamp::of(Path::new(path)));
        if let Some(current) = &mut *current {
            current.checked = now;
            if current.stamps == stamps {
                return Ok(current.resolver.clone());
            }
        }
        let resolver = match (self.build(), &*current) {
            (Ok(resolver), _) => resolver,
            // A half-written resolv.conf must not take away the resolver that works.
            (Err(error), Some(current)) => {
                tracing::warn!(%error, "reading the resolver's configuration failed, keeping the earlier one");
                return Ok(current.resolver.clone());
            }
            (Err(error), None) => return Err(error),
        };
        *current = Some(Current { resolver: resolver.clone(), stamps, checked: now });
        Ok(resolver)
    }

    fn build(&self) -> Result<TokioResolver, NetError> {
        let mut builder = match &self.nameservers {
            None => TokioResolver::builder_tokio()?,
            Some(addresses) => {
                let servers = addresses.iter().map(name_server).collect();
                let config = ResolverConfig::from_parts(None, Vec::new(), servers);
                let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
                builder.options_mut().timeout = self.query_timeout;
                builder
            }
        };
        adjust(builder.options_mut());
        builder.build()
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

fn describe(name: &Arc<str>, error: &NetError) -> ResolveError {
    if error.is_no_records_found() {
        return ResolveError::NotFound { host: name.clone() };
    }
    if let NetError::Proto(_) = error {
        return ResolveError::InvalidName { host: name.clone() };
    }
    ResolveError::Failed { host: name.clone(), reason: error.to_string().into() }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Upstream").field("nameservers", &self.nameservers).finish_non_exhaustive()
    }
}
