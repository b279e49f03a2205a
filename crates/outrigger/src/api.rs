//! The HTTP surface: page, its data, Prometheus' API, self-metrics, health, reload.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Json, Response};
use axum::routing::{get, post};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use outrigger_collect::remote_write::RemoteWrite;
use outrigger_collect::scrape::{ScrapeEngine, TargetStatus};
use outrigger_collect::worker::Worker;
use outrigger_control::{Discovery, JobSnapshot};
use outrigger_model::clock::SharedClock;
use outrigger_model::sample::Timestamp;
use outrigger_model::target::TargetId;
use outrigger_rt::metrics::Registry;
use outrigger_rt::supervisor::Supervisor;
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot};

use crate::fleet_view::MasterView;
use crate::page;
use crate::page_api::{self, TargetQuery};
use crate::prometheus_api;
use crate::reload::ReloadRequest;
use crate::scale_api;
use crate::state_metrics::StateRole;

/// The parts of this process; which it has depends on its role.
#[derive(Clone, Default)]
pub(crate) struct Parts {
    /// `run` and `worker`.
    pub(crate) engine: Option<ScrapeEngine>,
    /// `run` and `worker`.
    pub(crate) remote_write: Option<Arc<RemoteWrite>>,
    /// `run` and `master`.
    pub(crate) discovery: Option<Arc<Discovery>>,
    /// `master`.
    pub(crate) master: Option<MasterView>,
    /// `worker`.
    pub(crate) worker: Option<Worker>,
    /// `run` and `master`, where the configuration has it.
    pub(crate) state_metrics: Option<StateRole>,
}

/// What the handlers read.
pub(crate) struct AppState {
    pub(crate) clock: SharedClock,
    pub(crate) registry: Registry,
    pub(crate) supervisor: Supervisor,
    pub(crate) role: Role,
    pub(crate) parts: Parts,
    pub(crate) started: Timestamp,
    pub(crate) config_path: PathBuf,
    config: RwLock<ConfigState>,
    reloads: mpsc::Sender<ReloadRequest>,
}

/// What this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Everything in one process.
    Run,
    /// Discovers and assigns.
    Master,
    /// Scrapes what a master assigns.
    Worker,
}

impl Role {
    /// As it is written in metrics and on the page.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Role::Run => "run",
            Role::Master => "master",
            Role::Worker => "worker",
        }
    }
}

/// The configuration in force, as far as it is shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConfigState {
    pub(crate) loaded: Timestamp,
    /// Why the last reload was refused.
    pub(crate) error: Option<String>,
}

impl AppState {
    pub(crate) fn new(
        clock: SharedClock,
        registry: Registry,
        supervisor: Supervisor,
        role: Role,
        parts: Parts,
        config_path: PathBuf,
        reloads: mpsc::Sender<ReloadRequest>,
    ) -> Self {
        let started = clock.now();
        let config = RwLock::default();
        Self { clock, registry, supervisor, role, parts, started, config_path, config, reloads }
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> ConfigState {
        self.config.read().clone()
    }

    /// A configuration was put in force.
    pub(crate) fn config_loaded(&self) {
        let loaded = self.clock.now();
        *self.config.write() = ConfigState { loaded, error: None };
        self.config_gauges(true);
    }

    /// A configuration was refused; the earlier one stays in force.
    pub(crate) fn config_refused(&self, error: &str) {
        self.config.write().error = Some(error.to_owned());
        self.config_gauges(false);
    }

    fn config_gauges(&self, successful: bool) {
        let name = "outrigger_config_last_reload_successful";
        let help = "Whether the last attempt to load the configuration succeeded.";
        self.registry.gauge(name, help, &[]).set(f64::from(u8::from(successful)));
        if successful {
            let name = "outrigger_config_last_reload_success_timestamp_seconds";
            let help = "When a configuration was last put in force.";
            self.registry.gauge(name, help, &[]).set(self.clock.now().seconds());
        }
    }

    /// The jobs that this process discovers targets for.
    pub(crate) fn jobs(&self) -> Vec<JobSnapshot> {
        self.parts.discovery.as_ref().map(|discovery| discovery.jobs()).unwrap_or_default()
    }

    /// The last scrapes of a job's targets, as far as they are made here.
    pub(crate) fn job_status(&self, job: &str) -> HashMap<TargetId, TargetStatus> {
        self.parts.engine.as_ref().map(|engine| engine.job_status(job)).unwrap_or_default()
    }

    /// What is not ready yet.
    pub(crate) fn not_ready(&self) -> Vec<String> {
        let mut waiting: Vec<String> =
            self.supervisor.unready().iter().map(|name| name.to_string()).collect();
        if let Some(worker) = &self.parts.worker
            && worker.status().revision_in_force == 0
        {
            waiting.push("a configuration from a master".to_owned());
        }
        for job in self.jobs() {
            let unsettled =
                job.providers.iter().filter(|provider| !provider.ready && provider.error.is_none());
            waiting.extend(unsettled.map(|provider| {
                let resources: Vec<&str> = provider.waiting_for.iter().map(|kind| kind.plural()).collect();
                format!("job {}: {} {}", job.config.job_name, provider.description, resources.join(", "))
            }));
        }
        if let Some(state_metrics) = &self.parts.state_metrics {
            let resources = state_metrics.waiting_for();
            if !resources.is_empty() {
                waiting.push(format!("state metrics of {}", resources.join(", ")));
            }
        }
        waiting
    }
}

/// All routes.
pub(crate) fn router(state: Arc<AppState>) -> Router {
    let state_metrics = state.parts.state_metrics.as_ref().map(StateRole::router).unwrap_or_default();
    Router::new()
        .route("/-/healthy", get(async || "Outrigger is healthy.\n"))
        .route("/-/ready", get(ready))
        .route("/-/reload", post(reload).put(reload))
        .route("/-/alive", get(alive))
        .route("/metrics", get(metrics))
        .route(
            "/api/outrigger/v1/overview",
            get(async |State(state): State<Arc<AppState>>| Json(page_api::overview(&state))),
        )
        .route(
            "/api/outrigger/v1/targets",
            get(async |State(state): State<Arc<AppState>>, Query(query): Query<TargetQuery>| {
                Json(page_api::targets(&state, &query))
            }),
        )
        .merge(prometheus_api::router())
        .merge(scale_api::router())
        .merge(page::router())
        .with_state(state)
        .merge(state_metrics)
}

async fn ready(State(state): State<Arc<AppState>>) -> Response {
    let waiting = state.not_ready();
    if waiting.is_empty() {
        return "Outrigger is ready.\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for: {}\n", waiting.join("; "))).into_response()
}

/// By this a master tells a worker that it cannot hear from one that is dead.
async fn alive(State(state): State<Arc<AppState>>) -> Response {
    match &state.parts.worker {
        Some(worker) => ([(CONTENT_TYPE, "application/json")], worker.alive()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn metrics(State(state): State<Arc<AppState>>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.registry.render()).into_response()
}

async fn reload(State(state): State<Arc<AppState>>) -> Response {
    let (sender, outcome) = oneshot::channel();
    if state.reloads.send(ReloadRequest(sender)).await.is_err() {
        return (StatusCode::SERVICE_UNAVAILABLE, "Outrigger is shutting down\n").into_response();
    }
    match outcome.await {
        Ok(Ok(())) => StatusCode::OK.into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "Outrigger is shutting down\n").into_response(),
    }
}
