//! The same verdict as `promtool check config` on hundreds of good files with one mistake each.
//!
//! Runs where the environment variable `OUTRIGGER_PROMTOOL` names a promtool of Prometheus 3.16. The mistakes come
//! from a fixed seed; `OUTRIGGER_PROMTOOL_SEED` and `OUTRIGGER_PROMTOOL_CASES` try others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use outrigger_config::prometheus::check;

use super::disk::{Disk, load_file};

/// Files that are good for promtool once what they refer to exists.
fn good_texts() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/prometheus-config");
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(directory).expect("the folder is there") {
        let path = entry.expect("readable").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8").to_owned();
        let included = name.contains("scrape_config_files") || name.contains("windows");
        if name.ends_with(".yml") && !included && load_file(&path, false).is_ok() {
            let text = std::fs::read_to_string(&path).expect("readable");
            texts.push((name, text.replace("/var/run/secrets/kubernetes.io/serviceaccount/", "")));
        }
    }
    texts.extend(EXTRA.iter().enumerate().map(|(i, text)| (format!("extra-{i}"), (*text).to_owned())));
    texts.sort();
    texts
}

/// Good files with keys that Prometheus' own cases lack.
const EXTRA: &[&str] = &[
    "
global:
  scrape_interval: 30s
  scrape_timeout: 20s
  body_size_limit: 10MB
  sample_limit: 1000
  target_limit: 5
  label_limit: 6
  label_name_length_limit: 7
  label_value_length_limit: 8
  keep_dropped_targets: 9
  rule_query_offset: 1s
  query_log_file: log
  scrape_failure_log_file: fail
  external_labels:
    a: b
    c: 1.10
scrape_configs:
  - job_name: a
    honor_labels: true
    honor_timestamps: false
    track_timestamps_staleness: true
    params:
      x: [a, b]
      y: []
    scrape_protocols: [PrometheusText0.0.4, OpenMetricsText1.0.0]
    fallback_scrape_protocol: PrometheusText0.0.4
    metric_name_validation_scheme: legacy
    metric_name_escaping_scheme: dots
    enable_compression: false
    native_histogram_bucket_limit: 10
    native_histogram_min_bucket_factor: 1.1
    extra_scrape_metrics: true
    basic_auth:
      username: u
      password: p
    tls_config:
      ca: x
      server_name: s
      insecure_skip_verify: true
      min_version: TLS12
      max_version: TLS13
    proxy_url: http://proxy:3128
    no_proxy: a,b
    proxy_connect_header:
      A: [b]
    http_headers:
      X-A:
        values: [b]
        secrets: [c]
    follow_redirects: false
    enable_http2: false
    static_configs:
      - targets: ['a:1', b]
        labels:
          l: v
    relabel_configs:
      - source_labels: [__address__, x]
        separator: '-'
        regex: (.*)-(.*)
        target_label: y
        replacement: $1
        action: replace
      - action: hashmod
        source_labels: [__address__]
        modulus: 4
        target_label: shard
      - action: labelmap
        regex: a(.+)
        replacement: b$1
      - action: labeldrop
        regex: zzz
      - action: keepequal
        source_labels: [q]
        target_label: r
    metric_relabel_configs:
      - action: Drop
        source_labels: [__name__]
        regex: x
",
    "
scrape_configs:
  - job_name: k
    kubernetes_sd_configs:
      - role: endpointslice
        api_server: https://10.0.0.1:6443
        authorization:
          type: Bearer
          credentials: x
        tls_config:
          insecure_skip_verify: true
        namespaces:
          names: [a, b]
        selectors:
          - role: pod
            label: app in (a,b),!c
            field: spec.nodeName=n1
          - role: service
            label: x=y
        attach_metadata:
          node: true
          namespace: true
          deployment: false
          job: false
          cronjob: true
      - role: pod
        namespaces:
          own_namespace: true
    http_sd_configs:
      - url: http://h:80/x
        refresh_interval: 10s
        oauth2:
          client_id: i
          client_secret: s
          token_url: http://t/
          scopes: [a]
          endpoint_params:
            k: v
    file_sd_configs:
      - files: ['targets/*.yml', 'x.json']
        refresh_interval: 1m
remote_write:
  - url: http://h/w
    name: r
    remote_timeout: 10s
    headers:
      X-Scope: a
    send_exemplars: true
    protobuf_message: prometheus.WriteRequest
    write_relabel_configs:
      - action: lowercase
        source_labels: [a]
        target_label: b
    queue_config:
      capacity: 10
      max_shards: 5
      min_shards: 2
      max_samples_per_send: 100
      batch_send_deadline: 5s
      min_backoff: 30ms
      max_backoff: 5s
      retry_on_http_429: true
      sample_age_limit: 1h
    metadata_config:
      send: true
      send_interval: 1m
      max_samples_per_send: 10
  - url: http://h/w
    sigv4:
      region: r
      access_key: a
      secret_key: b
      role_arn: c
      session_name: abc
      tags:
        k: v
  - url: http://h/w
    azuread:
      cloud: AzurePublic
      oauth:
        client_id: 00000000-0000-0000-0000-000000000000
        client_secret: s
        tenant_id: t
  - url: http://h/w
    google_iam:
      credentials_file: c
",
    "
rule_files: [a.rules]
alerting:
  alert_relabel_configs:
    - action: labeldrop
      regex: x
  alertmanagers:
    - scheme: https
      path_prefix: /p
      timeout: 5s
      api_version: v2
      basic_auth:
        username: u
        password: p
      static_configs:
        - targets: ['a:1']
      relabel_configs:
        - source_labels: [a]
          target_label: b
      alert_relabel_configs:
        - action: drop
          source_labels: [c]
remote_read:
  - url: http://h/r
    name: n
    remote_timeout: 1m
    chunked_read_limit: 100
    headers:
      X-A: b
    read_recent: true
    required_matchers:
      a: b
    filter_external_labels: false
storage:
  tsdb:
    out_of_order_time_window: 1h
    stale_series_compaction_threshold: 0.5
    chunk_encoding:
      floats: xor
    retention:
      time: 1d
      size: 1GB
      percentage: 50
  exemplars:
    max_exemplars: 100
tracing:
  endpoint: localhost:4317
  client_type: http
  sampling_fraction: 0.5
  insecure: true
  headers:
    a: b
  compression: gzip
  timeout: 5s
otlp:
  promote_resource_attributes: [a, b]
  translation_strategy: NoUTF8EscapingWithSuffixes
  keep_identifying_resource_attributes: true
runtime:
  gogc: 50
  log_level: warn
",
    "
scrape_configs:
  - &a
    job_name: a
    scrape_interval: 10s
    static_configs: &t
      - targets: [x]
  - <<: *a
    job_name: b
    static_configs: *t
  - job_name: c
    oauth2:
      client_id: i
      token_url: u
      grant_type: urn:ietf:params:oauth:grant-type:jwt-bearer
      client_certificate_key: k
      signature_algorithm: RS384
      claims:
        a: [1, {b: c}]
    static_configs:
      - targets:
          - a
        labels: {x: y, z: w}
",
];

