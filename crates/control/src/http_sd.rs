//! `http_sd_configs`: target groups asked for over HTTP (Prometheus `discovery/http/http.go`).

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use outrigger_config::error::ConfigErrors;
use outrigger_config::prometheus::{HttpSd, parse_json_targets};
use outrigger_model::fault::chain;
use outrigger_model::labels::Labels;
use outrigger_model::target::TargetGroup;
use outrigger_rt::http::{BodyError, HttpClient, HttpError, HttpRequest};
use tokio::time::{Instant, MissedTickBehavior};

use crate::group_store::GroupStore;
use crate::reporter::{ErrorReason, Reporter};

/// What an interval of zero means.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// Largest answer.
const MAX_BODY_BYTES: usize = 32 << 20;

const REFRESH_INTERVAL_HEADER: HeaderName = HeaderName::from_static("x-prometheus-refresh-interval-seconds");

/// Label of every target from HTTP: the URL that was asked.
const URL_LABEL: &str = "__meta_url";

/// Why an answer is not used.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("no answer")]
    Send(#[source] HttpError),
    #[error("the answer is HTTP status {0}, not 200")]
    Status(StatusCode),
    #[error("the answer has content type {0:?}, not application/json")]
    ContentType(String),
    #[error("the answer broke off")]
    Body(#[source] BodyError),
    #[error("the answer is not UTF-8")]
    NotUtf8,
    #[error("the answer is not a list of target groups")]
    Content(#[source] ConfigErrors),
}

/// Keeps `store` equal to what the URL answers; an error keeps the last groups. Never ends.
pub(crate) async fn run(config: HttpSd, client: HttpClient, store: Arc<GroupStore>, reporter: Arc<Reporter>) {
    let shown = without_credentials(&config.url);
    let mut ticks = tokio::time::interval(config.refresh_interval.max(MIN_INTERVAL));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match fetch(&config, &client).await {
            Ok(groups) => store.replace(groups, None),
            Err(error) => {
                let text = chain(&error);
                reporter.error(ErrorReason::Http, &shown, |suppressed| {
                    tracing::error!(
                        url = shown,
                        error = text,
                        suppressed,
                        "HTTP discovery failed, its last targets stay"
                    );
                });
                store.fail(text);
            }
        }
    }
}

async fn fetch(config: &HttpSd, client: &HttpClient) -> Result<Vec<TargetGroup>, FetchError> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let seconds = config.refresh_interval.as_secs_f64().to_string();
    headers.extend(HeaderValue::try_from(seconds).ok().map(|seconds| (REFRESH_INTERVAL_HEADER, seconds)));
    let request = HttpRequest {
        method: Method::GET,
        url: &config.url,
        headers,
        body: Default::default(),
        deadline: Instant::now() + config.refresh_interval.max(MIN_INTERVAL),
    };
    let response = client.send(request).await.map_err(FetchError::Send)?;
    if response.status != StatusCode::OK {
        return Err(FetchError::Status(response.status));
    }
    let content_type = response.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let content_type = String::from_utf8_lossy(content_type);
    if !is_json(content_type.trim()) {
        return Err(FetchError::ContentType(content_type.into_owned()));
    }
    let body = response.body.read_all(MAX_BODY_BYTES).await.map_err(FetchError::Body)?;
    let text = std::str::from_utf8(&body).map_err(|_| FetchError::NotUtf8)?;
    let shown = without_credentials(&config.url);
    let mut groups = parse_json_targets(&shown, text).map_err(FetchError::Content)?;
    for (index, group) in groups.iter_mut().enumerate() {
        group.source = format!("{}:{index}", config.url).into();
        let labels = group.labels.iter().chain([(URL_LABEL, config.url.as_str())]);
        group.labels = Labels::from_pairs(labels.collect::<Vec<_>>());
    }
    Ok(groups)
}

/// `application/json`, alone or with charset UTF-8; case does not matter.
fn is_json(content_type: &str) -> bool {
    let content_type = content_type.to_ascii_lowercase();
    match content_type.strip_prefix("application/json") {
        Some("") => true,
        Some(rest) => rest
            .strip_prefix(';')
            .is_some_and(|rest| matches!(rest.trim_start(), "charset=utf-8" | "charset=\"utf-8\"")),
        None => false,
    }
}

/// A URL as it may be shown: without user information and query.
pub(crate) fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_are_those_that_prometheus_takes() {
        for (content_type, taken) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/json;charset=\"utf-8\"", true),
            ("application/json; charset=latin1", false),
            ("application/json ", false),
            ("text/json", false),
            ("", false),
        ] {
            assert_eq!(is_json(content_type), taken, "{content_type:?}");
        }
    }

    #[test]
    fn shown_urls_have_no_secrets() {
        for (url, shown) in [
            ("http://user:pass@host:1/path?token=x", "http://host:1/path"),
            ("https://host", "https://host"),
            ("http://host?x=@y", "http://host"),
        ] {
            assert_eq!(without_credentials(url), shown);
        }
    }
}
