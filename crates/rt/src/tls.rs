//! TLS configurations for client and server, built from PEM text or files, and anew when a file changes.

mod client;
pub(crate) mod der;
mod server;
mod validity;

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use outrigger_model::fault::Blame;
use outrigger_model::http::{PemSource, TlsVersion};
use outrigger_model::secret::SecretSource;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub(crate) use client::{ClientTls, ClientTlsConfigs};
pub(crate) use server::AcceptorSource;

use crate::file::{self, FileError};

/// TLS settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// A file could not be read.
    #[error("{key}")]
    File {
        /// Configuration key.
        key: &'static str,
        /// File and reason.
        source: FileError,
    },
    /// Content that is not what it should be.
    #[error("{setting}: {problem}")]
    Content {
        /// Configuration key, with the file if it is one.
        setting: String,
        /// What is wrong.
        problem: String,
    },
    /// `min_version` and `max_version` leave nothing that is spoken.
    #[error("no TLS version from {min} to {max} is supported (supported are TLS12 and TLS13)")]
    Versions {
        /// Lowest.
        min: &'static str,
        /// Highest.
        max: &'static str,
    },
    /// The system has no certificate authorities.
    #[error("this system has no certificate authorities (set ca_file)")]
    NoSystemRoots,
}

impl TlsSetupError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            TlsSetupError::NoSystemRoots => Blame::Us,
            _ => Blame::Configuration,
        }
    }

    fn content(setting: &Setting<'_>, problem: impl ToString) -> Self {
        TlsSetupError::Content { setting: setting.to_string(), problem: problem.to_string() }
    }
}

/// The cryptography behind all TLS here.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    PROVIDER.clone()
}

/// A setting as errors name it: its key, and its file if it is one.
struct Setting<'a> {
    key: &'static str,
    file: Option<&'a PathBuf>,
}

impl std::fmt::Display for Setting<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.file {
            Some(path) => write!(formatter, "{}_file {}", self.key, path.display()),
            None => formatter.write_str(self.key),
        }
    }
}

impl<'a> Setting<'a> {
    fn of_pem(key: &'static str, source: &'a PemSource) -> Self {
        let file = if let PemSource::File(path) = source { Some(path) } else { None };
        Self { key, file }
    }

    fn of_secret(key: &'static str, source: &'a SecretSource) -> Self {
        let file = if let SecretSource::File(path) = source { Some(path) } else { None };
        Self { key, file }
    }
}

fn read_pem(key: &'static str, source: &PemSource) -> Result<Vec<u8>, TlsSetupError> {
    match source {
        PemSource::Inline(text) => Ok(text.as_bytes().to_vec()),
        PemSource::File(path) => file::read(path).map_err(|source| TlsSetupError::File { key, source }),
    }
}

fn certificates(
    key: &'static str,
    source: &PemSource,
) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let setting = Setting::of_pem(key, source);
    let pem = read_pem(key, source)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsSetupError::content(&setting, format!("not PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(TlsSetupError::content(&setting, "no PEM certificate in it"));
    }
    Ok(certificates)
}

fn private_key(key: &'static str, source: &SecretSource) -> Result<PrivateKeyDer<'static>, TlsSetupError> {
    let setting = Setting::of_secret(key, source);
    let pem = file::read_secret(source).map_err(|source| TlsSetupError::File { key, source })?;
    PrivateKeyDer::from_pem_slice(pem.expose().as_bytes()).map_err(|_| {
        TlsSetupError::content(&setting, "no PEM private key in it (encrypted keys are not supported)")
    })
}

/// The authorities of a CA setting; certificates that cannot be authorities are passed over, as Go does.
fn authorities(
    key: &'static str,
    source: &PemSource,
) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), TlsSetupError> {
    let certificates = certificates(key, source)?;
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(certificates.iter().cloned());
    if added == 0 {
        let setting = Setting::of_pem(key, source);
        return Err(TlsSetupError::content(&setting, "no certificate in it can be an authority"));
    }
    Ok((store, certificates))
}

/// The system's authorities, read once (`SSL_CERT_FILE` and `SSL_CERT_DIR` count, as for Go).
fn system_authorities() -> Result<Arc<RootCertStore>, TlsSetupError> {
    static STORE: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(store)
    });
    if STORE.is_empty() { Err(TlsSetupError::NoSystemRoots) } else { Ok(STORE.clone()) }
}

/// The files among the settings.
fn files(pem: [Option<&PemSource>; 2], key: Option<&SecretSource>) -> Vec<PathBuf> {
    let pem = pem.into_iter().flatten().filter_map(|source| match source {
        PemSource::File(path) => Some(path.clone()),
        PemSource::Inline(_) => None,
    });
    let key = key.and_then(|source| match source {
        SecretSource::File(path) => Some(path.clone()),
        SecretSource::Inline(_) => None,
    });
    pem.chain(key).collect()
}

fn version_name(version: TlsVersion) -> &'static str {
    match version {
        TlsVersion::Tls10 => "TLS10",
        TlsVersion::Tls11 => "TLS11",
        TlsVersion::Tls12 => "TLS12",
        TlsVersion::Tls13 => "TLS13",
    }
}
