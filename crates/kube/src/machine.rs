//! The list/watch protocol of one resource as a state machine without I/O.
//!
//! The driver reports what happened as an [`Event`]; [`Machine::step`] answers with [`Effect`]s: what to ask the
//! server next, how long to wait, what to do with the object in hand. Rules:
//! - a list is needed at the start, after 410 and after an answer that cannot be continued; nothing else lists;
//! - a broken watch resumes from the version of its last event or bookmark;
//! - every list is a generation of its own, so what the list before it brought stays visible until it is whole.
//!
//! Sources: client-go `tools/cache/reflector.go` (timeouts, 410, bookmarks), KEP-3157 (streamed initial list).

use std::time::Duration;

use crate::WatchChange;
use crate::backoff::{Backoff, Random};

#[cfg(test)]
mod tests;

/// Times and limits of the protocol.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchPolicy {
    /// Least delay between failures that follow each other.
    pub backoff_floor: Duration,
    /// Most delay after a request that failed.
    pub backoff_cap: Duration,
    /// Most delay after an opened watch that was cut: it resumes cheaply and targets depend on it.
    pub cut_backoff_cap: Duration,
    /// A watch that lived this long makes earlier failures forgotten.
    pub healthy_after: Duration,
    /// `timeoutSeconds` of a watch is uniform between this and twice this.
    pub watch_timeout: Duration,
    /// How long the server may overrun `timeoutSeconds`.
    pub watch_grace: Duration,
    /// A watch whose server sends bookmarks while nothing changes may be silent for this long.
    pub idle: Duration,
    /// Time from a request to the head of its answer.
    pub response_deadline: Duration,
    /// Longest silence within a list.
    pub list_idle: Duration,
    /// Time in which a streamed initial list must end; then a plain list is asked for.
    pub stream_deadline: Duration,
    /// Objects in one page of a consistent list.
    pub page_size: u32,
    /// A list after 410 waits up to this long, so that resources and replicas do not list together.
    pub relist_jitter: Duration,
    /// Wait after 403 and 404, up to twice this.
    pub refused_wait: Duration,
    /// Longest `Retry-After` that is obeyed in full.
    pub retry_after_cap: Duration,
    /// Answers in a row that cannot be decoded, at one version, before a list replaces the watch.
    pub garbage_limit: u32,
}

impl Default for WatchPolicy {
    fn default() -> Self {
        Self {
            backoff_floor: Duration::from_millis(800),
            backoff_cap: Duration::from_secs(30),
            cut_backoff_cap: Duration::from_secs(5),
            healthy_after: Duration::from_secs(5),
            watch_timeout: Duration::from_secs(300),
            watch_grace: Duration::from_secs(15),
            idle: Duration::from_secs(90),
            response_deadline: Duration::from_secs(60),
            list_idle: Duration::from_secs(30),
            stream_deadline: Duration::from_secs(300),
            page_size: 500,
            relist_jitter: Duration::from_secs(3),
            refused_wait: Duration::from_secs(30),
            retry_after_cap: Duration::from_secs(120),
            garbage_limit: 3,
        }
    }
}

/// A request of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    /// The objects as a stream of events that goes on as a watch.
    StreamedList { timeout: Duration },
    /// A list.
    List { version: ListVersion, limit: Option<u32>, continue_token: String },
    /// A watch from after `version`.
    Watch { version: String, timeout: Duration },
}

/// How fresh a list has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListVersion {
    /// Whatever the watch cache holds (`resourceVersion=0`).
    Any,
    /// The watch cache once it is at least as new as this.
    NotOlderThan(String),
    /// The newest.
    Consistent,
}

/// How lists are asked for, besides the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Listing {
    /// From the watch cache, whatever happens.
    pub(crate) cache_only: bool,
    /// Objects of a list that are taken over.
    pub(crate) limit: Option<u32>,
    /// In one answer, not streamed.
    pub(crate) whole: bool,
}

impl Listing {
    /// Whether lists may be streamed: neither a version nor a limit can be asked for then.
    fn may_stream(self) -> bool {
        !self.cache_only && !self.whole && self.limit.is_none()
    }
}

