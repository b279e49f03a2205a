use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::each::Outcome;
use super::*;
use crate::Encoding;
use crate::image::StateImage;
use crate::render::RenderOptions;
use crate::selection::Selection;

macro_rules! testdata {
    ($name:literal) => {
        include_str!(concat!("../../testdata/custom/", $name))
    };
}

fn object() -> Value {
    serde_json::from_str(testdata!("object.json")).expect("JSON")
}

fn read(text: &str) -> Loaded {
    Config::read("crs.yaml", text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// A configuration with one metric; JSON is YAML.
fn one_metric(metric: Value) -> String {
    let gvk = json!({"group": "myteam.io", "version": "v1", "kind": "Foo"});
    json!({"spec": {"resources": [{"groupVersionKind": gvk, "metrics": [metric]}]}}).to_string()
}

fn foo() -> ServedKind {
    served("myteam.io", "v1", "Foo", "foos")
}

fn served(group: &str, version: &str, kind: &str, plural: &str) -> ServedKind {
    let gvk =
        GroupVersionKind { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() };
    ServedKind { gvk, plural: plural.to_owned(), namespaced: true }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[test]
fn values_are_those_of_kube_state_metrics() {
    let object = object();
    let cases: Value = serde_json::from_str(testdata!("values.json")).expect("JSON");
    for case in array(&cases) {
        let loaded = read(&one_metric(json!({"name": "test_info", "each": case["each"]})));
        assert!(loaded.invalid.is_empty() && loaded.warnings.is_empty(), "{case}: {loaded:?}");
        let Outcome { values, errors } = loaded.config.resources[0].families[0].each.values(&object);
        let values: Vec<Value> =
            values.into_iter().map(|value| json!([value.number, value.labels])).collect();
        let want: Vec<Value> =
            array(&case["values"]).iter().map(|pair| json!([pair[0].as_f64(), pair[1]])).collect();
        assert_eq!(values, want, "{}", case["name"]);
        let errors: Vec<Value> = errors.iter().map(|error| error.to_string().into()).collect();
        assert_eq!(errors, array(&case["errors"]), "{}", case["name"]);
    }
}

#[test]
fn kinds_are_resolved_as_in_kube_state_metrics() {
    let cases: Value = serde_json::from_str(testdata!("resolve.json")).expect("JSON");
    for case in array(&cases) {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let served: Vec<ServedKind> = array(&case["served"])
            .iter()
            .map(|kind| {
                self::served(
                    &text(&kind["group"]),
                    &text(&kind["version"]),
                    &text(&kind["kind"]),
                    &text(&kind["plural"]),
                )
            })
            .collect();
        let wanted = &case["wanted"];
        let gvk = json!({"group": wanted[0], "version": wanted[1], "kind": wanted[2]});
        let metric = json!({"name": "a_info", "each": {"type": "info", "info": {}}});
        let text =
            json!({"spec": {"resources": [{"groupVersionKind": gvk, "metrics": [metric]}]}}).to_string();
        let resolution = read(&text).config.resolve(&served);
        let found: Vec<Value> =
            resolution.resources.iter().map(|resource| resource.table_name().into()).collect();
        assert_eq!(found, array(&case["found"]), "{}", case["name"]);
    }
}

#[test]
fn served_versions_are_read_from_crds() {
    let cases: Value = serde_json::from_str(testdata!("crds.json")).expect("JSON");
    for case in array(&cases) {
        let (kinds, problems) = served_kinds(&case["crd"]);
        let versions: Vec<Value> = kinds.iter().map(|kind| kind.gvk.version.as_str().into()).collect();
        assert_eq!(versions, array(&case["versions"]), "{}", case["name"]);
        assert_eq!(problems.len() as u64, case["problems"].as_u64().unwrap_or(0), "{}", case["name"]);
        for kind in kinds {
            assert_eq!((kind.gvk.group.as_str(), kind.plural.as_str()), ("testgroup", "testobjects"));
        }
    }
}

#[test]
fn the_example_is_read() {
    let Loaded { config, invalid, warnings } = read(testdata!("example_config.yaml"));
    assert_eq!(invalid, []);
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "crs.yaml:35:15: spec.resources[0].metrics[0].each.gauge.value: is not known and has no effect (known here: labelFromKey, valueFrom, nilIsZero, path, labelsFromPath)"
        ]
    );
    let resolution = config.resolve(&[foo()]);
    let [resource] = resolution.resources.as_slice() else { panic!("{resolution:?}") };
    let names: Vec<&str> = resource.family_names().collect();
    assert_eq!(
        names,
        ["active_count", "other_count", "info", "phase"].map(|name| format!("kube_customresource_{name}"))
    );
    let verbosities: Vec<i32> = config.resources[0].families.iter().map(|family| family.verbosity).collect();
    assert_eq!(verbosities, [0, 5, 5, 5]);
}

/// The text of some objects, and what was reported of them.
fn rendered(config: &str, served: &[ServedKind], objects: &[(&str, Value)]) -> (String, Vec<String>) {
    let resolution = read(config).config.resolve(served);
    let reported = Arc::new(Mutex::new(Vec::new()));
    let generators = resolution.resources.iter().map(|resource| {
        let reported = reported.clone();
        let report: ReportProblem = Arc::new(move |problem: &Problem<'_>| {
            reported.lock().expect("no panic").push(format!("v{} {problem}", problem.verbosity));
        });
        (resource.table_name(), resource.generator(&Selection::default(), report))
    });
    let image = StateImage::new(generators.collect());
    for (table, _) in image.resources() {
        image.begin_generation(table);
    }
    for (table, object) in objects {
        let table = image.table(table).expect("a table");
        let bytes = object.to_string().into_bytes();
        image.upsert(table, Encoding::Json, &bytes, &mut image.samples(table)).expect("an object");
    }
    for (table, _) in image.resources() {
        image.commit_generation(table);
    }
    let mut text = Vec::new();
    image.snapshot().render(&RenderOptions::default(), |buffer| {
        text.append(buffer);
        ControlFlow::Continue(())
    });
    let reported = std::mem::take(&mut *reported.lock().expect("no panic"));
    (String::from_utf8(text).expect("text"), reported)
}

