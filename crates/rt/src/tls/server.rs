//! The server side.

use std::sync::Arc;

use outrigger_model::http::TlsVersion;
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::validity::check_validity;
use super::{Setting, TlsSetupError, authorities, certificates, files, private_key, provider, version_name};
use crate::file::Reloading;
use crate::http::TlsCause;
use crate::server::{ClientCertificates, ServerTls};

/// TLS of one server; follows changes of its files.
#[derive(Debug)]
pub(crate) struct AcceptorSource {
    tls: ServerTls,
    config: Reloading<ServerConfig>,
}

impl AcceptorSource {
    /// Loads certificate and key.
    pub(crate) fn new(tls: ServerTls) -> Result<Self, TlsSetupError> {
        let files = files([Some(&tls.cert), tls.client_ca.as_ref()], Some(&tls.key));
        let source = Self { tls, config: Reloading::new(files) };
        source.current()?;
        Ok(source)
    }

    /// The configuration for the files as they are now.
    pub(crate) fn current(&self) -> Result<Arc<ServerConfig>, TlsSetupError> {
        self.config.get(|| self.build())
    }

    fn build(&self) -> Result<ServerConfig, TlsSetupError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&self.versions()?)
            .expect("the provider speaks TLS 1.2 and 1.3");
        let builder = match &self.tls.client_ca {
            None => builder.with_no_client_auth(),
            Some(source) => {
                let (store, _) = authorities("client_ca", source)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider());
                let verifier = match self.tls.client_certificates {
                    ClientCertificates::Required => verifier,
                    ClientCertificates::IfGiven => verifier.allow_unauthenticated(),
                };
                let verifier = verifier
                    .build()
                    .expect("the store has at least one authority and there are no revocation lists");
                builder.with_client_cert_verifier(verifier)
            }
        };
        let chain = certificates("cert", &self.tls.cert)?;
        self.warn_of_validity(&chain);
        let key = private_key("key", &self.tls.key)?;
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            let setting = format!(
                "{} and {}",
                Setting::of_pem("cert", &self.tls.cert),
                Setting::of_secret("key", &self.tls.key)
            );
            TlsSetupError::Content { setting, problem: error.to_string() }
        })?;
        if self.tls.http2 {
            config.alpn_protocols.push(b"h2".to_vec());
        }
        config.alpn_protocols.push(b"http/1.1".to_vec());
        Ok(config)
    }

    fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>, TlsSetupError> {
        let min = self.tls.min_version.unwrap_or(TlsVersion::Tls12);
        let max = self.tls.max_version.unwrap_or(TlsVersion::Tls13);
        let spoken = [(TlsVersion::Tls12, &TLS12), (TlsVersion::Tls13, &TLS13)];
        let within = spoken.into_iter().filter(|(version, _)| (min..=max).contains(version));
        let versions: Vec<_> = within.map(|(_, version)| version).collect();
        if versions.is_empty() {
            return Err(TlsSetupError::Versions { min: version_name(min), max: version_name(max) });
        }
        Ok(versions)
    }

    /// Clients refuse a certificate that is not valid; whoever runs the server is to know why.
    fn warn_of_validity(&self, chain: &[CertificateDer<'_>]) {
        let validity = chain.first().map(|certificate| check_validity(certificate, UnixTime::now()));
        if let Some(Err(error)) = validity {
            let setting = Setting::of_pem("cert", &self.tls.cert).to_string();
            let reason = TlsCause::from_tls(error);
            tracing::warn!(setting, %reason, "clients will refuse this server's certificate");
        }
    }
}
