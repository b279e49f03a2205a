//! The part of Prometheus' HTTP API that this process can answer (Prometheus `web/api/v1`).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Json, Response};
use axum::routing::get;
use outrigger_collect::scrape::TargetStatus;
use outrigger_model::duration;
use outrigger_model::labels::Labels;
use outrigger_model::sample::Timestamp;
use outrigger_model::target::ScrapeTarget;
use serde::{Deserialize, Serialize};

use crate::api::AppState;

/// Go's zero time, which Prometheus shows for what has not happened.
const NEVER: &str = "0001-01-01T00:00:00Z";

pub(crate) fn router() -> Router<Arc<AppState>> {
    Router::new()
        .route("/api/v1/targets", get(targets))
        .route("/api/v1/scrape_pools", get(scrape_pools))
        .route("/api/v1/status/buildinfo", get(build_info))
}

#[derive(Debug, Serialize)]
struct Success<T> {
    status: &'static str,
    data: T,
}

fn success<T: Serialize>(data: T) -> Response {
    Json(Success { status: "success", data }).into_response()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TargetsQuery {
    state: String,
    scrape_pool: String,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Targets {
    active_targets: Vec<ActiveTarget>,
    dropped_targets: Vec<DroppedTarget>,
    dropped_target_counts: Option<BTreeMap<String, u64>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ActiveTarget {
    discovered_labels: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    scrape_pool: String,
    scrape_url: String,
    global_url: String,
    last_error: String,
    last_scrape: String,
    last_scrape_duration: f64,
    health: &'static str,
    scrape_interval: String,
    scrape_timeout: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DroppedTarget {
    discovered_labels: BTreeMap<String, String>,
    scrape_pool: String,
}

async fn targets(State(state): State<Arc<AppState>>, Query(query): Query<TargetsQuery>) -> Response {
    let wanted = query.state.to_ascii_lowercase();
    let (active, dropped) = match wanted.as_str() {
        "active" => (true, false),
        "dropped" => (false, true),
        _ => (true, true),
    };
    let mut answer = Targets::default();
    if dropped {
        answer.dropped_target_counts = Some(BTreeMap::new());
    }
    if let (None, Some(engine)) = (&state.parts.discovery, &state.parts.engine) {
        let wanted =
            |target: &ScrapeTarget| query.scrape_pool.is_empty() || *query.scrape_pool == *target.job;
        let targets = engine.targets().into_iter().filter(|target| active && wanted(target));
        answer.active_targets.extend(targets.map(|target| {
            let status = engine.status(&target.job, target.id).unwrap_or_default();
            active_target(&target, &Labels::empty(), status)
        }));
    }
    for job in state.jobs() {
        let name = &job.config.job_name;
        if !query.scrape_pool.is_empty() && *query.scrape_pool != **name {
            continue;
        }
        if active {
            add_active(&state, name, &mut answer.active_targets);
        }
        if let Some(counts) = &mut answer.dropped_target_counts {
            add_dropped(&state, name, &mut answer.dropped_targets);
            counts.insert(name.to_string(), job.counts.dropped);
        }
    }
    success(answer)
}

fn add_active(state: &AppState, job: &str, into: &mut Vec<ActiveTarget>) {
    let statuses = state.job_status(job);
    let Some(discovery) = &state.parts.discovery else { return };
    let found = discovery.active(Some(job), |_| true, 0, usize::MAX);
    for outrigger_control::ActiveTarget { target, discovered, .. } in found.items {
        let status = statuses.get(&target.id).cloned().unwrap_or_default();
        into.push(active_target(&target, &discovered, status));
    }
}

fn active_target(target: &ScrapeTarget, discovered: &Labels, status: TargetStatus) -> ActiveTarget {
    ActiveTarget {
        discovered_labels: label_map(discovered),
        labels: label_map(&target.labels),
        scrape_pool: target.job.to_string(),
        global_url: target.url.clone(),
        scrape_url: target.url.clone(),
        last_error: status.last_error,
        last_scrape: status.last_scrape.map_or_else(|| NEVER.to_owned(), format_time),
        last_scrape_duration: status.last_scrape_duration.as_secs_f64(),
        health: status.health.as_str(),
        scrape_interval: duration::format(target.interval),
        scrape_timeout: duration::format(target.timeout),
    }
}

fn add_dropped(state: &AppState, job: &str, into: &mut Vec<DroppedTarget>) {
    let Some(discovery) = &state.parts.discovery else { return };
    let found = discovery.dropped(Some(job), 0, usize::MAX);
    into.extend(found.items.into_iter().map(|target| DroppedTarget {
        discovered_labels: label_map(&target.discovered),
        scrape_pool: job.to_owned(),
    }));
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ScrapePools {
    scrape_pools: Vec<String>,
}

async fn scrape_pools(State(state): State<Arc<AppState>>) -> Response {
    let mut scrape_pools: Vec<String> =
        state.jobs().iter().map(|job| job.config.job_name.to_string()).collect();
    if let (None, Some(engine)) = (&state.parts.discovery, &state.parts.engine) {
        scrape_pools.extend(engine.targets().iter().map(|target| target.job.to_string()));
    }
    scrape_pools.sort();
    scrape_pools.dedup();
    success(ScrapePools { scrape_pools })
}

#[derive(Debug, Serialize)]
struct BuildInfo {
    application: &'static str,
    version: &'static str,
}

async fn build_info() -> Response {
    success(BuildInfo { application: "Outrigger", version: env!("CARGO_PKG_VERSION") })
}

/// Labels as a JSON object.
pub(crate) fn label_map(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn format_time(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.millis())
        .map_or_else(|_| NEVER.to_owned(), |time| time.to_string())
}
