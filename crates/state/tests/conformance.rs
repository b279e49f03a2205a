//! kube-state-metrics' own cases and those that it has not: each object, from protobuf and from JSON, gives exactly
//! its lines.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use base64::Engine;
use outrigger_state::Encoding;
use outrigger_state::image::StateImage;
use outrigger_state::options::{LabelsAllowList, Options};
use outrigger_state::render::RenderOptions;
use outrigger_state::resource::{ALL, Resource};
use outrigger_state::selection::Selection;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    source: String,
    line: u32,
    #[serde(flatten)]
    input: Input,
    want: String,
    families: Vec<CaseFamily>,
    note: Option<String>,
}

/// An object in both encodings, and the keys of its labels and annotations that are told.
#[derive(Deserialize)]
struct Input {
    object: serde_json::Value,
    object_pb_base64: String,
    allow_labels: Option<Vec<String>>,
    allow_annotations: Option<Vec<String>>,
}

/// An object of ours, and all lines of some of its families.
#[derive(Deserialize)]
struct Edge {
    name: String,
    resource: String,
    #[serde(flatten)]
    input: Input,
    families: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct CaseFamily {
    name: String,
    header: String,
    body: String,
}

fn cases() -> Vec<Case> {
    let text = include_str!("../testdata/cases.jsonl");
    text.lines().map(|line| with_allowed_keys(serde_json::from_str(line).expect("a case"))).collect()
}

/// The keys that a test of theirs allows for all its objects, which the records leave out.
fn with_allowed_keys(mut case: Case) -> Case {
    if (case.source.as_str(), case.line) == ("endpoint_test.go", 287) {
        case.input.allow_labels.get_or_insert_with(|| vec!["app".to_owned()]);
        case.input.allow_annotations.get_or_insert_with(|| vec!["app".to_owned()]);
    }
    case
}

/// Resources by the families that they have.
fn resources_by_family() -> BTreeMap<String, &'static str> {
    let mut resources = BTreeMap::new();
    for line in include_str!("../testdata/families.tsv").lines().skip(1) {
        let mut columns = line.split('\t');
        let (Some(resource), Some(family)) = (columns.next(), columns.next()) else { continue };
        resources.insert(family.to_owned(), resource);
    }
    resources
}

fn all_families() -> Options {
    Options { metric_opt_in_list: [".".to_owned()].into(), ..Options::default() }
}

/// Everything of one object, as text.
fn rendered(resource: &Resource, input: &Input, encoding: Encoding) -> String {
    let allowed = |keys: &Option<Vec<String>>| {
        let keys = keys.clone().unwrap_or_default();
        let keys = if keys.is_empty() {
            BTreeMap::new()
        } else {
            BTreeMap::from([(resource.name.to_owned(), keys)])
        };
        LabelsAllowList::checked(keys).expect("an allowlist")
    };
    let options = Options {
        resources: [resource.name.to_owned()].into(),
        labels_allow_list: allowed(&input.allow_labels),
        annotations_allow_list: allowed(&input.allow_annotations),
        ..all_families()
    };
    let selection = Selection::new(&options).expect("a selection");
    let image = StateImage::new(vec![(resource.name.to_owned(), resource.generator(&selection))]);
    let table = image.table(resource.name).expect("its table");
    let object = match encoding {
        Encoding::Protobuf => {
            base64::engine::general_purpose::STANDARD.decode(&input.object_pb_base64).expect("base64")
        }
        Encoding::Json => input.object.to_string().into_bytes(),
    };
    image.begin_generation(table);
    image.upsert(table, encoding, &object, &mut image.samples(table)).expect("a readable object");
    image.commit_generation(table);
    let mut text = Vec::new();
    image.snapshot().render(&RenderOptions::default(), |buffer| {
        text.append(buffer);
        ControlFlow::Continue(())
    });
    String::from_utf8(text).expect("text")
}

/// Families in order: name, header, body.
fn families(text: &str) -> Vec<(String, String, String)> {
    let mut families: Vec<(String, String, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        match line.strip_prefix("# HELP ") {
            Some(rest) => {
                let name = rest.split(' ').next().unwrap_or_default();
                families.push((name.to_owned(), line.to_owned(), String::new()));
            }
            None if line.starts_with("# TYPE ") => families.last_mut().expect("a header").1.push_str(line),
            None => families.last_mut().expect("a header").2.push_str(line),
        }
    }
    families
}

