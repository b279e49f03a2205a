//! What is to run: flags, configuration file and the files they name, read and checked.

use md5::{Digest as _, Md5};
use outrigger_kube::ClusterConnection;
use outrigger_state::custom::Config;
use outrigger_state::options::{CommandLine, Options};
use outrigger_state::selection::Selection;

/// A file that was read, for `kube_state_metrics_config_hash`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LoadedFile {
    pub(super) kind: &'static str,
    pub(super) path: String,
    pub(super) hash: f64,
}

/// Everything that a start or a reload needs.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) options: Options,
    pub(super) selection: Selection,
    /// Custom resource state, if there is any.
    pub(super) custom: Option<Config>,
    pub(super) files: Vec<LoadedFile>,
}

/// Settings that cannot run, and the file that is to blame, if one is.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) error: anyhow::Error,
    pub(super) file: Option<(&'static str, String)>,
}

impl From<anyhow::Error> for Refused {
    fn from(error: anyhow::Error) -> Self {
        Self { error, file: None }
    }
}

impl Settings {
    /// Reads the files that the flags name.
    pub(super) fn load(flags: &Options) -> Result<Self, Refused> {
        let mut files = Vec::new();
        let options = with_config(flags, &mut files)?;
        let blame = |error: anyhow::Error| Refused {
            error,
            file: files.first().map(|file| (file.kind, file.path.clone())),
        };
        options.check().map_err(|error| blame(error.into()))?;
        let selection = Selection::new(&options).map_err(|error| blame(error.into()))?;
        let custom = custom_config(&options, &mut files)?;
        Ok(Self { options, selection, custom, files })
    }

    /// Where the API server is, as client-go's `BuildConfigFromFlags` finds it; outside a pod also as kubectl does.
    pub(super) fn connection(&self) -> ClusterConnection {
        let options = &self.options;
        let kubeconfig = options.kubeconfig.as_str();
        match (kubeconfig, options.apiserver.as_str()) {
            ("", "") if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() => ClusterConnection::InCluster,
            ("", "") => ClusterConnection::Infer { context: None },
            ("", server) => ClusterConnection::Url { api_server: with_scheme(server), http: Box::default() },
            (path, _) => ClusterConnection::Kubeconfig { path: path.into(), context: None },
        }
    }

    /// The server in place of the kubeconfig's.
    pub(super) fn server(&self) -> Option<String> {
        let both = !self.options.kubeconfig.is_empty() && !self.options.apiserver.is_empty();
        both.then(|| with_scheme(&self.options.apiserver))
    }
}

/// client-go takes an address without a scheme for plain HTTP.
fn with_scheme(server: &str) -> String {
    if server.contains("://") { server.to_owned() } else { format!("http://{server}") }
}

fn with_config(flags: &Options, files: &mut Vec<LoadedFile>) -> Result<Options, Refused> {
    let path = flags.config.as_str();
    if path.is_empty() {
        return Ok(flags.clone());
    }
    let refused = |error: anyhow::Error| Refused { error, file: Some(("config", path.to_owned())) };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && flags.continue_without_config => {
            tracing::warn!(file = path, "the configuration file is not there yet, starting without it");
            return Ok(flags.clone());
        }
        Err(error) => {
            let hint = if error.kind() == std::io::ErrorKind::NotFound {
                " (--continue-without-config starts without it)"
            } else {
                ""
            };
            return Err(refused(anyhow::Error::new(error).context(format!("--config {path}{hint}"))));
        }
    };
    let (options, warnings) =
        CommandLine::with_file(flags, path, &text).map_err(|error| refused(error.into()))?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    files.push(LoadedFile { kind: "config", path: path.to_owned(), hash: hash(text.as_bytes()) });
    Ok(options)
}

/// The custom resource state configuration: the one in the flag itself, or else the file's.
fn custom_config(options: &Options, files: &mut Vec<LoadedFile>) -> Result<Option<Config>, Refused> {
    const FLAG: &str = "--custom-resource-state-config";
    let path = options.custom_resource_config_file.as_str();
    if !options.custom_resource_config.is_empty() {
        return read_custom(FLAG, &options.custom_resource_config).map(Some).map_err(Refused::from);
    }
    if path.is_empty() {
        return Ok(None);
    }
    let refused =
        |error: anyhow::Error| Refused { error, file: Some(("customresourceconfig", path.to_owned())) };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound
                && options.continue_without_custom_resource_config_file =>
        {
            tracing::warn!(
                file = path,
                "the custom resource state file is not there yet, starting without it"
            );
            return Ok(None);
        }
        Err(error) => {
            return Err(refused(anyhow::Error::new(error).context(format!("{FLAG}-file {path}"))));
        }
    };
    let config = read_custom(path, &text).map_err(refused)?;
    let hash = hash(text.as_bytes());
    files.push(LoadedFile { kind: "customresourceconfig", path: path.to_owned(), hash });
    Ok(Some(config))
}

fn read_custom(path: &str, text: &str) -> anyhow::Result<Config> {
    let loaded = Config::read(path, text)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    for problem in &loaded.invalid {
        tracing::error!("left out: {problem}");
    }
    Ok(loaded.config)
}

/// The first 48 bits of the MD5 sum, as a number that a float holds.
pub(super) fn hash(content: &[u8]) -> f64 {
    let sum = Md5::digest(content);
    sum.iter().take(6).rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_beginning_of_md5() {
        // MD5 of nothing is d41d8cd98f00...
        assert_eq!(hash(b""), 0x008f_d98c_1dd4_u64 as f64);
    }

    #[test]
    fn the_api_server_is_found_as_client_go_finds_it() {
        let connection = |apiserver: &str, kubeconfig: &str| {
            let options = Options {
                apiserver: apiserver.to_owned(),
                kubeconfig: kubeconfig.to_owned(),
                ..Options::default()
            };
            Settings { options, selection: Selection::default(), custom: None, files: Vec::new() }
                .connection()
        };
        let url =
            |server: &str| ClusterConnection::Url { api_server: server.to_owned(), http: Box::default() };
        assert_eq!(connection("127.0.0.1:8080", ""), url("http://127.0.0.1:8080"));
        assert_eq!(connection("https://a:6443", ""), url("https://a:6443"));
        let file = ClusterConnection::Kubeconfig { path: "/k".into(), context: None };
        assert_eq!(connection("", "/k"), file);
    }
}
