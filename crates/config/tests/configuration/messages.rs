//! What is said about a bad configuration: all of it at once, with place, key and fix, and without secrets.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::disk::{Memory, load_text, load_text_with};

/// The errors of a text, one for each line.
fn errors(text: &str) -> String {
    load_text(text).expect_err(text).to_string()
}

#[test]
fn all_errors_come_at_once_in_order_of_place() {
    let text = "
global:
  scrape_intervall: 15s
  scrape_timeout: 5
scrape_configs:
- job_name: a
  honor_labels: maybe
  static_configs:
  - targets: localhost:9090
  relabel_configs:
  - action: replce
  - {action: replace, regex: '('}
- job_name: a
rule_files: {}
";
    let expected = [
        "p.yml:3:3: global.scrape_intervall: unknown key (did you mean scrape_interval?)",
        "p.yml:4:19: global.scrape_timeout: \"5\" is not a duration (give it a unit, for example 5s)",
        "p.yml:7:17: scrape_configs[0].honor_labels: true or false is expected, not \"maybe\"",
        "p.yml:9:14: scrape_configs[0].static_configs[0].targets: a list is expected, not \"localhost:9090\"",
        "p.yml:11:13: scrape_configs[0].relabel_configs[0].action: ",
        "p.yml:12:30: scrape_configs[0].relabel_configs[1].regex: ",
        "p.yml:13:13: scrape_configs[1].job_name: the job name \"a\" is taken (first used at p.yml:6:3)",
        "p.yml:14:1: rule_files: a list is expected, not a mapping",
    ];
    let shown = errors(text);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{shown}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\n{expected}");
    }
}

