//! The bytes of a segment file: its header and the header of each record. Little endian, no I/O.
//!
//! ```text
//! segment:  magic 8 | version u32 | segment u32 | crc u32 | zero 12          = 32 bytes, then records
//! record:   magic 4 | crc u32 | segment u32 | offset u32 | id u64
//!           | payload length u32 | payload crc u32 | generation u32 | lane u32 | samples u32
//!           | encoding u8 | version u8 | zero 2 | oldest i64 | newest i64 | mark u64   = 72 bytes
//!           then the payload, padded with zeros to a multiple of 8
//! ```
//! A record's header names the place it was written at, so bytes inside a payload that look like a record are not
//! taken for one. Its CRC leaves out the [`Mark`], which is overwritten in place once the record is done with.

use super::{RecordId, RecordMeta};

/// Length of a segment's header.
pub(super) const SEGMENT_HEADER: u32 = 32;
/// Length of a record's header.
pub(super) const RECORD_HEADER: u32 = 72;
/// Where the mark lies, from the record's start. Aligned to 8 bytes, so it never crosses a page.
pub(super) const MARK_AT: u32 = 64;
/// Records begin at multiples of this.
pub(super) const ALIGNMENT: u32 = 8;

const VERSION: u32 = 1;
const RECORD_VERSION: u8 = 1;
pub(super) const SEGMENT_MAGIC: [u8; 8] = *b"\x89ORQUE\r\n";
pub(super) const RECORD_MAGIC: [u8; 4] = *b"\x9eOR\xd1";

/// What became of a record. Each is 32 bits away from both others, and a damaged one is taken for the nearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// It is to be delivered.
    Waiting,
    /// It was delivered or given up.
    Acknowledged,
    /// Another copy of it counts.
    Superseded,
}

impl Mark {
    const ALL: [Mark; 3] = [Mark::Waiting, Mark::Acknowledged, Mark::Superseded];

    pub(super) fn encode(self) -> [u8; 8] {
        match self {
            Mark::Waiting => [0; 8],
            Mark::Acknowledged => [0xff; 8],
            Mark::Superseded => [0xaa; 8],
        }
    }

    fn decode(bits: u64) -> Self {
        let distance = |mark: &Mark| (bits ^ u64::from_le_bytes(mark.encode())).count_ones();
        Mark::ALL.into_iter().min_by_key(distance).unwrap_or(Mark::Waiting)
    }
}

/// What the first bytes of a file say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SegmentHeader {
    /// Ours, and of this number.
    Valid,
    /// Written by another version of Outrigger.
    OtherVersion(u32),
    /// A whole header of another segment: the file was renamed.
    OtherSegment(u32),
    /// Not a header, or one whose checksum fails.
    Damaged,
}

/// The header of a segment.
pub(super) fn encode_segment_header(segment: u32) -> [u8; SEGMENT_HEADER as usize] {
    let mut bytes = [0; SEGMENT_HEADER as usize];
    bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&segment.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..16]);
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Reads the header of the file that is named for `segment`.
pub(super) fn decode_segment_header(bytes: &[u8; SEGMENT_HEADER as usize], segment: u32) -> SegmentHeader {
    if bytes[..8] != SEGMENT_MAGIC || crc32fast::hash(&bytes[..16]) != u32_at(bytes, 16) {
        return SegmentHeader::Damaged;
    }
    match (u32_at(bytes, 8), u32_at(bytes, 12)) {
        (VERSION, number) if number == segment => SegmentHeader::Valid,
        (VERSION, number) => SegmentHeader::OtherSegment(number),
        (version, _) => SegmentHeader::OtherVersion(version),
    }
}

/// The header of one record at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) segment: u32,
    pub(super) offset: u32,
    pub(super) id: RecordId,
    pub(super) meta: RecordMeta,
    pub(super) payload_length: u32,
    pub(super) payload_crc: u32,
}

impl RecordHeader {
    pub(super) fn encode(&self) -> [u8; RECORD_HEADER as usize] {
        let mut bytes = [0; RECORD_HEADER as usize];
        bytes[..4].copy_from_slice(&RECORD_MAGIC);
        bytes[8..12].copy_from_slice(&self.segment.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.id.0.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.payload_length.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.payload_crc.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.meta.generation.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.meta.lane.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.meta.samples.to_le_bytes());
        bytes[44] = self.meta.encoding;
        bytes[45] = RECORD_VERSION;
        bytes[48..56].copy_from_slice(&self.meta.oldest_millis.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.meta.newest_millis.to_le_bytes());
        let crc = crc32fast::hash(&bytes[8..MARK_AT as usize]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header found at `offset` of `segment` and the record's mark. None where these bytes
    /// are no record that was written there: a record keeps its id when it moves, and it moves to the end only.
    pub(super) fn decode(
        bytes: &[u8; RECORD_HEADER as usize],
        segment: u32,
        offset: u32,
    ) -> Option<(RecordHeader, Mark)> {
        let is_ours = bytes[..4] == RECORD_MAGIC
            && bytes[45] == RECORD_VERSION
            && u32_at(bytes, 8) == segment
            && u32_at(bytes, 12) == offset
            && crc32fast::hash(&bytes[8..MARK_AT as usize]) == u32_at(bytes, 4);
        let place = u64::from(segment) << 32 | u64::from(offset);
        if !is_ours || u64_at(bytes, 16) > place {
            return None;
        }
        let meta = RecordMeta {
            generation: u32_at(bytes, 32),
            lane: u32_at(bytes, 36),
            encoding: bytes[44],
            samples: u32_at(bytes, 40),
            oldest_millis: u64_at(bytes, 48).cast_signed(),
            newest_millis: u64_at(bytes, 56).cast_signed(),
        };
        let header = RecordHeader {
            segment,
            offset,
            id: RecordId(u64_at(bytes, 16)),
            meta,
            payload_length: u32_at(bytes, 24),
            payload_crc: u32_at(bytes, 28),
        };
        Some((header, Mark::decode(u64_at(bytes, MARK_AT as usize))))
    }
}

/// What a record with such a payload takes in a segment.
pub(super) fn record_length(payload_length: u32) -> u64 {
    u64::from(RECORD_HEADER) + u64::from(payload_length).next_multiple_of(u64::from(ALIGNMENT))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
