//! What is known of a cluster's monitors, and the jobs that follow from it. No I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use outrigger_config::prometheus::{KindSelection, OperatorSettings};
use outrigger_config::selector::LabelSelector;
use outrigger_rt::resolver::Resolver;

use super::assets::{Asset, AssetName, Assets};
use super::check::Refusal;
use super::resource::{Head, Monitor, MonitorKind, ObjectMeta};
use super::validate::validate;
use super::{Defaults, ObjectProblem, OperatorJob, compile};

/// Namespace and name.
type ObjectName = (String, String);

/// Everything that is known of a cluster.
pub(crate) struct Book {
    settings: Arc<OperatorSettings>,
    defaults: Defaults,
    /// Namespace of the cluster's credentials.
    default_namespace: String,
    resolver: Resolver,
    tables: BTreeMap<MonitorKind, Table>,
    /// Labels of all namespaces; `None` until they are known.
    namespaces: Option<Arc<HashMap<String, BTreeMap<String, String>>>>,
    assets: HashMap<AssetName, Asset>,
    /// An object that may have had jobs is gone.
    removed: bool,
}

/// The objects of one kind.
#[derive(Default)]
struct Table {
    objects: BTreeMap<ObjectName, Stored>,
    /// Objects of the list that is arriving.
    listed: BTreeSet<ObjectName>,
    synced: bool,
}

/// One object with what follows from it.
struct Stored {
    metadata: ObjectMeta,
    /// The object, or why it cannot be read.
    monitor: Result<Monitor, String>,
    /// Secrets and ConfigMaps that its outcome depends on.
    wanted: Vec<AssetName>,
    /// `None` when it has to be worked out (again).
    outcome: Option<Outcome>,
    /// Jobs that it had last: they go on while a changed object waits.
    earlier: Vec<OperatorJob>,
}

/// What follows from an object.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// Jobs, and what of the object is left out.
    Accepted { jobs: Vec<OperatorJob>, left_out: Option<String> },
    /// It waits for a Secret or ConfigMap.
    Waiting(String),
    /// It is wrong.
    Rejected(String),
    /// The settings do not select it.
    Unselected,
}

/// How many objects there are of a kind, by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ObjectCounts {
    /// Objects whose jobs run.
    pub accepted: usize,
    /// Objects that wait for a Secret or ConfigMap.
    pub waiting: usize,
    /// Objects that are wrong.
    pub rejected: usize,
    /// Objects that the settings do not select.
    pub unselected: usize,
    /// Jobs of the accepted ones.
    pub jobs: usize,
}

impl Book {
    pub(crate) fn new(
        settings: Arc<OperatorSettings>,
        defaults: Defaults,
        default_namespace: String,
        resolver: Resolver,
    ) -> Self {
        Self {
            settings,
            defaults,
            default_namespace,
            resolver,
            tables: BTreeMap::new(),
            namespaces: None,
            assets: HashMap::new(),
            removed: false,
        }
    }

    /// Other settings: everything follows anew.
    pub(crate) fn configure(&mut self, settings: Arc<OperatorSettings>, defaults: Defaults) {
        self.settings = settings;
        self.defaults = defaults;
        self.tables.retain(|kind, _| selection(&self.settings, *kind).is_some());
        self.removed = true;
        self.forget_outcomes(|_| true);
    }

    /// The namespace that stands for the Prometheus object's.
    pub(crate) fn own_namespace(&self) -> &str {
        match self.settings.namespace.as_str() {
            "" => &self.default_namespace,
            name => name,
        }
    }

    // ---- what the watches bring ----

    pub(crate) fn begin_list(&mut self, kind: MonitorKind) {
        self.tables.entry(kind).or_default().listed.clear();
    }

