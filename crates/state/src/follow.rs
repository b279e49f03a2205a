//! Samples as series, and what changed from one snapshot to the next: what remote write sends without any text.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::block::{Block, RowBytes};
use crate::dictionary::Words;
use crate::image::Snapshot;
use crate::pack::{Packed, PackedText};
use crate::shard::Shard;
use crate::table::{Form, TableSnapshot};

/// A series and what is said of it.
#[derive(Debug)]
pub struct SeriesSample<'a> {
    /// Name of its family.
    pub metric: &'a str,
    /// Its labels in the order of their lines; values are not escaped.
    pub labels: &'a [(&'a str, Cow<'a, str>)],
    /// Its value, or `None` for a series that is no more.
    pub number: Option<f64>,
}

/// Rows that lie together. The samples of one run always come in order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RowRun<'a> {
    /// The resource.
    pub resource: &'a str,
    /// Its number among those of the resource.
    pub number: usize,
}

impl Snapshot {
    /// Visits what changed since `before`, run by run: new and changed samples, and series that are no more. Of runs
    /// that `refresh` names, all samples. Without `before`, everything is new. Stops when the visitor says so.
    ///
    /// `before` has to be an earlier snapshot of the same image.
    pub fn changes<'s>(
        &'s self,
        before: Option<&'s Self>,
        shard: Option<Shard>,
        mut refresh: impl FnMut(RowRun<'s>) -> bool,
        mut visit: impl FnMut(RowRun<'s>, &SeriesSample<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for (resource, table) in &self.tables {
            let old = before.and_then(|before| {
                let (_, table) = before.tables.iter().find(|(name, _)| name == resource)?;
                Some((table, &before.words))
            });
            let old_blocks = old.map_or(0, |(table, _)| table.blocks.len());
            let mut runs = Vec::new();
            for number in 0..table.blocks.len().max(old_blocks) {
                let run = RowRun { resource, number };
                let side = |table: &'s TableSnapshot, words| {
                    table.blocks.get(number).map(|block| Side { block, forms: &table.forms, words })
                };
                let new = side(table, &self.words);
                let old = old.and_then(|(table, words)| side(table, words));
                runs.push((run, old, new));
            }
            let mut walk = Walk { table, visit: &mut visit, labels: Vec::new(), moved: HashMap::new() };
            for (run, old, new) in &runs {
                walk.find_moved(*run, *old, *new, shard);
            }
            for (run, old, new) in runs {
                walk.block(run, old, new, shard, refresh(run))?;
            }
            walk.gone()?;
        }
        ControlFlow::Continue(())
    }
}

/// A block of one of the two snapshots.
#[derive(Clone, Copy)]
struct Side<'s> {
    block: &'s Arc<Block>,
    forms: &'s [Form],
    words: &'s Words,
}

impl<'s> Side<'s> {
    fn row(&self, place: usize, shard: Option<Shard>) -> Option<RowBytes<'s>> {
        if place >= self.block.places() {
            return None;
        }
        let wanted = shard.is_none_or(|shard| shard.holds(self.block.object(place).uid));
        self.block.row(place).filter(|_| wanted)
    }
}

struct Walk<'s, 'v, V> {
    table: &'s TableSnapshot,
    visit: &'v mut V,
    labels: Vec<(&'s str, Cow<'s, str>)>,
    /// Objects that are not where they were, if anywhere: a deleted object may come back in another place.
    moved: HashMap<(u64, u64), (RowRun<'s>, Side<'s>, RowBytes<'s>)>,
}

impl<'s, V: FnMut(RowRun<'s>, &SeriesSample<'_>) -> ControlFlow<()>> Walk<'s, '_, V> {
    fn find_moved(
        &mut self,
        run: RowRun<'s>,
        old: Option<Side<'s>>,
        new: Option<Side<'s>>,
        shard: Option<Shard>,
    ) {
        let Some(old) = old.filter(|old| !new.is_some_and(|new| Arc::ptr_eq(old.block, new.block))) else {
            return;
        };
        for place in 0..old.block.places() {
            let Some(row) = old.row(place, shard) else { continue };
            let key = old.block.object(place).key;
            let stays =
                new.is_some_and(|new| new.row(place, shard).is_some() && new.block.object(place).key == key);
            if !stays {
                self.moved.insert(key, (run, old, row));
            }
        }
    }

