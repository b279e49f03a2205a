//! AWS, Azure and Google against identity providers of our own on loopback.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use outrigger_model::clock::ManualClock;
use outrigger_model::cloud_auth::{
    AwsKeys, AwsRole, AzureAdConfig, AzureCloud, AzureIdentity, CloudAuth, GoogleIamConfig, SigV4Config,
};
use outrigger_model::fault::Blame;
use outrigger_model::http::{HttpAuth, HttpClientConfig};
use outrigger_model::sample::Timestamp;
use outrigger_model::secret::{Secret, SecretSource};
use outrigger_rt::http::{ClientOptions, CloudEnvironment, HttpClient};
use serde_json::Value;
use url::form_urlencoded;

use crate::support::*;

/// 2026-05-01T12:00:00Z.
const NOW: i64 = 1_777_636_800_000;
const NOON: &str = "20260501T120000Z";

fn client_of(auth: CloudAuth, variables: &[(&str, &str)]) -> HttpClient {
    let config = HttpClientConfig {
        auth: Some(HttpAuth::Cloud(Box::new(auth))),
        enable_http2: false,
        ..HttpClientConfig::default()
    };
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let options = ClientOptions {
        cloud: CloudEnvironment::from_variables(variables),
        clock: Arc::new(ManualClock::at(Timestamp::from_millis(NOW))),
        ..options()
    };
    HttpClient::new(&config, options, resolver()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks a signature as AWS does: from the request as it arrived. The path must need no escaping.
fn check_signature(seen: &Seen, key_id: &str, secret: &str, scope: &str) {
    let authorization = seen.header("authorization");
    let credential = format!("AWS4-HMAC-SHA256 Credential={key_id}/20260501/{scope}/aws4_request, ");
    let rest = authorization.strip_prefix(&credential).unwrap_or_else(|| panic!("{authorization}"));
    let rest = rest.strip_prefix("SignedHeaders=").unwrap();
    let (names, signature) = rest.split_once(", Signature=").unwrap();
    let headers: String = names.split(';').map(|name| format!("{name}:{}\n", seen.header(name))).collect();
    let (path, query) = seen.uri.split_once('?').unwrap_or((&seen.uri, ""));
    let body = hex(digest::digest(&digest::SHA256, &seen.body).as_ref());
    let canonical = format!("{}\n{path}\n{query}\n{headers}\n{names}\n{body}", seen.method);
    let canonical = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{}\n20260501/{scope}/aws4_request\n{canonical}",
        seen.header("x-amz-date")
    );
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in ["20260501"].into_iter().chain(scope.split('/')).chain(["aws4_request", &to_sign]) {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes());
        key = tag.as_ref().to_vec();
    }
    assert_eq!(signature, hex(&key));
}

fn form(seen: &Seen) -> Vec<(String, String)> {
    let mut form: Vec<_> = form_urlencoded::parse(&seen.body).into_owned().collect();
    form.sort();
    form
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn keys(access_key: &str, secret: &str) -> Option<AwsKeys> {
    Some(AwsKeys { access_key: access_key.to_owned(), secret_key: Secret::new(secret) })
}

fn sts_answer(name: &str, key_id: &str, expiration: &str) -> String {
    format!(
        "<{name}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{name}Result><AssumedRoleUser>\
         <Arn>arn:aws:sts::1:assumed-role/r/s</Arn></AssumedRoleUser><Credentials>\
         <AccessKeyId>{key_id}</AccessKeyId><SecretAccessKey>s&amp;s</SecretAccessKey>\
         <SessionToken>token of {key_id}</SessionToken><Expiration>{expiration}</Expiration></Credentials>\
         </{name}Result></{name}Response>"
    )
}

fn metadata_answer(key_id: &str) -> String {
    format!(
        r#"{{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"{key_id}","SecretAccessKey":"s&s",
            "Token":"token of {key_id}","Expiration":"2026-05-01T13:00:00Z"}}"#
    )
}