    /// Takes over an object, as JSON.
    ///
    /// # Errors
    /// When not even its name can be read.
    pub(crate) fn put(&mut self, kind: MonitorKind, json: &[u8]) -> Result<(), String> {
        let metadata = metadata_of(json)?;
        let name = (metadata.namespace.clone(), metadata.name.clone());
        let table = self.tables.entry(kind).or_default();
        table.listed.insert(name.clone());
        let unchanged =
            |stored: &Stored| stored.metadata == metadata && !metadata.resource_version.is_empty();
        if table.objects.get(&name).is_some_and(unchanged) {
            return Ok(());
        }
        let monitor =
            Monitor::parse(kind, json).map_err(|error| format!("the object cannot be read: {error}"));
        let earlier = table.objects.remove(&name).map(|stored| stored.earlier).unwrap_or_default();
        table.objects.insert(name, Stored { metadata, monitor, wanted: Vec::new(), outcome: None, earlier });
        Ok(())
    }

    /// Forgets an object.
    ///
    /// # Errors
    /// When its name cannot be read.
    pub(crate) fn remove(&mut self, kind: MonitorKind, json: &[u8]) -> Result<(), String> {
        let metadata = metadata_of(json)?;
        let name = (metadata.namespace, metadata.name);
        let table = self.tables.entry(kind).or_default();
        self.removed |= table.objects.remove(&name).is_some();
        table.listed.remove(&name);
        Ok(())
    }

    pub(crate) fn commit_list(&mut self, kind: MonitorKind) {
        let table = self.tables.entry(kind).or_default();
        let listed = std::mem::take(&mut table.listed);
        let before = table.objects.len();
        table.objects.retain(|name, _| listed.contains(name));
        table.synced = true;
        self.removed |= table.objects.len() != before;
    }

    /// Whether a list of the kind was whole.
    pub(crate) fn is_synced(&self, kind: MonitorKind) -> bool {
        self.tables.get(&kind).is_some_and(|table| table.synced)
    }

    /// Labels of all namespaces, as they are now.
    pub(crate) fn set_namespaces(&mut self, labels: Arc<HashMap<String, BTreeMap<String, String>>>) {
        if self.namespaces.as_ref() != Some(&labels) {
            self.namespaces = Some(labels);
            self.forget_outcomes(|_| true);
        }
    }

    /// Whether labels of namespaces are waited for.
    pub(crate) fn lacks_namespaces(&self) -> bool {
        self.namespaces.is_none() && needs_namespaces(&self.settings)
    }

    // ---- Secrets and ConfigMaps ----

    /// Everything that selected objects refer to.
    pub(crate) fn wanted_assets(&self) -> BTreeSet<AssetName> {
        self.objects().flat_map(|(_, stored)| stored.wanted.iter().cloned()).collect()
    }

    /// Takes over what was read. `true` if something may follow from it.
    pub(crate) fn set_asset(&mut self, name: AssetName, asset: Asset) -> bool {
        // Contents that were read once outlast a server that is away.
        let keep =
            matches!(asset, Asset::Unread(_)) && matches!(self.assets.get(&name), Some(Asset::Present(_)));
        if keep || self.assets.get(&name) == Some(&asset) {
            return false;
        }
        self.forget_outcomes(|stored| stored.wanted.contains(&name));
        self.assets.insert(name, asset);
        true
    }

    /// Forgets contents that nobody refers to any more.
    pub(crate) fn retain_assets(&mut self, wanted: &BTreeSet<AssetName>) {
        self.assets.retain(|name, _| wanted.contains(name));
    }

    pub(crate) fn has_asset(&self, name: &AssetName) -> bool {
        self.assets.contains_key(name)
    }

    fn forget_outcomes(&mut self, of: impl Fn(&Stored) -> bool) {
        for stored in self.tables.values_mut().flat_map(|table| table.objects.values_mut()) {
            if of(stored) {
                stored.outcome = None;
            }
        }
    }

    // ---- what follows ----

