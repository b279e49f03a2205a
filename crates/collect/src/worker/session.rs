//! Which master a worker talks to and what it takes from it, without any I/O: the driver hands in what happened and does
//! what comes back.

use std::collections::VecDeque;
use std::time::Duration;

use outrigger_wire::centre::{
    Assign, Beat, Configuration, FromMaster, Jobs, PROTOCOL_MAX, PROTOCOL_MIN, RejectReason, Rejected,
    Release, Remove, Welcome, from_master,
};

use super::backoff::Backoff;

/// Milliseconds of a monotonic clock.
pub(crate) type Millis = u64;

/// A lease that no master would give.
const LEASE_BOUNDS: (u64, u64) = (400, 10 * 60 * 1_000);
/// Time between heartbeats of a worker that leaves: their answers say that everything was heard.
const LEAVING_BEAT: Millis = 250;
/// Between two dials of a worker that leaves.
const LEAVING_PAUSE: Duration = Duration::from_millis(100);
/// A master has so long to answer `Hello`.
const GREETING: Millis = 10_000;
/// Addresses of leaders that are followed one after the other without a pause.
const HINTS: u32 = 3;
/// Round trips that the clock's offset is chosen from.
const ROUND_TRIPS: usize = 16;

/// What happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// The time that [`Session::wake_at`] named has come, or any other.
    Due,
    /// The stream is open.
    Opened,
    /// There is no stream, or none any more.
    Broke(String),
    /// A message.
    Heard(FromMaster),
    /// This master says that it leads.
    Leads(String),
    /// The process is to end.
    Stop {
        /// How long targets may be handed over.
        grace: Duration,
    },
    /// Every target has been handed over.
    Empty,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(crate) enum Effect {
    /// Open a stream to this master; an earlier one is closed already.
    Dial(String),
    /// Close the stream, or give up opening it.
    Close,
    /// Say `Hello`, and again what the master before may not have heard.
    Greet,
    /// Send a heartbeat.
    Beat {
        /// Its number.
        sequence: u64,
    },
    /// The worker belongs to a fleet.
    Join(Welcome),
    /// The stream to a fleet has ended; `Dial` or `End` comes later.
    Part,
    /// Put a configuration in force.
    Configure(Configuration),
    /// Take targets over.
    Adopt(Assign),
    /// Hand targets over.
    Release(Release),
    /// Remove targets.
    Remove(Remove),
    /// The state of jobs.
    Note(Jobs),
    /// The master has heard everything that was sent before the heartbeat of this number.
    Heard {
        /// `Heartbeat::sequence`.
        sequence: u64,
    },
    /// Say that the worker is leaving.
    Leave {
        /// For so long it still scrapes.
        grace: Duration,
    },
    /// Another living process has this worker's name, says a leading master.
    NameTaken,
    /// Something that people should know.
    Warn(Warning),
    /// Nothing more will happen; a stream that is still there is good for a last word.
    End,
}

/// What people should know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Warning {
    /// No stream.
    #[error("no connection to {address}: {reason}")]
    Broke { address: String, reason: String },
    /// A master that does not lead.
    #[error("{address} does not lead{}", .leader.as_ref().map(|leader| format!(", {leader} does")).unwrap_or_default())]
    NotLeader { address: String, leader: Option<String> },
    /// A master that does not want this worker.
    #[error("{address} refuses this worker: {reason}")]
    Rejected { address: String, reason: String },
    /// A master of the past.
    #[error(
        "{address} leads with epoch {epoch}, but this worker has obeyed epoch {obeyed}: it is not obeyed (does it \
         use another store than the others, or an empty one?)"
    )]
    Deposed { address: String, epoch: u64, obeyed: u64 },
    /// A master that says nothing any more.
    #[error("nothing heard from {address} for {silent_millis} ms")]
    Silent { address: String, silent_millis: u64 },
    /// A message that should not be.
    #[error("{address} sent {what}: message ignored")]
    Unexpected { address: String, what: &'static str },
}

