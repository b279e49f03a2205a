//! The last targets and the last configuration on disk, so that a master that starts while the API server is away
//! serves them, and the series sets of targets for those who scrape them next.
//!
//! Targets are in buckets by identity, a file each, and only buckets in which something changed are written anew: one
//! pod does not rewrite 450,000 targets. A bucket that cannot be read costs its own targets and no others.

mod series;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use outrigger_model::fault::chain;
use outrigger_model::target::ScrapeTarget;
use outrigger_storage::sealed::{Key, SealedFile, SealedFileError};
use outrigger_wire::centre::{Assign, AssignBuilder, Configuration};
use prost::Message as _;

use crate::fleet::ConfigurationBundle;

pub(crate) use series::{SeriesSets, SetChanges};

/// Targets that a bucket should have, and how far it may be off before there are more or fewer buckets.
const TARGETS_PER_BUCKET: usize = 1_024;
const SLACK: usize = 4;
/// Two to the power of this is the largest number of buckets.
const MAX_DEPTH: u32 = 10;
/// zstd level: the disk is faster than higher ones.
const LEVEL: i32 = 1;
/// Bytes of one bucket, unpacked.
const MAX_BUCKET_BYTES: usize = 1 << 30;
const PREFIX: &str = "targets-";
const CONFIGURATION: &str = "configuration";

/// What a master knew when it last ran.
#[derive(Debug, Default)]
pub(crate) struct Recalled {
    pub(crate) targets: Vec<Arc<ScrapeTarget>>,
    pub(crate) configuration: Option<ConfigurationBundle>,
    /// When the newest of it was written, milliseconds since the epoch by this machine's clock.
    pub(crate) written_millis: Option<i64>,
}

/// The files, and what of them is outdated.
#[derive(Debug)]
pub(crate) struct LastKnownGood {
    directory: PathBuf,
    key: Option<Arc<Key>>,
    /// Number of bits of an identity that tell its bucket.
    depth: u32,
    outdated: BTreeSet<u32>,
    all_outdated: bool,
    configuration: Option<ConfigurationBundle>,
    configuration_outdated: bool,
}

/// What is to be written, so that nothing is locked meanwhile.
#[derive(Debug)]
pub(crate) struct Outdated {
    depth: u32,
    /// Files of another depth are to go.
    regrouped: bool,
    buckets: BTreeSet<u32>,
    configuration: Option<ConfigurationBundle>,
}

/// Something could not be kept; it is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    #[error("make the folder {}", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("pack a bucket of targets")]
    Pack { source: std::io::Error },
    #[error("keep the last known targets")]
    File(#[from] SealedFileError),
}

impl Outdated {
    /// Whether a target's bucket is to be written.
    pub(crate) fn concerns(&self, id: u64) -> bool {
        self.buckets.contains(&bucket(id, self.depth))
    }

    pub(crate) fn has_targets(&self) -> bool {
        !self.buckets.is_empty()
    }
}