    /// Works out at most so many of the objects that have changed; returns how many.
    pub(crate) fn work(&mut self, most: usize) -> usize {
        let own_namespace = self.own_namespace().to_owned();
        let Self { settings, defaults, resolver, tables, namespaces, assets, .. } = self;
        let known = |name: &AssetName| assets.get(name).cloned();
        let mut worked = 0;
        for (kind, table) in tables {
            let selection = selection(settings, *kind);
            let open = table.objects.values_mut().filter(|stored| stored.outcome.is_none());
            for stored in open.take(most - worked) {
                worked += 1;
                let selected = selection.is_some_and(|selection| {
                    is_selected(selection, &stored.metadata, &own_namespace, namespaces.as_deref())
                });
                if !selected {
                    stored.wanted.clear();
                    stored.earlier.clear();
                    stored.outcome = Some(Outcome::Unselected);
                    continue;
                }
                let outcome = match &stored.monitor {
                    Err(problem) => Outcome::Rejected(problem.clone()),
                    Ok(monitor) => {
                        let looked_up = Assets::new(&stored.metadata.namespace, &known);
                        let outcome = outcome(monitor, settings, defaults, &looked_up, resolver);
                        stored.wanted = looked_up.into_wanted();
                        outcome
                    }
                };
                match &outcome {
                    Outcome::Accepted { jobs, .. } => stored.earlier.clone_from(jobs),
                    Outcome::Waiting(_) => {}
                    Outcome::Rejected(_) | Outcome::Unselected => stored.earlier.clear(),
                }
                stored.outcome = Some(outcome);
            }
        }
        worked
    }

    /// Whether an object is gone since this was asked last.
    pub(crate) fn take_removed(&mut self) -> bool {
        std::mem::take(&mut self.removed)
    }

    fn objects(&self) -> impl Iterator<Item = (MonitorKind, &Stored)> {
        self.tables.iter().flat_map(|(kind, table)| table.objects.values().map(|stored| (*kind, stored)))
    }

    /// All jobs, by kind, namespace, name and endpoint.
    pub(crate) fn jobs(&self) -> Vec<OperatorJob> {
        self.objects().flat_map(|(_, stored)| stored.earlier.iter().cloned()).collect()
    }

    /// Whether an object waits for something that was not asked for or not answered yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.objects().any(|(_, stored)| match stored.outcome {
            None => true,
            Some(Outcome::Waiting(_)) => stored.wanted.iter().any(|name| !self.assets.contains_key(name)),
            Some(_) => false,
        })
    }

    /// Objects that have no jobs, or not all of them.
    pub(crate) fn problems(&self) -> Vec<ObjectProblem> {
        let problem = |(kind, stored): (MonitorKind, &Stored)| {
            let (message, waiting) = match stored.outcome.as_ref()? {
                Outcome::Rejected(message) => (message, false),
                Outcome::Accepted { left_out: Some(message), .. } => (message, false),
                Outcome::Waiting(message) => (message, true),
                Outcome::Accepted { .. } | Outcome::Unselected => return None,
            };
            let ObjectMeta { namespace, name, uid, resource_version, .. } = stored.metadata.clone();
            Some(ObjectProblem {
                kind,
                namespace,
                name,
                uid,
                resource_version,
                message: message.clone(),
                waiting,
            })
        };
        self.objects().filter_map(problem).collect()
    }

    pub(crate) fn counts(&self, kind: MonitorKind) -> ObjectCounts {
        let mut counts = ObjectCounts::default();
        for stored in self.tables.get(&kind).into_iter().flat_map(|table| table.objects.values()) {
            match &stored.outcome {
                Some(Outcome::Accepted { jobs, .. }) => {
                    counts.accepted += 1;
                    counts.jobs += jobs.len();
                }
                None | Some(Outcome::Waiting(_)) => counts.waiting += 1,
                Some(Outcome::Rejected(_)) => counts.rejected += 1,
                Some(Outcome::Unselected) => counts.unselected += 1,
            }
        }
        counts
    }
}