/// A worker's side of the config centre.
#[derive(Debug)]
pub(crate) struct Session {
    masters: Vec<String>,
    state: State,
    /// The master to try next.
    next: usize,
    /// Where the last refusal says the leader is, and how many were followed in a row.
    hint: Option<String>,
    hints: u32,
    backoff: Backoff,
    /// Masters that were dialled in vain.
    failed_dials: usize,
    /// How many in a row did not even answer.
    unanswered: usize,
    /// Highest epoch obeyed.
    epoch: u64,
    /// When the worker ends at the latest.
    leaving: Option<Millis>,
    clock: ClockOffset,
}

#[derive(Debug)]
enum State {
    /// Without a stream until a time.
    Apart { until: Millis },
    /// Waits for the stream to open.
    Dialling { address: String },
    /// Waits for the answer to `Hello`.
    Greeting { address: String, since: Millis },
    /// Member of a fleet.
    Joined(Membership),
    /// At the end.
    Ended,
}

#[derive(Debug)]
struct Membership {
    address: String,
    lease: Millis,
    heard: Millis,
    next_beat: Millis,
    sequence: u64,
    /// Heartbeats that were not answered yet, with when they were sent.
    beats: VecDeque<(u64, Millis)>,
}

impl Session {
    /// Begins at once with the first master. `epoch` is the highest that was obeyed before.
    pub(crate) fn new(masters: Vec<String>, epoch: u64, backoff: Backoff) -> Self {
        Self {
            masters,
            state: State::Apart { until: 0 },
            next: 0,
            hint: None,
            hints: 0,
            backoff,
            failed_dials: 0,
            unanswered: 0,
            epoch,
            leaving: None,
            clock: ClockOffset::default(),
        }
    }

    /// Highest epoch obeyed.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The master that is talked to.
    pub(crate) fn master(&self) -> Option<&str> {
        self.address()
    }

    /// The master's clock minus this one's in milliseconds, once it was measured.
    pub(crate) fn clock_offset(&self) -> Option<i64> {
        self.clock.offset()
    }

    /// Masters that were dialled in vain so far.
    pub(crate) fn failed_dials(&self) -> usize {
        self.failed_dials
    }

    /// When [`Event::Due`] is to come at the latest.
    pub(crate) fn wake_at(&self) -> Option<Millis> {
        let due = match &self.state {
            State::Apart { until } => Some(*until),
            State::Dialling { .. } | State::Ended => None,
            State::Greeting { since, .. } => Some(since + GREETING),
            State::Joined(member) => Some(member.next_beat.min(member.heard + member.lease)),
        };
        match (&self.state, self.leaving) {
            (State::Ended, _) | (_, None) => due,
            (_, Some(end)) => Some(due.map_or(end, |due| due.min(end))),
        }
    }

    /// Something has happened at `now`.
    pub(crate) fn step(&mut self, now: Millis, event: Event) -> Vec<Effect> {
        if self.leaving.is_some_and(|end| now >= end) && !matches!(self.state, State::Ended) {
            return self.end();
        }
        match event {
            Event::Due => self.due(now),
            Event::Opened => self.opened(now),
            Event::Broke(reason) => self.broke(now, reason),
            Event::Heard(message) => self.heard(now, message),
            Event::Leads(address) => self.leads(address),
            Event::Stop { grace } => self.stop(now, grace),
            Event::Empty if self.leaving.is_some() => self.end(),
            Event::Empty => Vec::new(),
        }
    }

    fn due(&mut self, now: Millis) -> Vec<Effect> {
        match &mut self.state {
            State::Apart { until } if now >= *until => self.dial(),
            State::Greeting { address, since } if now >= *since + GREETING => {
                let warning = Warning::Silent { address: address.clone(), silent_millis: now - *since };
                self.give_up(now, warning)
            }
            State::Joined(member) if now >= member.heard + member.lease => {
                let silent_millis = now - member.heard;
                let warning = Warning::Silent { address: member.address.clone(), silent_millis };
                self.give_up(now, warning)
            }
            State::Joined(member) if now >= member.next_beat => {
                vec![member.beat(now, self.leaving.is_some())]
            }
            _ => Vec::new(),
        }
    }

