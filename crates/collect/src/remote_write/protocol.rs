//! Which message and compression an endpoint's receiver takes, and finding that out.
//!
//! Where the configuration does not say `protobuf_message`, requests begin with the cheapest protocol, and what the
//! receiver answers leads down to one that it takes: 415 (and, before anything was accepted, 400) to the next, a success
//! without the counts that version 2.0 demands to version 1.0, whose receivers ignore the unknown message. Nothing is lost
//! on the way: what was not taken is sent again.

use std::sync::atomic::{AtomicU8, Ordering};

use http::HeaderValue;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use outrigger_config::prometheus::RemoteWriteMessage;

/// The protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    V1,
    V2,
}

/// The compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Block format, as the specifications demand.
    Snappy,
    /// As VictoriaMetrics and others take it.
    Zstd,
}

/// How a request is encoded. The numbers are those of records in the disk queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Protocol {
    pub(crate) message: Message,
    pub(crate) compression: Compression,
}

const fn protocol(message: Message, compression: Compression) -> Protocol {
    Protocol { message, compression }
}

/// The most universal one.
pub(crate) const V1_SNAPPY: Protocol = protocol(Message::V1, Compression::Snappy);
const V1_ZSTD: Protocol = protocol(Message::V1, Compression::Zstd);
const V2_SNAPPY: Protocol = protocol(Message::V2, Compression::Snappy);
const V2_ZSTD: Protocol = protocol(Message::V2, Compression::Zstd);

/// By their numbers.
const NUMBERED: [Protocol; 4] = [V1_SNAPPY, V1_ZSTD, V2_SNAPPY, V2_ZSTD];

impl Protocol {
    pub(crate) fn number(self) -> u8 {
        NUMBERED.iter().position(|known| *known == self).unwrap_or_default() as u8
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        NUMBERED.get(usize::from(number)).copied()
    }

    /// The headers that name it.
    pub(crate) fn headers(self) -> [(http::HeaderName, HeaderValue); 3] {
        let (content_type, version) = match self.message {
            Message::V1 => ("application/x-protobuf", "0.1.0"),
            Message::V2 => ("application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"),
        };
        let encoding = match self.compression {
            Compression::Snappy => "snappy",
            Compression::Zstd => "zstd",
        };
        [
            (CONTENT_TYPE, HeaderValue::from_static(content_type)),
            (CONTENT_ENCODING, HeaderValue::from_static(encoding)),
            (
                http::HeaderName::from_static("x-prometheus-remote-write-version"),
                HeaderValue::from_static(version),
            ),
        ]
    }

    /// For the page and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match (self.message, self.compression) {
            (Message::V1, Compression::Snappy) => "1.0, snappy",
            (Message::V1, Compression::Zstd) => "1.0, zstd",
            (Message::V2, Compression::Snappy) => "2.0, snappy",
            (Message::V2, Compression::Zstd) => "2.0, zstd",
        }
    }
}

/// Protocols to try, the best first; the last one is always version 1.0 with snappy.
fn ladder(configured: Option<RemoteWriteMessage>) -> &'static [Protocol] {
    match configured {
        None => &[V2_ZSTD, V2_SNAPPY, V1_ZSTD, V1_SNAPPY],
        Some(RemoteWriteMessage::V2) => &[V2_SNAPPY, V1_SNAPPY],
        Some(RemoteWriteMessage::V1) => &[V1_SNAPPY],
    }
}

/// What an answer says about the protocol of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Accepted, and by a receiver that understood it.
    Taken,
    /// A success, but without the counts that receivers of version 2.0 give.
    Unconfirmed,
    /// 415.
    UnsupportedMedia,
    /// Any other refusal of the content.
    Refused,
}

/// Where on its ladder an endpoint is.
#[derive(Debug)]
pub(crate) struct Negotiation {
    ladder: &'static [Protocol],
    /// The rung times two, plus one when something was accepted on it.
    state: AtomicU8,
}

impl Negotiation {
    pub(crate) fn new(configured: Option<RemoteWriteMessage>) -> Self {
        Self { ladder: ladder(configured), state: AtomicU8::new(0) }
    }

