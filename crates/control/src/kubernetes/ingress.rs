//! Role `ingress` (Prometheus `discovery/kubernetes/ingress.go`).

use outrigger_mirror::{IngressView, Mirror};

use super::{GroupWriter, RoleView};

impl RoleView {
    pub(super) fn write_ingress(&self, mirror: &Mirror, ingress: IngressView<'_>, writer: &mut GroupWriter) {
        if !self.selection.has_namespace(ingress.namespace()) || !self.selection.has_ingress(ingress) {
            return;
        }
        let group = &mut writer.group;
        group.set("namespace", ingress.namespace());
        group.set("ingress_class_name", ingress.class_name());
        group.object("ingress", ingress.name(), ingress.labels(), ingress.annotations());
        if self.attach.namespace {
            group.attach_namespace(mirror, ingress.namespace());
        }
        for rule in ingress.rules() {
            let encrypted = ingress.tls_hosts().any(|pattern| matches_host(pattern, rule.host));
            let scheme = if encrypted { "https" } else { "http" };
            // A rule without HTTP paths stands for everything.
            let whole_host = (!rule.has_http).then_some("");
            for path in whole_host.into_iter().chain(rule.paths()) {
                let target = &mut writer.target;
                target.address(rule.host);
                target.set("ingress_scheme", scheme);
                target.set("ingress_host", rule.host);
                target.set("ingress_path", if path.is_empty() { "/" } else { path });
                writer.push_target();
            }
        }
    }
}

/// Whether a host is the pattern, or differs from it only in the first part, for which the pattern has `*`.
fn matches_host(pattern: &str, host: &str) -> bool {
    if pattern == host {
        return true;
    }
    match (pattern.split_once('.'), host.split_once('.')) {
        (Some(("*", pattern)), Some((_, host))) => pattern == host,
        _ => pattern == "*" && !host.contains('.'),
    }
}
