//! Does what the state machine says: sends requests, reads answers, feeds the sink.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use outrigger_model::fault::chain;
use outrigger_wire::kubernetes::{ListError, ListLimits, ResourceKind, WatchError, WatchEventKind};
use tokio::time::Instant;

use crate::WatchChange;
use crate::backoff::Random;
use crate::cluster::ClusterShared;
use crate::machine::{Ask, Effect, Event, Failure, Listing, Machine, Refusal, WatchPhase};
use crate::options::WatchOptions;
use crate::request::Refused;
use crate::resource::WatchedResource;
use crate::sink::{Event as StreamEvent, Sink};
use crate::status::{RbacHint, Running, WatchRecord};
use crate::table::TABLE;
use crate::transport::{Answer, AnswerBody, Lane, Transport};

/// How much of a refusal's body is read, and for how long.
const REFUSAL_BYTES: usize = 64 << 10;
const REFUSAL_DEADLINE: Duration = Duration::from_secs(5);

/// The list/watch of one resource, in one namespace or in all.
pub(crate) struct Watcher {
    shared: Arc<ClusterShared>,
    resource: WatchedResource,
    namespace: Option<String>,
    sink: Sink,
    options: Arc<WatchOptions>,
    record: Arc<WatchRecord>,
    _running: Arc<Running>,
}

/// What to do once an exchange is over.
enum Action {
    Ask(Ask),
    Wait { delay: Duration, reload: bool },
}

/// A machine with the time it started at.
struct Run {
    machine: Machine,
    start: Instant,
}

impl Run {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// When silence has lasted too long.
    fn deadline(&self) -> Instant {
        let far = Duration::from_secs(3600);
        self.machine.deadline().map_or_else(|| Instant::now() + far, |deadline| self.start + deadline)
    }
}

impl Watcher {
    /// The watch in `namespace`, or in the whole cluster; the namespaces among `options` are not looked at.
    pub(crate) fn new(
        shared: Arc<ClusterShared>,
        namespace: Option<String>,
        sink: Sink,
        options: Arc<WatchOptions>,
    ) -> Self {
        let resource = sink.resource();
        let (record, running) = shared.accounts.start(&resource, namespace.as_deref());
        Self { shared, resource, namespace, sink, options, record, _running: running }
    }

    /// Runs for ever, or until the server forbids it if `until_forbidden`.
    pub(crate) async fn run(&self, until_forbidden: bool) {
        let listing = Listing {
            cache_only: self.options.cache_only,
            limit: self.options.object_limit,
            // The end of a streamed list is an annotation, which a table need not have.
            whole: matches!(self.sink, Sink::Table(..)),
        };
        let machine = Machine::new(self.shared.policy().clone(), listing, Random::from_process());
        let mut run = Run { machine, start: Instant::now() };
        let mut action = self.step(&mut run, Event::Go, &[]);
        loop {
            let transport = self.shared.transport();
            self.record.set_phase(run.machine.phase(), run.machine.synced(), run.machine.version());
            action = match action {
                Some(Action::Ask(ask)) => self.exchange(&mut run, &transport, ask).await,
                Some(Action::Wait { delay, reload }) => {
                    match run.machine.phase() {
                        WatchPhase::Forbidden if until_forbidden => return,
                        phase @ (WatchPhase::Forbidden | WatchPhase::NotServed) => {
                            self.sink.unavailable(phase)
                        }
                        _ => {}
                    }
                    if reload {
                        self.shared.reload(&transport).await;
                    }
                    tokio::time::sleep(delay).await;
                    self.step(&mut run, Event::Go, &[])
                }
                // The machine answers the end of an exchange with a request or a pause.
                None => self.step(&mut run, Event::Failed(Failure::Cut), &[]),
            };
        }
    }