    fn dial(&mut self) -> Vec<Effect> {
        let address = match self.hint.take() {
            Some(leader) => leader,
            None => {
                let Some(address) = self.masters.get(self.next).cloned() else { return self.end() };
                self.next = (self.next + 1) % self.masters.len();
                address
            }
        };
        self.state = State::Dialling { address: address.clone() };
        vec![Effect::Dial(address)]
    }

    fn opened(&mut self, now: Millis) -> Vec<Effect> {
        let State::Dialling { address } = &self.state else { return Vec::new() };
        self.unanswered = 0;
        self.state = State::Greeting { address: address.clone(), since: now };
        vec![Effect::Greet]
    }

    fn broke(&mut self, now: Millis, reason: String) -> Vec<Effect> {
        let Some(address) = self.address() else { return Vec::new() };
        let warning = Warning::Broke { address: address.to_owned(), reason };
        self.unanswered += usize::from(matches!(self.state, State::Dialling { .. }));
        let mut effects = self.give_up(now, warning);
        // Nobody is there who could have the targets taken over.
        if self.leaving.is_some() && self.unanswered >= self.masters.len() {
            effects.extend(self.end());
        }
        effects
    }

    /// The stream is of no use any more.
    fn give_up(&mut self, now: Millis, warning: Warning) -> Vec<Effect> {
        let joined = matches!(self.state, State::Joined(_));
        self.failed_dials += usize::from(!joined);
        // A master that was joined lately is the first to try again: it may only have been restarted.
        if joined && let Some(at) = self.masters.iter().position(|known| Some(&**known) == self.address()) {
            self.next = at;
        }
        let wait = match self.hint.is_some() && self.hints <= HINTS {
            true => Duration::ZERO,
            // Its targets wait for somebody else.
            false if self.leaving.is_some() => LEAVING_PAUSE,
            false => {
                self.hints = 0;
                self.backoff.next()
            }
        };
        self.state = State::Apart { until: now + millis(wait) };
        let mut effects = vec![Effect::Warn(warning), Effect::Close];
        if joined {
            self.clock = ClockOffset::default();
            effects.push(Effect::Part);
        }
        effects
    }

    fn heard(&mut self, now: Millis, message: FromMaster) -> Vec<Effect> {
        let Some(address) = self.address().map(str::to_owned) else { return Vec::new() };
        if let State::Joined(member) = &mut self.state {
            member.heard = now;
        }
        let unexpected = |what| vec![Effect::Warn(Warning::Unexpected { address: address.clone(), what })];
        let joined = matches!(self.state, State::Joined(_));
        match message.kind {
            Some(from_master::Kind::Welcome(welcome)) if !joined => self.welcomed(now, address, welcome),
            Some(from_master::Kind::Rejected(rejected)) => self.rejected(now, address, rejected),
            Some(from_master::Kind::Welcome(_)) => unexpected("a second Welcome"),
            Some(_) if !joined => unexpected("an order before Welcome"),
            Some(from_master::Kind::Configuration(configuration)) => vec![Effect::Configure(configuration)],
            Some(from_master::Kind::Assign(assign)) => vec![Effect::Adopt(assign)],
            Some(from_master::Kind::Release(release)) => vec![Effect::Release(release)],
            Some(from_master::Kind::Remove(remove)) => vec![Effect::Remove(remove)],
            Some(from_master::Kind::Jobs(jobs)) => vec![Effect::Note(jobs)],
            Some(from_master::Kind::Beat(beat)) => self.beat(now, address, &beat),
            // Of a later version.
            None => Vec::new(),
        }
    }

