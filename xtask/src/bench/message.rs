//! Counts what a remote-write message holds by walking its fields; nothing is decoded or kept.

use std::hash::{DefaultHasher, Hasher as _};
use std::ops::AddAssign;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// Is shown each series: the hash of its labels, and its samples.
type SeeSeries<'a> = &'a mut dyn FnMut(u64, &[Sample]);

/// What a message holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Entries of the list of time series.
    pub series: u64,
    /// Float samples, stale markers included.
    pub samples: u64,
    /// Native histograms.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
    /// Entries of metadata: a family each in version 1.0, a series each in version 2.0.
    pub metadata: u64,
}

impl AddAssign for Contents {
    fn add_assign(&mut self, other: Self) {
        self.series += other.series;
        self.samples += other.samples;
        self.histograms += other.histograms;
        self.exemplars += other.exemplars;
        self.metadata += other.metadata;
    }
}

/// The numbers of the fields that are counted, which differ between the two versions.
struct Layout {
    series: u64,
    metadata: u64,
    symbols: u64,
    labels: u64,
    samples: u64,
    histograms: u64,
    exemplars: u64,
}

/// `prometheus.WriteRequest`.
const VERSION_1: Layout =
    Layout { series: 1, metadata: 3, symbols: 0, labels: 1, samples: 2, exemplars: 3, histograms: 4 };
/// `io.prometheus.write.v2.Request`; there metadata is a field of the series.
const VERSION_2: Layout =
    Layout { series: 5, metadata: 5, symbols: 4, labels: 1, samples: 2, exemplars: 4, histograms: 3 };

/// One value of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    /// Milliseconds since the epoch.
    pub(super) timestamp: i64,
    /// The float's bits.
    pub(super) bits: u64,
}

/// Counts, and hands a hash of each series' labels with its samples to `see` where there is one.
///
/// # Errors
/// When the bytes are not a protobuf message, or a label refers to no symbol.
pub(super) fn count(message: &[u8], is_version_2: bool, mut see: Option<SeeSeries<'_>>) -> Result<Contents> {
    let layout = if is_version_2 { VERSION_2 } else { VERSION_1 };
    let mut contents = Contents::default();
    let mut symbols: Vec<&[u8]> = Vec::new();
    let mut fields = Fields(message);
    while let Some((number, value)) = fields.next()? {
        if number == layout.series {
            contents.series += 1;
            let series = Series::read(value.bytes, &layout, is_version_2, see.is_some(), &mut contents)?;
            if let Some(see) = &mut see {
                see(hash(&series.labels, is_version_2.then_some(&symbols))?, &series.samples);
            }
        } else if number == layout.symbols && is_version_2 {
            if see.is_some() {
                symbols.push(value.bytes);
            }
        } else if number == layout.metadata && !is_version_2 {
            contents.metadata += 1;
        }
    }
    Ok(contents)
}

/// One entry of the list of series; its fields may come in any order.
#[derive(Default)]
struct Series<'a> {
    labels: Vec<&'a [u8]>,
    samples: Vec<Sample>,
}

impl<'a> Series<'a> {
    /// Counts; labels and samples are only kept when they are `wanted`.
    fn read(
        bytes: &'a [u8],
        layout: &Layout,
        is_version_2: bool,
        wanted: bool,
        contents: &mut Contents,
    ) -> Result<Self> {
        let mut series = Self::default();
        let mut fields = Fields(bytes);
        while let Some((number, value)) = fields.next()? {
            if number == layout.labels {
                if wanted {
                    series.labels.push(value.bytes);
                }
            } else if number == layout.samples {
                contents.samples += 1;
                if wanted {
                    series.samples.push(sample(value.bytes)?);
                }
            } else if number == layout.histograms {
                contents.histograms += 1;
            } else if number == layout.exemplars {
                contents.exemplars += 1;
            } else if number == layout.metadata && is_version_2 {
                contents.metadata += 1;
            }
        }
        Ok(series)
    }
}

/// Both versions write samples alike.
fn sample(bytes: &[u8]) -> Result<Sample> {
    let mut sample = Sample { timestamp: 0, bits: 0 };
    let mut fields = Fields(bytes);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => sample.bits = u64::from_le_bytes(value.bytes.try_into().context("a value is no double")?),
            2 => sample.timestamp = value.number.cast_signed(),
            _ => {}
        }
    }
    Ok(sample)
}

