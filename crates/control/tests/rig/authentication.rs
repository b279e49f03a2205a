//! etcd with users, and with certificates.

use std::process::Command;

use outrigger_control::store::{EtcdLogin, EtcdStore, StateStore as _};
use outrigger_model::http::{HttpClientConfig, PemSource, TlsConfig};
use outrigger_model::secret::{Secret, SecretSource};
use outrigger_rt::resolver::{Resolver, ResolverOptions};

use crate::members::Members;
use crate::{left_out, options, put, store};

/// By etcd's JSON gateway.
fn post(endpoint: &str, path: &str, body: &str, token: Option<&str>) -> String {
    let mut curl = Command::new("curl");
    curl.args(["-sf", "-X", "POST", "-d", body, &format!("{endpoint}{path}")]);
    if let Some(token) = token {
        curl.args(["-H", &format!("Authorization: {token}")]);
    }
    let done = curl.output().unwrap();
    assert!(done.status.success(), "{path}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

fn logged_in(endpoint: &str, user: &str, password: SecretSource) -> EtcdStore {
    let login = Some(EtcdLogin { user: user.to_owned(), password });
    let options = outrigger_control::store::EtcdOptions { login, ..options(vec![endpoint.to_owned()]) };
    EtcdStore::new(options, &Resolver::new(ResolverOptions::default())).unwrap()
}

#[tokio::test]
async fn users_log_in_and_again_when_their_token_is_not_valid_any_more() {
    if left_out("users_log_in_and_again_when_their_token_is_not_valid_any_more") {
        return;
    }
    // Tokens live for a second without use.
    let mut members = Members::start_with(1, &["--auth-token-ttl=1"]).await;
    let endpoint = members.endpoint(0);
    post(&endpoint, "/v3/auth/user/add", r#"{"name":"root","password":"secret"}"#, None);
    post(&endpoint, "/v3/auth/role/add", r#"{"name":"root"}"#, None);
    post(&endpoint, "/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#, None);
    post(&endpoint, "/v3/auth/enable", "{}", None);

    let error = store(vec![endpoint.clone()]).get("a").await.unwrap_err();
    let text = outrigger_model::fault::chain(&error);
    assert!(text.contains("user name is empty"), "{text}");

    let inline = |text: &str| SecretSource::Inline(Secret::new(text));
    let error = logged_in(&endpoint, "root", inline("wrong")).get("a").await.unwrap_err();
    let text = outrigger_model::fault::chain(&error);
    assert!(text.contains("invalid user ID or password") && !text.contains("wrong"), "{text}");

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    let store = logged_in(&endpoint, "root", SecretSource::File(file.clone()));
    let error = store.get("a").await.unwrap_err();
    let text = outrigger_model::fault::chain(&error);
    assert!(text.contains(file.to_str().unwrap()), "{text}");
    std::fs::write(&file, "secret\n").unwrap();
    store.commit(None, vec![put("a", "1")]).await.unwrap();
    // A member that starts anew knows no token, and users may change.
    members.kill(0);
    members.start_member(0);
    crate::eventually("a value after the restart", async || store.get("a").await.is_ok()).await;
    let answer = post(&endpoint, "/v3/auth/authenticate", r#"{"name":"root","password":"secret"}"#, None);
    let token = answer.split("\"token\":\"").nth(1).unwrap().split('"').next().unwrap();
    post(&endpoint, "/v3/auth/user/add", r#"{"name":"other","password":"x"}"#, Some(token));
    store.commit(None, vec![put("a", "2")]).await.unwrap();
    assert_eq!(store.get("a").await.unwrap().unwrap().value, "2");
}

fn pem(files: &tempfile::TempDir, name: &str, text: &str) -> std::path::PathBuf {
    let path = files.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn members_are_reached_over_tls_with_client_certificates() {
    if left_out("members_are_reached_over_tls_with_client_certificates") {
        return;
    }
    let files = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "authority");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = pem(&files, "ca", &params.self_signed(&key).unwrap().pem());
    let issuer = rcgen::Issuer::new(params, key);
    let issue = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params =
            rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.extended_key_usages =
            vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth, rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let cert = params.signed_by(&key, &issuer).unwrap().pem();
        (pem(&files, name, &cert), pem(&files, &format!("{name}.key"), &key.serialize_pem()))
    };
    let (server, client) = (issue("server"), issue("client"));
    let members = Members::start_tls(&server.0, &server.1, &ca, &client).await;
    let with = |tls: TlsConfig| {
        let http = HttpClientConfig { tls, ..HttpClientConfig::default() };
        let options = outrigger_control::store::EtcdOptions { http, ..options(members.endpoints()) };
        EtcdStore::new(options, &Resolver::new(ResolverOptions::default())).unwrap()
    };
    let trusting = TlsConfig { ca: Some(PemSource::File(ca.clone())), ..TlsConfig::default() };
    let presenting = TlsConfig {
        cert: Some(PemSource::File(client.0.clone())),
        key: Some(SecretSource::File(client.1.clone())),
        ..trusting.clone()
    };
    let store = with(presenting);
    let leadership =
        store.campaign(&crate::candidate("one"), std::time::Duration::from_secs(3)).await.unwrap();
    store.commit(Some(&leadership.fence), vec![put("a", "1")]).await.unwrap();
    leadership.resign().await;
    for (tls, expected) in [
        (trusting, "refuses this side's certificate"),
        (TlsConfig::default(), "certificate signed by unknown authority"),
    ] {
        let error = with(tls).get("a").await.unwrap_err();
        let text = outrigger_model::fault::chain(&error);
        assert!(text.contains(expected), "{text}");
    }
}