/// A bad text on one line, and what the one error about it must hold.
const CASES: &[(&str, &str)] = &[
    // the text itself
    ("a", "a mapping is expected, not \"a\""),
    ("[]", "a mapping is expected, not a list"),
    ("{scrape_configs: [}", "1:"),
    ("{global: *x}", "1:10"),
    ("{? [a] : b}", "a key must be text"),
    // top level
    ("{scrape_confgs: []}", "did you mean scrape_configs?"),
    ("{alertmanagers: []}", "write it below alerting"),
    ("{groups: []}", "this looks like a rule file"),
    ("{rule_files: ['a/*/b']}", "rule_files[0]: \"a/*/b\" has a * before its last /"),
    ("{rule_files: ['a[']}", "is not a file pattern"),
    // global
    ("{global: {scrape_interval: 10s, scrape_timeout: 11s}}", "the scrape timeout 11s is greater than"),
    ("{global: {scrape_interval: -1s}}", "\"-1s\" is not a duration"),
    ("{global: {scrape_interval: [1]}}", "a duration is expected, not a list"),
    ("{global: {external_labels: {'': a}}}", "this is not a label name"),
    (
        "{global: {metric_name_validation_scheme: legacy, external_labels: {a.b: x}}}",
        "this is not a label name",
    ),
    ("{global: {external_labels: [a]}}", "a mapping is expected, not a list"),
    ("{global: {scrape_protocols: []}}", "the list of scrape protocols is empty"),
    ("{global: {body_size_limit: 10}}", "\"10\" is not a size"),
    ("{global: {sample_limit: -1}}", "a whole number, 0 or more, is expected, not \"-1\""),
    ("{global: {sample_limit: '1'}}", "write digits, without quotes or unit"),
    ("{global: {query_max_duration: x}}", "is not a duration"),
    // jobs
    ("{scrape_configs: [{}]}", "scrape_configs[0].job_name: job_name is empty (add job_name"),
    ("{scrape_configs: [a]}", "scrape_configs[0]: a mapping is expected, not \"a\""),
    ("{scrape_configs: [{job_name: a, params: {b: c}}]}", "params.b: a list is expected, not \"c\""),
    ("{scrape_configs: [{job_name: a, scrape_timeout: 2m}]}", "the scrape timeout 2m is greater than"),
    ("{scrape_configs: [{job_name: a, target_groups: []}]}", "write static_configs"),
    (
        "{scrape_configs: [{job_name: a, scrape_offset: 1s, scrape_align_interval: 1m}]}",
        "scrape_configs[0].scrape_align_interval: scrape_offset and scrape_align_interval are both set",
    ),
    ("{scrape_configs: [{job_name: a, scrape_offset: 1}]}", "\"1\" is not a duration"),
    ("{scrape_configs: [{job_name: a, series_limit: -1}]}", "a whole number, 0 or more, is expected"),
    ("{scrape_configs: [{job_name: a, job_series_limit: many}]}", "a whole number, 0 or more, is expected"),
    ("{scrape_configs: [{job_name: a, stream_parse: 1}]}", "scrape_configs[0].stream_parse"),
    (
        "{scrape_configs: [{job_name: a, body_size_limit: 1MB, max_scrape_size: 1MB}]}",
        "body_size_limit and max_scrape_size are both set (keep body_size_limit)",
    ),
    (
        "{scrape_configs: [{job_name: a, enable_compression: true, disable_compression: true}]}",
        "enable_compression and disable_compression are both true",
    ),
    ("{scrape_configs: [{job_name: a, honor_labels: 'true'}]}", "without quotes"),
    (
        "{scrape_configs: [{job_name: a, metric_name_validation_scheme: utf-8}]}",
        "is not a name validation scheme",
    ),
    ("{scrape_configs: [{job_name: a, metric_name_escaping_scheme: dot}]}", "did you mean dots?"),
    (
        "{global: {metric_name_escaping_scheme: x}, scrape_configs: [{job_name: a}]}",
        "global.metric_name_escaping_scheme",
    ),
    ("{scrape_configs: [{job_name: a, fallback_scrape_protocol: text}]}", "is not a scrape protocol"),
    (
        "{scrape_configs: [{job_name: a, static_configs: [{targets: ['http://h:1/m']}]}]}",
        "(write h:1, with scheme",
    ),
    ("{scrape_configs: [{job_name: a, static_configs: [{target: [x]}]}]}", "write targets, which is a list"),
    ("{scrape_configs: [{job_name: a, native_histogram_min_bucket_factor: x}]}", "a number is expected"),
    // discovery
    ("{scrape_configs: [{job_name: a, file_sd_configs: [{files: []}]}]}", "no file is named"),
    ("{scrape_configs: [{job_name: a, file_sd_configs: [{files: [a.txt]}]}]}", "give the file the suffix"),
    (
        "{scrape_configs: [{job_name: a, file_sd_configs: [{files: ['*/a.yml']}]}]}",
        "has a * before its last /",
    ),
    ("{scrape_configs: [{job_name: a, http_sd_configs: [{}]}]}", "url is missing"),
    ("{scrape_configs: [{job_name: a, http_sd_configs: [{url: 'ftp://h/'}]}]}", "must be http or https"),
    ("{scrape_configs: [{job_name: a, http_sd_configs: [{url: 'http:///x'}]}]}", "the URL has no host"),
    ("{scrape_configs: [{job_name: a, http_sd_configs: [{url: '127.0.0.1:1'}]}]}", "is not a URL"),
    (
        "{scrape_configs: [{job_name: a, consul_sd_configs: [null]}]}",
        "the entry of consul_sd_configs is empty",
    ),
    ("{scrape_configs: [{job_name: a, consul_sd_configs: {}}]}", "a list is expected"),
    ("{scrape_configs: [{job_name: a, kubernetes_sd_configs: [{}]}]}", "role is missing"),
    ("{scrape_configs: [{job_name: a, kubernetes_sd_configs: [{role: Pod}]}]}", "did you mean pod?"),
    (
        "{scrape_configs: [{job_name: a, kubernetes_sd_configs: [{role: pod, in_cluster: true}]}]}",
        "remove it: without api_server",
    ),
    (
        "{scrape_configs: [{job_name: a, kubernetes_sd_configs: [{role: pod, follow_redirects: false}]}]}",
        "add api_server, or remove the HTTP settings",
    ),
    (
        "{scrape_configs: [{job_name: a, kubernetes_sd_configs: [{role: pod, selectors: [{role: pod, label: '=a'}]}]}]}",
        "not a label selector: found '=' where a label key is expected",
    ),
    (
        "{scrape_configs: [{job_name: a, kubernetes_sd_configs: [{role: pod, selectors: [{label: a}]}]}]}",
        "the selector names no role",
    ),
    // HTTP
    (
        "{scrape_configs: [{job_name: a, basic_auth: {}, oauth2: {client_id: a, token_url: b}}]}",
        "are both set",
    ),
    ("{scrape_configs: [{job_name: a, authorization: {type: basic}}]}", "write basic_auth"),
    (
        "{scrape_configs: [{job_name: a, authorization: {credentials: x, credentials_file: y}}]}",
        "keep credentials or",
    ),
    ("{scrape_configs: [{job_name: a, oauth2: {client_id: x}}]}", "the token endpoint is missing"),
    ("{scrape_configs: [{job_name: a, tls_config: {cert_file: x}}]}", "without its key"),
    ("{scrape_configs: [{job_name: a, tls_config: {key: x}}]}", "without its certificate"),
    ("{scrape_configs: [{job_name: a, tls_config: {ca: x, ca_file: y}}]}", "ca and ca_file are both set"),
    ("{scrape_configs: [{job_name: a, tls_config: {min_version: TLS1.2}}]}", "did you mean TLS12?"),
    ("{scrape_configs: [{job_name: a, no_proxy: x}]}", "add proxy_url"),
    ("{scrape_configs: [{job_name: a, proxy_from_environment: true, no_proxy: x}]}", "are both set"),
    ("{scrape_configs: [{job_name: a, proxy_connect_header: {x: [y]}}]}", "headers for a proxy but no proxy"),
    ("{scrape_configs: [{job_name: a, proxy_url: ':1'}]}", "is not a URL"),
    (
        "{scrape_configs: [{job_name: a, http_headers: {user-agent: {values: [x]}}}]}",
        "this header cannot be set here",
    ),
    ("{scrape_configs: [{job_name: a, http_headers: {x: [y]}}]}", "a mapping is expected, not a list"),
    // remote write
    ("{remote_write: [{url: 'http://h', name: a}, {url: 'http://h', name: a}]}", "the name \"a\" is taken"),
    (
        "{remote_write: [{url: 'http://h', queue_config: {min_shards: 60}}]}",
        "min_shards 60 is greater than max_shards 50",
    ),
    ("{remote_write: [{url: 'http://h', queue_config: {max_retries: 3}}]}", "remove it: samples are retried"),
    ("{remote_write: [{url: 'http://h', queue_config: }]}", "the queue configuration is empty"),
    ("{remote_write: [{url: 'http://h', protobuf_message: v2}]}", "is not a remote write message"),
    ("{remote_write: [{url: 'http://h', sigv4: {}, basic_auth: {}}]}", "basic_auth and sigv4 are both set"),
    ("{remote_write: [{url: 'http://h', azuread: {}}]}", "no way to authenticate is named"),
    ("{remote_write: [{url: 'http://h', azuread: {managed_identity: {client_id: x}}}]}", "not a UUID"),
    ("{remote_write: [{url: 'http://h', sigv4: {access_key: x}}]}", "belong together"),
    ("{remote_write: [{url: 'http://h', relabel_configs: []}]}", "write write_relabel_configs"),
    // other sections
    ("{tracing: {}}", "tracing.endpoint: endpoint is missing"),
    ("{storage: {tsdb: {retention: {size: -1KB}}}}", "is less than 0"),
    ("{runtime: {log_level: trace}}", "is not a log level"),
    ("{otlp: {translation_strategy: x}}", "is not a translation strategy"),
    ("{alerting: {alertmanagers: [{static_configs: [{targets: [a/b]}]}]}}", "is not a host name"),
    ("{alerting: {alertmanagers: [null]}}", "the Alertmanager configuration is empty"),
    // ours
    ("{outrigger: {cluster: x}}", "write cluster_name"),
    ("{outrigger: {request_budget: {burst: 0}}}", "write a whole number from 1"),
    ("{outrigger: {limits: {max_body_bytes: 0}}}", "is not greater than 0"),
];

