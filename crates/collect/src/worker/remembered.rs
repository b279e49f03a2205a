//! What a worker keeps on its disk to go on without a master: the last configuration and assignment in one file, the
//! series of its targets' last scrapes in another.

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use outrigger_model::fault;
use outrigger_model::target::ScrapeTarget;
use outrigger_rt::metrics::CounterFamily;
use outrigger_storage::sealed::{Key, SealedFile, SealedFileError};
use outrigger_wire::centre::{Assign, AssignBuilder, Configuration, Inheritance};
use prost::Message as _;

use super::configuration::ReceivedConfiguration;

/// Configuration and assignment.
const STATE_FILE: &str = "worker.state";
/// Series of the last scrapes.
const SERIES_FILE: &str = "worker.series";
/// Series sets beyond this stay out of the file: their targets' vanished series get no stale markers after a restart.
const MAX_SERIES_BYTES: usize = 256 << 20;
/// Most bytes of a file's content, uncompressed.
const MAX_BYTES: u64 = 1 << 30;
const LEVEL: i32 = 1;

/// The state file's content. Fields are only ever added.
#[derive(Clone, PartialEq, prost::Message)]
struct StoredState {
    /// Whose it is.
    #[prost(string, tag = "1")]
    worker: String,
    /// Highest epoch obeyed.
    #[prost(uint64, tag = "2")]
    epoch: u64,
    #[prost(fixed64, optional, tag = "3")]
    offset_seed: Option<u64>,
    /// The newest configuration.
    #[prost(message, optional, tag = "4")]
    received: Option<Configuration>,
    /// The one in force, where it is another.
    #[prost(message, optional, tag = "5")]
    in_force: Option<Configuration>,
    #[prost(message, optional, tag = "6")]
    assignment: Option<Assign>,
    #[prost(string, repeated, tag = "7")]
    over_target_limit: Vec<String>,
    /// When a master was last heard, milliseconds since the epoch; 0 is never.
    #[prost(int64, tag = "8")]
    heard_millis: i64,
}

/// The series file's content.
#[derive(Clone, PartialEq, prost::Message)]
struct StoredSeries {
    #[prost(message, repeated, tag = "1")]
    targets: Vec<StoredTarget>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredTarget {
    #[prost(string, tag = "1")]
    job: String,
    #[prost(fixed64, tag = "2")]
    id: u64,
    #[prost(message, optional, tag = "3")]
    inheritance: Option<Inheritance>,
}

/// What a worker knows.
#[derive(Debug, Default)]
pub(crate) struct Knowledge {
    pub(crate) epoch: u64,
    pub(crate) offset_seed: Option<u64>,
    pub(crate) received: ReceivedConfiguration,
    pub(crate) in_force: ReceivedConfiguration,
    pub(crate) targets: Vec<Arc<ScrapeTarget>>,
    pub(crate) over_target_limit: Vec<String>,
    /// When a master was last heard, milliseconds since the epoch; 0 is never.
    pub(crate) heard_millis: i64,
}

/// The last scrape of one target.
pub(crate) struct LastScrape {
    pub(crate) job: String,
    pub(crate) id: u64,
    pub(crate) inheritance: Inheritance,
}

/// The two files.
#[derive(Debug)]
pub(crate) struct Remembered {
    worker: String,
    state: SealedFile,
    series: SealedFile,
    errors: CounterFamily,
}

impl Remembered {
    /// Files in `directory`, which is there. `errors` counts by file and trouble.
    pub(crate) fn new(worker: &str, directory: &Path, key: Option<Arc<Key>>, errors: CounterFamily) -> Self {
        if key.is_none() {
            tracing::warn!(
                directory = %directory.display(),
                "configuration and credentials are kept on disk unencrypted, readable for this user only: set \
                 outrigger.state_encryption_key_file to encrypt them"
            );
        }
        Self {
            worker: worker.to_owned(),
            state: SealedFile::new(directory.join(STATE_FILE), key.clone()),
            series: SealedFile::new(directory.join(SERIES_FILE), key),
            errors,
        }
    }

    /// What the worker knew before; `None` when there is nothing, or nothing that can be used. Blocks on the disk.
    pub(crate) fn load(&self) -> Option<Knowledge> {
        let bytes = self.read(&self.state)?;
        let stored = self.decode::<StoredState>(&self.state, &bytes)?;
        let mut received = ReceivedConfiguration::default();
        received.merge(stored.received.unwrap_or_default());
        let mut in_force = received.clone();
        if let Some(configuration) = stored.in_force {
            in_force.merge(configuration);
        }
        let mut knowledge = Knowledge {
            epoch: stored.epoch,
            offset_seed: stored.offset_seed,
            received,
            in_force,
            targets: Vec::new(),
            over_target_limit: stored.over_target_limit,
            heard_millis: stored.heard_millis,
        };
        if stored.worker != self.worker {
            tracing::warn!(
                file = %self.state.path().display(),
                of = stored.worker,
                "the file is another worker's: its targets are left alone (each worker needs a data directory of its own)"
            );
            return Some(knowledge);
        }
        let (good, bad) = stored.assignment.unwrap_or_default().read();
        for bad in bad {
            tracing::error!(error = %bad, "a target on disk cannot be read");
        }
        knowledge.targets = good.into_iter().map(|assigned| assigned.target).collect();
        Some(knowledge)
    }

