//! At most one log line per key and period, with the number of lines that were left out.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Most distinct keys that are remembered; when more repeat within one period, they share one entry.
const MAX_KEYS: usize = 4096;

/// Decides which of many equal log lines are written.
///
/// ```ignore
/// if let Some(suppressed) = limit.permit(&job) {
///     tracing::warn!(job, suppressed, "scrapes fail");
/// }
/// ```
#[derive(Debug)]
pub struct LogLimit {
    period: Duration,
    entries: Mutex<Entries>,
}

#[derive(Debug)]
struct Entries {
    by_key: HashMap<Box<str>, Entry>,
    purged: Instant,
}

#[derive(Debug)]
struct Entry {
    written: Instant,
    suppressed: u64,
}

impl LogLimit {
    /// Permits one line per key and `period`.
    pub fn new(period: Duration) -> Self {
        Self { period, entries: Mutex::new(Entries { by_key: HashMap::new(), purged: Instant::now() }) }
    }

    /// `Some(lines left out since the last one)` when a line about `key` may be written now.
    pub fn permit(&self, key: &str) -> Option<u64> {
        let now = Instant::now();
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.by_key.get_mut(key) {
            return entry.permit(now, self.period);
        }
        let full = entries.by_key.len() >= MAX_KEYS;
        if full && now.duration_since(entries.purged) >= self.period {
            entries.purged = now;
            entries.by_key.retain(|_, entry| now.duration_since(entry.written) < self.period);
        }
        // Beyond the bound, all further keys count as one, so that memory and log stay bounded.
        let key = if entries.by_key.len() >= MAX_KEYS { "" } else { key };
        if let Some(entry) = entries.by_key.get_mut(key) {
            return entry.permit(now, self.period);
        }
        entries.by_key.insert(key.into(), Entry { written: now, suppressed: 0 });
        Some(0)
    }
}

impl Entry {
    fn permit(&mut self, now: Instant, period: Duration) -> Option<u64> {
        if now.duration_since(self.written) < period {
            self.suppressed += 1;
            return None;
        }
        self.written = now;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_per_key_and_period_with_the_number_left_out() {
        let limit = LogLimit::new(Duration::from_secs(10));
        assert_eq!(limit.permit("a"), Some(0));
        assert_eq!(limit.permit("a"), None);
        assert_eq!(limit.permit("a"), None);
        assert_eq!(limit.permit("b"), Some(0));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(limit.permit("a"), Some(2));
        assert_eq!(limit.permit("a"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_bounded() {
        let limit = LogLimit::new(Duration::from_secs(10));
        for key in 0..3 * MAX_KEYS {
            limit.permit(&key.to_string());
        }
        assert!(limit.entries.lock().by_key.len() <= MAX_KEYS + 1);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(limit.permit("fresh"), Some(0));
        assert_eq!(limit.entries.lock().by_key.len(), 1);
    }
}
