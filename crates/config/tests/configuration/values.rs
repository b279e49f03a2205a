//! What a configuration means once it is loaded: defaults, inheritance, paths, expansion.

use std::path::PathBuf;
use std::time::Duration;

use outrigger_config::prometheus::{
    Config, DiscoveryConfig, EscapingScheme, Namespaces, RemoteWriteConfig, RemoteWriteMessage, Role,
    ScrapeConfig, ScrapePhase, ScrapeProtocol, check,
};
use outrigger_model::cloud_auth::{
    AwsKeys, AwsRole, AzureAdConfig, AzureCloud, AzureIdentity, CloudAuth, GoogleIamConfig, SigV4Config,
};
use outrigger_model::http::{BasicUsername, HttpAuth, OAuth2Grant, PemSource, TlsVersion};
use outrigger_model::labels::Labels;
use outrigger_model::names::NameValidation;
use outrigger_model::secret::{Secret, SecretSource};

use super::disk::{Memory, load_text, load_text_with};

fn config(text: &str) -> Config {
    load_text(text).unwrap_or_else(|errors| panic!("{text}\n{errors}")).config
}

fn job(text: &str) -> ScrapeConfig {
    (*config(text).scrape_configs[0]).clone()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn an_empty_file_means_the_defaults() {
    for text in ["", "# comment\n", "---\n", "{}\n", "global:\n", "global: {}\nscrape_configs:\n", "null\n"] {
        assert_eq!(config(text), Config::default(), "{text:?}");
    }
}

#[test]
fn a_job_with_only_a_name_has_the_defaults() {
    assert_eq!(job("scrape_configs: [{job_name: a}]\n"), ScrapeConfig::new("a"));
    let remote = config("remote_write: [{url: 'http://r/w', name: r}]\n").remote_write;
    assert_eq!(*remote[0], RemoteWriteConfig::new("r", "http://r/w"));
}

#[test]
fn a_job_inherits_from_global() {
    let text = "
global:
  scrape_interval: 30s
  scrape_timeout: 20s
  body_size_limit: 1MB
  sample_limit: 1
  target_limit: 2
  label_limit: 3
  label_name_length_limit: 4
  label_value_length_limit: 5
  keep_dropped_targets: 6
  extra_scrape_metrics: true
  scrape_protocols: [PrometheusText0.0.4]
  metric_name_validation_scheme: legacy
  scrape_failure_log_file: log/failures
scrape_configs:
- job_name: a
- job_name: b
  scrape_interval: 10s
  body_size_limit: -1B
  sample_limit: 10
  extra_scrape_metrics: false
  scrape_protocols: [OpenMetricsText1.0.0, PrometheusText0.0.4]
  metric_name_validation_scheme: utf8
  scrape_failure_log_file: /var/log/b
";
    let jobs = config(text).scrape_configs;
    let inherited = ScrapeConfig {
        scrape_interval: seconds(30),
        scrape_timeout: seconds(20),
        body_size_limit: 1 << 20,
        sample_limit: 1,
        target_limit: 2,
        label_limit: 3,
        label_name_length_limit: 4,
        label_value_length_limit: 5,
        keep_dropped_targets: 6,
        extra_scrape_metrics: true,
        scrape_protocols: vec![ScrapeProtocol::PrometheusText004],
        metric_name_validation: NameValidation::Legacy,
        metric_name_escaping: EscapingScheme::Underscores,
        scrape_failure_log_file: Some(PathBuf::from("/etc/p/log/failures")),
        ..ScrapeConfig::new("a")
    };
    assert_eq!(*jobs[0], inherited);
    let own = ScrapeConfig {
        job_name: "b".into(),
        scrape_interval: seconds(10),
        scrape_timeout: seconds(10),
        body_size_limit: 0,
        sample_limit: 10,
        extra_scrape_metrics: false,
        scrape_protocols: vec![ScrapeProtocol::OpenMetricsText100, ScrapeProtocol::PrometheusText004],
        metric_name_validation: NameValidation::Utf8,
        metric_name_escaping: EscapingScheme::AllowUtf8,
        scrape_failure_log_file: Some(PathBuf::from("/var/log/b")),
        ..inherited
    };
    assert_eq!(*jobs[1], own);
}

#[test]
fn the_timeout_follows_the_interval() {
    for (global, own, expected) in [
        ("", "", (60, 10)),
        ("scrape_interval: 5s", "", (5, 5)),
        ("", "scrape_interval: 5s", (5, 5)),
        ("scrape_interval: 2m, scrape_timeout: 1m", "scrape_interval: 15s", (15, 15)),
        ("scrape_interval: 2m, scrape_timeout: 1m", "scrape_timeout: 2m", (120, 120)),
        ("scrape_timeout: 0s, scrape_interval: 0s", "scrape_interval: 0s", (60, 10)),
    ] {
        let text = format!("global: {{{global}}}\nscrape_configs: [{{job_name: a, {own}}}]\n");
        let job = job(&text);
        assert_eq!(
            (job.scrape_interval, job.scrape_timeout),
            (seconds(expected.0), seconds(expected.1)),
            "{text}"
        );
    }
}

#[test]
fn null_is_the_zero_value_and_not_the_default() {
    let text = "
scrape_configs:
- job_name: a
  honor_timestamps:
  enable_compression: ~
  follow_redirects: null
  metrics_path:
  scrape_interval:
  sample_limit:
  params:
  relabel_configs:
  static_configs:
  basic_auth:
  relabel_configs:
  - {source_labels: [x], target_label: y, replacement: , separator: }
";
    let text = text.replacen("  relabel_configs:\n", "", 1);
    let job = job(&text);
    assert!(!job.honor_timestamps && !job.enable_compression && !job.http.follow_redirects);
    assert_eq!((job.metrics_path.as_str(), job.scrape_interval, job.sample_limit), ("", seconds(60), 0));
    assert_eq!((job.http.auth, job.discovery.len()), (None, 0));
    let raw = job.relabel[0].raw();
    assert_eq!(
        (raw.replacement.as_deref(), raw.separator.as_deref(), &raw.regex),
        (Some(""), Some(""), &None)
    );
}

#[test]
fn text_is_kept_as_it_is_written() {
    let text = "
global:
  external_labels: {version: 1.10, shard: 007, on: yes, none: ~, date: 2020-01-01}
scrape_configs:
- job_name: 12
  params: {a: [1.0, yes], b: []}
  static_configs: [{targets: [1, 'h:2'], labels: {n: 0x10}}]
";
    let config = config(text);
    let expected = [("version", "1.10"), ("shard", "007"), ("on", "yes"), ("date", "2020-01-01")];
    assert_eq!(config.global.external_labels, Labels::from_pairs(expected));
    let job = &config.scrape_configs[0];
    assert_eq!(&*job.job_name, "12");
    let params = [("a".to_owned(), vec!["1.0".to_owned(), "yes".to_owned()]), ("b".to_owned(), vec![])];
    assert_eq!(job.params, params);
    let DiscoveryConfig::Static(groups) = &job.discovery[0] else { panic!("{:?}", job.discovery) };
    assert_eq!(groups[0].labels, Labels::from_pairs([("n", "0x10")]));
    assert_eq!(groups[0].targets[0], Labels::from_pairs([("__address__", "1")]));
}

#[test]
fn external_labels_take_environment_variables() {
    let text =
        "global: {external_labels: {pod: '${POD}', price: '$$5', gone: 'a${NONE}b', both: $POD-$POD}}\n";
    let loaded = load_text(text).expect("valid");
    let expected = [("pod", "pod-1"), ("price", "$5"), ("gone", "ab"), ("both", "pod-1-pod-1")];
    assert_eq!(loaded.config.global.external_labels, Labels::from_pairs(expected));
    assert_eq!(loaded.notices.len(), 1, "{:?}", loaded.notices);
    assert!(loaded.notices[0].to_string().contains("\"NONE\" is not set"), "{}", loaded.notices[0]);
}

#[test]
fn numbers_convert_as_go_yaml_converts_them() {
    for (text, expected) in
        [("1_000", 1000), ("0x10", 16), ("010", 8), ("1e3", 1000), ("2.9", 2), ("+5", 5), ("!!int \"7\"", 7)]
    {
        let text = format!("scrape_configs: [{{job_name: a, sample_limit: {text}}}]\n");
        assert_eq!(job(&text).sample_limit, expected, "{text}");
    }
}

#[test]
fn anchors_and_merges_work() {
    let text = "
scrape_configs:
- &base
  job_name: a
  scrape_interval: 30s
  metrics_path: /a
- <<: *base
  job_name: b
- job_name: lost
  metrics_path: /c
  <<: [{job_name: c}, *base]
";
    let jobs = config(text).scrape_configs;
    let seen: Vec<_> =
        jobs.iter().map(|job| (&*job.job_name, job.metrics_path.as_str(), job.scrape_interval)).collect();
    assert_eq!(seen, [("a", "/a", seconds(30)), ("b", "/a", seconds(30)), ("c", "/a", seconds(30))]);
}

#[test]
fn paths_are_joined_to_the_directory() {
    let text = "
rule_files: [a.rules, /b/*.rules, ../c.rules]
scrape_configs:
- job_name: a
  authorization: {credentials_file: token}
  tls_config: {ca_file: /abs/ca, cert_file: cert, key_file: ./key}
  file_sd_configs: [{files: ['t/*.yml', /x.json], refresh_interval: 10s}]
  kubernetes_sd_configs: [{role: pod, kubeconfig_file: kube/config}]
";
    let loaded = load_text(text).expect("valid");
    assert_eq!(loaded.config.rule_files, ["/etc/p/a.rules", "/b/*.rules", "/etc/c.rules"]);
    let job = &loaded.config.scrape_configs[0];
    let file = |path: &str| SecretSource::File(PathBuf::from(path));
    assert_eq!(
        job.http.auth,
        Some(HttpAuth::Authorization {
            scheme: "Bearer".to_owned(),
            credentials: Some(file("/etc/p/token"))
        })
    );
    assert_eq!(job.http.tls.ca, Some(PemSource::File("/abs/ca".into())));
    assert_eq!(job.http.tls.key, Some(file("/etc/p/key")));
    let DiscoveryConfig::File(file_sd) = &job.discovery[0] else { panic!("{:?}", job.discovery) };
    assert_eq!(
        (&file_sd.files[..], file_sd.refresh_interval),
        (&["/etc/p/t/*.yml".to_owned(), "/x.json".to_owned()][..], seconds(10))
    );
    let DiscoveryConfig::Kubernetes(kubernetes) = &job.discovery[1] else { panic!("{:?}", job.discovery) };
    assert_eq!(kubernetes.kubeconfig_file, Some("/etc/p/kube/config".into()));
    let keys: Vec<&str> = loaded.referenced_files.iter().map(|file| &*file.path).collect();
    for path in ["/etc/p/token", "/abs/ca", "/etc/p/t/*.yml", "/etc/p/a.rules", "/etc/p/kube/config"] {
        assert!(keys.contains(&path), "{path} in {keys:?}");
    }
}

#[test]
fn every_way_to_authenticate_is_read() {
    let inline = |text: &str| Some(SecretSource::Inline(Secret::new(text)));
    let auth = |keys: &str| job(&format!("scrape_configs: [{{job_name: a, {keys}}}]\n")).http.auth;
    assert_eq!(
        auth("basic_auth: {username: u, password: p}"),
        Some(HttpAuth::Basic { username: BasicUsername::Inline("u".to_owned()), password: inline("p") })
    );
    assert_eq!(
        auth("basic_auth: {username_file: u, password_file: p}"),
        Some(HttpAuth::Basic {
            username: BasicUsername::File("/etc/p/u".into()),
            password: Some(SecretSource::File("/etc/p/p".into())),
        })
    );
    assert_eq!(
        auth("authorization: {type: ' Token ', credentials: 42}"),
        Some(HttpAuth::Authorization { scheme: "Token".to_owned(), credentials: inline("42") })
    );
    assert_eq!(
        auth("bearer_token: x"),
        Some(HttpAuth::Authorization { scheme: "Bearer".to_owned(), credentials: inline("x") })
    );
    assert_eq!(
        auth("authorization: {}"),
        Some(HttpAuth::Authorization { scheme: "Bearer".to_owned(), credentials: None })
    );
    let oauth2 = auth(
        "oauth2: {client_id: i, client_secret: s, token_url: 'http://t/', scopes: [a, b], endpoint_params: {k: v}}",
    );
    let Some(HttpAuth::OAuth2(oauth2)) = oauth2 else { panic!("{oauth2:?}") };
    assert_eq!(oauth2.grant, OAuth2Grant::ClientSecret(inline("s")));
    assert_eq!((oauth2.scopes.len(), oauth2.endpoint_params.len()), (2, 1));
    let jwt = auth(
        "oauth2: {client_id: i, token_url: 't', grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', client_certificate_key: k, claims: {n: 1, l: [a, true]}}",
    );
    let Some(HttpAuth::OAuth2(jwt)) = jwt else { panic!("{jwt:?}") };
    let OAuth2Grant::JwtBearer { key, algorithm, claims, .. } = jwt.grant else { panic!("{:?}", jwt.grant) };
    assert_eq!((key, &*algorithm), (inline("k"), "RS256"));
    assert_eq!(claims.as_deref(), Some(r#"{"l":["a",true],"n":1}"#));
}

#[test]
fn tls_proxy_and_headers_are_read() {
    let text = "
scrape_configs:
- job_name: a
  tls_config: {min_version: TLS12, max_version: TLS13, server_name: s, insecure_skip_verify: true}
  proxy_url: http://proxy:3128
  no_proxy: 10.0.0.0/8,.local
  proxy_connect_header: {X-A: [s1, s2]}
  http_headers:
    X-B: {values: [v], secrets: [s], files: [f]}
  enable_http2: false
";
    let http = job(text).http;
    assert_eq!(
        (http.tls.min_version, http.tls.max_version),
        (Some(TlsVersion::Tls12), Some(TlsVersion::Tls13))
    );
    assert_eq!((http.tls.server_name.as_deref(), http.tls.insecure_skip_verify), (Some("s"), true));
    assert_eq!(http.proxy.url, Some(Secret::new("http://proxy:3128")));
    assert_eq!(http.proxy.no_proxy.as_deref(), Some("10.0.0.0/8,.local"));
    assert_eq!(http.proxy.connect_headers[0].1.len(), 2);
    assert!(!http.enable_http2);
    let inline = |text: &str| SecretSource::Inline(Secret::new(text));
    assert_eq!(http.headers[0].values, [inline("v"), inline("s"), SecretSource::File("/etc/p/f".into())]);
}

#[test]
fn kubernetes_discovery_is_read() {
    let text = "
scrape_configs:
- job_name: a
  kubernetes_sd_configs:
  - role: endpointslice
    api_server: https://10.0.0.1:6443
    tls_config: {ca: pem}
    namespaces: {names: [a, b]}
    selectors:
    - {role: pod, label: 'app in (x,y)', field: spec.nodeName=n1}
    - {role: service, label: '!internal'}
    attach_metadata: {node: true, cronjob: yes}
";
    let job = job(text);
    let DiscoveryConfig::Kubernetes(kubernetes) = &job.discovery[0] else { panic!("{:?}", job.discovery) };
    assert_eq!(kubernetes.role, Role::EndpointSlice);
    assert_eq!(kubernetes.api_server.as_deref(), Some("https://10.0.0.1:6443"));
    let names = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(kubernetes.namespaces, Namespaces { own_namespace: false, names });
    let shown: Vec<_> = kubernetes
        .selectors
        .iter()
        .map(|selector| (selector.role, selector.label.to_string(), selector.field.to_string()))
        .collect();
    assert_eq!(
        shown,
        [
            (Role::Pod, "app in (x,y)".to_owned(), "spec.nodeName=n1".to_owned()),
            (Role::Service, "!internal".to_owned(), String::new()),
        ]
    );
    let attach = kubernetes.attach_metadata;
    assert!(attach.node && attach.cronjob && !attach.namespace && !attach.job && !attach.deployment);
}

#[test]
fn remote_write_is_read() {
    let text = "
remote_write:
- url: http://a/w
  protobuf_message: io.prometheus.write.v2.Request
  headers: {X-Scope: t}
  queue_config: {capacity: 5, min_backoff: 0s, retry_on_http_429: true, sample_age_limit: 1h}
  metadata_config: {send: false}
- url: http://a/w
- url: http://a/w
";
    let remotes = config(text).remote_write;
    assert_eq!(remotes[0].protobuf_message, Some(RemoteWriteMessage::V2));
    assert_eq!(remotes[1].protobuf_message, None);
    assert_eq!(remotes[0].headers, [("X-Scope".to_owned(), "t".to_owned())]);
    let queue = &remotes[0].queue;
    assert_eq!((queue.capacity, queue.max_shards, queue.min_backoff), (5, 50, Duration::ZERO));
    assert!(queue.retry_on_http_429 && !remotes[0].metadata.send);
    assert_eq!(queue.sample_age_limit, seconds(3600));
    let names: std::collections::BTreeSet<_> = remotes.iter().map(|remote| &remote.name).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    let again = config(text).remote_write;
    assert!(again.iter().zip(&remotes).all(|(a, b)| a.name == b.name));
}

#[test]
fn our_own_section_is_read() {
    let text = "
outrigger:
  cluster_name: prod-1
  kubernetes: {kubeconfig: kube/config, context: admin}
  request_budget: {requests_per_second: 2.5, burst: 5}
  limits: {remote_write_queue_bytes: 1GiB, max_body_bytes: 10MB}
";
    let outrigger = config(text).outrigger;
    assert_eq!(outrigger.cluster_name, "prod-1");
    let kubernetes = outrigger.kubernetes.expect("set");
    assert_eq!(kubernetes.kubeconfig, Some("/etc/p/kube/config".into()));
    assert_eq!(kubernetes.context.as_deref(), Some("admin"));
    assert_eq!((outrigger.request_budget.requests_per_second, outrigger.request_budget.burst), (2.5, 5));
    assert_eq!(
        (outrigger.limits.remote_write_queue_bytes, outrigger.limits.max_body_bytes),
        (1 << 30, 10 << 20)
    );
}

#[test]
fn scrape_config_files_are_merged_in_with_their_own_directory() {
    let files = Memory(
        [
            ("/etc/p/more/a.yml", "scrape_configs: [{job_name: a, bearer_token_file: t}]\n"),
            ("/etc/p/more/b.yml", "scrape_configs: [{job_name: b, scrape_interval: 5s}]\n"),
            ("/etc/p/more/c.txt", "not: ours\n"),
        ]
        .into(),
    );
    let text = "global: {sample_limit: 9}\nscrape_config_files: ['more/*.yml']\nscrape_configs: [{job_name: main}]\n";
    let loaded = load_text_with(text, &files).expect("valid");
    let names: Vec<&str> = loaded.config.scrape_configs.iter().map(|job| &*job.job_name).collect();
    assert_eq!(names, ["main", "a", "b"]);
    assert!(loaded.config.scrape_configs.iter().all(|job| job.sample_limit == 9));
    assert!(loaded.referenced_files.iter().any(|file| file.path == "/etc/p/more/t"));
}

#[test]
fn targets_are_checked_as_promtool_checks_them() {
    let files = Memory(
        [
            ("/etc/p/good.yml", "- targets: [a:1]\n"),
            ("/etc/p/url.json", r#"[{"targets": ["http://a:1"]}]"#),
            ("/etc/p/broken.yml", "- targets: {}\n"),
        ]
        .into(),
    );
    let slow = "labels: {__scrape_timeout__: 2m}";
    for (discovery, relabel, expected) in [
        ("static_configs: [{targets: [a]}]", "[]", ""),
        ("static_configs: [{targets: ['']}]", "[]", "no address"),
        ("static_configs: [{targets: [http://a]}]", "[{target_label: x, replacement: y}]", "not a host name"),
        (
            "static_configs: [{targets: [http://a]}]",
            "[{source_labels: [__address__], regex: 'http://(.*)', target_label: __address__}]",
            "",
        ),
        ("static_configs: [{targets: [a]}]", "[{action: labeldrop, regex: __address__}]", "no address"),
        ("static_configs: [{targets: [a], labels: {__scrape_interval__: x}}]", "[]", "not a duration"),
        (&format!("static_configs: [{{targets: [a], {slow}}}]"), "[]", "greater than its scrape interval"),
        (&format!("static_configs: [{{targets: [a], {slow}}}]"), "[{action: drop}]", ""),
        ("file_sd_configs: [{files: [good.yml]}]", "[]", ""),
        ("file_sd_configs: [{files: [none.yml]}]", "[]", ""),
        ("file_sd_configs: [{files: ['*.json']}]", "[]", "in \"/etc/p/url.json\""),
        ("file_sd_configs: [{files: [broken.yml]}]", "[]", "a list is expected"),
    ] {
        let text = format!("scrape_configs:\n- job_name: a\n  relabel_configs: {relabel}\n  {discovery}\n");
        let loaded = load_text_with(&text, &files).unwrap_or_else(|errors| panic!("{text}{errors}"));
        let checked = check(&loaded, &files);
        let shown = checked.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert_eq!(shown.is_empty(), expected.is_empty(), "{text}{shown}");
        assert!(shown.contains(expected), "{text}{shown}");
    }
}

#[test]
fn keys_of_vmagent_mean_what_they_mean_there() {
    use ScrapePhase::{Aligned, Offset, Spread};
    for (keys, phase) in [
        ("", Spread),
        ("scrape_align_interval: 1h", Aligned(seconds(3_600))),
        ("scrape_align_interval: 0s", Spread),
        ("scrape_align_interval:", Spread),
        ("scrape_offset: 10s", Offset(seconds(10))),
        ("scrape_offset: 0s", Offset(seconds(0))),
        ("scrape_offset:", Spread),
        ("scrape_offset: 5s, scrape_align_interval: 0s", Offset(seconds(5))),
    ] {
        assert_eq!(job(&format!("scrape_configs: [{{job_name: a, {keys}}}]\n")).phase, phase, "{keys}");
    }
    let text = "scrape_configs: [{job_name: a, series_limit: 500, job_series_limit: 9000, no_stale_markers: true, \
                disable_keepalive: true, disable_compression: true, stream_parse: true, max_scrape_size: 16MB}]\n";
    let expected = ScrapeConfig {
        series_limit: 500,
        job_series_limit: 9_000,
        no_stale_markers: true,
        disable_keepalive: true,
        enable_compression: false,
        body_size_limit: (16 << 20) + 1,
        ..ScrapeConfig::new("a")
    };
    assert_eq!(job(text), expected);
    let text = "global: {body_size_limit: 1MB}\nscrape_configs: [{job_name: a, max_scrape_size: 0, disable_compression: false, \
                enable_compression: true}]\n";
    assert_eq!(job(text), ScrapeConfig { body_size_limit: 1 << 20, ..ScrapeConfig::new("a") });
}

#[test]
fn the_ways_of_the_clouds_are_read_whole() {
    let auth = |keys: &str| {
        let config = config(&format!("remote_write: [{{url: 'http://h', {keys}}}]\n"));
        match config.remote_write[0].http.auth.clone() {
            Some(HttpAuth::Cloud(auth)) => *auth,
            other => panic!("{keys}: {other:?}"),
        }
    };
    let keys = "sigv4: {region: r, access_key: a, secret_key: s, profile: p, role_arn: arn, external_id: e, \
                session_name: me, tags: {k: v}, service_name: n, use_fips_sts_endpoint: true}";
    let expected = SigV4Config {
        region: Some("r".to_owned()),
        keys: Some(AwsKeys { access_key: "a".to_owned(), secret_key: Secret::new("s") }),
        profile: Some("p".to_owned()),
        role: Some(AwsRole {
            arn: "arn".to_owned(),
            external_id: Some("e".to_owned()),
            session_name: Some("me".to_owned()),
            tags: vec![("k".to_owned(), "v".to_owned())],
        }),
        service: Some("n".to_owned()),
        fips_sts: true,
    };
    assert_eq!(auth(keys), CloudAuth::SigV4(expected));
    assert_eq!(auth("sigv4: {}"), CloudAuth::SigV4(SigV4Config::default()));

    let id = "00000000-0000-0000-0000-000000000001";
    let owned = str::to_owned;
    for (keys, cloud, scope, identity) in [
        (
            format!("cloud: AzureChina, oauth: {{client_id: {id}, client_secret: s, tenant_id: t}}"),
            AzureCloud::China,
            None,
            AzureIdentity::Secret { client_id: owned(id), tenant_id: owned("t"), secret: Secret::new("s") },
        ),
        (
            format!("scope: 'https://x/.default', managed_identity: {{client_id: {id}}}"),
            AzureCloud::Public,
            Some("https://x/.default"),
            AzureIdentity::Managed { client_id: Some(owned(id)) },
        ),
        (
            "managed_identity: {}".to_owned(),
            AzureCloud::Public,
            None,
            AzureIdentity::Managed { client_id: None },
        ),
        (
            format!("workload_identity: {{client_id: {id}, tenant_id: {id}, token_file_path: /t}}"),
            AzureCloud::Public,
            None,
            AzureIdentity::Workload {
                client_id: owned(id),
                tenant_id: owned(id),
                token_file: Some(SecretSource::File("/t".into())),
            },
        ),
        (
            "sdk: {tenant_id: t}".to_owned(),
            AzureCloud::Public,
            None,
            AzureIdentity::Default { tenant_id: Some(owned("t")) },
        ),
        (
            format!(
                "certificate: {{client_id: {id}, tenant_id: t, certificate_path: c.pem, send_certificate_chain: true}}"
            ),
            AzureCloud::Public,
            None,
            AzureIdentity::Certificate {
                client_id: owned(id),
                tenant_id: owned("t"),
                certificate: SecretSource::File("/etc/p/c.pem".into()),
                key: None,
                password: None,
                send_chain: true,
            },
        ),
    ] {
        let expected = AzureAdConfig { cloud, scope: scope.map(owned), identity };
        assert_eq!(auth(&format!("azuread: {{{keys}}}")), CloudAuth::AzureAd(expected));
    }
    let expected = GoogleIamConfig { credentials_file: Some(SecretSource::File("/etc/p/g.json".into())) };
    assert_eq!(auth("google_iam: {credentials_file: g.json}"), CloudAuth::GoogleIam(expected));
}

#[test]
fn what_tells_processes_of_one_file_apart_comes_from_the_environment() {
    let text = "
outrigger:
  centre: {name: 'm-$POD', advertise: 'https://${POD}.masters.example:9441'}
  worker: {name: '${POD}', zone: '${ZONE}', advertise: 'http://${POD_IP}:9440', masters: ['https://10.0.0.5:9441']}
";
    let outrigger = config(text).outrigger;
    let (centre, worker) = (outrigger.centre.expect("there"), outrigger.worker.expect("there"));
    assert_eq!((&*centre.name, &*centre.advertise), ("m-pod-1", "https://pod-1.masters.example:9441"));
    assert_eq!((&*worker.name, &*worker.zone, &*worker.advertise), ("pod-1", "", "http://[fd00::7]:9440"));
    let bracketed = text.replace("${POD_IP}:", "[${POD_IP}]:");
    assert_eq!(config(&bracketed).outrigger.worker.expect("there").advertise, "http://[fd00::7]:9440");
    for (text, part) in [
        (
            "{worker: {name: '${HOST}', masters: ['http://m:1']}}",
            "the environment variable \"HOST\" is not set",
        ),
        ("{centre: {advertise: 'https://${POD}/path'}}", "is not where a server is"),
        ("{centre: {advertise: 'https://$HOST:9441'}}", "the environment variable \"HOST\" is not set"),
    ] {
        let errors = load_text(&format!("outrigger: {text}")).expect_err(text).to_string();
        assert!(errors.contains(part), "{text}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}

#[test]
fn state_metrics_have_defaults_and_limits() {
    let config = |text: &str| load_text(&format!("outrigger:\n  state_metrics: {text}\n"));
    let read =
        config("{}").expect("all of it is optional").config.outrigger.state_metrics.expect("a section");
    assert_eq!((read.cluster, read.config_file, read.push), (None, None, None));
    let read =
        config("{cluster: a, push: {}}").expect("valid").config.outrigger.state_metrics.expect("a section");
    let push = read.push.expect("a section");
    assert_eq!((push.interval, push.refresh_interval), (Duration::from_secs(30), Duration::from_secs(240)));
    assert_eq!((&*push.job, push.changes_only), ("kube-state-metrics", false));
    for (text, key) in [
        ("{push: {interval: 100ms}}", "interval"),
        ("{push: {refresh_interval: 5m}}", "refresh_interval"),
        ("{push: {changes: true}}", "changes"),
        ("{resources: [pods]}", "resources"),
    ] {
        let errors = config(text).expect_err("refused").to_string();
        assert!(errors.contains("outrigger.state_metrics") && errors.contains(key), "{text}: {errors}");
    }
}
