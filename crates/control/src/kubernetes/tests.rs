use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outrigger_config::prometheus::{Namespaces, RoleSelector};
use outrigger_config::selector::{FieldSelector, LabelSelector};
use outrigger_mirror::Change;
use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize)]
struct GoldenCluster {
    objects: Vec<GoldenObject>,
    cases: Vec<GoldenCase>,
}

#[derive(Debug, Deserialize)]
struct GoldenObject {
    kind: String,
    proto: String,
}

#[derive(Debug, Deserialize)]
struct GoldenCase {
    role: String,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default)]
    own_namespace: bool,
    #[serde(default)]
    selectors: Vec<GoldenSelector>,
    #[serde(default)]
    attach: Vec<String>,
    groups: Option<Vec<GoldenGroup>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GoldenSelector {
    role: String,
    label: String,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
struct GoldenGroup {
    source: String,
    labels: BTreeMap<String, String>,
    targets: Vec<BTreeMap<String, String>>,
}

fn role(name: &str) -> Role {
    Role::from_name(name).unwrap_or_else(|| panic!("no role {name}"))
}

fn golden_sd(case: &GoldenCase) -> KubernetesSd {
    let mut sd = KubernetesSd::new(role(&case.role));
    sd.namespaces = Namespaces { own_namespace: case.own_namespace, names: case.namespaces.clone() };
    let attached = |what: &str| case.attach.iter().any(|attached| attached == what);
    sd.attach_metadata = AttachMetadata {
        node: attached("node"),
        namespace: attached("namespace"),
        deployment: attached("deployment"),
        job: attached("job"),
        cronjob: attached("cronjob"),
    };
    let selector = |selector: &GoldenSelector| RoleSelector {
        role: role(&selector.role),
        label: LabelSelector::parse(&selector.label).expect("a valid selector"),
        field: FieldSelector::default(),
    };
    sd.selectors = case.selectors.iter().map(selector).collect();
    sd
}

fn pairs(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// All groups with targets, by source; the order of targets does not count.
fn groups(mirror: &Mirror, view: &RoleView) -> Vec<GoldenGroup> {
    let mut writer = GroupWriter::default();
    let mut groups: Vec<_> = view
        .rows(mirror)
        .into_iter()
        .filter_map(|row| view.group(mirror, row, &mut writer))
        .filter(|(_, group)| !group.targets.is_empty())
        .map(|(source, group)| GoldenGroup {
            source,
            labels: pairs(&group.labels),
            targets: group.targets.iter().map(pairs).collect(),
        })
        .collect();
    normalise(&mut groups);
    groups
}

fn normalise(groups: &mut [GoldenGroup]) {
    groups.sort_by(|a, b| a.source.cmp(&b.source));
    groups.iter_mut().for_each(|group| group.targets.sort());
}

#[test]
fn every_role_finds_what_prometheus_finds() {
    let golden = include_str!("../../testdata/kubernetes-discovery/golden.jsonl");
    let mut n_targets = 0;
    for (number, line) in golden.lines().enumerate() {
        let cluster: GoldenCluster = serde_json::from_str(line).expect("golden data");
        let mut mirror = Mirror::new();
        for object in &cluster.objects {
            let resource = ResourceKind::from_kind(&object.kind).expect("a known kind");
            let message = STANDARD.decode(&object.proto).expect("base64");
            mirror.apply(resource, Change::Upsert, &message).expect("a valid object");
        }
        for case in &cluster.cases {
            let view = RoleView::new(&golden_sd(case), Some("own-ns")).expect("no field selectors");
            let mut expected: Vec<GoldenGroup> = Vec::new();
            for group in case.groups.iter().flatten() {
                let GoldenGroup { source, labels, targets } = group;
                expected.push(GoldenGroup {
                    source: source.clone(),
                    labels: labels.clone(),
                    targets: targets.clone(),
                });
            }
            normalise(&mut expected);
            n_targets += expected.iter().map(|group| group.targets.len()).sum::<usize>();
            let found = groups(&mirror, &view);
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(found, expected, "cluster {number}, {case:?}");
            }
            assert_eq!(found.len(), expected.len(), "cluster {number}, {}", case.role);
        }
    }
    assert!(n_targets > 900, "the golden data has {n_targets} targets");
}
