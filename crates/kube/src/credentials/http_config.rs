//! Prometheus' `api_server` with its `http_config`.

use outrigger_model::fault::{Blame, chain};
use outrigger_model::http::HttpClientConfig;
use outrigger_rt::http::{ClientOptions, HttpParts, ProxyRoute};
use parking_lot::Mutex;

use super::{Access, ConnectError, Source, Surroundings, kubeconfig};

/// Takes over the settings. Certificates are read for the first time here, so that a wrong one is an error at the
/// start.
pub(super) fn load(
    api_server: &str,
    http: &HttpClientConfig,
    around: &Surroundings<'_>,
) -> Result<Access, ConnectError> {
    let server = kubeconfig::server_url(api_server, http.tls.ca.is_some())
        .map_err(|problem| ConnectError::Url { url: api_server.to_owned(), problem })?;
    let problem = |error| ConnectError::HttpConfig { problem: chain(&error) };
    let environment = around.proxy_environment();
    let proxy = ProxyRoute::choose(&http.proxy, &environment, &server.to_string()).map_err(problem)?;
    let options = ClientOptions {
        environment,
        clock: around.clock.clone(),
        ..ClientOptions::new("kubernetes", around.user_agent, Blame::Cluster)
    };
    let parts = HttpParts::new(http, &options, around.resolver.clone()).map_err(problem)?;
    let access = Access {
        proxy,
        http2: http.enable_http2,
        server_name: http.tls.server_name.clone().filter(|name| !name.is_empty()),
        source: Source::Http(Box::new(parts)),
        namespace: "default".to_owned(),
        server,
        last_tls: Mutex::new(None),
    };
    access.tls_config(None)?;
    Ok(access)
}
