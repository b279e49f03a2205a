//! The layer check over `cargo metadata`.
//!
//! Edges between the workspace's crates go only downwards, as ARCHITECTURE.md's table says, and the two lower layers
//! do no I/O: none of their dependencies, however far, is a runtime, a socket or a TLS library.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// A crate's layer and the crates of the workspace that it may use.
struct Rule {
    name: &'static str,
    layer: u8,
    may_use: &'static [&'static str],
}

/// The table. A crate that is not in it may not join the workspace.
const RULES: &[Rule] = &[
    Rule { name: "outrigger-model", layer: 0, may_use: &[] },
    Rule { name: "outrigger-wire", layer: 1, may_use: &["model"] },
    Rule { name: "outrigger-config", layer: 1, may_use: &["model"] },
    Rule { name: "outrigger-promql", layer: 1, may_use: &["model", "config"] },
    Rule { name: "outrigger-mirror", layer: 1, may_use: &["model", "wire"] },
    Rule { name: "outrigger-state", layer: 1, may_use: &["model", "wire"] },
    Rule { name: "outrigger-rt", layer: 2, may_use: &["model"] },
    Rule { name: "outrigger-storage", layer: 2, may_use: &["model"] },
    Rule { name: "outrigger-kube", layer: 2, may_use: &["model", "wire", "rt"] },
    Rule { name: "outrigger-collect", layer: 3, may_use: &["model", "wire", "config", "storage", "rt"] },
    Rule {
        name: "outrigger-control",
        layer: 3,
        may_use: &["model", "wire", "config", "mirror", "storage", "kube", "rt"],
    },
    Rule {
        name: "outrigger-sim",
        layer: 4,
        may_use: &["model", "wire", "config", "mirror", "rt", "storage", "kube", "collect", "control"],
    },
    Rule {
        name: "outrigger",
        layer: 5,
        may_use: &[
            "model", "wire", "config", "mirror", "state", "rt", "storage", "kube", "collect", "control",
            "sim",
        ],
    },
    Rule { name: "xtask", layer: 6, may_use: &["model", "sim"] },
];

/// What layers 0 and 1 never reach, directly or through others.
const IO_CRATES: &[&str] = &[
    "tokio",
    "hyper",
    "hyper-util",
    "rustls",
    "reqwest",
    "axum",
    "mio",
    "socket2",
    "async-std",
    "smol",
    "native-tls",
    "openssl",
];

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Debug, Deserialize)]
struct Kind {
    /// None for an ordinary dependency, else `dev` or `build`.
    kind: Option<String>,
}

/// Checks the workspace that this crate belongs to, and says in a line what was checked.
pub fn check() -> Result<String> {
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies outside a workspace")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--locked"])
        .current_dir(workspace)
        .output()
        .context("run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("parse cargo's metadata")?;
    let graph = Graph::new(&metadata);
    let problems = graph.problems();
    if !problems.is_empty() {
        bail!("the layers do not hold:\n{}", problems.join("\n"));
    }
    Ok(format!("the layers of {} crates hold", metadata.workspace_members.len()))
}

