//! Credentials as kubectl has them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use outrigger_kube::{Cluster, ClusterConnection, ConnectError, ResourceKind};
use outrigger_model::clock::{Clock, ManualClock, SystemClock};
use outrigger_model::http::{BasicUsername, HeaderConfig, HttpAuth, HttpClientConfig, PemSource, TlsConfig};
use outrigger_model::secret::{Secret, SecretSource};

use crate::server::{Authority, Server};
use crate::setup::{kubeconfig, options, status, watch};
use crate::sink::{Rows, until};

const POD: ResourceKind = ResourceKind::Pod;
const PODS: &str = "/api/v1/pods?";

async fn from_kubeconfig(directory: &Path, server: &Server, user: &str) -> Result<Cluster, ConnectError> {
    let path = kubeconfig(directory, server, user);
    Cluster::connect(ClusterConnection::Kubeconfig { path, context: None }, options()).await
}

fn script(directory: &Path, name: &str, content: &str) {
    let path = directory.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{content}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_token_file_is_read_for_every_request() {
    let server = Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "one\n").unwrap();
    let cluster = from_kubeconfig(directory.path(), &server, "tokenFile: token").await.unwrap();
    assert_eq!(cluster.default_namespace(), "team");
    assert_eq!(cluster.server(), server.url());
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    let request = server.next(PODS).await;
    assert_eq!(request.header("authorization"), "Bearer one");
    std::fs::write(&token, "two").unwrap();
    request.refuse(401, "Unauthorized", "Unauthorized");
    let request = server.next(PODS).await;
    assert_eq!(request.header("authorization"), "Bearer two");
    let stream = request.stream_list(&["a"], "10");
    // A file that is gone for a moment does not take the token away.
    std::fs::remove_file(&token).unwrap();
    stream.end();
    let request = server.next(PODS).await;
    assert_eq!(request.header("authorization"), "Bearer two");
    rows.until_pods("a").await;
}

#[tokio::test]
async fn a_kubeconfig_with_a_new_token_is_read_after_401() {
    let server = Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    let cluster = from_kubeconfig(directory.path(), &server, "token: old").await.unwrap();
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    let request = server.next(PODS).await;
    assert_eq!(request.header("authorization"), "Bearer old");
    kubeconfig(directory.path(), &server, "token: new");
    request.refuse(401, "Unauthorized", "Unauthorized");
    until("the error", || status(&cluster, POD).last_error.is_some()).await;
    let error = status(&cluster, POD).last_error.unwrap();
    assert_eq!(error, "list (streamed) pods: 401 Unauthorized: Unauthorized");
    let request = server.next(PODS).await;
    assert_eq!(request.header("authorization"), "Bearer new");
    let _stream = request.stream_list(&["a"], "10");
    rows.until_pods("a").await;
}

#[tokio::test]
async fn an_exec_plugin_gives_a_token_once_and_again_after_401() {
    let server = Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    script(
        directory.path(),
        "plugin",
        r#"echo run >> "$(dirname "$0")/runs"
        n=$(wc -l < "$(dirname "$0")/runs" | tr -d ' ')
        case "$KUBERNETES_EXEC_INFO" in *'"interactive":false'*) ;; *) exit 3;; esac
        echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"'"$1-$FLAVOUR-$n"'"}}'"#,
    );
    let user = "exec:\n  apiVersion: client.authentication.k8s.io/v1\n  command: ./plugin\n  args: [tok]\n  \
                env: [{name: FLAVOUR, value: x}]\n  interactiveMode: IfAvailable";
    let cluster = from_kubeconfig(directory.path(), &server, user).await.unwrap();
    let rows = Rows::new();
    let _watches = [watch(&cluster, POD, &rows), watch(&cluster, ResourceKind::Node, &rows)];
    let nodes = server.next("/api/v1/nodes?").await;
    assert_eq!(nodes.header("authorization"), "Bearer tok-x-1");
    let pods = server.next(PODS).await;
    assert_eq!(pods.header("authorization"), "Bearer tok-x-1", "one run serves all");
    let _nodes = nodes.stream_list(&["n"], "10");
    pods.refuse(401, "Unauthorized", "Unauthorized");
    let pods = server.next(PODS).await;
    assert_eq!(pods.header("authorization"), "Bearer tok-x-2");
    let _pods = pods.stream_list(&["a"], "10");
    rows.until_pods("a").await;
}

#[tokio::test]
async fn an_exec_plugin_that_fails_is_named_with_its_reason() {
    let server = Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    script(directory.path(), "plugin", "echo 'secret output'; echo 'session expired, log in' >&2; exit 7");
    let user = "exec:\n  apiVersion: client.authentication.k8s.io/v1beta1\n  command: ./plugin";
    let cluster = from_kubeconfig(directory.path(), &server, user).await.unwrap();
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    until("the error", || status(&cluster, POD).last_error.is_some()).await;
    let error = status(&cluster, POD).last_error.unwrap();
    assert!(error.contains("exit status: 7: session expired, log in"), "{error}");
    assert!(error.contains("plugin") && !error.contains("secret output"), "{error}");
}