fn sorted(body: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = body.lines().collect();
    lines.sort_unstable();
    lines
}

/// Sorted lines with sorted labels, as the wanted texts are compared: their labels are in any order.
fn with_sorted_labels(body: &str) -> Vec<String> {
    let mut lines: Vec<String> = body
        .lines()
        .map(|line| {
            let (labels, number) = line.rsplit_once('}').expect("labels");
            let (name, labels) = labels.split_once('{').expect("labels");
            let mut labels: Vec<&str> =
                labels.split("\",").map(|label| label.trim_end_matches('"')).collect();
            labels.sort_unstable();
            format!("{name} {labels:?} {number}")
        })
        .collect();
    lines.sort_unstable();
    lines
}

/// Families whose samples come from a Go map, in an order that changes from run to run.
const RANDOM_ORDER: &[&str] = &[
    "kube_pod_container_resource_",
    "kube_pod_init_container_resource_",
    "kube_pod_overhead_",
    "kube_node_status_",
    "kube_node_role",
    "kube_resourcequota",
    "kube_limitrange",
    "kube_horizontalpodautoscaler_",
    "kube_persistentvolume_csi_attributes",
];

fn check(case: &Case, resource: &Resource, encoding: Encoding) -> Vec<String> {
    let place = format!("{}:{} from {encoding:?}", case.source, case.line);
    let ours = families(&rendered(resource, &case.input, encoding));
    let theirs: Vec<&CaseFamily> = case.families.iter().collect();
    let mut problems = Vec::new();
    let names = |list: Vec<&str>| list.join(" ");
    let (our_names, their_names) = (
        names(ours.iter().map(|family| family.0.as_str()).collect()),
        names(theirs.iter().map(|family| family.name.as_str()).collect()),
    );
    if our_names != their_names {
        problems.push(format!("{place}: families\n  ours   {our_names}\n  theirs {their_names}"));
        return problems;
    }
    for ((name, header, body), family) in ours.iter().zip(theirs) {
        if *header != family.header {
            problems.push(format!("{place}: header\n  ours   {header}  theirs {}", family.header));
        }
        // Where the case says so, the wanted text counts; it names no families without samples.
        let wanted = match &case.note {
            None => family.body.clone(),
            Some(_) => case
                .want
                .lines()
                .map(str::trim)
                .filter(|line| line.starts_with(&format!("{name}{{")))
                .fold(String::new(), |text, line| text + line + "\n"),
        };
        if case.note.is_some() && wanted.is_empty() {
            continue;
        }
        let equal = if case.note.is_some() {
            with_sorted_labels(body) == with_sorted_labels(&wanted)
        } else if RANDOM_ORDER.iter().any(|prefix| name.starts_with(prefix)) {
            sorted(body) == sorted(&wanted)
        } else {
            *body == wanted
        };
        if !equal {
            problems.push(format!("{place}: {name}\n--- ours\n{body}--- theirs\n{wanted}"));
        }
    }
    problems
}

#[test]
fn objects_give_the_lines_of_kube_state_metrics() {
    let resources = resources_by_family();
    let mut problems = Vec::new();
    let (mut checked, mut without) = (0, BTreeMap::new());
    for case in cases() {
        let name = resources[&case.families[0].name];
        let Some(resource) = Resource::find(name) else {
            *without.entry(name).or_insert(0) += 1;
            continue;
        };
        for encoding in [Encoding::Protobuf, Encoding::Json] {
            problems.extend(check(&case, resource, encoding));
            checked += 1;
        }
    }
    assert!(problems.is_empty(), "{} problems\n{}", problems.len(), problems.join("\n"));
    assert!(without.is_empty(), "no such resource: {without:?}");
    assert_eq!(checked, 2 * 179);
}

