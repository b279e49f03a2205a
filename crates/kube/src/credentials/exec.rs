//! Credentials from an exec plugin: a token, a client certificate, or both.
//!
//! Source: <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins>
//! and client-go `plugin/pkg/client/auth/exec/exec.go`.

use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use kube::config::{AuthInfo, ExecConfig, ExecInteractiveMode};
use outrigger_model::clock::SharedClock;
use outrigger_model::sample::Timestamp;
use outrigger_model::secret::Secret;
use serde::Deserialize;
use thiserror::Error;
use tokio::process::Command;
use tokio::sync::Mutex;

use super::{ConnectError, token};

/// A plugin that takes longer is killed; the next request tries again.
const DEADLINE: Duration = Duration::from_secs(60);
/// Credentials are renewed this long before they end, or after half of their time if that is later.
const RENEW_BEFORE: Duration = Duration::from_secs(60);
/// What is kept of a plugin's output: an ExecCredential with certificates is some kilobytes.
const MAX_OUTPUT: usize = 1 << 20;
/// What is shown of a failed plugin's standard error.
const SHOWN_ERROR: usize = 400;

/// Why a plugin gave no credentials.
#[derive(Debug, Error)]
pub enum ExecError {
    /// It could not be started.
    #[error("cannot be started{hint}")]
    Start {
        /// `installHint` of the kubeconfig, with a separator, or nothing.
        hint: String,
        /// Why.
        source: std::io::Error,
    },
    /// It took too long.
    #[error("did not answer within {} s", DEADLINE.as_secs())]
    Deadline,
    /// It ended with another status than 0.
    #[error("failed with {status}: {stderr}")]
    Failed {
        /// Its exit status.
        status: std::process::ExitStatus,
        /// The end of its standard error.
        stderr: String,
    },
    /// Its output is no ExecCredential.
    #[error("printed no ExecCredential: {0}")]
    Output(String),
    /// A token that is no header value.
    #[error("printed a token that a header cannot carry")]
    Token,
}

/// A plugin and what it said last.
pub(super) struct ExecPlugin {
    config: ExecConfig,
    command: String,
    clock: SharedClock,
    cached: Mutex<Option<Credential>>,
}

#[derive(Clone)]
struct Credential {
    authorization: Option<HeaderValue>,
    identity: Option<Identity>,
    renew_at: Option<Timestamp>,
}

/// A client certificate with its key.
#[derive(Clone)]
pub(super) struct Identity {
    certificate_pem: String,
    key_pem: Secret,
    /// When it should be replaced.
    pub(super) valid_until: Option<Timestamp>,
}

