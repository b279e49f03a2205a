//! The client side: `tls_config` to rustls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use outrigger_model::http::{TlsConfig, TlsVersion};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::validity::check_validity;
use super::{
    Setting, TlsSetupError, authorities, certificates, files, private_key, provider, system_authorities,
    version_name,
};
use crate::file::Reloading;

/// TLS of one client; follows changes of its files.
#[derive(Debug)]
pub(crate) struct ClientTls {
    settings: TlsConfig,
    versions: Vec<&'static SupportedProtocolVersion>,
    offer_http2: bool,
    configs: Reloading<ClientTlsConfigs>,
    generations: AtomicU64,
}

/// The configurations for the files as they are now.
#[derive(Debug)]
pub(crate) struct ClientTlsConfigs {
    /// For HTTP: offers HTTP/2 by ALPN if the client does.
    pub(crate) http: Arc<ClientConfig>,
    /// For talking to a proxy, which speaks HTTP/1 only.
    pub(crate) proxy: Arc<ClientConfig>,
    /// Differs after each change, so that connections of an earlier generation are not reused.
    pub(crate) generation: u64,
}

impl ClientTls {
    /// Checks what can be checked without files.
    pub(crate) fn new(settings: &TlsConfig, offer_http2: bool) -> Result<Self, TlsSetupError> {
        let files = files([settings.ca.as_ref(), settings.cert.as_ref()], settings.key.as_ref());
        let tls = Self {
            settings: settings.clone(),
            versions: versions(settings)?,
            offer_http2,
            configs: Reloading::new(files),
            generations: AtomicU64::new(0),
        };
        let inline = settings.ca.is_some() || settings.cert.is_some() || settings.key.is_some();
        if inline && !tls.configs.has_files() {
            tls.current()?;
        }
        Ok(tls)
    }

    /// The configurations for the files as they are now.
    pub(crate) fn current(&self) -> Result<Arc<ClientTlsConfigs>, TlsSetupError> {
        self.configs.get(|| self.build())
    }

    /// The name to verify for `host`.
    pub(crate) fn server_name<'a>(&'a self, host: &'a str) -> &'a str {
        self.settings.server_name.as_deref().filter(|name| !name.is_empty()).unwrap_or(host)
    }

    fn build(&self) -> Result<ClientTlsConfigs, TlsSetupError> {
        let mut config = self.build_config()?;
        let proxy = Arc::new(config.clone());
        if self.offer_http2 {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        let generation = self.generations.fetch_add(1, Ordering::Relaxed);
        Ok(ClientTlsConfigs { http: Arc::new(config), proxy, generation })
    }

    fn build_config(&self) -> Result<ClientConfig, TlsSetupError> {
        let settings = &self.settings;
        let verifier = self.verifier()?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&self.versions)
            .expect("the provider speaks TLS 1.2 and 1.3, and at least one of them is asked for")
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        match (&settings.cert, &settings.key) {
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(cert), Some(key)) => {
                let chain = certificates("cert", cert)?;
                let key_der = private_key("key", key)?;
                builder.with_client_auth_cert(chain, key_der).map_err(|error| {
                    let setting =
                        format!("{} and {}", Setting::of_pem("cert", cert), Setting::of_secret("key", key));
                    TlsSetupError::Content { setting, problem: error.to_string() }
                })
            }
            (Some(_), None) => Err(missing("key", "cert")),
            (None, Some(_)) => Err(missing("cert", "key")),
        }
    }

    fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, TlsSetupError> {
        if self.settings.insecure_skip_verify {
            return Ok(Arc::new(AcceptAny));
        }
        let (roots, trusted) = match &self.settings.ca {
            Some(source) => {
                let (store, certificates) = authorities("ca", source)?;
                (Arc::new(store), certificates)
            }
            None => (system_authorities()?, Vec::new()),
        };
        let webpki = WebPkiServerVerifier::builder_with_provider(roots, provider())
            .build()
            .expect("the store has at least one authority and there are no revocation lists");
        Ok(Arc::new(Verifier { webpki, trusted }))
    }
}

fn missing(key: &str, other: &str) -> TlsSetupError {
    TlsSetupError::Content { setting: key.to_owned(), problem: format!("missing, since {other} is given") }
}

/// TLS 1.0 and 1.1 are not spoken: as a minimum they mean 1.2, as a maximum they are an error.
fn versions(settings: &TlsConfig) -> Result<Vec<&'static SupportedProtocolVersion>, TlsSetupError> {
    let min = settings.min_version.unwrap_or(TlsVersion::Tls12);
    let max = settings.max_version.unwrap_or(TlsVersion::Tls13);
    let supported =
        [(TlsVersion::Tls12, &rustls::version::TLS12), (TlsVersion::Tls13, &rustls::version::TLS13)];
    let versions: Vec<_> = supported
        .into_iter()
        .filter(|(version, _)| (min..=max).contains(version))
        .map(|(_, version)| version)
        .collect();
    if versions.is_empty() {
        return Err(TlsSetupError::Versions { min: version_name(min), max: version_name(max) });
    }
    Ok(versions)
}

/// webpki's verification, and like Go it also accepts a server certificate that is itself one of the authorities:
/// `openssl req -x509` makes such certificates, webpki alone refuses them.
#[derive(Debug)]
struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    trusted: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.trusted.iter().any(|trusted| trusted.as_ref() == end_entity.as_ref()) {
            check_validity(end_entity, now)?;
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        self.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// `insecure_skip_verify`: whoever answers is believed, so a signature by a key that anyone may have chosen proves
/// nothing either.
#[derive(Debug)]
struct AcceptAny;

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
