//! Every case of Prometheus' own configuration tests has Prometheus' verdict, and each refusal names key and line.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::disk::{Disk, load_file};
use outrigger_config::prometheus::check;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/prometheus-config")
}

/// File, then the line and the key that one of the errors must name. An error in another file names that too.
const REFUSED: &[(&str, u32, &str)] = &[
    ("bearertoken.bad.yml", 5, "scrape_configs[0].bearer_token_file"),
    ("config_with_deprecated_am_api_config.yml", 4, "alerting.alertmanagers[0].api_version"),
    ("dropequal.bad.yml", 4, "scrape_configs[0].relabel_configs[0].target_label"),
    ("dropequal1.bad.yml", 6, "scrape_configs[0].relabel_configs[0].regex"),
    ("empty_alert_relabel_config.bad.yml", 3, "alerting.alert_relabel_configs[0]"),
    ("empty_metric_relabel_config.bad.yml", 4, "scrape_configs[0].metric_relabel_configs[0]"),
    ("empty_rr_config.bad.yml", 2, "remote_read[0]"),
    ("empty_rw_relabel_config.bad.yml", 4, "remote_write[0].write_relabel_configs[0]"),
    ("empty_scrape_config.bad.yml", 2, "scrape_configs[0]"),
    ("empty_scrape_config_action.bad.yml", 4, "scrape_configs[0].relabel_configs[0].action"),
    ("empty_static_config.bad.yml", 4, "scrape_configs[0].static_configs[0]"),
    ("empty_target_relabel_config.bad.yml", 4, "scrape_configs[0].relabel_configs[0]"),
    ("http_token_file.bad.yml", 6, "scrape_configs[0].http_sd_configs[0].bearer_token_file"),
    ("http_url_no_host.bad.yml", 3, "scrape_configs[0].http_sd_configs[0].url"),
    ("jobname.bad.yml", 2, "scrape_configs[0].job_name"),
    ("jobname_dup.bad.yml", 7, "scrape_configs[2].job_name"),
    ("keepequal.bad.yml", 4, "scrape_configs[0].relabel_configs[0].target_label"),
    ("keepequal1.bad.yml", 6, "scrape_configs[0].relabel_configs[0].regex"),
    (
        "kubernetes_api_server_with_own_namespace.bad.yml",
        6,
        "scrape_configs[0].kubernetes_sd_configs[0].namespaces",
    ),
    (
        "kubernetes_authorization_basicauth.bad.yml",
        8,
        "scrape_configs[0].kubernetes_sd_configs[0].authorization",
    ),
    (
        "kubernetes_bearertoken_basicauth.bad.yml",
        8,
        "scrape_configs[0].kubernetes_sd_configs[0].bearer_token",
    ),
    (
        "kubernetes_http_config_without_api_server.bad.yml",
        4,
        "scrape_configs[0].kubernetes_sd_configs[0].api_server",
    ),
    (
        "kubernetes_kubeconfig_with_apiserver.bad.yml",
        6,
        "scrape_configs[0].kubernetes_sd_configs[0].kubeconfig_file",
    ),
    (
        "kubernetes_kubeconfig_with_http_config.bad.yml",
        5,
        "scrape_configs[0].kubernetes_sd_configs[0].kubeconfig_file",
    ),
    (
        "kubernetes_namespace_discovery.bad.yml",
        6,
        "scrape_configs[0].kubernetes_sd_configs[0].namespaces.foo",
    ),
    ("kubernetes_role.bad.yml", 4, "scrape_configs[0].kubernetes_sd_configs[0].role"),
    (
        "kubernetes_selectors_duplicated_role.bad.yml",
        9,
        "scrape_configs[0].kubernetes_sd_configs[0].selectors[1]",
    ),
    (
        "kubernetes_selectors_incorrect_selector.bad.yml",
        7,
        "scrape_configs[0].kubernetes_sd_configs[0].selectors[0].field",
    ),
    (
        "kubernetes_selectors_ingress.bad.yml",
        6,
        "scrape_configs[0].kubernetes_sd_configs[0].selectors[0].role",
    ),
    ("kubernetes_selectors_node.bad.yml", 6, "scrape_configs[0].kubernetes_sd_configs[0].selectors[0].role"),
    ("kubernetes_selectors_pod.bad.yml", 9, "scrape_configs[0].kubernetes_sd_configs[0].selectors[1].role"),
    (
        "kubernetes_selectors_service.bad.yml",
        6,
        "scrape_configs[0].kubernetes_sd_configs[0].selectors[0].role",
    ),
    ("labeldrop.bad.yml", 4, "scrape_configs[0].relabel_configs[0].source_labels"),
    ("labeldrop2.bad.yml", 4, "scrape_configs[0].relabel_configs[0].modulus"),
    ("labeldrop4.bad.yml", 4, "scrape_configs[0].relabel_configs[0].replacement"),
    ("labeldrop5.bad.yml", 4, "scrape_configs[0].relabel_configs[0].target_label"),
    ("labelkeep2.bad.yml", 4, "scrape_configs[0].relabel_configs[0].modulus"),
    ("labelkeep5.bad.yml", 4, "scrape_configs[0].relabel_configs[0].target_label"),
    ("labelmap.bad.yml", 5, "scrape_configs[0].relabel_configs[0].replacement"),
    ("lowercase3.bad.yml", 7, "scrape_configs[0].relabel_configs[0].replacement"),
    ("metric_name_validation_scheme.bad.yml", 2, "global.metric_name_validation_scheme"),
    ("modulus_missing.bad.yml", 4, "scrape_configs[0].relabel_configs[0].modulus"),
    ("otlp_allow_utf8.incompatible.yml", 4, "otlp.translation_strategy"),
    ("otlp_ignore_resource_attributes_without_promote_all.bad.yml", 2, "otlp.ignore_resource_attributes"),
    ("otlp_no_translation.incompatible.yml", 4, "otlp.translation_strategy"),
    ("otlp_promote_all_resource_attributes.bad.yml", 3, "otlp.promote_resource_attributes"),
    ("otlp_sanitize_ignore_resource_attributes.bad.yml", 3, "otlp.ignore_resource_attributes[4]"),
    ("otlp_sanitize_promote_resource_attributes.bad.yml", 2, "otlp.promote_resource_attributes[4]"),
    ("oci_authentication_method.bad.yml", 3, "scrape_configs[0].oci_sd_configs[0].auth"),
    ("outscale_no_region.bad.yml", 4, "scrape_configs[0].outscale_sd_configs[0].region"),
    ("outscale_two_secrets.bad.yml", 7, "scrape_configs[0].outscale_sd_configs[0].secret_key_file"),
    ("regex.bad.yml", 4, "scrape_configs[0].relabel_configs[0].regex"),
    ("remote_read_header.bad.yml", 5, "remote_read[0].headers.x-prometheus-remote-write-version"),
    ("remote_read_url_missing.bad.yml", 2, "remote_read[0].url"),
    ("remote_write_authorization_header.bad.yml", 5, "remote_write[0].headers.authorization"),
    ("remote_write_dup.bad.yml", 5, "remote_write[1].name"),
    ("remote_write_queue_capacity_zero.bad.yml", 4, "remote_write[0].queue_config.capacity"),
    ("remote_write_queue_max_backoff_less_than_min.bad.yml", 5, "remote_write[0].queue_config.max_backoff"),
    (
        "remote_write_queue_max_samples_per_send_zero.bad.yml",
        4,
        "remote_write[0].queue_config.max_samples_per_send",
    ),
    ("remote_write_queue_max_shards_zero.bad.yml", 4, "remote_write[0].queue_config.max_shards"),
    ("remote_write_queue_min_shards_greater_than_max.bad.yml", 4, "remote_write[0].queue_config.min_shards"),
    ("remote_write_url_missing.bad.yml", 2, "remote_write[0].url"),
    ("rules.bad.yml", 3, "rule_files[1]"),
    ("scrape_config_files.bad.yml", 4, "scrape_configs[0].scrape_timeout"),
    ("scrape_config_files_duplicate.bad.yml", 2, "scrape_configs[0].job_name"),
    (
        "scrape_config_files_fallback_scrape_protocol2.bad.yml",
        3,
        "scrape_configs[0].fallback_scrape_protocol",
    ),
    ("scrape_config_files_global.bad.yml", 4, "scrape_configs[0].scrape_timeout"),
    ("scrape_config_files_scrape_protocols.bad.yml", 3, "scrape_configs[0].scrape_protocols[0]"),
    ("scrape_config_files_scrape_protocols2.bad.yml", 3, "scrape_configs[0].scrape_protocols[2]"),
    ("scrape_config_utf8_conflicting.bad.yml", 5, "scrape_configs[0].metric_name_validation_scheme"),
    ("scrape_interval.bad.yml", 4, "scrape_configs[0].scrape_timeout"),
    ("section_key_dup.bad.yml", 4, "scrape_configs"),
    ("target_label_hashmod_missing.bad.yml", 4, "scrape_configs[0].relabel_configs[0].target_label"),
    ("target_label_missing.bad.yml", 4, "scrape_configs[0].relabel_configs[0].target_label"),
    ("tracing_invalid_authorization_header.bad.yml", 5, "tracing.headers.authorization"),
    ("tracing_invalid_compression.bad.yml", 4, "tracing.compression"),
    ("tracing_invalid_header.bad.yml", 5, "tracing.headers.x-prometheus-remote-write-version"),
    ("tracing_missing_endpoint.bad.yml", 1, "tracing.endpoint"),
    ("tsdb_chunk_encoding_floats.bad.yml", 4, "storage.tsdb.chunk_encoding.floats"),
    ("tsdb_chunk_encoding_floats_wrong_case_xor2.bad.yml", 4, "storage.tsdb.chunk_encoding.floats"),
    ("tsdb_retention_percentage.bad.yml", 4, "storage.tsdb.retention.percentage"),
    ("tsdb_retention_time.bad.yml", 4, "storage.tsdb.retention.time"),
    ("unknown_attr.bad.yml", 19, "scrape_configs[0].consult_sd_configs"),
    ("unknown_global_attr.bad.yml", 2, "global.nonexistent_field"),
    ("uppercase.bad.yml", 4, "scrape_configs[0].relabel_configs[0].target_label"),
    ("uppercase3.bad.yml", 7, "scrape_configs[0].relabel_configs[0].replacement"),
];