/// 403 or 404 this often in a row is the server's last word, and asked again slowly.
const DENIED_FOR_GOOD: u32 = 4;

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event<'a> {
    /// The first event, and the one after [`Effect::Wait`].
    Go,
    /// The server answered the request with 200.
    Opened,
    /// One object of a plain list.
    Listed,
    /// A plain list (or a page of it) is whole.
    ListEnd { version: &'a str, continue_token: &'a str },
    /// ADDED, MODIFIED or DELETED.
    Changed { change: WatchChange, version: &'a str },
    /// BOOKMARK.
    Bookmark { version: &'a str, initial_events_end: bool },
    /// An HTTP status other than 200, or an ERROR event.
    Refused(&'a Refusal),
    /// The server ended the answer in order.
    Ended,
    /// The exchange failed.
    Failed(Failure),
}

/// A refusal by the server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Refusal {
    /// HTTP status, or the code of the `Status` in an ERROR event.
    pub(crate) code: u16,
    /// From the `Retry-After` header or `Status.details.retryAfterSeconds`.
    pub(crate) retry_after: Option<Duration>,
    /// The version asked for is newer than the server's newest (cause `ResourceVersionTooLarge`).
    pub(crate) version_too_large: bool,
}

impl Refusal {
    /// Whether the server does not understand what it was asked, or has it switched off.
    pub(crate) fn is_not_understood(&self) -> bool {
        matches!(self.code, 400 | 405 | 406 | 415 | 422 | 501)
    }
}

/// How an exchange failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No connection, or no credentials to send.
    Connect,
    /// The connection or stream was cut.
    Cut,
    /// The answer ended within a frame.
    HalfFrame,
    /// No head of an answer, or silence for longer than [`Machine::deadline`] allows.
    Idle,
    /// An answer that cannot be decoded.
    Garbage,
    /// A frame or object over the limit.
    Oversize,
}

/// What the driver has to do, in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// Give up the exchange in hand and send this.
    Ask(Ask),
    /// Give up the exchange in hand and report [`Event::Go`] after this time.
    Wait(Duration),
    /// A list starts.
    BeginGeneration,
    /// The object in hand goes to the sink.
    Apply(WatchChange),
    /// The list is whole.
    CommitGeneration,
    /// The server did not accept the credentials: load them anew.
    ReloadCredentials,
    /// Count a list that was not the first.
    CountRelist(RelistReason),
    /// Count a watch that is opened again.
    CountReconnect(ReconnectReason),
}

/// Why a list was needed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelistReason {
    /// The server no longer has the version (410).
    Expired,
    /// Answers from this version on could not be decoded.
    Undecodable,
    /// The server's versions went backwards, as after a restore of etcd.
    VersionReset,
    /// The server refuses to watch from this version.
    Rejected,
    /// A list failed before it was whole.
    Incomplete,
}

impl RelistReason {
    /// The label value in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Undecodable => "undecodable",
            Self::VersionReset => "version_reset",
            Self::Rejected => "rejected",
            Self::Incomplete => "incomplete",
        }
    }
}

/// Why a watch was opened again from its last version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReconnectReason {
    /// The server ended it in order.
    Ended,
    /// The connection or stream was cut, or could not be opened.
    Cut,
    /// It ended within a frame.
    HalfFrame,
    /// It was silent for too long.
    Idle,
    /// A frame could not be decoded.
    Undecodable,
    /// A frame was over the limit.
    Oversize,
    /// The server refused, for example with 429.
    Refused,
}

impl ReconnectReason {
    /// The label value in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Cut => "cut",
            Self::HalfFrame => "half_frame",
            Self::Idle => "idle",
            Self::Undecodable => "undecodable",
            Self::Oversize => "oversize",
            Self::Refused => "refused",
        }
    }

    fn of(failure: Failure) -> Self {
        match failure {
            Failure::Connect | Failure::Cut => Self::Cut,
            Failure::HalfFrame => Self::HalfFrame,
            Failure::Idle => Self::Idle,
            Failure::Garbage => Self::Undecodable,
            Failure::Oversize => Self::Oversize,
        }
    }
}

