//! Bodies of `io.prometheus.client.MetricFamily` messages, each behind its length (client_model's `metrics.proto`).

/// A message in the making.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn message(self, field: u64, message: Message) -> Self {
        self.bytes(field, &message.0)
    }

    fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    /// `sint32` and `sint64`.
    fn signed(self, field: u64, value: i64) -> Self {
        self.number(field, (value << 1 ^ value >> 63).cast_unsigned())
    }

    fn float(mut self, field: u64, value: f64) -> Self {
        self.varint(field << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn span(self, field: u64, offset: i64, length: u64) -> Self {
        self.message(field, Message::default().signed(1, offset).number(2, length))
    }
}

const COUNTER: u64 = 0;
const GAUGE: u64 = 1;
const SUMMARY: u64 = 2;
const UNTYPED: u64 = 3;
const HISTOGRAM: u64 = 4;

fn label(name: &str, value: &str) -> Message {
    Message::default().bytes(1, name.as_bytes()).bytes(2, value.as_bytes())
}

fn family(name: &str, help: &str, kind: u64, metrics: Vec<Message>) -> Vec<u8> {
    let head = Message::default().bytes(1, name.as_bytes()).bytes(2, help.as_bytes()).number(3, kind);
    let family = metrics.into_iter().fold(head, |family, metric| family.message(4, metric));
    let mut delimited = Message::default();
    delimited.varint(family.0.len() as u64);
    [delimited.0, family.0].concat()
}

fn exemplar(trace: &str, value: f64) -> Message {
    Message::default().message(1, label("trace", trace)).float(2, value)
}

/// A counter with an exemplar, a gauge, a summary, an untyped one and one with a name that wants quotes.
pub(super) fn simple(value: f64) -> Vec<u8> {
    let metric = |field, message| Message::default().message(1, label("x", "1")).message(field, message);
    let plain = || Message::default().float(1, value);
    let counter = plain().message(2, exemplar("c", value));
    let quantile = Message::default().float(1, 0.5).float(2, value);
    let summary = Message::default().number(1, 2).float(2, value).message(3, quantile);
    [
        family("c_total", "A counter.", COUNTER, vec![metric(3, counter)]),
        family("g", "A gauge.", GAUGE, vec![metric(2, plain()), Message::default().message(2, plain())]),
        family("s", "A summary.", SUMMARY, vec![metric(4, summary)]),
        family("u", "", UNTYPED, vec![metric(5, plain())]),
        family("dotted.name", "Dotted.", GAUGE, vec![metric(2, plain())]),
    ]
    .concat()
}

fn classic_buckets(histogram: Message, step: u64) -> Message {
    let bucket = |bound, count| Message::default().number(1, count).float(2, bound);
    histogram
        .message(3, bucket(1.0, step).message(3, exemplar("b", 0.5)))
        .message(3, bucket(2.5, 3 * step))
        .message(3, bucket(f64::INFINITY, 7 * step))
}

/// A classic histogram.
pub(super) fn classic(step: u64) -> Vec<u8> {
    let histogram = classic_buckets(Message::default().number(1, 7 * step).float(2, 9.0), step);
    family("h", "A histogram.", HISTOGRAM, vec![Message::default().message(7, histogram)])
}

/// Schema 3, a zero bucket, four positive and two negative buckets; the counts are deltas.
fn native_fields(step: u64) -> Message {
    let step = step.cast_signed();
    Message::default()
        .number(1, 9 * step.cast_unsigned())
        .float(2, 18.5 * step as f64)
        .signed(5, 3)
        .float(6, 1e-3)
        .number(7, 2 * step.cast_unsigned())
        .span(9, 0, 2)
        .signed(10, step)
        .signed(10, step)
        .span(12, 1, 2)
        .span(12, 3, 2)
        .signed(13, step)
        .signed(13, 0)
        .signed(13, 0)
        .signed(13, 0)
}

/// A native histogram, and a counter beside it.
pub(super) fn native(step: u64) -> Vec<u8> {
    let histogram = Message::default().message(7, native_fields(step));
    let counter = Message::default().message(3, Message::default().float(1, step as f64));
    [
        family("n", "A native histogram.", HISTOGRAM, vec![histogram]),
        family("c_total", "C.", COUNTER, vec![counter]),
    ]
    .concat()
}

/// One histogram in both forms.
pub(super) fn native_and_classic(step: u64) -> Vec<u8> {
    let histogram = classic_buckets(native_fields(step), step);
    family(
        "b",
        "Both.",
        HISTOGRAM,
        vec![Message::default().message(1, label("x", "1")).message(7, histogram)],
    )
}
