//! A gzip stream whose pieces are compressed side by side.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use outrigger_state::deflate::LineDeflate;
use parking_lot::Mutex;

/// Bytes of a piece.
const PIECE: usize = 256 << 10;
/// Magic, deflate, no flags, no time, the fastest method, an unknown system (RFC 1952).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// Compresses what is written to it: one gzip member, made of pieces that threads of its own compress.
///
/// Pieces are written in their order. At most two for each thread wait, so memory does not grow with a slow writer.
pub(super) struct ParallelGzip<W: Write> {
    writer: W,
    piece: Vec<u8>,
    waiting: VecDeque<Receiver<Piece>>,
    most_waiting: usize,
    jobs: Option<SyncSender<Job>>,
    checksum: crc32fast::Hasher,
    /// Bytes so far, modulo 2^32.
    length: u32,
}

struct Job {
    text: Vec<u8>,
    answer: SyncSender<Piece>,
}

struct Piece {
    bytes: Vec<u8>,
    checksum: crc32fast::Hasher,
}

impl<W: Write> ParallelGzip<W> {
    /// A stream into `writer`, compressed by `threads`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn new(mut writer: W, threads: usize) -> io::Result<Self> {
        writer.write_all(&HEADER)?;
        let (jobs, queue) = sync_channel::<Job>(threads);
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..threads {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name(format!("gzip-{number}")).spawn(move || work(&queue))?;
        }
        Ok(Self {
            writer,
            piece: Vec::with_capacity(PIECE + PIECE / 4),
            waiting: VecDeque::new(),
            most_waiting: 2 * threads,
            jobs: Some(jobs),
            checksum: crc32fast::Hasher::new(),
            length: 0,
        })
    }

    /// Writes what is still to come, and the end of the stream.
    ///
    /// # Errors
    /// What the writer says.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.begin_piece()?;
        while !self.waiting.is_empty() {
            self.write_piece()?;
        }
        let mut end = Vec::new();
        LineDeflate::end(&mut end);
        end.extend_from_slice(&self.checksum.finalize().to_le_bytes());
        end.extend_from_slice(&self.length.to_le_bytes());
        self.writer.write_all(&end)?;
        Ok(self.writer)
    }

    fn begin_piece(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        if self.waiting.len() >= self.most_waiting {
            self.write_piece()?;
        }
        let text = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE + PIECE / 4));
        self.length = self.length.wrapping_add(text.len() as u32);
        let (answer, piece) = sync_channel(1);
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(Job { text, answer }).is_ok());
        if !sent {
            return Err(io::Error::other("the compressing threads have ended"));
        }
        self.waiting.push_back(piece);
        Ok(())
    }

    fn write_piece(&mut self) -> io::Result<()> {
        let Some(piece) = self.waiting.pop_front() else { return Ok(()) };
        let piece = piece.recv().map_err(|_| io::Error::other("a compressing thread has ended"))?;
        self.checksum.combine(&piece.checksum);
        self.writer.write_all(&piece.bytes)
    }
}

impl<W: Write> Write for ParallelGzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.begin_piece()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Compresses pieces until nobody sends any more.
fn work(queue: &Mutex<Receiver<Job>>) {
    let mut deflate = LineDeflate::default();
    loop {
        // Nobody else waits for the lock in vain: whoever has it takes the next job there is.
        let Ok(Job { text, answer }) = queue.lock().recv() else { return };
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&text);
        let mut bytes = Vec::with_capacity(text.len() / 2);
        deflate.piece(&text, &mut bytes);
        // Nobody waits for it any more when the client has gone.
        let _ = answer.send(Piece { bytes, checksum });
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn pieces_make_one_gzip_member() {
        let line =
            |number: usize| format!("kube_pod_info{{pod=\"p-{number}\",uid=\"{}\"}} 1\n", number * 7919);
        for lines in [0, 1, 10, 30_000] {
            let text: String = (0..lines).map(line).collect();
            let mut gzip = ParallelGzip::new(Vec::new(), 3).expect("threads");
            for part in text.as_bytes().chunks(10_007) {
                gzip.write_all(part).expect("a vector takes all");
            }
            let bytes = gzip.finish().expect("a vector takes all");
            let mut back = String::new();
            // Reads one member only.
            let read = flate2::read::GzDecoder::new(&*bytes).read_to_string(&mut back);
            assert_eq!(read.expect("a gzip stream"), text.len());
            assert!(back == text);
        }
    }
}
