//! Whether an entry can be acted on: it is loaded as the configuration would load it.

use std::io;
use std::path::{Path, PathBuf};

use outrigger_config::error::Severity;
use outrigger_config::file_access::FileAccess;
use outrigger_config::prometheus::{self, DiscoveryConfig, Source};
use outrigger_model::fault::{Blame, chain};
use outrigger_model::http::{HttpAuth, HttpClientConfig, PemSource, TlsConfig};
use outrigger_model::secret::SecretSource;
use outrigger_rt::http::{ClientOptions, HttpClient};
use outrigger_rt::resolver::Resolver;

use super::generate::Entry;

/// An entry's text, indented as an item of `scrape_configs` has to be.
fn as_document(text: &str) -> String {
    let mut document = String::from("scrape_configs:\n");
    for (position, line) in text.lines().enumerate() {
        document.push_str(if position == 0 { "- " } else { "  " });
        document.push_str(line);
        document.push('\n');
    }
    document
}

/// Loads an entry and builds what its certificates are needed for.
///
/// # Errors
/// What is wrong, in words that never have a secret in them.
pub(crate) fn validate(entry: &Entry, text: &str, cluster: &str, resolver: &Resolver) -> Result<(), String> {
    let document = match cluster {
        "" => as_document(text),
        name => format!("outrigger: {{clusters: [{{name: {name:?}}}]}}\n{}", as_document(text)),
    };
    let source = Source {
        path: &entry.job,
        text: &document,
        directory: PathBuf::from("/"),
        environment: &|_| None,
        files: &NoFiles,
        agent_mode: false,
    };
    let loaded = prometheus::load(&source).map_err(|errors| {
        let texts: Vec<String> = errors
            .0
            .iter()
            .map(|error| {
                let key = error.key.strip_prefix("scrape_configs[0].").unwrap_or(&error.key);
                format!("{key}: {}", error.message)
            })
            .collect();
        texts.join("; ")
    })?;
    if let Some(notice) = loaded.notices.iter().find(|notice| notice.severity == Severity::RefuseToRun) {
        return Err(format!("{}: {}", notice.key, notice.reason));
    }
    let config = loaded.config.scrape_configs.first().ok_or("the entry is empty")?;
    let of_discovery = |discovery: &DiscoveryConfig| match discovery {
        DiscoveryConfig::Http(sd) => Some(sd.http.clone()),
        DiscoveryConfig::Kubernetes(sd) => Some(sd.http.clone()),
        _ => None,
    };
    let clients = config.discovery.iter().filter_map(of_discovery).chain([config.http.clone()]);
    clients.filter_map(inline_pem).try_for_each(|http| check_client(&http, &entry.job, resolver))
}

/// The settings with only those certificates that stand inline, so that they are checked whatever files there are.
fn inline_pem(mut http: HttpClientConfig) -> Option<HttpClientConfig> {
    let mut any = only_inline(&mut http.tls);
    if let Some(HttpAuth::OAuth2(oauth2)) = &mut http.auth {
        any |= only_inline(&mut oauth2.tls);
    }
    any.then_some(http)
}

fn only_inline(tls: &mut TlsConfig) -> bool {
    let pem = |source: &PemSource| matches!(source, PemSource::Inline(_));
    tls.ca = tls.ca.take().filter(pem);
    tls.cert = tls.cert.take().filter(pem);
    tls.key = tls.key.take().filter(|source| matches!(source, SecretSource::Inline(_)));
    if tls.cert.is_none() || tls.key.is_none() {
        tls.cert = None;
        tls.key = None;
    }
    // Authorities are looked into even if they are not used.
    tls.insecure_skip_verify = false;
    tls.ca.is_some() || tls.cert.is_some()
}

fn check_client(http: &HttpClientConfig, job: &str, resolver: &Resolver) -> Result<(), String> {
    let options = ClientOptions::new(job, "outrigger", Blame::Target);
    HttpClient::new(http, options, resolver.clone()).map(drop).map_err(|error| chain(&error))
}

/// Entries name files of the workers, which are not read here.
struct NoFiles;

impl FileAccess for NoFiles {
    fn read(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn exists(&self, _: &Path) -> bool {
        true
    }
}