impl LastKnownGood {
    /// Reads what is there; what cannot be read is set aside and said in the log.
    pub(crate) fn open(directory: PathBuf, key: Option<Arc<Key>>) -> (Self, Recalled) {
        let mut kept = Self {
            directory,
            key,
            depth: 0,
            outdated: BTreeSet::new(),
            all_outdated: false,
            configuration: None,
            configuration_outdated: false,
        };
        let mut recalled = Recalled::default();
        let mut depths = BTreeSet::new();
        for path in kept.files() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some(depth) = depth_of(&name) else { continue };
            depths.insert(depth);
            if let Some(targets) = kept.read(&path, unpack_targets) {
                recalled.targets.extend(targets);
                note_time(&mut recalled, &path);
            }
        }
        let path = kept.directory.join(CONFIGURATION);
        if path.exists()
            && let Some(configuration) = kept.read(&path, unpack_configuration)
        {
            recalled.configuration = Some(configuration);
            note_time(&mut recalled, &path);
        }
        // Two depths are there when the master went down while it changed them.
        kept.all_outdated = depths.len() > 1;
        kept.depth = depths.last().copied().unwrap_or(0);
        kept.configuration.clone_from(&recalled.configuration);
        (kept, recalled)
    }

    /// Something about these targets has changed.
    pub(crate) fn changed(&mut self, ids: impl Iterator<Item = u64>) {
        let depth = self.depth;
        self.outdated.extend(ids.map(|id| bucket(id, depth)));
    }

    /// Something about many targets has changed.
    pub(crate) fn changed_all(&mut self) {
        self.all_outdated = true;
    }

    /// The configuration without the contents of files, which are on disk already; true when it is another one.
    pub(crate) fn set_configuration(&mut self, bundle: ConfigurationBundle) -> bool {
        let bundle = ConfigurationBundle { files: Vec::new(), ..bundle };
        let is_new = self.configuration.as_ref() != Some(&bundle);
        if is_new {
            self.configuration = Some(bundle);
            self.configuration_outdated = true;
        }
        is_new
    }

    /// What is to be written now that there are so many targets; `None` when everything is as it is on disk.
    pub(crate) fn take_outdated(&mut self, targets: usize) -> Option<Outdated> {
        let wanted = depth_for(targets);
        let now = targets >> self.depth;
        let badly_grouped =
            now > SLACK * TARGETS_PER_BUCKET || (now < TARGETS_PER_BUCKET / SLACK && self.depth > wanted);
        let regrouped = badly_grouped && wanted != self.depth;
        if regrouped {
            self.depth = wanted;
        }
        if std::mem::take(&mut self.all_outdated) || regrouped {
            self.outdated = (0..1 << self.depth).collect();
        }
        let configuration = match std::mem::take(&mut self.configuration_outdated) {
            true => self.configuration.clone(),
            false => None,
        };
        if self.outdated.is_empty() && configuration.is_none() {
            return None;
        }
        let buckets = std::mem::take(&mut self.outdated);
        Some(Outdated { depth: self.depth, regrouped, buckets, configuration })
    }

    /// What was not written is still to be.
    pub(crate) fn put_back(&mut self, outdated: Outdated) {
        self.configuration_outdated |= outdated.configuration.is_some();
        match outdated.depth == self.depth && !outdated.regrouped {
            true => self.outdated.extend(outdated.buckets),
            false => self.all_outdated = true,
        }
    }

    /// How to write, without this being locked.
    pub(crate) fn writer(&self) -> Writer {
        Writer { directory: self.directory.clone(), key: self.key.clone() }
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    }

    fn read<T>(&self, path: &Path, unpack: impl Fn(&[u8]) -> Result<T, String>) -> Option<T> {
        let file = SealedFile::new(path, self.key.clone());
        let trouble = match file.read() {
            Ok(Some(bytes)) => match unpack(&bytes) {
                Ok(value) => return Some(value),
                Err(trouble) => trouble,
            },
            Ok(None) => return None,
            Err(error) => chain(&error),
        };
        let aside = file.set_aside();
        let aside = aside.map_or_else(|error| chain(&error), |path| path.display().to_string());
        tracing::warn!(file = %path.display(), trouble, aside, "what this master knew last is not all readable");
        None
    }
}

/// Writes files.
#[derive(Debug)]
pub(crate) struct Writer {
    directory: PathBuf,
    key: Option<Arc<Key>>,
}