    /// One request, and its answer to the end. `None` never comes after a step that ended the exchange.
    async fn exchange(&self, run: &mut Run, transport: &Arc<Transport>, ask: Ask) -> Option<Action> {
        if matches!(ask, Ask::StreamedList { .. }) && !self.shared.features().await.watch_list {
            let unsupported = Refusal { code: 422, ..Refusal::default() };
            return self.step(run, Event::Refused(&unsupported), &[]);
        }
        self.shared.bucket.take().await;
        let answer = match self.send(transport, &ask).await {
            Ok(answer) => answer,
            Err((failure, error)) => {
                self.shared.accounts.count_request(ask.kind(), Some(&self.resource), None);
                return self.fail(run, failure, format!("{}: {error}", self.what(run, &ask)));
            }
        };
        self.shared.accounts.count_request(ask.kind(), Some(&self.resource), Some(answer.status.as_u16()));
        if answer.status != StatusCode::OK {
            return self.refused(run, &ask, answer).await;
        }
        let action = self.step(run, Event::Opened, &[]);
        if action.is_some() {
            return action;
        }
        match ask {
            Ask::List { .. } => self.read_list(run, &ask, answer.body).await,
            Ask::StreamedList { .. } => self.read_events(run, &ask, answer.body).await,
            Ask::Watch { .. } => {
                self.record.clear_error();
                self.read_events(run, &ask, answer.body).await
            }
        }
    }

