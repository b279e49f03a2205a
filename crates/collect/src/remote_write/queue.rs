//! Samples that wait for one endpoint: shards that keep the order of each series, batches that are encoded when they
//! are full, bounded in memory, and kept on disk as well where there is one.
//!
//! No waiting for I/O. A batch is compressed as soon as it is complete, so that its size is known exactly, a retry sends
//! the same bytes, and the disk has to take no more than the wire.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use outrigger_model::sample::Timestamp;
use outrigger_storage::queue::{Record, RecordId, RecordMeta};
use outrigger_wire::remote_write::WriteRequest;
use outrigger_wire::remote_write::v2::Value;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::disk::Disk;
use super::encode::{self, CompressError, Compressor, Growing, ReopenError, Section, Translation};
use super::protocol::{Negotiation, Protocol};
use crate::series::SeriesId;

/// A batch is complete at this size even when it has room for more samples.
const MAX_REQUEST_BYTES: usize = 8 << 20;

/// Memory of a batch besides its body.
const BATCH_OVERHEAD_BYTES: u64 = 128;

/// Of the memory for an endpoint, the part that batches which are on disk, too, may take.
const KEPT_PART: u64 = 4;

/// What they take at most: the system's page cache serves those that were written a moment ago, and a receiver that is away
/// makes the process no larger.
const MAX_KEPT_BYTES: u64 = 16 << 20;

/// A complete request.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// Order of creation within the endpoint; parts of a batch have its number.
    sequence: u64,
    pub(crate) protocol: Protocol,
    /// Compressed. `None` when it is on disk only.
    pub(crate) body: Option<Bytes>,
    /// Where it is on disk.
    pub(crate) record: Option<RecordId>,
    pub(crate) samples: u64,
    pub(crate) oldest: Timestamp,
    pub(crate) newest: Timestamp,
}

impl Batch {
    /// Its memory.
    fn bytes(&self) -> u64 {
        self.body.as_ref().map_or(0, |body| body.len() as u64) + BATCH_OVERHEAD_BYTES
    }
}

/// When batches are complete and how much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueLimits {
    /// Memory.
    pub(crate) bytes: u64,
    pub(crate) max_samples_per_send: usize,
    pub(crate) batch_send_deadline: Duration,
}

/// The queue of one endpoint.
pub(crate) struct Queue {
    limits: RwLock<QueueLimits>,
    /// The last one takes new samples, the others are being emptied, the first one first.
    sets: RwLock<Vec<Arc<ShardSet>>>,
    negotiation: RwLock<Arc<Negotiation>>,
    disk: Option<Disk>,
    /// Batches that are to be written to disk, in order.
    unwritten: Mutex<VecDeque<Ticket>>,
    /// Those that no shard uses at the moment: never more than shards completed a batch at the same time.
    compressors: Mutex<Vec<Compressor>>,
    bytes: AtomicU64,
    samples: AtomicU64,
    sequence: AtomicU64,
    newest: AtomicI64,
}

/// A batch by its place.
#[derive(Clone)]
struct Ticket {
    set: Arc<ShardSet>,
    shard: usize,
    sequence: u64,
}

/// Shards that exist at the same time.
pub(crate) struct ShardSet {
    /// Number of the set; later ones have greater numbers.
    generation: u32,
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
    /// The first one is being sent if `in_flight`.
    complete: VecDeque<Batch>,
    in_flight: bool,
}

/// A batch that still takes samples.
struct OpenBatch {
    protocol: Protocol,
    request: Growing,
    translation: Translation,
    samples: u64,
    oldest: Timestamp,
    newest: Timestamp,
    opened: Instant,
    sequence: u64,
}

/// Which shard takes what series of a section have.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Spread {
    /// All of it the same one.
    Together(u64),
    /// Each series one of its own: a target is too large for one shard.
    BySeries(u64),
}

/// What a worker does next.
#[derive(Debug)]
pub(crate) enum Next {
    /// The batch is [`in_flight`](Queue::in_flight) now.
    Send,
    WaitUntil(Instant),
    Wait,
    /// The set is closed and this shard is empty.
    Done,
}

