//! The scripts of Prometheus' promqltest, statement by statement.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod script;

use std::collections::BTreeMap;
use std::path::Path;

use script::{Outcome, run};

fn testdata() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata"))
}

/// `line -> reason` of one script's statements that do not pass yet.
fn pending(script: &str) -> BTreeMap<usize, String> {
    let text = std::fs::read_to_string(testdata().join("pending.txt")).unwrap();
    let entry = |line: &str| {
        let (place, reason) = line.split_once(' ')?;
        let (name, number) = place.split_once(':')?;
        (name == script).then(|| (number.parse().unwrap(), reason.to_owned()))
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(entry).collect()
}

fn check(name: &str) {
    let text = std::fs::read_to_string(testdata().join(format!("{name}.test"))).unwrap();
    let pending = pending(name);
    let outcomes = run(&text);
    let mut wrong = Vec::new();
    for Outcome { line, statement, result } in &outcomes {
        match (result, pending.get(line)) {
            (Ok(()), Some(_)) => wrong.push(format!("{name}:{line} passes now: strike it from pending.txt")),
            (Err(error), None) => wrong.push(format!("{name}:{line} {error} | {statement}")),
            _ => {}
        }
    }
    for line in pending.keys().filter(|line| !outcomes.iter().any(|outcome| outcome.line == **line)) {
        wrong.push(format!("{name}:{line} is no statement: strike it from pending.txt"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

macro_rules! scripts {
    ($($name:ident $file:literal)*) => {$(
        #[test]
        fn $name() {
            check($file);
        }
    )*};
}

scripts! {
    aggregators "aggregators"
    at_modifier "at_modifier"
    collision "collision"
    duration_expression "duration_expression"
    extended_vectors "extended_vectors"
    fill_modifier "fill-modifier"
    functions "functions"
    histograms "histograms"
    info "info"
    limit "limit"
    literals "literals"
    name_label_dropping "name_label_dropping"
    native_histograms "native_histograms"
    operators "operators"
    range_queries "range_queries"
    selectors "selectors"
    staleness "staleness"
    start_timestamps "start_timestamps"
    subquery "subquery"
    trig_functions "trig_functions"
    type_and_unit "type_and_unit"
    unquoted_utf8_names "unquoted_utf8_names"
}