#[tokio::test]
async fn an_exec_plugins_certificate_is_replaced_before_it_ends() {
    let authority = Authority::new();
    let server = Server::start_with(&authority, &[b"h2"]).await;
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let expires = |path: &Path, name: &str| {
        let (certificate, key) = authority.issue(name);
        let escape = |pem: &str| pem.replace('\n', "\\n");
        let credential = format!(
            "{{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{{\
             \"expirationTimestamp\":\"2999-01-01T00:00:00Z\",\
             \"clientCertificateData\":\"{}\",\"clientKeyData\":\"{}\"}}}}",
            escape(&certificate),
            escape(&key)
        );
        std::fs::write(path.join("credential.json"), credential).unwrap();
    };
    expires(directory.path(), "first");
    script(directory.path(), "plugin", r#"cat "$(dirname "$0")/credential.json""#);
    let user = "exec:\n  apiVersion: client.authentication.k8s.io/v1\n  command: ./plugin";
    let path = kubeconfig(directory.path(), &server, user);
    let options = outrigger_kube::ConnectOptions { clock: clock.clone(), ..options() };
    let connection = ClusterConnection::Kubeconfig { path, context: None };
    let cluster = Cluster::connect(connection, options).await.unwrap();
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    let request = server.next(PODS).await;
    let (first, connection) = (request.header("test-client-certificate").to_owned(), request.connection);
    assert_ne!(first, "");
    let stream = request.stream_list(&["a"], "10");
    rows.until_pods("a").await;
    // Still good: the connection stays.
    stream.end();
    let request = server.next(PODS).await;
    assert_eq!(request.connection, connection);
    let stream = request.open_watch_from("10");
    expires(directory.path(), "second");
    let end: jiff::Timestamp = "2999-01-01T00:00:00Z".parse().unwrap();
    clock.set(outrigger_model::sample::Timestamp::from_millis(end.as_millisecond() - 30_000));
    stream.end();
    let request = server.next(PODS).await;
    assert_ne!(request.connection, connection);
    assert_ne!(request.header("test-client-certificate"), first);
    let _stream = request.open_watch_from("10");
}

#[tokio::test]
async fn client_certificate_files_are_read_for_each_connection() {
    let authority = Authority::new();
    let server = Server::start_with(&authority, &[b"h2"]).await;
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let (certificate, key) = authority.issue(name);
        std::fs::write(directory.path().join("client.crt"), certificate).unwrap();
        std::fs::write(directory.path().join("client.key"), key).unwrap();
    };
    write("first");
    let user = "client-certificate: client.crt\nclient-key: client.key";
    let cluster = from_kubeconfig(directory.path(), &server, user).await.unwrap();
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    let request = server.next(PODS).await;
    let first = request.header("test-client-certificate").to_owned();
    assert_ne!(first, "");
    assert_eq!(request.header("authorization"), "");
    let stream = request.stream_list(&["a"], "10");
    rows.until_pods("a").await;
    write("second");
    stream.cut();
    let request = server.next(PODS).await;
    assert_ne!(request.header("test-client-certificate"), first);
    let _stream = request.open_watch_from("10");
}

#[tokio::test]
async fn an_api_server_with_http_settings_is_reached_with_them() {
    let server = Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.crt");
    let credentials = directory.path().join("credentials");
    std::fs::write(&ca, &server.ca_pem).unwrap();
    std::fs::write(&credentials, "first\n").unwrap();
    let basic = HttpAuth::Basic {
        username: BasicUsername::Inline("ann".to_owned()),
        password: Some(SecretSource::Inline(Secret::new("pw"))),
    };
    let bearer = HttpAuth::Authorization {
        scheme: "Bearer".to_owned(),
        credentials: Some(SecretSource::File(credentials.clone())),
    };
    let header = HeaderConfig {
        name: "X-Scope".to_owned(),
        values: vec![SecretSource::Inline(Secret::new("one")), SecretSource::Inline(Secret::new("two"))],
    };
    for (auth, expected) in [(basic, "Basic YW5uOnB3"), (bearer, "Bearer first")] {
        let http = HttpClientConfig {
            auth: Some(auth),
            tls: TlsConfig { ca: Some(PemSource::File(ca.clone())), ..TlsConfig::default() },
            headers: vec![header.clone()],
            ..HttpClientConfig::default()
        };
        let api_server = format!("{}/clusters/c1/", server.url());
        let connection = ClusterConnection::Url { api_server, http: Box::new(http) };
        let cluster = Cluster::connect(connection, options()).await.unwrap();
        let rows = Rows::new();
        let _watch = watch(&cluster, POD, &rows);
        let request = server.next("/clusters/c1/api/v1/pods?").await;
        assert_eq!(request.header("authorization"), expected);
        let scopes: Vec<_> = request.headers.get_all("x-scope").iter().collect();
        assert_eq!(scopes, ["one", "two"]);
        let stream = request.stream_list(&["a"], "10");
        rows.until_pods("a").await;
        if expected == "Bearer first" {
            std::fs::write(&credentials, "second").unwrap();
            stream.end();
            let request = server.next("/clusters/c1/api/v1/pods?").await;
            assert_eq!(request.header("authorization"), "Bearer second");
        }
    }
}