impl Queue {
    /// A queue that begins with what the disk kept.
    pub(crate) fn new(
        limits: QueueLimits,
        shards: usize,
        negotiation: Arc<Negotiation>,
        disk: Option<Disk>,
        kept: Vec<Record>,
    ) -> Self {
        let mut queue = Self {
            limits: RwLock::new(limits),
            sets: RwLock::new(Vec::new()),
            negotiation: RwLock::new(negotiation),
            disk,
            unwritten: Mutex::default(),
            compressors: Mutex::default(),
            bytes: AtomicU64::new(0),
            samples: AtomicU64::new(0),
            sequence: AtomicU64::new(0),
            newest: AtomicI64::new(i64::MIN),
        };
        let generation = queue.take_back(kept);
        queue.sets.get_mut().push(Arc::new(ShardSet::new(generation, shards)));
        queue
    }

    /// Makes sets of what was kept; returns the next generation.
    fn take_back(&mut self, mut kept: Vec<Record>) -> u32 {
        // The last batches of a closed set may have been written after the first ones of the next.
        kept.sort_by_key(|record| record.meta.generation);
        let mut next = 0;
        for records in kept.chunk_by(|a, b| a.meta.generation == b.meta.generation) {
            let generation = records[0].meta.generation;
            let lanes = records.iter().map(|record| record.meta.lane).max().unwrap_or_default();
            let set = ShardSet::new(generation, lanes as usize + 1);
            set.closed.store(true, Ordering::Release);
            for record in records {
                // A protocol of a later version is left for that version.
                let Some(protocol) = Protocol::from_number(record.meta.encoding) else { continue };
                let batch = Batch {
                    sequence: self.sequence.fetch_add(1, Ordering::Relaxed),
                    protocol,
                    body: None,
                    record: Some(record.id),
                    samples: u64::from(record.meta.samples),
                    oldest: Timestamp::from_millis(record.meta.oldest_millis),
                    newest: Timestamp::from_millis(record.meta.newest_millis),
                };
                self.bytes.fetch_add(batch.bytes(), Ordering::Relaxed);
                self.samples.fetch_add(batch.samples, Ordering::Relaxed);
                self.newest.fetch_max(record.meta.newest_millis, Ordering::Relaxed);
                set.shards[record.meta.lane as usize].state.lock().complete.push_back(batch);
            }
            self.sets.get_mut().push(Arc::new(set));
            next = next.max(generation.wrapping_add(1));
        }
        next
    }

    pub(crate) fn batch_send_deadline(&self) -> Duration {
        self.limits.read().batch_send_deadline
    }

    pub(crate) fn set_limits(&self, limits: QueueLimits) {
        *self.limits.write() = limits;
    }

    pub(crate) fn set_negotiation(&self, negotiation: Arc<Negotiation>) {
        *self.negotiation.write() = negotiation;
    }

    pub(crate) fn negotiation(&self) -> Arc<Negotiation> {
        Arc::clone(&self.negotiation.read())
    }

    pub(crate) fn disk(&self) -> Option<&Disk> {
        self.disk.as_ref()
    }

    /// Memory of what waits or is being sent.
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

