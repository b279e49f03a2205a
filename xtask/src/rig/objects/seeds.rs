//! Objects from kube-state-metrics' own cases, completed until a server takes them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::random::without_nulls;
use super::{Made, RESOURCES, object};

/// A case's object over one of ours of the same resource, so that whatever the case leaves out is there.
pub(super) fn of_cases(path: &Path, seed: u64) -> Result<Vec<Made>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let cases = text.lines().enumerate().map(|(line, case)| {
        let case: Value = serde_json::from_str(case)
            .with_context(|| format!("{}:{}: parse the case", path.display(), line + 1))?;
        let object = match &case["object"] {
            Value::String(text) => serde_json::from_str(text).context("parse the case's object")?,
            object => object.clone(),
        };
        Ok(of_case(object, seed, line))
    });
    Ok(cases.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

fn of_case(case: Value, seed: u64, line: usize) -> Option<Made> {
    let resource = *RESOURCES.iter().find(|resource| case["kind"] == resource.kind)?;
    let case = without_nulls(case);
    let mut made = object(resource, seed, 100_000 + line);
    made.mutant = false;
    made.delete = case["metadata"].get("deletionTimestamp").is_some();
    let metadata = &mut made.object["metadata"];
    for key in ["labels", "annotations", "ownerReferences", "finalizers"] {
        metadata[key] = case["metadata"][key].clone();
    }
    if made.delete {
        metadata["finalizers"] = json!(["example.com/keep"]);
    }
    for owner in metadata["ownerReferences"].as_array_mut().into_iter().flatten() {
        for (key, value) in
            [("apiVersion", "example.com/v1"), ("uid", "11111111-2222-4333-8444-555555555555")]
        {
            if owner[key].as_str().is_none_or(str::is_empty) {
                owner[key] = json!(value);
            }
        }
    }
    if case.get("status").is_some() {
        made.status = case["status"].clone();
    }
    if resource.plural == "endpointslices" {
        // Their addresses would be of another type.
        made.object["endpoints"] = json!([]);
    }
    if resource.plural == "pods" {
        // Ours would name containers, claims and volumes that the case does not have.
        made.object["spec"] = json!({"containers": [{"name": "c", "image": "a"}]});
        made.other = None;
    }
    let mut body = case;
    for key in ["metadata", "status", "kind", "apiVersion"] {
        body.as_object_mut()?.remove(key);
    }
    overlay(&mut made.object, &body);
    complete(resource.plural, &mut made.object);
    if resource.plural == "certificatesigningrequests" {
        for condition in made.status.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten()
        {
            condition["status"] = json!("True");
        }
    }
    names_of_containers(&mut made);
    made.object = without_nulls(made.object);
    Some(made)
}

/// Replaces what no server takes, and adds the image that a case's containers lack.
fn complete(plural: &str, object: &mut Value) {
    match plural {
        "certificatesigningrequests" => object["spec"]["signerName"] = json!("example.com/signer"),
        "ingressclasses" => object["spec"]["controller"] = json!("example.com/controller"),
        "services" => {
            // Of another network than the rig's.
            object["spec"]["clusterIP"] = Value::Null;
            if object["spec"]["ports"].is_null() {
                object["spec"]["ports"] = json!([{"port": 80}]);
            }
        }
        "endpoints" => {
            let text = object["subsets"].to_string().replace("\"127.", "\"172.");
            object["subsets"] = serde_json::from_str(&text).unwrap_or_default();
        }
        _ => {}
    }
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    for list in ["containers", "initContainers"] {
        for (index, container) in
            spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten().enumerate()
        {
            if container["name"].as_str().is_none_or(str::is_empty) {
                container["name"] = json!(format!("{}-{index}", list.to_ascii_lowercase()));
            }
            if container["image"].as_str().is_none_or(str::is_empty) {
                container["image"] = json!("a");
            }
        }
    }
}

/// Makes labels of DNS of container names, in the spec and in the statuses alike.
fn names_of_containers(made: &mut Made) {
    let lists = [
        (&mut made.object["spec"], ["containers", "initContainers"]),
        (&mut made.status, ["containerStatuses", "initContainerStatuses"]),
    ];
    for (part, lists) in lists {
        for list in lists {
            for container in part.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                let name = container["name"].as_str().unwrap_or("").to_ascii_lowercase().replace('_', "-");
                container["name"] = json!(name);
            }
        }
    }
}

/// Puts the members of `over` over those of `base`, at every depth; nulls and empty containers cover nothing.
pub(super) fn overlay(base: &mut Value, over: &Value) {
    match (base, over) {
        (_, Value::Null) => {}
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                overlay(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_over_wins_and_the_rest_stays() {
        let mut base = json!({"a": {"b": 1, "c": [1]}, "d": 2});
        overlay(&mut base, &json!({"a": {"c": [3], "e": null}, "f": 4}));
        assert_eq!(base, json!({"a": {"b": 1, "c": [3], "e": null}, "d": 2, "f": 4}));
    }

    #[test]
    fn a_case_keeps_its_fields_and_gets_what_it_lacks() {
        let case = json!({
            "kind": "Pod",
            "metadata": {"name": "Bad_Name", "uid": "u", "ownerReferences": [{"kind": "Job", "name": "j", "uid": ""}]},
            "spec": {"containers": [{"name": "container1"}], "volumes": null},
            "status": {"phase": "Running"},
        });
        let made = of_case(case, 1, 5).unwrap();
        assert_eq!(made.object["spec"]["containers"][0]["image"], "a");
        assert!(made.object["metadata"]["uid"].is_null() && made.object["metadata"]["name"] != "Bad_Name");
        assert_eq!(made.object["metadata"]["ownerReferences"][0]["apiVersion"], "example.com/v1");
        assert_eq!(made.status["phase"], "Running");
    }
}
