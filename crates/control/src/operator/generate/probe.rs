//! The entry of a Probe.

use super::http::{authorization_with_class, safe_tls_with_class};
use super::{Entry, Generator, Rules, class_rules, copy, first_rule, selector_rules, set};
use crate::operator::resource::{MonitorKind, Object, ProbeIngress, ProbeSpec, ProbeStatic};
use crate::operator::yaml::{Map, Yaml};

impl Generator<'_> {
    pub(super) fn probe(&self, object: &Object<ProbeSpec>) -> Entry {
        let (spec, metadata) = (&object.spec, &object.metadata);
        let class = self.class(&spec.common);
        let job = format!("probe/{}/{}", metadata.namespace, metadata.name);
        let mut map = Map::new().with("job_name", &job);
        self.honor_timestamps(&mut map, Some(true));
        // An empty path is Prometheus' own default.
        map.put_text("metrics_path", &spec.prober.path);
        self.times(&mut map, &spec.interval, &spec.scrape_timeout);
        map.put_text("scheme", &spec.prober.scheme.to_lowercase());
        let params = params(spec);
        if !params.is_empty() {
            map.put("params", params);
        }
        self.common(&mut map, &spec.common, class);
        self.body_size_limit(&mut map, None);
        self.name_schemes(&mut map, None, None);
        self.proxy(&mut map, &spec.prober.proxy);

        let mut rules = first_rule();
        if !spec.job_name.is_empty() {
            rules.push(set("job", &spec.job_name));
        }
        // Static targets take precedence.
        let own = if let Some(fixed) = &spec.targets.static_config {
            map.put("static_configs", static_configs(fixed, &metadata.namespace));
            rules.push(copy("__address__", "__param_target"));
            rules.push(copy("__param_target", "instance"));
            rules.push(set("__address__", &spec.prober.url));
            fixed.relabeling_configs.as_slice()
        } else if let Some(ingress) = &spec.targets.ingress {
            let namespaces = &ingress.namespace_selector;
            let discovery =
                self.kubernetes_discovery("ingress", &metadata.namespace, namespaces, None, Vec::new());
            map.put("kubernetes_sd_configs", discovery);
            rules.extend(ingress_rules(ingress, &spec.prober.url));
            ingress.relabeling_configs.as_slice()
        } else {
            &[]
        };
        rules.extend(class_rules(class));
        rules.extend(self.enforced(MonitorKind::Probe, metadata, own));
        map.put("relabel_configs", rules);

        let tls = safe_tls_with_class(spec.tls_config.as_ref(), class);
        self.tls(&mut map, tls.as_ref());
        self.bearer_token(&mut map, spec.bearer_token_secret.as_ref());
        self.basic_auth(&mut map, spec.basic_auth.as_ref());
        self.oauth2(&mut map, spec.oauth2.as_ref());
        let authorization = authorization_with_class(spec.authorization.as_ref(), class);
        self.authorization(&mut map, authorization.as_ref());
        self.metric_rules(&mut map, class, MonitorKind::Probe, metadata, &spec.metric_relabelings);
        Entry { job, map }
    }
}

fn params(spec: &ProbeSpec) -> Map {
    let mut params = Map::new();
    if !spec.module.is_empty() {
        params.put("module", vec![spec.module.as_str()]);
    }
    for param in &spec.params {
        // A name that stands twice would not be a mapping any more; the first one counts.
        if !params.has(&param.name) {
            params.put(&param.name, param.values.as_slice());
        }
    }
    params
}

fn static_configs(fixed: &ProbeStatic, namespace: &str) -> Yaml {
    let mut labels = fixed.labels.clone();
    labels.entry("namespace".to_owned()).or_insert_with(|| namespace.to_owned());
    let labels: Map = labels.into_iter().collect();
    vec![Map::new().with("targets", fixed.r#static.as_slice()).with("labels", labels)].into()
}

fn ingress_rules(ingress: &ProbeIngress, prober: &str) -> Rules {
    let mut rules = selector_rules(&ingress.selector, "ingress");
    rules.push(
        Map::new()
            .with(
                "source_labels",
                vec!["__meta_kubernetes_ingress_scheme", "__address__", "__meta_kubernetes_ingress_path"],
            )
            .with("separator", ";")
            .with("regex", "(.+);(.+);(.+)")
            .with("target_label", "__param_target")
            .with("replacement", "${1}://${2}${3}")
            .with("action", "replace"),
    );
    rules.push(copy("__meta_kubernetes_namespace", "namespace"));
    rules.push(copy("__meta_kubernetes_ingress_name", "ingress"));
    rules.push(
        Map::new()
            .with("source_labels", vec!["__address__"])
            .with("separator", ";")
            .with("regex", "(.*)")
            .with("target_label", "__tmp_ingress_address")
            .with("replacement", "$1")
            .with("action", "replace"),
    );
    rules.push(copy("__param_target", "instance"));
    rules.push(set("__address__", prober));
    rules
}