/// STS, a container's service and the instance metadata, at different paths.
async fn aws() -> TestServer {
    TestServer::start(|seen| async move {
        let instance = "/latest/meta-data/iam/security-credentials/";
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        match (seen.uri.as_str(), seen.method.as_str()) {
            ("/sts/", "POST") if body.contains("Action=AssumeRoleWithWebIdentity") => {
                reply(200, &[], &sts_answer("AssumeRoleWithWebIdentity", "WEB", "2026-05-01T13:00:00Z"))
            }
            ("/sts/", "POST") => reply(200, &[], &sts_answer("AssumeRole", "ROLE", "2026-05-01T13:00:00Z")),
            ("/container", "GET") if seen.header("authorization") == "container token" => {
                reply(200, &[], &metadata_answer("CONTAINER"))
            }
            ("/latest/api/token", "PUT")
                if seen.header("x-aws-ec2-metadata-token-ttl-seconds") == "21600" =>
            {
                reply(200, &[], "imds token")
            }
            (uri, "GET") if seen.header("x-aws-ec2-metadata-token") == "imds token" => {
                if uri == instance {
                    reply(200, &[], "the-role\n")
                } else if uri == format!("{instance}the-role") {
                    reply(200, &[], &metadata_answer("INSTANCE"))
                } else {
                    reply(404, &[], "")
                }
            }
            _ => reply(403, &[], "{\"message\":\"no\"}"),
        }
    })
    .await
}

#[tokio::test]
async fn a_request_is_signed_as_it_arrives() {
    let server = TestServer::saying("ok").await;
    let config = SigV4Config {
        region: Some("eu-west-1".to_owned()),
        keys: keys("KEY", "secret/+"),
        ..SigV4Config::default()
    };
    let client = client_of(CloudAuth::SigV4(config.clone()), &[("AWS_ACCESS_KEY_ID", "OTHER")]);
    let url = server.url("/workspaces/ws-1/api/v1/remote_write");
    let mut request = post(&url, "the body");
    request.headers.insert("content-encoding", "snappy".parse().unwrap());
    client.send(request).await.unwrap();
    let seen = server.last();
    check_signature(&seen, "KEY", "secret/+", "eu-west-1/aps");
    assert!(seen.header("authorization").contains("SignedHeaders=content-encoding;host;x-amz-date,"));
    assert_eq!(seen.header("x-amz-date"), NOON);
    assert_eq!(seen.header("x-amz-security-token"), "");
    assert_eq!(seen.body, "the body");

    let other = SigV4Config { service: Some("other".to_owned()), ..config };
    get_text(&client_of(CloudAuth::SigV4(other), &[]), &server.url("/a?b=c")).await;
    check_signature(&server.last(), "KEY", "secret/+", "eu-west-1/other");
}