fn metadata_of(json: &[u8]) -> Result<ObjectMeta, String> {
    let head: Head =
        serde_json::from_slice(json).map_err(|error| format!("metadata cannot be read: {error}"))?;
    match head.metadata.name.is_empty() || head.metadata.namespace.is_empty() {
        true => Err("the object has no name or no namespace".to_owned()),
        false => Ok(head.metadata),
    }
}

/// The objects of a kind that count; `None` for a kind that is not watched.
pub(crate) fn selection(settings: &OperatorSettings, kind: MonitorKind) -> Option<&KindSelection> {
    match kind {
        MonitorKind::ServiceMonitor => settings.service_monitors.as_ref(),
        MonitorKind::PodMonitor => settings.pod_monitors.as_ref(),
        MonitorKind::Probe => settings.probes.as_ref(),
        MonitorKind::ScrapeConfig => settings.scrape_configs.as_ref(),
    }
}

/// Whether some kind selects namespaces by their labels.
pub(crate) fn needs_namespaces(settings: &OperatorSettings) -> bool {
    let by_labels = |kind| {
        let namespaces = selection(settings, kind).and_then(|selection| selection.namespaces.as_ref());
        namespaces.is_some_and(|selector| !selector.is_empty())
    };
    MonitorKind::ALL.into_iter().any(by_labels)
}

fn is_selected(
    selection: &KindSelection,
    metadata: &ObjectMeta,
    own_namespace: &str,
    namespaces: Option<&HashMap<String, BTreeMap<String, String>>>,
) -> bool {
    let in_namespace = match &selection.namespaces {
        None => metadata.namespace == own_namespace,
        Some(selector) if selector.is_empty() => true,
        Some(selector) => {
            let labels = namespaces.and_then(|namespaces| namespaces.get(&metadata.namespace));
            labels.is_some_and(|labels| matches(selector, labels))
        }
    };
    in_namespace && matches(&selection.objects, &metadata.labels)
}

fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    selector.matches(|key| labels.get(key).map(String::as_str))
}

fn outcome(
    monitor: &Monitor,
    settings: &OperatorSettings,
    defaults: &Defaults,
    assets: &Assets<'_>,
    resolver: &Resolver,
) -> Outcome {
    let entries = match compile(monitor, settings, defaults, assets) {
        Ok(entries) => entries,
        Err(Refusal::Pending(reason)) => return Outcome::Waiting(reason),
        Err(Refusal::Invalid(reason)) => return Outcome::Rejected(reason),
    };
    let left_out = left_out(monitor);
    if let (Some(problem), Monitor::Scrape(object)) = (&left_out, monitor)
        && !object.spec.has_discovery()
    {
        return Outcome::Rejected(problem.clone());
    }
    let mut jobs = Vec::with_capacity(entries.len());
    for entry in entries {
        let text = entry.map.to_text();
        if let Err(problem) = validate(&entry, &text, &defaults.cluster, resolver) {
            return Outcome::Rejected(format!("{}: {problem}", entry.job));
        }
        jobs.push(OperatorJob { job: entry.job.into(), yaml: text.into() });
    }
    Outcome::Accepted { jobs, left_out }
}

