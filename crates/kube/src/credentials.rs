//! How the API server is reached and how Outrigger proves who it is, as kubectl does it.
//!
//! Kubeconfig parsing, certificates and the in-cluster account are the `kube` crate's; tokens and exec plugins are
//! driven here, so that a plugin runs once for each credential, has a deadline, and is asked again after a 401.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use kube::client::ConfigExt;
use outrigger_model::clock::SharedClock;
use outrigger_model::fault::{Blame, Retry, chain};
use outrigger_model::http::{HttpClientConfig, ProxyConfig};
use outrigger_model::secret::Secret;
use outrigger_rt::http::{HttpError, HttpParts, ProxyEnvironment, ProxyRoute};
use outrigger_rt::resolver::Resolver;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::time::Instant;

pub(crate) use exec::ExecError;
use exec::{ExecPlugin, Identity};
use token::TokenSource;

mod exec;
mod http_config;
mod kubeconfig;
mod token;

/// Where a cluster's API server is and with which credentials it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterConnection {
    /// As kubectl finds it: `KUBECONFIG` or `~/.kube/config`, else the service account of the pod.
    Infer {
        /// Context of the kubeconfig; the current one when absent.
        context: Option<String>,
    },
    /// A kubeconfig file.
    Kubeconfig {
        /// The file; paths within it are relative to its directory.
        path: PathBuf,
        /// Context; the current one when absent.
        context: Option<String>,
    },
    /// The service account of the pod Outrigger runs in.
    InCluster,
    /// Prometheus' `api_server` with its `http_config`.
    Url {
        /// For example `https://10.0.0.1:6443`; a path is kept as a prefix.
        api_server: String,
        /// Credentials, TLS and proxy.
        http: Box<HttpClientConfig>,
    },
}

/// A connection that cannot work, whatever the server says. The message names the file and key to fix.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Neither a kubeconfig nor a service account.
    #[error(
        "no cluster to connect to: KUBECONFIG is not set, ~/.kube/config does not exist and this is not a pod \
         ({in_cluster}); give a kubeconfig file or an api_server"
    )]
    Nothing {
        /// Why it is not a pod with a service account.
        in_cluster: String,
    },
    /// A kubeconfig cannot be read or parsed.
    #[error("kubeconfig {path}: {problem}")]
    Kubeconfig {
        /// Which file or files.
        path: String,
        /// What is wrong and how to fix it.
        problem: String,
    },
    /// The service account of the pod cannot be used.
    #[error("service account of the pod: {problem}")]
    InCluster {
        /// What is wrong.
        problem: String,
    },
    /// The `api_server` URL cannot be used.
    #[error("api_server {url:?}: {problem}")]
    Url {
        /// As configured.
        url: String,
        /// What is wrong and how to fix it.
        problem: String,
    },
    /// The HTTP client settings cannot be used.
    #[error("http_config of the API server: {problem}")]
    HttpConfig {
        /// What is wrong and how to fix it.
        problem: String,
    },
    /// Certificates or keys cannot be used.
    #[error("TLS towards the API server: {problem}")]
    Tls {
        /// What is wrong.
        problem: String,
    },
}

impl ConnectError {
    /// The operator's configuration, always.
    pub fn blame(&self) -> Blame {
        Blame::Configuration
    }

    /// Files may appear later (a mounted secret, a rotated certificate), so trying again can help.
    pub fn retry(&self) -> Retry {
        Retry::Backoff
    }
}

/// Credentials that cannot be had now.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// The exec plugin.
    #[error("exec plugin {command:?}")]
    Exec {
        /// Its command.
        command: String,
        /// Why.
        source: ExecError,
    },
    /// A file with a token or password.
    #[error("cannot read the credentials file {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A token that is no header value.
    #[error("the token contains characters that a header cannot carry")]
    NotAHeader,
    /// A legacy auth-provider.
    #[error("cannot get a token: {problem}")]
    Provider {
        /// What it said.
        problem: String,
    },
    /// Files or the identity provider of an `http_config`.
    #[error(transparent)]
    Http(HttpError),
}

/// Time for an identity provider to give a token.
const TOKEN_DEADLINE: Duration = Duration::from_secs(20);