#[tokio::test]
async fn credentials_are_looked_for_in_the_order_of_aws() {
    let aws = aws().await;
    let server = TestServer::saying("ok").await;
    let files = Files::new();
    let token = files.write("token", "web token\n");
    let container_token = files.write("container-token", "container token\n");
    let credentials = files.write(
        "credentials",
        "[default]\naws_access_key_id = FILE\naws_secret_access_key = s&s\n[named]\naws_access_key_id = NAMED\n\
         aws_secret_access_key = s&s\naws_session_token = token of NAMED\n",
    );
    let config = files.write(
        "config",
        "[default]\nregion = eu-west-1\n[profile chained]\nrole_arn = arn:role\nsource_profile = named\n\
         external_id = x\n[profile web]\nrole_arn = arn:web\nweb_identity_token_file = TOKEN\n[profile instance]\n\
         role_arn = arn:role\ncredential_source = Ec2InstanceMetadata\n[profile program]\n\
         credential_process = printf '%s' '{\"Version\": 1, \"AccessKeyId\": \"PROGRAM\", \
         \"SecretAccessKey\": \"s&s\", \"SessionToken\": \"token of PROGRAM\"}'\n",
    );
    let text = std::fs::read_to_string(&config).unwrap().replace("TOKEN", token.to_str().unwrap());
    files.write("config", &text);
    let (sts, imds, container) = (aws.url("/sts/"), aws.url("/"), aws.url("/container"));
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let (token, container_token, credentials, config) =
        (path(&token), path(&container_token), path(&credentials), path(&config));

    let always = [
        ("AWS_ENDPOINT_URL_STS", sts.as_str()),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &imds),
        ("AWS_REGION", "eu-west-1"),
    ];
    let environment = [("AWS_ACCESS_KEY_ID", "ENV"), ("AWS_SECRET_ACCESS_KEY", "s&s")];
    let session = [("AWS_SESSION_TOKEN", "token of ENV")];
    let web = [("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()), ("AWS_ROLE_ARN", "arn:web")];
    let file = [("AWS_SHARED_CREDENTIALS_FILE", credentials.as_str()), ("AWS_CONFIG_FILE", &config)];
    let boxed = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", container.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &container_token),
    ];
    let named = |name| [("AWS_PROFILE", name)];
    let profile = |name: &str| SigV4Config { profile: Some(name.to_owned()), ..SigV4Config::default() };
    let role = SigV4Config {
        role: Some(AwsRole { arn: "arn:role".to_owned(), ..AwsRole::default() }),
        ..SigV4Config::default()
    };
    type Variables<'a> = Vec<&'a [(&'a str, &'a str)]>;
    // configuration, variables, key, whether it is a session
    let cases: Vec<(SigV4Config, Variables<'_>, &str, bool)> = vec![
        (SigV4Config::default(), vec![&environment, &web, &file, &boxed], "ENV", false),
        (SigV4Config::default(), vec![&environment, &session], "ENV", true),
        (SigV4Config::default(), vec![&web, &file, &boxed], "WEB", true),
        (SigV4Config::default(), vec![&file, &boxed], "FILE", false),
        (SigV4Config::default(), vec![&boxed], "CONTAINER", true),
        (SigV4Config::default(), vec![], "INSTANCE", true),
        (profile("named"), vec![&environment, &file], "NAMED", true),
        (profile("chained"), vec![&environment, &file], "ROLE", true),
        (profile("web"), vec![&file], "WEB", true),
        (profile("instance"), vec![&file], "ROLE", true),
        (profile("program"), vec![&file], "PROGRAM", true),
        (role.clone(), vec![&environment], "ROLE", true),
        (role, vec![&file], "ROLE", true),
    ];
    for (config, variables, key_id, is_session) in cases {
        let variables: Vec<(&str, &str)> =
            always.into_iter().chain(variables.iter().copied().flatten().copied()).collect();
        get_text(&client_of(CloudAuth::SigV4(config.clone()), &variables), &server.url("/")).await;
        let seen = server.last();
        check_signature(&seen, key_id, "s&s", "eu-west-1/aps");
        let session = if is_session { format!("token of {key_id}") } else { String::new() };
        assert_eq!(seen.header("x-amz-security-token"), session, "{config:?}");
    }
    // The profile of the environment, and its region.
    let chained = named("chained");
    let variables: Vec<(&str, &str)> = always[..2].iter().chain(&file).chain(&chained).copied().collect();
    let region = SigV4Config { region: Some("us-east-2".to_owned()), ..SigV4Config::default() };
    get_text(&client_of(CloudAuth::SigV4(region), &variables), &server.url("/")).await;
    check_signature(&server.last(), "ROLE", "s&s", "us-east-2/aps");
    let asked = aws.last();
    check_signature(&asked, "NAMED", "s&s", "us-east-2/sts");
    assert_eq!(asked.header("x-amz-security-token"), "token of NAMED");
    assert!(form(&asked).contains(&("ExternalId".to_owned(), "x".to_owned())));
}

#[tokio::test]
async fn a_role_is_assumed_with_all_that_its_owner_asks_for() {
    let aws = aws().await;
    let server = TestServer::saying("ok").await;
    let config = SigV4Config {
        region: Some("eu-west-1".to_owned()),
        keys: keys("KEY", "secret"),
        role: Some(AwsRole {
            arn: "arn:aws:iam::1:role/r".to_owned(),
            external_id: Some("ext".to_owned()),
            session_name: Some("me".to_owned()),
            tags: vec![("team".to_owned(), "a b".to_owned())],
        }),
        ..SigV4Config::default()
    };
    let client = client_of(CloudAuth::SigV4(config), &[("AWS_ENDPOINT_URL", &aws.url("/sts/"))]);
    let url = server.url("/");
    futures_util::future::join_all((0..10).map(|_| get_text(&client, &url))).await;
    assert_eq!(aws.seen().len(), 1, "one session serves many requests");
    let asked = aws.last();
    check_signature(&asked, "KEY", "secret", "eu-west-1/sts");
    let expected = [
        ("Action", "AssumeRole"),
        ("DurationSeconds", "900"),
        ("ExternalId", "ext"),
        ("RoleArn", "arn:aws:iam::1:role/r"),
        ("RoleSessionName", "me"),
        ("Tags.member.1.Key", "team"),
        ("Tags.member.1.Value", "a b"),
        ("Version", "2011-06-15"),
    ];
    assert_eq!(form(&asked), pairs(&expected));
}