    /// Adds what series of one table have; that of one series keeps its order. When there is then more than the memory may
    /// hold, the oldest batches that are not on disk are dropped. Returns how many samples were added and dropped.
    pub(crate) fn push<'v>(
        &self,
        section: &Section<'_>,
        spread: Spread,
        values: impl Iterator<Item = (SeriesId, Value<'v>)> + Clone,
        now: Instant,
    ) -> (u64, u64) {
        let limits = *self.limits.read();
        let (added, lost) = {
            // Held over the whole push, so that a set that is replaced gets nothing more.
            let sets = self.sets.read();
            let set = sets.last().expect("there is always a current set");
            let count = set.shards.len() as u64;
            match spread {
                _ if count == 1 => self.push_to_shard(set, 0, section, values, &limits, now),
                Spread::Together(key) => {
                    self.push_to_shard(set, (mix(key) % count) as usize, section, values, &limits, now)
                }
                Spread::BySeries(key) => {
                    let hashes = section.table.hashes();
                    let shard_of = |id: SeriesId| (mix(hashes(id) ^ key) % count) as usize;
                    (0..set.shards.len()).fold((0, 0), |(added, lost), shard| {
                        let of_shard = values.clone().filter(|(id, _)| shard_of(*id) == shard);
                        let (more, dropped) = self.push_to_shard(set, shard, section, of_shard, &limits, now);
                        (added + more, lost + dropped)
                    })
                }
            }
        };
        (added, lost + self.enforce(limits.bytes))
    }

    fn push_to_shard<'v>(
        &self,
        set: &Arc<ShardSet>,
        shard: usize,
        section: &Section<'_>,
        values: impl Iterator<Item = (SeriesId, Value<'v>)>,
        limits: &QueueLimits,
        now: Instant,
    ) -> (u64, u64) {
        let mut state = set.shards[shard].state.lock();
        let was_empty = state.open.samples == 0;
        let (mut added, mut total, mut lost) = (0, 0, 0);
        let mut completed = false;
        let mut newest = i64::MIN;
        let mut before = state.open.length();
        if !was_empty {
            state.open.translation.reset(section);
        }
        for (series, value) in values {
            if state.open.samples == 0 {
                let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
                state.open.begin(self.negotiation.read().protocol(), sequence, now);
                state.open.translation.reset(section);
                before = 0;
            }
            let open = &mut state.open;
            open.put(section, series, value);
            added += 1;
            total += 1;
            newest = newest.max(encode::time_of(&value).millis());
            if open.samples as usize >= limits.max_samples_per_send || open.request.len() >= MAX_REQUEST_BYTES
            {
                self.samples.fetch_add(added, Ordering::Relaxed);
                self.bytes.fetch_add(open.length() - before, Ordering::Relaxed);
                lost += self.complete(set, shard, &mut state);
                completed = true;
                (added, before) = (0, 0);
            }
        }
        self.samples.fetch_add(added, Ordering::Relaxed);
        self.bytes.fetch_add(state.open.length() - before, Ordering::Relaxed);
        self.newest.fetch_max(newest, Ordering::Relaxed);
        drop(state);
        if completed || was_empty {
            set.shards[shard].ready.notify_one();
        }
        (total, lost)
    }

    /// Turns the open batch into a complete one. Returns the samples that are lost because they cannot be compressed
    /// (snappy's block format ends at 4 GiB, far above the largest batch).
    fn complete(&self, set: &Arc<ShardSet>, shard: usize, state: &mut ShardState) -> u64 {
        let open = &mut state.open;
        let raw = open.length();
        let idle = self.compressors.lock().pop();
        let mut compressor = idle.unwrap_or_else(Compressor::new);
        let compressed = open.request.finish(&mut compressor, open.protocol.compression);
        self.compressors.lock().push(compressor);
        let (samples, sequence) = (open.samples, open.sequence);
        let (protocol, oldest, newest) = (open.protocol, open.oldest, open.newest);
        open.samples = 0;
        self.bytes.fetch_sub(raw, Ordering::Relaxed);
        match compressed {
            Ok(body) => {
                let body = Some(body);
                let batch = Batch { sequence, protocol, body, record: None, samples, oldest, newest };
                self.bytes.fetch_add(batch.bytes(), Ordering::Relaxed);
                state.complete.push_back(batch);
                if let Some(disk) = &self.disk {
                    self.unwritten.lock().push_back(Ticket { set: Arc::clone(set), shard, sequence });
                    disk.wake();
                }
                0
            }
            Err(error) => {
                tracing::error!(error = %outrigger_model::fault::chain(&error), samples, "cannot compress a batch");
                self.samples.fetch_sub(samples, Ordering::Relaxed);
                samples
            }
        }
    }

