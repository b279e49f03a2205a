//! What a master reads: its own configuration, and what it hands on to its workers.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use outrigger_config::prometheus::parts::{ConfigParts, Parts, compose, is_for_collection, take_apart};
use outrigger_config::prometheus::{Config, Loaded, load};
use outrigger_control::ConfigurationBundle;
use outrigger_wire::centre::{File, JobConfiguration};

use crate::local_files::{read_bounded, source};
use crate::run::refuse_or_warn;

/// A file that is handed on may have this size, at most; certificates and tokens are far smaller.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// An entry of `scrape_configs` that does not come from the file.
pub(crate) type AddedJob = (Arc<str>, String);

/// A master's configuration file, read and checked.
#[derive(Debug, Clone)]
pub(crate) struct MasterFile {
    /// What the file says.
    pub(crate) config: Config,
    parts: ConfigParts,
    directory: String,
}

impl MasterFile {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = read_bounded(path)
            .with_context(|| format!("could not read the configuration file {}", path.display()))?;
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        let directory = std::path::absolute(&directory).unwrap_or(directory);
        let directory = directory.to_string_lossy().into_owned();
        let name = path.to_string_lossy();
        let source = source(&name, &text, Path::new(&directory), false);
        let loaded = load(&source).map_err(invalid)?;
        refuse_or_warn(&loaded)?;
        let parts = take_apart(&source, Parts::Whole).map_err(invalid)?;
        Ok(Self { config: loaded.config, parts, directory })
    }

    /// The configuration with jobs added: what discovery runs, and what workers get.
    pub(crate) fn with_jobs(&self, added: &[AddedJob]) -> anyhow::Result<Effective> {
        let jobs = self.parts.jobs.iter().chain(added).map(|(_, yaml)| &**yaml);
        let text = compose(&self.parts.base, jobs);
        let source =
            source("the configuration with the jobs of monitors", &text, Path::new(&self.directory), false);
        let config = load(&source).map_err(invalid)?.config;
        let parts = take_apart(&source, Parts::Collection).map_err(invalid)?;
        let bundle = bundle(parts, &self.directory)?;
        Ok(Effective { config, bundle })
    }
}

/// A configuration in force.
#[derive(Debug, Clone)]
pub(crate) struct Effective {
    /// For discovery.
    pub(crate) config: Config,
    /// For workers.
    pub(crate) bundle: ConfigurationBundle,
}

fn bundle(parts: ConfigParts, directory: &str) -> anyhow::Result<ConfigurationBundle> {
    let text = parts.text();
    let source = source("the workers' configuration", &text, Path::new(directory), false);
    let Loaded { referenced_files, .. } = load(&source).map_err(invalid)?;
    let mut paths: Vec<String> =
        referenced_files.into_iter().filter(is_for_collection).map(|file| file.path).collect();
    paths.sort();
    paths.dedup();
    Ok(ConfigurationBundle {
        base: parts.base,
        directory: directory.to_owned(),
        jobs: parts
            .jobs
            .into_iter()
            .map(|(job, yaml)| JobConfiguration { job: job.to_string(), yaml })
            .collect(),
        files: paths.into_iter().map(read_file).collect(),
    })
}

/// Reads what is handed on again; true when something has changed.
pub(crate) fn refresh_files(bundle: &mut ConfigurationBundle) -> bool {
    let files: Vec<File> = bundle.files.iter().map(|file| read_file(file.path.clone())).collect();
    let changed = files != bundle.files;
    bundle.files = files;
    changed
}

fn read_file(path: String) -> File {
    let contents = std::fs::metadata(&path)
        .and_then(|metadata| match metadata.len() {
            0..=MAX_FILE_BYTES => std::fs::read(&path),
            size => {
                let message = format!("{size} bytes are more than the {MAX_FILE_BYTES} that are handed on");
                Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, message))
            }
        })
        .inspect_err(|error| {
            tracing::warn!(path, %error, "a file that the configuration names cannot be read; workers do without it");
        });
    let missing = contents.is_err();
    File { path, contents: contents.unwrap_or_default(), missing }
}

fn invalid(errors: outrigger_config::error::ConfigErrors) -> anyhow::Error {
    anyhow::anyhow!("the configuration is not valid:\n{errors}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_get_the_jobs_and_the_files_they_name_but_nothing_of_the_master() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("prometheus.yml");
        std::fs::write(directory.path().join("token"), "t0p").expect("written");
        let text = "
global: {scrape_interval: 5s}
scrape_configs:
- job_name: nodes
  authorization: {credentials_file: token}
  kubernetes_sd_configs: [{role: node, kubeconfig_file: kubeconfig}]
- job_name: gone
  tls_config: {ca_file: no/such/ca}
remote_write: [{url: 'http://127.0.0.1:1/w'}]
outrigger: {centre: {name: m}, kubernetes: {kubeconfig: kubeconfig}}
";
        std::fs::write(&path, text).expect("written");
        let file = MasterFile::read(&path).expect("valid");
        let added = [("serviceMonitor/a/b/0".into(), "{job_name: serviceMonitor/a/b/0}".to_owned())];
        let mut effective = file.with_jobs(&added).expect("valid");
        assert_eq!(effective.config.scrape_configs.len(), 3);
        let bundle = &mut effective.bundle;
        let jobs: Vec<&str> = bundle.jobs.iter().map(|job| &*job.job).collect();
        assert_eq!(jobs, ["nodes", "gone", "serviceMonitor/a/b/0"]);
        let all = format!("{}{:?}", bundle.base, bundle.jobs);
        assert!(!all.contains("kubeconfig") && !all.contains("centre"), "{all}");
        let files: Vec<(&[u8], bool)> =
            bundle.files.iter().map(|file| (&*file.contents, file.missing)).collect();
        assert_eq!(files, [(&b""[..], true), (b"t0p", false)]);
        assert!(!refresh_files(bundle));
        std::fs::write(directory.path().join("token"), "other").expect("written");
        assert!(refresh_files(bundle));
        assert_eq!(bundle.files[1].contents, b"other");
    }
}
