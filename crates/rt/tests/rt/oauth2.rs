//! Tokens: cached, renewed, refused, signed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use outrigger_model::clock::ManualClock;
use outrigger_model::fault::{Blame, Retry};
use outrigger_model::http::{HttpAuth, HttpClientConfig, OAuth2Config, OAuth2Grant, ProxyConfig, TlsConfig};
use outrigger_model::sample::Timestamp;
use outrigger_model::secret::SecretSource;
use outrigger_rt::http::{HttpClient, HttpError};
use serde_json::Value;
use url::form_urlencoded;

use crate::support::*;

fn oauth2(token_url: String, grant: OAuth2Grant) -> OAuth2Config {
    OAuth2Config {
        client_id: "the client".to_owned(),
        grant,
        scopes: Vec::new(),
        token_url,
        endpoint_params: Vec::new(),
        tls: TlsConfig::default(),
        proxy: ProxyConfig::default(),
    }
}

fn with(config: OAuth2Config) -> HttpClientConfig {
    HttpClientConfig { auth: Some(HttpAuth::OAuth2(Box::new(config))), ..HttpClientConfig::default() }
}

fn secret(text: &str) -> OAuth2Grant {
    OAuth2Grant::ClientSecret(Some(inline(text)))
}

/// Hands out `token-1`, `token-2`, …
async fn issuer(expires_in: &'static str) -> TestServer {
    let issued = AtomicUsize::new(0);
    TestServer::start(move |_| {
        let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            let answer = format!(
                r#"{{"access_token":"token-{number}","token_type":"bearer","expires_in":{expires_in}}}"#
            );
            reply(200, &[("content-type", "application/json")], &answer)
        }
    })
    .await
}