#[test]
fn each_mistake_has_one_error_that_says_what_to_do() {
    for (text, expected) in CASES {
        let shown = errors(text);
        assert_eq!(shown.lines().count(), 1, "{text}\n{shown}");
        assert!(shown.contains(expected), "{text}\n{shown}\n{expected}");
        assert!(shown.starts_with("p.yml:1:"), "{text}\n{shown}");
    }
}

#[test]
fn secrets_are_never_shown() {
    const SECRET: &str = "hunter2";
    for keys in [
        "basic_auth: {password: [hunter2]}",
        "basic_auth: {password: hunter2, password_file: x}",
        "authorization: {credentials: {hunter2: 1}}",
        "bearer_token: hunter2, bearer_token_file: f",
        "bearer_token: hunter2, basic_auth: {}",
        "oauth2: {client_secret: hunter2, client_secret_file: f, client_id: a, token_url: b}",
        "tls_config: {key: hunter2}",
        "proxy_url: 'http://u:hunter2@h:port/'",
        "proxy_url: 'http://u:hunter2@h:1', proxy_from_environment: true",
        "proxy_connect_header: {a: [hunter2]}",
        "proxy_connect_header: {a: hunter2}",
        "http_headers: {authorization: {secrets: [hunter2]}}",
        "http_headers: {a: {secrets: hunter2}}",
        "http_sd_configs: [{url: 'ftp://u:hunter2@h/'}]",
        "static_configs: [{targets: ['http://u:hunter2@h/']}]",
        "bearer_tokn: hunter2",
    ] {
        let shown = errors(&format!("scrape_configs: [{{job_name: a, {keys}}}]\n"));
        assert!(!shown.contains(SECRET), "{keys}\n{shown}");
    }
    for keys in [
        "headers: {authorization: hunter2}",
        "headers: {a: [hunter2]}",
        "sigv4: {secret_key: hunter2}",
        "azuread: {oauth: {client_secret: hunter2, client_id: x, tenant_id: y}}",
    ] {
        let shown = errors(&format!("remote_write: [{{url: 'http://h', {keys}}}]\n"));
        assert!(!shown.contains(SECRET), "{keys}\n{shown}");
    }
}