    /// Makes room until at most `limit` bytes are left: bodies that are on disk, too, go first, then the oldest batches that
    /// are not. What is being sent stays. Returns the samples that are lost.
    fn enforce(&self, limit: u64) -> u64 {
        let mut dropped = 0;
        if self.bytes() > limit {
            self.release_written(limit);
        }
        while self.bytes() > limit {
            let Some(samples) = self.drop_oldest() else { break };
            dropped += samples;
        }
        dropped
    }

    /// Frees bodies that are on disk, too.
    fn release_written(&self, limit: u64) {
        let sets = self.sets.read();
        for shard in sets.iter().rev().flat_map(|set| &set.shards) {
            let mut state = shard.state.lock();
            let in_flight = usize::from(state.in_flight);
            for batch in state.complete.iter_mut().skip(in_flight).rev() {
                if self.bytes() <= limit {
                    return;
                }
                if batch.record.is_some() {
                    self.release(batch);
                }
            }
        }
    }

    fn release(&self, batch: &mut Batch) {
        if let Some(body) = batch.body.take() {
            self.bytes.fetch_sub(body.len() as u64, Ordering::Relaxed);
        }
    }

    /// Drops the oldest batch that is in memory only.
    fn drop_oldest(&self) -> Option<u64> {
        let sets = self.sets.read();
        let shards = sets.iter().flat_map(|set| &set.shards);
        let (_, shard) = shards
            .filter_map(|shard| Some((shard.state.lock().first_unwritten()?, shard)))
            .min_by_key(|(sequence, _)| *sequence)?;
        let mut state = shard.state.lock();
        let in_flight = usize::from(state.in_flight);
        let at = (in_flight..state.complete.len()).find(|at| state.complete[*at].record.is_none());
        let (bytes, samples) = match at.and_then(|at| state.complete.remove(at)) {
            Some(batch) => (batch.bytes(), batch.samples),
            None => {
                let part = (state.open.length(), state.open.samples);
                state.open.samples = 0;
                part
            }
        };
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.samples.fetch_sub(samples, Ordering::Relaxed);
        Some(samples)
    }

    /// The next batch that is to be written to disk.
    pub(crate) fn next_unwritten(&self) -> Option<Unwritten> {
        loop {
            let ticket = self.unwritten.lock().front().cloned()?;
            let state = ticket.set.shards[ticket.shard].state.lock();
            let found = state.complete.range(state.with_sequence(ticket.sequence)..);
            let found = found
                .take_while(|batch| batch.sequence == ticket.sequence)
                .find(|batch| batch.record.is_none());
            if let Some(Batch { body: Some(body), protocol, samples, oldest, newest, .. }) = found {
                let meta = RecordMeta {
                    generation: ticket.set.generation,
                    lane: ticket.shard as u32,
                    encoding: protocol.number(),
                    samples: u32::try_from(*samples).unwrap_or(u32::MAX),
                    oldest_millis: oldest.millis(),
                    newest_millis: newest.millis(),
                };
                let body = body.clone();
                drop(state);
                return Some(Unwritten { ticket, meta, body });
            }
            drop(state);
            self.unwritten.lock().pop_front();
        }
    }

    /// A batch was written. Returns the samples of other batches that were pushed off the disk for it.
    pub(crate) fn written(&self, unwritten: &Unwritten, record: RecordId, evicted: &[Record]) -> u64 {
        let Unwritten { ticket, body, .. } = unwritten;
        let mut state = ticket.set.shards[ticket.shard].state.lock();
        let in_flight = state.in_flight;
        let mut settled = true;
        let start = state.with_sequence(ticket.sequence);
        for (at, batch) in (start..).zip(state.complete.range_mut(start..)) {
            if batch.sequence != ticket.sequence {
                break;
            }
            // The same bytes: it was not split in the meantime.
            let same = batch.body.as_ref().is_some_and(|of| of.as_ptr() == body.as_ptr());
            if batch.record.is_none() && same {
                batch.record = Some(record);
                settled = false;
                let keep = (self.limits.read().bytes / KEPT_PART).min(MAX_KEPT_BYTES);
                if self.bytes() > keep && at > usize::from(in_flight) {
                    self.release(batch);
                }
                break;
            }
        }
        drop(state);
        if settled && let Some(disk) = &self.disk {
            disk.acknowledge(record);
        }
        evicted.iter().map(|record| self.forget_evicted(record.id)).sum()
    }