#[test]
fn objects_at_the_edges_give_their_lines() {
    let mut problems = Vec::new();
    let edges = [include_str!("../testdata/edges.jsonl"), include_str!("../testdata/edges_workloads.jsonl")];
    for line in edges.iter().flat_map(|edges| edges.lines()) {
        let edge: Edge = serde_json::from_str(line).expect("an edge");
        let resource = Resource::find(&edge.resource).expect("its resource");
        for encoding in [Encoding::Protobuf, Encoding::Json] {
            let bodies: BTreeMap<String, String> = families(&rendered(resource, &edge.input, encoding))
                .into_iter()
                .map(|(name, _, body)| (name, body))
                .collect();
            for (family, lines) in &edge.families {
                let wanted: String = lines.iter().map(|line| format!("{line}\n")).collect();
                if bodies.get(family) != Some(&wanted) {
                    let ours = bodies.get(family).map_or("no such family\n", String::as_str);
                    problems.push(format!(
                        "{} from {encoding:?}: {family}\n--- ours\n{ours}--- wanted\n{wanted}",
                        edge.name
                    ));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{} problems\n{}", problems.len(), problems.join("\n"));
}

#[derive(Deserialize)]
struct RandomObject {
    resource: String,
    object: serde_json::Value,
    object_pb_base64: String,
}

/// All random objects as text, with all families, labels and annotations.
fn rendered_random(objects: &[RandomObject], encoding: Encoding) -> String {
    let everything = LabelsAllowList::checked(BTreeMap::from([("*".to_owned(), vec!["*".to_owned()])]));
    let everything = everything.expect("an allowlist");
    let options = Options {
        resources: ALL.iter().map(|resource| resource.name.to_owned()).collect(),
        labels_allow_list: everything.clone(),
        annotations_allow_list: everything,
        ..all_families()
    };
    let selection = Selection::new(&options).expect("a selection");
    let image = StateImage::new(
        ALL.iter().map(|resource| (resource.name.to_owned(), resource.generator(&selection))).collect(),
    );
    for (table, name) in image.resources() {
        image.begin_generation(table);
        for random in objects.iter().filter(|random| random.resource == name) {
            let bytes = match encoding {
                Encoding::Protobuf => base64::engine::general_purpose::STANDARD
                    .decode(&random.object_pb_base64)
                    .expect("base64"),
                Encoding::Json => random.object.to_string().into_bytes(),
            };
            image.upsert(table, encoding, &bytes, &mut image.samples(table)).expect("a readable object");
        }
        image.commit_generation(table);
    }
    let mut text = Vec::new();
    image.snapshot().render(&RenderOptions::default(), |buffer| {
        text.append(buffer);
        ControlFlow::Continue(())
    });
    String::from_utf8(text).expect("text")
}

#[test]
fn random_objects_give_the_lines_of_the_real_program() {
    let objects: Vec<RandomObject> = include_str!("../testdata/random/objects.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object"))
        .collect();
    let theirs = families(include_str!("../testdata/random/metrics.txt"));
    for encoding in [Encoding::Protobuf, Encoding::Json] {
        let ours = families(&rendered_random(&objects, encoding));
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours.1, theirs.1, "{encoding:?}");
            assert_eq!(sorted(&ours.2), sorted(&theirs.2), "{encoding:?}");
        }
    }
}

#[test]
fn families_are_those_of_the_inventory() {
    let mut ours = Vec::new();
    for resource in ALL {
        let selection = Selection::new(&all_families()).expect("a selection");
        for family in resource.generator(&selection).families() {
            ours.push(format!(
                "{}\t{}",
                resource.name,
                String::from_utf8(family.header(false)).expect("text")
            ));
        }
    }
    let mut theirs = Vec::new();
    for line in include_str!("../testdata/families.tsv").lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let (resource, name, kind, stability) = (columns[0], columns[1], columns[2], columns[3]);
        if Resource::find(resource).is_none() {
            continue;
        }
        let mut help = if stability == "STABLE" { "[STABLE] ".to_owned() } else { String::new() };
        if !columns[10].is_empty() {
            help.push_str(&format!("(Deprecated since {}) ", columns[10]));
        }
        help.push_str(columns.get(11).copied().unwrap_or_default());
        theirs.push(format!("{resource}\t# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }
    let differing: Vec<_> = ours.iter().zip(&theirs).filter(|(one, other)| one != other).collect();
    assert!(differing.is_empty(), "{differing:#?}");
    assert_eq!(ours.len(), theirs.len());
    let missing: Vec<_> =
        resources_by_family().into_values().filter(|name| Resource::find(name).is_none()).collect();
    assert!(missing.is_empty(), "resources without families of ours: {missing:?}");
}