/// Values of every kind, put in place of good ones.
const VALUES: &[&str] = &[
    "",
    "null",
    "~",
    "\"\"",
    "''",
    "x",
    "\"x\"",
    "1",
    "0",
    "-1",
    "1.5",
    "1e3",
    "0x10",
    "010",
    "1_000",
    "true",
    "no",
    "On",
    "\"true\"",
    "10s",
    "1m30s",
    "5",
    "-5s",
    "1h2h",
    "10d",
    "[]",
    "[null]",
    "[a]",
    "['a', 1]",
    "[[a]]",
    "{}",
    "{a: b}",
    "{a: [b]}",
    "[{}]",
    "[{a: b}]",
    "10MB",
    "1KiB",
    "10",
    "http://h:1/p",
    "h:1",
    "http://",
    "127.0.0.1:1",
    "http://h:x/",
    "a/*/b",
    "*.yml",
    "a.json",
    "'[x'",
    "'('",
    "(a|b)",
    "a.b",
    "1a",
    "a b",
    "$1",
    "'${x}'",
    "v1",
    "legacy",
    "utf8",
    "dots",
    "pod",
    "drop",
    "LabelDrop",
    "hashmod",
    "PrometheusProto",
    "TLS10",
    "Basic",
    "99999999999999999999",
    ".inf",
    "!!str 1",
    "!!int \"1\"",
    "*nowhere",
    "&anchor x",
    "\"a\\nb\"",
    "'''",
    "\"",
    "- a",
    "a: b",
    "@x",
    "`x",
    "%x",
    "# c",
    "a #b",
    "a: b: c",
    "Null",
    "é",
    "app in (a, b)",
    "app notin (a),!b",
    "a==b,c!=d",
    "a>1",
    "a<x",
    "in in (in)",
    "x.y/z=1",
    "X.y/z",
    "a=b=c",
    "(a)",
    "spec.nodeName=a",
    "metadata.name!=a,b=c",
    "'a=b\\,c'",
    "1h30m10s",
    "1y2w3d",
    "300y",
    "0",
    "0s",
    "1m 30s",
    "1.5h",
    "1MB512KB",
    "1.5GiB",
    "1kB",
    "7EB",
    "9EB",
    "-1KB",
    "1TB2",
    "https://u:p@h/%zz",
    "http://[::1]:80/",
    "http://[::1",
    "//h/x",
    "http://a b/",
    "mailto:x",
    "http://h:1:2/",
    "'http://{{h}}'",
    "[a, a]",
    "[PrometheusProto, prometheusproto]",
    "[OpenMetricsText2.0.0]",
    "a*b.json",
    "a.JSON",
    "dir/*.yml/x",
    "'${1}_$2'",
    "'$1'",
    "a-b",
    "__name__",
    "'a{2,1}'",
    "'\\d'",
    "'(?i)x'",
    "'(?=x)'",
    "'[[:alpha:]]'",
    "'\\p{Greek}'",
    "'x{1001}'",
    "DROP",
    "keepequal",
    "dropequal",
    "lowercase",
    "labelkeep",
    "service",
    "endpoints",
    "ingress",
    "node",
    "allow-utf-8",
    "values",
    "TLS13",
    "gzip",
    "grpc",
    "xor2",
    "NoTranslation",
    "io.prometheus.write.v2.Request",
    "11111111-1111-1111-1111-111111111111",
    "2020-01-01",
    "|\n",
    "y",
];