fn form(seen: &Seen) -> Vec<(String, String)> {
    form_urlencoded::parse(&seen.body).into_owned().collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn one_token_serves_many_requests() {
    let tokens = issuer("3600").await;
    let server = TestServer::saying("ok").await;
    let config = OAuth2Config {
        scopes: vec!["read".to_owned(), "write".to_owned()],
        endpoint_params: vec![("audience".to_owned(), "metrics".to_owned())],
        ..oauth2(tokens.url("/token"), secret("se:cret"))
    };
    let client = client(&with(config));
    let url = server.url("/");
    let requests = (0..10).map(|_| get_text(&client, &url));
    futures_util::future::join_all(requests).await;
    get_text(&client, &url).await;
    assert!(server.seen().iter().all(|seen| seen.header("authorization") == "Bearer token-1"));
    assert_eq!(tokens.seen().len(), 1);
    let asked = tokens.last();
    assert_eq!(asked.method, http::Method::POST);
    assert_eq!(asked.header("content-type"), "application/x-www-form-urlencoded");
    assert_eq!(asked.header("user-agent"), "outrigger-test/1");
    // "the+client:se%3Acret": both parts are escaped, as in Go.
    assert_eq!(asked.header("authorization"), "Basic dGhlK2NsaWVudDpzZSUzQWNyZXQ=");
    let expected = [("audience", "metrics"), ("grant_type", "client_credentials"), ("scope", "read write")];
    assert_eq!(form(&asked), pairs(&expected));
}

#[tokio::test]
async fn tokens_are_renewed_before_they_expire_and_while_they_serve() {
    let tokens = issuer("1").await;
    let server = TestServer::saying("ok").await;
    let client = client(&with(oauth2(tokens.url("/token"), secret("s"))));
    let url = server.url("/");
    let end = tokio::time::Instant::now() + ample();
    while server.seen().last().is_none_or(|seen| seen.header("authorization") != "Bearer token-3") {
        assert!(tokio::time::Instant::now() < end, "no third token");
        get_text(&client, &url).await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_new_secret_asks_for_a_new_token() {
    let tokens = issuer("\"3600\"").await;
    let server = TestServer::saying("ok").await;
    let files = Files::new();
    let path = files.write("secret", "one");
    let grant = OAuth2Grant::ClientSecret(Some(SecretSource::File(path.clone())));
    let client = client(&with(oauth2(tokens.url("/token"), grant)));
    for (content, token) in
        [("one\n", "Bearer token-1"), ("two\n", "Bearer token-2"), ("two", "Bearer token-2")]
    {
        files.write("secret", content);
        get_text(&client, &server.url("/")).await;
        assert_eq!(server.last().header("authorization"), token);
    }
    std::fs::remove_file(&path).unwrap();
    let error = get(&client, &server.url("/")).await.unwrap_err();
    assert!(chain(&error).contains(path.to_str().unwrap()), "{}", chain(&error));
}

#[tokio::test]
async fn a_token_endpoint_that_wants_the_secret_in_the_form_gets_it_there() {
    let tokens = TestServer::start(|seen| async move {
        if form(&seen).contains(&("client_secret".to_owned(), "s".to_owned())) {
            let answer = "access_token=from-form&token_type=Custom&expires_in=3600";
            reply(200, &[("content-type", "application/x-www-form-urlencoded; charset=utf-8")], answer)
        } else {
            reply(401, &[], r#"{"error":"invalid_client"}"#)
        }
    })
    .await;
    let server = TestServer::saying("ok").await;
    let client = client(&with(oauth2(tokens.url("/token"), secret("s"))));
    get_text(&client, &server.url("/")).await;
    assert_eq!(server.last().header("authorization"), "Custom from-form");
    assert!(!tokens.last().headers.contains_key("authorization"));
    let expected =
        [("client_id", "the client"), ("client_secret", "s"), ("grant_type", "client_credentials")];
    assert_eq!(form(&tokens.last()), pairs(&expected));
}

#[tokio::test]
async fn a_refusal_is_told_in_the_endpoints_words_and_not_repeated_by_everyone() {
    let tokens = TestServer::start(|_| async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        reply(400, &[], r#"{"error":"invalid_scope","error_description":"no such scope"}"#)
    })
    .await;
    let server = TestServer::saying("ok").await;
    let client = client(&with(oauth2(tokens.url("/token?key=hidden"), secret("secret"))));
    let url = server.url("/");
    let requests = (0..10).map(|_| get(&client, &url));
    for result in futures_util::future::join_all(requests).await {
        let error = result.unwrap_err();
        let text = chain(&error);
        assert_eq!(
            text,
            format!(
                "get an access token for {}: token endpoint answered 400: invalid_scope: no such scope",
                server.address
            )
        );
        assert!(!format!("{error:?}").contains("secret"));
        assert_eq!((error.blame(), error.retry()), (Blame::Remote, Retry::Backoff));
    }
    assert!(server.seen().is_empty());
    // Once with the secret in the header, once in the form.
    assert_eq!(tokens.seen().len(), 2);
}

#[tokio::test]
async fn answers_without_a_token_are_errors() {
    for (answer, expected) in [
        ("{}", "no access_token in it"),
        ("<html>", "neither JSON nor a form"),
        (r#"{"access_token":"a\nb"}"#, "characters that no header may have"),
        (r#"{"error":"temporarily_unavailable"}"#, "temporarily_unavailable"),
    ] {
        let tokens = TestServer::saying(answer).await;
        let server = TestServer::saying("ok").await;
        let client = client(&with(oauth2(tokens.url("/"), secret("s"))));
        // `text/plain` and the like would be read as a form.
        let error = get(&client, &server.url("/")).await.unwrap_err();
        assert!(chain(&error).contains(expected), "{}", chain(&error));
    }
    let gone = TestServer::saying("").await;
    let url = gone.url("/");
    drop(gone);
    let error = get(&client(&with(oauth2(url, secret("s")))), "http://127.0.0.1:1/").await.unwrap_err();
    assert!(matches!(error, HttpError::Auth { .. }), "{error:?}");
    assert!(chain(&error).contains("request a token"), "{}", chain(&error));
}

#[tokio::test]
async fn an_assertion_is_signed_with_the_key() {
    use rustls::SignatureScheme;
    let tokens = issuer("3600").await;
    let server = TestServer::saying("ok").await;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    for (name, scheme) in [
        ("RS256", SignatureScheme::RSA_PKCS1_SHA256),
        ("RS384", SignatureScheme::RSA_PKCS1_SHA384),
        ("RS512", SignatureScheme::RSA_PKCS1_SHA512),
    ] {
        let grant = OAuth2Grant::JwtBearer {
            key: Some(inline(&key.serialize_pem())),
            key_id: Some("key 7".to_owned()),
            algorithm: name.to_owned(),
            issuer: None,
            audience: Some("the provider".to_owned()),
            claims: Some(r#"{"tenant":"blue"}"#.to_owned()),
        };
        let config =
            OAuth2Config { scopes: vec!["a".into(), "b".into()], ..oauth2(tokens.url("/token"), grant) };
        let mut options = options();
        options.clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_700_000_000_500)));
        let client = HttpClient::new(&with(config), options, resolver()).unwrap();
        get_text(&client, &server.url("/")).await;
        let asked = form(&tokens.last());
        assert_eq!(
            asked[1],
            ("grant_type".to_owned(), "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned())
        );
        assert_eq!((asked.len(), asked[0].0.as_str()), (2, "assertion"));
        let (signed, signature) = asked[0].1.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let algorithms = provider.signature_verification_algorithms.mapping;
        let (_, algorithms) = algorithms.iter().find(|(candidate, _)| *candidate == scheme).unwrap();
        assert!(algorithms.iter().any(|algorithm| {
            algorithm.verify_signature(key.public_key_raw(), signed.as_bytes(), &signature).is_ok()
        }));
        let (header, claims) = signed.split_once('.').unwrap();
        let decode = |part| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        assert_eq!(decode(header), serde_json::json!({"alg": name, "typ": "JWT", "kid": "key 7"}));
        let mut claims = decode(claims);
        assert_eq!(claims["jti"].as_str().unwrap().len(), 32);
        claims["jti"].take();
        let expected = serde_json::json!({
            "iss": "the client", "sub": "the client", "aud": "the provider", "scope": "a b", "tenant": "blue",
            "iat": 1_700_000_000, "exp": 1_700_000_600, "jti": null,
        });
        assert_eq!(claims, expected);
    }
}

#[tokio::test]
async fn settings_that_can_never_work_are_refused_at_once() {
    let jwt = |algorithm: &str, claims: Option<&str>| OAuth2Grant::JwtBearer {
        key: None,
        key_id: None,
        algorithm: algorithm.to_owned(),
        issuer: None,
        audience: None,
        claims: claims.map(str::to_owned),
    };
    let url = || "http://127.0.0.1:1/".to_owned();
    for (config, expected) in [
        (oauth2("no url".to_owned(), secret("s")), "token_url"),
        (oauth2(url(), jwt("ES256", None)), "signature_algorithm"),
        (oauth2(url(), jwt("RS256", Some("[]"))), "claims"),
        (
            OAuth2Config {
                scopes: vec!["a".into()],
                endpoint_params: vec![("scope".into(), "b".into())],
                ..oauth2(url(), secret("s"))
            },
            "endpoint_params",
        ),
    ] {
        let error = HttpClient::new(&with(config), options(), resolver()).unwrap_err();
        let text = outrigger_model::fault::chain(&error);
        assert!(text.contains(expected), "{text}");
    }
    let bad_key = OAuth2Grant::JwtBearer {
        key: Some(inline("no key")),
        key_id: None,
        algorithm: "RS256".to_owned(),
        issuer: None,
        audience: None,
        claims: None,
    };
    let error = get(&client(&with(oauth2(url(), bad_key))), "http://127.0.0.1:1/").await.unwrap_err();
    assert!(
        chain(&error).ends_with("sign the assertion: the key is not a PEM private key"),
        "{}",
        chain(&error)
    );
}