    async fn send(&self, transport: &Transport, ask: &Ask) -> Result<Answer, (Failure, String)> {
        let lane = if self.resource == ResourceKind::Pod { Lane::Dedicated } else { Lane::Shared };
        let collection = self.resource.collection(self.namespace.as_deref(), self.options.version.as_deref());
        let as_table = matches!(self.sink, Sink::Table(..));
        let mut path = ask.path(&collection, &self.options.field_selector);
        if as_table {
            path.push(if path.contains('?') { '&' } else { '?' });
            path.push_str("includeObject=Metadata");
        }
        let deadline = self.shared.policy().response_deadline;
        let accept = if as_table { TABLE } else { ask.accept(&self.resource, self.options.metadata_only) };
        let sent = transport.get(lane, &path, accept);
        match tokio::time::timeout(deadline, sent).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err((Failure::Connect, chain(&error))),
            Err(_) => Err((Failure::Idle, format!("no answer within {} s", deadline.as_secs()))),
        }
    }

    async fn refused(&self, run: &mut Run, ask: &Ask, mut answer: Answer) -> Option<Action> {
        let read = answer.body.read_up_to(REFUSAL_BYTES);
        let body = tokio::time::timeout(REFUSAL_DEADLINE, read).await.unwrap_or_default();
        let refused = Refused::of_answer(answer.status, &answer.headers, &body);
        if matches!(ask, Ask::StreamedList { .. }) && refused.refusal.is_not_understood() {
            self.shared.streaming_refused(&refused.message).await;
            return self.step(run, Event::Refused(&refused.refusal), &[]);
        }
        let reason = answer.status.canonical_reason().unwrap_or_default();
        self.note_refusal(run, ask, &refused, reason);
        self.step(run, Event::Refused(&refused.refusal), &[])
    }

    fn note_refusal(&self, run: &Run, ask: &Ask, refused: &Refused, reason: &str) {
        let code = refused.refusal.code;
        let mut error = format!("{}: {code} {reason}", self.what(run, ask)).trim_end().to_owned();
        if !refused.message.is_empty() {
            error.push_str(": ");
            error.push_str(&refused.message);
        }
        let hint =
            (code == 403).then(|| RbacHint::new(&self.resource, self.namespace.as_deref(), &refused.message));
        self.note_error(error, hint);
    }

    // ---- answers ----

    async fn read_list(&self, run: &mut Run, ask: &Ask, mut body: AnswerBody) -> Option<Action> {
        let limits = ListLimits { item_bytes: self.shared.object_limit(), ..ListLimits::default() };
        let mut decoder = self.sink.list(limits);
        loop {
            let piece = match tokio::time::timeout_at(run.deadline(), body.chunk()).await {
                Ok(Ok(piece)) => piece,
                Ok(Err(error)) => return self.cut(run, ask, &error),
                Err(_) => {
                    return self.fail(
                        run,
                        Failure::Idle,
                        format!("{}: silence within the list", self.what(run, ask)),
                    );
                }
            };
            let Some(piece) = piece else { break };
            self.record.count_bytes(piece.len());
            self.record.touch(self.shared.accounts.now());
            decoder.push(&piece);
            loop {
                match decoder.next_item() {
                    Ok(Some(object)) => {
                        let action = self.step(run, Event::Listed, object);
                        if action.is_some() {
                            return action;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => return self.bad_list(run, ask, &error),
                }
            }
            tokio::task::consume_budget().await;
        }
        match decoder.finish() {
            Ok(end) => {
                let event =
                    Event::ListEnd { version: &end.resource_version, continue_token: &end.r#continue };
                self.step(run, event, &[])
            }
            Err(error) => self.bad_list(run, ask, &error),
        }
    }

    fn bad_list(&self, run: &mut Run, ask: &Ask, error: &ListError) -> Option<Action> {
        let failure = match error {
            ListError::TooLarge { .. } | ListError::TooManyItems(_) => Failure::Oversize,
            ListError::Truncated { .. } => Failure::HalfFrame,
            ListError::Envelope(_)
            | ListError::Malformed(_)
            | ListError::NotAList(_)
            | ListError::NotJson => Failure::Garbage,
        };
        self.fail(run, failure, format!("{}: {}", self.what(run, ask), chain(error)))
    }

    async fn read_events(&self, run: &mut Run, ask: &Ask, mut body: AnswerBody) -> Option<Action> {
        let mut frames = self.sink.frames(self.shared.object_limit());
        loop {
            // Pinned outside the match so that a slow chunk is not lost by the deadline: it ends the stream anyway.
            let piece = {
                let chunk = pin!(body.chunk());
                tokio::time::timeout_at(run.deadline(), chunk).await
            };
            let piece = match piece {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) if frames.pending() > 0 => {
                    return self.fail(
                        run,
                        Failure::HalfFrame,
                        format!("{}: ended within a frame", self.what(run, ask)),
                    );
                }
                Ok(Ok(None)) => return self.step(run, Event::Ended, &[]),
                Ok(Err(error)) => return self.cut(run, ask, &error),
                Err(_) => {
                    return self.fail(
                        run,
                        Failure::Idle,
                        format!("{}: silence for too long", self.what(run, ask)),
                    );
                }
            };
            self.record.count_bytes(piece.len());
            frames.push(&piece);
            loop {
                let action = match frames.next_frame() {
                    Ok(Some(frame)) => self.frame(run, ask, frame),
                    Ok(None) => break,
                    Err(error) => self.bad_frame(run, ask, &error),
                };
                if action.is_some() {
                    return action;
                }
            }
            let machine = &run.machine;
            self.record.set_phase(machine.phase(), machine.synced(), machine.version());
            tokio::task::consume_budget().await;
        }
    }

    fn frame(&self, run: &mut Run, ask: &Ask, frame: &[u8]) -> Option<Action> {
        let event = match self.sink.event(frame) {
            Ok(event) => event,
            Err(error) => return self.bad_frame(run, ask, &error),
        };
        self.record.count_event(event.kind, self.shared.accounts.now());
        match event.kind {
            WatchEventKind::Added | WatchEventKind::Modified => {
                self.changed(run, WatchChange::Upsert, &event)
            }
            WatchEventKind::Deleted => self.changed(run, WatchChange::Delete, &event),
            WatchEventKind::Bookmark => {
                let initial_events_end = event.initial_events_end;
                self.step(run, Event::Bookmark { version: &event.version, initial_events_end }, &[])
            }
            WatchEventKind::Error => {
                let refused = event.refused.unwrap_or_default();
                self.note_refusal(run, ask, &refused, &event.reason);
                self.step(run, Event::Refused(&refused.refusal), &[])
            }
        }
    }

    fn changed(&self, run: &mut Run, change: WatchChange, event: &StreamEvent<'_>) -> Option<Action> {
        self.step(run, Event::Changed { change, version: &event.version }, event.object)
    }

    fn bad_frame(&self, run: &mut Run, ask: &Ask, error: &WatchError) -> Option<Action> {
        let failure = match error {
            WatchError::FrameTooLarge { .. } => Failure::Oversize,
            _ => Failure::Garbage,
        };
        self.fail(run, failure, format!("{}: {}", self.what(run, ask), chain(error)))
    }

    // ---- failures ----

    fn cut(&self, run: &mut Run, ask: &Ask, error: &hyper::Error) -> Option<Action> {
        let error = if is_cut(error) { "the connection was cut".to_owned() } else { chain(error) };
        self.fail(run, Failure::Cut, format!("{}: {error}", self.what(run, ask)))
    }

    fn fail(&self, run: &mut Run, failure: Failure, error: String) -> Option<Action> {
        self.note_error(error, None);
        self.step(run, Event::Failed(failure), &[])
    }

    fn note_error(&self, error: String, missing_permission: Option<RbacHint>) {
        if self.record.has_error(&error) {
            // The same as last time, as for a resource that an older server does not have: it was told.
            tracing::debug!(cluster = self.shared.accounts.cluster(), "{error}");
            return;
        }
        let key = format!("{}/{}", self.resource, self.namespace.as_deref().unwrap_or_default());
        let cluster = self.shared.accounts.cluster();
        match self.shared.log_limit.permit(&key) {
            Some(suppressed) => tracing::warn!(cluster, suppressed, "{error}"),
            None => tracing::debug!(cluster, "{error}"),
        }
        self.record.set_error(error, missing_permission);
    }

    /// `watch pods in namespace web`, for messages.
    fn what(&self, run: &Run, ask: &Ask) -> String {
        let verb = match ask {
            Ask::StreamedList { .. } if run.machine.phase() == WatchPhase::Watching => "watch",
            Ask::StreamedList { .. } => "list (streamed)",
            Ask::List { .. } => "list",
            Ask::Watch { .. } => "watch",
        };
        match &self.namespace {
            None => format!("{verb} {}", self.resource),
            Some(namespace) => format!("{verb} {} in namespace {namespace}", self.resource),
        }
    }

    // ---- steps ----

    /// Steps the machine and carries out what can be done at once; what ends the exchange is returned.
    fn step(&self, run: &mut Run, event: Event<'_>, object: &[u8]) -> Option<Action> {
        let now = run.now();
        let mut action = None;
        let mut reload = false;
        for effect in run.machine.step(event, now) {
            match effect {
                Effect::Apply(change) => self.apply(change, object),
                Effect::BeginGeneration => self.sink.begin_generation(),
                Effect::CommitGeneration => {
                    self.sink.commit_generation();
                    self.record.clear_error();
                }
                Effect::CountRelist(reason) => self.record.count_relist(reason),
                Effect::CountReconnect(reason) => self.record.count_reconnect(reason),
                Effect::ReloadCredentials => reload = true,
                Effect::Ask(ask) => action = Some(Action::Ask(ask)),
                Effect::Wait(delay) => action = Some(Action::Wait { delay, reload }),
            }
        }
        action
    }

    fn apply(&self, change: WatchChange, object: &[u8]) {
        let Err(error) = self.sink.apply(change, object) else { return };
        self.record.count_refused_object();
        if let Some(suppressed) = self.shared.log_limit.permit(&format!("object {}", self.resource)) {
            let cluster = self.shared.accounts.cluster();
            tracing::warn!(cluster, resource = %self.resource, %error, suppressed, "object left out");
        }
    }
}

/// Whether the connection ended without a word, which TLS and HTTP/2 each tell in their own way.
fn is_cut(error: &hyper::Error) -> bool {
    use std::error::Error;
    use std::io::{Error as IoError, ErrorKind};
    let mut cause = error.source();
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<IoError>()
            && matches!(
                io.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            )
        {
            return true;
        }
        cause = current.source();
    }
    // HTTP/2's own word for a connection that is gone, for example one whose PING was not answered.
    chain(error).contains("closed because of a broken pipe")
}
