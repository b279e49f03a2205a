//! AWS credentials: those configured, else the default chain of `aws-sdk-go-v2`, then the role to assume.

use std::path::Path;
use std::time::Duration;

use ::http::header::AUTHORIZATION;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use outrigger_model::clock::SharedClock;
use outrigger_model::cloud_auth::{AwsRole, SigV4Config};
use outrigger_model::secret::Secret;
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::{Url, form_urlencoded};

use super::aws_process;
use super::aws_profile::{Profile, Profiles};
use super::environment::CloudEnvironment;
use super::error::CloudAuthError;
use super::identity_client::{Ask, IdentityClient, Reach, Reply};
use super::sigv4::{self, Outgoing, Scope};
use super::{AwsCredentials, Grant, Issued};
use crate::file;

/// Name of a session where none is configured.
const SESSION_NAME: &str = "outrigger";

/// Length of a role's session, as in `aws-sdk-go-v2`.
const SESSION_SECONDS: &str = "900";

/// Most profiles that refer to each other in a row.
const MAX_PROFILES: usize = 5;

/// How often keys in files are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Where containers of ECS ask with a relative path.
const ECS_HOST: &str = "http://169.254.170.2";

const IMDS: &str = "AWS instance metadata, for want of other credentials";
const CONTAINER: &str = "the AWS container credentials service";
const PROCESS: &str = "the AWS credential_process";
const STS: &str = "AWS STS";

pub(super) struct AwsIssuer {
    config: SigV4Config,
    client: IdentityClient,
    environment: CloudEnvironment,
    clock: SharedClock,
}

/// Credentials, and how long they are good.
struct Found {
    credentials: AwsCredentials,
    lifetime: Option<Duration>,
    look_again: Option<Duration>,
}

impl Found {
    fn lasting(credentials: AwsCredentials) -> Self {
        Self { credentials, lifetime: None, look_again: None }
    }
}

impl AwsIssuer {
    pub(super) fn new(
        config: SigV4Config,
        client: IdentityClient,
        environment: CloudEnvironment,
        clock: SharedClock,
    ) -> Self {
        Self { config, client, environment, clock }
    }

    pub(super) async fn issue(&self, deadline: Instant) -> Result<Issued, CloudAuthError> {
        let files_matter = self.config.keys.is_none() || self.config.region.is_none();
        let profiles = if files_matter { Profiles::load(&self.environment)? } else { Profiles::default() };
        let region = self.region(&profiles)?;
        let mut found = self.find(&profiles, &region, deadline).await?;
        if let Some(role) = &self.config.role {
            found = self.assume(role, &found.credentials, &region, deadline).await?;
        }
        Ok(Issued {
            grant: Grant::Aws { credentials: found.credentials, region },
            lifetime: found.lifetime,
            look_again: found.look_again,
        })
    }

    fn profile_name(&self) -> &str {
        let variables = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"];
        let named = variables.into_iter().find_map(|name| self.environment.get(name));
        self.config.profile.as_deref().or(named).unwrap_or("default")
    }

