//! State metrics as a part of `run` and `master`: fed by the watches of discovery, served beside the page, and handed to
//! remote write where the configuration says so.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use outrigger_collect::batch::SampleSink;
use outrigger_config::prometheus::{Config, StateMetricsConfig, StatePush};
use outrigger_control::Discovery;
use outrigger_model::clock::SharedClock;
use outrigger_model::labels::Labels;
use outrigger_rt::metrics::Registry;
use outrigger_rt::supervisor::{Phase, Supervisor};
use outrigger_state::options::Options;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::body::Pace;
use super::instance::Instance;
use super::push::{Cadence, Push, PushOptions};
use super::self_metrics::SelfMetrics;
use super::server::{self, Served};
use super::settings::Settings;
use crate::surroundings::Surroundings;

/// A scraper that takes nothing for so long is let go.
const PATIENCE: Duration = Duration::from_secs(60);

/// The part; cheap to clone, all clones are the same.
#[derive(Clone)]
pub(crate) struct StateRole(Arc<Inner>);

struct Inner {
    config: StateMetricsConfig,
    settings: Settings,
    served: Arc<Served>,
    /// Of what runs; nobody reads the cluster when it is `None`.
    reading: watch::Sender<Option<Arc<Instance>>>,
    /// Whether this process is the one that sends.
    sending: watch::Sender<bool>,
    push: Option<PushTo>,
}

struct PushTo {
    settings: StatePush,
    labels: Labels,
    clock: SharedClock,
    registry: Registry,
    sink: Arc<dyn SampleSink>,
}

impl StateRole {
    /// Reads what the section names; `None` without the section.
    ///
    /// # Errors
    /// When its file cannot be read, or asks for what only `outrigger state-metrics` does.
    pub(crate) fn build(
        config: &Config,
        around: &Surroundings,
        sink: Arc<dyn SampleSink>,
    ) -> anyhow::Result<Option<Self>> {
        let Some(config) = config.outrigger.state_metrics.clone() else { return Ok(None) };
        let settings = load(&config)?;
        super::say_without_effect(&settings.options);
        let push = config.push.clone().map(|settings| PushTo {
            labels: labels(&settings, &around.name),
            settings,
            clock: around.clock.clone(),
            registry: around.registry.clone(),
            sink,
        });
        let (idle, _) = Instance::fed(&settings.selection, settings.selection.shard);
        let served = Arc::new(Served {
            instance: ArcSwap::new(idle),
            auth: None,
            cluster: None,
            metrics: SelfMetrics::in_registry(&around.registry),
            gzip: true,
            pace: Pace { buffer: PATIENCE },
        });
        let (reading, sending) = (watch::Sender::new(None), watch::Sender::new(false));
        Ok(Some(Self(Arc::new(Inner { config, settings, served, reading, sending, push }))))
    }

    /// Has discovery read for it from the next time on that it is given its configuration. What was known from before
    /// is forgotten.
    pub(crate) fn begin(&self, discovery: &Discovery) {
        let selection = &self.0.settings.selection;
        let (instance, tee) = Instance::fed(selection, selection.shard);
        discovery.set_tee(self.0.config.cluster.as_deref().unwrap_or_default(), Some(tee));
        self.0.served.instance.store(instance.clone());
        self.0.reading.send_replace(Some(instance));
    }

    /// Discovery has stopped: nothing is served or sent, and nothing is remembered.
    pub(crate) fn end(&self) {
        let selection = &self.0.settings.selection;
        self.0.reading.send_replace(None);
        self.0.served.instance.store(Instance::fed(selection, selection.shard).0);
    }

    /// Whether this process is the one that sends.
    pub(crate) fn set_sending(&self, sending: bool) {
        self.0.sending.send_if_modified(|current| std::mem::replace(current, sending) != sending);
    }

    /// Starts sending, as far as there is anything to send.
    pub(crate) fn spawn(&self, supervisor: &Supervisor) {
        let role = self.clone();
        if self.0.push.is_some() {
            supervisor.spawn(
                "state metrics push",
                Phase::Intake,
                |stop| async move { role.send(stop).await },
            );
        }
    }

    /// What can be changed while the process runs: nothing.
    ///
    /// # Errors
    /// When something has changed.
    pub(crate) fn unchanged(role: Option<&Self>, config: &Config) -> Result<(), String> {
        match (role, &config.outrigger.state_metrics) {
            (None, None) => Ok(()),
            (Some(role), Some(config)) if role.0.config == *config => {
                let now = load(config).map_err(|error| format!("{error:#}"))?;
                if now.options == role.0.settings.options {
                    return Ok(());
                }
                Err("the file of outrigger.state_metrics.config_file has changed: restart for that"
                    .to_owned())
            }
            (Some(_), Some(_)) => Err("outrigger.state_metrics has changed: restart for that".to_owned()),
            _ => Err("outrigger.state_metrics came or went: restart for that".to_owned()),
        }
    }

    /// Resources that are not listed yet, while the cluster is read.
    pub(crate) fn waiting_for(&self) -> Vec<String> {
        let reading = self.0.reading.borrow().clone();
        reading.map(|instance| instance.pending(|_| true)).unwrap_or_default()
    }

    /// `/state-metrics/metrics` and what belongs to it.
    pub(crate) fn router(&self) -> Router {
        let guarded = server::role_router(&self.0.served)
            .route_layer(middleware::from_fn_with_state(self.clone(), Self::only_while_reading));
        Router::new().nest("/state-metrics", guarded)
    }