/// Everything needed to reach one API server, loaded once; replaced as a whole when it is loaded anew.
pub(crate) struct Access {
    /// Scheme, host, port and path prefix.
    pub(crate) server: Uri,
    /// Namespace of the context or of the pod.
    pub(crate) namespace: String,
    pub(crate) proxy: Option<ProxyRoute>,
    /// Offer HTTP/2.
    pub(crate) http2: bool,
    /// Name to verify and send as SNI.
    pub(crate) server_name: Option<String>,
    source: Source,
    /// Serves when certificate files cannot be read for a moment.
    last_tls: Mutex<Option<rustls::ClientConfig>>,
}

/// Where credentials come from.
enum Source {
    /// A kubeconfig or a pod's service account.
    Kube {
        config: Box<kube::Config>,
        token: Box<TokenSource>,
        exec: Option<Arc<ExecPlugin>>,
        impersonation: Box<HeaderMap>,
    },
    /// Prometheus' `http_config`.
    Http(Box<HttpParts>),
}

/// What loading needs from around it.
pub(crate) struct Surroundings<'a> {
    pub(crate) clock: &'a SharedClock,
    pub(crate) resolver: &'a Resolver,
    pub(crate) user_agent: &'a str,
    pub(crate) environment: &'a dyn Fn(&str) -> Option<OsString>,
}

impl Surroundings<'_> {
    /// The proxy to `server`: the configured one, else the environment's, where `NO_PROXY` applies, as in client-go.
    fn proxy(&self, configured: Option<&str>, server: &Uri) -> Result<Option<ProxyRoute>, String> {
        let config = ProxyConfig {
            url: configured.map(Secret::new),
            from_environment: configured.is_none(),
            ..ProxyConfig::default()
        };
        ProxyRoute::choose(&config, &self.proxy_environment(), &server.to_string())
            .map_err(|error| chain(&error))
    }

    fn proxy_environment(&self) -> ProxyEnvironment {
        ProxyEnvironment::from_lookup(|name| (self.environment)(name)?.into_string().ok())
    }
}

/// TLS settings for one new connection.
pub(crate) struct ConnectionTls {
    pub(crate) config: rustls::ClientConfig,
    /// When the client certificate should no longer be used, if an exec plugin gave it.
    pub(crate) valid_until: Option<outrigger_model::sample::Timestamp>,
}

impl Access {
    /// Loads the connection's files. Does not talk to the server and runs no plugin.
    pub(crate) fn load(
        connection: &ClusterConnection,
        around: &Surroundings<'_>,
    ) -> Result<Self, ConnectError> {
        install_crypto();
        match connection {
            ClusterConnection::Infer { context } => match kubeconfig::default_files(around.environment) {
                Some(files) => kubeconfig::load(&files, context.as_deref(), around),
                None if context.is_some() => Err(ConnectError::Kubeconfig {
                    path: "~/.kube/config".to_owned(),
                    problem: "does not exist, but a context of it is configured".to_owned(),
                }),
                None => Self::in_cluster(around).map_err(|error| match error {
                    ConnectError::InCluster { problem } => ConnectError::Nothing { in_cluster: problem },
                    other => other,
                }),
            },
            ClusterConnection::Kubeconfig { path, context } => {
                kubeconfig::load(std::slice::from_ref(path), context.as_deref(), around)
            }
            ClusterConnection::InCluster => Self::in_cluster(around),
            ClusterConnection::Url { api_server, http } => http_config::load(api_server, http, around),
        }
    }

