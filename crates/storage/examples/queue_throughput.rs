//! How fast the disk queue is: records of 100 KB appended and acknowledged, as while a receiver is just in time, and
//! appended first, read and acknowledged later, as after an outage.
//!
//! `cargo run --release -p outrigger-storage --example queue_throughput -- DIRECTORY`
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that measures and prints")]

use std::collections::VecDeque;
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use outrigger_storage::queue::{DiskQueue, QueueOptions, RecordMeta};

const PAYLOAD_BYTES: usize = 100_000;
const RECORDS: usize = 20_000;
const LAG: usize = 10_000;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = PathBuf::from(std::env::args_os().nth(1).ok_or("which directory?")?);
    let payload: Vec<u8> = (0..PAYLOAD_BYTES as u64).map(|at| ((at * at) >> 3) as u8).collect();
    let (queue, _) = DiskQueue::open(&directory, QueueOptions::new(8 << 30))?;

    measure("append, acknowledge", RECORDS, || {
        for _ in 0..RECORDS {
            let id = queue.append(RecordMeta::default(), &payload)?.id;
            queue.acknowledge(id)?;
        }
        Ok(())
    })?;
    let mut waiting = VecDeque::new();
    measure("append", LAG, || {
        for _ in 0..LAG {
            waiting.push_back(queue.append(RecordMeta::default(), &payload)?.id);
        }
        Ok(())
    })?;
    measure("sync", LAG, || Ok(queue.sync()?))?;
    drop(queue);
    let mut queue = None;
    measure("open", LAG, || {
        queue = Some(DiskQueue::open(&directory, QueueOptions::new(8 << 30))?.0);
        Ok(())
    })?;
    let queue = queue.ok_or("not opened")?;
    measure("read, acknowledge", LAG, || {
        for id in waiting {
            queue.read(id)?;
            queue.acknowledge(id)?;
        }
        Ok(())
    })?;
    queue.sync()?;
    println!("left over: {:?}", queue.statistics());
    Ok(())
}

fn measure(
    what: &str,
    records: usize,
    work: impl FnOnce() -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let (start, cpu) = (Instant::now(), cpu_seconds()?);
    work()?;
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    let megabytes = (records * PAYLOAD_BYTES) as f64 / 1e6;
    let (per_second, micros) = (megabytes / wall, cpu * 1e6 / records as f64);
    println!("{what:20} {per_second:8.0} MB/s  {micros:6.1} us of CPU a record  {wall:.2} s");
    Ok(())
}

/// User and system time of this process, from ticks of a hundredth of a second.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields.get(11).ok_or("no utime")?.parse::<u64>()?
        + fields.get(12).ok_or("no stime")?.parse::<u64>()?;
    Ok(ticks as f64 / 100.0)
}
