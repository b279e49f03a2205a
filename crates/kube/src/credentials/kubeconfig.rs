//! Kubeconfig files: which ones, merged how, and what is wrong with them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

use super::{Access, ConnectError, Surroundings};

/// The files kubectl would read: those of `KUBECONFIG` in order, else `~/.kube/config` if it exists.
///
/// Source: client-go `tools/clientcmd/loader.go`, NewDefaultClientConfigLoadingRules.
pub(super) fn default_files(environment: &dyn Fn(&str) -> Option<OsString>) -> Option<Vec<PathBuf>> {
    if let Some(list) = environment("KUBECONFIG").filter(|list| !list.is_empty()) {
        let files: Vec<_> =
            std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect();
        if !files.is_empty() {
            return Some(files);
        }
    }
    let home = environment("HOME").filter(|home| !home.is_empty())?;
    let file = Path::new(&home).join(".kube").join("config");
    file.exists().then(|| vec![file])
}

/// Loads and merges the files and takes one context out of them.
pub(super) fn load(
    files: &[PathBuf],
    context: Option<&str>,
    around: &Surroundings<'_>,
) -> Result<Access, ConnectError> {
    let shown = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(":");
    let problem = |problem: String| ConnectError::Kubeconfig { path: shown.clone(), problem };
    let merged = read_all(files)?;
    let chosen = check_context(&merged, context).map_err(problem)?;
    let cluster = merged
        .clusters
        .iter()
        .find(|cluster| cluster.name == chosen.cluster)
        .and_then(|named| named.cluster.clone())
        .unwrap_or_default();
    let options = KubeConfigOptions { context: Some(chosen.name.clone()), ..KubeConfigOptions::default() };
    let mut config = block_on_ready(kube::Config::from_custom_kubeconfig(merged, &options))
        .map_err(|error| problem(describe(error)))?;
    config.cluster_url = server_url(&cluster.server.unwrap_or_default(), config.root_cert.is_some())
        .map_err(|reason| problem(format!("cluster {:?}: server {reason}", chosen.cluster)))?;
    if cluster.certificate_authority_data.is_none() {
        // A file is read anew for each connection, so that a rotated authority is picked up.
        config.root_cert_file = cluster.certificate_authority.map(PathBuf::from);
    }
    let configured = cluster.proxy_url.as_deref().filter(|url| !url.is_empty());
    let proxy = around
        .proxy(configured, &config.cluster_url)
        .map_err(|reason| problem(format!("cluster {:?}: {reason}", chosen.cluster)))?;
    Access::from_kube(config, proxy, around.clock).map_err(|error| match error {
        ConnectError::Tls { problem: reason } => {
            problem(format!("user or cluster of context {:?}: {reason}", chosen.name))
        }
        ConnectError::Kubeconfig { path, problem: reason } => problem(format!("{path}: {reason}")),
        other => other,
    })
}

/// Merges the files as kubectl does: the first to set a value wins, files that do not exist are left out.
fn read_all(files: &[PathBuf]) -> Result<Kubeconfig, ConnectError> {
    let mut merged = Kubeconfig::default();
    let mut read = 0;
    let mut missing = None;
    for file in files {
        let problem =
            |problem: String| ConnectError::Kubeconfig { path: file.display().to_string(), problem };
        match Kubeconfig::read_from(file) {
            Ok(mut next) => {
                // kubectl takes an empty current-context for none.
                next.current_context = next.current_context.filter(|name| !name.is_empty());
                merged = merged.merge(next).map_err(|error| problem(describe(error)))?;
                read += 1;
            }
            Err(KubeconfigError::ReadConfig(error, _)) if error.kind() == std::io::ErrorKind::NotFound => {
                missing = Some(problem("no such file".to_owned()));
            }
            Err(error) => return Err(problem(describe(error))),
        }
    }
    match (read, missing) {
        (0, Some(error)) => Err(error),
        _ => Ok(merged),
    }
}

struct Chosen {
    name: String,
    cluster: String,
}

/// Finds the context and what it refers to. kubectl refuses a context whose user is missing; so does this.
fn check_context(config: &Kubeconfig, wanted: Option<&str>) -> Result<Chosen, String> {
    let known = || {
        let names: Vec<_> = config.contexts.iter().map(|context| context.name.as_str()).collect();
        if names.is_empty() {
            "it has no contexts".to_owned()
        } else {
            format!("it has: {}", names.join(", "))
        }
    };
    let Some(name) = wanted.or(config.current_context.as_deref()) else {
        return Err(format!("current-context is not set and no context is configured ({})", known()));
    };
    let context = config
        .contexts
        .iter()
        .find(|context| context.name == name)
        .and_then(|named| named.context.as_ref())
        .ok_or_else(|| format!("context {name:?} does not exist ({})", known()))?;
    if !config.clusters.iter().any(|cluster| cluster.name == context.cluster && cluster.cluster.is_some()) {
        return Err(format!("context {name:?}: cluster {:?} does not exist", context.cluster));
    }
    if let Some(user) = context.user.as_deref().filter(|user| !user.is_empty())
        && !config.auth_infos.iter().any(|auth| auth.name == user)
    {
        return Err(format!("context {name:?}: user {user:?} does not exist"));
    }
    Ok(Chosen { name: name.to_owned(), cluster: context.cluster.clone() })
}

/// The server's URL. Without a scheme it is https where there is a certificate authority, else http
/// (client-go `rest/url_utils.go` DefaultServerURL).
pub(super) fn server_url(server: &str, has_authority: bool) -> Result<http::Uri, String> {
    if server.is_empty() {
        return Err("is not set".to_owned());
    }
    let full = if server.contains("://") {
        server.to_owned()
    } else {
        format!("{}://{server}", if has_authority { "https" } else { "http" })
    };
    let url: http::Uri = full.parse().map_err(|error| format!("{server:?} is no URL: {error}"))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err(format!("{server:?} must start with https:// or http://"));
    }
    match url.host() {
        Some(host) if !host.is_empty() => Ok(url),
        _ => Err(format!("{server:?} has no host")),
    }
}

/// The kube crate's error as one line.
fn describe(error: KubeconfigError) -> String {
    match error {
        KubeconfigError::Parse(error) => format!("is no kubeconfig: {}", first_line(&error.to_string())),
        KubeconfigError::ReadConfig(error, _) => format!("cannot be read: {error}"),
        other => other.to_string(),
    }
}

/// A YAML error may print lines of the file after its first line, and those may hold a token.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The loader of the kube crate is async in name only: it never waits.
fn block_on_ready<T>(future: impl Future<Output = T>) -> T {
    use futures_util::FutureExt;
    future.now_or_never().expect("loading a parsed kubeconfig does no I/O that waits")
}