#[tokio::test]
async fn a_session_is_renewed_before_it_ends_and_outlives_its_provider() {
    let (issued, away) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
    let is_away = Arc::clone(&away);
    let aws = TestServer::start(move |_| {
        let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
        let gone = is_away.load(Ordering::SeqCst);
        // The second session lasts.
        let end = if number == 1 { "2026-05-01T12:00:02Z" } else { "2026-05-01T13:00:00Z" };
        async move {
            match gone {
                true => reply(503, &[], "<Error><Code>Slow</Code></Error>"),
                false => reply(200, &[], &sts_answer("AssumeRole", &format!("ROLE{number}"), end)),
            }
        }
    })
    .await;
    let server = TestServer::saying("ok").await;
    let config = SigV4Config {
        region: Some("eu-west-1".to_owned()),
        keys: keys("KEY", "secret"),
        role: Some(AwsRole { arn: "arn".to_owned(), ..AwsRole::default() }),
        ..SigV4Config::default()
    };
    let client = client_of(CloudAuth::SigV4(config), &[("AWS_ENDPOINT_URL", &aws.url("/"))]);
    let url = server.url("/");
    let end = tokio::time::Instant::now() + ample();
    loop {
        get_text(&client, &url).await;
        if server.last().header("authorization").contains("Credential=ROLE2/") {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "no second session");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    away.store(true, Ordering::SeqCst);
    get_text(&client, &url).await;
    assert_eq!(aws.seen().len(), 2);
}

#[tokio::test]
async fn an_old_metadata_service_is_asked_without_a_token() {
    let aws = TestServer::start(|seen| async move {
        match seen.uri.as_str() {
            "/latest/api/token" => reply(404, &[], ""),
            "/latest/meta-data/iam/security-credentials/" => reply(200, &[], "old"),
            _ => reply(200, &[], &metadata_answer("OLD")),
        }
    })
    .await;
    let server = TestServer::saying("ok").await;
    let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*aws.url("")), ("AWS_REGION", "x")];
    let client = client_of(CloudAuth::SigV4(SigV4Config::default()), &variables);
    get_text(&client, &server.url("/")).await;
    check_signature(&server.last(), "OLD", "s&s", "x/aps");
}

#[tokio::test]
async fn what_is_wrong_with_aws_credentials_is_said_without_them() {
    let denying = TestServer::start(|_| async {
        let body = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not you</Message>\
                    </Error></ErrorResponse>";
        reply(403, &[], body)
    })
    .await;
    let expired = TestServer::start(|_| async {
        reply(200, &[], &sts_answer("AssumeRole", "ROLE", "2026-05-01T11:59:59Z"))
    })
    .await;
    let empty = TestServer::saying("<html>").await;
    let server = TestServer::saying("ok").await;
    let files = Files::new();
    let sso = files.write(
        "sso",
        "[profile s]\nsso_session = x\n[profile loop]\nsource_profile = pool\n[profile pool]\n\
         source_profile = loop\n[profile fails]\ncredential_process = echo very secret; exit 3\n[profile prints]\n\
         credential_process = echo very secret\n",
    );
    let sso = sso.to_str().unwrap();
    let region = || Some("x".to_owned());
    let with_role = SigV4Config {
        region: region(),
        keys: keys("KEY", "very secret"),
        role: Some(AwsRole { arn: "arn".to_owned(), ..AwsRole::default() }),
        ..SigV4Config::default()
    };
    let profile = |name: &str| SigV4Config {
        region: region(),
        profile: Some(name.to_owned()),
        ..SigV4Config::default()
    };
    let none = SigV4Config { region: region(), ..SigV4Config::default() };
    let endpoint = "AWS_ENDPOINT_URL_STS";
    for (config, variables, part, blame) in [
        (
            with_role.clone(),
            vec![(endpoint, denying.url("/"))],
            "AWS STS answered 403: AccessDenied: not you",
            Blame::Remote,
        ),
        (
            with_role.clone(),
            vec![(endpoint, expired.url("/"))],
            "the credentials have expired",
            Blame::Remote,
        ),
        (with_role, vec![(endpoint, empty.url("/"))], "there are no keys in it", Blame::Remote),
        (SigV4Config::default(), vec![], "no AWS region is known", Blame::Configuration),
        (
            SigV4Config { region: Some("a/b".to_owned()), ..none.clone() },
            vec![],
            "\"a/b\" is not an AWS region",
            Blame::Configuration,
        ),
        (
            none.clone(),
            vec![("AWS_EC2_METADATA_DISABLED", "true".to_owned())],
            "no AWS credentials",
            Blame::Configuration,
        ),
        (
            none,
            vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.test/".to_owned())],
            "is neither https nor on this machine",
            Blame::Configuration,
        ),
        (
            profile("gone"),
            vec![("AWS_CONFIG_FILE", sso.to_owned())],
            "there is no AWS profile \"gone\" in ",
            Blame::Configuration,
        ),
        (
            profile("s"),
            vec![("AWS_CONFIG_FILE", sso.to_owned())],
            "uses sso_session, which is not supported",
            Blame::Configuration,
        ),
        (
            profile("fails"),
            vec![("AWS_CONFIG_FILE", sso.to_owned())],
            "\"fails\" failed: exit status: 3",
            Blame::Configuration,
        ),
        (
            profile("prints"),
            vec![("AWS_CONFIG_FILE", sso.to_owned())],
            "printed something else than credentials",
            Blame::Configuration,
        ),
        (
            profile("loop"),
            vec![("AWS_CONFIG_FILE", sso.to_owned())],
            "too many source_profile",
            Blame::Configuration,
        ),
    ] {
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let client = client_of(CloudAuth::SigV4(config), &variables);
        let error = get(&client, &server.url("/")).await.unwrap_err();
        let text = chain(&error);
        assert!(text.contains(part), "{text}");
        assert!(!text.contains("very secret") && !format!("{client:?}{error:?}").contains("very secret"));
        assert_eq!(error.blame(), blame, "{text}");
        assert_eq!(error.retry(), outrigger_model::fault::Retry::Backoff, "{text}");
    }
    assert!(server.seen().is_empty(), "nothing was sent without a signature");
}

