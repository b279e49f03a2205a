//! Certificates, names, versions, reloads.

use outrigger_model::fault::{Blame, Retry};
use outrigger_model::http::{HttpClientConfig, PemSource, TlsConfig, TlsVersion};
use outrigger_model::secret::SecretSource;
use outrigger_rt::http::{BuildClientError, HttpClient, HttpError, TlsCause};

use crate::support::*;

fn with(tls: TlsConfig) -> HttpClientConfig {
    HttpClientConfig { tls, ..HttpClientConfig::default() }
}

fn trusting(authority: &Authority) -> TlsConfig {
    TlsConfig { ca: Some(pem(&authority.pem)), ..TlsConfig::default() }
}

#[tokio::test]
async fn certificates_are_verified_against_authority_and_name() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let identity = ours.issue(&["127.0.0.1", "node.example"]);
    let server = TestServer::tls_ok(ServerTls::new(&identity).build()).await;
    let named = |name: &str, tls: TlsConfig| TlsConfig { server_name: Some(name.to_owned()), ..tls };
    let insecure = |tls: TlsConfig| TlsConfig { insecure_skip_verify: true, ..tls };
    for (host, tls, expected) in [
        ("127.0.0.1", trusting(&ours), None),
        ("localhost", trusting(&ours), Some("certificate is not valid for localhost, only for ")),
        ("localhost", named("node.example", trusting(&ours)), None),
        (
            "127.0.0.1",
            named("wrong.example", trusting(&ours)),
            Some("certificate is not valid for wrong.example"),
        ),
        ("127.0.0.1", trusting(&other), Some("certificate signed by unknown authority")),
        ("127.0.0.1", TlsConfig::default(), Some("")),
        ("localhost", insecure(trusting(&other)), None),
        ("localhost", insecure(TlsConfig::default()), None),
        ("127.0.0.1", named("not a name", trusting(&ours)), Some("\"not a name\" is not a name")),
    ] {
        let result = get(&client(&with(tls.clone())), &server.url_as(host, "/")).await;
        match (result, expected) {
            (Ok(response), None) => assert_eq!(text(response).await, "ok"),
            (Err(error), Some(expected)) => {
                assert!(chain(&error).contains(expected), "{tls:?}: {}", chain(&error));
                if !matches!(error, HttpError::TlsSetup { .. }) {
                    assert_eq!((error.blame(), error.retry()), (Blame::Target, Retry::Backoff));
                }
            }
            (result, _) => panic!("{tls:?} {result:?}"),
        }
    }
}

#[tokio::test]
async fn a_self_signed_certificate_is_trusted_when_it_is_the_configured_authority() {
    let identity = self_signed_authority(&["localhost"], (2099, 1, 1));
    let server = TestServer::tls_ok(ServerTls::new(&identity).build()).await;
    let tls = TlsConfig { ca: Some(pem(&identity.cert)), ..TlsConfig::default() };
    assert_eq!(get_text(&client(&with(tls.clone())), &server.url_as("localhost", "/")).await, "ok");
    let error = get(&client(&with(tls)), &server.url("/")).await.unwrap_err();
    assert!(matches!(error, HttpError::Tls { source: TlsCause::Name { .. }, .. }), "{error:?}");

    let identity = self_signed_authority(&["localhost"], (2001, 1, 1));
    let server = TestServer::tls_ok(ServerTls::new(&identity).build()).await;
    let tls = TlsConfig { ca: Some(pem(&identity.cert)), ..TlsConfig::default() };
    let error = get(&client(&with(tls)), &server.url_as("localhost", "/")).await.unwrap_err();
    assert!(chain(&error).contains("expired"), "{}", chain(&error));
}

#[tokio::test]
async fn client_certificates_are_presented() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let identity = servers.issue(&["127.0.0.1"]);
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let tls = ServerTls { client_authority: Some(&clients), versions, ..ServerTls::new(&identity) };
        let server = TestServer::tls_ok(tls.build()).await;
        let own = clients.issue(&["client"]);
        let with_cert =
            TlsConfig { cert: Some(pem(&own.cert)), key: Some(inline(&own.key)), ..trusting(&servers) };
        assert_eq!(get_text(&client(&with(with_cert)), &server.url("/")).await, "ok");
        let error = get(&client(&with(trusting(&servers))), &server.url("/")).await.unwrap_err();
        assert!(chain(&error).to_lowercase().contains("certificate"), "{}", chain(&error));
        let stranger = servers.issue(&["client"]);
        let with_cert = TlsConfig {
            cert: Some(pem(&stranger.cert)),
            key: Some(inline(&stranger.key)),
            ..trusting(&servers)
        };
        assert!(get(&client(&with(with_cert)), &server.url("/")).await.is_err());
    }
}