impl Writer {
    /// Writes what is outdated; `targets` are those that it [`Outdated::concerns`]. Blocks on the disk.
    pub(crate) fn write(
        &self,
        outdated: &Outdated,
        targets: Vec<Arc<ScrapeTarget>>,
    ) -> Result<(), KeepError> {
        fs::create_dir_all(&self.directory)
            .map_err(|source| KeepError::Folder { path: self.directory.clone(), source })?;
        if let Some(configuration) = &outdated.configuration {
            self.file(CONFIGURATION).write(&pack_configuration(configuration))?;
        }
        let mut grouped: Vec<Vec<Arc<ScrapeTarget>>> = vec![Vec::new(); 1 << outdated.depth];
        for target in targets {
            grouped[bucket(target.id.0, outdated.depth) as usize].push(target);
        }
        for bucket in &outdated.buckets {
            let targets = std::mem::take(&mut grouped[*bucket as usize]);
            let name = format!("{PREFIX}{:02}-{bucket:04}", outdated.depth);
            self.file(&name).write(&pack_targets(targets).map_err(|source| KeepError::Pack { source })?)?;
        }
        if outdated.regrouped || outdated.buckets.len() == 1 << outdated.depth {
            self.remove_other_depths(outdated.depth);
        }
        Ok(())
    }

    fn file(&self, name: &str) -> SealedFile {
        SealedFile::new(self.directory.join(name), self.key.clone())
    }

    fn remove_other_depths(&self, depth: u32) {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            if depth_of(&name).is_some_and(|other| other != depth) {
                // One that stays is read again, and outdated targets in it go when discovery is done.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn bucket(id: u64, depth: u32) -> u32 {
    // The identity is a hash.
    if depth == 0 { 0 } else { (id >> (64 - depth)) as u32 }
}

fn depth_for(targets: usize) -> u32 {
    (targets / TARGETS_PER_BUCKET).max(1).next_power_of_two().ilog2().min(MAX_DEPTH)
}

/// Of `targets-DEPTH-BUCKET`.
fn depth_of(name: &str) -> Option<u32> {
    let (depth, bucket) = name.strip_prefix(PREFIX)?.split_once('-')?;
    bucket.parse::<u32>().ok()?;
    depth.parse().ok().filter(|depth| *depth <= MAX_DEPTH)
}

fn note_time(recalled: &mut Recalled, path: &Path) {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let since = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let millis = since.and_then(|since| i64::try_from(since.as_millis()).ok());
    recalled.written_millis = recalled.written_millis.max(millis);
}

fn pack_targets(mut targets: Vec<Arc<ScrapeTarget>>) -> Result<Vec<u8>, std::io::Error> {
    targets.sort_unstable_by(|one, other| (&one.job, one.id).cmp(&(&other.job, other.id)));
    let mut builder = AssignBuilder::default();
    targets.iter().for_each(|target| builder.push(target, None));
    zstd::bulk::compress(&builder.build(0).encode_to_vec(), LEVEL)
}

fn unpack_targets(bytes: &[u8]) -> Result<Vec<Arc<ScrapeTarget>>, String> {
    let bytes = unpack(bytes)?;
    let message = Assign::decode(&*bytes).map_err(|error| error.to_string())?;
    let (good, bad) = message.read();
    for error in bad {
        tracing::warn!(%error, "a target on disk is not readable, skipped");
    }
    Ok(good.into_iter().map(|assigned| assigned.target).collect())
}

fn unpack(bytes: &[u8]) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let decoder = zstd::Decoder::new(bytes).map_err(|error| error.to_string())?;
    let mut unpacked = Vec::new();
    let limit = MAX_BUCKET_BYTES as u64;
    decoder.take(limit + 1).read_to_end(&mut unpacked).map_err(|error| error.to_string())?;
    if unpacked.len() > MAX_BUCKET_BYTES {
        return Err(format!("it is larger than {MAX_BUCKET_BYTES} bytes"));
    }
    Ok(unpacked)
}

fn pack_configuration(bundle: &ConfigurationBundle) -> Vec<u8> {
    let message = Configuration {
        complete: true,
        base: Some(bundle.base.clone()),
        jobs: bundle.jobs.clone(),
        directory: bundle.directory.clone(),
        ..Configuration::default()
    };
    message.encode_to_vec()
}

fn unpack_configuration(bytes: &[u8]) -> Result<ConfigurationBundle, String> {
    let message = Configuration::decode(bytes).map_err(|error| error.to_string())?;
    Ok(ConfigurationBundle {
        base: message.base.unwrap_or_default(),
        directory: message.directory,
        jobs: message.jobs,
        files: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
