//! etcd with users.

use std::process::Command;

use outrigger_control::store::{EtcdLogin, EtcdStore, StateStore as _};
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