#[tokio::test]
async fn changed_files_count_from_the_next_request_on() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let other = Authority::new("other");
    let identity = servers.issue(&["127.0.0.1"]);
    let tls = ServerTls { client_authority: Some(&clients), ..ServerTls::new(&identity) };
    let server = TestServer::tls_ok(tls.build()).await;
    let files = Files::new();
    let config = TlsConfig {
        ca: Some(PemSource::File(files.path("ca"))),
        cert: Some(PemSource::File(files.path("cert"))),
        key: Some(SecretSource::File(files.path("key"))),
        ..TlsConfig::default()
    };
    let client = client(&with(config));
    let url = server.url("/");

    let error = get(&client, &url).await.unwrap_err();
    assert!(matches!(error, HttpError::TlsSetup { .. }), "{error:?}");
    assert!(chain(&error).contains(files.path("ca").to_str().unwrap()), "{}", chain(&error));
    assert_eq!((error.blame(), error.retry()), (Blame::Configuration, Retry::Backoff));

    let own = clients.issue(&["client"]);
    files.write("cert", &own.cert);
    files.write("key", &own.key);
    files.write("ca", &other.pem);
    let error = get(&client, &url).await.unwrap_err();
    assert!(chain(&error).contains("unknown authority"), "{}", chain(&error));

    files.write("ca", &servers.pem);
    assert_eq!(get_text(&client, &url).await, "ok");
    assert_eq!(client.stats().pooled, 1);

    // Half of a rotation: the key does not fit, so the earlier pair stays in use.
    let renewed = clients.issue(&["client"]);
    files.write("cert", &renewed.cert);
    assert_eq!(get_text(&client, &url).await, "ok");
    assert_eq!(server.accepted(), 2);
    files.write("key", &renewed.key);
    assert_eq!(get_text(&client, &url).await, "ok");
    // The connection with the old certificate is not used any more.
    assert_eq!(server.accepted(), 3);
    assert_eq!(client.stats().pooled, 1);

    files.write("ca", &other.pem);
    let error = get(&client, &url).await.unwrap_err();
    assert!(chain(&error).contains("unknown authority"), "{}", chain(&error));
}

#[tokio::test]
async fn protocol_versions_are_kept_to() {
    let authority = Authority::new("authority");
    let identity = authority.issue(&["127.0.0.1"]);
    let only12 = TestServer::tls_ok(
        ServerTls { versions: &[&rustls::version::TLS12], ..ServerTls::new(&identity) }.build(),
    )
    .await;
    let only13 = TestServer::tls_ok(
        ServerTls { versions: &[&rustls::version::TLS13], ..ServerTls::new(&identity) }.build(),
    )
    .await;
    use TlsVersion::{Tls10, Tls11, Tls12, Tls13};
    for (min, max, reaches12, reaches13) in [
        (None, None, true, true),
        (Some(Tls10), None, true, true),
        (Some(Tls13), None, false, true),
        (None, Some(Tls12), true, false),
        (Some(Tls11), Some(Tls12), true, false),
        (Some(Tls12), Some(Tls13), true, true),
    ] {
        let tls = TlsConfig { min_version: min, max_version: max, ..trusting(&authority) };
        let client = client(&with(tls));
        for (server, reaches) in [(&only12, reaches12), (&only13, reaches13)] {
            let result = get(&client, &server.url("/")).await;
            assert_eq!(result.is_ok(), reaches, "{min:?} {max:?} {result:?}");
        }
    }
    let tls = TlsConfig { max_version: Some(Tls11), ..TlsConfig::default() };
    let error = HttpClient::new(&with(tls), options(), resolver()).unwrap_err();
    assert!(matches!(error, BuildClientError::Tls(_)), "{error:?}");
    assert!(outrigger_model::fault::chain(&error).contains("TLS12 to TLS11"));
}

#[tokio::test]
async fn inline_settings_that_can_never_work_are_refused_at_once() {
    let authority = Authority::new("authority");
    let (one, two) = (authority.issue(&["a"]), authority.issue(&["b"]));
    for (tls, expected) in [
        (
            TlsConfig { ca: Some(pem("no certificate")), ..TlsConfig::default() },
            "ca: no PEM certificate in it",
        ),
        (
            TlsConfig { cert: Some(pem(&one.cert)), key: Some(inline("no key")), ..trusting(&authority) },
            "key: no PEM private key in it",
        ),
        (
            TlsConfig { cert: Some(pem(&one.cert)), key: Some(inline(&two.key)), ..trusting(&authority) },
            "cert and key: ",
        ),
        (
            TlsConfig { cert: Some(pem(&one.cert)), ..trusting(&authority) },
            "key: missing, since cert is given",
        ),
    ] {
        let error = HttpClient::new(&with(tls), options(), resolver()).unwrap_err();
        let text = outrigger_model::fault::chain(&error);
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("BEGIN"), "{text}");
    }
}
