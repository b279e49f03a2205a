//! Whoever follows the changes from snapshot to snapshot knows exactly what a scrape would say.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use outrigger_state::Encoding;
use outrigger_state::image::{Snapshot, StateImage};
use outrigger_state::render::RenderOptions;
use outrigger_state::resource::Resource;
use outrigger_state::selection::Selection;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Upsert {
        name: u8,
        version: u8,
    },
    Delete {
        name: u8,
    },
    /// A list of these objects in place of all.
    Relist(Vec<(u8, u8)>),
    Look,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..40u8, 0..6u8).prop_map(|(name, version)| Step::Upsert { name, version }),
        2 => (0..40u8).prop_map(|name| Step::Delete { name }),
        1 => proptest::collection::vec((0..40u8, 0..6u8), 0..30).prop_map(Step::Relist),
        2 => Just(Step::Look),
    ];
    proptest::collection::vec(step, 0..80)
}

fn object(name: u8, version: u8) -> Vec<u8> {
    let created = format!("2026-01-0{}T00:00:00Z", version % 3 + 1);
    let metadata = serde_json::json!({
        "name": format!("m\"{name}"), "namespace": "n", "uid": format!("u{name}"),
        "creationTimestamp": if version == 5 { None } else { Some(created) },
        "resourceVersion": version.to_string(),
    });
    serde_json::json!({ "metadata": metadata }).to_string().into_bytes()
}

fn text(snapshot: &Snapshot) -> Vec<String> {
    let mut text = Vec::new();
    snapshot.render(&RenderOptions::default(), |buffer| {
        text.append(buffer);
        ControlFlow::Continue(())
    });
    let text = String::from_utf8(text).expect("text");
    let mut lines: Vec<String> =
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// Series as lines, with their numbers.
#[derive(Default)]
struct Follower {
    series: BTreeMap<String, f64>,
    last: Option<Snapshot>,
}

impl Follower {
    fn look(&mut self, image: &StateImage, refresh: bool) {
        let now = image.snapshot();
        let series = &mut self.series;
        let done = now.changes(
            self.last.as_ref(),
            None,
            |_| refresh,
            |_, sample| {
                let labels: Vec<String> = sample
                    .labels
                    .iter()
                    .map(|(name, value)| format!("{name}=\"{}\"", value.replace('"', "\\\"")))
                    .collect();
                let line = format!("{}{{{}}}", sample.metric, labels.join(","));
                match sample.number {
                    Some(number) => drop(series.insert(line, number)),
                    None => assert!(series.remove(&line).is_some(), "{line} was never said"),
                }
                ControlFlow::Continue(())
            },
        );
        assert!(done.is_continue());
        let mut lines: Vec<String> = self
            .series
            .iter()
            .map(|(line, number)| {
                format!("{line} {}", if *number < 1e6 { number.to_string() } else { go(*number) })
            })
            .collect();
        lines.sort_unstable();
        assert_eq!(lines, text(&now));
        self.last = Some(now);
    }
}

/// The times of [`object`] as Go writes them.
fn go(number: f64) -> String {
    let digits = format!("{number}");
    let trimmed = digits.trim_end_matches('0');
    format!("{}.{}e+{:02}", &trimmed[..1], &trimmed[1..], digits.len() - 1)
}

proptest! {
    #[test]
    fn a_follower_knows_what_a_scrape_says(steps in steps(), refresh: bool) {
        let resource = Resource::find("configmaps").expect("configmaps");
        let generator = resource.generator(&Selection::default());
        let image = StateImage::new(vec![("configmaps".to_owned(), generator)]);
        let table = image.table("configmaps").expect("its table");
        let mut samples = image.samples(table);
        image.begin_generation(table);
        image.commit_generation(table);
        let mut follower = Follower::default();
        for step in steps {
            match step {
                Step::Upsert { name, version } => {
                    image.upsert(table, Encoding::Json, &object(name, version), &mut samples).expect("readable");
                }
                Step::Delete { name } => {
                    image.delete(table, Encoding::Json, &object(name, 0), &mut samples).expect("readable");
                }
                Step::Relist(objects) => {
                    image.begin_generation(table);
                    for (name, version) in objects {
                        let object = object(name, version);
                        image.upsert(table, Encoding::Json, &object, &mut samples).expect("readable");
                    }
                    image.commit_generation(table);
                }
                Step::Look => follower.look(&image, refresh),
            }
        }
        follower.look(&image, refresh);
        // Nothing is left of what is gone.
        image.begin_generation(table);
        image.commit_generation(table);
        follower.look(&image, refresh);
        prop_assert_eq!(image.dictionary_memory().0, 0);
    }
}