#[test]
fn the_examples_of_the_documentation_give_their_lines() {
    let vpa = json!({
        "apiVersion": "autoscaling.k8s.io/v1",
        "metadata": {"name": "vpa-example", "namespace": "namespace-example"},
        "spec": {"targetRef": {"kind": "Deployment", "name": "target-name-example"}},
        "status": {"recommendation": {"containerRecommendations": [
            {"containerName": "consumer", "lowerBound": {"cpu": "100m", "memory": "262144k"}},
        ]}},
    });
    let served =
        [foo(), self::served("autoscaling.k8s.io", "v1", "VerticalPodAutoscaler", "verticalpodautoscalers")];
    let objects = [
        ("myteam.io/v1, Resource=foos", object()),
        ("autoscaling.k8s.io/v1, Resource=verticalpodautoscalers", vpa),
    ];
    let (text, reported) = rendered(testdata!("documentation.yaml"), &served, &objects);
    assert_eq!(reported, [""; 0]);
    let vpa_labels = |resource: &str, unit: &str| {
        format!(
            "vpa_lowerbound{{container=\"consumer\",customresource_group=\"autoscaling.k8s.io\",customresource_kind=\"VerticalPodAutoscaler\",customresource_version=\"v1\",namespace=\"namespace-example\",resource=\"{resource}\",target_api_version=\"autoscaling.k8s.io/v1\",target_kind=\"Deployment\",target_name=\"target-name-example\",unit=\"{unit}\",verticalpodautoscaler=\"vpa-example\"}}"
        )
    };
    let ready = |active: &str, kind: &str| {
        format!(
            "kube_customresource_ready_count{{_bar=\"baz\",_qux=\"quxx\",active=\"{active}\",crd_type=\"foo\",custom_metric=\"yes\",customresource_group=\"myteam.io\",customresource_kind=\"Foo\",customresource_version=\"v1\",foo=\"bar\",lorem_bar=\"baz\",lorem_qux=\"quxx\",name=\"foo\",type=\"{kind}\"}}"
        )
    };
    let fixed = "crd_type=\"foo\",customresource_group=\"myteam.io\",customresource_kind=\"Foo\",customresource_version=\"v1\",name=\"foo\"";
    let want = [
        "# HELP vpa_lowerbound Minimum memory resources the container can use before the VerticalPodAutoscaler updater evicts it.".to_owned(),
        "# TYPE vpa_lowerbound gauge".to_owned(),
        format!("{} 2.62144e+08", vpa_labels("memory", "byte")),
        format!("{} 0.1", vpa_labels("cpu", "core")),
        "# HELP kube_customresource_ready_count Number Foo Bars ready".to_owned(),
        "# TYPE kube_customresource_ready_count gauge".to_owned(),
        format!("{} 2", ready("1", "type-a")),
        format!("{} 4", ready("3", "type-b")),
        "# HELP kube_customresource_ref_info Reference to other Foo".to_owned(),
        "# TYPE kube_customresource_ref_info gauge".to_owned(),
        format!("kube_customresource_ref_info{{{fixed},ref=\"foo_2\"}} 1"),
        format!("kube_customresource_ref_info{{{fixed},ref=\"foo_with_extensions\"}} 1"),
        format!("kube_customresource_ref_info{{{fixed},ref=\"my_other_foo\"}} 1"),
        "# HELP kube_customresource_status_phase Foo status_phase".to_owned(),
        "# TYPE kube_customresource_status_phase gauge".to_owned(),
        format!("kube_customresource_status_phase{{{fixed},phase=\"Baz\"}} 0"),
        format!("kube_customresource_status_phase{{{fixed},phase=\"Pending\"}} 0"),
        format!("kube_customresource_status_phase{{{fixed},phase=\"foo\"}} 1"),
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), want);
}

