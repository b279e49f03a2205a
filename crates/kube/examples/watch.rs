//! Watches every resource of a cluster and prints how many objects there are, once a second.
//!
//! `cargo run -p outrigger-kube --example watch -- [KUBECONFIG [SECONDS]]`; without a file as kubectl finds it.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints what it finds")]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use outrigger_kube::{
    Cluster, ClusterConnection, ConnectOptions, ObjectError, ResourceKind, WatchChange, WatchSink,
};
use outrigger_model::fault::chain;
use outrigger_wire::kubernetes::object_meta;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Names of each resource with the generation that brought them.
#[derive(Default)]
struct Names(Mutex<BTreeMap<ResourceKind, Table>>);

#[derive(Default)]
struct Table {
    rows: HashMap<String, u64>,
    generation: u64,
    synced_after: Option<Duration>,
}

/// The names and the time since the start.
struct Counting {
    names: Names,
    start: Instant,
}

impl WatchSink for Counting {
    fn begin_generation(&self, resource: ResourceKind) {
        self.names.0.lock().entry(resource).or_default().generation += 1;
    }

    fn apply(&self, resource: ResourceKind, change: WatchChange, object: &[u8]) -> Result<(), ObjectError> {
        let meta = object_meta(object).map_err(|error| error.to_string())?;
        let name = format!("{}/{}", meta.namespace, meta.name);
        let mut tables = self.names.0.lock();
        let table = tables.entry(resource).or_default();
        match change {
            WatchChange::Upsert => table.rows.insert(name, table.generation),
            WatchChange::Delete => table.rows.remove(&name),
        };
        Ok(())
    }

    fn commit_generation(&self, resource: ResourceKind) {
        let mut tables = self.names.0.lock();
        let table = tables.entry(resource).or_default();
        let generation = table.generation;
        table.rows.retain(|_, row| *row == generation);
        table.synced_after.get_or_insert(self.start.elapsed());
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut arguments = std::env::args().skip(1);
    let connection = match arguments.next() {
        Some(path) => ClusterConnection::Kubeconfig { path: path.into(), context: None },
        None => ClusterConnection::Infer { context: None },
    };
    let seconds: u64 = arguments.next().map_or(Ok(u64::MAX), |text| text.parse())?;
    let cluster = match Cluster::connect(connection, ConnectOptions::default()).await {
        Ok(cluster) => cluster,
        Err(error) => {
            eprintln!("{}", chain(&error));
            std::process::exit(1);
        }
    };
    println!("server {}, namespace {}", cluster.server(), cluster.default_namespace());
    let counting = Arc::new(Counting { names: Names::default(), start: Instant::now() });
    for resource in ResourceKind::MIRRORED {
        tokio::spawn(cluster.watch(resource, counting.clone()));
    }
    for _ in 0..seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        print(&cluster, &counting);
    }
    Ok(())
}

fn print(cluster: &Cluster, counting: &Counting) {
    println!(
        "\n{:.0} s, {} connections opened",
        counting.start.elapsed().as_secs_f64(),
        cluster.connections_opened()
    );
    for status in cluster.statuses() {
        let tables = counting.names.0.lock();
        let table = tables.iter().find(|(kind, _)| status.resource == **kind).map(|(_, table)| table);
        println!(
            "{:32} {:9} {:>7} objects, whole after {:>8.3} s, {:>8} events, {:>11} bytes, {} relists, {} reconnects, at {}{}",
            status.resource.to_string(),
            status.phase.as_str(),
            table.map_or(0, |table| table.rows.len()),
            table.and_then(|table| table.synced_after).unwrap_or_default().as_secs_f64(),
            status.events,
            status.bytes,
            status.relists,
            status.reconnects,
            status.resource_version,
            status.last_error.map(|error| format!("\n    {error}")).unwrap_or_default(),
        );
    }
    for count in cluster.requests() {
        let resource = count.resource.map(|resource| resource.to_string()).unwrap_or_default();
        println!("  {:9} {:32} {:?} x{}", count.request.as_str(), resource, count.code, count.count);
    }
}
