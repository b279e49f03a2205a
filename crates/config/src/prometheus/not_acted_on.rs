//! Keys that Prometheus accepts and Outrigger does not act on: one table, from which a row goes when its part is
//! built. A default value never matches a row.

use super::other_discovery;
use crate::error::{Notice, Severity};
use crate::selector::FieldSelector;
use crate::yaml::walk::Cursor;
use crate::yaml::{Node, Value, scalar::Resolved};

use Severity::{RefuseToRun, WarnOnce};

/// Where a row's key stands.
enum At {
    /// In an entry of `kubernetes_sd_configs`.
    KubernetesSd(&'static str),
    /// In a remote-write configuration.
    RemoteWrite(&'static str),
    /// Anywhere below a scrape or remote-write configuration, in a mapping of this name.
    Within(&'static str, &'static str),
    /// In `global`.
    Global(&'static str),
    /// At the top level.
    Top(&'static str),
}

/// A key, when its value matters, what follows, and why.
struct Row(At, fn(&Node) -> bool, Severity, &'static str);

const SECRET_REF: &str = "there is no secret manager; write the secret inline or in a file";

const ROWS: &[Row] = &[
    Row(
        At::KubernetesSd("selectors"),
        has_unknown_field,
        WarnOnce,
        "a field selector names a field by which the API server cannot select objects of that role, so it finds none",
    ),
    Row(At::RemoteWrite("url"), has_no_host, RefuseToRun, "the URL has no host to send to"),
    Row(
        At::RemoteWrite("failed_request_logging"),
        is_true,
        WarnOnce,
        "failed requests are logged without their body",
    ),
    Row(
        At::RemoteWrite("convert_nhcb_to_classic"),
        is_true,
        RefuseToRun,
        "histograms with custom buckets are sent as native ones; leave out convert_classic_histograms_to_nhcb instead",
    ),
    Row(
        At::Within("queue_config", "capacity"),
        is_set,
        WarnOnce,
        "the queue is bounded in bytes: outrigger.limits.remote_write_queue_bytes",
    ),
    Row(
        At::Within("queue_config", "retry_on_http_429"),
        is_false,
        WarnOnce,
        "a 429 is always retried, so that a quota costs no samples",
    ),
    Row(At::Within("basic_auth", "username_ref"), is_set, RefuseToRun, SECRET_REF),
    Row(At::Within("basic_auth", "password_ref"), is_set, RefuseToRun, SECRET_REF),
    Row(At::Within("authorization", "credentials_ref"), is_set, RefuseToRun, SECRET_REF),
    Row(At::Within("oauth2", "client_secret_ref"), is_set, RefuseToRun, SECRET_REF),
    Row(At::Within("oauth2", "client_certificate_key_ref"), is_set, RefuseToRun, SECRET_REF),
    Row(At::Within("tls_config", "ca_ref"), is_set, RefuseToRun, SECRET_REF),
    Row(At::Within("tls_config", "cert_ref"), is_set, RefuseToRun, SECRET_REF),
    Row(At::Within("tls_config", "key_ref"), is_set, RefuseToRun, SECRET_REF),
    Row(At::Global("query_log_file"), is_set, WarnOnce, "there are no queries to log"),
    Row(At::Global("query_max_series"), is_set, WarnOnce, "there are no queries to limit"),
    Row(At::Global("query_max_samples_read"), is_set, WarnOnce, "there are no queries to limit"),
    Row(At::Global("query_max_duration"), is_set, WarnOnce, "there are no queries to limit"),
    Row(At::Top("rule_files"), is_set, WarnOnce, "rules are not evaluated yet"),
    Row(At::Top("alerting"), is_set, WarnOnce, "alerts are not sent yet"),
    Row(At::Top("storage"), is_set, WarnOnce, "there is no local storage; samples go to remote_write"),
    Row(At::Top("tracing"), is_set, WarnOnce, "traces are not sent"),
    Row(At::Top("remote_read"), is_set, WarnOnce, "nothing is read back from remote storage"),
    Row(At::Top("otlp"), is_set, WarnOnce, "OTLP is not received"),
    Row(At::Top("runtime"), is_set, WarnOnce, "it tunes the Go runtime of Prometheus"),
];

fn resolved(node: &Node) -> Resolved {
    match &node.value {
        Value::Scalar(scalar) => scalar.resolve(),
        Value::Sequence(_) | Value::Mapping(_) => Resolved::Null,
    }
}

fn is_true(node: &Node) -> bool {
    resolved(node) == Resolved::Bool(true)
}

fn is_false(node: &Node) -> bool {
    resolved(node) == Resolved::Bool(false)
}

/// Neither null, nor empty, nor zero.
fn is_set(node: &Node) -> bool {
    match &node.value {
        Value::Sequence(items) => !items.is_empty(),
        Value::Mapping(entries) => entries.iter().any(|entry| is_set(&entry.value)),
        Value::Scalar(scalar) => !(scalar.is_null() || matches!(scalar.text(), "" | "0" | "0s")),
    }
}

fn has_no_host(node: &Node) -> bool {
    node.text().and_then(|url| crate::go_url::parse(url).ok()).is_some_and(|url| url.host.is_empty())
}

/// Fields by which the API server selects objects of a role.
fn known_fields(role: &str) -> &'static [&'static str] {
    match role {
        "pod" => &[
            "metadata.name",
            "metadata.namespace",
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        "node" => &["metadata.name", "spec.unschedulable"],
        "service" => &["metadata.name", "metadata.namespace", "spec.clusterIP", "spec.type"],
        _ => &["metadata.name", "metadata.namespace"],
    }
}

fn has_unknown_field(selectors: &Node) -> bool {
    let Value::Sequence(items) = &selectors.value else { return false };
    items.iter().any(|selector| {
        let text = |key| selector.get(key).and_then(Node::text).unwrap_or("");
        let known = known_fields(text("role"));
        let parsed = FieldSelector::parse(text("field")).unwrap_or_default();
        parsed.terms().iter().any(|term| !known.contains(&&*term.field))
    })
}

/// Finds what stands in the main file, whose root this is.
pub(super) fn in_main_file(root: &Cursor<'_>, found: &mut Vec<Notice>) {
    let global = root.peek("global");
    for Row(at, matters, severity, reason) in ROWS {
        let value = match at {
            At::Global(key) => global.as_ref().and_then(|global| global.peek(key)),
            At::Top(key) => root.peek(key),
            _ => None,
        };
        report(value, *matters, *severity, reason, found);
    }
    for remote in list(root, "remote_write") {
        for Row(at, matters, severity, reason) in ROWS {
            if let At::RemoteWrite(key) = at {
                report(remote.peek(key), *matters, *severity, reason, found);
            }
        }
        within(&remote, found);
    }
    in_scrape_configs(root, found);
}

/// Finds what stands in the scrape configurations of a file, whose root this is.
pub(super) fn in_scrape_configs(root: &Cursor<'_>, found: &mut Vec<Notice>) {
    for job in list(root, "scrape_configs") {
        for Row(at, matters, severity, reason) in ROWS {
            if let At::KubernetesSd(key) = at {
                for discovery in list(&job, "kubernetes_sd_configs") {
                    report(discovery.peek(key), *matters, *severity, reason, found);
                }
            }
        }
        for kind in other_discovery::keys() {
            let reason =
                "this kind of discovery is not supported yet; use static, file, http or kubernetes discovery";
            report(job.peek(kind), is_set_list, RefuseToRun, reason, found);
        }
        within(&job, found);
    }
}

fn is_set_list(node: &Node) -> bool {
    matches!(&node.value, Value::Sequence(items) if !items.is_empty())
}

fn list<'a>(root: &Cursor<'a>, key: &str) -> Vec<Cursor<'a>> {
    let items = root.peek(key).map(|list| list.children()).unwrap_or_default();
    items.into_iter().map(|(_, item)| item).collect()
}

fn report(
    value: Option<Cursor<'_>>,
    matters: fn(&Node) -> bool,
    severity: Severity,
    reason: &str,
    found: &mut Vec<Notice>,
) {
    let Some(value) = value.filter(|value| matters(value.node())) else { return };
    let notice = Notice { location: value.location(), key: value.key(), severity, reason: reason.to_owned() };
    if !found.contains(&notice) {
        found.push(notice);
    }
}

/// Finds keys that may stand at several depths.
fn within(value: &Cursor<'_>, found: &mut Vec<Notice>) {
    for (name, child) in value.children() {
        for Row(at, matters, severity, reason) in ROWS {
            if let At::Within(mapping, key) = at
                && name == Some(mapping)
            {
                report(child.peek(key), *matters, *severity, reason, found);
            }
        }
        within(&child, found);
    }
}