/// What a watch is doing, for status pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchPhase {
    /// Nothing asked yet.
    Starting,
    /// A list is asked for or arriving.
    Listing,
    /// Changes are followed.
    Watching,
    /// Waiting after a failure.
    Waiting,
    /// The server forbids it (403); asked again now and then.
    Forbidden,
    /// The server does not serve the resource (404); asked again now and then.
    NotServed,
}

impl WatchPhase {
    /// Lower-case name, as metrics and pages show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Listing => "listing",
            Self::Watching => "watching",
            Self::Waiting => "waiting",
            Self::Forbidden => "forbidden",
            Self::NotServed => "not served",
        }
    }
}

/// Where the protocol stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum State {
    /// Nothing asked yet.
    Idle,
    /// A list was asked for or is arriving.
    Listing { via: ListVia, page: u32, exchange: Exchange },
    /// A watch was asked for or is open.
    Watching { exchange: Exchange, beat: Beat },
    /// Until the driver's timer; then `next`.
    Waiting { next: Next, phase: WatchPhase },
}

/// How to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListVia {
    /// Streamed (`sendInitialEvents`).
    Stream,
    /// One answer from the watch cache.
    Cache,
    /// Consistent pages.
    Pages,
}

/// What to ask after waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    List,
    Watch,
}

/// Times of the request in hand.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Exchange {
    opened: Option<Duration>,
    last_input: Duration,
    timeout: Duration,
}

impl Exchange {
    fn asked(now: Duration, timeout: Duration) -> Self {
        Self { opened: None, last_input: now, timeout }
    }

    fn lived(&self, now: Duration) -> Duration {
        self.opened.map_or(Duration::ZERO, |opened| now.saturating_sub(opened))
    }
}

/// What is known of the server's bookmarks on this stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Beat {
    /// Any frame since it was opened.
    frames: u64,
    /// Bookmarks that followed a bookmark: the server sends them although nothing changes.
    heartbeats: u32,
    /// Longest time from one bookmark to the next.
    longest_gap: Duration,
    last_bookmark: Option<Duration>,
    changed_since_bookmark: bool,
}

/// The protocol of one resource (in one namespace, or in all).
#[derive(Debug)]
pub(crate) struct Machine {
    policy: WatchPolicy,
    listing: Listing,
    state: State,
    /// Objects of the list in hand that were taken over.
    listed: u32,
    /// Version of the last event or bookmark, or of the last whole list.
    version: String,
    /// A list was whole once.
    synced: bool,
    /// The server is asked for streamed lists.
    streaming: bool,
    /// Lists in a row that the server began and did not finish.
    unfinished: u32,
    /// Version at which answers could not be decoded, and how often.
    garbage: (String, u32),
    /// Answers 403 or 404 in a row.
    denied: u32,
    /// Refusals in a row because the version is newer than the server's.
    too_large: u32,
    /// The server's versions went backwards: do not ask for "not older than".
    distrust_version: bool,
    backoff: Backoff,
    random: Random,
}

impl Machine {
    /// A machine that lists first.
    pub(crate) fn new(policy: WatchPolicy, listing: Listing, random: Random) -> Self {
        Self {
            policy,
            listing,
            state: State::Idle,
            listed: 0,
            version: String::new(),
            synced: false,
            streaming: listing.may_stream(),
            unfinished: 0,
            garbage: (String::new(), 0),
            denied: 0,
            too_large: 0,
            distrust_version: false,
            backoff: Backoff::default(),
            random,
        }
    }

    /// The newest version known.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Whether a list was whole once.
    pub(crate) fn synced(&self) -> bool {
        self.synced
    }

    /// What the watch is doing.
    pub(crate) fn phase(&self) -> WatchPhase {
        match &self.state {
            State::Idle => WatchPhase::Starting,
            State::Listing { .. } => WatchPhase::Listing,
            State::Watching { .. } => WatchPhase::Watching,
            State::Waiting { phase, .. } => *phase,
        }
    }

