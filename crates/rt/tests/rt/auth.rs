//! Authentication headers.

use outrigger_model::fault::Blame;
use outrigger_model::http::{BasicUsername, HeaderConfig, HttpAuth, HttpClientConfig};
use outrigger_model::secret::SecretSource;
use outrigger_rt::http::{HttpError, HttpParts};
use tokio::time::Instant;

use crate::support::*;

fn with(auth: HttpAuth) -> HttpClientConfig {
    HttpClientConfig { auth: Some(auth), ..HttpClientConfig::default() }
}

fn authorization(scheme: &str, credentials: Option<SecretSource>) -> HttpAuth {
    HttpAuth::Authorization { scheme: scheme.to_owned(), credentials }
}

#[tokio::test]
async fn every_kind_sends_its_header() {
    let server = TestServer::saying("ok").await;
    let files = Files::new();
    let user = files.write("user", " aladdin\n");
    let password = files.write("password", "open sesame\n");
    let token = files.write("token", "t0ken\n");
    let inline_user = || BasicUsername::Inline("aladdin".to_owned());
    for (auth, expected) in [
        (
            HttpAuth::Basic { username: inline_user(), password: Some(inline("open sesame")) },
            "Basic YWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        ),
        (
            HttpAuth::Basic {
                username: BasicUsername::File(user),
                password: Some(SecretSource::File(password)),
            },
            "Basic YWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        ),
        (HttpAuth::Basic { username: inline_user(), password: None }, "Basic YWxhZGRpbjo="),
        (authorization("Bearer", Some(inline("t0ken"))), "Bearer t0ken"),
        (authorization("Bearer", Some(SecretSource::File(token))), "Bearer t0ken"),
        (authorization("Token", Some(inline("abc"))), "Token abc"),
    ] {
        get(&client(&with(auth)), &server.url("/")).await.unwrap();
        assert_eq!(server.last().header("authorization"), expected);
    }
    get(&client(&with(authorization("Custom", None))), &server.url("/")).await.unwrap();
    assert_eq!(server.last().header("authorization").trim_end(), "Custom");
    get(&plain_client(), &server.url("/")).await.unwrap();
    assert!(!server.last().headers.contains_key("authorization"));
}

#[tokio::test]
async fn credentials_files_are_read_at_each_use() {
    let server = TestServer::saying("ok").await;
    let files = Files::new();
    let path = files.path("token");
    let client = client(&with(authorization("Bearer", Some(SecretSource::File(path.clone())))));
    let error = get(&client, &server.url("/")).await.unwrap_err();
    let text = chain(&error);
    assert!(matches!(error, HttpError::Credentials { .. }));
    assert!(text.contains(path.to_str().unwrap()) && text.contains("No such file"), "{text}");
    assert_eq!(error.blame(), Blame::Configuration);
    for token in ["first", "other"] {
        files.write("token", token);
        get(&client, &server.url("/")).await.unwrap();
        assert_eq!(server.last().header("authorization"), format!("Bearer {token}"));
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let error = get(&client, &server.url("/")).await.unwrap_err();
    assert!(chain(&error).ends_with("is not a regular file"), "{}", chain(&error));
}

#[tokio::test]
async fn the_callers_header_and_the_urls_user_come_first() {
    let server = TestServer::saying("ok").await;
    let client = client(&with(authorization("Bearer", Some(inline("configured")))));
    let url = server.url("/");
    let mut wanted = request(&url);
    wanted.headers.insert("authorization", "Own value".parse().unwrap());
    client.send(wanted).await.unwrap();
    assert_eq!(server.last().header("authorization"), "Own value");

    let with_user = url.replace("http://", "http://aladdin:open%20sesame@");
    let response = get(&client, &with_user).await.unwrap();
    assert_eq!(server.last().header("authorization"), "Basic YWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_eq!(response.final_url, url);
}

#[tokio::test]
async fn the_parts_of_a_configuration_serve_clients_with_connections_of_their_own() {
    let files = Files::new();
    let token = files.write("token", "first");
    let config = HttpClientConfig {
        headers: vec![HeaderConfig { name: "X-Key".to_owned(), values: vec![inline("key")] }],
        ..with(authorization("Bearer", Some(SecretSource::File(token))))
    };
    let parts = HttpParts::new(&config, &options(), resolver()).unwrap();
    for content in ["first", "second"] {
        files.write("token", content);
        let headers = parts.headers("api.example:6443", Instant::now() + ample()).await.unwrap();
        assert_eq!(headers["authorization"], format!("Bearer {content}"));
        assert!(headers["authorization"].is_sensitive());
        assert_eq!(headers["x-key"], "key");
    }
    std::fs::remove_file(files.path("token")).unwrap();
    let error = parts.headers("api.example:6443", Instant::now() + ample()).await.unwrap_err();
    assert!(
        chain(&error).starts_with("read the credentials for api.example:6443: read file "),
        "{}",
        chain(&error)
    );
}
