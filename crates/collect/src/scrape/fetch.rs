//! Getting the body of one response.

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use outrigger_rt::http::{BodyError as ReadError, BodyReader, HttpError, HttpRequest};
use tokio::time::Instant;

use super::error::ScrapeError;
use super::headers;
use super::target_loop::Plan;

/// The beginning of a response with status 200; its body is still on the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) content_type: Option<String>,
    pub(crate) content_encoding: Option<String>,
    body: BodyReader,
}

impl Answer {
    /// The next bytes of the body as they were sent, `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, ScrapeError> {
        self.body.chunk().await.map_err(|error| match error {
            ReadError::Timeout { .. } => ScrapeError::BodyTimeout,
            error => ScrapeError::Read(error),
        })
    }
}

/// Asks a target and waits for the headers of its answer. Everything, the body included, must be done by `deadline`.
pub(crate) async fn ask(
    plan: &Plan,
    deadline: Instant,
    last_body_bytes: usize,
) -> Result<Answer, ScrapeError> {
    let request = HttpRequest {
        method: Method::GET,
        url: &plan.target.url,
        headers: request_headers(plan, last_body_bytes),
        body: Bytes::new(),
        deadline,
    };
    let response = plan.settings.client.send(request).await.map_err(|source| match source {
        HttpError::Timeout { .. } => ScrapeError::RequestTimeout { url: shown_url(plan) },
        source => ScrapeError::Request { url: shown_url(plan), source: Box::new(source) },
    })?;
    if response.status != StatusCode::OK {
        return Err(ScrapeError::Status(response.status));
    }
    let text = |name| response.headers.get(name).map(lossy);
    Ok(Answer {
        content_type: text(CONTENT_TYPE),
        content_encoding: text(CONTENT_ENCODING),
        body: response.body,
    })
}

fn request_headers(plan: &Plan, last_body_bytes: usize) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(4);
    map.insert(ACCEPT, plan.settings.accept.clone());
    let encoding = headers::accept_encoding(&plan.settings.config, last_body_bytes);
    map.insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));
    if plan.settings.config.disable_keepalive {
        map.insert(CONNECTION, HeaderValue::from_static("close"));
    }
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
