//! A small client of the rig's servers: JSON over HTTP/1.1, many connections.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::time::timeout;

use super::certificates::{Credentials, User};

/// No request of the rig takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client of one server. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    base: String,
    http: HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// An answer of whatever status.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).context("parse the answer as JSON")
    }
}

impl Client {
    /// A client of an unencrypted server such as `http://127.0.0.1:9090`.
    pub fn plain(base: &str) -> Result<Self> {
        let tls = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .context("set up TLS")?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        Ok(Client::new(base, tls))
    }

    /// A client of the API server as a user with a client certificate.
    pub(super) fn of_apiserver(base: &str, credentials: &Credentials, user: User) -> Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        let authority =
            CertificateDer::from_pem_file(credentials.file("ca.crt")).context("read the authority")?;
        roots.add(authority).context("trust the authority")?;
        let file = |ending: &str| credentials.file(&format!("{}.{ending}", user.name()));
        let certificate =
            CertificateDer::from_pem_file(file("crt")).context("read the client certificate")?;
        let key = PrivateKeyDer::from_pem_file(file("key")).context("read the client key")?;
        let tls = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .context("set up TLS")?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)
            .context("use the client certificate")?;
        Ok(Client::new(base, tls))
    }

    fn new(base: &str, tls: rustls::ClientConfig) -> Self {
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let http = HyperClient::builder(TokioExecutor::new()).pool_max_idle_per_host(128).build(connector);
        Client { base: base.trim_end_matches('/').to_owned(), http }
    }

    /// Sends a request with a JSON body (or another content type that the caller names).
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<Answer> {
        let request = Request::builder()
            .method(&method)
            .uri(format!("{}{path}", self.base))
            .header(header::USER_AGENT, concat!("outrigger-rig/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, content_type)
            .body(Full::new(Bytes::from(body)))
            .with_context(|| format!("make {method} {path}"))?;
        let exchange = async {
            let response = self.http.request(request).await?;
            let status = response.status();
            anyhow::Ok(Answer { status, body: response.into_body().collect().await?.to_bytes() })
        };
        let answer = timeout(PATIENCE, exchange).await.unwrap_or_else(|late| Err(late.into()));
        answer.with_context(|| format!("{method} {}{path}", self.base))
    }

    /// The body of a GET, which must succeed, as text.
    pub async fn get_text(&self, path: &str) -> Result<String> {
        let answer = self.send(Method::GET, path, "application/json", Vec::new()).await?;
        expect_success("GET", path, &answer)?;
        String::from_utf8(answer.body.to_vec())
            .with_context(|| format!("GET {path}: read the answer as text"))
    }

    /// GETs an object.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let text = self.get_text(path).await?;
        serde_json::from_str(&text).with_context(|| format!("GET {path}: parse the answer"))
    }

    /// POSTs a new object to its collection and returns it as the server has it; the present one if there is
    /// one of that name.
    pub async fn create(&self, collection: &str, object: &Value) -> Result<Value> {
        let answer =
            self.send(Method::POST, collection, "application/json", serde_json::to_vec(object)?).await?;
        if answer.status == StatusCode::CONFLICT {
            let name = object["metadata"]["name"].as_str().context("the object has no name")?;
            return self.get(&format!("{collection}/{name}")).await;
        }
        expect_success("POST", collection, &answer)?;
        answer.json()
    }

    /// PATCHes an object or a subresource with a JSON merge patch.
    pub async fn merge(&self, path: &str, patch: &Value) -> Result<Value> {
        let answer = self
            .send(Method::PATCH, path, "application/merge-patch+json", serde_json::to_vec(patch)?)
            .await?;
        expect_success("PATCH", path, &answer)?;
        answer.json()
    }

    /// Deletes an object.
    pub async fn delete(&self, path: &str) -> Result<()> {
        let answer = self.send(Method::DELETE, path, "application/json", Vec::new()).await?;
        expect_success("DELETE", path, &answer)
    }
}

fn expect_success(method: &str, path: &str, answer: &Answer) -> Result<()> {
    if !answer.status.is_success() {
        let body: String = String::from_utf8_lossy(&answer.body).chars().take(600).collect();
        bail!("{method} {path} was answered {}: {body}", answer.status);
    }
    Ok(())
}

fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
