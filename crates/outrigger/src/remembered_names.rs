//! Names and addresses over a restart, so that a process that starts while DNS is down can go on.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use outrigger_rt::resolver::Resolver;
use outrigger_rt::supervisor::{Phase, Supervisor};
use outrigger_storage::sealed::SealedFile;

/// Written so often, at most.
const EVERY: Duration = Duration::from_secs(2);

type Names = BTreeMap<String, Vec<IpAddr>>;

/// Recalls what was remembered, and keeps what is resolved from now on.
pub(crate) fn keep(resolver: &Resolver, data_dir: &Path, supervisor: &Supervisor) {
    let path = data_dir.join("names.sealed");
    match read(&path) {
        Ok(names) => resolver
            .recall(names.into_iter().map(|(name, addresses)| (Arc::from(name), Arc::from(addresses)))),
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "remembered names cannot be read; names are resolved anew");
        }
    }
    let resolver = resolver.clone();
    supervisor.spawn("remembered names", Phase::Drain, |stop| async move {
        let mut written = resolver.changes();
        let mut every = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = every.tick() => {}
            }
            let changes = resolver.changes();
            if changes == written {
                continue;
            }
            let names = resolver.remembered();
            let target = path.clone();
            let outcome = tokio::task::spawn_blocking(move || write(target, &names)).await;
            match outcome {
                Ok(Ok(())) => written = changes,
                Ok(Err(error)) => {
                    tracing::debug!(file = %path.display(), %error, "remembered names cannot be written");
                }
                Err(_) => break,
            }
        }
    });
}

fn read(path: &Path) -> anyhow::Result<Names> {
    let Some(bytes) = SealedFile::new(path, None).read()? else { return Ok(Names::new()) };
    Ok(serde_json::from_slice(&bytes)?)
}

fn write(path: PathBuf, names: &[(Arc<str>, Arc<[IpAddr]>)]) -> anyhow::Result<()> {
    let names: Names = names.iter().map(|(name, addresses)| (name.to_string(), addresses.to_vec())).collect();
    SealedFile::new(path, None).write(&serde_json::to_vec(&names)?)?;
    Ok(())
}