impl Identity {
    /// Makes it the user's certificate.
    pub(super) fn put_into(&self, auth: &mut AuthInfo) {
        auth.client_certificate = None;
        auth.client_key = None;
        auth.client_certificate_data = Some(STANDARD.encode(&self.certificate_pem));
        auth.client_key_data = Some(STANDARD.encode(self.key_pem.expose()).into());
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredential {
    api_version: Option<String>,
    kind: Option<String>,
    status: Option<ExecStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecStatus {
    expiration_timestamp: Option<String>,
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

impl ExecPlugin {
    pub(super) fn new(config: ExecConfig, clock: SharedClock) -> Result<Self, ConnectError> {
        let problem =
            |problem: &str| ConnectError::Kubeconfig { path: "exec".to_owned(), problem: problem.to_owned() };
        let command = config.command.clone().filter(|command| !command.is_empty());
        let command = command.ok_or_else(|| problem("command is not set"))?;
        if config.interactive_mode == Some(ExecInteractiveMode::Always) {
            return Err(problem(
                "interactiveMode Always needs a terminal, which Outrigger has not: use a plugin or a login that \
                 does not ask",
            ));
        }
        match config.api_version.as_deref() {
            Some("client.authentication.k8s.io/v1" | "client.authentication.k8s.io/v1beta1") => {}
            _ => {
                return Err(problem(
                    "apiVersion must be client.authentication.k8s.io/v1 or client.authentication.k8s.io/v1beta1",
                ));
            }
        }
        Ok(Self { config, command, clock, cached: Mutex::new(None) })
    }

    pub(super) fn command(&self) -> &str {
        &self.command
    }

    pub(super) async fn authorization(&self) -> Result<Option<HeaderValue>, ExecError> {
        Ok(self.credential().await?.authorization)
    }

    pub(super) async fn identity(&self) -> Result<Option<Identity>, ExecError> {
        Ok(self.credential().await?.identity)
    }

    /// What the plugin said last while that is good; else asks it. Callers wait for one run together.
    async fn credential(&self) -> Result<Credential, ExecError> {
        let mut cached = self.cached.lock().await;
        if let Some(credential) = &*cached
            && credential.renew_at.is_none_or(|renew_at| self.clock.now() < renew_at)
        {
            return Ok(credential.clone());
        }
        let output = self.run().await?;
        let credential = self.parse(&output)?;
        *cached = Some(credential.clone());
        Ok(credential)
    }

    async fn run(&self) -> Result<Vec<u8>, ExecError> {
        let mut command = Command::new(&self.command);
        command
            .args(self.config.args.iter().flatten())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .env("KUBERNETES_EXEC_INFO", self.exec_info());
        for variable in self.config.env.iter().flatten() {
            if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
                command.env(name, value);
            }
        }
        let hint = self.config.install_hint.as_deref().filter(|hint| !hint.is_empty());
        let hint = hint.map(|hint| format!(" ({})", hint.trim())).unwrap_or_default();
        let child = command.spawn().map_err(|source| ExecError::Start { hint, source })?;
        let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await;
        let output = output.map_err(|_| ExecError::Deadline)?;
        let output = output.map_err(|source| ExecError::Start { hint: String::new(), source })?;
        if !output.status.success() {
            return Err(ExecError::Failed { status: output.status, stderr: tail(&output.stderr) });
        }
        if output.stdout.len() > MAX_OUTPUT {
            return Err(ExecError::Output(format!("more than {MAX_OUTPUT} bytes")));
        }
        Ok(output.stdout)
    }

    fn exec_info(&self) -> String {
        let mut spec = serde_json::json!({ "interactive": false });
        if self.config.provide_cluster_info
            && let Some(cluster) = &self.config.cluster
            && let Ok(cluster) = serde_json::to_value(cluster)
        {
            spec["cluster"] = cluster;
        }
        serde_json::json!({ "apiVersion": self.config.api_version, "kind": "ExecCredential", "spec": spec })
            .to_string()
    }

    fn parse(&self, output: &[u8]) -> Result<Credential, ExecError> {
        let bad = |problem: String| ExecError::Output(problem);
        let parsed = parse_output(output).map_err(bad)?;
        if parsed.kind.as_deref() != Some("ExecCredential") {
            return Err(bad("kind is not ExecCredential".to_owned()));
        }
        if parsed.api_version != self.config.api_version {
            return Err(bad(format!(
                "its apiVersion is {:?}, the kubeconfig asks for {:?}",
                parsed.api_version.unwrap_or_default(),
                self.config.api_version.as_deref().unwrap_or_default()
            )));
        }
        let status = parsed.status.ok_or_else(|| bad("it has no status".to_owned()))?;
        let renew_at = match &status.expiration_timestamp {
            None => None,
            Some(text) => {
                let end: jiff::Timestamp = text
                    .parse()
                    .map_err(|_| bad(format!("expirationTimestamp {text:?} is not an RFC 3339 time")))?;
                let end = Timestamp::from_millis(end.as_millisecond());
                let half = end.since(self.clock.now()) / 2;
                let early = i64::try_from(RENEW_BEFORE.as_millis()).unwrap_or(i64::MAX);
                Some(end.plus_millis(-early.min(half.max(0))))
            }
        };
        let authorization = match status.token.as_deref().filter(|token| !token.is_empty()) {
            Some(token) => Some(token::bearer(token.trim()).map_err(|_| ExecError::Token)?),
            None => None,
        };
        let identity = match (status.client_certificate_data, status.client_key_data) {
            (Some(certificate_pem), Some(key)) if !certificate_pem.is_empty() => {
                Some(Identity { certificate_pem, key_pem: Secret::new(key), valid_until: renew_at })
            }
            (Some(pem), None) if !pem.is_empty() => return Err(bad("clientKeyData is missing".to_owned())),
            _ => None,
        };
        if authorization.is_none() && identity.is_none() {
            return Err(bad("it has neither a token nor a client certificate".to_owned()));
        }
        Ok(Credential { authorization, identity, renew_at })
    }
}

/// JSON, or the YAML that client-go's decoder also takes. Errors do not quote the output.
fn parse_output(output: &[u8]) -> Result<ExecCredential, String> {
    match serde_json::from_slice(output) {
        Ok(parsed) => Ok(parsed),
        Err(error) => serde_saphyr::from_slice(output)
            .map_err(|_| format!("neither JSON (line {}, column {}) nor YAML", error.line(), error.column())),
    }
}

fn tail(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let text = text.trim();
    let from = text.char_indices().rev().nth(SHOWN_ERROR).map_or(0, |(at, _)| at);
    if text.is_empty() { "it printed nothing".to_owned() } else { text[from..].replace('\n', " / ") }
}
