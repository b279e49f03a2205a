//! The masters that do not lead: each is told what the heirs of this worker's targets will need, so that whichever leads
//! when this worker dies knows it.

use std::sync::Arc;
use std::time::Duration;

use outrigger_model::fault;
use outrigger_model::target::TargetId;
use outrigger_rt::grpc::GrpcChannel;
use outrigger_rt::resolver::Resolver;
use outrigger_wire::centre::{
    FromMaster, FromWorker, Hello, KEEP_PATH, Names, RejectReason, from_master, from_worker,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::backoff::Backoff;
use super::names::NameTeller;
use super::series_sets::{Key, MadeSets, SeriesTeller};
use super::session::Millis;
use crate::scrape::{ScrapeEngine, TargetCost};

/// A master that leads, or does not know the method, is asked again after so long.
const REFUSED: Duration = Duration::from_secs(30);
/// Messages that must have room before more are made.
const ROOM: usize = 8;

/// What one master is told for the heirs.
#[derive(Debug, Default)]
pub(crate) struct ForHeirs {
    pub(crate) series: SeriesTeller,
    pub(crate) names: NameTeller,
}

impl ForHeirs {
    /// It knows nothing.
    pub(crate) fn forget(&mut self) {
        self.series.forget();
        self.names.forget();
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Keepers {
    keepers: Vec<Keeper>,
    events: mpsc::UnboundedSender<Event>,
    waiting: mpsc::UnboundedReceiver<Event>,
}

/// One.
#[derive(Debug)]
struct Keeper {
    url: String,
    /// While it has a stream.
    stream: Option<mpsc::Sender<FromWorker>>,
    heirs: ForHeirs,
    _task: AbortOnDropHandle<()>,
}

/// Something happened to a stream.
#[derive(Debug)]
pub(crate) struct Event {
    url: String,
    /// The new stream; `None` when it has ended.
    stream: Option<mpsc::Sender<FromWorker>>,
    /// It has ended since this master leads.
    leads: bool,
}

impl Event {
    /// The master, if it says that it leads.
    pub(crate) fn leader(&self) -> Option<&str> {
        self.leads.then_some(&*self.url)
    }
}

impl Default for Keepers {
    fn default() -> Self {
        let (events, waiting) = mpsc::unbounded_channel();
        Self { keepers: Vec::new(), events, waiting }
    }
}

impl Keepers {
    /// From now on these are told.
    pub(crate) fn set(&mut self, masters: Vec<(String, GrpcChannel)>, hello: &Hello) {
        self.keepers.retain(|keeper| masters.iter().any(|(url, _)| *url == keeper.url));
        for (url, channel) in masters {
            if self.keepers.iter().any(|keeper| keeper.url == url) {
                continue;
            }
            let task = tokio::spawn(keep_open(url.clone(), channel, hello.clone(), self.events.clone()));
            let heirs = ForHeirs::default();
            self.keepers.push(Keeper { url, stream: None, heirs, _task: AbortOnDropHandle::new(task) });
        }
    }

    /// The next thing that happens to a stream, for [`Keepers::note`].
    pub(crate) async fn event(&mut self) -> Event {
        match self.waiting.recv().await {
            Some(event) => event,
            // Never: a sender is kept here.
            None => std::future::pending().await,
        }
    }

    /// Takes note of it; true when there is a new stream that is to be told everything.
    pub(crate) fn note(&mut self, event: Event) -> bool {
        let Some(keeper) = self.keepers.iter_mut().find(|keeper| keeper.url == event.url) else {
            return false;
        };
        keeper.stream = event.stream;
        keeper.heirs.forget();
        keeper.stream.is_some()
    }

    /// Number of masters that are told just now.
    pub(crate) fn open(&self) -> usize {
        self.keepers.iter().filter(|keeper| keeper.stream.is_some()).count()
    }

    /// Looks for what they were not told.
    pub(crate) fn look(&mut self, costs: &[(Arc<str>, Vec<TargetCost>)]) {
        self.listening().for_each(|(_, heirs)| heirs.series.look(costs));
    }

    /// Series have changed.
    pub(crate) fn wait(&mut self, key: &Key) {
        self.listening().for_each(|(_, heirs)| heirs.series.wait(key.clone()));
    }

    /// Targets are gone.
    pub(crate) fn gone(&mut self, job: &Arc<str>, ids: &[TargetId]) {
        self.listening().for_each(|(_, heirs)| heirs.series.gone(job, ids));
    }

    /// Whether [`Keepers::tell_series`] has something to do.
    pub(crate) fn has_waiting(&self) -> bool {
        self.keepers.iter().any(|keeper| keeper.stream.is_some() && keeper.heirs.series.has_waiting())
    }

    /// Tells each as much as may be told now.
    pub(crate) fn tell_series(&mut self, engine: &ScrapeEngine, made: &mut MadeSets, now: Millis) {
        for (stream, heirs) in self.listening().filter(|(stream, _)| stream.capacity() >= ROOM) {
            for costs in heirs.series.next(engine, made, now) {
                say(stream, from_worker::Kind::Costs(costs));
            }
        }
    }

    /// Tells each the names that it does not know.
    pub(crate) fn tell_names(&mut self, resolver: &Resolver) {
        for (stream, heirs) in self.listening().filter(|(stream, _)| stream.capacity() >= ROOM) {
            let names: Option<Names> = heirs.names.next(resolver);
            names.into_iter().for_each(|names| say(stream, from_worker::Kind::Names(names)));
        }
    }

    fn listening(&mut self) -> impl Iterator<Item = (&mpsc::Sender<FromWorker>, &mut ForHeirs)> {
        self.keepers.iter_mut().filter_map(|keeper| Some((keeper.stream.as_ref()?, &mut keeper.heirs)))
    }
}

fn say(stream: &mpsc::Sender<FromWorker>, kind: from_worker::Kind) {
    // A stream that has no room or has ended in spite of the look before is told everything when it is open again.
    let _ = stream.try_send(FromWorker { kind: Some(kind) });
}

/// Keeps a stream to a master open for as long as it wants one.
async fn keep_open(url: String, channel: GrpcChannel, hello: Hello, events: mpsc::UnboundedSender<Event>) {
    let mut backoff = Backoff::from_process();
    loop {
        let began = Instant::now();
        let pause = match one_stream(&url, &channel, &hello, &events).await {
            StreamEnd::Refused(reason) => {
                tracing::debug!(master = url, reason, "a master does not keep what heirs need");
                REFUSED
            }
            StreamEnd::Broke(reason) => {
                tracing::debug!(master = url, reason, "no stream to a master that does not lead");
                if began.elapsed() > REFUSED {
                    backoff.reset();
                }
                backoff.next()
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Why a stream has ended.
enum StreamEnd {
    Refused(String),
    Broke(String),
}

async fn one_stream(
    url: &str,
    channel: &GrpcChannel,
    hello: &Hello,
    events: &mpsc::UnboundedSender<Event>,
) -> StreamEnd {
    let opened = channel.duplex::<FromWorker, FromMaster>(KEEP_PATH).await;
    let (sender, mut receiver) = match opened {
        Ok(stream) => stream,
        Err(error) => return StreamEnd::Broke(fault::chain(&error)),
    };
    let first = FromWorker { kind: Some(from_worker::Kind::Hello(hello.clone())) };
    if sender.send(first).await.is_err() {
        return StreamEnd::Broke("it has ended at once".to_owned());
    }
    let tell = |stream, leads| {
        // Without a receiver the worker is ending.
        let _ = events.send(Event { url: url.to_owned(), stream, leads });
    };
    tell(Some(sender), false);
    let mut leads = false;
    let end = loop {
        match receiver.next().await {
            Ok(Some(FromMaster { kind: Some(from_master::Kind::Rejected(rejected)) })) => {
                leads = rejected.reason() == RejectReason::Leads;
                break StreamEnd::Refused(rejected.message);
            }
            // Something that only a later version knows.
            Ok(Some(_)) => {}
            Ok(None) => break StreamEnd::Broke("the master has ended the stream".to_owned()),
            Err(error) => break StreamEnd::Broke(fault::chain(&error)),
        }
    };
    tell(None, leads);
    end
}
