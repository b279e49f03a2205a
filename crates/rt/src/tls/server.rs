//! The server side.

use std::sync::Arc;

use outrigger_model::http::PemSource;
use outrigger_model::secret::SecretSource;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::validity::check_validity;
use super::{Setting, TlsSetupError, authorities, certificates, files, private_key, provider};
use crate::file::Reloading;
use crate::http::TlsCause;

/// TLS of one server; follows changes of its files.
#[derive(Debug)]
pub(crate) struct AcceptorSource {
    cert: PemSource,
    key: SecretSource,
    client_ca: Option<PemSource>,
    config: Reloading<ServerConfig>,
}

impl AcceptorSource {
    /// Loads certificate and key.
    pub(crate) fn new(
        cert: PemSource,
        key: SecretSource,
        client_ca: Option<PemSource>,
    ) -> Result<Self, TlsSetupError> {
        let files = files([Some(&cert), client_ca.as_ref()], Some(&key));
        let source = Self { cert, key, client_ca, config: Reloading::new(files) };
        source.current()?;
        Ok(source)
    }

    /// The configuration for the files as they are now.
    pub(crate) fn current(&self) -> Result<Arc<ServerConfig>, TlsSetupError> {
        self.config.get(|| self.build())
    }

    fn build(&self) -> Result<ServerConfig, TlsSetupError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider speaks TLS 1.2 and 1.3");
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(source) => {
                let (store, _) = authorities("client_ca", source)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider())
                    .build()
                    .expect("the store has at least one authority and there are no revocation lists");
                builder.with_client_cert_verifier(verifier)
            }
        };
        let chain = certificates("cert", &self.cert)?;
        self.warn_of_validity(&chain);
        let key = private_key("key", &self.key)?;
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            let setting = format!(
                "{} and {}",
                Setting::of_pem("cert", &self.cert),
                Setting::of_secret("key", &self.key)
            );
            TlsSetupError::Content { setting, problem: error.to_string() }
        })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Clients refuse a certificate that is not valid; whoever runs the server is to know why.
    fn warn_of_validity(&self, chain: &[CertificateDer<'_>]) {
        let validity = chain.first().map(|certificate| check_validity(certificate, UnixTime::now()));
        if let Some(Err(error)) = validity {
            let setting = Setting::of_pem("cert", &self.cert).to_string();
            let reason = TlsCause::from_tls(error);
            tracing::warn!(setting, %reason, "clients will refuse this server's certificate");
        }
    }
}
