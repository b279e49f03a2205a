//! Pauses between attempts to reach a master.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

const FLOOR: Duration = Duration::from_millis(200);
const CAP: Duration = Duration::from_secs(5);

/// Pauses that grow with jitter: each is uniform between the floor and three times the one before.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    previous: Option<Duration>,
    random: u64,
}

impl Backoff {
    /// One that differs in every process.
    pub(crate) fn from_process() -> Self {
        Self::seeded(random_number())
    }

    /// The same for the same seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { previous: None, random: seed | 1 }
    }

    /// The next pause.
    pub(crate) fn next(&mut self) -> Duration {
        let high = self.previous.unwrap_or(FLOOR).saturating_mul(3).min(CAP);
        let pause = FLOOR + high.saturating_sub(FLOOR).mul_f64(self.fraction());
        self.previous = Some(pause);
        pause
    }

    /// The next pause is a short one again.
    pub(crate) fn reset(&mut self) {
        self.previous = None;
    }

    /// Uniform in `[0, 1)` (xorshift64*).
    fn fraction(&mut self) -> f64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A number that differs in every process and for every caller; not for secrets.
pub(crate) fn random_number() -> u64 {
    RandomState::new().build_hasher().finish()
}