fn token_answer(token: &str) -> String {
    format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":"3600"}}"#)
}

/// A certificate with an RSA key.
fn rsa_identity() -> Identity {
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let cert = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    Identity { cert: cert.pem(), key: key.serialize_pem() }
}

/// A JWT's header and claims.
fn jwt(text: &str) -> (Value, Value) {
    let mut parts = text.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let (header, claims) = (parts.next().unwrap(), parts.next().unwrap());
    assert_eq!(parts.next().unwrap().len(), 256, "an RSA signature");
    (serde_json::from_slice(&header).unwrap(), serde_json::from_slice(&claims).unwrap())
}

#[tokio::test]
async fn every_azure_identity_gets_its_token() {
    let entra = TestServer::start(|_| async { reply(200, &[], &token_answer("T")) }).await;
    let server = TestServer::saying("ok").await;
    let files = Files::new();
    let token = files.write("federated", "cluster token\n");
    let path = token.to_str().unwrap();
    let (client_id, tenant_id) = ("the-client".to_owned(), "the-tenant".to_owned());
    let own = || (client_id.clone(), tenant_id.clone());
    let authority = ("AZURE_AUTHORITY_HOST", entra.url("/"));
    let metadata = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", entra.url(""));
    let client_env =
        || vec![("AZURE_CLIENT_ID", "the-client".to_owned()), ("AZURE_TENANT_ID", "the-tenant".to_owned())];
    let assertion_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let with_secret = [
        ("client_id", "the-client"),
        ("client_secret", "a&b"),
        ("grant_type", "client_credentials"),
        ("scope", "https://monitor.azure.com//.default"),
    ];
    let with_token = [
        ("client_assertion", "cluster token"),
        ("client_assertion_type", assertion_type),
        ("client_id", "the-client"),
        ("grant_type", "client_credentials"),
        ("scope", "https://monitor.azure.com//.default"),
    ];
    let imds =
        "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fmonitor.azure.com%2F";
    let of_client = format!("{imds}&client_id=the-client");
    let entra_path = "/the-tenant/oauth2/v2.0/token";
    let secret = AzureIdentity::Secret { client_id: own().0, tenant_id: own().1, secret: Secret::new("a&b") };
    let workload = AzureIdentity::Workload {
        client_id: own().0,
        tenant_id: own().1,
        token_file: Some(SecretSource::File(token.clone())),
    };
    let sdk = || AzureIdentity::Default { tenant_id: None };
    let with = |mut variables: Vec<(&'static str, String)>, more: Vec<(&'static str, String)>| {
        variables.extend(more);
        variables
    };
    let secret_env = vec![("AZURE_CLIENT_SECRET", "a&b".to_owned())];
    let file_env = vec![("AZURE_FEDERATED_TOKEN_FILE", path.to_owned())];
    let app = vec![("IDENTITY_ENDPOINT", entra.url("/msi")), ("IDENTITY_HEADER", "app secret".to_owned())];
    for (identity, variables, uri, expected) in [
        (secret, vec![authority.clone()], entra_path, &with_secret[..]),
        (workload, vec![authority.clone()], entra_path, &with_token[..]),
        (AzureIdentity::Managed { client_id: None }, vec![metadata.clone()], imds, &[]),
        (AzureIdentity::Managed { client_id: Some(own().0) }, vec![metadata.clone()], &of_client, &[]),
        (
            AzureIdentity::Managed { client_id: None },
            app,
            "/msi?api-version=2019-08-01&resource=https%3A%2F%2Fmonitor.azure.com%2F",
            &[],
        ),
        (sdk(), with(with(client_env(), secret_env), vec![authority.clone()]), entra_path, &with_secret),
        (sdk(), with(with(client_env(), file_env), vec![authority.clone()]), entra_path, &with_token),
        (sdk(), with(client_env(), vec![metadata.clone()]), &of_client, &[]),
    ] {
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let config = AzureAdConfig { cloud: AzureCloud::Public, scope: None, identity };
        let client = client_of(CloudAuth::AzureAd(config.clone()), &variables);
        get_text(&client, &server.url("/")).await;
        assert_eq!(server.last().header("authorization"), "Bearer T");
        let asked = entra.last();
        assert_eq!(asked.uri, uri, "{config:?}");
        assert_eq!(form(&asked), pairs(expected), "{config:?}");
        if uri == imds {
            assert_eq!(asked.header("metadata"), "true");
        }
        if uri.starts_with("/msi") {
            assert_eq!(asked.header("x-identity-header"), "app secret");
        }
    }
    let identity =
        AzureIdentity::Secret { client_id: own().0, tenant_id: "a/b".to_owned(), secret: Secret::new("s") };
    let config = AzureAdConfig { cloud: AzureCloud::Public, scope: None, identity };
    let error = get(&client_of(CloudAuth::AzureAd(config), &[]), &server.url("/")).await.unwrap_err();
    assert!(chain(&error).contains("tenant_id holds something else"), "{}", chain(&error));
}

