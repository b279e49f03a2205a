//! Open connections between requests: idle HTTP/1 byte streams and shared HTTP/2 connections.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::PoolOptions;
use super::transport::Io;

/// Longest time between two looks at the idle connections.
const SWEEP_INTERVAL: Duration = Duration::from_secs(15);

/// What connections are kept by: where they lead to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum PoolKey {
    /// To a server, directly or through a tunnel; the client's proxy rules always give the same way.
    Plain(Arc<str>),
    /// The same with TLS, for one generation of the TLS files.
    Tls(Arc<str>, u64),
    /// To a unix socket.
    Unix(Arc<str>),
    /// To a proxy that forwards requests.
    Forward(Arc<str>, u64),
}

/// A shared HTTP/2 connection. While a clone of `users` is held, the connection is in use.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) sender: http2::SendRequest<Full<Bytes>>,
    pub(super) id: u64,
    users: Arc<()>,
}

/// A connection that was open already.
pub(super) enum Pooled {
    Http1(Io),
    Http2(Shared),
}

pub(super) struct Pool {
    options: PoolOptions,
    state: Mutex<State>,
    /// Of the TLS files; connections of earlier ones are closed.
    pub(super) newest_generation: AtomicU64,
    pub(super) opened: AtomicU64,
    pub(super) reused: AtomicU64,
    pub(super) retried: AtomicU64,
}

#[derive(Default)]
struct State {
    hosts: HashMap<PoolKey, Host>,
    idle: usize,
    next_id: u64,
    sweeping: bool,
}

#[derive(Default)]
struct Host {
    /// The most recently used last.
    idle: Vec<Idle>,
    shared: Option<SharedEntry>,
}

struct Idle {
    io: Io,
    since: Instant,
}

struct SharedEntry {
    shared: Shared,
    last_used: Instant,
}

impl Pool {
    pub(super) fn new(options: PoolOptions) -> Self {
        Self {
            options,
            state: Mutex::default(),
            newest_generation: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            reused: AtomicU64::new(0),
            retried: AtomicU64::new(0),
        }
    }

    /// An open connection, the most recently used one first; those found closed are dropped.
    pub(super) fn take(&self, key: &PoolKey) -> Option<Pooled> {
        loop {
            let mut idle = {
                let mut state = self.state.lock();
                let host = state.hosts.get_mut(key)?;
                if let Some(entry) = &mut host.shared
                    && !entry.shared.sender.is_closed()
                {
                    entry.last_used = Instant::now();
                    self.reused.fetch_add(1, Ordering::Relaxed);
                    return Some(Pooled::Http2(entry.shared.clone()));
                }
                host.shared = None;
                let idle = host.idle.pop();
                if host.idle.is_empty() {
                    state.hosts.remove(key);
                }
                let idle = idle?;
                state.idle -= 1;
                idle
            };
            if idle.since.elapsed() < self.options.idle_timeout && idle.io.inner_mut().is_alive() {
                self.reused.fetch_add(1, Ordering::Relaxed);
                return Some(Pooled::Http1(idle.io));
            }
        }
    }

    /// Keeps an idle connection, or closes it when there are enough.
    pub(super) fn put(self: &Arc<Self>, key: PoolKey, io: Io) {
        let mut state = self.state.lock();
        if state.idle >= self.options.max_idle || self.options.max_idle_per_host == 0 {
            return;
        }
        let host = state.hosts.entry(key).or_default();
        if host.idle.len() < self.options.max_idle_per_host {
            host.idle.push(Idle { io, since: Instant::now() });
            state.idle += 1;
        }
        self.start_sweeping(&mut state);
    }

    /// Shares a new HTTP/2 connection; when there is one already, that one is used and the new one closed.
    pub(super) fn share(self: &Arc<Self>, key: PoolKey, sender: http2::SendRequest<Full<Bytes>>) -> Shared {
        let mut state = self.state.lock();
        let id = state.next_id;
        state.next_id += 1;
        let host = state.hosts.entry(key).or_default();
        if let Some(entry) = &host.shared
            && !entry.shared.sender.is_closed()
        {
            return entry.shared.clone();
        }
        let shared = Shared { sender, id, users: Arc::default() };
        host.shared = Some(SharedEntry { shared: shared.clone(), last_used: Instant::now() });
        self.start_sweeping(&mut state);
        shared
    }

    /// Shares the connection no longer: a request on it failed or was given up. Others finish on it.
    pub(super) fn forget(&self, key: &PoolKey, id: u64) {
        let mut state = self.state.lock();
        let Some(host) = state.hosts.get_mut(key) else { return };
        if host.shared.as_ref().is_some_and(|entry| entry.shared.id == id) {
            host.shared = None;
        }
        if host.shared.is_none() && host.idle.is_empty() {
            state.hosts.remove(key);
        }
    }

    /// Closes the TLS connections of other generations than this one.
    pub(super) fn forget_generations_before(&self, current: u64) {
        let mut state = self.state.lock();
        state.hosts.retain(|key, _| match key {
            PoolKey::Tls(_, generation) | PoolKey::Forward(_, generation) => *generation >= current,
            PoolKey::Plain(_) | PoolKey::Unix(_) => true,
        });
        state.idle = state.hosts.values().map(|host| host.idle.len()).sum();
    }

    /// Connections kept now.
    pub(super) fn len(&self) -> usize {
        let state = self.state.lock();
        state.idle + state.hosts.values().filter(|host| host.shared.is_some()).count()
    }

    /// Starts the task that closes idle connections, unless it runs. It ends when nothing is left to close.
    fn start_sweeping(self: &Arc<Self>, state: &mut State) {
        if std::mem::replace(&mut state.sweeping, true) {
            return;
        }
        let pool = Arc::downgrade(self);
        let interval = self.options.idle_timeout.clamp(Duration::from_millis(10), SWEEP_INTERVAL);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                let Some(pool) = pool.upgrade() else { return };
                if !pool.sweep() {
                    return;
                }
            }
        });
    }

    /// Closes what has been idle for too long or was closed by the other side; whether anything is left.
    fn sweep(&self) -> bool {
        let now = Instant::now();
        let timeout = self.options.idle_timeout;
        let mut state = self.state.lock();
        state.hosts.retain(|_, host| {
            host.idle.retain_mut(|idle| {
                now.duration_since(idle.since) < timeout && idle.io.inner_mut().is_alive()
            });
            host.shared.take_if(|entry| entry.is_over(now, timeout));
            !host.idle.is_empty() || host.shared.is_some()
        });
        state.idle = state.hosts.values().map(|host| host.idle.len()).sum();
        state.sweeping = !state.hosts.is_empty();
        state.sweeping
    }
}

impl SharedEntry {
    fn is_over(&mut self, now: Instant, timeout: Duration) -> bool {
        if self.shared.sender.is_closed() {
            return true;
        }
        if Arc::strong_count(&self.shared.users) > 1 {
            self.last_used = now;
        }
        now.duration_since(self.last_used) >= timeout
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pool").field("options", &self.options).finish_non_exhaustive()
    }
}