#[test]
fn random_objects_give_the_lines_and_errors_of_the_real_program() {
    let data: Value = serde_json::from_str(testdata!("random/objects.json")).expect("JSON");
    let served: Vec<ServedKind> = array(&data["crds"]).iter().flat_map(|crd| served_kinds(crd).0).collect();
    let config = testdata!("random/crs.yaml");
    let resources = read(config).config.resolve(&served).resources;
    let tables: Vec<_> =
        resources.iter().map(|resource| (resource.table_name(), resource.gvk.clone())).collect();
    let mut objects = Vec::new();
    for (table, GroupVersionKind { group, version, kind }) in &tables {
        for object in array(&data["objects"]) {
            let mut object = object.clone();
            object["apiVersion"] = format!("{group}/{version}").into();
            object["kind"] = kind.as_str().into();
            objects.push((table.as_str(), object));
        }
    }
    let (ours, reported) = rendered(config, &served, &objects);
    let theirs = testdata!("random/metrics.txt");
    let split = |text: &str| -> (Vec<String>, Vec<String>) {
        let (headers, mut samples): (Vec<String>, _) =
            text.lines().map(str::to_owned).partition(|line| line.starts_with('#'));
        samples.sort_unstable();
        (headers, samples)
    };
    assert_eq!(split(&ours), split(theirs));
    let reported: BTreeSet<String> = reported
        .iter()
        .map(|line| {
            let (family, rest) = line[3..].split_once(" of ").expect("family and object");
            format!("{family}: {}", rest.split_once(": ").expect("object and error").1)
        })
        .collect();
    let errors: Value = serde_json::from_str(testdata!("random/errors.json")).expect("JSON");
    let errors: BTreeSet<String> = array(&errors)
        .iter()
        .map(|pair| {
            format!("{}: {}", pair[0].as_str().unwrap_or_default(), pair[1].as_str().unwrap_or_default())
        })
        .collect();
    assert_eq!(reported, errors);
}

