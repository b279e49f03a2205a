//! Records that tell which one they are.

use outrigger_storage::queue::{Record, RecordMeta};

pub(crate) fn meta(number: u32) -> RecordMeta {
    RecordMeta {
        samples: number,
        lane: number % 5,
        newest_millis: i64::from(number),
        ..RecordMeta::default()
    }
}

pub(crate) fn payload(number: u32, length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..length).map(|index| (number as usize * 31 + index * 7) as u8).collect();
    for (byte, tag) in bytes.iter_mut().zip(number.to_le_bytes()) {
        *byte = tag;
    }
    bytes
}

pub(crate) fn number(record: &Record) -> u32 {
    record.meta.samples
}
