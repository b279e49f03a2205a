//! What was found damaged, by reason.

use std::fmt;

/// Why something on the disk could not be used. Bounded, so it can be a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CorruptReason {
    /// A segment's header: its records are read all the same.
    SegmentHeader,
    /// Bytes where a record should begin: reading went on at the next record.
    RecordHeader,
    /// A record's payload does not have its checksum.
    RecordPayload,
    /// A segment ends within a record: the process or machine ended while it was written. Its `append` had not
    /// returned, unless the machine went down before a `sync`.
    TornTail,
    /// The disk could not read it.
    Unreadable,
}

impl CorruptReason {
    /// Every reason.
    pub const ALL: [CorruptReason; 5] = [
        CorruptReason::SegmentHeader,
        CorruptReason::RecordHeader,
        CorruptReason::RecordPayload,
        CorruptReason::TornTail,
        CorruptReason::Unreadable,
    ];

    /// The label value used in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            CorruptReason::SegmentHeader => "segment_header",
            CorruptReason::RecordHeader => "record_header",
            CorruptReason::RecordPayload => "record_payload",
            CorruptReason::TornTail => "torn_tail",
            CorruptReason::Unreadable => "unreadable",
        }
    }
}

/// How often each kind of damage was met. Damage in a row counts once.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct CorruptCounts([u64; CorruptReason::ALL.len()]);

/// The reasons that were met, with their counts.
impl fmt::Debug for CorruptCounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let met = self.iter().filter(|(_, count)| *count > 0);
        formatter.debug_map().entries(met.map(|(reason, count)| (reason.as_str(), count))).finish()
    }
}

impl CorruptCounts {
    /// How often this was met.
    pub fn get(&self, reason: CorruptReason) -> u64 {
        self.0[reason as usize]
    }

    /// How often anything was met.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (CorruptReason, u64)> {
        CorruptReason::ALL.into_iter().map(|reason| (reason, self.get(reason)))
    }

    pub(super) fn add(&mut self, reason: CorruptReason) {
        self.0[reason as usize] += 1;
    }

    pub(super) fn add_all(&mut self, other: &CorruptCounts) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum += count;
        }
    }
}