    /// The same credentials for another server.
    pub(crate) fn at(self, server: &str) -> Result<Self, ConnectError> {
        let problem = |problem: String| ConnectError::Url { url: server.to_owned(), problem };
        let uri: Uri = server.parse().map_err(|error: http::uri::InvalidUri| problem(error.to_string()))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(problem("write http://host:port or https://host:port".to_owned()));
        }
        Ok(Self { server: uri, ..self })
    }

    fn in_cluster(around: &Surroundings<'_>) -> Result<Self, ConnectError> {
        // The environment's address is an IP, so this works without DNS.
        let config = kube::Config::incluster_env()
            .map_err(|error| ConnectError::InCluster { problem: error.to_string() })?;
        // The cluster's own network: proxies of the environment do not apply.
        Self::from_kube(config, None, around.clock)
    }

    fn from_kube(
        mut config: kube::Config,
        proxy: Option<ProxyRoute>,
        clock: &SharedClock,
    ) -> Result<Self, ConnectError> {
        config.default_retry = false;
        let exec = match config.auth_info.exec.take() {
            Some(exec) => Some(Arc::new(ExecPlugin::new(exec, clock.clone())?)),
            None => None,
        };
        let access = Self {
            server: config.cluster_url.clone(),
            namespace: config.default_namespace.clone(),
            proxy,
            http2: true,
            server_name: config.tls_server_name.clone(),
            source: Source::Kube {
                token: Box::new(TokenSource::of_auth_info(&config.auth_info, exec.clone())?),
                impersonation: Box::new(impersonation(&config)?),
                exec,
                config: Box::new(config),
            },
            last_tls: Mutex::new(None),
        };
        // Certificates and keys are checked now, so that a wrong file is an error at the start.
        access.tls_config(None)?;
        Ok(access)
    }

    /// Headers of a request: `Authorization` from a file, a plugin or memory, impersonation, configured ones.
    pub(crate) async fn headers(&self) -> Result<HeaderMap, CredentialsError> {
        match &self.source {
            Source::Kube { token, impersonation, .. } => {
                let mut headers = (**impersonation).clone();
                if let Some(authorization) = token.header().await? {
                    headers.insert(AUTHORIZATION, authorization);
                }
                Ok(headers)
            }
            Source::Http(parts) => {
                let host = self.server.authority().map_or("", |authority| authority.as_str());
                parts.headers(host, Instant::now() + TOKEN_DEADLINE).await.map_err(CredentialsError::Http)
            }
        }
    }

    /// TLS settings for a new connection: certificate files are read anew each time.
    pub(crate) async fn tls(self: &Arc<Self>) -> Result<ConnectionTls, TlsError> {
        let identity = match &self.source {
            Source::Kube { exec: Some(exec), token, .. } if !token.is_static() => {
                exec.identity().await.map_err(|source| {
                    TlsError::Credentials(CredentialsError::Exec {
                        command: exec.command().to_owned(),
                        source,
                    })
                })?
            }
            _ => None,
        };
        let valid_until = identity.as_ref().and_then(|identity| identity.valid_until);
        let access = self.clone();
        let config = tokio::task::spawn_blocking(move || access.tls_config(identity.as_ref()))
            .await
            .map_err(|error| TlsError::Task(error.to_string()))?;
        let config = match config {
            Ok(config) => config,
            Err(error) => match self.last_tls.lock().clone() {
                Some(last) => {
                    tracing::warn!(%error, "cannot read certificates anew, using those read before");
                    last
                }
                None => return Err(TlsError::Config(error)),
            },
        };
        Ok(ConnectionTls { config, valid_until })
    }

    fn tls_config(&self, identity: Option<&Identity>) -> Result<rustls::ClientConfig, ConnectError> {
        let config = match &self.source {
            Source::Kube { config, .. } => {
                let mut config = (**config).clone();
                if let Some(identity) = identity {
                    identity.put_into(&mut config.auth_info);
                }
                config
                    .rustls_client_config()
                    .map_err(|error| ConnectError::Tls { problem: error.to_string() })?
            }
            Source::Http(parts) => {
                let config = parts.tls();
                let config = config.map_err(|error| ConnectError::Tls { problem: chain(&error) })?;
                (*config).clone()
            }
        };
        *self.last_tls.lock() = Some(config.clone());
        Ok(config)
    }
}

/// Why TLS settings for a new connection could not be made.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The client certificate comes from a plugin that failed.
    #[error("no client certificate")]
    Credentials(#[source] CredentialsError),
    /// Files or PEM text.
    #[error(transparent)]
    Config(ConnectError),
    /// The task that reads the files died.
    #[error("reading certificates was interrupted: {0}")]
    Task(String),
}

/// rustls needs one cryptography provider for the process; the first to come installs it.
fn install_crypto() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that another thread was first, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
}

/// Impersonation headers, as the kube crate's layer writes them.
fn impersonation(config: &kube::Config) -> Result<HeaderMap, ConnectError> {
    let mut headers = HeaderMap::new();
    let auth = &config.auth_info;
    let mut append = |name: &str, value: &str| -> Result<(), ConnectError> {
        let problem = || ConnectError::Kubeconfig {
            path: "user".to_owned(),
            problem: format!("{name}: {value:?} cannot be sent as a header"),
        };
        let name = HeaderName::try_from(name).map_err(|_| problem())?;
        headers.append(name, HeaderValue::from_str(value).map_err(|_| problem())?);
        Ok(())
    };
    if let Some(user) = &auth.impersonate {
        append("impersonate-user", user)?;
    }
    if let Some(uid) = &auth.impersonate_uid {
        append("impersonate-uid", uid)?;
    }
    for group in auth.impersonate_groups.iter().flatten() {
        append("impersonate-group", group)?;
    }
    for (key, values) in auth.impersonate_user_extra.iter().flatten() {
        let key = escape_extra_key(key);
        for value in values {
            append(&format!("impersonate-extra-{key}"), value)?;
        }
    }
    Ok(headers)
}

