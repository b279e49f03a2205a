//! What the web page asks for; the reading side is `web/src/api.ts`.
//!
//! These are the server's own data transfer types: nothing inside is serialised as it is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use outrigger_collect::remote_write::EndpointStatus;
use outrigger_collect::scrape::{Health, ScrapeEngine, TargetStatus};
use outrigger_control::{ActiveTarget, ClusterSnapshot, InactiveTarget, JobSnapshot, WatchStatus};
use outrigger_model::sample::Timestamp;
use outrigger_model::target::{ScrapeTarget, TargetId};
use serde::{Deserialize, Serialize};

use crate::api::AppState;
use crate::fleet_view::{Assignment, Fleet, MasterView, Monitor, assignment};
use crate::prometheus_api::label_map;

/// Targets in one answer, at most.
const MAX_PAGE: usize = 1000;

/// `GET api/outrigger/v1/overview`.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    pub(crate) now_ms: i64,
    pub(crate) started_ms: i64,
    pub(crate) version: &'static str,
    pub(crate) role: &'static str,
    pub(crate) ready: bool,
    pub(crate) not_ready: Vec<String>,
    pub(crate) config_path: String,
    pub(crate) config_loaded_ms: i64,
    pub(crate) config_error: Option<String>,
    pub(crate) samples_scraped: u64,
    pub(crate) jobs: Vec<Job>,
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) remote_write: Vec<Endpoint>,
    pub(crate) fleet: Option<Fleet>,
    pub(crate) assignment: Option<Assignment>,
    pub(crate) refused_monitors: Vec<Monitor>,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Job {
    pub(crate) job: String,
    pub(crate) discovery: Vec<String>,
    pub(crate) up: u64,
    pub(crate) down: u64,
    pub(crate) unknown: u64,
    pub(crate) dropped: u64,
    pub(crate) errors: u64,
    pub(crate) over_target_limit: bool,
    pub(crate) interval_seconds: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) server: String,
    pub(crate) error: Option<String>,
    pub(crate) watches: Vec<Watch>,
    pub(crate) requests: Vec<RequestCount>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Watch {
    pub(crate) resource: String,
    pub(crate) scope: String,
    pub(crate) phase: &'static str,
    pub(crate) synced: bool,
    pub(crate) objects: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) last_event_ms: Option<i64>,
    pub(crate) resource_version: String,
    pub(crate) events: u64,
    pub(crate) received_bytes: u64,
    pub(crate) relists: u64,
    pub(crate) reconnects: u64,
    pub(crate) last_error: Option<String>,
    pub(crate) missing_permission: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct RequestCount {
    pub(crate) request: &'static str,
    pub(crate) resource: String,
    pub(crate) code: String,
    pub(crate) count: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) pending_samples: u64,
    pub(crate) pending_bytes: u64,
    pub(crate) capacity_bytes: u64,
    pub(crate) lag_seconds: f64,
    pub(crate) shards: usize,
    pub(crate) sent: u64,
    pub(crate) retried: u64,
    pub(crate) dropped: u64,
    pub(crate) last_error: Option<String>,
    pub(crate) last_success_ms: Option<i64>,
}

/// Query of `GET api/outrigger/v1/targets`; everything optional.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TargetQuery {
    pub(crate) job: String,
    pub(crate) state: String,
    pub(crate) search: String,
    pub(crate) offset: usize,
    pub(crate) limit: usize,
}

#[derive(Debug, Serialize)]
pub(crate) struct TargetPage {
    pub(crate) total: usize,
    pub(crate) offset: usize,
    pub(crate) targets: Vec<Target>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) job: String,
    pub(crate) state: &'static str,
    /// Workers that scrape it, where this process is their master.
    pub(crate) workers: Vec<String>,
    pub(crate) url: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) discovered: BTreeMap<String, String>,
    pub(crate) last_error: String,
    pub(crate) last_scrape_ms: Option<i64>,
    pub(crate) last_duration_seconds: f64,
    pub(crate) samples: usize,
}

/// Everything but the targets themselves.
pub(crate) fn overview(state: &AppState) -> Overview {
    let config = state.config();
    let not_ready = state.not_ready();
    let parts = &state.parts;
    Overview {
        now_ms: state.clock.now().millis(),
        started_ms: state.started.millis(),
        version: env!("CARGO_PKG_VERSION"),
        role: state.role.as_str(),
        ready: not_ready.is_empty(),
        not_ready,
        config_path: state.config_path.display().to_string(),
        config_loaded_ms: config.loaded.millis(),
        config_error: config.error,
        samples_scraped: parts.engine.as_ref().map_or(0, ScrapeEngine::samples_scraped),
        jobs: match &parts.discovery {
            Some(_) => state.jobs().into_iter().map(|job| job_row(state, job)).collect(),
            None => parts.engine.as_ref().map(assigned_jobs).unwrap_or_default(),
        },
        clusters: parts
            .discovery
            .iter()
            .flat_map(|discovery| discovery.clusters())
            .map(cluster_row)
            .collect(),
        remote_write: parts
            .remote_write
            .iter()
            .flat_map(|remote| remote.status())
            .map(endpoint_row)
            .collect(),
        fleet: parts.master.as_ref().map(|master| master.fleet(state.clock.now(), &state.jobs())),
        assignment: parts.worker.as_ref().map(|worker| assignment(worker, state.clock.now())),
        refused_monitors: parts.master.iter().flat_map(MasterView::refused_monitors).collect(),
    }
}

