//! Tokens of Microsoft Entra ID, as `azidentity` gets them for Prometheus.

use ::http::{HeaderMap, HeaderName, HeaderValue, Method};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use outrigger_model::clock::SharedClock;
use outrigger_model::cloud_auth::{AzureAdConfig, AzureCloud, AzureIdentity};
use outrigger_model::secret::{Secret, SecretSource};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::{Host, Url, form_urlencoded};

use super::environment::CloudEnvironment;
use super::error::CloudAuthError;
use super::identity_client::{Ask, IdentityClient, Reach, Reply};
use super::{Grant, Issued, bearer};
use crate::file;
use crate::http::oauth2;

const ENTRA: &str = "Microsoft Entra ID";
const MANAGED: &str = "Azure managed identity";

/// Where a Kubernetes cluster puts the token of a workload.
const WORKLOAD_TOKEN: &str = "/var/run/secrets/azure/tokens/azure-identity-token";

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const ASSERTION_SECONDS: i64 = 600;

pub(super) struct AzureIssuer {
    config: AzureAdConfig,
    client: IdentityClient,
    environment: CloudEnvironment,
    clock: SharedClock,
}

impl AzureIssuer {
    pub(super) fn new(
        config: AzureAdConfig,
        client: IdentityClient,
        environment: CloudEnvironment,
        clock: SharedClock,
    ) -> Self {
        Self { config, client, environment, clock }
    }

    pub(super) async fn issue(&self, deadline: Instant) -> Result<Issued, CloudAuthError> {
        let reply = match &self.config.identity {
            AzureIdentity::Default { tenant_id } => {
                let identity = self.of_environment(tenant_id.as_deref());
                self.ask(&identity, deadline).await?
            }
            identity => self.ask(identity, deadline).await?,
        };
        let (token, lifetime) = reply.token(self.clock.now().millis() / 1000)?;
        let authorization = bearer(reply.provider, &token)?;
        let grant = Grant::Bearer { authorization, quota_project: None };
        Ok(Issued { grant, lifetime: Some(lifetime), look_again: None })
    }

    /// What `DefaultAzureCredential` finds without a person at the keyboard: a secret or a certificate in the
    /// environment, a workload identity, a managed identity.
    fn of_environment(&self, tenant_id: Option<&str>) -> AzureIdentity {
        let get = |name| self.environment.get(name).map(str::to_owned);
        let of_path = |name| get(name).map(|path| SecretSource::File(path.into()));
        let (client_id, own_tenant) = (get("AZURE_CLIENT_ID"), get("AZURE_TENANT_ID"));
        if let (Some(client_id), Some(tenant_id)) = (client_id.clone(), own_tenant.clone()) {
            if let Some(secret) = get("AZURE_CLIENT_SECRET").map(Secret::new) {
                return AzureIdentity::Secret { client_id, tenant_id, secret };
            }
            if let Some(certificate) = of_path("AZURE_CLIENT_CERTIFICATE_PATH") {
                return AzureIdentity::Certificate {
                    client_id,
                    tenant_id,
                    certificate,
                    key: None,
                    password: get("AZURE_CLIENT_CERTIFICATE_PASSWORD").map(Secret::new),
                    send_chain: false,
                };
            }
        }
        let token_file = of_path("AZURE_FEDERATED_TOKEN_FILE");
        match (client_id, tenant_id.map(str::to_owned).or(own_tenant), token_file) {
            (Some(client_id), Some(tenant_id), Some(token_file)) => {
                AzureIdentity::Workload { client_id, tenant_id, token_file: Some(token_file) }
            }
            (client_id, ..) => AzureIdentity::Managed { client_id },
        }
    }

    async fn ask(&self, identity: &AzureIdentity, deadline: Instant) -> Result<Reply, CloudAuthError> {
        match identity {
            AzureIdentity::Managed { client_id } => self.ask_machine(client_id.as_deref(), deadline).await,
            AzureIdentity::Default { tenant_id } => {
                let found = self.of_environment(tenant_id.as_deref());
                Box::pin(self.ask(&found, deadline)).await
            }
            AzureIdentity::Secret { client_id, tenant_id, secret } => {
                let proof = [("client_secret", secret.expose())];
                self.ask_entra(client_id, tenant_id, &proof, deadline).await
            }
            AzureIdentity::Workload { client_id, tenant_id, token_file } => {
                let usual = SecretSource::File(WORKLOAD_TOKEN.into());
                let token = file::read_secret(token_file.as_ref().unwrap_or(&usual))?;
                let proof = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", token.expose())];
                self.ask_entra(client_id, tenant_id, &proof, deadline).await
            }
            AzureIdentity::Certificate { client_id, tenant_id, certificate, key, password, send_chain } => {
                if password.is_some() {
                    return Err(CloudAuthError::Setup(format!(
                        "the key of {} is encrypted: write it without certificate_password, in PEM, to a file that \
                         only this program can read",
                        file::described(certificate)
                    )));
                }
                let url = self.token_url(tenant_id)?;
                let key = key.as_ref().unwrap_or(certificate);
                let assertion = self.assertion(client_id, url.as_str(), certificate, key, *send_chain)?;
                let proof = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", &assertion)];
                self.ask_entra(client_id, tenant_id, &proof, deadline).await
            }
        }
    }

