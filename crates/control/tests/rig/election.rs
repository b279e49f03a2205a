//! Who leads, over lost, paused and cut-off members and candidates.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use outrigger_control::election::{Election, Standing};
use outrigger_control::store::{EtcdStore, StateStore, StoreError};
use outrigger_rt::metrics::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::members::Members;
use crate::proxy::Proxy;
use crate::{candidate, eventually, left_out, put, soon, store};

const TTL: Duration = Duration::from_secs(3);

/// A master that writes as fast as it may while it leads, and counts what it was refused.
struct Master {
    name: &'static str,
    standing: watch::Receiver<Standing>,
    store: EtcdStore,
    stop: CancellationToken,
    registry: Registry,
    task: tokio::task::JoinHandle<()>,
}

impl Master {
    fn start(name: &'static str, endpoints: Vec<String>) -> Self {
        let store = store(endpoints);
        let election = Election::new(Arc::new(store.clone()) as Arc<dyn StateStore>, candidate(name), TTL);
        let (standing, stop, registry) = (election.standing(), CancellationToken::new(), Registry::new());
        election.register(&registry);
        let task = tokio::spawn(election.run(stop.clone()));
        Self { name, standing, store, stop, registry, task }
    }

    fn epoch(&self) -> Option<u64> {
        self.standing.borrow().leading_epoch()
    }

    async fn led(&mut self) -> u64 {
        let leading = self.standing.wait_for(|standing| standing.leading_epoch().is_some());
        soon(&format!("{} leads", self.name), leading).await.unwrap().leading_epoch().unwrap()
    }

    async fn not_led(&mut self) {
        let standby = self.standing.wait_for(|standing| matches!(standing, Standing::Standby { .. }));
        soon(&format!("{} is a standby", self.name), standby).await.unwrap();
    }

    /// A line of the metrics.
    fn shows(&self, line: &str) -> bool {
        self.registry.render().lines().any(|shown| shown == line)
    }

