//! What is served: `/metrics` for all, one resource or one shard, health, and the process's own metrics.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::middleware;
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::any;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, StatusCode};
use outrigger_kube::Cluster;
use outrigger_rt::metrics::CONTENT_TYPE as OWN_CONTENT_TYPE;
use outrigger_state::render::RenderOptions;
use outrigger_state::shard::Shard;

use super::auth_filter::{self, AuthFilter};
use super::body::{self, Pace, ScrapeMetrics};
use super::instance::Instance;
use super::negotiate;
use super::self_metrics::SelfMetrics;

/// What the handlers read. The instance changes, the rest does not.
pub(super) struct Served {
    pub(super) instance: ArcSwap<Instance>,
    /// `None` where discovery holds the connection.
    pub(super) cluster: Option<Arc<ArcSwap<Cluster>>>,
    pub(super) metrics: SelfMetrics,
    pub(super) auth: Option<AuthFilter>,
    pub(super) gzip: bool,
    pub(super) pace: Pace,
}

/// The main port.
pub(super) fn main_router(served: &Arc<Served>) -> Router {
    let scrapes = Router::new()
        .route("/metrics", any(metrics))
        .route("/shards/{index}/{total}/metrics", any(shard_metrics))
        .route_layer(middleware::from_fn_with_state(served.clone(), auth_filter::check));
    let links: &[(&str, &str)] = &[("/metrics", "Metrics"), ("/healthz", "Healthz"), ("/livez", "Livez")];
    scrapes
        .route("/healthz", any(async || "OK"))
        .route("/livez", any(livez))
        .fallback(any(async || landing("Metrics for Kubernetes' state", links)))
        .with_state(served.clone())
}

/// As a part of another process: relative to a path of its server.
pub(super) fn role_router(served: &Arc<Served>) -> Router {
    Router::new()
        .route("/metrics", any(metrics))
        .route("/shards/{index}/{total}/metrics", any(shard_metrics))
        .route("/readyz", any(readyz))
        .with_state(served.clone())
}

/// A port of one virtual shard.
pub(super) fn shard_router(served: &Arc<Served>, shard: Shard) -> Router {
    let scrape = async move |State(served): State<Arc<Served>>,
                             method: Method,
                             headers: HeaderMap,
                             RawQuery(query): RawQuery| {
        let asked = Query::parse(query.as_deref().unwrap_or_default());
        match asked {
            Ok(query) if query.shard.is_none() => scrape(&served, &method, &headers, query.with(shard)),
            Ok(_) => bad_request("this port serves one shard: ask the main port for another"),
            Err(problem) => bad_request(&problem),
        }
    };
    Router::new()
        .route("/metrics", any(scrape))
        .route_layer(middleware::from_fn_with_state(served.clone(), auth_filter::check))
        .route("/healthz", any(async || "OK"))
        .with_state(served.clone())
}

/// The telemetry port.
pub(super) fn telemetry_router(served: &Arc<Served>) -> Router {
    Router::new()
        .route("/metrics", any(own_metrics))
        .route_layer(middleware::from_fn_with_state(served.clone(), auth_filter::check))
        .route("/readyz", any(readyz))
        .fallback(any(async || landing("Self-metrics for state metrics", &[("/metrics", "Metrics")])))
        .with_state(served.clone())
}

async fn metrics(
    State(served): State<Arc<Served>>,
    method: Method,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    match Query::parse(query.as_deref().unwrap_or_default()) {
        Ok(query) => scrape(&served, &method, &headers, query),
        Err(problem) => bad_request(&problem),
    }
}

async fn shard_metrics(
    State(served): State<Arc<Served>>,
    Path((index, total)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let shard = parse_shard(&index, &total);
    match (shard, Query::parse(query.as_deref().unwrap_or_default())) {
        (Ok(shard), Ok(query)) if query.shard.is_none() => {
            scrape(&served, &method, &headers, query.with(shard))
        }
        (Ok(_), Ok(_)) => bad_request("the path names a shard already"),
        (Err(problem), _) | (_, Err(problem)) => bad_request(&problem),
    }
}

/// The parameters of a scrape.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    resources: Option<Vec<String>>,
    excluded: Vec<String>,
    shard: Option<Shard>,
}

impl Query {
    /// Lists are separated by commas or given more than once; what else is in the query is passed over.
    fn parse(query: &str) -> Result<Self, String> {
        let mut parsed = Self::default();
        let (mut index, mut total) = (None, None);
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let words = || value.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned);
            match &*name {
                "resources" => parsed.resources.get_or_insert_default().extend(words()),
                "exclude_resources" => parsed.excluded.extend(words()),
                "shard" => index = Some(value.into_owned()),
                "total" => total = Some(value.into_owned()),
                _ => {}
            }
        }
        parsed.shard = match (index, total) {
            (None, None) => None,
            (Some(index), Some(total)) => Some(parse_shard(&index, &total)?),
            _ => return Err("shard and total belong together: write ?shard=0&total=4".to_owned()),
        };
        Ok(parsed)
    }

    fn with(self, shard: Shard) -> Self {
        Self { shard: Some(shard), ..self }
    }

    fn asks_for(&self, resource: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|name| name == resource);
        self.resources.as_deref().is_none_or(named) && !named(&self.excluded)
    }
}