/// Files that the folder holds for others to refer to.
const NOT_CONFIGURATIONS: &[&str] = &["first.rules"];

/// Refused in agent mode only, by the line and the key.
const REFUSED_IN_AGENT_MODE: &[(&str, u32, &str)] = &[
    ("agent_mode.with_alert_manager.yml", 2, "alerting.alertmanagers"),
    ("agent_mode.with_alert_relabels.yml", 2, "alerting.alert_relabel_configs"),
    ("agent_mode.with_remote_reads.yml", 1, "remote_read"),
    ("agent_mode.with_rule_files.yml", 1, "rule_files"),
];

fn files() -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory()).expect("the folder is there");
    let name = |entry: std::fs::DirEntry| entry.file_name().into_string().expect("UTF-8");
    entries.map(|entry| name(entry.expect("readable"))).filter(|name| name != "SOURCE.md").collect()
}

#[test]
fn every_bad_case_is_refused_with_its_key_and_line() {
    for (file, line, key) in REFUSED {
        let errors = load_file(&directory().join(file), false).expect_err(file);
        let named = errors.0.iter().any(|error| error.location.line == *line && error.key == *key);
        assert!(named, "{file} should name line {line} and {key}:\n{errors}");
    }
}

#[test]
fn every_other_case_loads() {
    let refused: BTreeSet<&str> = REFUSED.iter().map(|(file, ..)| *file).collect();
    for file in files() {
        if refused.contains(&*file) || NOT_CONFIGURATIONS.contains(&&*file) {
            continue;
        }
        assert!(!file.contains(".bad."), "{file} is in no list");
        if let Err(errors) = load_file(&directory().join(&file), false) {
            panic!("{file}:\n{errors}");
        }
    }
}

