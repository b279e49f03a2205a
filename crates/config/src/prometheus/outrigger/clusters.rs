//! `outrigger.clusters`: several clusters in one installation, each with its own access, budget, egress and tenant.

use std::path::PathBuf;

use outrigger_model::secret::Secret;

use super::{RequestBudget, request_budget};
use crate::prometheus::files::{Files, ReferencedFileKind};
use crate::prometheus::http_client;
use crate::yaml::walk::Cursor;

/// One of `outrigger.clusters`.
///
/// A job whose `kubernetes_sd_configs` name neither `api_server`, `kubeconfig_file` nor `cluster` runs once for each.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterConfig {
    /// `name`, unique: the value of the label `cluster`.
    pub name: String,
    /// `kubeconfig`; the cluster that this process runs in when absent.
    pub kubeconfig: Option<PathBuf>,
    /// `context`; the current one when absent.
    pub context: Option<String>,
    /// `request_budget` towards its API server; `outrigger.request_budget` when absent.
    pub request_budget: Option<RequestBudget>,
    /// `proxy_url`: HTTP or SOCKS5 proxy through which its targets are reached.
    pub proxy_url: Option<Secret>,
    /// `tenant`: value of `X-Scope-OrgID` with which its samples are sent; may be empty.
    pub tenant: String,
}

pub(super) fn read(list: &[Cursor<'_>], files: &Files<'_>) -> Vec<ClusterConfig> {
    let mut clusters: Vec<ClusterConfig> = Vec::new();
    for value in list {
        let Some(cluster) = read_one(value, files) else { continue };
        if clusters.iter().any(|earlier| earlier.name == cluster.name) {
            value.error(format!("there are two clusters {:?}", cluster.name), "give each its own name");
            continue;
        }
        clusters.push(cluster);
    }
    clusters
}

fn read_one(value: &Cursor<'_>, files: &Files<'_>) -> Option<ClusterConfig> {
    let section = value.section()?;
    let name = section.owned_text("name");
    if name.is_empty() {
        section.missing("name", "the cluster has no name", "add name");
    } else if name.contains(|character: char| character.is_control() || character == '/') {
        section.error_at(
            "name",
            "the name has characters that cannot be used",
            "use letters, digits, - and .",
        );
    }
    let kubeconfig =
        section.get("kubeconfig").and_then(|value| files.path(&value, ReferencedFileKind::Kubeconfig));
    let context = Some(section.owned_text("context")).filter(|name| !name.is_empty());
    if context.is_some() && kubeconfig.is_none() {
        section.error_at("context", "there is a context but no kubeconfig", "add kubeconfig");
    }
    let cluster = ClusterConfig {
        name,
        kubeconfig,
        context,
        request_budget: section.section("request_budget").map(request_budget),
        proxy_url: section
            .get("proxy_url")
            .and_then(|value| http_client::checked_url(&value.secret()))
            .filter(|url| !url.is_empty())
            .map(Secret::new),
        tenant: section.owned_text("tenant"),
    };
    section.finish(&[("kubeconfig_file", "write kubeconfig"), ("proxy", "write proxy_url")]);
    (!cluster.name.is_empty()).then_some(cluster)
}