    /// A record is no longer on disk: its batch is lost unless it is in memory, too.
    pub(crate) fn forget_evicted(&self, record: RecordId) -> u64 {
        let sets = self.sets.read();
        for shard in sets.iter().flat_map(|set| &set.shards) {
            let mut state = shard.state.lock();
            let Some(at) = state.complete.iter().position(|batch| batch.record == Some(record)) else {
                continue;
            };
            if at == 0 && state.in_flight {
                state.complete[at].record = None;
                return 0;
            }
            let Some(batch) = state.complete.remove(at) else { return 0 };
            self.bytes.fetch_sub(batch.bytes(), Ordering::Relaxed);
            self.samples.fetch_sub(batch.samples, Ordering::Relaxed);
            return batch.samples;
        }
        0
    }

    /// Completes open batches that were begun so long before `now`, so that they can be written although those before them
    /// are not sent.
    pub(crate) fn complete_older(&self, age: Duration, now: Instant) {
        let sets = self.sets.read();
        for set in sets.iter() {
            for (at, shard) in set.shards.iter().enumerate() {
                let mut state = shard.state.lock();
                if state.open.samples > 0 && now.saturating_duration_since(state.open.opened) >= age {
                    self.complete(set, at, &mut state);
                }
            }
        }
    }

    /// Samples that wait and are on disk.
    pub(crate) fn samples_on_disk(&self) -> u64 {
        let sets = self.sets.read();
        let of_shard = |shard: &Shard| -> u64 {
            let state = shard.state.lock();
            let written = state.complete.iter().filter(|batch| batch.record.is_some());
            written.map(|batch| batch.samples).sum()
        };
        sets.iter().flat_map(|set| &set.shards).map(of_shard).sum()
    }

    /// The set that takes new samples.
    pub(crate) fn current(&self) -> Arc<ShardSet> {
        Arc::clone(self.sets.read().last().expect("there is always a current set"))
    }

    /// The set that is to be emptied first; the current one when it is the only one.
    pub(crate) fn first(&self) -> Arc<ShardSet> {
        Arc::clone(self.sets.read().first().expect("there is always a current set"))
    }

    /// Starts a new set of shards for what comes from now on and closes the current one. The new set may only be
    /// worked on when the old one is empty, or a series could overtake itself.
    pub(crate) fn reshard(&self, shards: usize) {
        let mut sets = self.sets.write();
        let generation = match sets.last() {
            Some(current) => {
                current.close();
                current.generation.wrapping_add(1)
            }
            None => 0,
        };
        sets.push(Arc::new(ShardSet::new(generation, shards)));
    }

    /// Forgets a set that was emptied. The current one stays.
    pub(crate) fn forget(&self, emptied: &Arc<ShardSet>) {
        let mut sets = self.sets.write();
        if sets.len() > 1 {
            sets.retain(|set| !Arc::ptr_eq(set, emptied));
        }
    }

    /// What the worker of `shard` does next. A batch handed out must be [`settle`](Self::settle)d.
    pub(crate) fn next(&self, set: &Arc<ShardSet>, shard: usize, now: Instant) -> Next {
        let deadline = self.limits.read().batch_send_deadline;
        let mut state = set.shards[shard].state.lock();
        let closed = set.closed.load(Ordering::Acquire);
        if state.complete.is_empty() && state.open.samples > 0 {
            let due = state.open.opened + deadline;
            if !closed && now < due {
                return Next::WaitUntil(due);
            }
            self.complete(set, shard, &mut state);
        }
        match state.complete.is_empty() {
            false => {
                state.in_flight = true;
                Next::Send
            }
            true if closed => Next::Done,
            true => Next::Wait,
        }
    }

