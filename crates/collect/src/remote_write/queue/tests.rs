use outrigger_config::prometheus::RemoteWriteMessage;
use proptest::prelude::*;

use super::*;
use crate::series::{SeriesTable, hash_labels};

const LIMITS: QueueLimits =
    QueueLimits { bytes: 3_000, max_samples_per_send: 4, batch_send_deadline: Duration::from_secs(5) };

#[derive(Debug, Clone)]
enum Step {
    Push(Vec<u8>),
    /// One worker takes the next batch.
    Take(u8),
    /// One worker is done with its batch.
    Settle(u8),
    PassTime,
    Reshard(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => prop::collection::vec(0u8..6, 1..8).prop_map(Step::Push),
        4 => any::<u8>().prop_map(Step::Take),
        4 => any::<u8>().prop_map(Step::Settle),
        1 => Just(Step::PassTime),
        1 => (1u8..5).prop_map(Step::Reshard),
    ];
    prop::collection::vec(step, 1..120)
}

/// Series and times of a batch.
fn content(batch: &Batch) -> Vec<(String, i64)> {
    let request = encode::reopen(batch.protocol, batch.body.as_ref().unwrap()).unwrap();
    request
        .series
        .iter()
        .map(|series| (series.labels[0].1.clone(), series.samples[0].timestamp.millis()))
        .collect()
}

/// Six series.
fn table() -> (SeriesTable, Vec<SeriesId>) {
    let mut table = SeriesTable::new();
    let ids = (0..6)
        .map(|series| {
            let labels = [("__name__", format!("m{series}"))];
            let labels = labels.iter().map(|(name, value)| (*name, value.as_str()));
            table.insert(hash_labels(labels.clone()), labels)
        })
        .collect();
    (table, ids)
}

/// Workers as the endpoint runs them: one for each shard of the set that is being worked on.
struct Model {
    queue: Queue,
    table: SeriesTable,
    series: Vec<SeriesId>,
    now: Instant,
    set: Arc<ShardSet>,
    in_flight: Vec<Option<Batch>>,
    sent: Vec<(String, i64)>,
    dropped: u64,
    pushed: u64,
}

impl Model {
    fn new(now: Instant) -> Self {
        let negotiation = Arc::new(Negotiation::new(Some(RemoteWriteMessage::V2)));
        let queue = Queue::new(LIMITS, 1, negotiation, None, Vec::new());
        let (table, series) = table();
        let set = queue.current();
        Self {
            queue,
            table,
            series,
            now,
            set,
            in_flight: vec![None],
            sent: Vec::new(),
            dropped: 0,
            pushed: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Push(series) => self.push(series),
            Step::Take(worker) => self.take(usize::from(*worker) % self.in_flight.len()),
            Step::Settle(worker) => self.settle(usize::from(*worker) % self.in_flight.len()),
            Step::PassTime => self.now += Duration::from_secs(6),
            Step::Reshard(shards) => self.queue.reshard(usize::from(*shards)),
        }
    }

