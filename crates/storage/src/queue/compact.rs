//! Space of records that are done with, given back before records that wait are given up for it.

use super::error::AppendError;
use super::format::{Mark, RecordHeader, SEGMENT_HEADER};
use super::log::{Log, Segment};

impl Log {
    /// Deletes every segment with nothing left in it, the last one included if records were ever in it.
    pub(super) fn retire_all(&mut self) {
        let tail = self.tail.as_ref().map(|tail| tail.number);
        let is_done = |(number, segment): (&u32, &Segment)| {
            let is_new = Some(*number) == tail && segment.length <= u64::from(SEGMENT_HEADER);
            (segment.live == 0 && !is_new).then_some(*number)
        };
        let done: Vec<u32> = self.segments.iter().filter_map(is_done).collect();
        for number in done {
            self.delete(number);
        }
    }

    /// Moves what waits in the oldest segment that is at most half full of it to the end, and deletes that segment;
    /// says whether that gave space back.
    ///
    /// So the queue holds at least half of its bytes in records that wait, even if a lane that is stuck leaves a few
    /// of its records in each segment. Until the next sync the moved records are as safe as new ones.
    pub(super) fn compact(&mut self) -> bool {
        let Some(number) = self.half_empty() else { return false };
        let records: Vec<RecordHeader> =
            self.index.iter().filter(|header| header.segment == number).copied().collect();
        let moved = records.iter().take_while(|header| matches!(self.move_to_end(header), Ok(true))).count();
        if moved == records.len() && self.delete(number) {
            return true;
        }
        for header in &records[..moved] {
            // Where this fails, too, a crash may bring back records that were delivered.
            let _ = self.mark(header, Mark::Superseded);
        }
        false
    }

    /// Writes a record once more, at the end. False if it cannot be read. A damaged payload moves as it is: its reader
    /// is to hear of it.
    pub(super) fn move_to_end(&mut self, old: &RecordHeader) -> Result<bool, AppendError> {
        let Some(payload) = self.locate(old.id).ok().and_then(|place| place.read_unchecked().ok()) else {
            return Ok(false);
        };
        let header = self.write(Some(old.id), old.meta, &payload, old.payload_length, old.payload_crc)?;
        self.note_dead(old);
        self.index.relocate(old.id, header);
        Ok(true)
    }

    fn half_empty(&self) -> Option<u32> {
        let tail = self.tail.as_ref().map(|tail| tail.number);
        let mut closed = self.segments.iter().filter(|(number, _)| Some(**number) != tail);
        closed.find(|(_, segment)| segment.live_bytes * 2 <= segment.length).map(|(number, _)| *number)
    }
}