#[tokio::test]
async fn an_azure_certificate_signs_for_its_client() {
    let entra = TestServer::start(|_| async { reply(200, &[], &token_answer("T")) }).await;
    let server = TestServer::saying("ok").await;
    let files = Files::new();
    let identity = rsa_identity();
    let certificate = files.write("cert.pem", &format!("{}{}", identity.cert, identity.key));
    let config = AzureAdConfig {
        cloud: AzureCloud::Government,
        scope: Some("https://my.scope/.default".to_owned()),
        identity: AzureIdentity::Certificate {
            client_id: "c".to_owned(),
            tenant_id: "t".to_owned(),
            certificate: SecretSource::File(certificate),
            key: None,
            password: None,
            send_chain: true,
        },
    };
    let authority = entra.url("");
    let client = client_of(CloudAuth::AzureAd(config), &[("AZURE_AUTHORITY_HOST", &authority)]);
    get_text(&client, &server.url("/")).await;
    let form: std::collections::BTreeMap<String, String> = form(&entra.last()).into_iter().collect();
    assert_eq!(form["scope"], "https://my.scope/.default");
    let (header, claims) = jwt(&form["client_assertion"]);
    assert_eq!((&header["alg"], &header["typ"]), (&Value::from("RS256"), &Value::from("JWT")));
    assert_eq!(URL_SAFE_NO_PAD.decode(header["x5t"].as_str().unwrap()).unwrap().len(), 20);
    assert_eq!(header["x5c"].as_array().unwrap().len(), 1);
    assert_eq!(claims["aud"], format!("{authority}/t/oauth2/v2.0/token"));
    assert_eq!((&claims["iss"], &claims["sub"]), (&Value::from("c"), &Value::from("c")));
    assert_eq!(claims["exp"].as_i64().unwrap(), NOW / 1000 + 600);
}

