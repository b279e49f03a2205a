//! The series of a target's last scrape as bytes: what one owner of a target leaves to the next, so that series that
//! vanish meanwhile get their stale markers from the heir.
//!
//! zstd over: a version byte; texts, each once; (name, value) pairs as numbers of texts; series as numbers of pairs.
//! Numbers are LEB128. Labels that a series shares with the one before it are not repeated.

use std::collections::HashMap;
use std::io::Read as _;

use outrigger_model::labels::{LabelsBuilder, METRIC_NAME};
use outrigger_model::sample::{Sample, Timestamp};

/// The format.
const VERSION: u8 = 1;
/// Most bytes of a set, uncompressed.
const MAX_BYTES: usize = 256 << 20;
const LEVEL: i32 = 1;

const SAME_LABELS: u8 = 1;
const ALIVE: u8 = 2;
const HAS_LAST: u8 = 4;
const REPORT: u8 = 8;

/// A set that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SeriesSetError {
    /// Not what it should be.
    #[error("the series set is damaged")]
    Damaged,
    /// Of another version of Outrigger.
    #[error("the series set has format {0}, which this version does not read")]
    Version(u8),
    /// Beyond the limit.
    #[error("the series set is larger than {MAX_BYTES} bytes")]
    TooLarge,
}

/// What is remembered of one series beside its labels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SetEntry {
    /// It was in the last scrape, and goes stale when it is not in the next.
    pub(crate) alive: bool,
    /// Its last sample, where that is known one by one.
    pub(crate) last: Option<Sample>,
    /// It is the scrape's own report of this kind.
    pub(crate) report: Option<u8>,
}

/// Writes a set, series by series.
#[derive(Default)]
pub(crate) struct SetWriter {
    texts: HashMap<String, u32>,
    text_bytes: Vec<u8>,
    pairs: HashMap<(u32, u32), u32>,
    pair_bytes: Vec<u8>,
    rows: Vec<u8>,
    count: u32,
    before: Vec<u32>,
    labels: Vec<u32>,
}

impl SetWriter {
    /// Adds a series with these labels in order of name.
    pub(crate) fn push<'l>(&mut self, labels: impl Iterator<Item = (&'l str, &'l str)>, entry: SetEntry) {
        self.count += 1;
        let mut of = std::mem::take(&mut self.labels);
        of.clear();
        let mut metric = 0;
        for (name, value) in labels {
            let pair = self.pair(name, value);
            match name == METRIC_NAME {
                true => metric = pair + 1,
                false => of.push(pair),
            }
        }
        let same = self.count > 1 && of == self.before;
        let facts = [
            (same, SAME_LABELS),
            (entry.alive, ALIVE),
            (entry.last.is_some(), HAS_LAST),
            (entry.report.is_some(), REPORT),
        ];
        let flags = facts.into_iter().filter(|(holds, _)| *holds).fold(0, |flags, (_, flag)| flags | flag);
        self.rows.push(flags);
        self.rows.extend(entry.report);
        put(metric, &mut self.rows);
        if !same {
            put(of.len() as u32, &mut self.rows);
            of.iter().for_each(|pair| put(*pair, &mut self.rows));
        }
        if let Some(last) = entry.last {
            self.rows.extend(last.timestamp.millis().to_le_bytes());
            self.rows.extend(last.value.to_bits().to_le_bytes());
        }
        self.labels = std::mem::replace(&mut self.before, of);
    }

    /// The bytes; none when there is no series.
    pub(crate) fn finish(self) -> Vec<u8> {
        if self.count == 0 {
            return Vec::new();
        }
        let mut bytes = vec![VERSION];
        put(self.texts.len() as u32, &mut bytes);
        bytes.extend(self.text_bytes);
        put(self.pairs.len() as u32, &mut bytes);
        bytes.extend(self.pair_bytes);
        put(self.count, &mut bytes);
        bytes.extend(self.rows);
        // Only an allocation can fail; without its set a target loses no more than stale markers.
        zstd::bulk::compress(&bytes, LEVEL).unwrap_or_default()
    }

    fn pair(&mut self, name: &str, value: &str) -> u32 {
        let pair = (self.text(name), self.text(value));
        let next = self.pairs.len() as u32;
        *self.pairs.entry(pair).or_insert_with(|| {
            put(pair.0, &mut self.pair_bytes);
            put(pair.1, &mut self.pair_bytes);
            next
        })
    }

    fn text(&mut self, text: &str) -> u32 {
        if let Some(known) = self.texts.get(text) {
            return *known;
        }
        let next = self.texts.len() as u32;
        self.texts.insert(text.to_owned(), next);
        put(text.len() as u32, &mut self.text_bytes);
        self.text_bytes.extend(text.as_bytes());
        next
    }
}

