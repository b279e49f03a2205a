//! The request budget of a cluster: a token bucket that all its requests draw from.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How many requests may be sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RequestBudget {
    /// Sustained requests per second.
    pub per_second: f64,
    /// Requests that may be sent at once after a quiet time.
    pub burst: u32,
}

impl Default for RequestBudget {
    /// 5 per second, 20 at once: enough for every resource to start together.
    fn default() -> Self {
        Self { per_second: 5.0, burst: 20 }
    }
}

/// The bucket. Waiting callers are served in order of arrival.
#[derive(Debug)]
pub(crate) struct Bucket {
    interval: Duration,
    burst: u32,
    /// The moment at which the bucket is full again.
    full_at: Mutex<Instant>,
}

impl Bucket {
    pub(crate) fn new(budget: RequestBudget) -> Self {
        // A rate of zero would stop everything for ever; the smallest rate is one request in ten minutes.
        let interval = Duration::from_secs_f64(1.0 / budget.per_second.max(1.0 / 600.0));
        Self { interval, burst: budget.burst.max(1), full_at: Mutex::new(Instant::now()) }
    }

    /// Takes one token, waiting for it if need be.
    pub(crate) async fn take(&self) {
        let wait = self.reserve(Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    fn reserve(&self, now: Instant) -> Duration {
        let mut full_at = self.full_at.lock();
        let next = (*full_at).max(now) + self.interval;
        *full_at = next;
        next.saturating_duration_since(now).saturating_sub(self.interval * self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_at_once_and_the_rest_at_the_rate() {
        let bucket = Bucket::new(RequestBudget { per_second: 5.0, burst: 20 });
        let start = Instant::now();
        for _ in 0..20 {
            bucket.take().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..10 {
            bucket.take().await;
        }
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        tokio::time::sleep(Duration::from_secs(60)).await;
        let later = Instant::now();
        for _ in 0..20 {
            bucket.take().await;
        }
        assert_eq!(
            later.elapsed(),
            Duration::ZERO,
            "a quiet time fills the bucket again, and no more than that"
        );
        bucket.take().await;
        assert!(later.elapsed() > Duration::ZERO);
    }
}
