//! Filling the API server with nodes, pods and what belongs to them, through the API.

mod objects;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Client, Component, Rig, network};
use objects::{App, IDLE_PORTS};

/// Requests under way at a time.
const CONCURRENCY: usize = 64;
/// Pods created before looking how far kwok is, and how many of them may wait for it. The API server drops a
/// watch that reads too slowly; kwok then starts anew from the whole list, and ever slower.
const WAITING_PODS: usize = 500;
/// How long kwok may take for [`WAITING_PODS`] pods or for all nodes.
const KWOK_PATIENCE: Duration = Duration::from_secs(120);
/// Endpoints a slice holds at most, as the real controller's default.
const SLICE_SIZE: usize = 100;

/// What to fill the cluster with. Names are derived from numbers, so filling again with larger numbers adds.
#[derive(Debug, Clone)]
pub struct FillPlan {
    /// Fake nodes `node-00000`…; kwok makes them Ready.
    pub nodes: u32,
    /// Pods, spread over the fake nodes; kwok makes them Running. They belong to Deployments, each with a ReplicaSet, a
    /// Service, Endpoints and EndpointSlices, and every fifth with an Ingress.
    pub pods: u32,
    /// Pods of one Deployment.
    pub replicas: u32,
    /// Namespaces `team-00`… that share the Deployments.
    pub namespaces: u32,
    /// CronJobs with one Job and one pod each, which kwok completes.
    pub jobs: u32,
    /// A node, a pod and an endpoint for each running node_exporter, in namespace `monitoring`.
    pub exporters: bool,
    /// Network of the pods' addresses, such as 10.0.0.0 and 8; a part of 198.18.0.0/15 if none.
    pub pod_network: Option<(Ipv4Addr, u8)>,
}

impl Default for FillPlan {
    fn default() -> Self {
        FillPlan {
            nodes: 0,
            pods: 0,
            replicas: 10,
            namespaces: 10,
            jobs: 0,
            exporters: false,
            pod_network: None,
        }
    }
}

/// What was made.
#[derive(Debug, Default)]
pub struct FillReport {
    /// Objects created.
    pub objects: usize,
    /// Time for all.
    pub took: Duration,
    /// Node_exporters without an endpoint because the API server refuses 127.0.0.0/8 there and
    /// [`Rig::is_routed`] is false.
    pub exporters_without_endpoint: usize,
}

pub(super) async fn fill(rig: &Rig, plan: &FillPlan) -> Result<FillReport> {
    let started = Instant::now();
    let mut filling = Filling { api: rig.api()?, report: FillReport::default() };
    if plan.pods > 0 || plan.nodes > 0 || plan.jobs > 0 {
        rig.url(Component::Kwok).context("nodes and pods need kwok")?;
    }
    if plan.nodes == 0 && (plan.pods > 0 || plan.jobs > 0) {
        bail!("pods need nodes to run on: plan some nodes");
    }
    filling.fake(plan).await?;
    if plan.exporters {
        filling.exporters(&rig.exporters(), rig.is_routed()).await?;
    }
    filling.report.took = started.elapsed();
    Ok(filling.report)
}

struct Filling {
    api: Client,
    report: FillReport,
}

impl Filling {
    async fn fake(&mut self, plan: &FillPlan) -> Result<()> {
        let networks = node_networks(plan)?;
        let nodes = networks.into_iter().enumerate().map(|(index, cidr)| objects::fake_node(index, &cidr));
        self.create_all(nodes.map(|node| ("/api/v1/nodes".to_owned(), node)).collect()).await?;
        self.wait_for_nodes().await?;
        let namespaces = (0..plan.namespaces.max(1)).map(|index| objects::namespace(&objects::team(index)));
        self.create_all(namespaces.map(|object| ("/api/v1/namespaces".to_owned(), object)).collect()).await?;
        let apps: Vec<_> = App::all(plan).collect();
        let owners = self.owners(&apps).await?;
        let services = apps.iter().map(|app| (app.collection("/api/v1", "services"), app.service()));
        self.create_all(services.collect()).await?;
        let ingresses = apps.iter().filter(|app| app.index.is_multiple_of(5));
        let ingresses =
            ingresses.map(|app| (app.collection("/apis/networking.k8s.io/v1", "ingresses"), app.ingress()));
        self.create_all(ingresses.collect()).await?;
        let pods = apps.iter().zip(&owners).flat_map(|(app, owner)| {
            app.pods(plan.nodes, owner).map(|pod| (app.collection("/api/v1", "pods"), pod))
        });
        self.create_pods(pods).await?;
        self.jobs(plan).await?;
        self.wait_for_kwok(1).await?;
        self.endpoints(&apps).await
    }