fn hash(labels: &[&[u8]], symbols: Option<&Vec<&[u8]>>) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    let Some(symbols) = symbols else {
        labels.iter().for_each(|label| hasher.write(label));
        return Ok(hasher.finish());
    };
    for packed in labels {
        let mut references = Fields(packed);
        while !references.0.is_empty() {
            let at = usize::try_from(references.varint()?).context("a label's reference is too large")?;
            let symbol = symbols.get(at).with_context(|| format!("a label refers to symbol {at}"))?;
            hasher.write_usize(symbol.len());
            hasher.write(symbol);
        }
    }
    Ok(hasher.finish())
}

/// The fields of a protobuf message.
struct Fields<'a>(&'a [u8]);

/// What a field holds.
#[derive(Default)]
struct Field<'a> {
    /// Of a field with a length, and of one of fixed width.
    bytes: &'a [u8],
    /// Of a variable integer.
    number: u64,
}

impl<'a> Fields<'a> {
    /// Number and content of the next field.
    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let mut field = Field::default();
        match key & 7 {
            0 => field.number = self.varint()?,
            1 => field.bytes = self.take(8)?,
            2 => {
                let length = usize::try_from(self.varint()?).context("a field is too long")?;
                field.bytes = self.take(length)?;
            }
            5 => field.bytes = self.take(4)?,
            kind => bail!("a field has wire type {kind}"),
        }
        Ok(Some((key >> 3, field)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length).context("a field ends behind the message")?;
        self.0 = rest;
        Ok(bytes)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().context("a number ends behind the message")?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        bail!("a number is longer than ten bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(bytes.len()).unwrap();
        [&[number << 3 | 2, length], bytes].concat()
    }

    fn sample() -> Vec<u8> {
        let value = [&[0x09][..], &1.5f64.to_le_bytes()].concat();
        [value, vec![0x10, 0x96, 0x01]].concat()
    }

    type Seen = Vec<(u64, Vec<Sample>)>;

    fn seen(message: &[u8], is_version_2: bool) -> Result<(Contents, Seen)> {
        let mut seen = Vec::new();
        let mut see = |series: u64, samples: &[Sample]| seen.push((series, samples.to_vec()));
        let contents = count(message, is_version_2, Some(&mut see))?;
        Ok((contents, seen))
    }

    #[test]
    fn counts_version_1() {
        let label = field(1, &[field(1, b"__name__"), field(2, b"up")].concat());
        let series = [label, field(2, &sample()), field(2, &sample()), field(3, b""), field(4, b"")].concat();
        let message = [field(1, &series), field(1, &series), field(3, b"")].concat();
        let (contents, seen) = seen(&message, false).unwrap();
        assert_eq!(contents, Contents { series: 2, samples: 4, histograms: 2, exemplars: 2, metadata: 1 });
        assert_eq!(seen[0], seen[1]);
        let sample = Sample { timestamp: 150, bits: 1.5f64.to_bits() };
        assert_eq!(seen[0].1, [sample, sample]);
    }

    #[test]
    fn counts_version_2_and_tells_series_by_their_symbols() {
        let symbols = ["", "__name__", "up", "down"].map(|symbol| field(4, symbol.as_bytes())).concat();
        let of =
            |labels: &[u8]| [field(1, labels), field(2, &sample()), field(3, b""), field(5, b"")].concat();
        // Fields may come in any order.
        let turned = [field(2, &sample()), field(1, &[1, 2])].concat();
        let series = [of(&[1, 2]), of(&[1, 3]), turned].map(|series| field(5, &series)).concat();
        let (contents, seen) = seen(&[symbols.clone(), series].concat(), true).unwrap();
        assert_eq!(contents, Contents { series: 3, samples: 3, histograms: 2, exemplars: 0, metadata: 2 });
        assert_ne!(seen[0].0, seen[1].0);
        assert_eq!(seen[0], seen[2]);
        let broken = [symbols, field(5, &of(&[1, 9]))].concat();
        assert!(self::seen(&broken, true).is_err());
    }

    #[test]
    fn a_cut_message_is_an_error() {
        let message = field(1, &field(2, &sample()));
        for length in 1..message.len() {
            assert!(count(&message[..length], false, None).is_err(), "{length}");
        }
    }
}