/// Ordinary dependencies by package id.
struct Graph<'a> {
    names: BTreeMap<&'a str, &'a str>,
    members: &'a BTreeSet<String>,
    edges: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Graph<'a> {
    fn new(metadata: &'a Metadata) -> Self {
        let is_ordinary =
            |dependency: &&Dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
        let edges_of = |node: &'a Node| node.deps.iter().filter(is_ordinary).map(|d| &*d.pkg).collect();
        Graph {
            names: metadata.packages.iter().map(|package| (&*package.id, &*package.name)).collect(),
            members: &metadata.workspace_members,
            edges: metadata.resolve.nodes.iter().map(|node| (&*node.id, edges_of(node))).collect(),
        }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for id in self.members {
            let name = self.name(id);
            match RULES.iter().find(|rule| rule.name == name) {
                None => {
                    problems.push(format!("{name} has no layer: add it to the table in xtask/src/dag.rs"))
                }
                Some(rule) => {
                    problems.extend(self.forbidden_edges(id, rule));
                    problems.extend(self.path_to_io(id, rule));
                }
            }
        }
        problems
    }

    fn name(&self, id: &str) -> &'a str {
        self.names.get(id).copied().unwrap_or("?")
    }

    fn dependencies(&self, id: &str) -> impl Iterator<Item = &'a str> {
        self.edges.get(id).into_iter().flatten().copied()
    }

    fn forbidden_edges(&self, id: &str, rule: &Rule) -> Vec<String> {
        let of_workspace =
            self.dependencies(id).filter(|id| self.members.contains(*id)).map(|id| self.name(id));
        let is_allowed =
            |name: &str| name.strip_prefix("outrigger-").is_some_and(|short| rule.may_use.contains(&short));
        of_workspace
            .filter(|name| !is_allowed(name))
            .map(|name| format!("{} may not use {name}", rule.name))
            .collect()
    }

    fn path_to_io(&self, start: &'a str, rule: &Rule) -> Option<String> {
        if rule.layer > 1 {
            return None;
        }
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut pending = vec![start];
        while let Some(id) = pending.pop() {
            if IO_CRATES.contains(&self.name(id)) {
                let path = std::iter::successors(Some(id), |id| came_from.get(id).copied());
                let names: Vec<_> = path.map(|id| self.name(id)).collect();
                return Some(format!("{} does I/O: it is reached by {}", rule.name, names.join(" of ")));
            }
            for next in self.dependencies(id).filter(|next| *next != start) {
                if !came_from.contains_key(next) {
                    came_from.insert(next, id);
                    pending.push(next);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(edges: &[(&str, &str, Option<&str>)], members: &[&str]) -> Vec<String> {
        let mut names: BTreeSet<&str> = members.iter().copied().collect();
        names.extend(edges.iter().flat_map(|(from, to, _)| [*from, *to]));
        let packages =
            names.iter().map(|name| Package { id: (*name).to_owned(), name: (*name).to_owned() }).collect();
        let dependency = |(_, to, kind): &(&str, &str, Option<&str>)| Dependency {
            pkg: (*to).to_owned(),
            dep_kinds: vec![Kind { kind: kind.map(str::to_owned) }],
        };
        let node = |name: &&str| Node {
            id: (*name).to_owned(),
            deps: edges.iter().filter(|(from, ..)| from == name).map(dependency).collect(),
        };
        let resolve = Resolve { nodes: names.iter().map(node).collect() };
        let metadata = Metadata {
            packages,
            workspace_members: members.iter().map(|m| (*m).to_owned()).collect(),
            resolve,
        };
        Graph::new(&metadata).problems()
    }

    #[test]
    fn downward_edges_and_development_edges_are_allowed() {
        let edges = [
            ("outrigger-wire", "outrigger-model", None),
            ("outrigger-wire", "outrigger-sim", Some("dev")),
            ("outrigger-rt", "tokio", None),
        ];
        assert!(
            problems(&edges, &["outrigger-wire", "outrigger-model", "outrigger-sim", "outrigger-rt"])
                .is_empty()
        );
    }

    #[test]
    fn upward_and_sideways_edges_are_found() {
        for (from, to) in [
            ("outrigger-model", "outrigger-wire"),
            ("outrigger-collect", "outrigger-control"),
            ("outrigger-wire", "outrigger"),
        ] {
            assert_eq!(problems(&[(from, to, None)], &[from, to]), [format!("{from} may not use {to}")]);
        }
    }

    #[test]
    fn a_runtime_below_layer_two_is_found_through_others() {
        let edges = [("outrigger-wire", "innocent", None), ("innocent", "tokio", None)];
        let found = problems(&edges, &["outrigger-wire"]);
        assert_eq!(found, ["outrigger-wire does I/O: it is reached by tokio of innocent of outrigger-wire"]);
    }

    #[test]
    fn a_crate_without_a_layer_is_found() {
        assert_eq!(problems(&[], &["outrigger-new"]).len(), 1);
    }

    #[test]
    fn layers_of_this_workspace_hold() {
        check().unwrap();
    }
}
