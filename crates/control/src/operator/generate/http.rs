//! Authentication, TLS and proxy.

use outrigger_config::prometheus::ScrapeClass;

use super::Generator;
use crate::operator::resource::{
    Authorization, BasicAuth, Endpoint, KeySelector, OAuth2, Proxy, SdHttp, SecretOrConfigMap, TlsConfig,
};
use crate::operator::yaml::Map;

impl Generator<'_> {
    /// Everything of an endpoint that concerns the request.
    pub(super) fn endpoint_http(
        &self,
        map: &mut Map,
        endpoint: &Endpoint,
        tls: Option<&TlsConfig>,
        class: Option<&ScrapeClass>,
    ) {
        map.put_some("follow_redirects", endpoint.follow_redirects);
        map.put_some("enable_http2", endpoint.enable_http2);
        self.proxy(map, &endpoint.proxy);
        self.oauth2(map, endpoint.oauth2.as_ref());
        self.tls(map, tls);
        map.put_text("bearer_token_file", &endpoint.bearer_token_file);
        self.bearer_token(map, endpoint.bearer_token_secret.as_ref());
        self.basic_auth(map, endpoint.basic_auth.as_ref());
        let authorization = authorization_with_class(endpoint.authorization.as_ref(), class);
        self.authorization(map, authorization.as_ref());
    }

    /// Everything of a discovery that concerns the request.
    pub(super) fn discovery_http(&self, map: &mut Map, http: &SdHttp) {
        self.basic_auth(map, http.basic_auth.as_ref());
        self.authorization(map, http.authorization.as_ref());
        self.oauth2(map, http.oauth2.as_ref());
        self.tls(map, http.tls_config.as_ref());
        self.proxy(map, &http.proxy);
        map.put_some("follow_redirects", http.follow_redirects);
        map.put_some("enable_http2", http.enable_http2);
    }

    fn secret(&self, selector: &KeySelector) -> Option<String> {
        self.assets.secret(selector).ok()
    }

    fn either(&self, source: &SecretOrConfigMap) -> Option<String> {
        self.assets.either(source).ok()
    }

    pub(super) fn bearer_token(&self, map: &mut Map, selector: Option<&KeySelector>) {
        let named = selector.filter(|selector| !selector.name.is_empty());
        map.put_some("bearer_token", named.and_then(|selector| self.secret(selector)));
    }

    pub(super) fn basic_auth(&self, map: &mut Map, basic: Option<&BasicAuth>) {
        let Some(basic) = basic else { return };
        let value = |selector| self.secret(selector).unwrap_or_default();
        let auth =
            Map::new().with("username", value(&basic.username)).with("password", value(&basic.password));
        map.put("basic_auth", auth);
    }

    pub(super) fn authorization(&self, map: &mut Map, authorization: Option<&Authorization>) {
        let Some(authorization) = authorization else { return };
        let kind = if authorization.r#type.is_empty() { "Bearer" } else { authorization.r#type.trim() };
        let mut auth = Map::new().with("type", kind);
        auth.put_some(
            "credentials",
            authorization.credentials.as_ref().and_then(|selector| self.secret(selector)),
        );
        auth.put_text("credentials_file", &authorization.credentials_file);
        map.put("authorization", auth);
    }

    pub(super) fn oauth2(&self, map: &mut Map, oauth2: Option<&OAuth2>) {
        let Some(oauth2) = oauth2 else { return };
        let (Some(id), Some(secret)) = (self.either(&oauth2.client_id), self.secret(&oauth2.client_secret))
        else {
            return;
        };
        let mut auth = Map::new()
            .with("client_id", id)
            .with("client_secret", secret)
            .with("token_url", &oauth2.token_url);
        if !oauth2.scopes.is_empty() {
            auth.put("scopes", oauth2.scopes.as_slice());
        }
        if !oauth2.endpoint_params.is_empty() {
            auth.put("endpoint_params", oauth2.endpoint_params.clone().into_iter().collect::<Map>());
        }
        self.proxy(&mut auth, &oauth2.proxy);
        self.tls(&mut auth, oauth2.tls_config.as_ref());
        map.put("oauth2", auth);
    }

    pub(super) fn tls(&self, map: &mut Map, tls: Option<&TlsConfig>) {
        let Some(tls) = tls else { return };
        let mut config = Map::new();
        config.put_some("insecure_skip_verify", tls.insecure_skip_verify);
        for (key, source) in [("ca", &tls.ca), ("cert", &tls.cert)] {
            if source.is_set() {
                config.put_some(key, self.either(source));
            }
        }
        config.put_some("key", tls.key_secret.as_ref().and_then(|selector| self.secret(selector)));
        config.put_text("server_name", tls.server_name.as_deref().unwrap_or_default());
        config.put_some("min_version", tls.min_version.as_ref());
        config.put_some("max_version", tls.max_version.as_ref());
        config.put_text("ca_file", &tls.ca_file);
        config.put_text("cert_file", &tls.cert_file);
        config.put_text("key_file", &tls.key_file);
        map.put("tls_config", config);
    }

    pub(super) fn proxy(&self, map: &mut Map, proxy: &Proxy) {
        map.put_some("proxy_url", proxy.proxy_url.as_ref());
        map.put_some("no_proxy", proxy.no_proxy.as_ref());
        map.put_some("proxy_from_environment", proxy.proxy_from_environment);
        let values = |selectors: &Vec<KeySelector>| {
            selectors.iter().map(|selector| self.secret(selector).unwrap_or_default()).collect::<Vec<_>>()
        };
        let headers = proxy.proxy_connect_header.as_ref().map(|headers| {
            headers.iter().map(|(name, selectors)| (name.clone(), values(selectors))).collect::<Map>()
        });
        map.put_some("proxy_connect_header", headers);
    }
}