    /// The batch in flight is done with, delivered or not.
    pub(crate) fn settle(&self, set: &ShardSet, shard: usize) {
        let mut state = set.shards[shard].state.lock();
        state.in_flight = false;
        let Some(batch) = state.complete.pop_front() else { return };
        drop(state);
        self.bytes.fetch_sub(batch.bytes(), Ordering::Relaxed);
        self.samples.fetch_sub(batch.samples, Ordering::Relaxed);
        if let (Some(record), Some(disk)) = (batch.record, &self.disk) {
            disk.acknowledge(record);
        }
    }

    /// The batch in flight is not delivered and stays the first to be sent.
    pub(crate) fn put_back(&self, set: &ShardSet, shard: usize) {
        set.shards[shard].state.lock().in_flight = false;
    }

    /// Replaces the batch in flight by parts of it, in order; those without samples are left out. The first one is in
    /// flight then. Its record on disk, if any, is done with when the last part is.
    pub(crate) fn replace(&self, set: &ShardSet, shard: usize, parts: Vec<Batch>) {
        let mut state = set.shards[shard].state.lock();
        let Some(whole) = state.complete.pop_front() else { return };
        let mut parts: Vec<Batch> = parts.into_iter().filter(|part| part.samples > 0).collect();
        for part in &mut parts {
            part.record = None;
            self.bytes.fetch_add(part.bytes(), Ordering::Relaxed);
            self.samples.fetch_add(part.samples, Ordering::Relaxed);
        }
        self.bytes.fetch_sub(whole.bytes(), Ordering::Relaxed);
        self.samples.fetch_sub(whole.samples, Ordering::Relaxed);
        match parts.last_mut() {
            Some(last) => last.record = whole.record,
            None => {
                if let (Some(record), Some(disk)) = (whole.record, &self.disk) {
                    disk.acknowledge(record);
                }
                state.in_flight = false;
            }
        }
        parts.into_iter().rev().for_each(|part| state.complete.push_front(part));
    }

    /// The batch in flight, as it is now.
    pub(crate) fn in_flight(&self, set: &ShardSet, shard: usize) -> Option<Batch> {
        let state = set.shards[shard].state.lock();
        state.complete.front().filter(|_| state.in_flight).cloned()
    }
}

/// A batch that is not on disk yet.
pub(crate) struct Unwritten {
    ticket: Ticket,
    pub(crate) meta: RecordMeta,
    pub(crate) body: Bytes,
}

/// Spreads the bits of a key (the finalizer of MurmurHash3).
fn mix(mut key: u64) -> u64 {
    key ^= key >> 33;
    key = key.wrapping_mul(0xff51_afd7_ed55_8ccd);
    key ^= key >> 33;
    key = key.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    key ^ key >> 33
}

impl ShardSet {
    fn new(generation: u32, shards: usize) -> Self {
        let shards = (0..shards.max(1)).map(|_| Shard::new()).collect();
        Self { generation, shards, closed: AtomicBool::new(false) }
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
            protocol: super::protocol::V1_SNAPPY,
            request: Growing::V1(Vec::new()),
            translation: Translation::new(),
            samples: 0,
            oldest: Timestamp::default(),
            newest: Timestamp::default(),
            opened: Instant::now(),
            sequence: 0,
        };
        let state = ShardState { open, complete: VecDeque::new(), in_flight: false };
        Self { state: Mutex::new(state), ready: Notify::new() }
    }
}

impl ShardState {
    /// Where the complete batches with this sequence begin: they are in its order, and there may be very many.
    fn with_sequence(&self, sequence: u64) -> usize {
        self.complete.partition_point(|batch| batch.sequence < sequence)
    }

    /// Sequence of the first batch that is in memory only and not being sent.
    fn first_unwritten(&self) -> Option<u64> {
        let open = (self.open.samples > 0).then_some(self.open.sequence);
        let complete = self.complete.iter().skip(usize::from(self.in_flight));
        complete.filter(|batch| batch.record.is_none()).map(|batch| batch.sequence).next().or(open)
    }

