//! Tasks, readiness, ordered shutdown, signals.

use std::sync::Arc;
use std::time::Duration;

use outrigger_rt::signal::{Signal, Signals};
use outrigger_rt::supervisor::{Phase, Supervisor, TaskEnd};
use parking_lot::Mutex;

use crate::support::*;

#[tokio::test]
async fn phases_end_one_after_the_other() {
    let supervisor = Supervisor::new();
    let order: Arc<Mutex<Vec<&str>>> = Arc::default();
    for (name, phase) in [
        ("server", Phase::Last),
        ("queue", Phase::Drain),
        ("watch", Phase::Intake),
        ("scrape", Phase::Intake),
    ] {
        let order = order.clone();
        supervisor.spawn(name, phase, |stop| async move {
            stop.cancelled().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            order.lock().push(name);
        });
    }
    assert_eq!(supervisor.running().len(), 4);
    let report = supervisor.shutdown(ample(), std::future::pending()).await;
    assert!(report.aborted.is_empty() && !report.forced, "{report:?}");
    let order = order.lock().clone();
    assert_eq!(order[2..], ["queue", "server"]);
    assert!(supervisor.running().is_empty() && supervisor.failures().is_empty());
    // Too late to start anything: it is told to stop at once.
    supervisor.spawn("late", Phase::Intake, |stop| async move { stop.cancelled().await });
    eventually("the late task ends", || supervisor.running().is_empty()).await;
    assert!(supervisor.failures().is_empty());
}

#[tokio::test]
async fn tasks_that_end_early_or_panic_are_reported() {
    let supervisor = Supervisor::new();
    supervisor.spawn("returns", Phase::Intake, |_| async {});
    let failure = supervisor.failed().await;
    assert_eq!((&*failure.name, failure.reason.clone()), ("returns", TaskEnd::Returned));
    assert_eq!(failure.to_string(), "task returns ended early");
    supervisor.spawn("panics", Phase::Drain, |_| async { panic!("no such {}", "luck") });
    eventually("the panic is reported", || supervisor.failures().len() == 2).await;
    assert_eq!(supervisor.failures()[1].to_string(), "task panics panicked: no such luck");
    assert_eq!(supervisor.failed().await, failure);
    assert!(supervisor.running().is_empty());
}

#[tokio::test]
async fn what_does_not_end_is_aborted_at_the_deadline_or_by_force() {
    for forced in [false, true] {
        let supervisor = Supervisor::new();
        supervisor.spawn("stubborn", Phase::Intake, |_| std::future::pending());
        supervisor.spawn("polite", Phase::Last, |stop| async move { stop.cancelled().await });
        let deadline = if forced { ample() } else { Duration::from_millis(50) };
        let force = async move {
            if !forced {
                std::future::pending::<()>().await;
            }
        };
        let report = supervisor.shutdown(deadline, force).await;
        assert_eq!(report.forced, forced);
        assert!(report.aborted.contains(&"stubborn".into()), "{report:?}");
        eventually("everything ends", || supervisor.running().is_empty()).await;
    }
}

#[tokio::test]
async fn readiness_waits_for_everyone_and_ends_with_shutdown() {
    let supervisor = Supervisor::new();
    assert!(supervisor.is_ready());
    let (mirror, queue) = (supervisor.readiness("mirror"), supervisor.readiness("queue"));
    mirror.set(true);
    assert_eq!(supervisor.unready(), ["queue".into()]);
    queue.set(true);
    assert!(supervisor.is_ready());
    drop(supervisor.readiness("dropped before it was ready"));
    assert_eq!(supervisor.unready(), ["dropped before it was ready".into()]);
    supervisor.shutdown(ample(), std::future::pending()).await;
    assert!(supervisor.is_shutting_down() && !supervisor.is_ready());
}

#[tokio::test]
async fn signals_arrive_by_name() {
    let mut signals = Signals::new().unwrap();
    let send = |name: &str| {
        let sent =
            std::process::Command::new("kill").args(["-s", name, &std::process::id().to_string()]).status();
        assert!(sent.unwrap().success());
    };
    send("HUP");
    assert_eq!(signals.next().await, Signal::Hangup);
    send("HUP");
    send("TERM");
    assert_eq!(signals.shutdown().await, Signal::Terminate);
    assert!(Signal::Interrupt.is_shutdown() && !Signal::Hangup.is_shutdown());
}
