//! Getting the body of one response.

use std::sync::Arc;

use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use outrigger_rt::http::{BodyError as ReadError, HttpError, HttpRequest};
use tokio::time::Instant;

use super::body::{Body, BodyBudget, BodyCollector, BodyLimit};
use super::error::ScrapeError;
use super::headers;
use super::target_loop::Plan;

/// A complete response with status 200.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) body: Body,
    pub(crate) content_type: Option<String>,
}

/// Asks a target. Everything, the body included, must be done by `deadline`.
pub(crate) async fn fetch(
    plan: &Plan,
    deadline: Instant,
    size_hint: usize,
    limit: BodyLimit,
    budget: Arc<BodyBudget>,
) -> Result<Fetched, ScrapeError> {
    let request = HttpRequest {
        method: Method::GET,
        url: &plan.target.url,
        headers: request_headers(plan),
        body: bytes::Bytes::new(),
        deadline,
    };
    let response = plan.settings.client.send(request).await.map_err(|source| match source {
        HttpError::Timeout { .. } => ScrapeError::RequestTimeout { url: shown_url(plan) },
        source => ScrapeError::Request { url: shown_url(plan), source: Box::new(source) },
    })?;
    if response.status != StatusCode::OK {
        return Err(ScrapeError::Status(response.status));
    }
    let text = |name| response.headers.get(name).map(|value: &HeaderValue| lossy(value));
    let (content_type, content_encoding) = (text(CONTENT_TYPE), text(CONTENT_ENCODING));
    let mut collector = BodyCollector::new(content_encoding.as_deref(), size_hint, limit, budget);
    let mut body = response.body;
    while let Some(chunk) = body.chunk().await.map_err(|error| match error {
        ReadError::Timeout { .. } => ScrapeError::BodyTimeout,
        error => ScrapeError::Read(error),
    })? {
        collector.push(&chunk)?;
    }
    Ok(Fetched { body: collector.finish()?, content_type })
}

fn request_headers(plan: &Plan) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(4);
    map.insert(ACCEPT, plan.settings.accept.clone());
    map.insert(ACCEPT_ENCODING, plan.settings.accept_encoding.clone());
    let timeout = HeaderValue::try_from(headers::timeout_seconds(plan.target.timeout));
    map.insert(
        HeaderName::from_static("x-prometheus-scrape-timeout-seconds"),
        timeout.expect("a number in digits is a header value"),
    );
    map
}

fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// The URL with the password replaced, as Go's `url.URL.Redacted` shows it.
fn shown_url(plan: &Plan) -> String {
    redacted(&plan.target.url)
}

fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    match authority.rsplit_once('@').map(|(user, host)| (user.split_once(':'), host)) {
        Some((Some((user, _)), host)) => format!("{scheme}://{user}:xxxxx@{host}{path}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_not_shown() {
        for (url, shown) in [
            ("http://h:1/metrics?a=b@c", "http://h:1/metrics?a=b@c"),
            ("http://u:p@h:1/metrics", "http://u:xxxxx@h:1/metrics"),
            ("http://u@h/", "http://u@h/"),
        ] {
            assert_eq!(redacted(url), shown);
        }
    }
}
