//! The protocol as tables: what happened, and what the machine wants next.

use std::time::Duration;

use super::*;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A machine and its clock, driven by hand.
struct Bench {
    machine: Machine,
    now: Duration,
}

impl Bench {
    fn new() -> Self {
        Self {
            machine: Machine::new(WatchPolicy::default(), Listing::default(), Random::seeded(42)),
            now: Duration::ZERO,
        }
    }

    /// Synced by a streamed list at version 100, watching.
    fn watching() -> Self {
        let mut bench = Self::new();
        bench.go();
        bench.step(Event::Opened);
        bench.step(Event::Bookmark { version: "100", initial_events_end: true });
        assert_eq!(bench.machine.phase(), WatchPhase::Watching);
        bench
    }

    fn step(&mut self, event: Event<'_>) -> Vec<Effect> {
        self.machine.step(event, self.now)
    }

    fn go(&mut self) -> Vec<Effect> {
        self.step(Event::Go)
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    fn changed(&mut self, version: &str) -> Vec<Effect> {
        self.step(Event::Changed { change: WatchChange::Upsert, version })
    }

    fn refused(&mut self, code: u16) -> Vec<Effect> {
        self.step(Event::Refused(&Refusal { code, ..Refusal::default() }))
    }

    /// Steps through whatever was asked until a pause, and returns how long that is and what follows it.
    fn fail_and_go(&mut self, event: Event<'_>) -> (Duration, Ask) {
        let effects = self.step(event);
        let delay = wait_of(&effects);
        self.now += delay;
        (delay, ask_of(&self.go()))
    }
}

fn wait_of(effects: &[Effect]) -> Duration {
    effects
        .iter()
        .find_map(|effect| if let Effect::Wait(delay) = effect { Some(*delay) } else { None })
        .unwrap_or_else(|| panic!("no pause in {effects:?}"))
}

fn ask_of(effects: &[Effect]) -> Ask {
    effects
        .iter()
        .find_map(|effect| if let Effect::Ask(ask) = effect { Some(ask.clone()) } else { None })
        .unwrap_or_else(|| panic!("no request in {effects:?}"))
}

fn relists(effects: &[Effect]) -> Vec<RelistReason> {
    effects
        .iter()
        .filter_map(|effect| if let Effect::CountRelist(reason) = effect { Some(*reason) } else { None })
        .collect()
}

fn is_watch_from(ask: &Ask, expected: &str) -> bool {
    matches!(ask, Ask::Watch { version, .. } if version == expected)
}

fn is_cache_list(ask: &Ask) -> bool {
    matches!(ask, Ask::List { version: ListVersion::Any | ListVersion::NotOlderThan(_), limit: None, .. })
}

fn is_page(ask: &Ask, token: &str) -> bool {
    matches!(
        ask,
        Ask::List { version: ListVersion::Consistent, limit: Some(500), continue_token } if continue_token == token
    )
}

#[test]
fn a_streamed_list_becomes_the_watch_on_the_same_stream() {
    let mut bench = Bench::new();
    let Ask::StreamedList { timeout } = ask_of(&bench.go()) else { panic!("not streamed") };
    assert!((seconds(300)..seconds(600)).contains(&timeout));
    assert_eq!(bench.step(Event::Opened), [Effect::BeginGeneration]);
    assert_eq!(bench.changed("7"), [Effect::Apply(WatchChange::Upsert)]);
    assert_eq!(bench.step(Event::Bookmark { version: "8", initial_events_end: false }), []);
    assert!(!bench.machine.synced());
    assert_eq!(bench.machine.phase(), WatchPhase::Listing);
    let end = Event::Bookmark { version: "9", initial_events_end: true };
    assert_eq!(bench.step(end), [Effect::CommitGeneration]);
    assert!(bench.machine.synced());
    assert_eq!(bench.machine.version(), "9");
    let deleted = Event::Changed { change: WatchChange::Delete, version: "11" };
    assert_eq!(bench.step(deleted), [Effect::Apply(WatchChange::Delete)]);
    assert_eq!(bench.machine.version(), "11");
}

#[test]
fn a_server_without_streamed_lists_is_asked_for_a_plain_one_at_once() {
    for code in [400, 405, 406, 415, 422, 501] {
        let mut bench = Bench::new();
        bench.go();
        let ask = ask_of(&bench.refused(code));
        assert_eq!(
            ask,
            Ask::List { version: ListVersion::Any, limit: None, continue_token: String::new() },
            "{code}"
        );
        assert_eq!(bench.step(Event::Opened), [Effect::BeginGeneration]);
        assert_eq!(bench.step(Event::Listed), [Effect::Apply(WatchChange::Upsert)]);
        let effects = bench.step(Event::ListEnd { version: "55", continue_token: "" });
        assert_eq!(effects[0], Effect::CommitGeneration);
        assert!(is_watch_from(&ask_of(&effects), "55"));
        bench.step(Event::Opened);
        // Nor is it asked to stream when only the watch breaks.
        assert!(is_watch_from(&bench.fail_and_go(Event::Failed(Failure::Cut)).1, "55"));
    }
}

#[test]
fn pages_are_followed_within_one_generation() {
    let mut bench = Bench::new();
    bench.go();
    bench.refused(422);
    assert!(is_page(&ask_of(&bench.refused(400)), ""), "no cache: pages");
    assert_eq!(bench.step(Event::Opened), [Effect::BeginGeneration]);
    bench.step(Event::Listed);
    let next = bench.step(Event::ListEnd { version: "9", continue_token: "c1" });
    assert!(is_page(&ask_of(&next), "c1"));
    assert_eq!(bench.step(Event::Opened), [], "no second generation");
    let effects = bench.step(Event::ListEnd { version: "9", continue_token: "" });
    assert_eq!(effects[0], Effect::CommitGeneration);
    assert!(is_watch_from(&ask_of(&effects), "9"));
}

#[test]
fn an_expired_continue_token_starts_a_new_generation() {
    let mut bench = Bench::new();
    bench.go();
    bench.refused(422);
    bench.refused(400);
    bench.step(Event::Opened);
    bench.step(Event::ListEnd { version: "9", continue_token: "c1" });
    let effects = bench.refused(410);
    assert_eq!(relists(&effects), [RelistReason::Incomplete]);
    bench.after(wait_of(&effects));
    bench.go();
    assert_eq!(bench.step(Event::Opened), [Effect::BeginGeneration]);
}

#[test]
fn a_streamed_list_that_never_ends_is_replaced_by_a_plain_one() {
    let mut bench = Bench::new();
    bench.go();
    bench.step(Event::Opened);
    let policy = WatchPolicy::default();
    assert_eq!(bench.machine.deadline(), Some(policy.list_idle));
    for _ in 0..40 {
        bench.after(seconds(20)).changed("5");
    }
    assert_eq!(bench.machine.deadline(), Some(policy.stream_deadline), "even where events keep coming");
    let (_, ask) = bench.fail_and_go(Event::Failed(Failure::Idle));
    assert!(is_cache_list(&ask), "{ask:?}");
    bench.step(Event::Opened);
    bench.step(Event::ListEnd { version: "9", continue_token: "" });
    assert_eq!(bench.machine.phase(), WatchPhase::Watching);
}

#[test]
fn lists_that_fail_midway_escalate_from_stream_to_cache_to_pages() {
    let mut bench = Bench::new();
    let mut ask = ask_of(&bench.go());
    let mut seen = Vec::new();
    for _ in 0..8 {
        seen.push(match &ask {
            Ask::StreamedList { .. } => 's',
            ask if is_cache_list(ask) => 'c',
            ask if is_page(ask, "") => 'p',
            other => panic!("{other:?}"),
        });
        assert_eq!(bench.step(Event::Opened), [Effect::BeginGeneration]);
        ask = bench.fail_and_go(Event::Failed(Failure::Cut)).1;
    }
    assert_eq!(seen.iter().collect::<String>(), "ssscccpp");
}

#[test]
fn a_server_that_is_down_does_not_change_how_it_is_listed() {
    let mut bench = Bench::new();
    bench.go();
    for _ in 0..50 {
        let (delay, ask) = bench.fail_and_go(Event::Failed(Failure::Connect));
        assert!(delay <= seconds(30));
        assert!(matches!(ask, Ask::StreamedList { .. }), "{ask:?}");
    }
}

#[test]
fn a_broken_watch_resumes_from_the_last_event_and_never_lists() {
    let failures = [Failure::Cut, Failure::Connect, Failure::Idle, Failure::HalfFrame];
    for failure in failures {
        let mut bench = Bench::watching();
        for round in 0..20u32 {
            let version = format!("{}", 101 + round);
            bench.changed(&version);
            let effects = bench.step(Event::Failed(failure));
            assert_eq!(relists(&effects), []);
            let delay = wait_of(&effects);
            assert!(delay <= seconds(5), "{failure:?}: {delay:?}");
            bench.after(delay);
            assert!(is_watch_from(&ask_of(&bench.go()), &version));
            bench.step(Event::Opened);
        }
    }
}

#[test]
fn a_bookmark_moves_the_version_that_a_watch_resumes_from() {
    let mut bench = Bench::watching();
    bench.changed("105");
    bench.step(Event::Bookmark { version: "400", initial_events_end: false });
    assert!(is_watch_from(&bench.fail_and_go(Event::Failed(Failure::Cut)).1, "400"));
}

#[test]
fn a_watch_that_ends_at_its_time_goes_on_at_once_and_one_that_ends_early_backs_off() {
    let mut bench = Bench::watching();
    bench.after(seconds(600));
    let effects = bench.step(Event::Ended);
    assert_eq!(effects[0], Effect::CountReconnect(ReconnectReason::Ended));
    assert!(is_watch_from(&ask_of(&effects), "100"));
    let mut longest = Duration::ZERO;
    for _ in 0..50 {
        bench.step(Event::Opened);
        longest = longest.max(bench.fail_and_go(Event::Ended).0);
    }
    assert!(longest > seconds(10), "a server that ends every watch at once is not hammered: {longest:?}");
}

#[test]
fn only_410_lists_again_by_http_status_or_error_event() {
    for opened in [false, true] {
        let mut bench = Bench::watching();
        bench.after(seconds(60)).fail_and_go(Event::Failed(Failure::Cut));
        if opened {
            bench.step(Event::Opened);
        }
        let effects = bench.refused(410);
        assert_eq!(relists(&effects), [RelistReason::Expired]);
        assert!(wait_of(&effects) <= seconds(3));
        bench.after(wait_of(&effects));
        assert!(matches!(ask_of(&bench.go()), Ask::StreamedList { .. }));
        assert!(bench.machine.synced(), "the rows of the list before stay valid");
        assert_eq!(bench.step(Event::Opened), [Effect::BeginGeneration]);
    }
}

#[test]
fn a_list_after_410_from_the_cache_is_not_older_than_what_is_known() {
    let mut bench = Bench::watching();
    let effects = bench.refused(410);
    bench.after(wait_of(&effects));
    bench.go();
    let ask = ask_of(&bench.refused(422));
    let expected = ListVersion::NotOlderThan("100".to_owned());
    assert_eq!(ask, Ask::List { version: expected, limit: None, continue_token: String::new() });
}

#[test]
fn retry_after_is_obeyed_and_spread_and_capped() {
    for (asked, code) in [(1, 429), (7, 429), (3, 503), (3600, 429)] {
        let mut bench = Bench::watching();
        let retry_after = Some(seconds(asked));
        let refusal = Refusal { code, retry_after, ..Refusal::default() };
        let effects = bench.step(Event::Refused(&refusal));
        let delay = wait_of(&effects);
        let least = seconds(asked).min(seconds(120));
        assert!(delay >= least && delay <= least.mul_f64(1.25) + seconds(1), "{asked}: {delay:?}");
        bench.after(delay);
        assert!(is_watch_from(&ask_of(&bench.go()), "100"));
    }
    // The same while listing, and it does not count against the streamed list.
    let mut bench = Bench::new();
    bench.go();
    for _ in 0..30 {
        let refusal = Refusal { code: 429, retry_after: Some(seconds(1)), ..Refusal::default() };
        let (delay, ask) = bench.fail_and_go(Event::Refused(&refusal));
        assert!(delay >= seconds(1) && delay <= seconds(6), "{delay:?}");
        assert!(matches!(ask, Ask::StreamedList { .. }));
    }
}

#[test]
fn refused_credentials_are_loaded_anew() {
    for mut bench in [Bench::watching(), Bench::new()] {
        if bench.machine.phase() == WatchPhase::Starting {
            bench.go();
        }
        let effects = bench.refused(401);
        assert!(effects.contains(&Effect::ReloadCredentials), "{effects:?}");
        assert!(wait_of(&effects) <= seconds(30));
    }
}

#[test]
fn what_is_forbidden_or_not_served_is_asked_again_slowly() {
    for (code, phase) in [(403, WatchPhase::Forbidden), (404, WatchPhase::NotServed)] {
        let mut bench = Bench::new();
        bench.go();
        // A server that has just started may say so of everything.
        for _ in 0..3 {
            let (delay, _) = bench.fail_and_go(Event::Refused(&Refusal { code, ..Refusal::default() }));
            assert!(delay <= seconds(5));
        }
        for _ in 0..5 {
            let effects = bench.refused(code);
            assert_eq!(bench.machine.phase(), phase);
            let delay = wait_of(&effects);
            assert!((seconds(30)..seconds(60)).contains(&delay));
            bench.after(delay);
            assert!(matches!(ask_of(&bench.go()), Ask::StreamedList { .. }));
        }
        bench.step(Event::Opened);
        bench.step(Event::Bookmark { version: "3", initial_events_end: true });
        assert!(bench.machine.synced());
        bench.after(seconds(60)).fail_and_go(Event::Failed(Failure::Cut));
        let (delay, ask) = bench.fail_and_go(Event::Refused(&Refusal { code, ..Refusal::default() }));
        assert!(delay <= seconds(5) && is_watch_from(&ask, "3"));
    }
}

#[test]
fn garbage_resumes_and_only_repeated_garbage_at_one_version_lists_again() {
    for failure in [Failure::Garbage, Failure::Oversize] {
        let mut bench = Bench::watching();
        for _ in 0..10 {
            for _ in 0..2 {
                let effects = bench.step(Event::Failed(failure));
                assert_eq!(relists(&effects), []);
                bench.after(wait_of(&effects));
                bench.go();
                bench.step(Event::Opened);
            }
            let version = format!("{}", bench.machine.version().parse::<u64>().unwrap() + 1);
            bench.changed(&version);
        }
        for _ in 0..2 {
            bench.fail_and_go(Event::Failed(failure));
            bench.step(Event::Opened);
        }
        assert_eq!(relists(&bench.step(Event::Failed(failure))), [RelistReason::Undecodable]);
    }
}

#[test]
fn silence_counts_only_where_the_server_has_shown_that_it_breaks_it() {
    let policy = WatchPolicy::default();
    let mut bench = Bench::watching();
    let opened = bench.now;
    let bookmark = |bench: &mut Bench, version: &str| {
        bench.step(Event::Bookmark { version, initial_events_end: false });
    };
    // A quiet resource whose server sends no bookmarks: only its own timeout ends the watch.
    let end = bench.machine.deadline().unwrap();
    assert!(end >= opened + policy.watch_timeout + policy.watch_grace);
    bench.after(seconds(60));
    bookmark(&mut bench, "101");
    bench.changed("102");
    bench.after(seconds(60));
    bookmark(&mut bench, "103");
    assert_eq!(bench.machine.deadline(), Some(end), "bookmarks that follow events prove nothing");
    bench.after(seconds(60));
    bookmark(&mut bench, "104");
    assert_eq!(bench.machine.deadline(), Some(bench.now + seconds(150)), "2.5 times the longest gap");
    let effects = bench.after(seconds(150)).step(Event::Failed(Failure::Idle));
    assert_eq!(effects[0], Effect::CountReconnect(ReconnectReason::Idle));
    bench.after(wait_of(&effects));
    assert!(is_watch_from(&ask_of(&bench.go()), "104"));
}

#[test]
fn versions_that_go_backwards_mean_another_history() {
    let mut bench = Bench::watching();
    bench.changed("200");
    let effects = bench.changed("150");
    assert_eq!(relists(&effects), [RelistReason::VersionReset]);
    bench.after(wait_of(&effects));
    bench.go();
    let ask = ask_of(&bench.refused(422));
    assert_eq!(
        ask,
        Ask::List { version: ListVersion::Any, limit: None, continue_token: String::new() },
        "nothing newer than a version of the other history can be asked for"
    );
}

#[test]
fn a_replica_that_lags_is_waited_for_and_one_that_never_catches_up_is_listed() {
    let mut bench = Bench::watching();
    bench.fail_and_go(Event::Failed(Failure::Cut));
    let refusal = Refusal { code: 504, retry_after: Some(seconds(1)), version_too_large: true };
    for _ in 0..7 {
        let (_, ask) = bench.fail_and_go(Event::Refused(&refusal));
        assert!(is_watch_from(&ask, "100"));
    }
    let effects = bench.step(Event::Refused(&refusal));
    assert_eq!(relists(&effects), [RelistReason::VersionReset]);
}

#[test]
fn a_healthy_watch_makes_earlier_failures_forgotten() {
    let mut bench = Bench::watching();
    for _ in 0..30 {
        bench.fail_and_go(Event::Failed(Failure::Connect));
    }
    bench.step(Event::Opened);
    bench.after(seconds(5));
    let (delay, _) = bench.fail_and_go(Event::Failed(Failure::Cut));
    assert!(delay < Duration::from_millis(800), "{delay:?}");
}

#[test]
fn a_list_without_a_version_cannot_be_watched_from() {
    let mut bench = Bench::new();
    bench.go();
    bench.refused(422);
    bench.step(Event::Opened);
    let effects = bench.step(Event::ListEnd { version: "0", continue_token: "" });
    assert!(matches!(effects.last(), Some(Effect::Wait(_))), "{effects:?}");
    assert!(!bench.machine.synced());
}

#[test]
fn every_state_answers_every_event_with_a_way_on() {
    let refusal = |code| Refusal { code, ..Refusal::default() };
    let refusals: Vec<_> = [200, 400, 401, 403, 404, 410, 422, 429, 500, 503, 504].map(refusal).into();
    let mut events = vec![
        Event::Go,
        Event::Opened,
        Event::Listed,
        Event::ListEnd { version: "9", continue_token: "" },
        Event::ListEnd { version: "", continue_token: "" },
        Event::ListEnd { version: "9", continue_token: "c" },
        Event::Changed { change: WatchChange::Upsert, version: "9" },
        Event::Changed { change: WatchChange::Delete, version: "" },
        Event::Bookmark { version: "9", initial_events_end: false },
        Event::Bookmark { version: "", initial_events_end: true },
        Event::Bookmark { version: "9", initial_events_end: true },
        Event::Ended,
    ];
    for failure in [
        Failure::Connect,
        Failure::Cut,
        Failure::HalfFrame,
        Failure::Idle,
        Failure::Garbage,
        Failure::Oversize,
    ] {
        events.push(Event::Failed(failure));
    }
    events.extend(refusals.iter().map(Event::Refused));
    let mut random = Random::seeded(3);
    let mut bench = Bench::new();
    let mut begun = false;
    for _ in 0..200_000 {
        let event = events[(random.fraction() * events.len() as f64) as usize].clone();
        for effect in bench.after(Duration::from_millis(100)).step(event) {
            match effect {
                Effect::BeginGeneration => begun = true,
                Effect::CommitGeneration => {
                    assert!(begun, "a commit without a begin");
                    begun = false;
                }
                Effect::Wait(delay) => assert!(delay <= seconds(200), "{delay:?}"),
                _ => {}
            }
        }
        assert_ne!(bench.machine.state, State::Idle, "the machine stands still");
    }
}
