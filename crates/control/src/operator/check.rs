//! What prometheus-operator refuses in a monitor (`pkg/prometheus/resource_selector.go`).

use outrigger_config::go_regex::GoRegex;
use outrigger_config::prometheus::OperatorSettings;
use outrigger_config::selector::{FieldSelector, LabelSelector as ParsedSelector};
use outrigger_model::duration;

use super::Defaults;
use super::assets::{AssetProblem, Assets};
use super::resource::{
    Authorization, BasicAuth, Endpoint, KeySelector, KubernetesSd, Monitor, OAuth2, PodMonitorSpec,
    ProbeSpec, Proxy, Relabeling, ScrapeConfigSpec, SdHttp, SecretOrConfigMap, ServiceMonitorSpec, TlsConfig,
};

/// Why an object is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A Secret or ConfigMap has not been read so far.
    Pending(String),
    /// The object is wrong.
    Invalid(String),
}

impl Refusal {
    /// The same refusal, with the field that it is about before it.
    fn within(self, field: &str) -> Self {
        match self {
            Self::Pending(message) => Self::Pending(format!("{field}: {message}")),
            Self::Invalid(message) => Self::Invalid(format!("{field}: {message}")),
        }
    }
}

impl From<AssetProblem> for Refusal {
    fn from(problem: AssetProblem) -> Self {
        match problem {
            AssetProblem::Pending(message) => Self::Pending(message),
            AssetProblem::Missing(message) => Self::Invalid(message),
        }
    }
}

type Checked = Result<(), Refusal>;

fn invalid(message: impl Into<String>) -> Checked {
    Err(Refusal::Invalid(message.into()))
}

trait Within {
    fn within(self, field: &str) -> Self;
}

impl Within for Checked {
    fn within(self, field: &str) -> Self {
        self.map_err(|refusal| refusal.within(field))
    }
}

/// Checks objects against the settings.
pub(crate) struct Checker<'a> {
    pub(crate) settings: &'a OperatorSettings,
    pub(crate) defaults: &'a Defaults,
    pub(crate) assets: &'a Assets<'a>,
}