#[tokio::test]
async fn a_server_certificate_of_another_authority_is_refused() {
    let server = Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    let path = kubeconfig(directory.path(), &server, "token: t");
    std::fs::write(directory.path().join("ca.crt"), Authority::new().pem).unwrap();
    let connection = ClusterConnection::Kubeconfig { path, context: None };
    let cluster = Cluster::connect(connection, options()).await.unwrap();
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    until("the error", || status(&cluster, POD).last_error.is_some()).await;
    let error = status(&cluster, POD).last_error.unwrap();
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(server.waiting("/"), 0);
}

#[tokio::test]
async fn what_is_wrong_with_a_kubeconfig_is_said_with_file_and_fix() {
    let server = Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    let path = kubeconfig(directory.path(), &server, "token: t");
    let good = std::fs::read_to_string(&path).unwrap();
    let cases = [
        (good.replace("current-context: main", "current-context: \"\""), None, "it has: main"),
        (good.clone(), Some("prod"), "context \"prod\" does not exist (it has: main)"),
        (good.replace("cluster: c\n", "cluster: other\n"), None, "cluster \"other\" does not exist"),
        (good.replace("user: u\n", "user: other\n"), None, "user \"other\" does not exist"),
        (good.replace("https://", "ftp://"), None, "must start with https:// or http://"),
        (good.replace("ca.crt", "missing.crt"), None, "missing.crt"),
        (
            good.replace("token: t", "client-certificate: none.crt\n    client-key: none.key"),
            None,
            "none.crt",
        ),
        ("clusters: [".to_owned(), None, "is no kubeconfig"),
        (
            good.replace("token: t", "exec: {command: x}"),
            None,
            "apiVersion must be client.authentication.k8s.io/v1",
        ),
        (String::new(), None, "current-context is not set"),
    ];
    for (text, context, expected) in cases {
        std::fs::write(&path, text).unwrap();
        let context = context.map(str::to_owned);
        let connection = ClusterConnection::Kubeconfig { path: path.clone(), context };
        let error = Cluster::connect(connection, options()).await.err().expect(expected).to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.starts_with(&format!("kubeconfig {}: ", path.display())), "{error}");
    }
    let connection = ClusterConnection::Kubeconfig { path: directory.path().join("absent"), context: None };
    let error = Cluster::connect(connection, options()).await.err().unwrap().to_string();
    assert!(error.contains("absent: no such file"), "{error}");
}

/// A proxy that notes what it is asked for and connects to the server whatever that is.
async fn start_proxy(
    target: std::net::SocketAddr,
) -> (std::net::SocketAddr, Arc<parking_lot::Mutex<Vec<String>>>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let log = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let log = log.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                log.lock().push(String::from_utf8(head).unwrap().to_lowercase());
                let mut server = tokio::net::TcpStream::connect(target).await.unwrap();
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, asked)
}

#[tokio::test]
async fn a_proxy_of_the_kubeconfig_is_used() {
    let server = Server::start().await;
    let (proxy, asked) = start_proxy(server.address).await;
    let directory = tempfile::tempdir().unwrap();
    let path = kubeconfig(directory.path(), &server, "token: t");
    let text = std::fs::read_to_string(&path).unwrap();
    // The name is the proxy's to resolve; the certificate is for another one.
    let text = text.replace(
        &format!("server: {}", server.url()),
        &format!("server: https://api.test:6443\n    tls-server-name: localhost\n    proxy-url: http://ann:p%40w@{proxy}"),
    );
    std::fs::write(&path, text).unwrap();
    let connection = ClusterConnection::Kubeconfig { path, context: None };
    let cluster = Cluster::connect(connection, options()).await.unwrap();
    let rows = Rows::new();
    let _watch = watch(&cluster, POD, &rows);
    let _stream = server.next(PODS).await.stream_list(&["a"], "10");
    rows.until_pods("a").await;
    let asked = asked.lock().join("");
    assert!(asked.contains("connect api.test:6443 http/1.1"), "{asked}");
    assert!(asked.contains("proxy-authorization: basic yw5uonbadw=="), "{asked}");
}
