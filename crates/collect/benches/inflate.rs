//! How long a gzip body takes to inflate: libdeflate against zlib-rs.
//!
//! `cargo bench -p outrigger-collect --bench inflate`

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tokio::time::Instant;

type Failure = Box<dyn std::error::Error>;

/// Bytes of text that each measurement inflates.
const WORK: usize = 400 << 20;

fn main() -> Result<(), Failure> {
    let mut out = std::io::stdout();
    for bytes in [20_000, 100_000, 400_000] {
        let text = body(bytes)?;
        for level in [1, 6] {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
            encoder.write_all(&text)?;
            let wire = encoder.finish()?;
            let (libdeflate, zlib) = measure(&wire, bytes)?;
            writeln!(
                out,
                "{bytes} bytes, level {level}, {} on the wire: libdeflate {libdeflate:.1} us, zlib-rs {zlib:.1} us, \
                 {:.2} times faster",
                wire.len(),
                zlib / libdeflate
            )?;
        }
    }
    Ok(())
}

/// Microseconds for one body, by libdeflate and by zlib-rs; the best of three runs.
fn measure(wire: &[u8], bytes: usize) -> Result<(f64, f64), Failure> {
    let rounds = WORK / bytes;
    let mut text = vec![0; bytes];
    let mut best = [f64::MAX; 2];
    for _ in 0..3 {
        let started = Instant::now();
        let mut decompressor = libdeflater::Decompressor::new();
        for _ in 0..rounds {
            decompressor.gzip_decompress(wire, &mut text)?;
        }
        best[0] = best[0].min(started.elapsed().as_secs_f64());
        let started = Instant::now();
        for _ in 0..rounds {
            GzDecoder::new(wire).read_exact(&mut text)?;
        }
        best[1] = best[1].min(started.elapsed().as_secs_f64());
    }
    let [libdeflate, zlib] = best.map(|seconds| seconds * 1e6 / rounds as f64);
    Ok((libdeflate, zlib))
}

/// A body such as the kubelet's cAdvisor sends.
fn body(bytes: usize) -> Result<Vec<u8>, std::fmt::Error> {
    let mut text = String::new();
    let mut state = 88_172_645_463_325_252u64;
    for family in 0.. {
        writeln!(text, "# HELP container_metric_{family}_total Cumulative something of a container.")?;
        writeln!(text, "# TYPE container_metric_{family}_total counter")?;
        for series in 0..40u64 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            writeln!(
                text,
                "container_metric_{family}_total{{container=\"app\",id=\"/kubepods/burstable/pod{:08x}-4242-{:012x}\",\
                 image=\"registry.example/team/app:v1.{}\",name=\"c{series}\",namespace=\"team-{}\",\
                 pod=\"app-{:x}-{series}\"}} {}.{:02}",
                series * 7_919,
                series * 104_729,
                series % 9,
                series % 12,
                series * 31,
                state % 100_000_000,
                state >> 58,
            )?;
        }
        if text.len() >= bytes {
            break;
        }
    }
    text.truncate(bytes);
    Ok(text.into_bytes())
}