    /// When [`Failure::Idle`] is due if nothing happens before, in the time of `step`. Before the head of the
    /// answer it is the driver that waits, for [`WatchPolicy::response_deadline`] from sending.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let policy = &self.policy;
        match &self.state {
            State::Idle | State::Waiting { .. } => None,
            State::Listing { via, exchange, .. } => {
                let opened = exchange.opened?;
                let silence = exchange.last_input + policy.list_idle;
                Some(match via {
                    ListVia::Stream => silence.min(opened + policy.stream_deadline),
                    ListVia::Cache | ListVia::Pages => silence,
                })
            }
            State::Watching { exchange, beat } => {
                let end = exchange.opened? + exchange.timeout + policy.watch_grace;
                // Silence means something only where this stream has shown that the server breaks it.
                let silence = (beat.heartbeats > 0)
                    .then(|| exchange.last_input + policy.idle.max(beat.longest_gap.mul_f64(2.5)));
                Some(silence.map_or(end, |silence| silence.min(end)))
            }
        }
    }

    /// Takes the machine from one state to the next.
    pub(crate) fn step(&mut self, event: Event<'_>, now: Duration) -> Vec<Effect> {
        if event == Event::Opened {
            self.denied = 0;
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => self.list(now),
            State::Waiting { next: Next::List, .. } => self.list(now),
            State::Waiting { next: Next::Watch, .. } => self.watch(now),
            State::Listing { via: ListVia::Stream, page, exchange } => {
                self.on_streamed_list(event, page, exchange, now)
            }
            State::Listing { via, page, exchange } => self.on_list(event, via, page, exchange, now),
            State::Watching { exchange, beat } => self.on_watch(event, exchange, beat, now),
        }
    }

    // ---- what to ask ----

    fn list(&mut self, now: Duration) -> Vec<Effect> {
        let via = match self.unfinished {
            0..=2 if self.streaming => ListVia::Stream,
            0..=5 => ListVia::Cache,
            _ if self.listing.cache_only => ListVia::Cache,
            _ => ListVia::Pages,
        };
        self.list_via(via, now)
    }

    fn list_via(&mut self, via: ListVia, now: Duration) -> Vec<Effect> {
        let timeout = self.watch_timeout();
        self.state = State::Listing { via, page: 0, exchange: Exchange::asked(now, timeout) };
        let ask = match via {
            ListVia::Stream => Ask::StreamedList { timeout },
            ListVia::Cache => {
                let any = self.version.is_empty() || self.distrust_version || self.listing.cache_only;
                let version =
                    if any { ListVersion::Any } else { ListVersion::NotOlderThan(self.version.clone()) };
                Ask::List { version, limit: self.listing.limit, continue_token: String::new() }
            }
            ListVia::Pages => self.page(String::new()),
        };
        vec![Effect::Ask(ask)]
    }

    fn page(&self, continue_token: String) -> Ask {
        let limit =
            self.listing.limit.map_or(self.policy.page_size, |limit| limit.min(self.policy.page_size));
        Ask::List { version: ListVersion::Consistent, limit: Some(limit), continue_token }
    }

    fn watch(&mut self, now: Duration) -> Vec<Effect> {
        let timeout = self.watch_timeout();
        self.state = State::Watching { exchange: Exchange::asked(now, timeout), beat: Beat::default() };
        vec![Effect::Ask(Ask::Watch { version: self.version.clone(), timeout })]
    }

    fn watch_timeout(&mut self) -> Duration {
        self.random.between(self.policy.watch_timeout, self.policy.watch_timeout * 2)
    }

    fn wait(&mut self, next: Next, phase: WatchPhase, delay: Duration) -> Effect {
        self.state = State::Waiting { next, phase };
        Effect::Wait(delay)
    }

    fn back_off(&mut self, cap: Duration) -> Duration {
        self.backoff.next(self.policy.backoff_floor, cap, &mut self.random)
    }

    // ---- a streamed list ----

    fn on_streamed_list(
        &mut self,
        event: Event<'_>,
        page: u32,
        mut exchange: Exchange,
        now: Duration,
    ) -> Vec<Effect> {
        exchange.last_input = now;
        let stay = |exchange| State::Listing { via: ListVia::Stream, page: 1, exchange };
        match event {
            Event::Changed { .. } | Event::Bookmark { .. } if exchange.opened.is_none() => {
                self.list_failed(Failure::Garbage, page)
            }
            Event::Opened => {
                exchange.opened = Some(now);
                self.state = stay(exchange);
                vec![Effect::BeginGeneration]
            }
            Event::Changed { change, .. } => {
                self.state = stay(exchange);
                vec![Effect::Apply(change)]
            }
            Event::Bookmark { initial_events_end: false, .. } => {
                self.state = stay(exchange);
                Vec::new()
            }
            Event::Bookmark { version, initial_events_end: true } if is_version(version) => {
                self.commit(version);
                self.state = State::Watching { exchange, beat: Beat { frames: 1, ..Beat::default() } };
                vec![Effect::CommitGeneration]
            }
            // Disabled by feature gate, unknown to a relay, or not understood: the plain list has the same content.
            Event::Refused(refusal) if refusal.is_not_understood() => {
                self.streaming = false;
                self.list_via(ListVia::Cache, now)
            }
            Event::Refused(refusal) => self.refused(Next::List, page, refusal),
            Event::Failed(Failure::Idle) => {
                // It never ends: today's answer comes from a plain list, the next list may try again.
                self.unfinished = self.unfinished.max(2);
                self.list_failed(Failure::Idle, page)
            }
            Event::Ended => self.list_failed(Failure::Cut, page),
            Event::Failed(failure) => self.list_failed(failure, page),
            Event::Go | Event::Listed | Event::ListEnd { .. } | Event::Bookmark { .. } => {
                self.list_failed(Failure::Garbage, page)
            }
        }
    }

    // ---- a plain list ----

    fn on_list(
        &mut self,
        event: Event<'_>,
        via: ListVia,
        page: u32,
        mut exchange: Exchange,
        now: Duration,
    ) -> Vec<Effect> {
        exchange.last_input = now;
        match event {
            Event::Listed | Event::ListEnd { .. } if exchange.opened.is_none() => {
                self.list_failed(Failure::Garbage, page)
            }
            Event::Opened => {
                exchange.opened = Some(now);
                self.state = State::Listing { via, page: page + 1, exchange };
                if page == 0 {
                    self.listed = 0;
                    vec![Effect::BeginGeneration]
                } else {
                    Vec::new()
                }
            }
            Event::Listed => {
                self.state = State::Listing { via, page, exchange };
                if self.is_full() {
                    return Vec::new();
                }
                self.listed = self.listed.saturating_add(1);
                vec![Effect::Apply(WatchChange::Upsert)]
            }
            Event::ListEnd { continue_token, .. } if !continue_token.is_empty() && !self.is_full() => {
                // A server may page an answer that was not asked for in pages.
                self.state = State::Listing { via, page, exchange: Exchange::asked(now, exchange.timeout) };
                vec![Effect::Ask(self.page(continue_token.to_owned()))]
            }
            Event::ListEnd { version, .. } if is_version(version) => {
                self.commit(version);
                let mut effects = vec![Effect::CommitGeneration];
                effects.extend(self.watch(now));
                effects
            }
            Event::Refused(refusal) if refusal.version_too_large && !self.distrust_version => {
                self.version_too_large(Next::List, refusal)
            }
            Event::Refused(refusal)
                if matches!(refusal.code, 400 | 410 | 422)
                    && via == ListVia::Cache
                    && !self.listing.cache_only =>
            {
                self.list_via(ListVia::Pages, now)
            }
            // The continue token expired between two pages: a new generation, by the cache if it happens again.
            Event::Refused(refusal) if refusal.code == 410 => self.list_failed(Failure::Cut, page),
            Event::Refused(refusal) => self.refused(Next::List, page, refusal),
            Event::Failed(failure) => self.list_failed(failure, page),
            Event::Ended => self.list_failed(Failure::HalfFrame, page),
            Event::Go | Event::ListEnd { .. } | Event::Changed { .. } | Event::Bookmark { .. } => {
                self.list_failed(Failure::Garbage, page)
            }
        }
    }

    /// Whether as many objects were listed as may be.
    fn is_full(&self) -> bool {
        self.listing.limit.is_some_and(|limit| self.listed >= limit)
    }

    fn commit(&mut self, version: &str) {
        self.version.clear();
        self.version.push_str(version);
        self.synced = true;
        self.unfinished = 0;
        self.too_large = 0;
        self.distrust_version = false;
        self.garbage.1 = 0;
    }

    /// A list that failed; `page` is zero while the server has not answered.
    fn list_failed(&mut self, failure: Failure, page: u32) -> Vec<Effect> {
        let mut effects = Vec::new();
        if page > 0 || failure == Failure::Idle {
            self.unfinished += 1;
        }
        if page > 0 {
            effects.push(Effect::CountRelist(RelistReason::Incomplete));
        }
        let delay = self.back_off(self.policy.backoff_cap);
        effects.push(self.wait(Next::List, WatchPhase::Waiting, delay));
        effects
    }

    // ---- a watch ----

    fn on_watch(
        &mut self,
        event: Event<'_>,
        mut exchange: Exchange,
        mut beat: Beat,
        now: Duration,
    ) -> Vec<Effect> {
        match event {
            Event::Opened => {
                exchange.opened = Some(now);
                exchange.last_input = now;
                self.too_large = 0;
                self.state = State::Watching { exchange, beat };
                Vec::new()
            }
            Event::Changed { version, .. } | Event::Bookmark { version, .. } if self.is_older(version) => {
                self.distrust_version = true;
                self.relist(RelistReason::VersionReset)
            }
            Event::Changed { change, version } => {
                self.advance(version);
                beat.frames += 1;
                beat.changed_since_bookmark = true;
                exchange.last_input = now;
                self.state = State::Watching { exchange, beat };
                vec![Effect::Apply(change)]
            }
            Event::Bookmark { version, .. } => {
                self.advance(version);
                beat.bookmark(now);
                exchange.last_input = now;
                self.state = State::Watching { exchange, beat };
                Vec::new()
            }
            Event::Ended => self.watch_ended(&exchange, &beat, now),
            Event::Failed(failure) => self.watch_failed(failure, &exchange, now),
            Event::Refused(refusal) => self.watch_refused(refusal, &exchange, now),
            Event::Go | Event::Listed | Event::ListEnd { .. } => {
                self.watch_failed(Failure::Garbage, &exchange, now)
            }
        }
    }

    fn advance(&mut self, version: &str) {
        if is_version(version) && self.version != version {
            self.version.clear();
            self.version.push_str(version);
            self.garbage.1 = 0;
        }
    }

    /// Whether `version` lies before the newest one known. Versions that are not numbers are not compared.
    fn is_older(&self, version: &str) -> bool {
        match (version.parse::<u64>(), self.version.parse::<u64>()) {
            (Ok(theirs), Ok(ours)) => theirs < ours,
            _ => false,
        }
    }

    fn forgive(&mut self, exchange: &Exchange, now: Duration) {
        if exchange.lived(now) >= self.policy.healthy_after {
            self.backoff.reset();
        }
    }

    fn watch_ended(&mut self, exchange: &Exchange, beat: &Beat, now: Duration) -> Vec<Effect> {
        self.forgive(exchange, now);
        let count = Effect::CountReconnect(ReconnectReason::Ended);
        let lived = exchange.lived(now);
        if lived + Duration::from_secs(2) >= exchange.timeout {
            // Its time was over, as agreed.
            let mut effects = vec![count];
            effects.extend(self.watch(now));
            return effects;
        }
        // Ended early: a server that shuts down. One that ends every watch at once must not be hammered.
        let cap = if beat.frames > 0 || lived >= Duration::from_secs(1) {
            self.policy.cut_backoff_cap
        } else {
            self.policy.backoff_cap
        };
        let delay = self.back_off(cap);
        vec![count, self.wait(Next::Watch, WatchPhase::Waiting, delay)]
    }

    fn watch_failed(&mut self, failure: Failure, exchange: &Exchange, now: Duration) -> Vec<Effect> {
        self.forgive(exchange, now);
        if matches!(failure, Failure::Garbage | Failure::Oversize) {
            if self.garbage.0 != self.version {
                self.garbage = (self.version.clone(), 0);
            }
            self.garbage.1 += 1;
            if self.garbage.1 >= self.policy.garbage_limit {
                self.garbage.1 = 0;
                return self.relist(RelistReason::Undecodable);
            }
        }
        let cut = exchange.opened.is_some();
        let delay = self.back_off(if cut { self.policy.cut_backoff_cap } else { self.policy.backoff_cap });
        let count = Effect::CountReconnect(ReconnectReason::of(failure));
        vec![count, self.wait(Next::Watch, WatchPhase::Waiting, delay)]
    }

    fn watch_refused(&mut self, refusal: &Refusal, exchange: &Exchange, now: Duration) -> Vec<Effect> {
        self.forgive(exchange, now);
        if refusal.version_too_large {
            let mut effects = vec![Effect::CountReconnect(ReconnectReason::Refused)];
            effects.extend(self.version_too_large(Next::Watch, refusal));
            return effects;
        }
        match refusal.code {
            410 => self.relist(RelistReason::Expired),
            400 | 422 => self.relist(RelistReason::Rejected),
            _ => {
                let mut effects = vec![Effect::CountReconnect(ReconnectReason::Refused)];
                effects.extend(self.refused(Next::Watch, 0, refusal));
                effects
            }
        }
    }

    fn relist(&mut self, reason: RelistReason) -> Vec<Effect> {
        // A server that refused to stream may have been upgraded since.
        self.streaming = self.listing.may_stream();
        let jitter = self.random.between(Duration::ZERO, self.policy.relist_jitter);
        let delay = self.back_off(self.policy.backoff_cap).max(jitter);
        vec![Effect::CountRelist(reason), self.wait(Next::List, WatchPhase::Waiting, delay)]
    }

    // ---- refusals that any request may get ----

    fn refused(&mut self, next: Next, page: u32, refusal: &Refusal) -> Vec<Effect> {
        let mut effects = Vec::new();
        if page > 0 {
            effects.push(Effect::CountRelist(RelistReason::Incomplete));
        }
        let slow = self.policy.refused_wait;
        let wait = match refusal.code {
            401 => {
                effects.push(Effect::ReloadCredentials);
                let delay = self.back_off(self.policy.backoff_cap);
                self.wait(next, WatchPhase::Waiting, delay)
            }
            code @ (403 | 404) => {
                self.denied += 1;
                // A server that has just started does not know its roles and resources yet.
                if self.denied < DENIED_FOR_GOOD {
                    let delay = self.back_off(self.policy.cut_backoff_cap);
                    self.wait(next, WatchPhase::Waiting, delay)
                } else {
                    let phase = if code == 403 { WatchPhase::Forbidden } else { WatchPhase::NotServed };
                    let delay = self.random.between(slow, slow * 2);
                    self.wait(next, phase, delay)
                }
            }
            code => {
                if next == Next::List && code >= 500 && refusal.retry_after.is_none() {
                    self.unfinished += 1;
                }
                let delay = self.retry_delay(refusal);
                self.wait(next, WatchPhase::Waiting, delay)
            }
        };
        effects.push(wait);
        effects
    }

    /// At least the server's `Retry-After`, spread so that clients do not come back together.
    fn retry_delay(&mut self, refusal: &Refusal) -> Duration {
        let Some(asked) = refusal.retry_after else {
            return self.back_off(self.policy.backoff_cap);
        };
        let asked = asked.min(self.policy.retry_after_cap);
        let spread = self.random.between(Duration::ZERO, asked / 4 + Duration::from_millis(200));
        let own = self.back_off(self.policy.cut_backoff_cap);
        (asked + spread).max(own)
    }

    /// A replica that lags behind catches up within seconds; one that never does was restored from a backup.
    fn version_too_large(&mut self, next: Next, refusal: &Refusal) -> Vec<Effect> {
        self.too_large += 1;
        if self.too_large >= 8 {
            self.too_large = 0;
            self.distrust_version = true;
            return self.relist(RelistReason::VersionReset);
        }
        let delay = self.retry_delay(refusal);
        vec![self.wait(next, WatchPhase::Waiting, delay)]
    }
}

impl Beat {
    fn bookmark(&mut self, now: Duration) {
        self.frames += 1;
        if let Some(last) = self.last_bookmark {
            self.longest_gap = self.longest_gap.max(now.saturating_sub(last));
            if !self.changed_since_bookmark {
                self.heartbeats += 1;
            }
        }
        self.last_bookmark = Some(now);
        self.changed_since_bookmark = false;
    }
}

/// A version that a watch can start from.
fn is_version(version: &str) -> bool {
    !version.is_empty() && version != "0"
}
