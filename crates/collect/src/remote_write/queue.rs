//! Samples that wait for one endpoint: shards that keep the order of each series, batches that are encoded when they
//! are full, and one bound in bytes over everything.
//!
//! No I/O. A batch is compressed as soon as it is complete, so that its size is known exactly and a retry sends
//! the same bytes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use outrigger_model::sample::{Sample, Timestamp};
use outrigger_wire::remote_write;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::encode::{self, ReopenError, Reopened};

/// A batch is complete at this size even when it has room for more samples.
const MAX_REQUEST_BYTES: usize = 8 << 20;

/// Memory of a batch besides its body.
const BATCH_OVERHEAD_BYTES: u64 = 128;

/// A sample on its way to one endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    /// Decides the shard.
    pub(crate) series_hash: u64,
    /// Encoded labels.
    pub(crate) labels: Arc<[u8]>,
    pub(crate) sample: Sample,
}

/// A complete request.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// Order of creation within the endpoint.
    sequence: u64,
    /// Compressed.
    pub(crate) body: Bytes,
    pub(crate) samples: u64,
    pub(crate) oldest: Timestamp,
    pub(crate) newest: Timestamp,
}

impl Batch {
    fn bytes(&self) -> u64 {
        self.body.len() as u64 + BATCH_OVERHEAD_BYTES
    }
}

/// When batches are complete and how much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueLimits {
    pub(crate) bytes: u64,
    pub(crate) max_samples_per_send: usize,
    pub(crate) batch_send_deadline: Duration,
}

/// The queue of one endpoint.
pub(crate) struct Queue {
    limits: RwLock<QueueLimits>,
    /// The last one takes new samples, the others are being emptied.
    sets: RwLock<Vec<Arc<ShardSet>>>,
    bytes: AtomicU64,
    samples: AtomicU64,
    sequence: AtomicU64,
    newest: AtomicI64,
}

/// Shards that exist at the same time.
pub(crate) struct ShardSet {
    shards: Vec<Shard>,
    closed: AtomicBool,
}

/// Samples of some of the series, in order.
struct Shard {
    state: Mutex<ShardState>,
    /// Something is to be sent, or the set was closed.
    ready: Notify,
}

struct ShardState {
    open: OpenBatch,
    complete: VecDeque<Batch>,
    encoder: snap::raw::Encoder,
    /// Sequence of the batch that a worker is sending.
    in_flight: Option<(u64, Timestamp)>,
}

/// A batch that still takes samples.
struct OpenBatch {
    request: Vec<u8>,
    samples: u64,
    oldest: Timestamp,
    newest: Timestamp,
    opened: Instant,
    sequence: u64,
}

/// What a worker does next.
#[derive(Debug)]
pub(crate) enum Next {
    Send(Batch),
    WaitUntil(Instant),
    Wait,
    /// The set is closed and this shard is empty.
    Done,
}

impl Queue {
    pub(crate) fn new(limits: QueueLimits, shards: usize) -> Self {
        Self {
            limits: RwLock::new(limits),
            sets: RwLock::new(vec![Arc::new(ShardSet::new(shards))]),
            bytes: AtomicU64::new(0),
            samples: AtomicU64::new(0),
            sequence: AtomicU64::new(0),
            newest: AtomicI64::new(i64::MIN),
        }
    }

    pub(crate) fn set_limits(&self, limits: QueueLimits) {
        *self.limits.write() = limits;
    }

    /// Bytes that wait or are being sent.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Samples that wait or are being sent.
    pub(crate) fn samples(&self) -> u64 {
        self.samples.load(Ordering::Relaxed)
    }

    /// Time of the newest sample ever added.
    pub(crate) fn newest(&self) -> Option<Timestamp> {
        let newest = self.newest.load(Ordering::Relaxed);
        (newest != i64::MIN).then(|| Timestamp::from_millis(newest))
    }