#[test]
fn long_values_are_shortened() {
    let text = format!("global: {{scrape_interval: {}}}\n", "x".repeat(10_000));
    let shown = errors(&text);
    assert!(shown.len() < 300 && shown.contains('…'), "{shown}");
}

#[test]
fn errors_in_included_files_name_that_file() {
    let files = Memory(
        [
            ("/etc/p/a.yml", "scrape_configs:\n- job_name: a\n  scrape_intervall: 1s\n- {}\n"),
            ("/etc/p/b.yml", "global: {}\n"),
            ("/etc/p/c.yml", "scrape_configs: [\n"),
        ]
        .into(),
    );
    let text = "scrape_config_files: ['*.yml']\nscrape_configs: [{}]\n";
    let shown = load_text_with(text, &files).expect_err("bad").to_string();
    let places: Vec<&str> = shown.lines().filter_map(|line| line.split(": ").next()).collect();
    let expected = ["p.yml:2:18", "/etc/p/a.yml:3:3", "/etc/p/a.yml:4:3", "/etc/p/b.yml:1:1"];
    assert_eq!(places[..4], expected, "{shown}");
    assert!(places[4].starts_with("/etc/p/c.yml:"), "{shown}");
}

#[test]
fn a_large_file_loads() {
    let mut text = String::from("scrape_configs:\n");
    for job in 0..2_500 {
        let _ = write!(
            text,
            "- job_name: job-{job}\n  scrape_interval: 15s\n  kubernetes_sd_configs:\n  - role: pod\n    namespaces: {{names: [ns-{job}]}}\n  relabel_configs:\n  - source_labels: [__meta_kubernetes_pod_label_app, __meta_kubernetes_namespace]\n    regex: app-{job};(.+)\n    action: keep\n  - source_labels: [__meta_kubernetes_pod_name]\n    target_label: pod\n  static_configs:\n  - targets: ['a-{job}:9100', 'b-{job}:9100']\n    labels: {{team: t{job}}}\n"
        );
    }
    assert!(text.len() > 1_000_000, "{}", text.len());
    assert_eq!(load_text(&text).expect("valid").config.scrape_configs.len(), 2_500);
}

#[test]
fn a_flood_of_errors_is_cut_off() {
    let shown = errors(&format!("rule_files:\n{}", "- []\n".repeat(5_000)));
    assert_eq!(shown.lines().count(), 1_001);
    assert!(shown.ends_with("p.yml: 4000 further errors are not listed"), "{}", &shown[shown.len() - 100..]);
}

proptest! {
    #[test]
    fn any_text_is_loaded_or_refused_with_errors(text in "([a-z_]{1,3}|global|scrape_configs|job_name|[:\\-?\\[\\]{},&*!|>'\"%@`#<]|<<|: |- |\\n|\\n  |\\n    | |\t|1|\\\\){0,60}") {
        if let Err(errors) = load_text(&text) {
            prop_assert!(!errors.0.is_empty());
        }
    }
}