    /// The last scrapes of the process before; they are the last ones only once, so the file is removed. Blocks on the
    /// disk.
    pub(crate) fn take_series(&self) -> Vec<LastScrape> {
        let Some(bytes) = self.read(&self.series) else { return Vec::new() };
        if let Err(error) = std::fs::remove_file(self.series.path()) {
            tracing::error!(file = %self.series.path().display(), %error, "the file cannot be removed");
        }
        let stored = self.decode::<StoredSeries>(&self.series, &bytes).unwrap_or_default();
        let known = |target: StoredTarget| {
            Some(LastScrape { job: target.job, id: target.id, inheritance: target.inheritance? })
        };
        stored.targets.into_iter().filter_map(known).collect()
    }

    /// Replaces what is known. Blocks on the disk.
    pub(crate) fn save(&self, knowledge: &Knowledge) -> Result<(), SealedFileError> {
        let mut builder = AssignBuilder::default();
        knowledge.targets.iter().for_each(|target| builder.push(target, None));
        let other = knowledge.in_force != knowledge.received;
        let stored = StoredState {
            worker: self.worker.clone(),
            epoch: knowledge.epoch,
            offset_seed: knowledge.offset_seed,
            received: Some(knowledge.received.to_message()),
            in_force: other.then(|| knowledge.in_force.to_message()),
            assignment: Some(builder.build(0)),
            over_target_limit: knowledge.over_target_limit.clone(),
            heard_millis: knowledge.heard_millis,
        };
        self.write(&self.state, &stored.encode_to_vec())
    }

    /// Replaces the last scrapes. Blocks on the disk.
    pub(crate) fn save_series(
        &self,
        scrapes: impl Iterator<Item = LastScrape>,
    ) -> Result<(), SealedFileError> {
        let (mut stored, mut bytes, mut left_out) = (StoredSeries::default(), 0, 0);
        for mut scrape in scrapes {
            bytes += scrape.inheritance.series.len();
            if bytes > MAX_SERIES_BYTES {
                bytes -= std::mem::take(&mut scrape.inheritance.series).len();
                left_out += 1;
            }
            let LastScrape { job, id, inheritance } = scrape;
            stored.targets.push(StoredTarget { job, id, inheritance: Some(inheritance) });
        }
        if left_out > 0 {
            tracing::warn!(
                targets = left_out,
                limit_bytes = MAX_SERIES_BYTES,
                "series of some targets are not kept on disk: those that vanish during a restart get no stale markers"
            );
        }
        self.write(&self.series, &stored.encode_to_vec())
    }

    fn read(&self, file: &SealedFile) -> Option<Vec<u8>> {
        let sealed = match file.read() {
            Ok(sealed) => sealed?,
            Err(error) => {
                self.report(file, &error);
                // What cannot be read now may be readable later; everything else is in the way of the next one.
                if !matches!(error, SealedFileError::Read { .. }) {
                    self.set_aside(file);
                }
                return None;
            }
        };
        match decompress(&sealed) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                tracing::error!(file = %file.path().display(), %error, "what is on disk cannot be decompressed");
                self.set_aside(file);
                None
            }
        }
    }

    fn decode<M: prost::Message + Default>(&self, file: &SealedFile, bytes: &[u8]) -> Option<M> {
        match M::decode(bytes) {
            Ok(message) => Some(message),
            Err(error) => {
                tracing::error!(file = %file.path().display(), %error, "what is on disk cannot be decoded");
                self.set_aside(file);
                None
            }
        }
    }

    fn write(&self, file: &SealedFile, bytes: &[u8]) -> Result<(), SealedFileError> {
        // Only an allocation can fail.
        let compressed = zstd::bulk::compress(bytes, LEVEL).unwrap_or_default();
        file.write(&compressed).inspect_err(|error| {
            self.errors.with(&[name(file), error.trouble().as_str()]).inc();
        })
    }

    fn set_aside(&self, file: &SealedFile) {
        match file.set_aside() {
            Ok(aside) => {
                tracing::warn!(renamed = %aside.display(), "the file that cannot be used was set aside")
            }
            Err(error) => self.report(file, &error),
        }
    }

    fn report(&self, file: &SealedFile, error: &SealedFileError) {
        self.errors.with(&[name(file), error.trouble().as_str()]).inc();
        tracing::error!(error = fault::chain(error), "what the worker knew before cannot be used");
    }
}

fn decompress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    zstd::stream::read::Decoder::new(bytes)?.take(MAX_BYTES).read_to_end(&mut out)?;
    Ok(out)
}

fn name(file: &SealedFile) -> &str {
    file.path().file_name().and_then(|name| name.to_str()).unwrap_or_default()
}