    /// Time of the oldest sample that waits or is being sent.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        let sets = self.sets.read();
        sets.iter().flat_map(|set| &set.shards).filter_map(|shard| shard.state.lock().oldest()).min()
    }

    /// Adds samples; those of one series keep their order. When the queue is then over its bound, the oldest
    /// batches are dropped. Returns the number of dropped samples.
    pub(crate) fn push(&self, samples: &[Outgoing], now: Instant) -> u64 {
        let Some(newest) = samples.iter().map(|outgoing| outgoing.sample.timestamp).max() else { return 0 };
        self.newest.fetch_max(newest.millis(), Ordering::Relaxed);
        let limits = *self.limits.read();
        let lost = {
            // Held over the whole push, so that a set that is replaced gets nothing more.
            let sets = self.sets.read();
            let set = sets.last().expect("there is always a current set");
            self.push_to(set, samples, &limits, now)
        };
        lost + self.enforce(limits.bytes)
    }

    fn push_to(&self, set: &ShardSet, samples: &[Outgoing], limits: &QueueLimits, now: Instant) -> u64 {
        if let [shard] = &set.shards[..] {
            return self.push_to_shard(shard, samples.iter(), limits, now);
        }
        let mut by_shard: Vec<u32> = (0..samples.len() as u32).collect();
        let shard_of = |at: u32| (samples[at as usize].series_hash % set.shards.len() as u64) as usize;
        by_shard.sort_by_key(|at| shard_of(*at));
        let mut lost = 0;
        for group in by_shard.chunk_by(|a, b| shard_of(*a) == shard_of(*b)) {
            let shard = &set.shards[shard_of(group[0])];
            lost += self.push_to_shard(shard, group.iter().map(|at| &samples[*at as usize]), limits, now);
        }
        lost
    }

    fn push_to_shard<'a>(
        &self,
        shard: &Shard,
        samples: impl Iterator<Item = &'a Outgoing>,
        limits: &QueueLimits,
        now: Instant,
    ) -> u64 {
        let mut state = shard.state.lock();
        let was_empty = state.open.samples == 0;
        let mut lost = 0;
        let mut completed = false;
        for outgoing in samples {
            let open = &mut state.open;
            if open.samples == 0 {
                open.opened = now;
                open.sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
            }
            let before = open.request.len();
            open.push(outgoing);
            self.bytes.fetch_add((open.request.len() - before) as u64, Ordering::Relaxed);
            self.samples.fetch_add(1, Ordering::Relaxed);
            if open.samples as usize >= limits.max_samples_per_send || open.request.len() >= MAX_REQUEST_BYTES
            {
                lost += self.complete(&mut state);
                completed = true;
            }
        }
        drop(state);
        if completed || was_empty {
            shard.ready.notify_one();
        }
        lost
    }

    /// Turns the open batch into a complete one. Returns the samples that are lost because they cannot be compressed
    /// (snappy's block format ends at 4 GiB, far above the largest batch).
    fn complete(&self, state: &mut ShardState) -> u64 {
        let open = &mut state.open;
        let raw = open.request.len() as u64;
        let compressed = encode::compress(&mut state.encoder, &open.request);
        let samples = open.samples;
        let (oldest, newest, sequence) = (open.oldest, open.newest, open.sequence);
        open.clear();
        match compressed {
            Ok(body) => {
                let batch = Batch { sequence, body, samples, oldest, newest };
                self.bytes.fetch_add(batch.bytes(), Ordering::Relaxed);
                self.bytes.fetch_sub(raw, Ordering::Relaxed);
                state.complete.push_back(batch);
                0
            }
            Err(error) => {
                tracing::error!(%error, samples, "cannot compress a batch");
                self.bytes.fetch_sub(raw, Ordering::Relaxed);
                self.samples.fetch_sub(samples, Ordering::Relaxed);
                samples
            }
        }
    }

    /// Drops the oldest batches until at most `limit` bytes are left. What is being sent stays.
    fn enforce(&self, limit: u64) -> u64 {
        let mut dropped = 0;
        while self.bytes() > limit {
            let samples = self.drop_oldest();
            if samples == 0 {
                break;
            }
            dropped += samples;
        }
        dropped
    }

    fn drop_oldest(&self) -> u64 {
        let sets = self.sets.read();
        let shards = sets.iter().flat_map(|set| &set.shards);
        let oldest = shards
            .filter_map(|shard| Some((shard.state.lock().first_waiting()?, shard)))
            .min_by_key(|(sequence, _)| *sequence);
        let Some((_, shard)) = oldest else { return 0 };
        let mut state = shard.state.lock();
        let (bytes, samples) = match state.complete.pop_front() {
            Some(batch) => (batch.bytes(), batch.samples),
            None => {
                let part = (state.open.request.len() as u64, state.open.samples);
                state.open.clear();
                part
            }
        };
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.samples.fetch_sub(samples, Ordering::Relaxed);
        samples
    }

    /// The set that takes new samples.
    pub(crate) fn current(&self) -> Arc<ShardSet> {
        Arc::clone(self.sets.read().last().expect("there is always a current set"))
    }

    /// Starts a new set of shards for what comes from now on and closes the current one. The new set may only be
    /// worked on when the old one is empty, or a series could overtake itself.
    pub(crate) fn reshard(&self, shards: usize) -> Arc<ShardSet> {
        let fresh = Arc::new(ShardSet::new(shards));
        let mut sets = self.sets.write();
        if let Some(current) = sets.last() {
            current.close();
        }
        sets.push(Arc::clone(&fresh));
        fresh
    }

    /// Forgets the sets before the current one, after they were emptied.
    pub(crate) fn forget_old_sets(&self) {
        let mut sets = self.sets.write();
        let old = sets.len() - 1;
        sets.drain(..old);
    }

    /// What the worker of `shard` does next. A batch handed out must be [`settle`](Self::settle)d.
    pub(crate) fn next(&self, set: &ShardSet, shard: usize, now: Instant) -> Next {
        let deadline = self.limits.read().batch_send_deadline;
        let mut state = set.shards[shard].state.lock();
        let closed = set.closed.load(Ordering::Acquire);
        if state.complete.is_empty() && state.open.samples > 0 {
            let due = state.open.opened + deadline;
            if !closed && now < due {
                return Next::WaitUntil(due);
            }
            self.complete(&mut state);
        }
        match state.complete.pop_front() {
            Some(batch) => {
                state.in_flight = Some((batch.sequence, batch.oldest));
                Next::Send(batch)
            }
            None if closed => Next::Done,
            None => Next::Wait,
        }
    }

    /// A batch is done with, delivered or not.
    pub(crate) fn settle(&self, set: &ShardSet, shard: usize, batch: &Batch) {
        set.shards[shard].state.lock().in_flight = None;
        self.bytes.fetch_sub(batch.bytes(), Ordering::Relaxed);
        self.samples.fetch_sub(batch.samples, Ordering::Relaxed);
    }

    /// Replaces a batch in flight by parts of it; returns those with samples, in order.
    pub(crate) fn replace(&self, batch: &Batch, parts: Vec<Batch>) -> Vec<Batch> {
        let parts: Vec<Batch> = parts.into_iter().filter(|part| part.samples > 0).collect();
        for part in &parts {
            self.bytes.fetch_add(part.bytes(), Ordering::Relaxed);
            self.samples.fetch_add(part.samples, Ordering::Relaxed);
        }
        self.bytes.fetch_sub(batch.bytes(), Ordering::Relaxed);
        self.samples.fetch_sub(batch.samples, Ordering::Relaxed);
        parts
    }
}