    fn oldest(&self) -> Option<Timestamp> {
        let complete = self.complete.iter().map(|batch| batch.oldest);
        let open = (self.open.samples > 0).then_some(self.open.oldest);
        complete.chain(open).min()
    }
}

impl OpenBatch {
    fn begin(&mut self, protocol: Protocol, sequence: u64, now: Instant) {
        self.protocol = protocol;
        self.request.reset(protocol.message);
        self.opened = now;
        self.sequence = sequence;
    }

    /// Bytes of the request; none when it is empty.
    fn length(&self) -> u64 {
        if self.samples == 0 { 0 } else { self.request.len() as u64 }
    }

    #[inline]
    fn put(&mut self, section: &Section<'_>, series: SeriesId, value: Value<'_>) {
        let timestamp = encode::time_of(&value);
        if self.samples == 0 {
            (self.oldest, self.newest) = (timestamp, timestamp);
        }
        self.oldest = self.oldest.min(timestamp);
        self.newest = self.newest.max(timestamp);
        self.samples += 1;
        self.translation.put(section, series, value, &mut self.request);
    }
}

/// Why a batch cannot be made anew.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemakeError {
    #[error("take a batch apart")]
    Reopen(#[from] ReopenError),
    #[error("make a batch anew")]
    Close(#[from] CompressError),
}

/// What is left of `batch` without samples before `limit`, and how many were left out.
pub(crate) fn without_older_than(
    batch: &Batch,
    body: &[u8],
    limit: Timestamp,
) -> Result<(Batch, u64), RemakeError> {
    let mut request = encode::reopen(batch.protocol, body)?;
    for series in &mut request.series {
        series.samples.retain(|sample| sample.timestamp >= limit);
        series.histograms.retain(|(timestamp, _)| *timestamp >= limit);
        series.exemplars.retain(|exemplar| exemplar.timestamp.is_none_or(|at| at >= limit));
    }
    request.series.retain(|series| {
        !(series.samples.is_empty() && series.histograms.is_empty() && series.exemplars.is_empty())
    });
    let part = part_of(batch, batch.protocol, &request)?;
    let left_out = batch.samples.saturating_sub(part.samples);
    Ok((part, left_out))
}

/// The two halves of `batch`, in order.
pub(crate) fn halves(batch: &Batch, body: &[u8]) -> Result<[Batch; 2], RemakeError> {
    let mut first = encode::reopen(batch.protocol, body)?;
    let rest = first.series.split_off(first.series.len().div_ceil(2));
    let second = WriteRequest { series: rest, metadata: Vec::new() };
    Ok([part_of(batch, batch.protocol, &first)?, part_of(batch, batch.protocol, &second)?])
}

/// The body of `batch` in another protocol, and how many of its samples that cannot carry.
pub(crate) fn translated(
    batch: &Batch,
    body: &[u8],
    protocol: Protocol,
) -> Result<(Bytes, u64), RemakeError> {
    let mut request = encode::reopen(batch.protocol, body)?;
    let left_out = encode::leave_out_unsupported(protocol.message, &mut request);
    Ok((encode::close(protocol, &request)?, left_out))
}

fn part_of(batch: &Batch, protocol: Protocol, request: &WriteRequest) -> Result<Batch, CompressError> {
    let samples = request.series.iter().flat_map(|series| &series.samples).map(|sample| sample.timestamp);
    let histograms = request.series.iter().flat_map(|series| &series.histograms).map(|(at, _)| *at);
    let times = || samples.clone().chain(histograms.clone());
    Ok(Batch {
        sequence: batch.sequence,
        protocol,
        body: Some(encode::close(protocol, request)?),
        record: None,
        samples: times().count() as u64,
        oldest: times().min().unwrap_or(batch.oldest),
        newest: times().max().unwrap_or(batch.newest),
    })
}

#[cfg(test)]
mod tests;