    fn welcomed(&mut self, now: Millis, address: String, welcome: Welcome) -> Vec<Effect> {
        if welcome.epoch < self.epoch {
            let warning = Warning::Deposed { address, epoch: welcome.epoch, obeyed: self.epoch };
            return self.give_up(now, warning);
        }
        if !(PROTOCOL_MIN..=PROTOCOL_MAX).contains(&welcome.protocol) {
            let reason = format!("it speaks protocol {}, which this version does not", welcome.protocol);
            return self.give_up(now, Warning::Rejected { address, reason });
        }
        self.epoch = welcome.epoch;
        (self.hint, self.hints) = (None, 0);
        self.backoff.reset();
        let lease = welcome.lease_millis.clamp(LEASE_BOUNDS.0, LEASE_BOUNDS.1);
        let mut member =
            Membership { address, lease, heard: now, next_beat: now, sequence: 0, beats: VecDeque::new() };
        let first_beat = member.beat(now, self.leaving.is_some());
        self.state = State::Joined(member);
        let mut effects = vec![Effect::Join(welcome), first_beat];
        effects.extend(self.leaving.map(|end| Effect::Leave { grace: Duration::from_millis(end - now) }));
        effects
    }

    fn rejected(&mut self, now: Millis, address: String, rejected: Rejected) -> Vec<Effect> {
        if rejected.reason() != RejectReason::NotLeader {
            let taken = rejected.reason() == RejectReason::NameTaken;
            let mut effects = self.give_up(now, Warning::Rejected { address, reason: rejected.message });
            effects.extend(taken.then_some(Effect::NameTaken));
            return effects;
        }
        let leader = Some(rejected.leader).filter(|leader| !leader.is_empty() && *leader != address);
        self.hint.clone_from(&leader);
        self.hints += u32::from(leader.is_some());
        self.give_up(now, Warning::NotLeader { address, leader })
    }

    /// One that has a master stays with it: it hears from there when that is no longer right.
    fn leads(&mut self, address: String) -> Vec<Effect> {
        match self.state {
            State::Apart { .. } => {
                self.hint = Some(address);
                self.dial()
            }
            State::Dialling { .. } | State::Greeting { .. } => {
                self.hint = Some(address);
                Vec::new()
            }
            State::Joined(_) | State::Ended => Vec::new(),
        }
    }

    fn beat(&mut self, now: Millis, address: String, beat: &Beat) -> Vec<Effect> {
        let State::Joined(member) = &mut self.state else { return Vec::new() };
        if !beat.leading {
            return self.give_up(now, Warning::NotLeader { address, leader: None });
        }
        while let Some((sequence, sent)) = member.beats.pop_front() {
            if sequence == beat.sequence {
                self.clock.measure(now - sent, beat);
            }
            if sequence >= beat.sequence {
                break;
            }
        }
        vec![Effect::Heard { sequence: beat.sequence }]
    }

    fn stop(&mut self, now: Millis, grace: Duration) -> Vec<Effect> {
        if self.leaving.is_some() {
            return Vec::new();
        }
        match &mut self.state {
            State::Joined(member) if !grace.is_zero() => {
                self.leaving = Some(now + millis(grace));
                member.next_beat = member.next_beat.min(now + LEAVING_BEAT);
                vec![Effect::Leave { grace }]
            }
            // Nobody takes anything over.
            _ => self.end(),
        }
    }

    fn end(&mut self) -> Vec<Effect> {
        self.state = State::Ended;
        vec![Effect::End]
    }

    fn address(&self) -> Option<&str> {
        match &self.state {
            State::Dialling { address } | State::Greeting { address, .. } => Some(address),
            State::Joined(member) => Some(&member.address),
            State::Apart { .. } | State::Ended => None,
        }
    }
}

impl Membership {
    fn beat(&mut self, now: Millis, leaving: bool) -> Effect {
        self.sequence += 1;
        // At least three times in a lease, even if one comes late.
        let pause = self.lease / 4;
        self.next_beat = now + if leaving { pause.min(LEAVING_BEAT) } else { pause };
        self.beats.push_back((self.sequence, now));
        if self.beats.len() > ROUND_TRIPS {
            self.beats.pop_front();
        }
        Effect::Beat { sequence: self.sequence }
    }
}