impl ShardSet {
    fn new(shards: usize) -> Self {
        let shards = (0..shards.max(1)).map(|_| Shard::new()).collect();
        Self { shards, closed: AtomicBool::new(false) }
    }

    /// Number of shards.
    pub(crate) fn len(&self) -> usize {
        self.shards.len()
    }

    /// Makes the workers send what is there and end.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for shard in &self.shards {
            shard.ready.notify_one();
        }
    }

    /// Waits until there may be something to send in `shard`.
    pub(crate) async fn ready(&self, shard: usize) {
        self.shards[shard].ready.notified().await;
    }
}

impl Shard {
    fn new() -> Self {
        let open = OpenBatch {
            request: Vec::new(),
            samples: 0,
            oldest: Timestamp::default(),
            newest: Timestamp::default(),
            opened: Instant::now(),
            sequence: 0,
        };
        let state = ShardState {
            open,
            complete: VecDeque::new(),
            encoder: snap::raw::Encoder::new(),
            in_flight: None,
        };
        Self { state: Mutex::new(state), ready: Notify::new() }
    }
}

impl ShardState {
    /// Sequence of the first batch that is not being sent.
    fn first_waiting(&self) -> Option<u64> {
        let open = (self.open.samples > 0).then_some(self.open.sequence);
        self.complete.front().map(|batch| batch.sequence).or(open)
    }

    fn oldest(&self) -> Option<Timestamp> {
        let in_flight = self.in_flight.map(|(_, oldest)| oldest);
        let complete = self.complete.iter().map(|batch| batch.oldest);
        let open = (self.open.samples > 0).then_some(self.open.oldest);
        complete.chain(in_flight).chain(open).min()
    }
}

impl OpenBatch {
    fn push(&mut self, outgoing: &Outgoing) {
        let timestamp = outgoing.sample.timestamp;
        if self.samples == 0 {
            (self.oldest, self.newest) = (timestamp, timestamp);
        }
        self.oldest = self.oldest.min(timestamp);
        self.newest = self.newest.max(timestamp);
        self.samples += 1;
        remote_write::put_encoded_series(&outgoing.labels, outgoing.sample, &mut self.request);
    }

    fn clear(&mut self) {
        self.samples = 0;
        self.request.clear();
    }
}

