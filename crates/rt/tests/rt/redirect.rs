//! Redirects as Go's `http.Client` follows them.

use http::Method;
use outrigger_model::http::{BasicUsername, HeaderConfig, HttpAuth, HttpClientConfig};
use outrigger_rt::http::{HttpError, HttpRequest, RedirectError};

use crate::support::*;

/// `/<status>/<rest>` redirects to `/<rest>`; `/end` ends.
async fn redirecting_server() -> TestServer {
    TestServer::start(|seen| async move {
        let path = seen.uri.trim_start_matches('/');
        match path.split_once('/') {
            Some((status, rest)) => {
                reply(status.parse().unwrap(), &[("location", &format!("/{rest}"))], "moved")
            }
            None => reply(200, &[], "end"),
        }
    })
    .await
}

#[tokio::test]
async fn methods_and_bodies_follow_the_rules_of_go() {
    let server = redirecting_server().await;
    for (path, method, end_method, end_body) in [
        ("/301/end", Method::GET, Method::GET, ""),
        ("/301/end", Method::POST, Method::GET, ""),
        ("/302/end", Method::POST, Method::GET, ""),
        ("/303/end", Method::PUT, Method::GET, ""),
        ("/302/end", Method::HEAD, Method::HEAD, ""),
        ("/307/end", Method::POST, Method::POST, "body"),
        ("/308/307/end", Method::PUT, Method::PUT, "body"),
        ("/307/302/307/end", Method::POST, Method::GET, ""),
    ] {
        let url = server.url(path);
        let mut wanted = HttpRequest { method: method.clone(), ..request(&url) };
        if ![Method::GET, Method::HEAD].contains(&method) {
            wanted.body = "body".into();
            wanted.headers.insert("content-type", "text/plain".parse().unwrap());
        }
        wanted.headers.insert("accept", "text/plain".parse().unwrap());
        let response = plain_client().send(wanted).await.unwrap();
        assert_eq!(response.status, 200);
        assert_eq!(response.final_url, server.url("/end"));
        let seen = server.last();
        assert_eq!((&seen.method, &seen.body[..]), (&end_method, end_body.as_bytes()), "{path} {method}");
        assert_eq!(seen.headers.contains_key("content-type"), !end_body.is_empty(), "{path} {method}");
        assert_eq!(seen.header("accept"), "text/plain");
        assert!(!seen.headers.contains_key("referer"));
    }
}

#[tokio::test]
async fn ten_redirects_are_followed_and_not_more_on_one_connection() {
    let server = redirecting_server().await;
    let client = plain_client();
    let url = server.url(&format!("{}/end", "/302".repeat(10)));
    assert_eq!(get_text(&client, &url).await, "end");
    assert_eq!(server.accepted(), 1);

    let endless = TestServer::start(|_| async { reply(302, &[("location", "/again")], "") }).await;
    let error = get(&client, &endless.url("/")).await.unwrap_err();
    assert!(matches!(error, HttpError::Redirect { source: RedirectError::TooMany(10), .. }), "{error:?}");
    assert_eq!(
        chain(&error),
        format!("follow the redirect of {}: stopped after 10 redirects", endless.address)
    );
    assert_eq!(endless.seen().len(), 11);
}

#[tokio::test]
async fn without_following_the_redirect_is_the_response() {
    let server = redirecting_server().await;
    let config = HttpClientConfig { follow_redirects: false, ..HttpClientConfig::default() };
    let response = get(&client(&config), &server.url("/302/end")).await.unwrap();
    assert_eq!(response.status, 302);
    assert_eq!(response.headers["location"], "/end");
    assert_eq!(text(response).await, "moved");
}

#[tokio::test]
async fn redirects_that_lead_nowhere() {
    let server = TestServer::start(|seen| async move {
        match seen.uri.as_str() {
            "/none" => reply(302, &[], "no location"),
            "/304" => reply(304, &[("location", "/end")], ""),
            "/scheme" => reply(302, &[("location", "ftp://host/?secret")], ""),
            "/broken" => reply(302, &[("location", "http://[")], ""),
            _ => reply(200, &[], "end"),
        }
    })
    .await;
    let client = plain_client();
    for (path, status) in [("/none", 302), ("/304", 304)] {
        assert_eq!(get(&client, &server.url(path)).await.unwrap().status, status);
    }
    for path in ["/scheme", "/broken"] {
        let error = get(&client, &server.url(path)).await.unwrap_err();
        assert!(matches!(error, HttpError::Redirect { source: RedirectError::Location(_), .. }), "{error:?}");
        assert!(!chain(&error).contains("secret"));
    }
}

#[tokio::test]
async fn credentials_and_configured_headers_stay_with_their_host() {
    let auth = HttpAuth::Basic {
        username: BasicUsername::Inline("user".to_owned()),
        password: Some(inline("pass")),
    };
    let config = HttpClientConfig {
        auth: Some(auth),
        headers: vec![HeaderConfig { name: "X-Key".to_owned(), values: vec![inline("secret")] }],
        ..HttpClientConfig::default()
    };
    let last = TestServer::saying("end").await;
    let home = last.url("/back");
    let away = TestServer::start(move |_| {
        let home = home.clone();
        async move { reply(307, &[("location", &home)], "") }
    })
    .await;
    // Another port of the same host is the same host, as for Go.
    let port = last.url("/port");
    // The same server under another name is another host.
    let name = away.url_as("localhost", "/name");
    let first = TestServer::start(move |seen| {
        let location = if seen.uri == "/port" { port.clone() } else { name.clone() };
        async move { reply(307, &[("location", &location)], "") }
    })
    .await;

    let client = client(&config);
    let url = first.url("/port");
    let mut wanted = request(&url);
    wanted.headers.insert("cookie", "own".parse().unwrap());
    client.send(wanted).await.unwrap();
    let seen = last.last();
    assert_eq!(seen.header("authorization"), "Basic dXNlcjpwYXNz");
    assert_eq!((seen.header("x-key"), seen.header("cookie")), ("secret", "own"));
    assert_eq!(seen.header("host"), last.address.to_string());

    let url = first.url("/name");
    let mut wanted = request(&url);
    wanted.headers.insert("cookie", "own".parse().unwrap());
    wanted.headers.insert("accept", "kept".parse().unwrap());
    assert_eq!(text(client.send(wanted).await.unwrap()).await, "end");
    assert!(first.last().headers.contains_key("authorization"));
    // Neither to the other host nor, once lost, back to the first one.
    for seen in [away.last(), last.last()] {
        for header in ["authorization", "x-key", "cookie"] {
            assert!(!seen.headers.contains_key(header), "{header} {seen:?}");
        }
        assert_eq!(seen.header("accept"), "kept");
    }
}
