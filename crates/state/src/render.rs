//! Text from a snapshot, family by family.

mod parallel;

use std::collections::HashSet;
use std::ops::ControlFlow;

use crate::block::{Block, RowBytes};
use crate::dictionary::Words;
use crate::image::Snapshot;
use crate::number::put_number;
use crate::pack::Packed;
use crate::shard::Shard;
use crate::table::{Form, TableSnapshot};

/// A buffer is given away once it has this many bytes.
const BUFFER: usize = 256 << 10;

/// What a scrape asks for.
#[derive(Debug, Clone, Default)]
pub struct RenderOptions {
    /// Only these resources, if any are named.
    pub resources: Option<Vec<String>>,
    /// Not these resources.
    pub exclude_resources: Vec<String>,
    /// Only the objects of this shard.
    pub shard: Option<Shard>,
    /// OpenMetrics in place of text.
    pub open_metrics: bool,
    /// Threads that write large resources; none or one: the caller's.
    pub threads: usize,
}

impl RenderOptions {
    fn wants(&self, resource: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|each| each == resource);
        self.resources.as_deref().is_none_or(named) && !named(&self.exclude_resources)
    }
}

impl Snapshot {
    /// Writes everything in buffers of about 256 KiB, which `take` may keep or leave to be used again. Stops when it
    /// says so.
    pub fn render(&self, options: &RenderOptions, mut take: impl FnMut(&mut Vec<u8>) -> ControlFlow<()>) {
        let mut writer = Writer { buffer: Vec::with_capacity(BUFFER + BUFFER / 8), take: &mut take };
        if self.write(options, &mut writer).is_continue() && !writer.buffer.is_empty() {
            let _ = (writer.take)(&mut writer.buffer);
        }
    }

    fn write(&self, options: &RenderOptions, writer: &mut Writer<'_>) -> ControlFlow<()> {
        let mut announced = HashSet::new();
        for (name, table) in &self.tables {
            if options.wants(name) {
                self.write_table(table, options, &mut announced, writer)?;
            }
        }
        if options.open_metrics {
            writer.buffer.extend_from_slice(b"# EOF\n");
        }
        ControlFlow::Continue(())
    }

    /// A resource without objects says nothing, one with objects gives the header of each family.
    fn write_table<'s>(
        &'s self,
        table: &'s TableSnapshot,
        options: &RenderOptions,
        announced: &mut HashSet<&'s str>,
        writer: &mut Writer<'_>,
    ) -> ControlFlow<()> {
        let mut cursors: Vec<BlockCursor<'_>> =
            table.blocks.iter().filter_map(|block| BlockCursor::new(block, options.shard)).collect();
        if cursors.is_empty() {
            return ControlFlow::Continue(());
        }
        // A name that was announced before gets no second header; its samples still follow.
        let headers: Vec<Vec<u8>> = table
            .families
            .iter()
            .map(|info| match announced.insert(&info.name) {
                true => info.header(options.open_metrics),
                false => Vec::new(),
            })
            .collect();
        if parallel::is_worthwhile(cursors.len(), options.threads) {
            return parallel::write(table, cursors, &self.words, options.threads, &headers, writer);
        }
        for (family, header) in headers.iter().enumerate() {
            writer.buffer.extend_from_slice(header);
            for cursor in &mut cursors {
                cursor.write_family(family as u16, &table.forms, &self.words, &mut writer.buffer);
                writer.give_full()?;
            }
        }
        ControlFlow::Continue(())
    }
}

struct Writer<'w> {
    buffer: Vec<u8>,
    take: &'w mut dyn FnMut(&mut Vec<u8>) -> ControlFlow<()>,
}

impl Writer<'_> {
    /// Gives away a piece behind what is in the buffer; small pieces are collected.
    fn give(&mut self, mut piece: Vec<u8>) -> ControlFlow<()> {
        if piece.len() < BUFFER / 4 {
            self.buffer.extend_from_slice(&piece);
            return self.give_full();
        }
        if !self.buffer.is_empty() {
            (self.take)(&mut self.buffer)?;
            self.buffer.clear();
        }
        (self.take)(&mut piece)
    }

    fn give_full(&mut self) -> ControlFlow<()> {
        if self.buffer.len() < BUFFER {
            return ControlFlow::Continue(());
        }
        (self.take)(&mut self.buffer)?;
        self.buffer.clear();
        self.buffer.reserve(BUFFER + BUFFER / 8);
        ControlFlow::Continue(())
    }
}

/// A block's rows, each read up to where the families so far end.
struct BlockCursor<'a> {
    rows: Vec<RowBytes<'a>>,
}

/// Rows whose next bytes are fetched side by side.
const AHEAD: usize = 16;

impl<'a> BlockCursor<'a> {
    /// `None` when no row of the block is asked for.
    fn new(block: &'a Block, shard: Option<Shard>) -> Option<Self> {
        let wanted = |place: &usize| shard.is_none_or(|shard| shard.holds(block.object(*place).uid));
        let rows: Vec<_> = (0..block.places()).filter(wanted).filter_map(|place| block.row(place)).collect();
        (!rows.is_empty()).then_some(Self { rows })
    }

    fn write_family(&mut self, family: u16, forms: &[Form], words: &Words, into: &mut Vec<u8>) {
        for rows in self.rows.chunks_mut(AHEAD) {
            // These reads do not wait for each other; without them each row would wait for memory alone.
            let mut next = [None; AHEAD];
            for (next, row) in next.iter_mut().zip(&*rows) {
                *next = Packed::new(row.samples).varint();
            }
            for (next, row) in next.into_iter().zip(rows) {
                let Some(form) = next.map(|form| &forms[form as usize]) else { continue };
                if form.family == family {
                    row.samples = write_row(row, family, forms, words, into);
                }
            }
        }
    }
}

/// Writes a row's samples of a family; returns those behind.
fn write_row<'a>(
    row: &RowBytes<'a>,
    family: u16,
    forms: &[Form],
    words: &Words,
    into: &mut Vec<u8>,
) -> &'a [u8] {
    let mut packed = Packed::new(row.samples);
    let mut rest = row.samples;
    while let Some(form) = packed.varint() {
        let form = &forms[form as usize];
        if form.family != family {
            break;
        }
        write_sample(form, row.identity, words, &mut packed, into);
        rest = packed.rest();
    }
    rest
}

#[inline]
fn write_sample(form: &Form, identity: &[u8], words: &Words, packed: &mut Packed<'_>, into: &mut Vec<u8>) {
    let bare = identity.is_empty() && form.labels.is_empty() && !form.pairs;
    into.extend_from_slice(if bare { &form.head[..form.head.len() - 1] } else { &form.head });
    into.extend_from_slice(identity);
    for (place, label) in form.labels.iter().enumerate() {
        let before = if place == 0 && identity.is_empty() { &label.before[1..] } else { &label.before };
        into.extend_from_slice(before);
        match label.is_word {
            true => into.extend_from_slice(words.get(packed.varint().unwrap_or_default())),
            false => packed.text().put(into),
        }
    }
    if !form.labels.is_empty() {
        into.push(b'"');
    }
    if form.pairs {
        if !identity.is_empty() || !form.labels.is_empty() {
            into.push(b',');
        }
        into.extend_from_slice(words.get(packed.varint().unwrap_or_default()));
    }
    into.extend_from_slice(if bare { b" " } else { b"} " });
    put_number(packed.number(), into);
    into.push(b'\n');
}