/// What is left of `batch` without samples before `limit`, and how many were left out.
pub(crate) fn without_older_than(batch: &Batch, limit: Timestamp) -> Result<(Batch, u64), ReopenError> {
    let mut part = Part::default();
    Reopened::open(&batch.body)?.for_each(|series, time| {
        if time >= limit {
            part.push(series, time);
        }
    })?;
    let left_out = batch.samples - part.samples;
    Ok((part.finish(batch.sequence)?, left_out))
}

/// The two halves of `batch`, in order.
pub(crate) fn halves(batch: &Batch) -> Result<[Batch; 2], ReopenError> {
    let (mut first, mut second) = (Part::default(), Part::default());
    Reopened::open(&batch.body)?.for_each(|series, time| {
        let part = if first.samples < batch.samples / 2 { &mut first } else { &mut second };
        part.push(series, time);
    })?;
    Ok([first.finish(batch.sequence)?, second.finish(batch.sequence)?])
}

/// A request made of samples of another.
#[derive(Default)]
struct Part {
    request: Vec<u8>,
    samples: u64,
    times: Option<(Timestamp, Timestamp)>,
}

impl Part {
    fn push(&mut self, series: &[u8], time: Timestamp) {
        encode::push_series(&mut self.request, series);
        self.samples += 1;
        self.times =
            Some(self.times.map_or((time, time), |(oldest, newest)| (oldest.min(time), newest.max(time))));
    }

    fn finish(self, sequence: u64) -> Result<Batch, ReopenError> {
        let body = encode::compress(&mut snap::raw::Encoder::new(), &self.request)?;
        let (oldest, newest) = self.times.unwrap_or_default();
        Ok(Batch { sequence, body, samples: self.samples, oldest, newest })
    }
}

#[cfg(test)]
mod tests {
    use outrigger_model::labels::Labels;
    use proptest::prelude::*;

    use super::*;

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

    fn series_of(message: &[u8]) -> (String, i64) {
        let mut request = Vec::new();
        encode::push_series(&mut request, message);
        let decoded = remote_write::decode(&request).unwrap().series.remove(0);
        (decoded.labels[0].1.clone(), decoded.samples[0].timestamp.millis())
    }

    /// Workers as the endpoint runs them: one for each shard of the set that is being worked on.
    struct Model {
        queue: Queue,
        now: Instant,
        set: Arc<ShardSet>,
        successor: Option<Arc<ShardSet>>,
        in_flight: Vec<Option<Batch>>,
        sent: Vec<(String, i64)>,
        dropped: u64,
        pushed: u64,
    }

    impl Model {
        fn new(now: Instant) -> Self {
            let queue = Queue::new(LIMITS, 1);
            let set = queue.current();
            Self {
                queue,
                now,
                set,
                successor: None,
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
                Step::Reshard(shards) if self.successor.is_none() => {
                    self.successor = Some(self.queue.reshard(usize::from(*shards)));
                }
                Step::Reshard(_) => {}
            }
        }

        fn push(&mut self, series: &[u8]) {
            let samples: Vec<Outgoing> = series
                .iter()
                .map(|series| {
                    self.pushed += 1;
                    let labels = Labels::from_pairs([("__name__", format!("m{series}"))]);
                    let timestamp = Timestamp::from_millis(self.pushed as i64);
                    Outgoing {
                        series_hash: labels.hash64(),
                        labels: encode::encode_labels(&labels),
                        sample: Sample { timestamp, value: 0.5 },
                    }
                })
                .collect();
            self.dropped += self.queue.push(&samples, self.now);
        }

        fn take(&mut self, worker: usize) {
            if self.in_flight[worker].is_some() {
                return;
            }
            if let Next::Send(batch) = self.queue.next(&self.set, worker, self.now) {
                Reopened::open(&batch.body)
                    .unwrap()
                    .for_each(|series, _| self.sent.push(series_of(series)))
                    .unwrap();
                self.in_flight[worker] = Some(batch);
            }
        }

        fn settle(&mut self, worker: usize) {
            if let Some(batch) = self.in_flight[worker].take() {
                self.queue.settle(&self.set, worker, &batch);
            }
            self.change_over();
        }

        /// The next set is worked on as soon as this one is empty.
        fn change_over(&mut self) {
            let done = |worker| matches!(self.queue.next(&self.set, worker, self.now), Next::Done);
            let idle = self.in_flight.iter().all(Option::is_none);
            if self.successor.is_some() && idle && self.set.shards.iter().all(|shard| shard.is_empty()) {
                assert!((0..self.set.len()).all(done));
                self.queue.forget_old_sets();
                self.set = self.successor.take().unwrap();
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
}