impl Checker<'_> {
    /// Checks one object. Everything it refers to is looked up even if something is wrong before it.
    pub(crate) fn check(&self, monitor: &Monitor) -> Checked {
        match monitor {
            Monitor::Service(object) => self.service_monitor(&object.spec),
            Monitor::Pod(object) => self.pod_monitor(&object.spec),
            Monitor::Probe(object) => self.probe(&object.spec),
            Monitor::Scrape(object) => self.scrape_config(&object.spec),
        }
    }

    fn service_monitor(&self, spec: &ServiceMonitorSpec) -> Checked {
        spec.selector.check().map_err(Refusal::Invalid)?;
        check_mechanism(spec.selector_mechanism.as_deref())?;
        for (index, endpoint) in spec.endpoints.iter().enumerate() {
            let field = format!("endpoints[{index}]");
            self.check_file_access(endpoint).within(&field)?;
            self.endpoint(endpoint).within(&field)?;
        }
        self.scrape_class(spec.common.scrape_class.as_deref())
    }

    fn pod_monitor(&self, spec: &PodMonitorSpec) -> Checked {
        spec.selector.check().map_err(Refusal::Invalid)?;
        check_mechanism(spec.selector_mechanism.as_deref())?;
        for (index, endpoint) in spec.pod_metrics_endpoints.iter().enumerate() {
            self.endpoint(endpoint).within(&format!("podMetricsEndpoints[{index}]"))?;
        }
        self.scrape_class(spec.common.scrape_class.as_deref())
    }

    fn check_file_access(&self, endpoint: &Endpoint) -> Checked {
        if !self.settings.deny_arbitrary_fs_access {
            return Ok(());
        }
        let rule = "which arbitrary_fs_access_through_sms forbids";
        if !endpoint.bearer_token_file.is_empty() {
            return invalid(format!("bearerTokenFile reads a file, {rule}"));
        }
        let files =
            |tls: &TlsConfig| [&tls.ca_file, &tls.cert_file, &tls.key_file].iter().any(|f| !f.is_empty());
        if endpoint.tls_config.as_ref().is_some_and(files) {
            return invalid(format!("tlsConfig reads files, {rule}"));
        }
        Ok(())
    }

    fn endpoint(&self, endpoint: &Endpoint) -> Checked {
        self.bearer_token(endpoint.bearer_token_secret.as_ref())?;
        self.basic_auth(endpoint.basic_auth.as_ref())?;
        self.tls(endpoint.tls_config.as_ref())?;
        self.oauth2(endpoint.oauth2.as_ref())?;
        self.authorization(endpoint.authorization.as_ref())?;
        self.times(&endpoint.interval, &endpoint.scrape_timeout)?;
        relabelings(&endpoint.relabelings).within("relabelings")?;
        relabelings(&endpoint.metric_relabelings).within("metricRelabelings")?;
        self.proxy(&endpoint.proxy)
    }

    fn probe(&self, spec: &ProbeSpec) -> Checked {
        self.scrape_class(spec.common.scrape_class.as_deref())?;
        if spec.targets.static_config.is_none() && spec.targets.ingress.is_none() {
            return invalid("targets: staticConfig or ingress is needed");
        }
        self.bearer_token(spec.bearer_token_secret.as_ref())?;
        self.basic_auth(spec.basic_auth.as_ref())?;
        self.tls(spec.tls_config.as_ref())?;
        self.authorization(spec.authorization.as_ref())?;
        self.oauth2(spec.oauth2.as_ref())?;
        self.times(&spec.interval, &spec.scrape_timeout)?;
        relabelings(&spec.metric_relabelings).within("metricRelabelings")?;
        if let Some(fixed) = &spec.targets.static_config {
            relabelings(&fixed.relabeling_configs).within("targets.staticConfig.relabelingConfigs")?;
        }
        if let Some(ingress) = &spec.targets.ingress {
            relabelings(&ingress.relabeling_configs).within("targets.ingress.relabelingConfigs")?;
        }
        self.proxy(&spec.prober.proxy).within("prober")?;
        prober_url(&spec.prober.url).within("prober.url")
    }

    fn scrape_config(&self, spec: &ScrapeConfigSpec) -> Checked {
        self.scrape_class(spec.common.scrape_class.as_deref())?;
        relabelings(&spec.relabelings).within("relabelings")?;
        self.basic_auth(spec.basic_auth.as_ref())?;
        self.authorization(spec.authorization.as_ref())?;
        self.oauth2(spec.oauth2.as_ref())?;
        self.tls(spec.tls_config.as_ref())?;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        self.times(&text(&spec.scrape_interval), &text(&spec.scrape_timeout))?;
        self.proxy(&spec.proxy)?;
        relabelings(&spec.metric_relabelings).within("metricRelabelings")?;
        for (index, config) in spec.static_configs.iter().enumerate() {
            if let Some(name) = config.labels.keys().find(|name| !is_label_name(name)) {
                return invalid(format!(
                    "staticConfigs[{index}].labels: {name:?} is not the name of a label"
                ));
            }
        }
        for (index, config) in spec.http_sd_configs.iter().enumerate() {
            let field = format!("httpSDConfigs[{index}]");
            url_parses(&config.url).within(&field)?;
            self.discovery_http(&config.http).within(&field)?;
        }
        for (index, config) in spec.kubernetes_sd_configs.iter().enumerate() {
            self.kubernetes_discovery(config).within(&format!("kubernetesSDConfigs[{index}]"))?;
        }
        Ok(())
    }

    fn discovery_http(&self, http: &SdHttp) -> Checked {
        self.basic_auth(http.basic_auth.as_ref())?;
        self.authorization(http.authorization.as_ref())?;
        self.oauth2(http.oauth2.as_ref())?;
        self.tls(http.tls_config.as_ref())?;
        self.proxy(&http.proxy)
    }

    fn kubernetes_discovery(&self, config: &KubernetesSd) -> Checked {
        self.discovery_http(&config.http)?;
        let own = config.namespaces.as_ref().is_some_and(|namespaces| namespaces.own_namespace == Some(true));
        if config.api_server.is_some() && own {
            return invalid("apiServer and namespaces.ownNamespace exclude each other");
        }
        let role = config.role.to_lowercase();
        let allowed: &[&str] = match role.as_str() {
            "pod" => &["pod"],
            "service" => &["service"],
            "endpointslice" => &["pod", "service", "endpointslice"],
            "endpoints" => &["pod", "service", "endpoints"],
            "node" => &["node"],
            "ingress" => &["ingress"],
            _ => &[],
        };
        for selector in &config.selectors {
            if !allowed.contains(&selector.role.to_lowercase().as_str()) {
                let known = allowed.join(", ");
                return invalid(format!(
                    "role {role} takes selectors for {known} only, not for {}",
                    selector.role
                ));
            }
            if let Some(text) = &selector.field {
                FieldSelector::parse(text)
                    .map_err(|error| Refusal::Invalid(format!("field {text:?}: {error}")))?;
            }
            if let Some(text) = &selector.label {
                ParsedSelector::parse(text)
                    .map_err(|error| Refusal::Invalid(format!("label {text:?}: {error}")))?;
            }
        }
        Ok(())
    }

    fn scrape_class(&self, name: Option<&str>) -> Checked {
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(()) };
        match self.settings.scrape_classes.iter().any(|class| class.name == name) {
            true => Ok(()),
            false => invalid(format!("scrapeClass: {name:?} is not one of the configured scrape_classes")),
        }
    }

    fn times(&self, interval: &str, timeout: &str) -> Checked {
        if timeout.is_empty() {
            return Ok(());
        }
        let parse = |text: &str, what: &str| {
            duration::parse(text).map_err(|error| Refusal::Invalid(format!("{what} {text:?}: {error}")))
        };
        let timeout_value = parse(timeout, "scrapeTimeout")?;
        let interval_value = match interval {
            "" => self.defaults.scrape_interval,
            interval => parse(interval, "scrapeInterval")?,
        };
        if timeout_value > interval_value {
            let interval = duration::format(interval_value);
            return invalid(format!("scrapeTimeout {timeout} is longer than the interval, {interval}"));
        }
        Ok(())
    }

    // ---- credentials ----

    fn bearer_token(&self, selector: Option<&KeySelector>) -> Checked {
        match selector.filter(|selector| !selector.name.is_empty() && !selector.key.is_empty()) {
            None => Ok(()),
            Some(selector) => self.secret(selector).within("bearerTokenSecret"),
        }
    }

    fn secret(&self, selector: &KeySelector) -> Checked {
        Ok(self.assets.secret(selector).map(drop)?)
    }

    fn basic_auth(&self, basic: Option<&BasicAuth>) -> Checked {
        let Some(basic) = basic else { return Ok(()) };
        // Both are looked up, so that both are read at once.
        let (user, password) = (self.secret(&basic.username), self.secret(&basic.password));
        user.within("basicAuth.username")?;
        password.within("basicAuth.password")
    }

    fn authorization(&self, authorization: Option<&Authorization>) -> Checked {
        let Some(authorization) = authorization else { return Ok(()) };
        let Some(credentials) = &authorization.credentials else { return Ok(()) };
        if authorization.r#type.trim().eq_ignore_ascii_case("basic") {
            return invalid("authorization: the type cannot be basic; use basicAuth");
        }
        if credentials.name.is_empty() {
            return Ok(());
        }
        self.secret(credentials).within("authorization")
    }

    fn oauth2(&self, oauth2: Option<&OAuth2>) -> Checked {
        oauth2.map_or(Ok(()), |oauth2| self.oauth2_fields(oauth2).within("oauth2"))
    }

    fn oauth2_fields(&self, oauth2: &OAuth2) -> Checked {
        if oauth2.token_url.is_empty() {
            return invalid("tokenUrl is needed");
        }
        if !oauth2.client_id.is_set() {
            return invalid("clientId is needed");
        }
        one_source(&oauth2.client_id, "clientId")?;
        if let Some(tls) = &oauth2.tls_config {
            safe_tls(tls).within("tlsConfig")?;
        }
        let (id, secret) = (self.assets.either(&oauth2.client_id), self.secret(&oauth2.client_secret));
        id.map(drop).map_err(Refusal::from).within("clientId")?;
        secret.within("clientSecret")?;
        self.proxy_secrets(&oauth2.proxy)?;
        self.tls(oauth2.tls_config.as_ref())
    }

    fn tls(&self, tls: Option<&TlsConfig>) -> Checked {
        tls.map_or(Ok(()), |tls| self.tls_fields(tls).within("tlsConfig"))
    }

    fn tls_fields(&self, tls: &TlsConfig) -> Checked {
        safe_tls(tls)?;
        let [ca, cert] = [&tls.ca, &tls.cert].map(|source| self.assets.either(source));
        let key = tls.key_secret.as_ref().map(|key| self.assets.secret(key)).transpose();
        ca.map(drop).map_err(Refusal::from).within("ca")?;
        cert.map(drop).map_err(Refusal::from).within("cert")?;
        key.map(drop).map_err(Refusal::from).within("keySecret")
    }

    fn proxy(&self, proxy: &Proxy) -> Checked {
        let from_environment = proxy.proxy_from_environment == Some(true);
        let filled = |value: &Option<String>| value.as_deref().is_some_and(|text| !text.is_empty());
        let (url, none) = (filled(&proxy.proxy_url), filled(&proxy.no_proxy));
        let headers = proxy.proxy_connect_header.as_ref().filter(|headers| !headers.is_empty());
        if headers.is_some() && !from_environment && !url {
            return invalid("proxyConnectHeader needs proxyUrl or proxyFromEnvironment");
        }
        if from_environment && url {
            return invalid("proxyFromEnvironment and proxyUrl exclude each other");
        }
        if from_environment && none {
            return invalid("proxyFromEnvironment and noProxy exclude each other");
        }
        if !url && none {
            return invalid("noProxy needs proxyUrl");
        }
        for (name, selectors) in headers.into_iter().flatten() {
            if selectors.is_empty() || selectors.iter().any(|selector| *selector == KeySelector::default()) {
                return invalid(format!("proxyConnectHeader[{name}]: names no secret"));
            }
        }
        if let Some(url) = &proxy.proxy_url {
            url_parses(url).within("proxyUrl")?;
        }
        self.proxy_secrets(proxy)
    }

    fn proxy_secrets(&self, proxy: &Proxy) -> Checked {
        for (name, selectors) in proxy.proxy_connect_header.iter().flatten() {
            for selector in selectors {
                self.secret(selector).within(&format!("proxyConnectHeader[{name}]"))?;
            }
        }
        Ok(())
    }
}