    async fn create_pods(&mut self, pods: impl Iterator<Item = (String, Value)>) -> Result<()> {
        let mut pods = pods.peekable();
        while pods.peek().is_some() {
            let some = pods.by_ref().take(WAITING_PODS).collect();
            self.create_all(some).await?;
            self.wait_for_kwok(WAITING_PODS).await?;
        }
        Ok(())
    }

    /// Creates each app's Deployment and ReplicaSet and returns the references of the latter.
    async fn owners(&mut self, apps: &[App]) -> Result<Vec<Value>> {
        let of = |app: &App, plural| app.collection("/apis/apps/v1", plural);
        let deployments = apps.iter().map(|app| (of(app, "deployments"), app.deployment())).collect();
        let deployments = self.create_all(deployments).await?;
        let replica_sets = apps.iter().zip(&deployments).map(|(app, deployment)| {
            (of(app, "replicasets"), app.replica_set(objects::owner("apps/v1", "Deployment", deployment)))
        });
        let replica_sets = self.create_all(replica_sets.collect()).await?;
        Ok(replica_sets.iter().map(|object| objects::owner("apps/v1", "ReplicaSet", object)).collect())
    }

    async fn jobs(&mut self, plan: &FillPlan) -> Result<()> {
        let namespace = |index: u32| objects::team(index % plan.namespaces.max(1));
        let batch = |index, plural| format!("/apis/batch/v1/namespaces/{}/{plural}", namespace(index));
        let cron_jobs = (0..plan.jobs).map(|index| (batch(index, "cronjobs"), objects::cron_job(index)));
        let cron_jobs = self.create_all(cron_jobs.collect()).await?;
        let jobs = (0..plan.jobs).zip(&cron_jobs).map(|(index, cron_job)| {
            (batch(index, "jobs"), objects::job(index, objects::owner("batch/v1", "CronJob", cron_job)))
        });
        let jobs = self.create_all(jobs.collect()).await?;
        let pods = (0..plan.jobs).zip(&jobs).map(|(index, job)| {
            let pod = objects::job_pod(index, plan.nodes, objects::owner("batch/v1", "Job", job));
            (format!("/api/v1/namespaces/{}/pods", namespace(index)), pod)
        });
        self.create_all(pods.collect()).await.map(|_| ())
    }

    /// Creates objects in their collections, many at a time, and returns them in the given order.
    async fn create_all(&mut self, objects: Vec<(String, Value)>) -> Result<Vec<Value>> {
        let api = &self.api;
        let requests = objects.iter().map(|(collection, object)| api.create(collection, object));
        let created: Vec<Value> = stream::iter(requests).buffered(CONCURRENCY).try_collect().await?;
        self.report.objects += created.len();
        Ok(created)
    }