#[test]
fn what_gives_no_sample_is_reported_with_its_verbosity() {
    let gauge = json!({"name": "a", "errorLogV": 7, "each": {"type": "gauge", "gauge": {"path": ["status", "phase"]}}});
    let objects = [("myteam.io/v1, Resource=foos", object())];
    let (text, reported) = rendered(&one_metric(gauge), &[foo()], &objects);
    assert_eq!(text, "# HELP kube_customresource_a \n# TYPE kube_customresource_a gauge\n");
    assert_eq!(
        reported,
        [
            "v7 kube_customresource_a of /foo: [status,phase]: []: strconv.ParseFloat: parsing \"foo\": invalid syntax"
        ]
    );
}

#[test]
fn labels_of_the_metric_win_over_those_of_the_resource() {
    let config = "
spec:
  resources:
  - groupVersionKind: {group: myteam.io, version: v1, kind: '*'}
    commonLabels: {a: resource, b: resource, customresource_kind: resource, name: constant}
    labelsFromPath: {c: [metadata, name], d: [metadata, name], name: [metadata, name]}
    errorLogV: 3
    metricNamePrefix: ~
    metrics:
    - name: x
      help: 'a \\ b'
      commonLabels: {b: metric, customresource_group: metric}
      labelsFromPath: {d: [kind], e: [none]}
      each: {type: GAUGE, gauge: {path: [spec, replicas], labelsFromPath: {c: []}}}
";
    let objects = [("myteam.io/v1, Resource=foos", object())];
    let (text, _) = rendered(config, &[foo()], &objects);
    assert_eq!(
        text,
        "# HELP kube_customresource_x a \\\\ b\n# TYPE kube_customresource_x gauge\nkube_customresource_x{a=\"resource\",b=\"metric\",c=\"1\",customresource_group=\"metric\",customresource_kind=\"Foo\",customresource_version=\"v1\",d=\"Foo\",name=\"foo\"} 1\n"
    );
}

#[test]
fn of_two_entries_for_a_resource_the_later_counts() {
    let entry = |name: &str| {
        json!({
            "groupVersionKind": {"group": "myteam.io", "kind": "Foo"},
            "metrics": [{"name": name, "each": {"type": "Info", "info": {}}}],
        })
    };
    let text = json!({"spec": {"resources": [entry("a_info"), entry("b_info")]}}).to_string();
    let resolution = read(&text).config.resolve(&[foo(), foo()]);
    let names: Vec<&str> = resolution.resources.iter().flat_map(CustomResource::family_names).collect();
    assert_eq!(names, ["kube_customresource_b_info"]);
    let nothing = read(&text).config.resolve(&[]);
    assert_eq!(nothing.missing.len(), 2);
}

#[test]
fn denied_families_are_not_said() {
    let options = crate::options::Options {
        metric_denylist: ["_b$".to_owned()].into(),
        ..crate::options::Options::default()
    };
    let metric = |name: &str| json!({"name": name, "each": {"type": "Gauge", "gauge": {"path": ["spec", "replicas"]}}});
    let gvk = json!({"group": "myteam.io", "version": "v1", "kind": "Foo"});
    let text =
        json!({"spec": {"resources": [{"groupVersionKind": gvk, "metrics": [metric("a"), metric("b")]}]}});
    let resolution = read(&text.to_string()).config.resolve(&[foo()]);
    let selection = Selection::new(&options).expect("a selection");
    let generator = resolution.resources[0].generator(&selection, Arc::new(|_| {}));
    let names: Vec<&str> = generator.families().iter().map(|family| family.name.as_str()).collect();
    assert_eq!(names, ["kube_customresource_a"]);
}

