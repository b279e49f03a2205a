//! Real etcd processes.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use outrigger_control::store::StateStore as _;

use crate::{eventually, store};

/// An etcd cluster on loopback, killed when it is dropped.
pub(crate) struct Members {
    directory: tempfile::TempDir,
    members: Vec<Member>,
    scheme: &'static str,
}

struct Member {
    arguments: Vec<String>,
    client: u16,
    child: Option<Child>,
}

impl Members {
    /// Starts this many, and waits until they serve.
    pub(crate) async fn start(count: usize) -> Self {
        Self::start_with(count, &[]).await
    }

    pub(crate) async fn start_with(count: usize, further: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ports: Vec<(u16, u16)> = (0..count).map(|_| (free_port(), free_port())).collect();
        let cluster: Vec<String> =
            ports.iter().map(|(_, peer)| format!("m{peer}=http://127.0.0.1:{peer}")).collect();
        let mut members = Vec::new();
        for (client, peer) in ports {
            let mut arguments = vec![
                format!("--name=m{peer}"),
                format!("--data-dir={}", directory.path().join(format!("m{peer}")).display()),
                format!("--listen-client-urls=http://127.0.0.1:{client}"),
                format!("--advertise-client-urls=http://127.0.0.1:{client}"),
                format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
                format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
                format!("--initial-cluster={}", cluster.join(",")),
                "--heartbeat-interval=100".to_owned(),
                "--election-timeout=1000".to_owned(),
                "--unsafe-no-fsync".to_owned(),
                "--log-level=warn".to_owned(),
            ];
            arguments.extend(further.iter().map(|argument| (*argument).to_owned()));
            members.push(Member { arguments, client, child: None });
        }
        let mut cluster = Self { directory, members, scheme: "http" };
        for index in 0..count {
            cluster.start_member(index);
        }
        let store = store(cluster.endpoints());
        eventually("the start of etcd", async || store.get("x").await.is_ok()).await;
        cluster
    }

    /// One member that serves clients over TLS alone, and wants certificates of theirs.
    pub(crate) async fn start_tls(cert: &Path, key: &Path, ca: &Path, client: &(PathBuf, PathBuf)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (port, peer) = (free_port(), free_port());
        let arguments = vec![
            format!("--data-dir={}", directory.path().join("data").display()),
            format!("--listen-client-urls=https://127.0.0.1:{port}"),
            format!("--advertise-client-urls=https://127.0.0.1:{port}"),
            format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
            format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
            format!("--initial-cluster=default=http://127.0.0.1:{peer}"),
            format!("--cert-file={}", cert.display()),
            format!("--key-file={}", key.display()),
            format!("--trusted-ca-file={}", ca.display()),
            "--client-cert-auth".to_owned(),
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ];
        let member = Member { arguments, client: port, child: None };
        let mut cluster = Self { directory, members: vec![member], scheme: "https" };
        cluster.start_member(0);
        let url = format!("{}/health", cluster.endpoint(0));
        eventually("the start of etcd", async || {
            let (cert, key) = client;
            let mut curl = Command::new("curl");
            curl.args(["-sf", &url, "--cacert"]).arg(ca).arg("--cert").arg(cert).arg("--key").arg(key);
            curl.stdout(Stdio::null()).status().unwrap().success()
        })
        .await;
        cluster
    }

    pub(crate) fn endpoints(&self) -> Vec<String> {
        (0..self.members.len()).map(|index| self.endpoint(index)).collect()
    }

    pub(crate) fn endpoint(&self, index: usize) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.members[index].client)
    }

    pub(crate) fn port(&self, index: usize) -> u16 {
        self.members[index].client
    }

    pub(crate) fn start_member(&mut self, index: usize) {
        let log = File::create(self.directory.path().join(format!("{index}.log"))).unwrap();
        let member = &mut self.members[index];
        let child = Command::new(binary()).args(&member.arguments).stdout(Stdio::null()).stderr(log).spawn();
        member.child = Some(child.unwrap());
    }

    pub(crate) fn kill(&mut self, index: usize) {
        if let Some(mut child) = self.members[index].child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The process stands still; its connections stay open.
    pub(crate) fn pause(&self, index: usize) {
        self.signal(index, "-STOP");
    }

    pub(crate) fn resume(&self, index: usize) {
        self.signal(index, "-CONT");
    }

    fn signal(&self, index: usize, signal: &str) {
        let id = self.members[index].child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        for index in 0..self.members.len() {
            self.kill(index);
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn binary() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = variable("OUTRIGGER_RIG_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("outrigger-rig")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/outrigger-rig")))
        .unwrap();
    let is_etcd =
        |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("etcd-"));
    let mut found: Vec<PathBuf> = std::fs::read_dir(cache.join("bin"))
        .expect("cargo xtask rig build etcd")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_etcd(path))
        .collect();
    found.sort();
    found.pop().expect("cargo xtask rig build etcd")
}