/// A small generator that is the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (bound as u64)).expect("below a usize")
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Where the value of a line starts, behind `key:` or `-`.
fn value_start(line: &str) -> Option<usize> {
    match line.find(": ") {
        Some(colon) => Some(colon + 2),
        None if line.trim_end().ends_with(':') => Some(line.trim_end().len()),
        None => line.find("- ").map(|dash| dash + 2),
    }
}

/// Makes one mistake; the result may still be good.
fn mutate(text: &str, keys: &[String], random: &mut Random) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let filled: Vec<usize> = (0..lines.len())
        .filter(|i| !lines[*i].trim().is_empty() && !lines[*i].trim().starts_with('#'))
        .collect();
    let at = *random.pick(&filled);
    let line = lines[at].clone();
    let indent = line.len() - line.trim_start().len();
    match random.below(10) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, line),
        2 => lines[at] = line[indent.min(1 + random.below(2))..].to_owned(),
        3 => lines[at] = format!("{}{line}", " ".repeat(1 + random.below(3))),
        4 => {
            let key = random.pick(keys);
            lines.insert(at, format!("{}{key}: {}", " ".repeat(indent), random.pick(VALUES)));
        }
        5 => {
            let other = lines[*random.pick(&filled)].trim_start_matches([' ', '-']).to_owned();
            lines.insert(at, format!("{}{other}", " ".repeat(indent)));
        }
        6 => {
            let position = random.below(line.chars().count() + 1);
            let characters = [
                ':', ' ', '-', '\'', '"', '{', ']', ',', '\t', '#', 'x', '&', '*', '!', '|', '>', '%', '@',
                '\\',
            ];
            let (before, after): (String, String) =
                (line.chars().take(position).collect(), line.chars().skip(position).collect());
            lines[at] = format!("{before}{}{after}", random.pick(&characters));
        }
        _ => match value_start(&line) {
            Some(start) => lines[at] = format!("{} {}", line[..start].trim_end(), random.pick(VALUES)),
            None => lines[at] = format!("{line}: {}", random.pick(VALUES)),
        },
    }
    lines.join("\n") + "\n"
}