fn job_row(state: &AppState, job: JobSnapshot) -> Job {
    let statuses = state.job_status(&job.config.job_name);
    let count = |health| statuses.values().filter(|status| status.health == health).count() as u64;
    let (up, down) = (count(Health::Up), count(Health::Down));
    Job {
        job: job.config.job_name.to_string(),
        discovery: job.providers.iter().map(|provider| provider.description.clone()).collect(),
        up,
        down,
        unknown: job.counts.active.saturating_sub(up + down),
        dropped: job.counts.dropped,
        errors: job.counts.failed,
        over_target_limit: job.over_target_limit,
        interval_seconds: job.config.scrape_interval.as_secs_f64(),
    }
}

/// The jobs of a worker: what it scrapes of them.
fn assigned_jobs(engine: &ScrapeEngine) -> Vec<Job> {
    let mut jobs: BTreeMap<Arc<str>, Job> = BTreeMap::new();
    for target in engine.targets() {
        let job = jobs.entry(Arc::clone(&target.job)).or_insert_with(|| Job {
            job: target.job.to_string(),
            discovery: vec!["assigned by the master".to_owned()],
            interval_seconds: target.interval.as_secs_f64(),
            ..Job::default()
        });
        match engine.status(&target.job, target.id).map_or(Health::Unknown, |status| status.health) {
            Health::Up => job.up += 1,
            Health::Down => job.down += 1,
            Health::Unknown => job.unknown += 1,
        }
    }
    jobs.into_values().collect()
}

/// One page of a worker's targets, in order of job and URL.
fn assigned_targets(engine: &ScrapeEngine, query: &TargetQuery, limit: usize) -> TargetPage {
    let mut found: Vec<(Arc<ScrapeTarget>, TargetStatus)> = engine
        .targets()
        .into_iter()
        .filter(|target| query.job.is_empty() || *target.job == *query.job)
        .filter(|target| contains(target, &query.search))
        .map(|target| {
            let status = engine.status(&target.job, target.id).unwrap_or_default();
            (target, status)
        })
        .filter(|(_, status)| query.state.is_empty() || status.health.as_str() == query.state)
        .collect();
    found.sort_by(|(one, _), (other, _)| {
        (&one.job, &one.url, one.id).cmp(&(&other.job, &other.url, other.id))
    });
    let total = found.len();
    let shown = found.into_iter().skip(query.offset).take(limit);
    let targets = shown.map(|(target, status)| assigned_row(&target, status)).collect();
    TargetPage { total, offset: query.offset, targets }
}

fn assigned_row(target: &ScrapeTarget, status: TargetStatus) -> Target {
    Target {
        job: target.job.to_string(),
        state: status.health.as_str(),
        workers: Vec::new(),
        url: target.url.clone(),
        labels: label_map(&target.labels),
        discovered: BTreeMap::new(),
        last_error: status.last_error,
        last_scrape_ms: status.last_scrape.map(Timestamp::millis),
        last_duration_seconds: status.last_scrape_duration.as_secs_f64(),
        samples: status.samples_scraped,
    }
}

fn cluster_row(cluster: ClusterSnapshot) -> Cluster {
    let tables = &cluster.tables;
    let watches = cluster.watches.into_iter().map(|watch| {
        let table = tables.iter().find(|table| table.resource == watch.resource);
        watch_row(watch, table.map_or((0, 0), |table| (table.rows as u64, table.bytes as u64)))
    });
    Cluster {
        watches: watches.collect(),
        name: if cluster.name.is_empty() { "(unnamed)".to_owned() } else { cluster.name },
        server: cluster.server.unwrap_or_default(),
        error: cluster.error,
        requests: cluster
            .requests
            .into_iter()
            .map(|request| RequestCount {
                request: request.request.as_str(),
                resource: request.resource.map_or_else(String::new, |resource| resource.to_string()),
                code: request.code.map_or_else(|| "no answer".to_owned(), |code| code.to_string()),
                count: request.count,
            })
            .collect(),
    }
}

fn watch_row(watch: WatchStatus, (objects, memory_bytes): (u64, u64)) -> Watch {
    Watch {
        resource: watch.resource.plural().to_owned(),
        scope: watch.namespace.unwrap_or_default(),
        phase: watch.phase.as_str(),
        synced: watch.synced,
        objects,
        memory_bytes,
        last_event_ms: watch.last_event.map(Timestamp::millis),
        resource_version: watch.resource_version,
        events: watch.events,
        received_bytes: watch.bytes,
        relists: watch.relists,
        reconnects: watch.reconnects,
        last_error: watch.last_error,
        missing_permission: watch.missing_permission.map(|hint| hint.rule),
    }
}

