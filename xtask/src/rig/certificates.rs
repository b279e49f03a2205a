//! Certificates, keys, tokens and kubeconfigs of one rig.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType,
};

/// Whom a kubeconfig stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// Client certificate, group `system:masters`.
    Admin,
    /// kwok, as [`User::Admin`] under its own name, so that audit log and metrics tell its requests apart.
    Kwok,
    /// kube-state-metrics, likewise.
    KubeStateMetrics,
    /// The peer Prometheus' discovery, likewise.
    Prometheus,
    /// Bearer token from a file; may list and watch what Outrigger reads, and nothing else.
    Outrigger,
    /// Bearer token from a file; has no rights until a test grants some.
    Nobody,
}

impl User {
    /// Every user.
    pub const ALL: [User; 6] =
        [User::Admin, User::Kwok, User::KubeStateMetrics, User::Prometheus, User::Outrigger, User::Nobody];

    /// The user's name, as the API server knows it.
    pub fn name(self) -> &'static str {
        match self {
            User::Admin => "admin",
            User::Kwok => "kwok",
            User::KubeStateMetrics => "kube-state-metrics",
            User::Prometheus => "prometheus",
            User::Outrigger => "outrigger",
            User::Nobody => "nobody",
        }
    }

    fn has_token(self) -> bool {
        matches!(self, User::Outrigger | User::Nobody)
    }
}

/// The folder of a rig's keys.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    dir: PathBuf,
}

impl Credentials {
    /// Makes a new authority, the API server's certificate, each user's certificate or token and the key that
    /// signs service account tokens.
    pub(super) fn create(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let credentials = Credentials::open(dir);
        let authority = credentials.create_authority()?;
        credentials.create_server_certificate(&authority)?;
        for user in User::ALL.into_iter().filter(|user| !user.has_token()) {
            credentials.create_client_certificate(&authority, user)?;
        }
        credentials.create_tokens()?;
        credentials.create_service_account_key()?;
        Ok(credentials)
    }

    /// The keys made by [`Credentials::create`] before.
    pub(super) fn open(dir: &Path) -> Self {
        Credentials { dir: dir.to_owned() }
    }

    /// A file of the folder: `ca.crt`, `apiserver.crt`, `apiserver.key`, `USER.crt`, `USER.key`, `USER.token`,
    /// `tokens.csv`, `service-account.key`, `service-account.pub`.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn create_authority(&self) -> Result<CertifiedIssuer<'static, KeyPair>> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name("outrigger-rig", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().context("make the authority's key")?;
        let authority = CertifiedIssuer::self_signed(params, key).context("sign the authority")?;
        write_private(&self.file("ca.crt"), &authority.pem())?;
        Ok(authority)
    }

    fn create_server_certificate(&self, authority: &CertifiedIssuer<'_, KeyPair>) -> Result<()> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name("kube-apiserver", None);
        params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
        for host in ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"] {
            let host = Ia5String::try_from(host).context("name the API server")?;
            params.subject_alt_names.push(SanType::DnsName(host));
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(authority, params, "apiserver")
    }

    fn create_client_certificate(&self, authority: &CertifiedIssuer<'_, KeyPair>, user: User) -> Result<()> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(user.name(), Some("system:masters"));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(authority, params, user.name())
    }

    fn issue(
        &self,
        authority: &CertifiedIssuer<'_, KeyPair>,
        params: CertificateParams,
        file: &str,
    ) -> Result<()> {
        let key = KeyPair::generate().with_context(|| format!("make the key of {file}"))?;
        let certificate = params.signed_by(&key, authority).with_context(|| format!("sign {file}"))?;
        write_private(&self.file(&format!("{file}.crt")), &certificate.pem())?;
        write_private(&self.file(&format!("{file}.key")), &key.serialize_pem())
    }

    /// The API server's static token file and each token in a file of its own.
    fn create_tokens(&self) -> Result<()> {
        let mut table = String::new();
        for user in User::ALL.into_iter().filter(|user| user.has_token()) {
            let mut bytes = [0; 24];
            File::open("/dev/urandom")
                .and_then(|mut random| random.read_exact(&mut bytes))
                .context("make a token")?;
            let token = URL_SAFE_NO_PAD.encode(bytes);
            write_private(&self.file(&format!("{}.token", user.name())), &token)?;
            table.push_str(&format!("{token},{name},{name}\n", name = user.name()));
        }
        write_private(&self.file("tokens.csv"), &table)
    }

    fn create_service_account_key(&self) -> Result<()> {
        let key = KeyPair::generate().context("make the service account key")?;
        write_private(&self.file("service-account.key"), &key.serialize_pem())?;
        write_private(&self.file("service-account.pub"), &key.public_key_pem())
    }

    /// The text of a kubeconfig for a user at the API server's address.
    pub(super) fn kubeconfig(&self, user: User, server: &str) -> Result<String> {
        let inline = |file: &str| -> Result<String> {
            let path = self.file(file);
            Ok(STANDARD.encode(fs::read(&path).with_context(|| format!("read {}", path.display()))?))
        };
        let user_name = user.name();
        let credentials = if user.has_token() {
            format!("tokenFile: {}", self.file(&format!("{user_name}.token")).display())
        } else {
            format!(
                "client-certificate-data: {}\n    client-key-data: {}",
                inline(&format!("{user_name}.crt"))?,
                inline(&format!("{user_name}.key"))?
            )
        };
        Ok(format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: rig\ncontexts:\n- name: rig\n  context:\n    cluster: rig\n    user: {user_name}\n\
             clusters:\n- name: rig\n  cluster:\n    server: {server}\n    certificate-authority-data: {authority}\n\
             users:\n- name: {user_name}\n  user:\n    {credentials}\n",
            authority = inline("ca.crt")?,
        ))
    }
}

fn name(common: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name
}

/// Writes a file that only its owner may read.
pub(super) fn write_private(path: &Path, text: &str) -> Result<()> {
    let open = || File::options().create(true).write(true).truncate(true).mode(0o600).open(path);
    open()
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("write {}", path.display()))
}