    /// Waits until fewer than `limit` pods that have a node are Pending.
    async fn wait_for_kwok(&self, limit: usize) -> Result<()> {
        let deadline = Instant::now() + KWOK_PATIENCE;
        let path =
            format!("/api/v1/pods?limit={limit}&fieldSelector=status.phase%3DPending,spec.nodeName!%3D");
        while items(&self.api.get(&path).await?)?.len() >= limit {
            if Instant::now() > deadline {
                bail!("{limit} pods are still pending after {KWOK_PATIENCE:?}; see kwok's log");
            }
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    async fn wait_for_nodes(&self) -> Result<()> {
        let deadline = Instant::now() + KWOK_PATIENCE;
        while !items(&self.api.get("/api/v1/nodes?resourceVersion=0&labelSelector=type%3Dkwok").await?)?
            .iter()
            .all(objects::is_ready)
        {
            if Instant::now() > deadline {
                bail!("there are still nodes that are not ready after {KWOK_PATIENCE:?}; see kwok's log");
            }
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// Endpoints and EndpointSlices for the services of apps, from the addresses that kwok gave the pods.
    async fn endpoints(&mut self, apps: &[App]) -> Result<()> {
        let mut by_app: HashMap<String, Vec<Value>> = HashMap::new();
        let mut namespaces: Vec<_> = apps.iter().map(|app| app.namespace.clone()).collect();
        namespaces.sort();
        namespaces.dedup();
        for namespace in namespaces {
            let list =
                self.api.get(&format!("/api/v1/namespaces/{namespace}/pods?resourceVersion=0")).await?;
            for pod in items(&list)? {
                if let Some(app) = pod["metadata"]["labels"]["app.kubernetes.io/name"].as_str() {
                    by_app.entry(app.to_owned()).or_default().push(pod.clone());
                }
            }
        }
        let mut objects = Vec::new();
        for app in apps {
            let pods = by_app.remove(&app.name).unwrap_or_default();
            objects.extend(endpoint_objects(&app.namespace, &app.name, &pods, &IDLE_PORTS));
        }
        self.create_all(objects).await.map(|_| ())
    }

    async fn exporters(&mut self, exporters: &[SocketAddr], routed: bool) -> Result<()> {
        if exporters.is_empty() {
            bail!("there is no node_exporter: start the rig with some");
        }
        let namespace = "monitoring";
        let at = |collection: &str| format!("{collection}/namespaces/{namespace}");
        self.create_all(vec![("/api/v1/namespaces".to_owned(), objects::namespace(namespace))]).await?;
        let daemon_set =
            vec![(format!("{}/daemonsets", at("/apis/apps/v1")), objects::exporter_daemon_set())];
        let daemon_set = objects::owner("apps/v1", "DaemonSet", &self.create_all(daemon_set).await?[0]);
        let nodes =
            exporters.iter().enumerate().map(|(index, address)| objects::exporter_node(index, *address));
        self.create_all(nodes.map(|node| ("/api/v1/nodes".to_owned(), node)).collect()).await?;
        let pods = exporters
            .iter()
            .enumerate()
            .map(|(index, address)| objects::exporter_pod(index, *address, &daemon_set));
        let collection = format!("{}/pods", at("/api/v1"));
        let pods = self.create_all(pods.map(|pod| (collection.clone(), pod)).collect()).await?;
        let mut running = Vec::new();
        for (pod, address) in pods.iter().zip(exporters) {
            let name = pod["metadata"]["name"].as_str().context("the pod has no name")?;
            let status = json!({"status": objects::exporter_status(*address)});
            running.push(self.api.merge(&format!("{collection}/{name}/status"), &status).await?);
        }
        let port = exporters[0].port();
        let service = objects::exporter_service(port);
        self.create_all(vec![(format!("{}/services", at("/api/v1")), service)]).await?;
        if routed {
            self.create_all(endpoint_objects(namespace, "node-exporter", &running, &[("metrics", port)]))
                .await?;
        } else {
            self.report.exporters_without_endpoint = exporters.len();
        }
        Ok(())
    }
}

fn items(list: &Value) -> Result<&Vec<Value>> {
    list["items"].as_array().context("the server's list has no items")
}

/// The Endpoints and EndpointSlices of a service with their collections.
fn endpoint_objects(
    namespace: &str,
    service: &str,
    pods: &[Value],
    ports: &[(&str, u16)],
) -> Vec<(String, Value)> {
    let endpoints = objects::endpoints(service, pods, ports);
    let mut all = vec![(format!("/api/v1/namespaces/{namespace}/endpoints"), endpoints)];
    let collection = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
    for (index, pods) in pods.chunks(SLICE_SIZE).enumerate() {
        all.push((collection.clone(), objects::endpoint_slice(service, index, pods, ports)));
    }
    all
}

/// One network for each node's pods, with room for twice the planned ones if there is.
fn node_networks(plan: &FillPlan) -> Result<Vec<String>> {
    if plan.nodes == 0 {
        return Ok(Vec::new());
    }
    let (base, available) = match plan.pod_network {
        Some((base, length)) if length <= 32 => (base, 1_u64 << (32 - length)),
        Some((_, length)) => bail!("a network's length is at most 32, not {length}"),
        None => (network::PODS, u64::from(network::POD_ADDRESSES)),
    };
    let planned = (plan.pods + plan.jobs).div_ceil(plan.nodes) + 2;
    let room = [2 * planned, planned].map(u32::next_power_of_two).map(|size| size.max(8));
    let fitting = room.into_iter().find(|size| u64::from(*size) * u64::from(plan.nodes) <= available);
    let Some(size) = fitting else {
        bail!("{} nodes with {planned} pods each need a larger pod network, such as 10.0.0.0/8", plan.nodes);
    };
    let length = 32 - size.trailing_zeros();
    Ok((0..plan.nodes).map(|index| format!("{}/{length}", network::nth(base, index * size))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_get_networks_that_do_not_overlap() {
        let plan = FillPlan { nodes: 3, pods: 60, ..FillPlan::default() };
        assert_eq!(node_networks(&plan).unwrap(), ["198.18.0.0/26", "198.18.0.64/26", "198.18.0.128/26"]);
    }

    #[test]
    fn a_plan_larger_than_the_network_is_refused_with_the_way_out() {
        let plan = FillPlan { nodes: 15_000, pods: 450_000, ..FillPlan::default() };
        assert!(node_networks(&plan).unwrap_err().to_string().contains("10.0.0.0/8"));
        let wider = FillPlan { pod_network: Some((Ipv4Addr::new(10, 0, 0, 0), 8)), ..plan };
        assert_eq!(node_networks(&wider).unwrap().len(), 15_000);
    }
}
