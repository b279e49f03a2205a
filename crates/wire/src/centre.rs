//! Messages between masters and workers: gRPC service `outrigger.centre.v1.Centre`, methods `Work` and `Keep`, a stream
//! each way.
//!
//! `Work` is for the master that leads. On `Keep` a worker tells each of the others what the heirs of its targets will
//! need, in case that one leads when the worker dies: a `Hello` without targets, then `Costs` with series sets, and
//! `Names`. It answers nothing but `Rejected`: a master that leads, or does so from now on, ends it.
//!
//! Fields are only ever added, and never change their number or meaning, so that an old worker works with a new master
//! and the reverse: what a reader does not know it skips, what is missing has its default. A change that this cannot
//! express gets a new protocol number; each side says which it speaks and the master takes the highest common one.

mod targets;

pub use targets::{AssignBuilder, AssignedTarget, InvalidTarget};

/// Path of the streaming method.
pub const WORK_PATH: &str = "/outrigger.centre.v1.Centre/Work";
/// Path of the streaming method on which masters that do not lead are kept up to date.
pub const KEEP_PATH: &str = "/outrigger.centre.v1.Centre/Keep";
/// Lowest protocol number that this version speaks.
pub const PROTOCOL_MIN: u32 = 1;
/// Highest protocol number that this version speaks.
pub const PROTOCOL_MAX: u32 = 1;

/// A message of a worker.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FromWorker {
    /// What it says; `None` is a kind that this version does not know.
    #[prost(oneof = "from_worker::Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub kind: Option<from_worker::Kind>,
}

/// Kinds of [`FromWorker`].
pub mod from_worker {
    /// What a worker says.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Kind {
        /// First message of each stream.
        #[prost(message, tag = "1")]
        Hello(super::Hello),
        /// Sent at least three times within a lease.
        #[prost(message, tag = "2")]
        Heartbeat(super::Heartbeat),
        /// Targets that are no longer scraped, as the master asked.
        #[prost(message, tag = "3")]
        Released(super::Released),
        /// An assignment is in force.
        #[prost(message, tag = "4")]
        Applied(super::Applied),
        /// What targets cost, where that has changed.
        #[prost(message, tag = "5")]
        Costs(super::Costs),
        /// The worker's own metrics.
        #[prost(message, tag = "6")]
        SelfMetrics(super::SelfMetrics),
        /// The worker is shutting down: its targets are to go elsewhere, one by one, before it ends.
        #[prost(message, tag = "7")]
        Leaving(super::Leaving),
        /// Names that the worker has resolved.
        #[prost(message, tag = "8")]
        Names(super::Names),
    }
}

/// A message of a master.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FromMaster {
    /// What it says; `None` is a kind that this version does not know.
    #[prost(oneof = "from_master::Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub kind: Option<from_master::Kind>,
}

/// Kinds of [`FromMaster`].
pub mod from_master {
    /// What a master says.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Kind {
        /// Answer to `Hello`: the worker belongs to the fleet.
        #[prost(message, tag = "1")]
        Welcome(super::Welcome),
        /// Answer to `Hello`: it does not; the stream ends.
        #[prost(message, tag = "2")]
        Rejected(super::Rejected),
        /// Scrape and remote-write configuration.
        #[prost(message, tag = "3")]
        Configuration(super::Configuration),
        /// Targets to scrape.
        #[prost(message, tag = "4")]
        Assign(super::Assign),
        /// Targets to hand over: stop without stale markers, then say `Released`.
        #[prost(message, tag = "5")]
        Release(super::Release),
        /// Targets that are gone: stop, with stale markers.
        #[prost(message, tag = "6")]
        Remove(super::Remove),
        /// The state of whole jobs.
        #[prost(message, tag = "7")]
        Jobs(super::Jobs),
        /// Answer to `Heartbeat`.
        #[prost(message, tag = "8")]
        Beat(super::Beat),
    }
}

