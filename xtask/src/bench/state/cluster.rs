//! The cluster of the benchmark: an API server with everything that state metrics read, changing on demand.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use outrigger_model::clock::SystemClock;
use outrigger_sim::api_server::{ApiServer, ApiServerOptions};
use outrigger_sim::state::StatePopulation;
use outrigger_sim::store::Store;

use crate::bench::control;

/// Serves until the process is killed. `GET /ready` is answered once everything is there and the kubeconfig is in
/// `folder`; `POST /churn/N` lets node leases be renewed and N pod events happen each second, `POST /churn/0` ends
/// both; `GET /events` answers with the newest revision.
pub async fn serve(listen: SocketAddr, pods: u32, folder: &Path) -> Result<()> {
    let store = Arc::new(Store::new());
    let now = jiff::Timestamp::now().as_second();
    let population = Arc::new(StatePopulation::create(pods, store.clone(), now));
    let options = ApiServerOptions { minor_version: 36, ..ApiServerOptions::default() };
    let server = ApiServer::start(store.clone(), options).await.context("start the API server")?;
    fs::write(folder.join("kubeconfig"), server.kubeconfig()).context("write the kubeconfig")?;
    let churn: Mutex<Option<tokio::task::JoinHandle<()>>> = Mutex::default();
    let runtime = tokio::runtime::Handle::current();
    control::serve(listen, move |word| match word.split_once('/') {
        Some(("churn", number)) => {
            let number: u32 = number.parse().ok()?;
            let mut churn = churn.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(running) = churn.take() {
                running.abort();
                population.settle();
            }
            if number > 0 {
                let changes = Arc::clone(&population).churn(number, Arc::new(SystemClock));
                *churn = Some(runtime.spawn(changes));
            }
            Some("{}".to_owned())
        }
        _ if word == "ready" => Some("{}".to_owned()),
        _ if word == "events" => Some(store.resource_version().to_string()),
        _ => None,
    })
    .await
}