    fn block(
        &mut self,
        run: RowRun<'s>,
        old: Option<Side<'s>>,
        new: Option<Side<'s>>,
        shard: Option<Shard>,
        all: bool,
    ) -> ControlFlow<()> {
        let Some(new) = new else { return ControlFlow::Continue(()) };
        let same = old.is_some_and(|old| Arc::ptr_eq(old.block, new.block));
        if same && !all {
            return ControlFlow::Continue(());
        }
        for place in 0..new.block.places() {
            let Some(row) = new.row(place, shard) else { continue };
            let key = new.block.object(place).key;
            let stayed = old.and_then(|old| Some((old, old.row(place, shard)?)));
            let stayed = stayed.filter(|(old, _)| old.block.object(place).key == key);
            let before = stayed.or_else(|| self.moved.remove(&key).map(|(_, side, row)| (side, row)));
            match before {
                None => self.samples(run, new, row, false)?,
                Some(before) if same || same_row(before, (new, row)) => {
                    if all {
                        self.samples(run, new, row, false)?;
                    }
                }
                Some(before) => self.difference(run, before, (new, row), all)?,
            }
        }
        ControlFlow::Continue(())
    }

    /// Objects that are nowhere any more.
    fn gone(&mut self) -> ControlFlow<()> {
        for (run, side, row) in std::mem::take(&mut self.moved).into_values() {
            self.samples(run, side, row, true)?;
        }
        ControlFlow::Continue(())
    }

    /// Every sample of a row, or that it is no more.
    fn samples(&mut self, run: RowRun<'s>, side: Side<'s>, row: RowBytes<'s>, gone: bool) -> ControlFlow<()> {
        let mut packed = Packed::new(row.samples);
        while let Some(form) = packed.varint() {
            let sample = RowSample::read(&side.forms[form as usize], &mut packed);
            self.one(run, side, row.identity, &sample, gone)?;
        }
        ControlFlow::Continue(())
    }

    fn difference(
        &mut self,
        run: RowRun<'s>,
        (before, old): (Side<'s>, RowBytes<'s>),
        (after, new): (Side<'s>, RowBytes<'s>),
        all: bool,
    ) -> ControlFlow<()> {
        // Lines, as they would be written, name the series: the two sides may number words otherwise.
        let (mut old_series, mut line) = (HashMap::new(), Vec::new());
        let mut packed = Packed::new(old.samples);
        while let Some(form) = packed.varint() {
            let sample = RowSample::read(&before.forms[form as usize], &mut packed);
            sample.line(old.identity, before.words, &mut line);
            old_series.insert(std::mem::take(&mut line), sample);
        }
        let mut packed = Packed::new(new.samples);
        while let Some(form) = packed.varint() {
            let sample = RowSample::read(&after.forms[form as usize], &mut packed);
            line.clear();
            sample.line(new.identity, after.words, &mut line);
            let known =
                old_series.remove(&line).is_some_and(|old| old.number.to_bits() == sample.number.to_bits());
            if all || !known {
                self.one(run, after, new.identity, &sample, false)?;
            }
        }
        for sample in old_series.values() {
            self.one(run, before, old.identity, sample, true)?;
        }
        ControlFlow::Continue(())
    }

    fn one(
        &mut self,
        run: RowRun<'s>,
        side: Side<'s>,
        identity: &'s [u8],
        sample: &RowSample<'s>,
        gone: bool,
    ) -> ControlFlow<()> {
        self.labels.clear();
        read_pairs(identity, &mut self.labels);
        let mut packed = Packed::new(sample.values);
        for label in &sample.form.labels {
            let value = match label.is_word {
                true => unescaped(side.words.get(packed.varint().unwrap_or_default())),
                false => plain_text(packed.text()),
            };
            self.labels.push((&label.name, value));
        }
        if sample.form.pairs {
            read_pairs(side.words.get(packed.varint().unwrap_or_default()), &mut self.labels);
        }
        let metric = &self.table.families[usize::from(sample.form.family)].name;
        let number = (!gone).then_some(sample.number);
        (self.visit)(run, &SeriesSample { metric, labels: &self.labels, number })
    }
}

