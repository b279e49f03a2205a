//! The store of several masters: etcd, version 3 of its API.
//!
//! A thin client of its own over [`outrigger_rt::grpc`], since etcd's published Rust client needs protoc to build. Any
//! member serves; one that does not answer within two seconds, or has lost the others, is left for the next.

mod campaign;
mod endpoints;
mod messages;
mod watch;

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use outrigger_model::clock::SharedClock;
use outrigger_model::fault::Blame;
use outrigger_model::http::HttpClientConfig;
use outrigger_rt::grpc::{GrpcChannel, GrpcOptions};
use outrigger_rt::http::{BuildClientError, ClientOptions};
use outrigger_rt::resolver::Resolver;
use tokio::sync::mpsc;

pub use endpoints::EtcdLogin;

use super::leadership::Leadership;
use super::{Candidate, Change, Fence, MAX_CHANGES, StateStore, StoreError, Versioned, WatchEvent};
use endpoints::Endpoints;
use messages::{
    Compare, CompareTarget, DeleteRangeRequest, Expected, KeyValue, Operation, PutRequest, RANGE,
    RangeRequest, RangeResponse, RequestOp, TXN, TxnRequest, TxnResponse,
};

/// Time between pings: etcd closes connections on which they come more often than every 5 s.
const KEEP_ALIVE: Duration = Duration::from_secs(6);

/// Written by each commit, with its mark.
const COMMIT_KEY: &str = "commit";

/// Events that a slow watcher may be behind before its watch waits.
const WATCH_BUFFER: usize = 64;

/// How to reach an etcd cluster.
#[derive(Debug, Clone)]
pub struct EtcdOptions {
    /// `http://host:port` or `https://host:port` of its members, at least one.
    pub endpoints: Vec<String>,
    /// TLS and proxy.
    pub http: HttpClientConfig,
    /// User, where etcd has authentication enabled.
    pub login: Option<EtcdLogin>,
    /// What all keys begin with, up to a slash, so that several installations can share one etcd.
    pub prefix: String,
    /// A call that no member has answered within this fails.
    pub timeout: Duration,
    /// `User-Agent`.
    pub user_agent: String,
    /// Wall clock, for epochs.
    pub clock: SharedClock,
}

/// State in etcd; cheap to clone.
#[derive(Clone)]
pub struct EtcdStore {
    shared: Arc<Shared>,
}

struct Shared {
    endpoints: Endpoints,
    last_commit: tokio::sync::Mutex<LastCommit>,
    prefix: String,
    timeout: Duration,
    clock: SharedClock,
}

impl EtcdStore {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// For addresses and settings that can never work, and when there is no address.
    pub fn new(options: EtcdOptions, resolver: &Resolver) -> Result<Self, EtcdSetupError> {
        let EtcdOptions { endpoints, http, login, prefix, timeout, user_agent, clock } = options;
        if endpoints.is_empty() {
            return Err(EtcdSetupError::NoEndpoint);
        }
        let channel = |url: &String| {
            let client = ClientOptions::new("etcd", user_agent.as_str(), Blame::Remote);
            let options = GrpcOptions {
                keep_alive: KEEP_ALIVE,
                keep_alive_while_idle: false,
                ..GrpcOptions::new(client)
            };
            GrpcChannel::new(url, &http, options, resolver.clone())
        };
        let channels = endpoints.iter().map(channel).collect::<Result<_, _>>()?;
        let endpoints = Endpoints::new(channels, login);
        let prefix = if prefix.is_empty() || prefix.ends_with('/') { prefix } else { format!("{prefix}/") };
        let writer = RandomState::new().hash_one(prefix.as_str());
        let last_commit = tokio::sync::Mutex::new(LastCommit { writer, count: 0, revision: 0 });
        Ok(Self { shared: Arc::new(Shared { endpoints, last_commit, prefix, timeout, clock }) })
    }
}

/// The newest commit that this store knows of, its own or another's.
struct LastCommit {
    /// Tells the commits of this store from those of others.
    writer: u64,
    /// Of this store's commits.
    count: u64,
    /// That wrote [`COMMIT_KEY`]; 0 when it is not there.
    revision: i64,
}

/// Settings that can never work.
#[derive(Debug, thiserror::Error)]
pub enum EtcdSetupError {
    /// No address of a member.
    #[error("no endpoint of etcd is given")]
    NoEndpoint,
    /// An address, or TLS.
    #[error("reach etcd")]
    Client(#[from] BuildClientError),
}

impl Shared {
    fn key(&self, key: &str) -> Vec<u8> {
        [self.prefix.as_bytes(), key.as_bytes()].concat()
    }

    /// Without the prefix; `None` for what is none of ours.
    fn own_key(&self, key: &[u8]) -> Option<String> {
        let key = key.strip_prefix(self.prefix.as_bytes())?;
        String::from_utf8(key.to_vec()).ok()
    }

    async fn range(&self, key: Vec<u8>, range_end: Vec<u8>) -> Result<RangeResponse, StoreError> {
        self.endpoints.call(RANGE, RangeRequest { key, range_end }, self.timeout).await
    }

    async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        Ok(self.range(self.key(key), Vec::new()).await?.kvs.into_iter().next())
    }

    /// Everything under a prefix, and the revision at which that was so.
    async fn list(&self, prefix: &str) -> Result<(Vec<(String, Versioned)>, i64), StoreError> {
        let key = self.key(prefix);
        let end = range_end(&key);
        let RangeResponse { header, kvs } = self.range(key, end).await?;
        let entries =
            kvs.into_iter().filter_map(|kv| Some((self.own_key(&kv.key)?, versioned(&kv)))).collect();
        Ok((entries, header.map_or(0, |header| header.revision)))
    }

