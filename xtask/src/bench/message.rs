//! Counts what a remote-write message holds by walking its fields; nothing is decoded or kept.

use std::hash::{DefaultHasher, Hasher as _};
use std::ops::AddAssign;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

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

/// Counts, and appends a hash of each series' labels to `hashes` where there is one.
///
/// # Errors
/// When the bytes are not a protobuf message, or a label refers to no symbol.
pub(super) fn count(
    message: &[u8],
    is_version_2: bool,
    mut hashes: Option<&mut Vec<u64>>,
) -> Result<Contents> {
    let layout = if is_version_2 { VERSION_2 } else { VERSION_1 };
    let mut contents = Contents::default();
    let mut symbols: Vec<&[u8]> = Vec::new();
    let mut fields = Fields(message);
    while let Some((number, bytes)) = fields.next()? {
        if number == layout.series {
            contents.series += 1;
            let labels = series(bytes, &layout, is_version_2, &mut contents)?;
            if let Some(hashes) = &mut hashes {
                hashes.push(hash(labels, is_version_2.then_some(&symbols))?);
            }
        } else if number == layout.symbols && is_version_2 {
            if hashes.is_some() {
                symbols.push(bytes);
            }
        } else if number == layout.metadata && !is_version_2 {
            contents.metadata += 1;
        }
    }
    Ok(contents)
}

/// Counts one series and returns the bytes from its start to the end of its labels, which come first.
fn series<'a>(
    bytes: &'a [u8],
    layout: &Layout,
    is_version_2: bool,
    contents: &mut Contents,
) -> Result<&'a [u8]> {
    let mut fields = Fields(bytes);
    let mut labels_end = 0;
    while let Some((number, _)) = fields.next()? {
        if number == layout.labels {
            labels_end = bytes.len() - fields.0.len();
        } else if number == layout.samples {
            contents.samples += 1;
        } else if number == layout.histograms {
            contents.histograms += 1;
        } else if number == layout.exemplars {
            contents.exemplars += 1;
        } else if number == layout.metadata && is_version_2 {
            contents.metadata += 1;
        }
    }
    Ok(&bytes[..labels_end])
}

fn hash(labels: &[u8], symbols: Option<&Vec<&[u8]>>) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    let Some(symbols) = symbols else {
        hasher.write(labels);
        return Ok(hasher.finish());
    };
    let mut fields = Fields(labels);
    while let Some((_, packed)) = fields.next()? {
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

impl<'a> Fields<'a> {
    /// Number and, where the field has a length, bytes of the next field.
    fn next(&mut self) -> Result<Option<(u64, &'a [u8])>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let bytes = match key & 7 {
            0 => {
                self.varint()?;
                &[]
            }
            1 => self.take(8)?,
            2 => {
                let length = usize::try_from(self.varint()?).context("a field is too long")?;
                self.take(length)?
            }
            5 => self.take(4)?,
            kind => bail!("a field has wire type {kind}"),
        };
        Ok(Some((key >> 3, bytes)))
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

    #[test]
    fn counts_version_1() {
        let label = field(1, &[field(1, b"__name__"), field(2, b"up")].concat());
        let series = [label, field(2, &sample()), field(2, &sample()), field(3, b""), field(4, b"")].concat();
        let message = [field(1, &series), field(1, &series), field(3, b"")].concat();
        let mut hashes = Vec::new();
        let contents = count(&message, false, Some(&mut hashes)).unwrap();
        assert_eq!(contents, Contents { series: 2, samples: 4, histograms: 2, exemplars: 2, metadata: 1 });
        assert_eq!(hashes[0], hashes[1]);
    }

    #[test]
    fn counts_version_2_and_tells_series_by_their_symbols() {
        let symbols = ["", "__name__", "up", "down"].map(|symbol| field(4, symbol.as_bytes())).concat();
        let of =
            |labels: &[u8]| [field(1, labels), field(2, &sample()), field(3, b""), field(5, b"")].concat();
        let message = [symbols.clone(), field(5, &of(&[1, 2])), field(5, &of(&[1, 3]))].concat();
        let mut hashes = Vec::new();
        let contents = count(&message, true, Some(&mut hashes)).unwrap();
        assert_eq!(contents, Contents { series: 2, samples: 2, histograms: 2, exemplars: 0, metadata: 2 });
        assert_ne!(hashes[0], hashes[1]);
        let broken = [symbols, field(5, &of(&[1, 9]))].concat();
        assert!(count(&broken, true, Some(&mut hashes)).is_err());
    }

    #[test]
    fn a_cut_message_is_an_error() {
        let message = field(1, &field(2, &sample()));
        for length in 1..message.len() {
            assert!(count(&message[..length], false, None).is_err(), "{length}");
        }
    }
}
