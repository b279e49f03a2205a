//! `outrigger.centre`: how a master serves its workers, and where masters agree on who leads.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use outrigger_model::http::{PemSource, TlsConfig};
use outrigger_model::secret::{Secret, SecretSource};

use super::environment::Environment;
use crate::prometheus::files::{Files, ReferencedFileKind};
use crate::prometheus::http_client;
use crate::yaml::walk::{Cursor, Section};

/// Port of the config centre.
const DEFAULT_PORT: u16 = 9441;

/// `outrigger.centre`.
#[derive(Debug, Clone, PartialEq)]
pub struct CentreConfig {
    /// `name` of this master, environment variables expanded; the host's name when empty.
    pub name: String,
    /// `listen`, `127.0.0.1:9441`.
    pub listen: SocketAddr,
    /// `advertise`: the URL under which workers reach this master, environment variables expanded; made from `listen` when empty.
    pub advertise: String,
    /// `tls`: the server's certificate, and the authority of its clients' certificates.
    pub tls: Option<CentreTls>,
    /// `tokens`: bearer tokens that are let in; without any, none is asked for.
    pub tokens: Vec<CentreToken>,
    /// `listen_without_authentication`, false: beyond loopback with neither client certificates nor tokens.
    pub listen_without_authentication: bool,
    /// `lease`: a worker that is silent for so long is taken for dead, 10 seconds; at least 1.
    pub lease: Duration,
    /// `leader_lease`: a standby waits so long for a silent leader, 10 seconds; at least 2.
    pub leader_lease: Duration,
    /// `replication_factor`: workers that scrape each target, 1.
    pub replication_factor: u32,
    /// `standby`, cold.
    pub standby: Standby,
    /// `etcd`: where several masters meet; without it the state is in this master's data directory.
    pub etcd: Option<EtcdConfig>,
}

/// What a master does that does not lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standby {
    /// `cold`: it begins with the last known targets when it takes over.
    #[default]
    Cold,
    /// `warm`: it watches the clusters all the time, which doubles the streams at their API servers.
    Warm,
}

/// `outrigger.centre.tls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CentreTls {
    /// `cert_file`.
    pub cert: PemSource,
    /// `key_file`.
    pub key: SecretSource,
    /// `client_ca_file`: clients must have a certificate of this authority, and a worker's must carry its name.
    pub client_ca: Option<PemSource>,
}

/// One of `outrigger.centre.tokens`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CentreToken {
    /// `credentials` or `credentials_file`.
    pub token: SecretSource,
    /// `worker`: the only worker that may use it; any when empty.
    pub worker: String,
}

/// `outrigger.centre.etcd`.
#[derive(Debug, Clone, PartialEq)]
pub struct EtcdConfig {
    /// `endpoints`: URLs of the members.
    pub endpoints: Vec<String>,
    /// `prefix` of all keys, `/outrigger`.
    pub prefix: String,
    /// `tls_config`.
    pub tls: TlsConfig,
    /// `basic_auth`: user name and password.
    pub user: Option<(String, SecretSource)>,
}

impl Default for CentreConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DEFAULT_PORT),
            advertise: String::new(),
            tls: None,
            tokens: Vec::new(),
            listen_without_authentication: false,
            lease: Duration::from_secs(10),
            leader_lease: Duration::from_secs(10),
            replication_factor: 1,
            standby: Standby::Cold,
            etcd: None,
        }
    }
}

impl CentreConfig {
    pub(super) fn read(section: Section<'_>, files: &Files<'_>, environment: Environment<'_>) -> Self {
        let default = Self::default();
        let config = Self {
            name: environment.text(&section, "name"),
            listen: section.get("listen").and_then(|value| address(&value)).unwrap_or(default.listen),
            advertise: environment.url(&section, "advertise"),
            tls: section.get("tls").and_then(|value| server_tls(&value, files)),
            tokens: section.items("tokens").iter().filter_map(|value| token(value, files)).collect(),
            listen_without_authentication: section.boolean("listen_without_authentication").unwrap_or(false),
            lease: at_least(&section, "lease", Duration::from_secs(1)).unwrap_or(default.lease),
            leader_lease: at_least(&section, "leader_lease", Duration::from_secs(2))
                .unwrap_or(default.leader_lease),
            replication_factor: section
                .get("replication_factor")
                .and_then(|value| replication_factor(&value))
                .unwrap_or(default.replication_factor),
            standby: section
                .get("standby")
                .and_then(|value| {
                    value.one_of("standby", &[("cold", Standby::Cold), ("warm", Standby::Warm)])
                })
                .unwrap_or_default(),
            etcd: section.get("etcd").and_then(|value| etcd(&value, files)),
        };
        config.check_reachability(&section);
        section.finish(&[
            ("tls_config", "write tls, with cert_file, key_file and client_ca_file"),
            ("lease_seconds", "write lease, with a unit"),
            ("store", "write etcd; without it the state is in the data directory"),
        ]);
        config
    }

    /// What other machines reach must know who they are.
    fn check_reachability(&self, section: &Section<'_>) {
        let asks = !self.tokens.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if self.listen.ip().is_loopback() || self.listen_without_authentication {
            return;
        }
        if !asks {
            section.error_at(
                "listen",
                format!("{} can be reached from other machines, and nobody is asked who they are", self.listen),
                "add tls with client_ca_file, or tokens, or listen_without_authentication: true if something in \
                 front of it guards it",
            );
        } else if self.tls.is_none() {
            section.error_at(
                "listen",
                format!(
                    "{} can be reached from other machines, and tokens would go there in clear",
                    self.listen
                ),
                "add tls with cert_file and key_file",
            );
        }
    }
}

