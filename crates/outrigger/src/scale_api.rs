//! How many workers a master wants, for whatever scales them: plain JSON and Kubernetes' external metrics API
//! (`k8s.io/metrics` `pkg/apis/external_metrics/v1beta1`), which an APIService makes part of the API server.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Json, Response};
use axum::routing::get;
use http::header::{CONNECTION, HeaderValue};
use http::{StatusCode, Version};
use outrigger_model::sample::Timestamp;
use serde_json::{Value, json};

use crate::api::AppState;

const GROUP: &str = "external.metrics.k8s.io";
const GROUP_VERSION: &str = "external.metrics.k8s.io/v1beta1";
/// The only external metric, named as on `/metrics`.
pub(crate) const WORKERS_DESIRED: &str = "outrigger_workers_desired";
/// What is said when nobody knows the number.
const NO_LEADER: &str = "this master does not lead and no leader has said lately how many workers it wants";

pub(crate) fn router() -> Router<Arc<AppState>> {
    Router::new()
        .route("/api/outrigger/v1/scale", get(scale))
        .route("/apis", get(async || Json(groups())))
        .route("/apis/external.metrics.k8s.io", get(async || Json(group())))
        .route("/apis/external.metrics.k8s.io/v1beta1", get(async || Json(resources())))
        .route("/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{metric}", get(metric))
}

async fn scale(State(state): State<Arc<AppState>>, version: Version) -> Response {
    let Some(master) = &state.parts.master else { return StatusCode::NOT_FOUND.into_response() };
    match master.fleet.scale() {
        Some(scale) => Json(json!({
            "leading": scale.leading,
            "workers": scale.workers,
            "workers_desired": scale.desired,
        }))
        .into_response(),
        None => {
            let body = json!({ "leading": false, "error": NO_LEADER });
            try_another((StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response(), version)
        }
    }
}

/// Ends the connection after an answer, so that a scaler that reaches the masters by one address does not go on asking
/// one that knows nothing for as long as its connection lasts. HTTP/2 has no such word.
fn try_another(mut answer: Response, version: Version) -> Response {
    if version <= Version::HTTP_11 {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

async fn metric(
    State(state): State<Arc<AppState>>,
    Path((_, metric)): Path<(String, String)>,
    version: Version,
) -> Response {
    let master = state.parts.master.as_ref().filter(|_| metric == WORKERS_DESIRED);
    match master.map(|master| master.fleet.scale()) {
        Some(Some(scale)) => Json(value_list(scale.desired, state.clock.now())).into_response(),
        // A scaler that gets no value leaves the number of workers as it is.
        Some(None) => {
            try_another(status(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", NO_LEADER), version)
        }
        None => {
            let message = format!("the only external metric here is {WORKERS_DESIRED}");
            status(StatusCode::NOT_FOUND, "NotFound", &message)
        }
    }
}

fn value_list(desired: u64, now: Timestamp) -> Value {
    let time = jiff::Timestamp::from_second(now.millis().div_euclid(1000)).unwrap_or_default();
    json!({
        "kind": "ExternalMetricValueList",
        "apiVersion": GROUP_VERSION,
        "metadata": {},
        "items": [{
            "metricName": WORKERS_DESIRED,
            "metricLabels": {},
            "timestamp": time.to_string(),
            "value": desired.to_string(),
        }],
    })
}

fn status(code: StatusCode, reason: &str, message: &str) -> Response {
    let body = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code.as_u16(),
    });
    (code, Json(body)).into_response()
}

fn group_version() -> Value {
    json!({ "groupVersion": GROUP_VERSION, "version": "v1beta1" })
}

fn group() -> Value {
    json!({
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": GROUP,
        "versions": [group_version()],
        "preferredVersion": group_version(),
    })
}

fn groups() -> Value {
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [group()] })
}

fn resources() -> Value {
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": GROUP_VERSION,
        "resources": [{
            "name": WORKERS_DESIRED,
            "singularName": "",
            "namespaced": true,
            "kind": "ExternalMetricValueList",
            "verbs": ["get"],
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_knows_nothing_ends_the_connection_where_http_has_a_word_for_it() {
        for (version, ends) in [(Version::HTTP_10, true), (Version::HTTP_11, true), (Version::HTTP_2, false)]
        {
            let answer = try_another(StatusCode::SERVICE_UNAVAILABLE.into_response(), version);
            assert_eq!(answer.headers().contains_key(CONNECTION), ends, "{version:?}");
        }
    }
}
