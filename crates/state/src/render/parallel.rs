//! Several threads render one resource; what they write is given away in order.

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::{BlockCursor, Writer};
use crate::dictionary::Words;
use crate::table::TableSnapshot;

/// Blocks that one thread writes in one go.
const GROUP: usize = 8;
/// Pieces of a thread that may wait.
const WAITING: usize = 2;

/// Whether a resource has enough rows for several threads.
pub(super) fn is_worthwhile(blocks: usize, threads: usize) -> bool {
    threads > 1 && blocks >= 2 * GROUP * threads
}

/// Writes the families, each with its header, if it has one, before it.
///
/// Groups of blocks belong to the threads in turn. Each thread goes through its groups family by family, as the caller
/// goes through all groups, so each piece is the next one of its thread.
pub(super) fn write(
    table: &TableSnapshot,
    cursors: Vec<BlockCursor<'_>>,
    words: &Words,
    threads: usize,
    headers: &[Vec<u8>],
    writer: &mut Writer<'_>,
) -> ControlFlow<()> {
    let mut shares: Vec<Vec<Vec<BlockCursor<'_>>>> = (0..threads).map(|_| Vec::new()).collect();
    let mut groups = 0;
    let mut cursors = cursors.into_iter().peekable();
    while cursors.peek().is_some() {
        shares[groups % threads].push(cursors.by_ref().take(GROUP).collect());
        groups += 1;
    }
    thread::scope(|scope| {
        let pieces: Vec<Receiver<Vec<u8>>> = shares
            .into_iter()
            .map(|share| {
                let (sender, receiver) = sync_channel(WAITING);
                scope.spawn(move || write_share(table, share, words, &sender));
                receiver
            })
            .collect();
        for header in headers {
            writer.buffer.extend_from_slice(header);
            for group in 0..groups {
                // A thread ends early only when it is not listened to any more.
                let Ok(piece) = pieces[group % threads].recv() else { return ControlFlow::Break(()) };
                writer.give(piece)?;
            }
        }
        ControlFlow::Continue(())
    })
}

fn write_share(
    table: &TableSnapshot,
    mut share: Vec<Vec<BlockCursor<'_>>>,
    words: &Words,
    pieces: &SyncSender<Vec<u8>>,
) {
    let mut last = 0;
    for family in 0..table.families.len() {
        for group in &mut share {
            // As long as the piece before: neighbours are alike.
            let mut piece = Vec::with_capacity(last);
            for cursor in group {
                cursor.write_family(family as u16, &table.forms, words, &mut piece);
            }
            last = piece.len() + piece.len() / 8;
            if pieces.send(piece).is_err() {
                return;
            }
        }
    }
}