/// What of an object is not acted on although it is right.
fn left_out(monitor: &Monitor) -> Option<String> {
    let Monitor::Scrape(object) = monitor else { return None };
    let kinds = object.spec.further_discoveries();
    (!kinds.is_empty()).then(|| {
        format!(
            "{}: Outrigger does not discover targets in this way; these targets are not scraped",
            kinds.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use outrigger_config::prometheus::GlobalConfig;
    use outrigger_rt::resolver::ResolverOptions;
    use serde_json::json;

    use super::super::assets::{AssetData, AssetKind};
    use super::*;

    const KIND: MonitorKind = MonitorKind::PodMonitor;

    fn book() -> Book {
        let settings = Arc::new(OperatorSettings::everything());
        let defaults = Defaults::new(&settings, &GlobalConfig::default());
        Book::new(settings, defaults, "default".to_owned(), Resolver::new(ResolverOptions::default()))
    }

    fn monitor(name: &str, version: &str, secret: &str) -> Vec<u8> {
        let token = json!({"credentials": {"name": secret, "key": "t"}});
        let endpoint = json!({"port": "web", "authorization": token});
        let metadata = json!({"namespace": "team", "name": name, "resourceVersion": version});
        json!({"metadata": metadata, "spec": {"podMetricsEndpoints": [endpoint]}}).to_string().into_bytes()
    }

    fn secret(name: &str) -> AssetName {
        AssetName { kind: AssetKind::Secret, namespace: "team".to_owned(), name: name.to_owned() }
    }

    fn present(value: &str) -> Asset {
        Asset::Present(AssetData([("t".to_owned(), value.as_bytes().to_vec())].into()))
    }

    fn jobs(book: &mut Book) -> String {
        while book.work(1) > 0 {}
        let jobs: Vec<String> = book.jobs().iter().map(|job| job.job.to_string()).collect();
        jobs.join(" ")
    }

    #[tokio::test]
    async fn an_object_waits_for_its_secret_and_keeps_its_jobs_while_a_change_waits() {
        let mut book = book();
        book.begin_list(KIND);
        book.put(KIND, &monitor("a", "1", "x")).unwrap();
        book.commit_list(KIND);
        assert_eq!(jobs(&mut book), "");
        assert!(book.is_waiting() && book.problems()[0].waiting);
        assert_eq!(book.wanted_assets(), [secret("x")].into());
        assert!(book.set_asset(secret("x"), present("one")));
        assert_eq!(jobs(&mut book), "podMonitor/team/a/0");
        assert!(book.jobs()[0].yaml.contains("one") && !format!("{:?}", book.jobs()).contains("one"));
        assert!(
            !book.set_asset(secret("x"), Asset::Unread("away".to_owned())),
            "what was read is not forgotten"
        );
        book.put(KIND, &monitor("a", "2", "y")).unwrap();
        assert_eq!(jobs(&mut book), "podMonitor/team/a/0");
        assert!(book.is_waiting() && book.jobs()[0].yaml.contains("one"));
        book.set_asset(secret("y"), Asset::Unread("forbidden".to_owned()));
        jobs(&mut book);
        assert!(!book.is_waiting(), "a Secret that was asked for in vain is not waited for");
        book.set_asset(secret("y"), Asset::Absent);
        assert_eq!(jobs(&mut book), "");
        assert!(!book.problems()[0].waiting);
    }

    #[tokio::test]
    async fn what_a_list_or_an_event_takes_away_is_gone_and_bad_objects_stand_alone() {
        let mut book = book();
        book.set_asset(secret("x"), present("one"));
        for name in ["a", "b"] {
            book.put(KIND, &monitor(name, "1", "x")).unwrap();
        }
        book.put(
            KIND,
            br#"{"metadata": {"namespace": "team", "name": "c"}, "spec": {"podMetricsEndpoints": 3}}"#,
        )
        .unwrap();
        assert!(book.put(KIND, b"{}").is_err());
        assert_eq!(jobs(&mut book), "podMonitor/team/a/0 podMonitor/team/b/0");
        assert!(book.problems()[0].message.starts_with("the object cannot be read"), "{:?}", book.problems());
        book.take_removed();
        book.remove(KIND, &monitor("a", "2", "x")).unwrap();
        assert!(book.take_removed());
        assert_eq!(jobs(&mut book), "podMonitor/team/b/0");
        book.begin_list(KIND);
        book.commit_list(KIND);
        assert!(book.take_removed() && book.is_synced(KIND));
        assert_eq!(jobs(&mut book), "");
        assert_eq!(book.counts(KIND), ObjectCounts::default());
    }
}