    async fn only_while_reading(State(role): State<Self>, request: Request, next: Next) -> Response {
        if role.0.reading.borrow().is_some() {
            return next.run(request).await;
        }
        let text = "this process does not read the cluster now: ask the leading master\n";
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    }

    /// Sends while it is this process's turn, from what is read now.
    async fn send(self, stop: CancellationToken) {
        let (mut reading, mut sending) = (self.0.reading.subscribe(), self.0.sending.subscribe());
        loop {
            let instance = reading.borrow_and_update().clone().filter(|_| *sending.borrow_and_update());
            let turn = stop.child_token();
            let work = self.push(instance, turn.clone());
            let changed = async {
                tokio::select! {
                    changed = reading.changed() => changed.is_ok(),
                    changed = sending.changed() => changed.is_ok(),
                    () = stop.cancelled() => false,
                }
            };
            tokio::pin!(work);
            let go_on = tokio::select! {
                () = &mut work => !stop.is_cancelled(),
                go_on = changed => {
                    turn.cancel();
                    work.await;
                    go_on
                }
            };
            if !go_on {
                return;
            }
        }
    }

    async fn push(&self, instance: Option<Arc<Instance>>, stop: CancellationToken) {
        let (Some(instance), Some(to)) = (instance, &self.0.push) else { return stop.cancelled().await };
        // A snapshot before the lists are whole would say that series are gone.
        if stop.run_until_cancelled(instance.settled()).await.is_none() {
            return;
        }
        let cadence = match to.settings.changes_only {
            true => Cadence::Changes(to.settings.refresh_interval),
            false => Cadence::Full(to.settings.interval),
        };
        let push = Push::new(PushOptions {
            image: instance.image.clone(),
            shard: instance.shard,
            cadence,
            job: to.settings.job.as_str().into(),
            labels: to.labels.clone(),
            clock: to.clock.clone(),
            sink: to.sink.clone(),
            registry: to.registry.clone(),
        });
        push.run(stop).await;
    }
}

/// `job` and `instance`, unless the configuration names others.
fn labels(push: &StatePush, name: &str) -> Labels {
    let own = [("job", push.job.as_str()), ("instance", name)];
    let own = own.into_iter().filter(|(name, _)| push.labels.iter().all(|(given, _)| given != *name));
    Labels::from_pairs(own.chain(push.labels.iter()))
}

fn load(config: &StateMetricsConfig) -> anyhow::Result<Settings> {
    let path = config.config_file.as_deref().map(Path::to_string_lossy).unwrap_or_default();
    let flags = Options { config: path.into_owned(), ..Options::default() };
    let section = || format!("outrigger.state_metrics.config_file {}", flags.config);
    let settings = Settings::load(&flags).map_err(|refused| refused.error).with_context(section)?;
    let foreign = foreign(&settings.options);
    if !foreign.is_empty() {
        let names: Vec<&str> = foreign.into_iter().collect();
        let error = anyhow::anyhow!(
            "{} cannot be set here, where the objects come from the watches of discovery: leave out, or run \
             outrigger state-metrics with it",
            names.join(", ")
        );
        return Err(error.context(section()));
    }
    Ok(settings)
}

/// Options that are set and belong to a process of its own.
fn foreign(options: &Options) -> BTreeSet<&'static str> {
    let default = Options::default();
    macro_rules! changed {
        ($($field:ident),*) => {
            [$((stringify!($field), options.$field != default.$field)),*]
        };
    }
    let changed = changed![
        apiserver,
        kubeconfig,
        custom_resource_config,
        custom_resource_config_file,
        custom_resources_only,
        host,
        port,
        telemetry_host,
        telemetry_port,
        pod,
        pod_namespace,
        node,
        track_unscheduled_pods,
        tls_config,
        namespaces,
        namespaces_denylist,
        use_api_server_cache,
        object_limit,
        auth_filter,
        virtual_shard_ports
    ];
    changed.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_process_of_its_own_are_refused_by_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ksm.yaml");
        let config = |text: &str| {
            std::fs::write(&path, text).expect("written");
            StateMetricsConfig { cluster: None, config_file: Some(path.clone()), push: None }
        };
        let loaded =
            load(&config("resources: {pods: {}, nodes: {}}\nmetric_denylist: {kube_pod_labels: {}}"));
        assert_eq!(loaded.expect("valid").selection.resources.len(), 2);
        let error = load(&config("namespaces: [a]\nport: 1234")).err().expect("refused");
        let text = format!("{error:#}");
        assert!(text.contains("namespaces, port cannot be set here"), "{text}");
    }

    #[test]
    fn labels_name_job_and_instance_unless_they_are_given() {
        let push = |labels: &[(&str, &str)]| StatePush {
            interval: Duration::from_secs(30),
            changes_only: false,
            refresh_interval: Duration::from_secs(240),
            job: "j".to_owned(),
            labels: Labels::from_pairs(labels.iter().copied()),
        };
        let plain = Labels::from_pairs([("job", "j"), ("instance", "m-0")]);
        assert_eq!(labels(&push(&[]), "m-0"), plain);
        let given = Labels::from_pairs([("job", "j"), ("instance", "state"), ("cluster", "c")]);
        assert_eq!(labels(&push(&[("instance", "state"), ("cluster", "c")]), "m-0"), given);
    }
}
