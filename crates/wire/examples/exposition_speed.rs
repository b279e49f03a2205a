//! Prints how fast a text exposition body is read: bytes and series per second, in three ways.
//!
//!     cargo run --release -p outrigger-wire --example exposition_speed [FILE]
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that measures and prints")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use outrigger_model::labels::LabelsBuilder;
use outrigger_wire::exposition::{Entry, Parser};

const MEASURE_FOR: Duration = Duration::from_millis(800);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/exposition/alltypes.237mfs.prom.txt");
    let path = std::env::args().nth(1).unwrap_or_else(|| default.to_owned());
    let body = std::fs::read(&path)?;
    let known: Vec<&[u8]> = Parser::new(&body)
        .filter_map(|entry| match entry {
            Ok(Entry::Series(series)) => Some(Ok(series.raw())),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
        .collect::<Result<_, _>>()?;
    println!("{path}: {} bytes, {} series", body.len(), known.len());
    report("every line checked", &body, known.len(), || check(&body));
    report("labels built", &body, known.len(), || build(&body));
    report("series known", &body, known.len(), || skip_known(&body, &known));
    Ok(())
}

/// The fastest of many short runs: on a busy machine the others were interrupted.
fn report(what: &str, body: &[u8], series: usize, mut run: impl FnMut() -> usize) {
    let begin = Instant::now();
    let mut fastest = Duration::MAX;
    while begin.elapsed() < MEASURE_FOR {
        let start = Instant::now();
        assert_eq!(black_box(run()), series);
        fastest = fastest.min(start.elapsed());
    }
    let seconds = fastest.as_secs_f64();
    println!(
        "{what:20} {:8.0} MB/s {:8.1} ns/series",
        body.len() as f64 / seconds / 1e6,
        seconds * 1e9 / series as f64
    );
}

fn check(body: &[u8]) -> usize {
    Parser::new(body)
        .filter(|entry| matches!(entry, Ok(Entry::Series(series)) if !series.raw().is_empty()))
        .count()
}

fn build(body: &[u8]) -> usize {
    let mut builder = LabelsBuilder::new();
    let mut count = 0;
    for entry in Parser::new(body) {
        if let Ok(Entry::Series(series)) = entry {
            count += usize::from(series.labels(&mut builder).is_ok());
            black_box(builder.build());
        }
    }
    count
}

/// As a scrape of a target whose series are those of the last scrape, in the same order.
fn skip_known(body: &[u8], known: &[&[u8]]) -> usize {
    let mut parser = Parser::new(body);
    let mut at = 0;
    loop {
        if let Some(Ok(series)) = known.get(at).and_then(|raw| parser.next_known(raw)) {
            black_box(series.value);
            at += 1;
            continue;
        }
        match parser.next() {
            None => return at,
            Some(Ok(Entry::Series(_))) => at += 1,
            Some(_) => {}
        }
    }
}
