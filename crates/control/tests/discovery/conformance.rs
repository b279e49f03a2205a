//! The `target-relabel` fixtures: the same labels before and after relabelling as promtool prints.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use outrigger_config::prometheus::DiscoveryConfig;
use outrigger_control::populate::{Populated, Populator};
use outrigger_model::labels::Labels;
use serde::Deserialize;

use crate::engine::load;

#[derive(Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
struct Golden {
    discovered_labels: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

/// Labels that every target has since Prometheus 3.14; the promtool that wrote the fixtures is older.
const NEWER_LABELS: [&str; 3] = [
    "__always_scrape_classic_histograms__",
    "__convert_classic_histograms_to_nhcb__",
    "__scrape_native_histograms__",
];

fn pairs(labels: &Labels) -> BTreeMap<String, String> {
    let older = labels.iter().filter(|(name, _)| !NEWER_LABELS.contains(name));
    older.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn labels_before_and_after_relabelling_are_those_of_promtool() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/target-relabel");
    let mut n_fixtures = 0;
    for entry in std::fs::read_dir(&folder).expect("the fixtures").flatten() {
        if !entry.path().is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(entry.path().join("golden.json")).expect("golden.json");
        let mut expected: Vec<Golden> = serde_json::from_str(&text).expect("golden data");
        expected.sort();
        assert_eq!(found(&entry.path().join("prometheus.yaml")), expected, "{}", entry.path().display());
        n_fixtures += 1;
    }
    assert_eq!(n_fixtures, 11);
}

fn found(path: &Path) -> Vec<Golden> {
    let text = std::fs::read_to_string(path).expect("prometheus.yaml");
    let mut found = Vec::new();
    for scrape in &load(&text).scrape_configs {
        let mut populator = Populator::new(Arc::clone(scrape));
        for kind in &scrape.discovery {
            let DiscoveryConfig::Static(groups) = kind else {
                panic!("the fixtures have static targets only")
            };
            for group in groups {
                for target in &group.targets {
                    let labels = match populator.populate(&group.labels, target) {
                        Populated::Keep(_) => pairs(&populator.relabelled()),
                        Populated::Drop => BTreeMap::new(),
                        Populated::Error(error) => panic!("{error}"),
                    };
                    let discovered_labels = pairs(&populator.discovered(&group.labels, target));
                    found.push(Golden { discovered_labels, labels });
                }
            }
        }
    }
    found.sort();
    found
}