/// Who a worker is and what it holds.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Hello {
    /// Name, the same after a restart; with mutual TLS a DNS name of its certificate.
    #[prost(string, tag = "1")]
    pub worker: String,
    /// Differs from start to start.
    #[prost(fixed64, tag = "2")]
    pub instance: u64,
    /// Outrigger's version, for people.
    #[prost(string, tag = "3")]
    pub version: String,
    /// Lowest protocol number it speaks.
    #[prost(uint32, tag = "4")]
    pub protocol_min: u32,
    /// Highest protocol number it speaks.
    #[prost(uint32, tag = "5")]
    pub protocol_max: u32,
    /// Zone that it runs in; may be empty.
    #[prost(string, tag = "6")]
    pub zone: String,
    /// Its share of the load in comparison with others; 0 means 1.
    #[prost(double, tag = "7")]
    pub weight: f64,
    /// Address at which other workers can ask whether it lives (`http://` or `https://`, host, port); may be empty.
    #[prost(string, tag = "8")]
    pub advertise: String,
    /// Highest epoch it has obeyed.
    #[prost(uint64, tag = "9")]
    pub epoch: u64,
    /// Revision of the configuration it has.
    #[prost(uint64, tag = "10")]
    pub configuration_revision: u64,
    /// What it scrapes now.
    #[prost(message, repeated, tag = "11")]
    pub held: Vec<TargetIds>,
    /// It started from its disk and has heard no master since then.
    #[prost(bool, tag = "12")]
    pub from_disk: bool,
    /// Its wall clock, milliseconds since the epoch.
    #[prost(int64, tag = "13")]
    pub now_millis: i64,
}

/// Targets of one job, by identity.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TargetIds {
    /// `job_name`.
    #[prost(string, tag = "1")]
    pub job: String,
    /// `ScrapeTarget::id`.
    #[prost(fixed64, repeated, tag = "2")]
    pub ids: Vec<u64>,
}

/// A sign of life.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Heartbeat {
    /// Counts up in a stream.
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    /// The worker's wall clock, milliseconds since the epoch.
    #[prost(int64, tag = "2")]
    pub now_millis: i64,
    /// How it fares.
    #[prost(message, optional, tag = "3")]
    pub status: Option<WorkerStatus>,
    /// The master's clock minus the worker's as the worker measured it, milliseconds.
    #[prost(sint64, tag = "4")]
    pub clock_offset_millis: i64,
}

/// How a worker fares; shown on the page and used for the wanted number of workers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WorkerStatus {
    /// Targets that it scrapes.
    #[prost(uint64, tag = "1")]
    pub targets: u64,
    /// Series that it remembers.
    #[prost(uint64, tag = "2")]
    pub series: u64,
    /// Samples handed to remote write since its start.
    #[prost(uint64, tag = "3")]
    pub samples: u64,
    /// CPU time since its start, seconds.
    #[prost(double, tag = "4")]
    pub cpu_seconds: f64,
    /// CPUs that it may use; 0 when it does not know.
    #[prost(double, tag = "5")]
    pub cpu_limit: f64,
    /// Memory, bytes.
    #[prost(uint64, tag = "6")]
    pub resident_bytes: u64,
    /// Memory that it may use; 0 when it does not know.
    #[prost(uint64, tag = "7")]
    pub memory_limit_bytes: u64,
    /// 99th percentile of the lateness of its scrapes in the last minute, seconds.
    #[prost(double, tag = "8")]
    pub lateness_seconds: f64,
    /// Ticks that it skipped since its start.
    #[prost(uint64, tag = "9")]
    pub skipped_ticks: u64,
    /// Bytes that wait for receivers in memory.
    #[prost(uint64, tag = "10")]
    pub queue_memory_bytes: u64,
    /// Bytes that wait for receivers on disk.
    #[prost(uint64, tag = "11")]
    pub queue_disk_bytes: u64,
    /// How far the slowest receiver is behind, seconds.
    #[prost(double, tag = "12")]
    pub lag_seconds: f64,
    /// Revision of the configuration in force.
    #[prost(uint64, tag = "13")]
    pub configuration_revision: u64,
    /// Why the newest configuration is not in force; empty when it is.
    #[prost(string, tag = "14")]
    pub configuration_error: String,
    /// Scrapes since its start.
    #[prost(uint64, tag = "15")]
    pub scrapes: u64,
    /// Scrapes that failed since its start.
    #[prost(uint64, tag = "16")]
    pub failed_scrapes: u64,
}

/// Targets that the worker has stopped scraping; none of them gets stale markers from it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Released {
    /// `Release::request`.
    #[prost(uint64, tag = "1")]
    pub request: u64,
    /// One for each target of the request, those that the worker did not have included.
    #[prost(message, repeated, tag = "2")]
    pub targets: Vec<ReleasedTarget>,
}

/// One target of [`Released`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReleasedTarget {
    /// `job_name`.
    #[prost(string, tag = "1")]
    pub job: String,
    /// `ScrapeTarget::id`.
    #[prost(fixed64, tag = "2")]
    pub id: u64,
    /// What the next owner needs.
    #[prost(message, optional, tag = "3")]
    pub inheritance: Option<Inheritance>,
}