    /// The protocol for the next request.
    pub(crate) fn protocol(&self) -> Protocol {
        self.ladder[usize::from(self.state.load(Ordering::Relaxed) >> 1)]
    }

    /// Takes the answer to a request that was encoded as `sent`. True when the request is to be sent again in another
    /// protocol.
    pub(crate) fn step(&self, sent: Protocol, reply: Reply) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        let (rung, confirmed) = (usize::from(state >> 1), state & 1 == 1);
        let Some(at) = self.ladder.iter().position(|protocol| *protocol == sent) else { return true };
        let below = |wanted: &dyn Fn(Protocol) -> bool| {
            (at + 1..self.ladder.len()).find(|next| wanted(self.ladder[*next]))
        };
        let next = match reply {
            Reply::Taken => {
                let taken = (at as u8) << 1 | 1;
                let _ = self.state.compare_exchange(state, taken, Ordering::Relaxed, Ordering::Relaxed);
                return false;
            }
            Reply::Unconfirmed => below(&|next| next.message == Message::V1),
            Reply::UnsupportedMedia => below(&|_| true),
            Reply::Refused if confirmed && at == rung => None,
            // The content of a zstd body looks broken to a receiver that takes it for snappy.
            Reply::Refused => below(&|_| true).filter(|_| self.ladder.len() > 2),
        };
        let Some(next) = next else { return false };
        if next > rung {
            self.state.store((next as u8) << 1, Ordering::Relaxed);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_lead_to_a_protocol_that_the_receiver_takes() {
        use Reply::*;
        let v1 = Some(RemoteWriteMessage::V1);
        let v2 = Some(RemoteWriteMessage::V2);
        // configured, answers, sent again after each, protocol in the end
        for (configured, replies, again, end) in [
            (None, &[Taken][..], &[false][..], V2_ZSTD),
            (None, &[UnsupportedMedia, Taken], &[true, false], V2_SNAPPY),
            (None, &[Refused, Refused, Refused, Refused], &[true, true, true, false], V1_SNAPPY),
            (None, &[Unconfirmed, Taken], &[true, false], V1_ZSTD),
            (None, &[Unconfirmed, UnsupportedMedia, Taken], &[true, true, false], V1_SNAPPY),
            (None, &[Taken, Refused], &[false, false], V2_ZSTD),
            (None, &[Taken, UnsupportedMedia, Taken], &[false, true, false], V2_SNAPPY),
            (v2, &[Taken, Refused], &[false, false], V2_SNAPPY),
            (v2, &[Refused], &[false], V2_SNAPPY),
            (v2, &[UnsupportedMedia], &[true], V1_SNAPPY),
            (v2, &[Unconfirmed], &[true], V1_SNAPPY),
            (v1, &[UnsupportedMedia], &[false], V1_SNAPPY),
            (v1, &[Taken], &[false], V1_SNAPPY),
        ] {
            let negotiation = Negotiation::new(configured);
            for (reply, again) in replies.iter().zip(again) {
                assert_eq!(negotiation.step(negotiation.protocol(), *reply), *again, "{replies:?}");
            }
            assert_eq!(negotiation.protocol(), end, "{configured:?} {replies:?}");
        }
    }

    #[test]
    fn a_late_answer_to_an_older_protocol_changes_nothing_but_its_own_request() {
        let negotiation = Negotiation::new(None);
        assert!(negotiation.step(V2_ZSTD, Reply::Unconfirmed));
        assert!(!negotiation.step(V1_ZSTD, Reply::Taken));
        assert!(negotiation.step(V2_ZSTD, Reply::Unconfirmed), "another shard's request");
        assert_eq!(negotiation.protocol(), V1_ZSTD);
        assert!(!negotiation.step(V1_ZSTD, Reply::Refused), "still confirmed");
    }

    #[test]
    fn numbers_of_records_never_change() {
        let numbers = [V1_SNAPPY, V1_ZSTD, V2_SNAPPY, V2_ZSTD].map(Protocol::number);
        assert_eq!(numbers, [0, 1, 2, 3]);
        assert_eq!(Protocol::from_number(3), Some(V2_ZSTD));
        assert_eq!(Protocol::from_number(4), None);
    }
}