/// How far the master's clock is ahead, by the shortest of the latest round trips.
#[derive(Debug, Default)]
struct ClockOffset {
    /// Round trip and offset, milliseconds.
    measured: VecDeque<(u64, i64)>,
}

impl ClockOffset {
    fn measure(&mut self, round_trip: u64, beat: &Beat) {
        let half = i64::try_from(round_trip / 2).unwrap_or(i64::MAX / 2);
        let here = beat.worker_millis.saturating_add(half);
        self.measured.push_back((round_trip, beat.now_millis.saturating_sub(here)));
        if self.measured.len() > ROUND_TRIPS {
            self.measured.pop_front();
        }
    }

    fn offset(&self) -> Option<i64> {
        self.measured.iter().min_by_key(|(round_trip, _)| *round_trip).map(|(_, offset)| *offset)
    }
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX / 4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn session(masters: &[&str], epoch: u64) -> Session {
        Session::new(masters.iter().map(|master| (*master).to_owned()).collect(), epoch, Backoff::seeded(7))
    }

    fn message(kind: from_master::Kind) -> Event {
        Event::Heard(FromMaster { kind: Some(kind) })
    }

    fn welcome(epoch: u64) -> Event {
        let welcome = Welcome { epoch, protocol: 1, lease_millis: 10_000, ..Welcome::default() };
        message(from_master::Kind::Welcome(welcome))
    }

    fn not_leader(leader: &str) -> Event {
        let rejected =
            Rejected { reason: RejectReason::NotLeader.into(), leader: leader.into(), ..Rejected::default() };
        message(from_master::Kind::Rejected(rejected))
    }

    fn answer(sequence: u64, worker_millis: i64, now_millis: i64, leading: bool) -> Event {
        message(from_master::Kind::Beat(Beat { sequence, worker_millis, now_millis, leading }))
    }

    /// Waits until the next master is dialled; returns which and when.
    fn next_dial(session: &mut Session, now: Millis) -> (String, Millis) {
        let at = session.wake_at().unwrap().max(now);
        match session.step(at, Event::Due).as_slice() {
            [Effect::Dial(address)] => (address.clone(), at),
            other => panic!("{other:?}"),
        }
    }

    fn join(session: &mut Session, now: Millis, epoch: u64) -> Millis {
        let (_, now) = next_dial(session, now);
        assert_eq!(session.step(now, Event::Opened), [Effect::Greet]);
        let effects = session.step(now, welcome(epoch));
        assert!(matches!(effects[..], [Effect::Join(_), Effect::Beat { sequence: 1 }]), "{effects:?}");
        now
    }

    #[test]
    fn masters_are_tried_in_turn_with_growing_pauses() {
        let mut session = session(&["a", "b"], 0);
        let (mut now, mut dialled) = (0, Vec::new());
        for attempt in 0..12 {
            let before = now;
            let (address, at) = next_dial(&mut session, now);
            assert!(attempt > 0 || at == 0);
            assert!(at - before <= 5_000, "never longer than five seconds");
            assert!(attempt == 0 || at - before >= 200, "never at once");
            dialled.push(address);
            now = at;
            session.step(now, Event::Broke("refused".into()));
            assert_eq!(session.failed_dials(), attempt + 1);
        }
        assert_eq!(dialled.concat(), "abababababab");
    }

    #[test]
    fn the_leader_is_followed_at_once_but_not_in_circles() {
        let mut session = session(&["a", "b"], 0);
        let (mut now, mut dialled) = (0, String::new());
        let mut pauses = 0;
        for _ in 0..10 {
            let (address, at) = next_dial(&mut session, now);
            pauses += u32::from(at > now);
            now = at;
            session.step(now, Event::Opened);
            // Each names the other.
            session.step(now, not_leader(if address == "a" { "b" } else { "a" }));
            dialled.push_str(&address);
        }
        assert!(dialled.starts_with("abab"), "{dialled}");
        assert!(pauses >= 2, "{dialled}");
        // One that is not in the list is followed, too.
        let (_, at) = next_dial(&mut session, now);
        session.step(at, Event::Opened);
        session.step(at, not_leader("c"));
        let (address, _) = next_dial(&mut session, at);
        assert!(address == "c" || pauses > 0);
    }