/// What one owner of a target leaves to the next.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Inheritance {
    /// Timestamp of the last scrape, milliseconds since the epoch; 0 when there was none.
    #[prost(int64, tag = "1")]
    pub last_scrape_millis: i64,
    /// How long ago that was when the message was sent, milliseconds: holds whatever the clocks say.
    #[prost(uint64, tag = "2")]
    pub last_scrape_age_millis: u64,
    /// The series of the last scrape, so that those that vanish get stale markers from the heir: the bytes of
    /// `outrigger_collect`'s series set, opaque to the master; may be empty.
    #[prost(bytes = "vec", tag = "3")]
    pub series: Vec<u8>,
}

/// Everything up to a revision is in force.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Applied {
    /// Of the last [`Assign`] or [`Remove`].
    #[prost(uint64, tag = "1")]
    pub revision: u64,
}

/// What targets cost.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Costs {
    /// One for each job.
    #[prost(message, repeated, tag = "1")]
    pub jobs: Vec<JobCosts>,
}

/// What targets of one job cost; the lists have one entry for each target.
#[derive(Clone, PartialEq, prost::Message)]
pub struct JobCosts {
    /// `job_name`.
    #[prost(string, tag = "1")]
    pub job: String,
    /// `ScrapeTarget::id`.
    #[prost(fixed64, repeated, tag = "2")]
    pub ids: Vec<u64>,
    /// Series of the last scrape after relabelling.
    #[prost(uint64, repeated, tag = "3")]
    pub series: Vec<u64>,
    /// Bytes of the last body, uncompressed.
    #[prost(uint64, repeated, tag = "4")]
    pub body_bytes: Vec<u64>,
    /// The series sets of targets whose series have changed, for the heir if this worker dies; empty for the others.
    #[prost(bytes = "vec", repeated, tag = "5")]
    pub series_sets: Vec<Vec<u8>>,
    /// Targets that are gone, with the ends of their series written: nobody needs their series sets any more. Only on
    /// `Keep`; the leader knows it from [`Applied`].
    #[prost(fixed64, repeated, tag = "6")]
    pub gone: Vec<u64>,
}

/// Names that are new to the master or have other addresses now.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Names {
    /// The names.
    #[prost(message, repeated, tag = "1")]
    pub names: Vec<ResolvedName>,
}

/// A name and the last good answer for it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ResolvedName {
    /// The name, in lower case.
    #[prost(string, tag = "1")]
    pub host: String,
    /// IP addresses as text, in the order to try them.
    #[prost(string, repeated, tag = "2")]
    pub addresses: Vec<String>,
}

/// The metrics of the worker itself.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SelfMetrics {
    /// Text exposition format, compressed with zstd.
    #[prost(bytes = "vec", tag = "1")]
    pub exposition: Vec<u8>,
    /// When it was taken, milliseconds since the epoch.
    #[prost(int64, tag = "2")]
    pub at_millis: i64,
}

/// The worker is going.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Leaving {
    /// How long it will go on scraping what it has not handed over, milliseconds.
    #[prost(uint64, tag = "1")]
    pub grace_millis: u64,
}

/// A worker belongs to the fleet.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Welcome {
    /// Term of this leader; a worker obeys none with a lower one than it has seen.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// Name of the master.
    #[prost(string, tag = "2")]
    pub master: String,
    /// Outrigger's version, for people.
    #[prost(string, tag = "3")]
    pub version: String,
    /// Protocol number for this stream.
    #[prost(uint32, tag = "4")]
    pub protocol: u32,
    /// A worker that is silent for so long is taken for dead, milliseconds.
    #[prost(uint64, tag = "5")]
    pub lease_millis: u64,
    /// The master's wall clock, milliseconds since the epoch.
    #[prost(int64, tag = "6")]
    pub now_millis: i64,
    /// Moves the ticks of all targets; the same for all workers.
    #[prost(fixed64, tag = "7")]
    pub offset_seed: u64,
}

/// A worker does not belong to the fleet, or not here.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Rejected {
    /// Why.
    #[prost(enumeration = "RejectReason", tag = "1")]
    pub reason: i32,
    /// Why, for people.
    #[prost(string, tag = "2")]
    pub message: String,
    /// Where the leader is, if this is not it and it knows.
    #[prost(string, tag = "3")]
    pub leader: String,
}

/// Reasons of [`Rejected`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum RejectReason {
    /// One that this version does not know.
    Unspecified = 0,
    /// This master does not lead: ask the one that does, or again later.
    NotLeader = 1,
    /// Another living process has this name.
    NameTaken = 2,
    /// The certificate or token is another worker's.
    WrongName = 3,
    /// No protocol number in common.
    Protocol = 4,
    /// The worker has obeyed a later leader than this one.
    Deposed = 5,
    /// The first message was not a usable `Hello`.
    BadHello = 6,
    /// The worker was too slow to take its messages; it may come again at once.
    TooSlow = 7,
    /// On `Keep`: this master leads.
    Leads = 8,
}

