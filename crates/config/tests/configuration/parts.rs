//! A configuration that was taken apart and put together again means what it meant.

use std::path::{Path, PathBuf};

use outrigger_config::prometheus::parts::{ConfigParts, Parts, compose, is_for_collection, take_apart};
use outrigger_config::prometheus::{DiscoveryConfig, Source, load};

use super::disk::{Disk, Memory};

fn source<'a>(path: &'a str, text: &'a str, memory: &'a Memory) -> Source<'a> {
    Source {
        path,
        text,
        directory: PathBuf::from("/etc/p"),
        environment: &|name| (name == "POD").then(|| "$pod-1".to_owned()),
        files: memory,
        agent_mode: false,
    }
}

fn take(text: &str, memory: &Memory, parts: Parts) -> ConfigParts {
    take_apart(&source("p.yml", text, memory), parts).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

#[test]
fn all_of_prometheus_cases_survive() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/prometheus-config");
    let mut checked = 0;
    for entry in std::fs::read_dir(&directory).expect("test data") {
        let path = entry.expect("an entry").path();
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let name = path.to_string_lossy();
        let original = Source {
            path: &name,
            text: &text,
            directory: directory.clone(),
            environment: &|_| None,
            files: &Disk,
            agent_mode: false,
        };
        let Ok(loaded) = load(&original) else { continue };
        let parts = take_apart(&original, Parts::Whole).expect("it was loaded");
        let again = parts.text();
        let again = load(&Source { path: "parts", text: &again, ..original })
            .unwrap_or_else(|errors| panic!("{name}\n{again}\n{errors}"));
        assert_eq!(again.config, loaded.config, "{name}");
        checked += 1;
    }
    assert!(checked > 20, "{checked}");
}