fn parse_shard(index: &str, total: &str) -> Result<Shard, String> {
    match (index.parse(), total.parse()) {
        (Ok(index), Ok(total)) if index < total => Ok(Shard { index, total }),
        _ => Err(format!(
            "there is no shard {index:?} of {total:?}: shards are counted from 0, up to one less than there are"
        )),
    }
}

fn scrape(served: &Arc<Served>, method: &Method, headers: &HeaderMap, query: Query) -> Response {
    let instance = served.instance.load_full();
    if let Err(pending) = instance.can_serve(|resource| query.asks_for(resource)) {
        let mut response =
            (StatusCode::SERVICE_UNAVAILABLE, format!("not listed yet: {}\n", pending.join(", ")))
                .into_response();
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    }
    let form = negotiate::form(headers);
    let encoding = negotiate::encoding(headers, served.gzip);
    let options = RenderOptions {
        resources: query.resources,
        exclude_resources: query.excluded,
        shard: query.shard,
        open_metrics: form.open_metrics,
        threads: body::threads(),
    };
    let metrics =
        ScrapeMetrics { duration: served.metrics.duration(method), cut_off: served.metrics.cut_off.clone() };
    let body = body::rendered(instance.image.snapshot(), options, encoding, served.pace, metrics);
    let mut response = Response::new(body);
    let content_type =
        HeaderValue::from_str(&form.content_type).expect("it has only parameters that are known");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    if let Some(name) = encoding.name() {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    response
}

async fn own_metrics(State(served): State<Arc<Served>>) -> Response {
    let instance = served.instance.load_full();
    let text = served.metrics.registry.render() + &instance.registry.render();
    ([(CONTENT_TYPE, OWN_CONTENT_TYPE)], text).into_response()
}

/// Ready once every resource was listed, or cannot be.
async fn readyz(State(served): State<Arc<Served>>) -> Response {
    match served.instance.load().pending(|_| true) {
        pending if pending.is_empty() => "OK".into_response(),
        pending => {
            let text = format!("Service Unavailable: not listed yet: {}\n", pending.join(", "));
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

/// Alive while the API server is: a probe that fails restarts the pod.
async fn livez(State(served): State<Arc<Served>>) -> Response {
    let Some(cluster) = &served.cluster else { return "OK".into_response() };
    match cluster.load_full().probe("/livez").await {
        Ok(_) => "OK".into_response(),
        Err(error) => {
            tracing::warn!(
                error = outrigger_model::fault::chain(&error),
                "the API server is not reached for /livez"
            );
            (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable").into_response()
        }
    }
}

fn bad_request(problem: &str) -> Response {
    (StatusCode::BAD_REQUEST, format!("{problem}\n")).into_response()
}

fn landing(description: &str, links: &[(&str, &str)]) -> Html<String> {
    let links: String =
        links.iter().map(|(path, text)| format!("<li><a href=\"{path}\">{text}</a></li>")).collect();
    let version = env!("CARGO_PKG_VERSION");
    Html(format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>kube-state-metrics</title></head><body>\
         <h1>kube-state-metrics</h1><p>{description}</p><p>Served by Outrigger {version}</p><ul>{links}</ul></body></html>\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_select_resources_and_shards() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let shard = |index, total| Some(Shard { index, total });
        let cases = [
            ("", Query::default()),
            ("a=b&c", Query::default()),
            ("resources=", Query { resources: Some(Vec::new()), ..Query::default() }),
            (
                "resources=pods,%20nodes&resources=jobs,&exclude_resources=nodes",
                Query {
                    resources: Some(words(&["pods", "nodes", "jobs"])),
                    excluded: words(&["nodes"]),
                    shard: None,
                },
            ),
            ("shard=1&total=4", Query { shard: shard(1, 4), ..Query::default() }),
        ];
        for (query, want) in cases {
            assert_eq!(Query::parse(query), Ok(want), "{query}");
        }
        for query in [
            "shard=1",
            "total=2",
            "shard=2&total=2",
            "shard=-1&total=2",
            "shard=0&total=0",
            "shard=a&total=b",
        ] {
            assert!(Query::parse(query).is_err(), "{query}");
        }
        let query = Query::parse("resources=pods,jobs&exclude_resources=jobs").expect("valid");
        assert!(query.asks_for("pods") && !query.asks_for("jobs") && !query.asks_for("nodes"));
    }
}