    fn leader_seen(&self) -> Option<String> {
        match &*self.standing.borrow() {
            Standing::Standby { leader } => leader.as_ref().map(|leader| leader.name.to_string()),
            Standing::Leading { .. } => None,
        }
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// Watches all the time that no two lead at one moment, and that epochs only rise.
struct Judge {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<u64>,
}

impl Judge {
    fn over(masters: &[&Master]) -> Self {
        let standings: Vec<_> = masters.iter().map(|master| master.standing.clone()).collect();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut highest = 0;
            while !stopped.is_cancelled() {
                let leading: Vec<u64> =
                    standings.iter().filter_map(|standing| standing.borrow().leading_epoch()).collect();
                assert!(leading.len() <= 1, "two lead: {leading:?}");
                if let Some(epoch) = leading.first() {
                    assert!(*epoch >= highest, "{epoch} after {highest}");
                    highest = *epoch;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            highest
        });
        Self { stop, task }
    }

    async fn verdict(self) -> u64 {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_standby_takes_over_when_the_leader_stops_or_falls_silent() {
    if left_out("the_standby_takes_over_when_the_leader_stops_or_falls_silent") {
        return;
    }
    let members = Members::start(1).await;
    let proxy = Proxy::to(members.port(0)).await;
    let mut one = Master::start("one", vec![proxy.endpoint()]);
    let first = one.led().await;
    let mut two = Master::start("two", members.endpoints());
    let judge = Judge::over(&[&one, &two]);
    eventually("two knows one", async || two.leader_seen().as_deref() == Some("one")).await;
    // Cut off: it stops by itself, before the other one begins.
    proxy.cut();
    one.not_led().await;
    let second = two.led().await;
    assert!(second > first);
    assert!(
        two.shows(&format!("outrigger_election_epoch {second}")) && two.shows("outrigger_election_leading 1")
    );
    eventually("the loss is counted", async || one.shows("outrigger_election_lost_terms_total 1")).await;
    assert!(one.shows("outrigger_election_leading 0") && one.shows("outrigger_election_terms_total 1"));
    eventually("the store's failure is shown", async || one.shows("outrigger_store_up 0")).await;
    proxy.mend();
    eventually("one knows two", async || one.leader_seen().as_deref() == Some("two")).await;
    // In good order: at once, not after the lease.
    let started = tokio::time::Instant::now();
    two.end().await;
    let third = one.led().await;
    assert!(third > second);
    assert!(started.elapsed() < TTL, "{:?}", started.elapsed());
    assert!(judge.verdict().await >= second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_masters_never_both_write_over_partitions() {
    if left_out("two_masters_never_both_write_over_partitions") {
        return;
    }
    let members = Members::start(1).await;
    let (left, right) = (Proxy::to(members.port(0)).await, Proxy::to(members.port(0)).await);
    let masters =
        [Master::start("left", vec![left.endpoint()]), Master::start("right", vec![right.endpoint()])];
    let judge = Judge::over(&[&masters[0], &masters[1]]);
    // Each writes its epoch whenever it thinks that it leads, and goes on with an old fence, too.
    let wrote = Arc::new(AtomicU64::new(0));
    let stop = CancellationToken::new();
    let mut writers = Vec::new();
    for master in &masters {
        let (standing, store, wrote, stop) =
            (master.standing.clone(), master.store.clone(), wrote.clone(), stop.clone());
        writers.push(tokio::spawn(async move {
            let mut held = None;
            while !stop.is_cancelled() {
                if let Standing::Leading { epoch, fence, .. } = &*standing.borrow() {
                    held = Some((*epoch, fence.clone()));
                }
                // Not given up when it is deposed: only the fence stops it then.
                if let Some((epoch, fence)) = &held
                    && store.commit(Some(fence), vec![put("written", &epoch.to_string())]).await.is_ok()
                {
                    wrote.fetch_add(1, Ordering::SeqCst);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }));
    }
    // All writes in their order: the epoch never falls.
    let direct = store(members.endpoints());
    let mut watched = direct.watch("written");
    let fell = Arc::new(AtomicBool::new(false));
    let seen = fell.clone();
    let reading = tokio::spawn(async move {
        use futures_util::StreamExt as _;
        use outrigger_control::store::WatchEvent;
        let mut highest = 0;
        while let Some(event) = watched.next().await {
            if let WatchEvent::Put { value, .. } = event {
                let epoch: u64 = std::str::from_utf8(&value.value).unwrap().parse().unwrap();
                if epoch < highest {
                    seen.store(true, Ordering::SeqCst);
                }
                highest = highest.max(epoch);
            }
        }
    });
    let mut changes = 0;
    for _ in 0..4 {
        eventually("somebody leads", async || masters.iter().any(|master| master.epoch().is_some())).await;
        let leading = usize::from(masters[0].epoch().is_none());
        let (own, other) = if leading == 0 { (&left, 1) } else { (&right, 0) };
        own.cut();
        eventually("the other one leads", async || masters[other].epoch().is_some()).await;
        own.mend();
        changes += 1;
        eventually("the deposed one knows it", async || masters[leading].leader_seen().is_some()).await;
    }
    assert_eq!(changes, 4);
    assert!(wrote.load(Ordering::SeqCst) > 20, "{wrote:?}");
    assert!(!fell.load(Ordering::SeqCst), "a deposed master has written");
    stop.cancel();
    for writer in writers {
        writer.await.unwrap();
    }
    judge.verdict().await;
    reading.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_leads_on_over_lost_members_and_stops_when_all_stand_still() {
    if left_out("a_leader_leads_on_over_lost_members_and_stops_when_all_stand_still") {
        return;
    }
    let mut members = Members::start(3).await;
    let mut one = Master::start("one", members.endpoints());
    let first = one.led().await;
    let two = Master::start("two", members.endpoints());
    let judge = Judge::over(&[&one, &two]);
    // One member at a time is lost, etcd's own leader among them, or stands still for longer than the lease.
    for index in 0..3 {
        members.kill(index);
        tokio::time::sleep(TTL + TTL / 2).await;
        assert_eq!(one.epoch(), Some(first), "member {index} killed");
        members.start_member(index);
        let own = store(vec![members.endpoint(index)]);
        eventually("the member's return", async || own.get("x").await.is_ok()).await;
    }
    for index in 0..3 {
        members.pause(index);
        tokio::time::sleep(TTL + TTL / 2).await;
        assert_eq!(one.epoch(), Some(first), "member {index} paused");
        members.resume(index);
        let own = store(vec![members.endpoint(index)]);
        eventually("the member's return", async || own.get("x").await.is_ok()).await;
    }
    // All at once, longer than the lease: nobody leads, then somebody with a higher epoch.
    let Standing::Leading { fence, .. } = one.standing.borrow().clone() else { panic!("leads") };
    for index in 0..3 {
        members.pause(index);
    }
    one.not_led().await;
    assert_eq!((one.epoch(), two.epoch()), (None, None));
    tokio::time::sleep(TTL).await;
    for index in 0..3 {
        members.resume(index);
    }
    eventually("somebody leads again", async || {
        one.epoch().or(two.epoch()).is_some_and(|epoch| epoch > first)
    })
    .await;
    let error = one.store.commit(Some(&fence), vec![put("a", "1")]).await.unwrap_err();
    assert!(matches!(error, StoreError::Fenced), "{error}");
    judge.verdict().await;
    one.end().await;
    two.end().await;
}