    async fn transact(&self, request: TxnRequest) -> Result<TxnResponse, StoreError> {
        self.endpoints.call(TXN, request, self.timeout).await
    }

    /// An attempt whose answer was lost may be carried out at any later time (a member that stood still has it in its
    /// socket), so that to repeat it blindly could undo what was written after it. Therefore each commit depends on the
    /// commit before it, and marks itself: it is carried out once or not at all.
    async fn commit(&self, fence: Option<&Fence>, changes: Vec<Change>) -> Result<u64, StoreError> {
        if changes.len() > MAX_CHANGES {
            return Err(StoreError::TooManyChanges { changes: changes.len() });
        }
        let mut last = self.last_commit.lock().await;
        last.count += 1;
        let mark = Bytes::from(format!("{:016x}-{}", last.writer, last.count));
        let mut success: Vec<RequestOp> = changes.into_iter().map(|change| self.operation(change)).collect();
        let marking = Change::Put { key: COMMIT_KEY.to_owned(), value: mark.clone(), lease: None };
        success.push(self.operation(marking));
        let fence_key = fence.map_or(COMMIT_KEY, |fence| &fence.key);
        let failure = [COMMIT_KEY, fence_key].map(|key| reading(self.key(key))).to_vec();
        loop {
            let before = self.modified_at(COMMIT_KEY, last.revision);
            let fencing = fence.map(|fence| self.created_at(&fence.key, fence.create_revision));
            let compare = std::iter::once(before).chain(fencing).collect();
            let request = TxnRequest { compare, success: success.clone(), failure: failure.clone() };
            let TxnResponse { header, succeeded, responses } = self.transact(request).await?;
            if succeeded {
                last.revision = header.map_or(0, |header| header.revision);
                return Ok(unsigned(last.revision));
            }
            let mut found = responses.into_iter().map(|response| response.range?.kvs.into_iter().next());
            let (commit, fenced_by) = (found.next().flatten(), found.next().flatten());
            last.revision = commit.as_ref().map_or(0, |kv| kv.mod_revision);
            if commit.is_some_and(|kv| kv.value == mark) {
                // An earlier attempt was carried out.
                return Ok(unsigned(last.revision));
            }
            let created = fenced_by.map_or(0, |kv| unsigned(kv.create_revision));
            if fence.is_some_and(|fence| fence.create_revision != created) {
                return Err(StoreError::Fenced);
            }
        }
    }

    /// That the key was created by this revision; 0 for that it is not there.
    fn created_at(&self, key: &str, create_revision: u64) -> Compare {
        let create_revision = i64::try_from(create_revision).unwrap_or(i64::MAX);
        Compare {
            target: CompareTarget::Create.into(),
            key: self.key(key),
            expected: Some(Expected::CreateRevision(create_revision)),
        }
    }

    /// That the key was last written by this revision; 0 for that it is not there.
    fn modified_at(&self, key: &str, mod_revision: i64) -> Compare {
        Compare {
            target: CompareTarget::Mod.into(),
            key: self.key(key),
            expected: Some(Expected::ModRevision(mod_revision)),
        }
    }

    fn operation(&self, change: Change) -> RequestOp {
        let operation = match change {
            Change::Put { key, value, lease } => {
                let lease = lease.map_or(0, |lease| lease.0.cast_signed());
                Operation::Put(PutRequest { key: self.key(&key), value, lease })
            }
            Change::Delete { key } => Operation::Delete(DeleteRangeRequest { key: self.key(&key) }),
        };
        RequestOp { operation: Some(operation) }
    }
}

impl StateStore for EtcdStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Versioned>, StoreError>> {
        async move { Ok(self.shared.get(key).await?.as_ref().map(versioned)) }.boxed()
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<(String, Versioned)>, StoreError>> {
        async move { Ok(self.shared.list(prefix).await?.0) }.boxed()
    }

    fn commit<'a>(
        &'a self,
        fence: Option<&'a Fence>,
        changes: Vec<Change>,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        self.shared.commit(fence, changes).boxed()
    }

    fn watch(&self, prefix: &str) -> BoxStream<'static, WatchEvent> {
        let (sender, receiver) = mpsc::channel(WATCH_BUFFER);
        tokio::spawn(watch::run(self.shared.clone(), prefix.to_owned(), sender));
        stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver))).boxed()
    }

    fn campaign<'a>(
        &'a self,
        candidate: &'a Candidate,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Leadership, StoreError>> {
        campaign::campaign(&self.shared, candidate, ttl).boxed()
    }

    fn trouble(&self) -> Option<String> {
        self.shared.endpoints.trouble()
    }
}

fn reading(key: Vec<u8>) -> RequestOp {
    RequestOp { operation: Some(Operation::Range(RangeRequest { key, range_end: Vec::new() })) }
}

fn versioned(kv: &KeyValue) -> Versioned {
    Versioned { value: Bytes::clone(&kv.value), revision: unsigned(kv.mod_revision) }
}

fn unsigned(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or(0)
}

/// The first key after all that begin with `prefix`.
fn range_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // All keys.
    vec![0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_key_that_does_not_begin_so() {
        for (prefix, end) in
            [(&b"/a/"[..], &b"/a0"[..]), (b"a\xff", b"b"), (b"\xff\xff", b"\0"), (b"", b"\0")]
        {
            assert_eq!(range_end(prefix), end);
        }
    }
}