/// One sample of a row, as it is packed.
struct RowSample<'s> {
    form: &'s Form,
    values: &'s [u8],
    number: f64,
}

impl<'s> RowSample<'s> {
    fn read(form: &'s Form, packed: &mut Packed<'s>) -> Self {
        let begin = packed.rest();
        for label in &form.labels {
            match label.is_word {
                true => drop(packed.varint()),
                false => drop(packed.text()),
            }
        }
        if form.pairs {
            packed.varint();
        }
        let values = &begin[..begin.len() - packed.rest().len()];
        Self { form, values, number: packed.number() }
    }

    fn line(&self, identity: &[u8], words: &Words, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.form.head);
        into.extend_from_slice(identity);
        let mut packed = Packed::new(self.values);
        for label in &self.form.labels {
            into.extend_from_slice(&label.before);
            match label.is_word {
                true => into.extend_from_slice(words.get(packed.varint().unwrap_or_default())),
                false => packed.text().put(into),
            }
        }
        if self.form.pairs {
            into.push(b',');
            into.extend_from_slice(words.get(packed.varint().unwrap_or_default()));
        }
    }
}

/// Whether two rows say the same: the same bytes, with the same words behind them.
fn same_row((before, old): (Side<'_>, RowBytes<'_>), (after, new): (Side<'_>, RowBytes<'_>)) -> bool {
    if old != new {
        return false;
    }
    let mut packed = Packed::new(new.samples);
    let same_word = |packed: &mut Packed<'_>| {
        let id = packed.varint().unwrap_or_default();
        before.words.get(id) == after.words.get(id)
    };
    while let Some(form) = packed.varint() {
        let form = &after.forms[form as usize];
        for label in &form.labels {
            if !label.is_word {
                packed.text();
            } else if !same_word(&mut packed) {
                return false;
            }
        }
        if form.pairs && !same_word(&mut packed) {
            return false;
        }
        packed.number();
    }
    true
}

/// Takes rendered labels, `a="b",c="d"`, apart.
fn read_pairs<'t>(text: &'t [u8], into: &mut Vec<(&'t str, Cow<'t, str>)>) {
    let mut rest = text;
    while let Some(equals) = rest.iter().position(|byte| *byte == b'=') {
        let name = std::str::from_utf8(&rest[..equals]).unwrap_or_default();
        // The value begins behind `="` and ends at the first quote that is not escaped.
        let value = &rest[equals + 2..];
        let mut end = 0;
        while end < value.len() && value[end] != b'"' {
            end += if value[end] == b'\\' { 2 } else { 1 };
        }
        into.push((name, unescaped(&value[..end])));
        rest = value.get(end + 1..).unwrap_or_default();
        rest = rest.strip_prefix(b",").unwrap_or(rest);
    }
}

fn plain_text(text: PackedText<'_>) -> Cow<'_, str> {
    match text {
        PackedText::Plain(text) => unescaped(text),
        id @ PackedText::Id { .. } => {
            let mut text = Vec::new();
            id.put(&mut text);
            Cow::Owned(String::from_utf8_lossy(&text).into_owned())
        }
    }
}

fn unescaped(value: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(value);
    if !value.contains(&b'\\') {
        return text;
    }
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some(other) => other,
                None => '\\',
            },
            other => other,
        });
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::samples::put_escaped;

    proptest! {
        #[test]
        fn rendered_pairs_are_taken_apart(pairs in proptest::collection::vec(("[a-z_]{1,5}", ".{0,8}"), 0..5)) {
            let mut text = Vec::new();
            for (place, (name, value)) in pairs.iter().enumerate() {
                if place > 0 {
                    text.push(b',');
                }
                text.extend_from_slice(name.as_bytes());
                text.extend_from_slice(b"=\"");
                put_escaped(value, &mut text);
                text.push(b'"');
            }
            let mut read = Vec::new();
            read_pairs(&text, &mut read);
            let read: Vec<(String, String)> =
                read.into_iter().map(|(name, value)| (name.to_owned(), value.into_owned())).collect();
            prop_assert_eq!(read, pairs);
        }
    }
}