#[test]
fn errors_name_the_place_and_the_fix() {
    for (text, want) in [
        (
            "",
            "crs.yaml:1:1: the file is empty (write kind: CustomResourceStateMetrics and spec: {resources: []})",
        ),
        ("spec: 5", "crs.yaml:1:7: spec: is a single value where a mapping is needed (write a mapping)"),
        (
            "spec:\n  resources:\n  - metrics:\n    - name: a\n      each:\n        type: Gauge\n        gauge:\n          path: status.phase\n          nilIsZero: maybe\n      errorLogV: '5'",
            "crs.yaml:8:17: spec.resources[0].metrics[0].each.gauge.path: is a single value where a list of texts is needed (write [status, phase])\n\
             crs.yaml:9:22: spec.resources[0].metrics[0].each.gauge.nilIsZero: is a single value where true or false is needed (write true or false)\n\
             crs.yaml:10:18: spec.resources[0].metrics[0].errorLogV: is a single value where a whole number of 32 bits is needed (write a whole number of 32 bits)",
        ),
        (
            "spec: {}\nspec: {}",
            "crs.yaml:2:1: the key \"spec\" stands twice, first on line 1 (keep one of the two)",
        ),
    ] {
        let errors = Config::read("crs.yaml", text).expect_err("errors");
        assert_eq!(errors.to_string(), want);
    }
}

#[test]
fn metrics_that_cannot_be_are_left_out_and_named() {
    let config = "
spec:
  resources:
  - groupVersionKind: {group: myteam.io, version: v1, kind: Foo}
    metrics:
    - name: no_each
    - {name: no_type, each: {gauge: {}}}
    - {name: wrong_part, each: {type: StateSet, gauge: {}}}
    - {name: bad_path, each: {type: Gauge, gauge: {path: [status, '[Ready]']}}}
    - {name: bad_label, each: {type: Info, info: {labelsFromPath: {a: ['[x]']}}}}
    - {name: good, each: {type: Gauge, gauge: {path: [spec, replicas]}}}
  - groupVersionKind: {version: v1, kind: Bar}
";
    let Loaded { config, invalid, .. } = read(config);
    let invalid: Vec<String> = invalid.iter().map(ToString::to_string).collect();
    let left_out = "; the metric is left out";
    assert_eq!(
        invalid,
        [
            format!("crs.yaml:6:7: spec.resources[0].metrics[0]: each is missing{left_out} (say each: {{type: Gauge, gauge: {{path: […]}}}})"),
            format!("crs.yaml:7:23: spec.resources[0].metrics[1].each.type: unknown metric type \"\"{left_out} (write Gauge, Info or StateSet)"),
            format!("crs.yaml:8:39: spec.resources[0].metrics[2].each.type: the type is StateSet, but each.stateSet is missing{left_out} (describe the metric under stateSet)"),
            format!("crs.yaml:9:52: spec.resources[0].metrics[3].each.gauge.path: invalid list lookup: [Ready]{left_out} (write [key=value])"),
            format!("crs.yaml:10:68: spec.resources[0].metrics[4].each.info.labelsFromPath.a: invalid list lookup: [x]{left_out} (write [key=value])"),
            "crs.yaml:12:5: spec.resources[1].groupVersionKind.group: the group is required, so the resource is left out (name the group of the CRD)".to_owned(),
        ]
    );
    let names: Vec<&str> = config.resources[0].families.iter().map(|family| family.name.as_str()).collect();
    assert_eq!(names, ["kube_customresource_good"]);
}

#[test]
fn names_that_prometheus_refuses_are_warned_of() {
    let config = "
spec:
  resources:
  - groupVersionKind: {group: myteam.io, version: v1, kind: Foo}
    commonLabels: {a.b: c}
    LabelsFromPath: {}
    metrics:
    - name: 'a b'
      each: {type: StateSet, stateSet: {list: [a]}}
    - name: version
      each: {type: Info, info: {labelFromKey: 'x-y'}}
";
    let warnings: Vec<String> = read(config).warnings.iter().map(ToString::to_string).collect();
    for part in [
        "\"a.b\" is no name of a label",
        "write labelsFromPath",
        "\"kube_customresource_a b\" is no name of a metric",
        "\"\" is no name of a label",
        "\"x-y\" is no name",
        "does not end in _info",
    ] {
        assert!(warnings.iter().any(|warning| warning.contains(part)), "{part}: {warnings:#?}");
    }
    assert_eq!(warnings.len(), 6, "{warnings:#?}");
}