#[test]
fn a_worker_gets_what_collecting_needs_and_no_more() {
    let memory = Memory(
        [("/etc/p/more/a.yml", "scrape_configs: [{job_name: c, authorization: {credentials_file: t}}]\n")]
            .into(),
    );
    let text = "
global: {scrape_interval: 15s, external_labels: {pod: '${POD}$$'}}
rule_files: [rules.yml]
alerting: {alertmanagers: [{static_configs: [{targets: [a]}]}]}
outrigger: {cluster_name: x, kubernetes: {kubeconfig: secret}, limits: {max_body_bytes: 10MB}, centre: {}}
scrape_config_files: [more/*.yml]
scrape_configs:
- job_name: \"a\\tb \u{1f980}\"
  kubernetes_sd_configs: [{role: pod, kubeconfig_file: /root/kubeconfig}]
  relabel_configs: [{regex: 'x', action: drop, source_labels: [a]}]
  metric_relabel_configs: [{regex: 'x\\d+', action: labeldrop}]
  honor_labels: yes
- {job_name: '010', tls_config: {ca_file: ca.pem}, sample_limit: 010}
remote_write: [{url: 'http://r/w', name: r}]
";
    let parts = take(text, &memory, Parts::Collection);
    assert!(!parts.text().contains("kubeconfig"), "{}", parts.text());
    let jobs: Vec<&str> = parts.jobs.iter().map(|(name, _)| &**name).collect();
    assert_eq!(jobs, ["a\tb \u{1f980}", "010", "c"]);
    let whole = load(&source("p.yml", text, &memory)).expect("valid").config;
    let text = parts.text();
    let worker = load(&source("worker", &text, &memory)).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    assert_eq!(worker.config.global.external_labels, whole.global.external_labels);
    assert_eq!(worker.config.remote_write, whole.remote_write);
    assert_eq!(worker.config.outrigger.limits, whole.outrigger.limits);
    for (ours, theirs) in worker.config.scrape_configs.iter().zip(&whole.scrape_configs) {
        let mut expected = (**theirs).clone();
        expected.discovery.clear();
        expected.relabel.clear();
        let mut ours = (**ours).clone();
        ours.discovery.retain(|kind| !matches!(kind, DiscoveryConfig::Static(groups) if groups.is_empty()));
        assert_eq!(ours, expected);
    }
    let files: Vec<&str> = worker
        .referenced_files
        .iter()
        .filter(|file| is_for_collection(file))
        .map(|file| &*file.path)
        .collect();
    assert_eq!(files, ["/etc/p/ca.pem", "/etc/p/more/t"]);
}

#[test]
fn jobs_in_block_style_can_be_added() {
    let memory = Memory::default();
    let text = compose(
        "global: {scrape_interval: 7s}\n",
        ["job_name: a\nstatic_configs:\n- targets:\n  - x:1\n", "{job_name: b}"],
    );
    let config =
        load(&source("p.yml", &text, &memory)).unwrap_or_else(|errors| panic!("{text}\n{errors}")).config;
    let jobs: Vec<&str> = config.scrape_configs.iter().map(|job| &*job.job_name).collect();
    assert_eq!(jobs, ["a", "b"]);
    assert_eq!(config.scrape_configs[0].discovery.len(), 1);
}

#[test]
fn a_job_that_says_no_cluster_runs_for_each() {
    let memory = Memory::default();
    let text = "
outrigger:
  clusters:
  - {name: prod-1, kubeconfig: k1, proxy_url: 'socks5://10.0.0.1:1080', request_budget: {requests_per_second: 3}}
  - {name: prod.2, kubeconfig: k2, context: c, tenant: team$b}
scrape_configs:
- job_name: pods
  kubernetes_sd_configs: [{role: pod}, {role: node, cluster: prod-1}]
  static_configs: [{targets: [a:1]}]
  relabel_configs: [{action: labeldrop, regex: x}]
- {job_name: other, static_configs: [{targets: [b:1]}]}
remote_write:
- {name: r, url: 'http://r/w', headers: {x-scope-orgid: all, A: b}, write_relabel_configs: [{action: labeldrop, regex: y}]}
";
    let parts = take(text, &memory, Parts::Whole);
    let names: Vec<&str> = parts.jobs.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["pods", "pods@prod-1", "pods@prod.2", "other"]);
    let again = parts.text();
    let config =
        load(&source("parts", &again, &memory)).unwrap_or_else(|errors| panic!("{again}\n{errors}")).config;
    let clusters = |job: usize| -> Vec<Option<String>> {
        let kinds = config.scrape_configs[job].discovery.iter();
        kinds
            .filter_map(|kind| match kind {
                DiscoveryConfig::Kubernetes(sd) => Some(sd.cluster.clone()),
                _ => None,
            })
            .collect()
    };
    assert_eq!(clusters(0), [Some("prod-1".to_owned())]);
    assert_eq!(clusters(1), [Some("prod-1".to_owned())]);
    assert_eq!(clusters(2), [Some("prod.2".to_owned())]);
    assert_eq!(config.scrape_configs[0].discovery.len(), 2);
    assert_eq!(config.scrape_configs[1].discovery.len(), 1);
    assert_eq!(config.scrape_configs[1].relabel.len(), 3);
    let proxies: Vec<bool> = config.scrape_configs.iter().map(|job| job.http.proxy.url.is_some()).collect();
    assert_eq!(proxies, [false, true, false, false]);
    let endpoints: Vec<(&str, usize)> =
        config.remote_write.iter().map(|endpoint| (&*endpoint.name, endpoint.write_relabel.len())).collect();
    assert_eq!(endpoints, [("r", 2), ("r/prod.2", 2)]);
    let header = ("X-Scope-OrgID".to_owned(), "team$b".to_owned());
    assert!(config.remote_write[1].headers.contains(&header), "{:?}", config.remote_write[1].headers);
    // Once written out, nothing is left to write out.
    let twice = take(&again, &memory, Parts::Whole);
    assert_eq!(twice.text(), again);
    // Workers get the same jobs.
    let workers = take(&again, &memory, Parts::Collection);
    assert_eq!(workers.jobs.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), names);
}

#[test]
fn a_cluster_that_is_not_configured_is_refused() {
    let memory = Memory::default();
    let text = "scrape_configs:\n- job_name: a\n  kubernetes_sd_configs: [{role: pod, cluster: x}]\n";
    let errors = load(&source("p.yml", text, &memory)).expect_err("no such cluster");
    assert!(errors.to_string().contains("p.yml:3:48"), "{errors}");
}