/// Whether promtool accepts each file, run in `directory`.
fn promtool_verdicts(promtool: &Path, directory: &Path, names: &[String]) -> BTreeMap<String, bool> {
    let mut verdicts = BTreeMap::new();
    for batch in names.chunks(200) {
        let output = Command::new(promtool)
            .args(["check", "config"])
            .args(batch)
            .current_dir(directory)
            .output()
            .expect("promtool runs");
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let accepted: BTreeSet<&str> = stdout
            .lines()
            .filter_map(|line| {
                line.strip_prefix(" SUCCESS: ")?.strip_suffix(" is valid prometheus config file syntax")
            })
            .collect();
        let checked: BTreeSet<&str> =
            stdout.lines().filter_map(|line| line.strip_prefix("Checking ")).collect();
        let last = batch.iter().rfind(|name| checked.contains(name.as_str())).map(String::as_str);
        for name in batch {
            // A panic of promtool is a refusal of the file at hand, and leaves the rest unchecked.
            let died = !checked.contains(name.as_str());
            if !died {
                verdicts.insert(name.clone(), accepted.contains(name.as_str()));
            } else if last.is_some() {
                verdicts.extend(promtool_verdicts(promtool, directory, std::slice::from_ref(name)));
            }
        }
    }
    verdicts
}

/// What we say to a file: nothing when it is good.
fn our_errors(path: &Path) -> String {
    match load_file(path, false) {
        Ok(loaded) => {
            let errors = check(&loaded, &Disk).errors;
            errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        }
        Err(errors) => errors.to_string(),
    }
}

fn number_from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Creates what the good files refer to, so that promtool accepts them.
fn create_referenced_files(directory: &Path) {
    for name in [
        "valid_cert_file",
        "valid_key_file",
        "valid_token_file",
        "valid_password_file",
        "valid_ca_file",
        "token",
        "ca.crt",
        "first.rules",
        "second.rules",
        "a.rules",
        "foo_rules.yml",
        "rules.yml",
    ] {
        std::fs::write(directory.join(name), "").expect("writable");
    }
}

#[test]
fn verdicts_equal_promtools() {
    let Some(promtool) = std::env::var_os("OUTRIGGER_PROMTOOL").map(PathBuf::from) else {
        println!("not compared with promtool: OUTRIGGER_PROMTOOL is not set");
        return;
    };
    let seed = number_from_environment("OUTRIGGER_PROMTOOL_SEED", 1);
    let cases = number_from_environment("OUTRIGGER_PROMTOOL_CASES", 600);
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let directory = std::env::temp_dir().join(format!("outrigger-promtool-{}-{seed}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("writable");
    create_referenced_files(&directory);
    let texts = good_texts();
    let key = |line: &str| Some(line.split_once(':')?.0.trim_start_matches([' ', '-', '#']).to_owned());
    let keys: BTreeSet<String> = texts.iter().flat_map(|(_, text)| text.lines().filter_map(key)).collect();
    let keys: Vec<String> = keys.into_iter().collect();
    let mut sources: Vec<(String, String)> = texts.clone();
    for case in 0..cases {
        let (name, text) = random.pick(&texts).clone();
        sources.push((format!("{case}-{name}"), mutate(&text, &keys, &mut random)));
    }
    let names: Vec<String> = (0..sources.len()).map(|i| format!("c{i}.yml")).collect();
    for (name, (_, text)) in names.iter().zip(&sources) {
        std::fs::write(directory.join(name), text).expect("writable");
    }
    let verdicts = promtool_verdicts(&promtool, &directory, &names);
    let mut differences = String::new();
    for (name, (origin, text)) in names.iter().zip(&sources) {
        let ours = our_errors(&directory.join(name));
        // A null label name reads as the empty name, which Prometheus takes and we refuse.
        if verdicts.get(name) == Some(&ours.is_empty()) || text.contains("source_labels: [null]") {
            continue;
        }
        let promtool = if verdicts.get(name) == Some(&true) { "accepts" } else { "refuses" };
        differences += &format!(
            "=== {origin} ({name}): promtool {promtool} it\n{ours}\n{}\n",
            changed(&texts, origin, text)
        );
    }
    std::fs::remove_dir_all(&directory).expect("removable");
    assert!(differences.is_empty(), "{differences}");
}

/// The lines of `text` that its origin lacks, with their number.
fn changed(texts: &[(String, String)], origin: &str, text: &str) -> String {
    let good = texts.iter().find(|(name, _)| origin.split_once('-').is_some_and(|(_, rest)| rest == name));
    let good: BTreeSet<&str> = good.map(|(_, text)| text.lines().collect()).unwrap_or_default();
    let new = (1..).zip(text.lines()).filter(|(_, line)| !good.contains(line));
    new.map(|(number, line)| format!("{number}: {line}")).collect::<Vec<_>>().join("\n")
}