    #[test]
    fn a_leader_of_the_past_is_not_obeyed() {
        let mut session = session(&["a", "b"], 0);
        let now = join(&mut session, 0, 7);
        session.step(now, Event::Broke("killed".into()));
        let (address, now) = next_dial(&mut session, now);
        assert_eq!(address, "a", "the last one is the first to be tried again");
        session.step(now, Event::Opened);
        let effects = session.step(now, welcome(6));
        let deposed = Warning::Deposed { address, epoch: 6, obeyed: 7 };
        assert_eq!(effects, [Effect::Warn(deposed), Effect::Close]);
        // What it sends nevertheless is not heard.
        assert_eq!(session.step(now, message(from_master::Kind::Remove(Remove::default()))), []);
        let now = join(&mut session, now, 7);
        assert_eq!(session.epoch(), 7);
        session.step(now, Event::Broke("killed".into()));
        join(&mut session, now, 9);
        assert_eq!(session.epoch(), 9);
    }

    #[test]
    fn one_that_no_longer_leads_is_left() {
        let mut session = session(&["a"], 0);
        let now = join(&mut session, 0, 1);
        let effects = session.step(now + 5, answer(1, 0, 0, false));
        assert!(matches!(
            effects[..],
            [Effect::Warn(Warning::NotLeader { .. }), Effect::Close, Effect::Part]
        ));
    }