    fn region(&self, profiles: &Profiles) -> Result<String, CloudAuthError> {
        let variables = ["AWS_REGION", "AWS_DEFAULT_REGION"];
        let named = variables.into_iter().find_map(|name| self.environment.get(name));
        let of_profile = || profiles.find(self.profile_name()).and_then(|profile| profile.get("region"));
        let region = self.config.region.as_deref().or(named).or_else(of_profile);
        let region = region.ok_or_else(|| {
            CloudAuthError::Setup(
                "no AWS region is known: set sigv4.region or the environment variable AWS_REGION".to_owned(),
            )
        })?;
        // It becomes part of a host name.
        if region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            Ok(region.to_owned())
        } else {
            Err(CloudAuthError::Setup(format!("{region:?} is not an AWS region")))
        }
    }

    /// The credentials before any role of the configuration.
    async fn find(
        &self,
        profiles: &Profiles,
        region: &str,
        deadline: Instant,
    ) -> Result<Found, CloudAuthError> {
        if let Some(keys) = &self.config.keys {
            return Ok(Found::lasting(AwsCredentials {
                access_key: keys.access_key.clone(),
                secret_key: keys.secret_key.clone(),
                session_token: None,
            }));
        }
        if let Some(name) = &self.config.profile {
            return self.of_profile(profiles, name, profiles.get(name)?, region, 0, deadline).await;
        }
        if let Some(credentials) = self.of_environment() {
            return Ok(Found::lasting(credentials));
        }
        if let (Some(file), Some(arn)) =
            (self.environment.get("AWS_WEB_IDENTITY_TOKEN_FILE"), self.environment.get("AWS_ROLE_ARN"))
        {
            let session = self.environment.get("AWS_ROLE_SESSION_NAME");
            return self.assume_with_web_identity(Path::new(file), arn, session, region, deadline).await;
        }
        let name = self.profile_name();
        let empty = Profile::default();
        let profile =
            if name == "default" { profiles.find(name).unwrap_or(&empty) } else { profiles.get(name)? };
        self.of_profile(profiles, name, profile, region, 0, deadline).await
    }

    fn of_environment(&self) -> Option<AwsCredentials> {
        let get = |names: [&str; 2]| names.into_iter().find_map(|name| self.environment.get(name));
        Some(AwsCredentials {
            access_key: get(["AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"])?.to_owned(),
            secret_key: Secret::new(get(["AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"])?),
            session_token: self.environment.get("AWS_SESSION_TOKEN").map(Secret::new),
        })
    }

    /// The credentials of a profile, with its own role assumed. Boxed, since a profile may refer to another one.
    fn of_profile<'a>(
        &'a self,
        profiles: &'a Profiles,
        name: &'a str,
        profile: &'a Profile,
        region: &'a str,
        depth: usize,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Found, CloudAuthError>> {
        async move {
            let base = self.base_of_profile(profiles, name, profile, region, depth, deadline).await?;
            let Some(arn) =
                profile.get("role_arn").filter(|_| profile.get("web_identity_token_file").is_none())
            else {
                return Ok(base);
            };
            if profile.get("mfa_serial").is_some() {
                return Err(unsupported(name, "mfa_serial"));
            }
            let owned = |key| profile.get(key).map(str::to_owned);
            let role = AwsRole {
                arn: arn.to_owned(),
                external_id: owned("external_id"),
                session_name: owned("role_session_name"),
                tags: Vec::new(),
            };
            self.assume(&role, &base.credentials, region, deadline).await
        }
        .boxed()
    }

    async fn base_of_profile(
        &self,
        profiles: &Profiles,
        name: &str,
        profile: &Profile,
        region: &str,
        depth: usize,
        deadline: Instant,
    ) -> Result<Found, CloudAuthError> {
        if let Some(source) = profile.get("source_profile").filter(|source| *source != name) {
            if depth >= MAX_PROFILES {
                let message = format!("AWS profile {name:?}: too many source_profile in a row");
                return Err(CloudAuthError::Setup(message));
            }
            let next = profiles.get(source)?;
            return self.of_profile(profiles, source, next, region, depth + 1, deadline).await;
        }
        if let (Some(access_key), Some(secret)) =
            (profile.get("aws_access_key_id"), profile.get("aws_secret_access_key"))
        {
            let credentials = AwsCredentials {
                access_key: access_key.to_owned(),
                secret_key: Secret::new(secret),
                session_token: profile.get("aws_session_token").map(Secret::new),
            };
            return Ok(Found { look_again: Some(LOOK_AGAIN), ..Found::lasting(credentials) });
        }
        match profile.get("credential_source") {
            None => {}
            Some("Environment") => {
                return self.of_environment().map(Found::lasting).ok_or_else(|| {
                    CloudAuthError::Setup(format!(
                        "AWS profile {name:?} takes its credentials from the environment, where there are none"
                    ))
                });
            }
            Some("Ec2InstanceMetadata") => return self.of_instance(deadline).await,
            Some("EcsContainer") => return self.of_container(deadline).await?.ok_or_else(no_credentials),
            Some(_) => return Err(unsupported(name, "credential_source")),
        }
        if let (Some(file), Some(arn)) = (profile.get("web_identity_token_file"), profile.get("role_arn")) {
            let session = profile.get("role_session_name");
            return self.assume_with_web_identity(Path::new(file), arn, session, region, deadline).await;
        }
        for key in ["sso_session", "sso_start_url"] {
            if profile.get(key).is_some() {
                return Err(unsupported(name, key));
            }
        }
        if let Some(command) = profile.get("credential_process") {
            let object = aws_process::run(name, command, deadline).await?;
            return self.session(PROCESS, &object);
        }
        if let Some(found) = self.of_container(deadline).await? {
            return Ok(found);
        }
        self.of_instance(deadline).await
    }

    /// ECS, EKS pod identity and the like; `None` where there is no such service.
    async fn of_container(&self, deadline: Instant) -> Result<Option<Found>, CloudAuthError> {
        let relative = self.environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        let full = self.environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI");
        let url = match (relative, full) {
            (Some(path), _) => format!("{ECS_HOST}{path}"),
            (None, Some(url)) => {
                check_container_host(url)?;
                url.to_owned()
            }
            (None, None) => return Ok(None),
        };
        let token = match self.environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(file) => Some(Secret::new(file::read_trimmed(Path::new(file))?)),
            None => self.environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(Secret::new),
        };
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, secret_value(CONTAINER, &token)?);
        }
        let reply = self.get(CONTAINER, &url, headers, deadline).await?;
        self.session(CONTAINER, &reply.object()?).map(Some)
    }

    /// The instance's role, by version 2 of the metadata service; by version 1 where that is all there is.
    async fn of_instance(&self, deadline: Instant) -> Result<Found, CloudAuthError> {
        let disabled = self.environment.get("AWS_EC2_METADATA_DISABLED");
        if disabled.is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return Err(no_credentials());
        }
        let mode = self.environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
        let default = match mode {
            Some(mode) if mode.eq_ignore_ascii_case("ipv6") => "http://[fd00:ec2::254]",
            _ => "http://169.254.169.254",
        };
        let endpoint = self.environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or(default);
        let endpoint = endpoint.trim_end_matches('/');
        let headers = self.metadata_headers(endpoint, deadline).await?;
        let url = format!("{endpoint}/latest/meta-data/iam/security-credentials/");
        let reply = self.get(IMDS, &url, headers.clone(), deadline).await?;
        if !reply.status.is_success() {
            return Err(reply.refusal(["the instance has no role".to_owned()]));
        }
        let role = String::from_utf8_lossy(&reply.body).lines().next().unwrap_or_default().trim().to_owned();
        let reply = self.get(IMDS, &format!("{url}{role}"), headers, deadline).await?;
        self.session(IMDS, &reply.object()?)
    }

    async fn metadata_headers(&self, endpoint: &str, deadline: Instant) -> Result<HeaderMap, CloudAuthError> {
        let mut headers = HeaderMap::new();
        let lifetime = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
        headers.insert(lifetime, HeaderValue::from_static("21600"));
        let ask = Ask {
            provider: IMDS,
            reach: Reach::Local,
            method: Method::PUT,
            url: &format!("{endpoint}/latest/api/token"),
            headers,
            body: String::new(),
        };
        let reply = self.client.ask(ask, deadline).await?;
        let mut headers = HeaderMap::new();
        match reply.status.as_u16() {
            200 => {
                let token = Secret::new(String::from_utf8_lossy(&reply.body).trim());
                let name = HeaderName::from_static("x-aws-ec2-metadata-token");
                headers.insert(name, secret_value(IMDS, &token)?);
            }
            // There is no version 2.
            403..=405 => {}
            _ => return Err(reply.refusal([])),
        }
        Ok(headers)
    }

    async fn get(
        &self,
        provider: &'static str,
        url: &str,
        headers: HeaderMap,
        deadline: Instant,
    ) -> Result<Reply, CloudAuthError> {
        let reach = Reach::Local;
        let ask = Ask { provider, reach, method: Method::GET, url, headers, body: String::new() };
        self.client.ask(ask, deadline).await
    }

    /// Credentials as the metadata services and programs write them.
    fn session(&self, provider: &'static str, object: &Map<String, Value>) -> Result<Found, CloudAuthError> {
        let text = |key| object.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        if text("Code").is_some_and(|code| code != "Success") {
            return Err(CloudAuthError::Answer { provider, problem: "it says that there are none" });
        }
        let token = text("Token").or_else(|| text("SessionToken"));
        self.found(provider, text("AccessKeyId"), text("SecretAccessKey"), token, text("Expiration"))
    }

    fn found(
        &self,
        provider: &'static str,
        access_key: Option<&str>,
        secret_key: Option<&str>,
        token: Option<&str>,
        expiration: Option<&str>,
    ) -> Result<Found, CloudAuthError> {
        let unusable = |problem| CloudAuthError::Answer { provider, problem };
        let (Some(access_key), Some(secret_key)) = (access_key, secret_key) else {
            return Err(unusable("there are no keys in it"));
        };
        let credentials = AwsCredentials {
            access_key: access_key.to_owned(),
            secret_key: Secret::new(secret_key),
            session_token: token.map(Secret::new),
        };
        let Some(expiration) = expiration else { return Ok(Found::lasting(credentials)) };
        let expiry: jiff::Timestamp =
            expiration.parse().map_err(|_| unusable("the time of expiry is not a time"))?;
        let left = expiry.as_millisecond() - self.clock.now().millis();
        let left = u64::try_from(left).ok().filter(|left| *left > 0);
        let lifetime = left.ok_or_else(|| unusable("the credentials have expired"))?;
        Ok(Found { credentials, lifetime: Some(Duration::from_millis(lifetime)), look_again: None })
    }

    async fn assume(
        &self,
        role: &AwsRole,
        with: &AwsCredentials,
        region: &str,
        deadline: Instant,
    ) -> Result<Found, CloudAuthError> {
        let mut form = vec![
            ("Action".to_owned(), "AssumeRole".to_owned()),
            ("DurationSeconds".to_owned(), SESSION_SECONDS.to_owned()),
            ("RoleArn".to_owned(), role.arn.clone()),
            (
                "RoleSessionName".to_owned(),
                role.session_name.clone().unwrap_or_else(|| SESSION_NAME.to_owned()),
            ),
            ("Version".to_owned(), "2011-06-15".to_owned()),
        ];
        form.extend(role.external_id.iter().map(|id| ("ExternalId".to_owned(), id.clone())));
        for (at, (key, value)) in role.tags.iter().enumerate() {
            form.push((format!("Tags.member.{}.Key", at + 1), key.clone()));
            form.push((format!("Tags.member.{}.Value", at + 1), value.clone()));
        }
        self.ask_sts(&form, Some(with), region, deadline).await
    }

    async fn assume_with_web_identity(
        &self,
        token_file: &Path,
        arn: &str,
        session: Option<&str>,
        region: &str,
        deadline: Instant,
    ) -> Result<Found, CloudAuthError> {
        let token = file::read_trimmed(token_file)?;
        let form = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("RoleArn", arn),
            ("RoleSessionName", session.unwrap_or(SESSION_NAME)),
            ("Version", "2011-06-15"),
            ("WebIdentityToken", &token),
        ];
        let form = form.map(|(key, value)| (key.to_owned(), value.to_owned()));
        self.ask_sts(&form, None, region, deadline).await
    }

    async fn ask_sts(
        &self,
        form: &[(String, String)],
        sign_with: Option<&AwsCredentials>,
        region: &str,
        deadline: Instant,
    ) -> Result<Found, CloudAuthError> {
        let endpoint = self.sts_endpoint(region)?;
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut headers = HeaderMap::new();
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
        headers.insert(::http::header::CONTENT_TYPE, form_type);
        if let Some(credentials) = sign_with {
            let host = endpoint.host_str().unwrap_or_default();
            let host = endpoint.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
            let host = HeaderValue::try_from(host).map_err(|_| CloudAuthError::Header("host".to_owned()))?;
            headers.insert(::http::header::HOST, host);
            let scope = Scope { region, service: "sts", time: self.clock.now() };
            let request = Outgoing { method: &Method::POST, url: &endpoint, body: body.as_bytes() };
            sigv4::sign(&request, &mut headers, credentials, &scope)?;
        }
        let ask = Ask {
            provider: STS,
            reach: Reach::Public,
            method: Method::POST,
            url: endpoint.as_str(),
            headers,
            body,
        };
        let reply = self.client.ask(ask, deadline).await?;
        let xml = String::from_utf8_lossy(&reply.body);
        let text = |name| element(&xml, name);
        if !reply.status.is_success() {
            return Err(reply.refusal([text("Code"), text("Message")].into_iter().flatten()));
        }
        let (access_key, secret_key) = (text("AccessKeyId"), text("SecretAccessKey"));
        let (token, expiration) = (text("SessionToken"), text("Expiration"));
        self.found(STS, access_key.as_deref(), secret_key.as_deref(), token.as_deref(), expiration.as_deref())
    }

    /// The region's endpoint.
    fn sts_endpoint(&self, region: &str) -> Result<Url, CloudAuthError> {
        let named = ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"];
        let named = named.into_iter().find_map(|name| self.environment.get(name));
        let url = named.map_or_else(|| sts_url(region, self.config.fips_sts), str::to_owned);
        Url::parse(&url).ok().filter(Url::has_host).ok_or_else(|| {
            CloudAuthError::Setup("AWS_ENDPOINT_URL_STS or AWS_ENDPOINT_URL is not a URL".to_owned())
        })
    }
}