fn check_mechanism(mechanism: Option<&str>) -> Checked {
    match mechanism {
        None | Some("RelabelConfig" | "RoleSelector") => Ok(()),
        Some(other) => {
            invalid(format!("selectorMechanism: {other:?} is neither RelabelConfig nor RoleSelector"))
        }
    }
}

fn one_source(source: &SecretOrConfigMap, field: &str) -> Checked {
    match source.secret.is_some() && source.config_map.is_some() {
        true => invalid(format!("{field}: secret and configMap exclude each other")),
        false => Ok(()),
    }
}

/// The checks that need no contents.
fn safe_tls(tls: &TlsConfig) -> Checked {
    if tls.ca.is_set() && !tls.ca_file.is_empty() {
        return invalid("ca and caFile exclude each other");
    }
    if tls.cert.is_set() && !tls.cert_file.is_empty() {
        return invalid("cert and certFile exclude each other");
    }
    if tls.key_secret.is_some() && !tls.key_file.is_empty() {
        return invalid("keySecret and keyFile exclude each other");
    }
    one_source(&tls.ca, "ca")?;
    one_source(&tls.cert, "cert")?;
    let certificate = tls.cert.is_set() || !tls.cert_file.is_empty();
    let key = tls.key_secret.is_some() || !tls.key_file.is_empty();
    if certificate != key {
        return invalid("a client certificate and its key are needed together");
    }
    match (&tls.min_version, &tls.max_version) {
        (Some(low), Some(high)) if high < low => invalid("maxVersion is below minVersion"),
        _ => Ok(()),
    }
}

