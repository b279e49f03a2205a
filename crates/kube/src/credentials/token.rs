//! Where the `Authorization` header comes from.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use kube::client::middleware::AuthLayer;
use kube::client::{Body, ConfigExt};
use kube::config::AuthInfo;
use parking_lot::Mutex;
use tower::{BoxError, Layer, ServiceExt};

use super::exec::ExecPlugin;
use super::{ConnectError, CredentialsError};

/// A source of `Authorization` headers.
pub(super) enum TokenSource {
    /// Client certificate, or nobody.
    None,
    /// Fixed, or a legacy auth-provider: the kube crate's.
    Kube(AuthLayer),
    /// A file that is read for every request.
    File(TokenFile),
    /// An exec plugin, which may also give a certificate instead.
    Exec(Arc<ExecPlugin>),
}

/// A rotated token. When the file cannot be read, the token read last serves on: some mounts remove the file
/// after the start (kubernetes/kubernetes#68164).
pub(super) struct TokenFile {
    path: PathBuf,
    last: Mutex<Option<HeaderValue>>,
    /// `token` beside `tokenFile`: serves until the file can be read.
    fallback: Option<AuthLayer>,
}

impl TokenSource {
    /// The source that kubectl would use: token file, token or basic auth before an exec plugin.
    pub(super) fn of_auth_info(auth: &AuthInfo, exec: Option<Arc<ExecPlugin>>) -> Result<Self, ConnectError> {
        let mut fixed = auth.clone();
        fixed.token_file = None;
        fixed.exec = None;
        if fixed.username.as_deref().is_some_and(|user| !user.is_empty()) && fixed.password.is_none() {
            fixed.password = Some(String::new().into());
        }
        let mut config = kube::Config::new(http::Uri::from_static("https://localhost"));
        config.auth_info = fixed;
        let layer = config.auth_layer().map_err(|error| ConnectError::Kubeconfig {
            path: "user".to_owned(),
            problem: describe(&error),
        })?;
        Ok(match (auth.token_file.as_deref().filter(|path| !path.is_empty()), layer, exec) {
            (Some(path), fallback, _) => {
                Self::File(TokenFile { path: path.into(), last: Mutex::new(None), fallback })
            }
            (None, Some(layer), _) => Self::Kube(layer),
            (None, None, Some(exec)) => Self::Exec(exec),
            (None, None, None) => Self::None,
        })
    }

    /// Whether the header comes from elsewhere than the exec plugin, which then is not run at all (client-go
    /// `plugin/pkg/client/auth/exec`).
    pub(super) fn is_static(&self) -> bool {
        !matches!(self, Self::Exec(_))
    }

    pub(super) async fn header(&self) -> Result<Option<HeaderValue>, CredentialsError> {
        match self {
            Self::None => Ok(None),
            Self::Kube(layer) => header_of(layer).await,
            Self::File(file) => file.header().await,
            Self::Exec(exec) => exec
                .authorization()
                .await
                .map_err(|source| CredentialsError::Exec { command: exec.command().to_owned(), source }),
        }
    }
}

impl TokenFile {
    async fn header(&self) -> Result<Option<HeaderValue>, CredentialsError> {
        match tokio::fs::read_to_string(&self.path).await {
            Ok(token) if !token.trim().is_empty() => {
                let header = bearer(token.trim())?;
                *self.last.lock() = Some(header.clone());
                Ok(Some(header))
            }
            unreadable => {
                if let Some(header) = self.last.lock().clone() {
                    return Ok(Some(header));
                }
                if let Some(fallback) = &self.fallback {
                    return header_of(fallback).await;
                }
                let source = unreadable.err().unwrap_or_else(|| {
                    std::io::Error::new(std::io::ErrorKind::InvalidData, "the file is empty")
                });
                Err(CredentialsError::File { path: self.path.clone(), source })
            }
        }
    }
}

/// `Bearer <token>`, marked so that it is never printed.
pub(super) fn bearer(token: &str) -> Result<HeaderValue, CredentialsError> {
    let mut value =
        HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| CredentialsError::NotAHeader)?;
    value.set_sensitive(true);
    Ok(value)
}

/// What the kube crate's layer would add to a request.
async fn header_of(layer: &AuthLayer) -> Result<Option<HeaderValue>, CredentialsError> {
    let echo = tower::service_fn(|request: Request<Body>| async move {
        let mut response = Response::new(());
        *response.headers_mut() = request.into_parts().0.headers;
        Ok::<_, BoxError>(response)
    });
    // Boxed: the layer's own future is not nameable.
    let echoed: BoxFuture<'static, Result<Response<()>, BoxError>> =
        Box::pin(layer.layer(echo).oneshot(Request::new(Body::empty())));
    match echoed.await {
        Ok(echoed) => Ok(echoed.headers().get(AUTHORIZATION).cloned()),
        Err(error) => Err(CredentialsError::Provider { problem: error.to_string() }),
    }
}

/// The kube crate prints what a failed command wrote; its output may hold tokens.
fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Auth(kube::client::AuthError::AuthExecRun { out, .. }) => {
            format!("the auth-provider's command failed with {}", out.status)
        }
        other => other.to_string(),
    }
}