/// Percent-escapes what a header name cannot carry (client-go `transport/round_trippers.go` headerKeyEscape).
fn escape_extra_key(key: &str) -> String {
    let mut escaped = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'!' | b'#' | b'$' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|'
            | b'~' => {
                escaped.push(char::from(byte));
            }
            _ if byte.is_ascii_alphanumeric() => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use outrigger_model::clock::SystemClock;
    use outrigger_rt::resolver::ResolverOptions;

    use super::*;

    fn load_from(
        connection: &ClusterConnection,
        environment: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Access, ConnectError> {
        let clock: SharedClock = Arc::new(SystemClock);
        let resolver = Resolver::new(ResolverOptions::default());
        let around = Surroundings { clock: &clock, resolver: &resolver, user_agent: "test", environment };
        Access::load(connection, &around)
    }

    fn write(directory: &Path, name: &str, current: &str, contexts: &[(&str, &str)]) -> PathBuf {
        let mut text = format!("apiVersion: v1\nkind: Config\ncurrent-context: {current:?}\n");
        let mut lists = ["clusters:\n".to_owned(), "contexts:\n".to_owned()];
        for (context, server) in contexts {
            lists[0].push_str(&format!("- {{name: {context}, cluster: {{server: \"{server}\"}}}}\n"));
            lists[1].push_str(&format!(
                "- {{name: {context}, context: {{cluster: {context}, namespace: ns-{context}}}}}\n"
            ));
        }
        text.push_str(&lists.concat());
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn kubeconfigs_are_found_and_merged_as_kubectl_does() {
        let home = tempfile::tempdir().unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".kube")).unwrap();
        write(&home.path().join(".kube"), "config", "home", &[("home", "https://home.test:6443")]);
        // No current context in the first; the same name in both; one file is not there.
        let first = write(directory.path(), "1", "", &[("a", "https://first.test")]);
        let second = write(
            directory.path(),
            "2",
            "b",
            &[("a", "https://second.test"), ("b", "localhost:8080"), ("c", "https://127.0.0.1:6443/prefix/")],
        );
        let list = std::env::join_paths([&first, &directory.path().join("absent"), &second]).unwrap();
        let environment = |list: Option<OsString>| {
            let home = home.path().as_os_str().to_owned();
            move |name: &str| match name {
                "KUBECONFIG" => list.clone(),
                "HOME" => Some(home.clone()),
                _ => None,
            }
        };
        for (list, context, server, namespace) in [
            (None, None, "https://home.test:6443/", "ns-home"),
            (Some(OsString::new()), None, "https://home.test:6443/", "ns-home"),
            (Some(list.clone()), None, "http://localhost:8080/", "ns-b"),
            (Some(list.clone()), Some("a"), "https://first.test/", "ns-a"),
            (Some(list), Some("c"), "https://127.0.0.1:6443/prefix/", "ns-c"),
        ] {
            let connection = ClusterConnection::Infer { context: context.map(str::to_owned) };
            let access = load_from(&connection, &environment(list)).unwrap();
            assert_eq!((access.server.to_string().as_str(), access.namespace.as_str()), (server, namespace));
        }
        let error = load_from(&ClusterConnection::Infer { context: None }, &|_| None).err().unwrap();
        // In a pod this machine's service account would serve.
        assert!(matches!(error, ConnectError::Nothing { .. }), "{error}");
        assert!(error.to_string().contains("give a kubeconfig file or an api_server"), "{error}");
    }

    #[test]
    fn impersonation_becomes_headers() {
        let mut config = kube::Config::new(Uri::from_static("https://localhost"));
        config.auth_info.impersonate = Some("ann".to_owned());
        config.auth_info.impersonate_groups = Some(vec!["dev".to_owned(), "ops".to_owned()]);
        let extra = [("scopes/a b".to_owned(), vec!["view".to_owned()])];
        config.auth_info.impersonate_user_extra = Some(extra.into_iter().collect());
        let headers = impersonation(&config).unwrap();
        let groups: Vec<_> = headers.get_all("impersonate-group").iter().collect();
        assert_eq!(headers["impersonate-user"], "ann");
        assert_eq!(groups, ["dev", "ops"]);
        assert_eq!(headers["impersonate-extra-scopes%2fa%20b"], "view");
    }
}