fn address(value: &Cursor<'_>) -> Option<SocketAddr> {
    let text = value.text()?;
    let address = text.parse().ok();
    if address.is_none() {
        value.error(
            format!("{} is not an address with a port", value.shown()),
            "write for example 127.0.0.1:9441 or [::]:9441",
        );
    }
    address
}

/// An `http` or `https` URL without a path; empty means not set.
pub(super) fn url(value: &Cursor<'_>) -> Option<String> {
    url_text(value, value.text()?)
}

/// The URL that `value` became.
pub(super) fn url_text(value: &Cursor<'_>, text: &str) -> Option<String> {
    let text = Some(text).filter(|text| !text.is_empty())?;
    let checked = http_client::checked_url_text(value, text)?;
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    if rest.is_none_or(|rest| rest.is_empty() || rest.trim_end_matches('/').contains('/')) {
        value.error(
            format!("{} is not where a server is", value.shown()),
            "write for example https://10.0.0.5:9441",
        );
        return None;
    }
    Some(checked.trim_end_matches('/').to_owned())
}

/// A duration with a lower bound.
pub(super) fn at_least(section: &Section<'_>, name: &'static str, least: Duration) -> Option<Duration> {
    let duration = section.duration(name)?;
    if duration < least {
        section.error_at(
            name,
            format!("{} s is too short", duration.as_secs_f64()),
            format!("write at least {}s", least.as_secs()),
        );
        return None;
    }
    Some(duration)
}

fn replication_factor(value: &Cursor<'_>) -> Option<u32> {
    let factor = value.unsigned()?;
    let usable = u32::try_from(factor).ok().filter(|factor| (1..=8).contains(factor));
    if usable.is_none() {
        value.error(
            format!("{} is not a replication factor", value.shown()),
            "write a whole number from 1 to 8",
        );
    }
    usable
}

fn path(
    section: &Section<'_>,
    name: &'static str,
    kind: ReferencedFileKind,
    files: &Files<'_>,
) -> Option<PathBuf> {
    section.get(name).and_then(|value| files.path(&value, kind))
}

fn server_tls(value: &Cursor<'_>, files: &Files<'_>) -> Option<CentreTls> {
    let section = value.section()?;
    let cert = path(&section, "cert_file", ReferencedFileKind::TlsCertificate, files);
    let key = path(&section, "key_file", ReferencedFileKind::TlsKey, files);
    let client_ca = path(&section, "client_ca_file", ReferencedFileKind::TlsCa, files);
    if cert.is_none() {
        section.missing("cert_file", "there is no certificate", "add cert_file");
    }
    if key.is_none() {
        section.missing("key_file", "there is no key", "add key_file");
    }
    section.finish(&[("ca_file", "write client_ca_file")]);
    Some(CentreTls {
        cert: PemSource::File(cert?),
        key: SecretSource::File(key?),
        client_ca: client_ca.map(PemSource::File),
    })
}

fn token(value: &Cursor<'_>, files: &Files<'_>) -> Option<CentreToken> {
    let section = value.section()?;
    let worker = section.owned_text("worker");
    let token = credentials(&section, files);
    if token.is_none() {
        section.missing("credentials_file", "there is no token", "add credentials_file or credentials");
    }
    section.finish(&[("token", "write credentials"), ("token_file", "write credentials_file")]);
    Some(CentreToken { token: token?, worker })
}

/// `credentials` or `credentials_file`.
pub(super) fn credentials(section: &Section<'_>, files: &Files<'_>) -> Option<SecretSource> {
    let inline =
        section.get("credentials").and_then(|value| value.secret().text()).filter(|text| !text.is_empty());
    let file = path(section, "credentials_file", ReferencedFileKind::Secret, files);
    if inline.is_some() && file.is_some() {
        section.error_at(
            "credentials_file",
            "credentials and credentials_file are both set",
            "keep one of the two",
        );
    }
    inline.map(|text| SecretSource::Inline(Secret::new(text))).or(file.map(SecretSource::File))
}

fn etcd(value: &Cursor<'_>, files: &Files<'_>) -> Option<EtcdConfig> {
    let section = value.section()?;
    let endpoints: Vec<String> = section.items("endpoints").iter().filter_map(url).collect();
    if endpoints.is_empty() {
        section.missing(
            "endpoints",
            "there is no endpoint",
            "add endpoints, for example [https://10.0.0.7:2379]",
        );
    }
    let prefix = section.owned_text("prefix");
    let prefix = if prefix.is_empty() { "/outrigger".to_owned() } else { prefix };
    let tls = section.get("tls_config").map(|value| http_client::tls(&value, files)).unwrap_or_default();
    let user = section.get("basic_auth").and_then(|value| {
        let section = value.section()?;
        let name = section.owned_text("username");
        let inline =
            section.get("password").and_then(|value| value.secret().text()).filter(|text| !text.is_empty());
        let file = path(&section, "password_file", ReferencedFileKind::Secret, files);
        if name.is_empty() || (inline.is_none() && file.is_none()) {
            section.missing("username", "user name or password is missing", "add username and password_file");
        }
        section.finish(&[("user", "write username")]);
        let password =
            inline.map(|text| SecretSource::Inline(Secret::new(text))).or(file.map(SecretSource::File))?;
        Some((name, password))
    });
    section.finish(&[
        ("urls", "write endpoints"),
        ("tls", "write tls_config"),
        ("username", "write it below basic_auth"),
    ]);
    (!endpoints.is_empty()).then_some(EtcdConfig { endpoints, prefix, tls, user })
}