    #[test]
    fn heartbeats_come_four_times_a_lease_and_silence_ends_the_stream() {
        let mut session = session(&["a"], 0);
        let now = join(&mut session, 0, 1);
        let mut beats = Vec::new();
        loop {
            let at = session.wake_at().unwrap();
            match session.step(at, Event::Due).as_slice() {
                [Effect::Beat { sequence }] => beats.push((at - now, *sequence)),
                [Effect::Warn(Warning::Silent { silent_millis, .. }), Effect::Close, Effect::Part] => {
                    assert_eq!(*silent_millis, 10_000);
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(beats, [(2_500, 2), (5_000, 3), (7_500, 4)]);
        // A greeting without an answer ends, too.
        let (_, now) = next_dial(&mut session, 0);
        session.step(now, Event::Opened);
        assert_eq!(session.wake_at(), Some(now + GREETING));
        let effects = session.step(now + GREETING, Event::Due);
        assert!(matches!(effects[..], [Effect::Warn(Warning::Silent { .. }), Effect::Close]));
    }

    #[test]
    fn the_clock_is_measured_by_the_shortest_round_trip() {
        let mut session = session(&["a"], 0);
        let now = join(&mut session, 0, 1);
        assert_eq!(session.clock_offset(), None);
        // Sent at 1_000 by the worker's clock; the master is 600 s ahead; the way there takes long.
        session.step(now + 900, answer(1, 1_000, 601_880, true));
        assert_eq!(session.clock_offset(), Some(600_430));
        session.step(now + 2_500, Event::Due);
        let effects = session.step(now + 2_520, answer(2, 3_500, 603_510, true));
        assert_eq!(effects, [Effect::Heard { sequence: 2 }]);
        assert_eq!(session.clock_offset(), Some(600_000));
        // An answer to what was never asked is no measurement.
        session.step(now + 2_521, answer(77, 0, 0, true));
        assert_eq!(session.clock_offset(), Some(600_000));
    }

    #[test]
    fn orders_are_taken_only_from_a_fleet_that_was_joined() {
        let mut session = session(&["a"], 0);
        let (_, now) = next_dial(&mut session, 0);
        session.step(now, Event::Opened);
        let effects = session.step(now, message(from_master::Kind::Assign(Assign::default())));
        assert!(matches!(effects[..], [Effect::Warn(Warning::Unexpected { .. })]));
        session.step(now, welcome(1));
        let effects = session.step(now, message(from_master::Kind::Assign(Assign::default())));
        assert_eq!(effects, [Effect::Adopt(Assign::default())]);
        assert_eq!(session.step(now, Event::Heard(FromMaster { kind: None })), []);
    }

    #[test]
    fn a_worker_that_leaves_hands_over_until_it_has_nothing_or_its_time_is_up() {
        for (name, empty_after, lost) in
            [("empty", Some(40), false), ("late", None, false), ("lost", None, true)]
        {
            let mut session = session(&["a"], 0);
            let now = join(&mut session, 0, 1);
            let grace = Duration::from_secs(2);
            assert_eq!(session.step(now, Event::Stop { grace }), [Effect::Leave { grace }]);
            if lost {
                session.step(now, Event::Broke("gone".into()));
                let (_, at) = next_dial(&mut session, now);
                session.step(at, Event::Opened);
                let effects = session.step(at, welcome(2));
                let left = Duration::from_millis(now + 2_000 - at);
                assert_eq!(effects.last(), Some(&Effect::Leave { grace: left }), "{name}");
            }
            let end = match empty_after {
                Some(after) => session.step(now + after, Event::Empty),
                None => session.step(now + 2_000, Event::Due),
            };
            assert_eq!(end, [Effect::End], "{name}");
            assert_eq!(session.wake_at(), None);
        }
        // One whose masters have all gone meanwhile does not wait for them.
        let masters = ["a", "b"].map(str::to_owned).to_vec();
        let mut session = Session::new(masters, 0, Backoff::seeded(7));
        let now = join(&mut session, 0, 1);
        session.step(now, Event::Stop { grace: Duration::from_secs(60) });
        session.step(now, Event::Broke("gone".into()));
        let (_, now) = next_dial(&mut session, now);
        let effects = session.step(now, Event::Broke("refused".into()));
        assert_ne!(effects.last(), Some(&Effect::End));
        let (_, now) = next_dial(&mut session, now);
        let effects = session.step(now, Event::Broke("refused".into()));
        assert_eq!(effects.last(), Some(&Effect::End));
        // Without a master there is nobody to hand over to.
        let mut session = Session::new(vec!["a".to_owned()], 0, Backoff::seeded(7));
        let grace = Duration::from_secs(2);
        assert_eq!(session.step(0, Event::Stop { grace }), [Effect::End]);
    }

    proptest! {
        /// Whatever comes in whatever order: no order of a fleet that was not joined, no obedience to a lower epoch, and
        /// always something to wait for until the end.
        #[test]
        fn no_order_of_events_confuses_it(events in prop::collection::vec((0u8..9, 0u64..5_000, 0u64..4), 0..200)) {
            let mut session = session(&["a", "b", "c"], 0);
            let (mut now, mut joined, mut dialling, mut highest) = (0, false, false, 0);
            for (kind, later, number) in events {
                now += later;
                let event = match kind {
                    0 | 1 => Event::Due,
                    2 => Event::Opened,
                    3 => Event::Broke("broke".into()),
                    4 | 5 => welcome(number),
                    6 => not_leader(["", "a", "b", "d"][number as usize]),
                    7 => answer(number, 0, 0, number != 3),
                    _ => message(from_master::Kind::Assign(Assign::default())),
                };
                for effect in session.step(now, event) {
                    match effect {
                        Effect::Dial(_) => {
                            prop_assert!(!joined && !dialling);
                            dialling = true;
                        }
                        Effect::Close => (joined, dialling) = (false, false),
                        Effect::Join(welcome) => {
                            prop_assert!(welcome.epoch >= highest && !joined);
                            (joined, dialling, highest) = (true, false, welcome.epoch);
                        }
                        Effect::Beat { .. } | Effect::Adopt(_) => prop_assert!(joined),
                        _ => {}
                    }
                }
                prop_assert!(session.wake_at().is_some() || dialling);
            }
        }
    }
}