#[tokio::test]
async fn google_gives_a_token_for_a_file_or_the_machine() {
    let google = TestServer::start(|_| async { reply(200, &[], &token_answer("G")) }).await;
    let server = TestServer::saying("ok").await;
    let files = Files::new();
    let token_url = google.url("/token");
    let account = serde_json::json!({
        "type": "service_account", "client_email": "a@p.iam", "private_key_id": "kid", "token_uri": token_url,
        "private_key": rsa_identity().key, "quota_project_id": "pays",
    });
    let account = files.write("account.json", &account.to_string());
    let config = GoogleIamConfig { credentials_file: Some(SecretSource::File(account.clone())) };
    get_text(&client_of(CloudAuth::GoogleIam(config), &[]), &server.url("/")).await;
    let seen = server.last();
    assert_eq!(seen.header("authorization"), "Bearer G");
    assert_eq!(seen.header("x-goog-user-project"), "pays");
    let form_of_account: std::collections::BTreeMap<String, String> =
        form(&google.last()).into_iter().collect();
    assert_eq!(form_of_account["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let (header, claims) = jwt(&form_of_account["assertion"]);
    assert_eq!(header["kid"], "kid");
    let expected = serde_json::json!({
        "aud": token_url, "exp": NOW / 1000 + 3600, "iat": NOW / 1000, "iss": "a@p.iam",
        "scope": "https://www.googleapis.com/auth/monitoring.write",
    });
    assert_eq!(claims, expected);

    // The environment's file, as `gcloud auth application-default login` writes it.
    let user = serde_json::json!({
        "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r", "token_uri": token_url,
    });
    std::fs::create_dir_all(files.path(".config/gcloud")).unwrap();
    let user = files.write(".config/gcloud/application_default_credentials.json", &user.to_string());
    let home = files.path("");
    let expected =
        [("client_id", "c"), ("client_secret", "s"), ("grant_type", "refresh_token"), ("refresh_token", "r")];
    for variables in [
        [("GOOGLE_APPLICATION_CREDENTIALS", user.to_str().unwrap())],
        [("HOME", home.to_str().unwrap())],
        [("CLOUDSDK_CONFIG", user.parent().unwrap().to_str().unwrap())],
    ] {
        let client = client_of(CloudAuth::GoogleIam(GoogleIamConfig::default()), &variables);
        get_text(&client, &server.url("/")).await;
        assert_eq!(server.last().header("authorization"), "Bearer G");
        assert_eq!(form(&google.last()), pairs(&expected));
    }

    let host = google.address.to_string();
    let client = client_of(CloudAuth::GoogleIam(GoogleIamConfig::default()), &[("GCE_METADATA_HOST", &host)]);
    get_text(&client, &server.url("/")).await;
    let asked = google.last();
    assert_eq!(asked.header("metadata-flavor"), "Google");
    assert!(asked.uri.starts_with("/computeMetadata/v1/instance/service-accounts/default/token?scopes="));

    for (name, content, part) in [
        ("broken.json", "{\n\"private_key\": secret", "broken.json is not a JSON object (line 2"),
        ("other.json", r#"{"type": "external_account"}"#, "of type \"external_account\" are not supported"),
        ("bare.json", r#"{"type": "service_account"}"#, "bare.json: client_email is missing"),
    ] {
        let config =
            GoogleIamConfig { credentials_file: Some(SecretSource::File(files.write(name, content))) };
        let error = get(&client_of(CloudAuth::GoogleIam(config), &[]), &server.url("/")).await.unwrap_err();
        assert!(chain(&error).contains(part), "{}", chain(&error));
        assert!(!chain(&error).contains("secret"), "{}", chain(&error));
    }
}

#[tokio::test]
async fn a_cloud_identity_is_not_sent_on_to_another_host() {
    let other = TestServer::saying("ok").await;
    let url = other.url_as("localhost", "/");
    let server = TestServer::start(move |_| {
        let url = url.clone();
        async move { reply(307, &[("location", &url)], "") }
    })
    .await;
    let config =
        SigV4Config { region: Some("x".to_owned()), keys: keys("KEY", "s"), ..SigV4Config::default() };
    get_text(&client_of(CloudAuth::SigV4(config), &[]), &server.url("/")).await;
    assert_ne!(server.last().header("authorization"), "");
    let seen = other.last();
    assert_eq!((seen.header("authorization"), seen.header("x-amz-date")), ("", ""));
}
