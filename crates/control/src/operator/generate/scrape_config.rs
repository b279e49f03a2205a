//! The entry of a ScrapeConfig.

use super::http::{authorization_with_class, safe_tls_with_class};
use super::{Entry, Generator, class_rules, first_rule};
use crate::operator::resource::{HttpSd, KubernetesSd, MonitorKind, Object, ScrapeConfigSpec};
use crate::operator::yaml::{Map, Yaml};

impl Generator<'_> {
    pub(super) fn scrape_config(&self, object: &Object<ScrapeConfigSpec>) -> Entry {
        let (spec, metadata) = (&object.spec, &object.metadata);
        let class = self.class(&spec.common);
        let job = format!("scrapeConfig/{}/{}", metadata.namespace, metadata.name);
        let mut map = Map::new().with("job_name", &job);
        if spec.honor_timestamps.is_some() {
            self.honor_timestamps(&mut map, spec.honor_timestamps);
        }
        map.put_some("track_timestamps_staleness", spec.track_timestamps_staleness);
        if let Some(honor) = spec.honor_labels {
            self.honor_labels(&mut map, honor);
        }
        map.put_text("metrics_path", spec.metrics_path.as_deref().unwrap_or_default());
        if !spec.params.is_empty() {
            map.put("params", spec.params.clone().into_iter().collect::<Map>());
        }
        map.put_some("enable_compression", spec.enable_compression);
        map.put_some("enable_http2", spec.enable_http2);
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        self.times(&mut map, &text(&spec.scrape_interval), &text(&spec.scrape_timeout));
        map.put_text("scheme", &text(&spec.scheme).to_lowercase());
        self.proxy(&mut map, &spec.proxy);
        self.basic_auth(&mut map, spec.basic_auth.as_ref());
        let authorization = authorization_with_class(spec.authorization.as_ref(), class);
        self.authorization(&mut map, authorization.as_ref());
        self.oauth2(&mut map, spec.oauth2.as_ref());
        self.tls(&mut map, safe_tls_with_class(spec.tls_config.as_ref(), class).as_ref());
        self.common(&mut map, &spec.common, class);
        self.body_size_limit(&mut map, None);
        self.discoveries(&mut map, spec);

        let mut rules = first_rule();
        rules.extend(class_rules(class));
        if let Some(name) = &spec.job_name {
            rules.push(
                Map::new().with("target_label", "job").with("action", "replace").with("replacement", name),
            );
        }
        // Without rules of its own the operator does not enforce the namespace's label either.
        if !spec.relabelings.is_empty() {
            rules.extend(self.enforced(MonitorKind::ScrapeConfig, metadata, &spec.relabelings));
        }
        map.put("relabel_configs", rules);
        self.metric_rules(&mut map, class, MonitorKind::ScrapeConfig, metadata, &spec.metric_relabelings);
        let (validation, escaping) =
            (spec.name_validation_scheme.as_deref(), spec.name_escaping_scheme.as_deref());
        self.name_schemes(&mut map, validation, escaping);
        Entry { job, map }
    }

    fn discoveries(&self, map: &mut Map, spec: &ScrapeConfigSpec) {
        let some = |list: Vec<Map>| (!list.is_empty()).then(|| Yaml::from(list));
        let fixed = spec.static_configs.iter().map(|config| {
            let labels: Map = config.labels.clone().into_iter().collect();
            Map::new().with("targets", config.targets.as_slice()).with("labels", labels)
        });
        map.put_some("static_configs", some(fixed.collect()));
        let files = spec.file_sd_configs.iter().map(|config| {
            let mut discovery = Map::new().with("files", config.files.as_slice());
            discovery.put_some("refresh_interval", config.refresh_interval.as_ref());
            discovery
        });
        map.put_some("file_sd_configs", some(files.collect()));
        let http = spec.http_sd_configs.iter().map(|config| self.http_discovery(config));
        map.put_some("http_sd_configs", some(http.collect()));
        let kubernetes =
            spec.kubernetes_sd_configs.iter().map(|config| self.own_kubernetes_discovery(config));
        map.put_some("kubernetes_sd_configs", some(kubernetes.collect()));
    }

    fn http_discovery(&self, config: &HttpSd) -> Map {
        let mut discovery = Map::new();
        self.discovery_http(&mut discovery, &config.http);
        discovery.put("url", &config.url);
        discovery.put_some("refresh_interval", config.refresh_interval.as_ref());
        discovery
    }

    fn own_kubernetes_discovery(&self, config: &KubernetesSd) -> Map {
        let role = config.role.to_lowercase();
        let mut discovery = Map::new();
        discovery.put_some("api_server", config.api_server.as_ref());
        discovery.put("role", &role);
        self.discovery_http(&mut discovery, &config.http);
        if let Some(namespaces) = &config.namespaces {
            let mut map = Map::new().with("names", namespaces.names.as_slice());
            map.put_some("own_namespace", namespaces.own_namespace);
            discovery.put("namespaces", map);
        }
        if !config.selectors.is_empty() {
            let selectors = config.selectors.iter().map(|selector| {
                let mut map = Map::new().with("role", selector.role.to_lowercase());
                map.put_some("label", selector.label.as_ref());
                map.put_some("field", selector.field.as_ref());
                map
            });
            discovery.put("selectors", selectors.collect::<Vec<_>>());
        }
        if let Some(attach) = config.attach_metadata
            && matches!(role.as_str(), "pod" | "endpoints" | "endpointslice")
        {
            discovery.put("attach_metadata", Map::new().with("node", attach.node == Some(true)));
        }
        if config.api_server.is_none() { self.with_cluster(discovery) } else { discovery }
    }
}
