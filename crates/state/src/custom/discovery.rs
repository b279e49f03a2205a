//! Which kinds the installed CRDs serve.

use serde_json::Value;
use thiserror::Error;

use super::resource::GroupVersionKind;

/// A kind that an API server serves for a CRD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedKind {
    /// What it is.
    pub gvk: GroupVersionKind,
    /// Its name in URLs.
    pub plural: String,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
}

/// Why a CRD, or a version of it, is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CrdProblem {
    /// A field is missing or has another type.
    #[error("the CRD has no {0}")]
    Missing(&'static str),
    /// A version is no mapping with a name, or its `served` is no boolean.
    #[error("version {place} of the CRD has no readable {field}")]
    Version {
        /// Place in the list of versions, from 0.
        place: usize,
        /// The field.
        field: &'static str,
    },
}

/// The kinds of a `CustomResourceDefinition` of `apiextensions.k8s.io/v1`, with what cannot be read of it. A version
/// whose `served` is missing counts as served.
pub fn served_kinds(crd: &Value) -> (Vec<ServedKind>, Vec<CrdProblem>) {
    match names_of(crd) {
        Ok((served, versions)) => versions_of(&served, versions),
        Err(problem) => (Vec::new(), vec![problem]),
    }
}

/// The kind without a version, and the versions.
fn names_of(crd: &Value) -> Result<(ServedKind, &Vec<Value>), CrdProblem> {
    let spec = crd.get("spec").filter(|spec| spec.is_object()).ok_or(CrdProblem::Missing("spec"))?;
    let text = |value: &Value, name: &str, field: &'static str| {
        value.get(name).and_then(Value::as_str).map(str::to_owned).ok_or(CrdProblem::Missing(field))
    };
    let group = text(spec, "group", "spec.group")?;
    let names =
        spec.get("names").filter(|names| names.is_object()).ok_or(CrdProblem::Missing("spec.names"))?;
    let kind = text(names, "kind", "spec.names.kind")?;
    let plural = text(names, "plural", "spec.names.plural")?;
    let versions =
        spec.get("versions").and_then(Value::as_array).ok_or(CrdProblem::Missing("spec.versions"))?;
    let namespaced = spec.get("scope").and_then(Value::as_str) != Some("Cluster");
    let gvk = GroupVersionKind { group, version: String::new(), kind };
    Ok((ServedKind { gvk, plural, namespaced }, versions))
}

fn versions_of(kind: &ServedKind, versions: &[Value]) -> (Vec<ServedKind>, Vec<CrdProblem>) {
    let (mut served, mut problems) = (Vec::new(), Vec::new());
    for (place, version) in versions.iter().enumerate() {
        let Some(name) = version.get("name").and_then(Value::as_str) else {
            problems.push(CrdProblem::Version { place, field: "name" });
            continue;
        };
        match version.get("served") {
            None | Some(Value::Bool(true)) => {
                let mut kind = kind.clone();
                kind.gvk.version = name.to_owned();
                served.push(kind);
            }
            Some(Value::Bool(false)) => {}
            Some(_) => problems.push(CrdProblem::Version { place, field: "served" }),
        }
    }
    (served, problems)
}
