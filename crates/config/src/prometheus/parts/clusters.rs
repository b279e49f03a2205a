//! What `outrigger.clusters` means, written out: a job for each cluster, and an endpoint for each tenant.

use std::sync::Arc;

use super::{Writer, entries, items, quoted};
use crate::prometheus::ClusterConfig;
use crate::yaml::Node;

const KUBERNETES: &str = "kubernetes_sd_configs";
/// Names the tenant to Mimir, Loki and Cortex.
const TENANT_HEADER: &str = "X-Scope-OrgID";

impl Writer<'_> {
    /// The job; for a discovery that says no cluster, a job for each of them that there is.
    pub(super) fn for_each_cluster(&self, job: &Node) -> Vec<(Arc<str>, String)> {
        let name = job.get("job_name").and_then(Node::text).unwrap_or("");
        let kinds = job.get(KUBERNETES).map(items).unwrap_or_default();
        let (open, settled): (Vec<&Node>, Vec<&Node>) =
            kinds.into_iter().partition(|kind| names_no_cluster(kind));
        if self.clusters.is_empty() || open.is_empty() {
            return vec![(name.into(), self.mapping(self.job_entries(job)))];
        }
        let other_kinds =
            |key: &str| key.ends_with("_configs") && !key.contains("relabel") && key != KUBERNETES;
        let has_others = entries(job).iter().any(|(key, _)| other_kinds(key));
        let mut jobs = Vec::new();
        if has_others || !settled.is_empty() {
            let settled: Vec<String> = settled.iter().map(|kind| self.text(kind)).collect();
            let mut entries = self.job_entries(job);
            let kubernetes = entries.iter_mut().find(|(key, _)| *key == KUBERNETES);
            kubernetes.into_iter().for_each(|(_, value)| *value = format!("[{}]", settled.join(", ")));
            jobs.push((name.into(), self.mapping(entries)));
        }
        jobs.extend(self.clusters.iter().map(|cluster| {
            let of_cluster = format!("{name}@{}", cluster.name);
            let mut entries = self.job_entries(job);
            entries.retain(|(key, _)| !other_kinds(key));
            self.adapt(&mut entries, job, name, cluster, &open);
            (of_cluster.into(), self.mapping(entries))
        }));
        jobs
    }

    /// Makes the entries of a job those of its copy for a cluster.
    fn adapt<'n>(
        &self,
        entries: &mut Vec<(&'n str, String)>,
        job: &'n Node,
        name: &str,
        cluster: &ClusterConfig,
        open: &[&Node],
    ) {
        let kinds: Vec<String> = open
            .iter()
            .map(|kind| {
                let own = super::entries(kind).into_iter().map(|(key, value)| (key, self.text(value)));
                self.mapping(own.chain([("cluster", quoted(&cluster.name))]))
            })
            .collect();
        let label = |name: &str, value: &str| {
            format!(
                "{{\"target_label\": \"{name}\", \"replacement\": {}}}",
                quoted(&value.replace('$', "$$"))
            )
        };
        let mut rules = vec![label("job", name), label("cluster", &cluster.name)];
        rules.extend(
            job.get("relabel_configs").map(items).unwrap_or_default().iter().map(|rule| self.text(rule)),
        );
        let mut set = |key: &'n str, value: String| match entries.iter_mut().find(|(known, _)| *known == key)
        {
            Some((_, known)) => *known = value,
            None => entries.push((key, value)),
        };
        set("job_name", quoted(&format!("{name}@{}", cluster.name)));
        if self.parts == super::Parts::Whole {
            set(KUBERNETES, format!("[{}]", kinds.join(", ")));
            set("relabel_configs", format!("[{}]", rules.join(", ")));
        }
        let has_proxy = ["proxy_url", "proxy_from_environment"].into_iter().any(|key| job.get(key).is_some());
        if let Some(proxy) = cluster.proxy_url.as_ref().filter(|_| !has_proxy) {
            set("proxy_url", quoted(proxy.expose()));
        }
    }

    /// The endpoints: those of the file, without what belongs to a tenant, then each once more for each tenant.
    pub(super) fn remote_writes(&self, list: &Node) -> Vec<String> {
        let tenants: Vec<&ClusterConfig> =
            self.clusters.iter().filter(|cluster| !cluster.tenant.is_empty()).collect();
        let endpoints = items(list);
        if tenants.is_empty() {
            return endpoints.into_iter().map(|endpoint| self.text(endpoint)).collect();
        }
        let mut names: Vec<String> =
            tenants.iter().map(|cluster| regex_syntax::escape(&cluster.name)).collect();
        names.sort();
        let of_others = rule("drop", &names.join("|"));
        let mut all = Vec::new();
        for (number, endpoint) in endpoints.into_iter().enumerate() {
            all.push(self.endpoint(endpoint, &of_others, None));
            for cluster in &tenants {
                let own = endpoint.get("name").and_then(Node::text).map(str::to_owned);
                let name = format!("{}/{}", own.unwrap_or_else(|| number.to_string()), cluster.name);
                let keep = rule("keep", &regex_syntax::escape(&cluster.name));
                all.push(self.endpoint(endpoint, &keep, Some((&name, &cluster.tenant))));
            }
        }
        all
    }

    /// An endpoint with a first rule and, for a tenant, a name and a header of its own.
    fn endpoint(&self, endpoint: &Node, first: &str, tenant: Option<(&str, &str)>) -> String {
        let mut rules = vec![first.to_owned()];
        let own = endpoint.get("write_relabel_configs").map(items).unwrap_or_default();
        rules.extend(own.iter().map(|rule| self.text(rule)));
        let is_replaced = |key: &str| {
            key == "write_relabel_configs" || (tenant.is_some() && matches!(key, "name" | "headers"))
        };
        let kept = entries(endpoint).into_iter().filter(|(key, _)| !is_replaced(key));
        let mut taken: Vec<(&str, String)> = kept.map(|(key, value)| (key, self.text(value))).collect();
        taken.push(("write_relabel_configs", format!("[{}]", rules.join(", "))));
        if let Some((name, tenant)) = tenant {
            let headers = endpoint.get("headers").map(entries).unwrap_or_default();
            let others = headers.into_iter().filter(|(key, _)| !key.eq_ignore_ascii_case(TENANT_HEADER));
            let others = others.map(|(key, value)| (key, self.text(value)));
            taken.push(("headers", self.mapping(others.chain([(TENANT_HEADER, quoted(tenant))]))));
            taken.push(("name", quoted(name)));
        }
        self.mapping(taken)
    }

    /// `outrigger`, whose tenants are written out in `remote_write`.
    pub(super) fn outrigger(&self, section: &Node) -> String {
        let without_tenant = |cluster: &Node| {
            let kept = entries(cluster).into_iter().filter(|(key, _)| *key != "tenant");
            self.mapping(kept.map(|(key, value)| (key, self.text(value))))
        };
        self.mapping(entries(section).into_iter().map(|(key, value)| match key {
            "clusters" => {
                let clusters: Vec<String> = items(value).into_iter().map(without_tenant).collect();
                (key, format!("[{}]", clusters.join(", ")))
            }
            _ => (key, self.text(value)),
        }))
    }
}

fn names_no_cluster(kind: &Node) -> bool {
    !["api_server", "kubeconfig_file", "cluster"]
        .into_iter()
        .any(|key| kind.get(key).and_then(Node::text).is_some_and(|text| !text.is_empty()))
}

fn rule(action: &str, regex: &str) -> String {
    format!("{{\"source_labels\": [\"cluster\"], \"regex\": {}, \"action\": \"{action}\"}}", quoted(regex))
}