/// Where STS of a region listens, by the region's partition.
fn sts_url(region: &str, fips: bool) -> String {
    let domain = match region.split('-').next().unwrap_or_default() {
        "cn" => "amazonaws.com.cn",
        "us" if region.starts_with("us-iso-") => "c2s.ic.gov",
        "us" if region.starts_with("us-isob-") => "sc2s.sgov.gov",
        _ => "amazonaws.com",
    };
    // The endpoints of the government's regions are FIPS ones anyway.
    let host = if fips && !region.starts_with("us-gov-") { "sts-fips" } else { "sts" };
    format!("https://{host}.{region}.{domain}/")
}

/// A token may only go to this machine, to the container services' addresses, or over TLS.
fn check_container_host(url: &str) -> Result<(), CloudAuthError> {
    let refused = || {
        CloudAuthError::Setup(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor on this machine nor a container service's address"
                .to_owned(),
        )
    };
    let url = Url::parse(url).map_err(|_| refused())?;
    let trusted = match url.host() {
        Some(url::Host::Ipv4(address)) => {
            address.is_loopback() || [[169, 254, 170, 2], [169, 254, 170, 23]].contains(&address.octets())
        }
        Some(url::Host::Ipv6(address)) => {
            address.is_loopback() || address == std::net::Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)
        }
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if url.scheme() == "https" || trusted { Ok(()) } else { Err(refused()) }
}