#[test]
fn agent_mode_refuses_what_stores_or_evaluates() {
    for (file, line, key) in REFUSED_IN_AGENT_MODE {
        let errors = load_file(&directory().join(file), true).expect_err(file);
        let named = errors.0.iter().any(|error| error.location.line == *line && error.key == *key);
        assert!(named, "{file} should name line {line} and {key}:\n{errors}");
    }
    for file in
        ["agent_mode.good.yml", "agent_mode.without_remote_writes.yml", "example-prometheus-agent.yml"]
    {
        load_file(&directory().join(file), true).expect(file);
    }
}

#[test]
fn missing_files_are_errors_where_promtool_says_so() {
    let errors = |file: &str| {
        let loaded = load_file(&directory().join(file), false).expect(file);
        let checked = check(&loaded, &Disk);
        checked.errors.iter().map(|error| (error.location.line, error.key.clone())).collect::<Vec<_>>()
    };
    assert_eq!(
        errors("conf.good.yml"),
        [
            (122, "scrape_configs[0].authorization.credentials_file".to_owned()),
            (207, "scrape_configs[3].tls_config.cert_file".to_owned()),
            (208, "scrape_configs[3].tls_config.key_file".to_owned()),
            (219, "scrape_configs[4].kubernetes_sd_configs[0].tls_config.cert_file".to_owned()),
            (220, "scrape_configs[4].kubernetes_sd_configs[0].tls_config.key_file".to_owned()),
        ]
    );
    assert_eq!(
        errors("rules_abs_path.good.yml"),
        [(3, "rule_files[1]".to_owned()), (4, "rule_files[2]".to_owned())]
    );
    assert_eq!(errors("scrape_config_files_only.good.yml"), []);
}
