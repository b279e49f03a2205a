//! What an answer of a remote-write receiver means for the batch that was sent.

use std::time::Duration;

use http::StatusCode;
use outrigger_model::sample::Timestamp;

/// Longest pause that a `Retry-After` header can ask for; a longer one counts as this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It arrived.
    Delivered,
    /// Send it again, after the time that the receiver asked for or with the usual backoff.
    Retry(Option<Duration>),
    /// The receiver takes smaller requests only.
    TooLarge,
    /// The receiver will never take it.
    Rejected,
}

/// Judges a status.
///
/// Prometheus retries 5xx, and 429 when told so, and drops a batch on every other refusal. Here everything is
/// retried that a fixed token, path, proxy or quota would cure, since samples dropped during such a mistake are lost
/// for good: 3xx (a redirect that is not followed), 401, 403, 404, 405, 407, 408, 425, and 429 always. A refusal of
/// the content (400, 409, 413, 415, 422 and the rest) drops the batch, as a repetition would be refused again.
pub(crate) fn judge(status: StatusCode, retry_after: Option<&str>, now: Timestamp) -> Verdict {
    match status.as_u16() {
        200..=299 => Verdict::Delivered,
        413 => Verdict::TooLarge,
        429 | 500..=599 => Verdict::Retry(retry_after.and_then(|header| parse_retry_after(header, now))),
        300..=399 | 401 | 403 | 404 | 405 | 407 | 408 | 425 => Verdict::Retry(None),
        _ => Verdict::Rejected,
    }
}

/// `Retry-After`: seconds or an HTTP date. A time in the past, or nonsense, is none.
fn parse_retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    let wait = if header.bytes().all(|byte| byte.is_ascii_digit()) {
        Duration::from_secs(header.parse().ok()?)
    } else {
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(header).ok()?;
        let millis = date.as_millisecond().saturating_sub(now.millis());
        Duration::from_millis(u64::try_from(millis).ok()?)
    };
    (!wait.is_zero()).then(|| wait.min(MAX_RETRY_AFTER))
}

/// Pauses between attempts: doubling from `min_backoff` to `max_backoff`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(min: Duration) -> Self {
        Self { next: min }
    }

    /// The pause before the next attempt, given what the receiver asked for.
    pub(crate) fn pause(&mut self, retry_after: Option<Duration>, max: Duration) -> Duration {
        let pause = retry_after.unwrap_or(self.next);
        self.next = pause.saturating_mul(2).min(max);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_fixed_token_or_path_would_cure_is_retried_and_refused_content_is_not() {
        let retry = Verdict::Retry(None);
        let after = |seconds| Verdict::Retry(Some(Duration::from_secs(seconds)));
        // Wed, 21 Oct 2015 07:28:00 GMT
        let now = Timestamp::from_millis(1_445_412_480_000);
        for (status, retry_after, expected) in [
            (200, None, Verdict::Delivered),
            (204, None, Verdict::Delivered),
            (302, None, retry),
            (400, Some("5"), Verdict::Rejected),
            (401, None, retry),
            (403, None, retry),
            (404, None, retry),
            (405, None, retry),
            (407, None, retry),
            (408, None, retry),
            (409, None, Verdict::Rejected),
            (413, None, Verdict::TooLarge),
            (415, None, Verdict::Rejected),
            (422, None, Verdict::Rejected),
            (429, None, retry),
            (429, Some("7"), after(7)),
            (429, Some("0"), retry),
            (429, Some("-5"), retry),
            (429, Some("soon"), retry),
            (429, Some("999999999999999999999999"), retry),
            (429, Some("86400"), after(600)),
            (429, Some("Wed, 21 Oct 2015 07:28:30 GMT"), after(30)),
            (429, Some("Wed, 21 Oct 2015 07:27:30 GMT"), retry),
            (500, None, retry),
            (503, Some("3"), after(3)),
            (599, None, retry),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(judge(status, retry_after, now), expected, "{status} {retry_after:?}");
        }
    }

    #[test]
    fn backoff_doubles_from_the_smallest_to_the_largest_pause_and_obeys_the_receiver() {
        let millis = Duration::from_millis;
        let mut backoff = Backoff::new(millis(30));
        let mut pause = |retry_after| backoff.pause(retry_after, millis(100));
        assert_eq!(pause(None), millis(30));
        assert_eq!(pause(None), millis(60));
        assert_eq!(pause(None), millis(100));
        assert_eq!(pause(Some(millis(7_000))), millis(7_000));
        assert_eq!(pause(None), millis(100));
    }
}