fn secret_value(provider: &'static str, secret: &Secret) -> Result<HeaderValue, CloudAuthError> {
    let mut value = HeaderValue::try_from(secret.expose()).map_err(|_| CloudAuthError::Answer {
        provider,
        problem: "the token has characters that no header may have",
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn unsupported(profile: &str, key: &str) -> CloudAuthError {
    CloudAuthError::Setup(format!(
        "AWS profile {profile:?} uses {key}, which is not supported: use keys, a role, a web identity, or the \
         identity of the container or instance"
    ))
}

fn no_credentials() -> CloudAuthError {
    CloudAuthError::Setup(
        "there are no AWS credentials: none in sigv4, the environment, the shared files, a web identity, the container \
         or the instance"
            .to_owned(),
    )
}

/// Text of the first element of this name. STS' answers have neither attributes nor nested elements of one name.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let text = text.trim().replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    let text = text.replace("&apos;", "'").replace("&amp;", "&");
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sts_is_asked_in_the_region() {
        for (region, fips, url) in [
            ("eu-central-1", false, "https://sts.eu-central-1.amazonaws.com/"),
            ("us-east-2", true, "https://sts-fips.us-east-2.amazonaws.com/"),
            ("us-gov-west-1", true, "https://sts.us-gov-west-1.amazonaws.com/"),
            ("cn-north-1", false, "https://sts.cn-north-1.amazonaws.com.cn/"),
            ("us-iso-east-1", false, "https://sts.us-iso-east-1.c2s.ic.gov/"),
        ] {
            assert_eq!(sts_url(region, fips), url);
        }
    }

    #[test]
    fn a_container_token_stays_near() {
        for (url, fine) in [
            ("http://127.0.0.1:1/x", true),
            ("http://localhost/x", true),
            ("http://169.254.170.23/v1/credentials", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("https://credentials.example/x", true),
            ("http://credentials.example/x", false),
            ("http://169.254.169.254/x", false),
            ("x", false),
        ] {
            assert_eq!(check_container_host(url).is_ok(), fine, "{url}");
        }
    }

    #[test]
    fn elements_are_found_and_unescaped() {
        let xml = "<A><Code>Denied</Code><Message>a &lt;b&gt; &amp;amp; c</Message><Empty></Empty></A>";
        assert_eq!(element(xml, "Code").as_deref(), Some("Denied"));
        assert_eq!(element(xml, "Message").as_deref(), Some("a <b> &amp; c"));
        assert_eq!(element(xml, "Empty"), None);
        assert_eq!(element(xml, "Other"), None);
    }
}