    fn scope(&self) -> &str {
        let of_cloud = match self.config.cloud {
            AzureCloud::Public => "https://monitor.azure.com//.default",
            AzureCloud::Government => "https://monitor.azure.us//.default",
            AzureCloud::China => "https://monitor.azure.cn//.default",
        };
        self.config.scope.as_deref().unwrap_or(of_cloud)
    }

    fn token_url(&self, tenant_id: &str) -> Result<Url, CloudAuthError> {
        let of_cloud = match self.config.cloud {
            AzureCloud::Public => "https://login.microsoftonline.com",
            AzureCloud::Government => "https://login.microsoftonline.us",
            AzureCloud::China => "https://login.chinacloudapi.cn",
        };
        let wrong = |problem: &str| CloudAuthError::Setup(problem.to_owned());
        if !tenant_id.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)) {
            return Err(wrong("azuread: tenant_id holds something else than letters, digits, - and ."));
        }
        let authority = self.environment.get("AZURE_AUTHORITY_HOST").unwrap_or(of_cloud);
        let url = format!("{}/{tenant_id}/oauth2/v2.0/token", authority.trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|_| wrong("AZURE_AUTHORITY_HOST is not a URL"))?;
        if url.scheme() == "https" || is_this_machine(&url) {
            Ok(url)
        } else {
            Err(wrong("AZURE_AUTHORITY_HOST is not an https URL"))
        }
    }

    async fn ask_entra(
        &self,
        client_id: &str,
        tenant_id: &str,
        proof: &[(&str, &str)],
        deadline: Instant,
    ) -> Result<Reply, CloudAuthError> {
        let url = self.token_url(tenant_id)?;
        let mut form =
            vec![("client_id", client_id), ("grant_type", "client_credentials"), ("scope", self.scope())];
        form.extend_from_slice(proof);
        self.client.post_form(ENTRA, url.as_str(), &form, deadline).await
    }

    /// The machine's or app's own identity: App Service where its variables are set, else the metadata service.
    async fn ask_machine(&self, client_id: Option<&str>, deadline: Instant) -> Result<Reply, CloudAuthError> {
        let resource = self.scope().trim_end_matches("/.default");
        let mut headers = HeaderMap::new();
        let (endpoint, version) = match (
            self.environment.get("IDENTITY_ENDPOINT"),
            self.environment.get("IDENTITY_HEADER"),
        ) {
            (Some(endpoint), Some(secret)) => {
                let value = HeaderValue::try_from(secret)
                    .map_err(|_| CloudAuthError::Header("x-identity-header".to_owned()))?;
                headers.insert(HeaderName::from_static("x-identity-header"), value);
                (endpoint.to_owned(), "2019-08-01")
            }
            (Some(_), None) => {
                return Err(CloudAuthError::Setup(
                        "IDENTITY_ENDPOINT is set without IDENTITY_HEADER: the managed identities of Azure Arc are \
                         not supported"
                            .to_owned(),
                    ));
            }
            (None, _) => {
                headers.insert(HeaderName::from_static("metadata"), HeaderValue::from_static("true"));
                let named = self.environment.get("AZURE_POD_IDENTITY_AUTHORITY_HOST");
                let host = named.unwrap_or("http://169.254.169.254").trim_end_matches('/');
                (format!("{host}/metadata/identity/oauth2/token"), "2018-02-01")
            }
        };
        let query = [("api-version", Some(version)), ("resource", Some(resource)), ("client_id", client_id)];
        let query = query.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let url = format!("{endpoint}?{query}");
        let ask = Ask {
            provider: MANAGED,
            reach: Reach::Local,
            method: Method::GET,
            url: &url,
            headers,
            body: String::new(),
        };
        self.client.ask(ask, deadline).await
    }

    /// A JWT that is signed with the client's certificate.
    fn assertion(
        &self,
        client_id: &str,
        audience: &str,
        certificate: &SecretSource,
        key: &SecretSource,
        send_chain: bool,
    ) -> Result<String, CloudAuthError> {
        let pem = file::read_secret(certificate)?;
        let chain: Vec<CertificateDer<'_>> =
            CertificateDer::pem_slice_iter(pem.expose().as_bytes()).filter_map(Result::ok).collect();
        let leaf = chain.first().ok_or_else(|| {
            CloudAuthError::Setup(format!("{} holds no certificate in PEM", file::described(certificate)))
        })?;
        let thumbprint = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, leaf);
        let mut header = Map::new();
        header.insert("x5t".to_owned(), URL_SAFE_NO_PAD.encode(thumbprint).into());
        if send_chain {
            let chain: Vec<Value> = chain.iter().map(|cert| STANDARD.encode(cert).into()).collect();
            header.insert("x5c".to_owned(), chain.into());
        }
        let now = self.clock.now().millis() / 1000;
        let claims = Map::from_iter([
            ("aud".to_owned(), audience.into()),
            ("iss".to_owned(), client_id.into()),
            ("sub".to_owned(), client_id.into()),
            ("jti".to_owned(), oauth2::random_id().map_err(|error| sign_error(&error))?.into()),
            ("nbf".to_owned(), now.into()),
            ("exp".to_owned(), (now + ASSERTION_SECONDS).into()),
        ]);
        let key = file::read_secret(key)?;
        oauth2::signed_jwt("RS256", header, claims, &key).map_err(|error| sign_error(&error))
    }
}

fn sign_error(error: &oauth2::TokenError) -> CloudAuthError {
    CloudAuthError::Sign(error.to_string())
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