fn endpoint_row(endpoint: EndpointStatus) -> Endpoint {
    let failing = endpoint.is_failing();
    Endpoint {
        name: endpoint.name,
        url: endpoint.url,
        pending_samples: endpoint.pending_samples,
        pending_bytes: endpoint.pending_bytes,
        capacity_bytes: endpoint.limit_bytes,
        lag_seconds: endpoint.lag_seconds,
        shards: endpoint.shards,
        sent: endpoint.samples_sent,
        retried: endpoint.requests_retried,
        dropped: endpoint.samples_dropped.iter().map(|(_, samples)| samples).sum(),
        last_error: endpoint.last_error.filter(|_| failing).map(|(_, error)| error),
        last_success_ms: endpoint.last_success.map(Timestamp::millis),
    }
}

/// One page of targets: active ones first, then dropped ones, then those with an error.
pub(crate) fn targets(state: &AppState, query: &TargetQuery) -> TargetPage {
    let limit = if query.limit == 0 { 100 } else { query.limit.min(MAX_PAGE) };
    let mut page = TargetPage { total: 0, offset: query.offset, targets: Vec::new() };
    let Some(discovery) = &state.parts.discovery else {
        return state.parts.engine.as_ref().map_or(page, |engine| assigned_targets(engine, query, limit));
    };
    let job = (!query.job.is_empty()).then_some(query.job.as_str());
    let statuses = Statuses::of(state, job);
    if matches!(query.state.as_str(), "" | "up" | "down" | "unknown") {
        let filter = |target: &ScrapeTarget| {
            let health = statuses.get(target).map_or(Health::Unknown, |status| status.health);
            (query.state.is_empty() || health.as_str() == query.state) && contains(target, &query.search)
        };
        let found = discovery.active(job, filter, query.offset, limit);
        page.total += found.total;
        page.targets.extend(found.items.into_iter().map(|target| active_row(state, target, &statuses)));
    }
    // What relabelling dropped has no labels to search in until it is computed, so a search leaves it out.
    let shown = |state: &str| query.search.is_empty() && (query.state.is_empty() || query.state == state);
    for (name, wanted) in [("dropped", shown("dropped")), ("error", shown("error"))] {
        if !wanted {
            continue;
        }
        let offset = query.offset.saturating_sub(page.total);
        let room = limit - page.targets.len();
        let found = match name {
            "dropped" => discovery.dropped(job, offset, room),
            _ => discovery.failed(job, offset, room),
        };
        page.total += found.total;
        page.targets.extend(found.items.into_iter().map(|target| inactive_row(target, name)));
    }
    page
}

/// The last scrapes of the jobs that are shown.
struct Statuses(HashMap<String, HashMap<TargetId, TargetStatus>>);

impl Statuses {
    fn of(state: &AppState, job: Option<&str>) -> Self {
        let names = match job {
            Some(job) => vec![job.to_owned()],
            None => state.jobs().iter().map(|job| job.config.job_name.to_string()).collect(),
        };
        Self(names.into_iter().map(|name| (name.clone(), state.job_status(&name))).collect())
    }

    fn get(&self, target: &ScrapeTarget) -> Option<&TargetStatus> {
        self.0.get(&*target.job)?.get(&target.id)
    }
}

fn contains(target: &ScrapeTarget, search: &str) -> bool {
    search.is_empty() || target.url.contains(search) || target.labels.iter().any(|(_, v)| v.contains(search))
}

fn active_row(state: &AppState, found: ActiveTarget, statuses: &Statuses) -> Target {
    let owners = state.parts.master.iter();
    let owners = owners.flat_map(|master| master.fleet.owners(&found.target.job, found.target.id));
    let status = statuses.get(&found.target).cloned().unwrap_or_default();
    Target {
        job: found.target.job.to_string(),
        state: status.health.as_str(),
        workers: owners.map(|worker| worker.to_string()).collect(),
        url: found.target.url.clone(),
        labels: label_map(&found.target.labels),
        discovered: label_map(&found.discovered),
        last_error: status.last_error,
        last_scrape_ms: status.last_scrape.map(Timestamp::millis),
        last_duration_seconds: status.last_scrape_duration.as_secs_f64(),
        samples: status.samples_scraped,
    }
}

fn inactive_row(found: InactiveTarget, state: &'static str) -> Target {
    Target {
        job: found.job.to_string(),
        state,
        workers: Vec::new(),
        url: String::new(),
        labels: BTreeMap::new(),
        discovered: label_map(&found.discovered),
        last_error: found.error.unwrap_or_default(),
        last_scrape_ms: None,
        last_duration_seconds: 0.0,
        samples: 0,
    }
}