/// The scrape and remote-write configuration, whole or what changed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Configuration {
    /// Counts up with each change.
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    /// Replaces everything that the worker has; otherwise `jobs` are added to it and `removed_jobs` taken away.
    #[prost(bool, tag = "2")]
    pub complete: bool,
    /// Prometheus configuration file without its `scrape_configs`, YAML; unset when it has not changed.
    #[prost(string, optional, tag = "3")]
    pub base: Option<String>,
    /// New and changed entries of `scrape_configs`.
    #[prost(message, repeated, tag = "4")]
    pub jobs: Vec<JobConfiguration>,
    /// `job_name`s that are gone.
    #[prost(string, repeated, tag = "5")]
    pub removed_jobs: Vec<String>,
    /// Folder that relative paths in the YAML start from.
    #[prost(string, tag = "6")]
    pub directory: String,
    /// Contents of the files that the configuration names (certificates, tokens), as the master read them; new and
    /// changed ones only, unless `complete`.
    #[prost(message, repeated, tag = "7")]
    pub files: Vec<File>,
}

/// One entry of `scrape_configs`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct JobConfiguration {
    /// `job_name`.
    #[prost(string, tag = "1")]
    pub job: String,
    /// The mapping, YAML, without a list marker.
    #[prost(string, tag = "2")]
    pub yaml: String,
}

/// A file that the configuration names.
#[derive(Clone, PartialEq, prost::Message)]
pub struct File {
    /// Absolute path on the master.
    #[prost(string, tag = "1")]
    pub path: String,
    /// What is in it.
    #[prost(bytes = "vec", tag = "2")]
    pub contents: Vec<u8>,
    /// The master cannot read it (any more).
    #[prost(bool, tag = "3")]
    pub missing: bool,
}

/// Targets for a worker. Texts stand once in `texts`; everything else refers to them by place.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Assign {
    /// Counts up with each message of an epoch that changes the assignment of this worker.
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    /// Label names, label values, jobs, URLs.
    #[prost(string, repeated, tag = "2")]
    pub texts: Vec<String>,
    /// The targets.
    #[prost(message, repeated, tag = "3")]
    pub targets: Vec<Target>,
    /// Host names in the targets' URLs with the addresses that a worker resolved last, for one that has not resolved
    /// them yet and cannot.
    #[prost(message, repeated, tag = "4")]
    pub names: Vec<ResolvedName>,
}

/// One target of [`Assign`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Target {
    /// `ScrapeTarget::id`.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// `job_name`, place in `texts`.
    #[prost(uint32, tag = "2")]
    pub job: u32,
    /// Full URL, place in `texts`.
    #[prost(uint32, tag = "3")]
    pub url: u32,
    /// Name and value in turn, places in `texts`, sorted by name.
    #[prost(uint32, repeated, tag = "4")]
    pub labels: Vec<u32>,
    /// Milliseconds.
    #[prost(uint64, tag = "5")]
    pub interval_millis: u64,
    /// Milliseconds.
    #[prost(uint64, tag = "6")]
    pub timeout_millis: u64,
    /// Native histograms are taken (1), classic series always (2), classic histograms are converted (4).
    #[prost(uint32, tag = "7")]
    pub histograms: u32,
    /// What the owner before left, for a target that was scraped until now.
    #[prost(message, optional, tag = "8")]
    pub inheritance: Option<Inheritance>,
}

/// Targets to hand over.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Release {
    /// Repeated in the answer.
    #[prost(uint64, tag = "1")]
    pub request: u64,
    /// Which.
    #[prost(message, repeated, tag = "2")]
    pub targets: Vec<TargetIds>,
}

/// Targets that are gone.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Remove {
    /// As in [`Assign`].
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    /// Which.
    #[prost(message, repeated, tag = "2")]
    pub targets: Vec<TargetIds>,
    /// Targets that went while nobody scraped them: what their last owner left, for the stale markers.
    #[prost(message, optional, tag = "3")]
    pub orphans: Option<Assign>,
}

/// The state of jobs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Jobs {
    /// Jobs over their `target_limit`: each scrape of them fails. Replaces the list before.
    #[prost(string, repeated, tag = "1")]
    pub over_target_limit: Vec<String>,
}

/// Answer to a heartbeat.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Beat {
    /// `Heartbeat::sequence`.
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    /// `Heartbeat::now_millis`.
    #[prost(int64, tag = "2")]
    pub worker_millis: i64,
    /// The master's wall clock, milliseconds since the epoch.
    #[prost(int64, tag = "3")]
    pub now_millis: i64,
    /// The master still leads; otherwise the worker looks for the one that does and changes nothing until then.
    #[prost(bool, tag = "4")]
    pub leading: bool,
}