/// Checks relabelling rules.
pub(crate) fn relabelings(rules: &[Relabeling]) -> Checked {
    for (index, rule) in rules.iter().enumerate() {
        relabeling(rule).within(&format!("[{index}]"))?;
    }
    Ok(())
}

fn relabeling(rule: &Relabeling) -> Checked {
    let action = match rule.action.as_str() {
        "" => "replace".to_owned(),
        action => action.to_lowercase(),
    };
    let action = action.as_str();
    GoRegex::anchored(&rule.regex)
        .map_err(|error| Refusal::Invalid(format!("regex {:?}: {error}", rule.regex)))?;
    if action == "hashmod" && rule.modulus == 0 {
        return invalid("hashmod needs a modulus above 0");
    }
    let replacement = rule.replacement.as_deref();
    let changed = |value: Option<&str>, default: &str| value.is_some_and(|value| value != default);
    let writes = matches!(action, "replace" | "lowercase" | "uppercase" | "keepequal" | "dropequal");
    if (writes || action == "hashmod") && rule.target_label.is_empty() {
        return invalid(format!("{action} needs a targetLabel"));
    }
    if writes && !is_label_template(&rule.target_label) {
        return invalid(format!("targetLabel {:?} is not the name of a label", rule.target_label));
    }
    if matches!(action, "lowercase" | "uppercase" | "keepequal" | "dropequal") && changed(replacement, "$1") {
        return invalid(format!("{action} takes no replacement"));
    }
    if action == "labelmap" && replacement.is_some_and(|text| !is_label_template(text)) {
        return invalid(format!(
            "replacement {:?} is not the name of a label",
            replacement.unwrap_or_default()
        ));
    }
    if action == "hashmod" && !is_label_name(&rule.target_label) {
        return invalid(format!("targetLabel {:?} is not the name of a label", rule.target_label));
    }
    let extra = rule.modulus != 0 || changed(rule.separator.as_deref(), ";") || changed(replacement, "$1");
    if matches!(action, "keepequal" | "dropequal") && (extra || !matches!(rule.regex.as_str(), "" | "(.*)")) {
        return invalid(format!("{action} takes sourceLabels and targetLabel only"));
    }
    if matches!(action, "labeldrop" | "labelkeep")
        && (extra || !rule.source_labels.is_empty() || !rule.target_label.is_empty())
    {
        return invalid(format!("{action} takes a regex only"));
    }
    Ok(())
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`.
fn is_label_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A label name that may have `$1` and `${name}` in it.
fn is_label_template(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = text;
    let mut first = true;
    while let Some(c) = rest.chars().next() {
        if let Some(tail) = rest.strip_prefix("${") {
            let Some((name, after)) = tail.split_once('}') else { return false };
            if name.is_empty() || !name.chars().all(word) {
                return false;
            }
            rest = after;
        } else if let Some(tail) = rest.strip_prefix('$') {
            if !tail.starts_with(word) {
                return false;
            }
            rest = &tail[1..];
        } else if word(c) && !(first && c.is_ascii_digit()) {
            rest = &rest[1..];
        } else {
            return false;
        }
        first = false;
    }
    !first
}

/// What Go's `url.Parse` refuses, as far as it matters for a URL that is used later.
fn url_parses(text: &str) -> Checked {
    if text.chars().any(|c| c.is_ascii_control()) {
        return invalid("a URL has no control characters");
    }
    let authority =
        text.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let host = authority.map(|authority| authority.rsplit('@').next().unwrap_or_default());
    let bad = match host {
        Some(host) if host.starts_with('[') => match host.rsplit_once(']') {
            None => true,
            Some((_, port)) => !is_port_part(port),
        },
        Some(host) => host.contains(' ') || host.find(':').is_some_and(|colon| !is_port_part(&host[colon..])),
        None => text.starts_with(':'),
    };
    match bad {
        true => invalid(format!("{text:?} is not a URL")),
        false => Ok(()),
    }
}

fn is_port_part(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
}

/// `host` or `host:port`.
fn prober_url(url: &str) -> Checked {
    let mut parts = url.split(':');
    let host = parts.next().unwrap_or_default();
    if host.parse::<std::net::IpAddr>().is_err() && !is_dns_name(host) {
        return invalid(format!("{url:?} is neither host nor host:port: {host:?} is no host"));
    }
    let port = parts.next().map(|port| port.parse::<u16>());
    match port {
        Some(Ok(0) | Err(_)) => invalid(format!("{url:?} is neither host nor host:port: that is no port")),
        _ => Ok(()),
    }
}

fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let trimmed = name.strip_suffix('.').unwrap_or(name);
    name.len() <= 255 && trimmed.split('.').all(label)
}