    fn push(&mut self, series: &[u8]) {
        let values: Vec<(SeriesId, Value<'_>)> = series
            .iter()
            .map(|series| {
                self.pushed += 1;
                let timestamp = Timestamp::from_millis(self.pushed as i64);
                (self.series[usize::from(*series)], encode::sample(timestamp, 0.5))
            })
            .collect();
        let section = Section::new(&self.table);
        let values = values.iter().copied();
        let (added, lost) = self.queue.push(&section, Spread::BySeries(7), values, self.now);
        assert!(added <= series.len() as u64);
        self.dropped += lost;
    }

    fn take(&mut self, worker: usize) {
        if self.in_flight[worker].is_some() {
            return;
        }
        if let Next::Send = self.queue.next(&self.set, worker, self.now) {
            let batch = self.queue.in_flight(&self.set, worker).unwrap();
            self.sent.extend(content(&batch));
            self.in_flight[worker] = Some(batch);
        }
    }

    fn settle(&mut self, worker: usize) {
        if self.in_flight[worker].take().is_some() {
            self.queue.settle(&self.set, worker);
        }
        self.change_over();
    }

    /// The next set is worked on as soon as this one is empty.
    fn change_over(&mut self) {
        while !Arc::ptr_eq(&self.set, &self.queue.current()) {
            let done = |worker| matches!(self.queue.next(&self.set, worker, self.now), Next::Done);
            let idle = self.in_flight.iter().all(Option::is_none);
            if !idle || !self.set.shards.iter().all(|shard| shard.is_empty()) {
                return;
            }
            assert!((0..self.set.len()).all(done));
            self.queue.forget(&self.set);
            self.set = self.queue.first();
            self.in_flight = vec![None; self.set.len()];
        }
    }

    fn in_flight_samples(&self) -> u64 {
        self.in_flight.iter().flatten().map(|batch| batch.samples).sum()
    }
}

impl Shard {
    fn is_empty(&self) -> bool {
        let state = self.state.lock();
        state.complete.is_empty() && state.open.samples == 0
    }
}

proptest! {
    #[test]
    fn nothing_overtakes_nothing_vanishes_and_memory_is_bounded(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _context = runtime.enter();
        let mut model = Model::new(Instant::now());
        for step in &steps {
            model.step(step);
            let in_flight: u64 = model.in_flight.iter().flatten().map(Batch::bytes).sum();
            prop_assert!(model.queue.bytes() <= LIMITS.bytes + in_flight);
            let taken = model.sent.len() as u64 - model.in_flight_samples();
            prop_assert_eq!(model.queue.samples(), model.pushed - model.dropped - taken);
        }
        // Everything is sent in the end, whatever was going on.
        for _ in 0..200 {
            model.now += Duration::from_secs(6);
            for worker in 0..model.in_flight.len() {
                model.take(worker);
            }
            for worker in 0..model.in_flight.len() {
                if worker < model.in_flight.len() {
                    model.settle(worker);
                }
            }
        }
        prop_assert_eq!((model.queue.samples(), model.queue.bytes()), (0, 0));
        prop_assert_eq!(model.queue.oldest(), None);
        prop_assert_eq!(model.sent.len() as u64 + model.dropped, model.pushed);
        let mut last = std::collections::BTreeMap::new();
        for (series, at) in &model.sent {
            let before = last.insert(series.clone(), *at);
            prop_assert!(before.is_none_or(|before| before < *at), "{series} overtook itself");
        }
    }
}

#[tokio::test]
async fn what_was_kept_is_sent_in_the_order_of_the_sets_it_was_in() {
    let directory = tempfile::tempdir().unwrap();
    let options = outrigger_storage::queue::QueueOptions::new(1 << 20);
    let open = || outrigger_storage::queue::DiskQueue::open(directory.path(), options).unwrap();
    let (disk, _) = open();
    for (samples, generation) in [(1, 3), (2, 4), (3, 3), (4, 4)] {
        let encoding = super::super::protocol::V1_SNAPPY.number();
        disk.append(RecordMeta { generation, encoding, samples, ..RecordMeta::default() }, b"").unwrap();
    }
    drop(disk);
    let kept = open().1.records;
    let negotiation = Arc::new(Negotiation::new(Some(RemoteWriteMessage::V2)));
    let queue = Queue::new(LIMITS, 1, negotiation, None, kept);
    let mut sent = Vec::new();
    while !Arc::ptr_eq(&queue.first(), &queue.current()) {
        let set = queue.first();
        while let Next::Send = queue.next(&set, 0, Instant::now()) {
            sent.push((set.generation, queue.in_flight(&set, 0).unwrap().samples));
            queue.settle(&set, 0);
        }
        queue.forget(&set);
    }
    assert_eq!(sent, [(3, 1), (3, 3), (4, 2), (4, 4)]);
    assert_eq!(queue.current().generation, 5);
}
