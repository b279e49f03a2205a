//! Timestamps, values, exemplars and the stale marker.

use crate::labels::Labels;

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Seconds since the epoch, with fraction.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// Milliseconds from `earlier` to `self`; negative when `self` is earlier.
    pub const fn since(self, earlier: Timestamp) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The time `millis` later.
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

/// Bits of the NaN that marks a series as stale (Prometheus `model/value/value.go`).
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Bits of the NaN that an exposed `NaN` becomes (Prometheus `model/value/value.go`).
pub const NORMAL_NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// The stale marker.
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// The canonical NaN of exposed values.
pub fn normal_nan() -> f64 {
    f64::from_bits(NORMAL_NAN_BITS)
}

/// Whether `value` is the stale marker, bit by bit.
pub fn is_stale_nan(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// An example of what went into a sample, usually with the id of a trace.
#[derive(Debug, Clone)]
pub struct Exemplar {
    /// What the example was.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
    /// When it happened; absent where it was exposed without a time.
    pub timestamp: Option<Timestamp>,
}

impl PartialEq for Exemplar {
    /// Equal by bits, as [`Sample`].
    fn eq(&self, other: &Self) -> bool {
        (&self.labels, self.value.to_bits(), self.timestamp)
            == (&other.labels, other.value.to_bits(), other.timestamp)
    }
}

/// One value at one time.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// When.
    pub timestamp: Timestamp,
    /// What; may be the stale marker.
    pub value: f64,
}

impl PartialEq for Sample {
    /// Equal by bits, so that NaN equals itself and differs from the stale marker.
    fn eq(&self, other: &Self) -> bool {
        self.timestamp == other.timestamp && self.value.to_bits() == other.value.to_bits()
    }
}