/// Hands each series of a set to `take`, with its labels; those before an error have been handed over then.
pub(crate) fn read(
    bytes: &[u8],
    mut take: impl FnMut(&LabelsBuilder, SetEntry),
) -> Result<(), SeriesSetError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let text = decompress(bytes)?;
    let mut reader = SetReader(&text);
    match reader.byte()? {
        VERSION => {}
        version => return Err(SeriesSetError::Version(version)),
    }
    let texts = reader.list(|reader| {
        let length = reader.number()?;
        std::str::from_utf8(reader.take(length as usize)?).map_err(|_| SeriesSetError::Damaged)
    })?;
    let pairs = reader.list(|reader| {
        let mut text = || texts.get(reader.number()? as usize).copied().ok_or(SeriesSetError::Damaged);
        Ok((text()?, text()?))
    })?;
    let mut labels: Vec<(&str, &str)> = Vec::new();
    let mut builder = LabelsBuilder::new();
    for _ in 0..reader.number()? {
        let flags = reader.byte()?;
        let report = if flags & REPORT == 0 { None } else { Some(reader.byte()?) };
        let metric = match reader.number()? {
            0 => None,
            at => Some(*pairs.get(at as usize - 1).ok_or(SeriesSetError::Damaged)?),
        };
        if flags & SAME_LABELS == 0 {
            labels.clear();
            for _ in 0..reader.number()? {
                labels.push(*pairs.get(reader.number()? as usize).ok_or(SeriesSetError::Damaged)?);
            }
        }
        let last = if flags & HAS_LAST == 0 { None } else { Some(reader.sample()?) };
        builder.reset(&outrigger_model::labels::Labels::empty());
        labels.iter().copied().chain(metric).for_each(|(name, value)| {
            builder.set(name, value);
        });
        take(&builder, SetEntry { alive: flags & ALIVE != 0, last, report });
    }
    Ok(())
}

fn decompress(bytes: &[u8]) -> Result<Vec<u8>, SeriesSetError> {
    let decoder = zstd::stream::read::Decoder::new(bytes).map_err(|_| SeriesSetError::Damaged)?;
    let mut text = Vec::new();
    decoder.take(MAX_BYTES as u64 + 1).read_to_end(&mut text).map_err(|_| SeriesSetError::Damaged)?;
    if text.len() > MAX_BYTES { Err(SeriesSetError::TooLarge) } else { Ok(text) }
}

struct SetReader<'a>(&'a [u8]);

impl<'a> SetReader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], SeriesSetError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(SeriesSetError::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, SeriesSetError> {
        self.take(1).map(|byte| byte[0])
    }

    fn number(&mut self) -> Result<u32, SeriesSetError> {
        let mut number = 0u32;
        for shift in (0..32).step_by(7) {
            let byte = self.byte()?;
            number |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(SeriesSetError::Damaged)
    }

    fn word(&mut self) -> Result<[u8; 8], SeriesSetError> {
        self.take(8)?.try_into().map_err(|_| SeriesSetError::Damaged)
    }

    fn sample(&mut self) -> Result<Sample, SeriesSetError> {
        let timestamp = Timestamp::from_millis(i64::from_le_bytes(self.word()?));
        Ok(Sample { timestamp, value: f64::from_bits(u64::from_le_bytes(self.word()?)) })
    }

    /// A count, and so many items of at least one byte.
    fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, SeriesSetError>,
    ) -> Result<Vec<T>, SeriesSetError> {
        let count = self.number()? as usize;
        if count > self.0.len() {
            return Err(SeriesSetError::Damaged);
        }
        (0..count).map(|_| item(self)).collect()
    }
}

fn put(mut number: u32, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

#[cfg(test)]
mod tests {
    use outrigger_model::labels::Labels;
    use proptest::prelude::*;

    use super::*;

    fn write(series: &[(Labels, SetEntry)]) -> Vec<u8> {
        let mut writer = SetWriter::default();
        series.iter().for_each(|(labels, entry)| writer.push(labels.iter(), *entry));
        writer.finish()
    }

    fn read_all(bytes: &[u8]) -> Result<Vec<(Labels, SetEntry)>, SeriesSetError> {
        let mut found = Vec::new();
        read(bytes, |labels, entry| found.push((labels.build(), entry)))?;
        Ok(found)
    }

    proptest! {
        #[test]
        fn a_set_survives_the_way(
            series in prop::collection::vec(
                (0u8..6, 0u8..4, any::<bool>(), any::<Option<(i64, i32)>>(), prop::option::of(0u8..11)), 0..60,
            )
        ) {
            let series: Vec<_> = series.into_iter().map(|(name, label, alive, last, report)| {
                let labels = Labels::from_pairs([
                    ("__name__", if name == 0 { String::new() } else { format!("m{name}") }),
                    ("A", format!("{label}")),
                    ("zone", "é".repeat(usize::from(label))),
                ]);
                let last = last.map(|(at, value)| Sample {
                    timestamp: Timestamp::from_millis(at), value: f64::from(value),
                });
                (labels, SetEntry { alive, last, report })
            }).collect();
            prop_assert_eq!(read_all(&write(&series)).unwrap(), series);
        }

        #[test]
        fn damage_is_found_or_harmless(bytes: Vec<u8>, cut in 0usize..400) {
            let _ = read_all(&bytes);
            let _ = read_all(&zstd::bulk::compress(&bytes, 1).unwrap());
            let mut whole = vec![VERSION];
            whole.extend(&bytes);
            let _ = read_all(&zstd::bulk::compress(&whole, 1).unwrap());
            let series: Vec<_> = (0..40).map(|n| {
                let entry = SetEntry { alive: true, last: None, report: None };
                (Labels::from_pairs([("__name__", format!("m{n}"))]), entry)
            }).collect();
            let text = decompress(&write(&series)).unwrap();
            if cut < text.len() {
                let cut = zstd::bulk::compress(&text[..cut], 1).unwrap();
                prop_assert!(read_all(&cut).is_err());
            }
        }
    }

    #[test]
    fn another_version_is_named() {
        let bytes = zstd::bulk::compress(&[9, 0, 0, 0], 1).unwrap();
        assert_eq!(read_all(&bytes), Err(SeriesSetError::Version(9)));
    }
}