/// The object's TLS, with files of its class where it has nothing of its own; or all of its class.
pub(super) fn tls_with_class(own: Option<&TlsConfig>, class: Option<&ScrapeClass>) -> Option<TlsConfig> {
    let class = class.and_then(|class| class.tls.as_ref()).map(|class| TlsConfig {
        server_name: class.server_name.clone(),
        insecure_skip_verify: class.insecure_skip_verify,
        min_version: class.min_version.clone(),
        max_version: class.max_version.clone(),
        ca_file: class.ca_file.clone(),
        cert_file: class.cert_file.clone(),
        key_file: class.key_file.clone(),
        ..TlsConfig::default()
    });
    let Some(mut own) = own.cloned() else { return class };
    if let Some(class) = class {
        if own.ca_file.is_empty() && !own.ca.is_set() {
            own.ca_file = class.ca_file;
        }
        if own.cert_file.is_empty() && !own.cert.is_set() {
            own.cert_file = class.cert_file;
        }
        if own.key_file.is_empty() && own.key_secret.is_none() {
            own.key_file = class.key_file;
        }
    }
    Some(own)
}

/// As [`tls_with_class`], where an empty configuration is none.
pub(super) fn safe_tls_with_class(own: Option<&TlsConfig>, class: Option<&ScrapeClass>) -> Option<TlsConfig> {
    tls_with_class(own.filter(|own| **own != TlsConfig::default()), class)
}

/// The object's authorization, with the credentials of its class where it has none; or all of its class.
pub(super) fn authorization_with_class(
    own: Option<&Authorization>,
    class: Option<&ScrapeClass>,
) -> Option<Authorization> {
    let class = class.and_then(|class| class.authorization.as_ref()).map(|class| Authorization {
        r#type: class.kind.clone(),
        credentials: None,
        credentials_file: class.credentials_file.clone(),
    });
    let Some(mut own) = own.filter(|own| **own != Authorization::default()).cloned() else { return class };
    if let (None, Some(class)) = (&own.credentials, class) {
        own.credentials_file = class.credentials_file;
    }
    Some(own)
}
