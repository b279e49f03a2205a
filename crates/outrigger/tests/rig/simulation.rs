//! The simulated API server answers as the real one does, request by request.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use outrigger_model::fault::Blame;
use outrigger_model::http::{HttpClientConfig, PemSource, TlsConfig};
use outrigger_rt::http::{BodyReader, ClientOptions, HttpClient, HttpRequest};
use outrigger_rt::resolver::{Resolver, ResolverOptions};
use outrigger_sim::api_server::{ApiServer, ApiServerOptions};
use outrigger_sim::population::{Population, PopulationOptions};
use outrigger_sim::store::Store;
use outrigger_wire::kubernetes::ResourceKind;
use outrigger_wire::kubernetes::{
    INITIAL_EVENTS_END, ListDecoder, ListLimits, Status, WatchEventKind, WatchFrames, decode_envelope,
    decode_watch_event, object_meta,
};
use tokio::time::Instant;
use xtask::rig::{Component, FillPlan, Options, Rig, User};

use crate::left_out;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const METADATA: &str = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
const WATCH: &str = "application/vnd.kubernetes.protobuf;stream=watch";
/// Frames read of a stream, at most.
const FRAMES: usize = 400;

/// A request of which both answers are compared.
struct Case {
    path: &'static str,
    accept: &'static str,
}

const fn list(path: &'static str) -> Case {
    Case { path, accept: PROTOBUF }
}

const fn watch(path: &'static str) -> Case {
    Case { path, accept: WATCH }
}

const CASES: &[Case] = &[
    list("/api/v1/pods"),
    list("/api/v1/pods?limit=7"),
    list("/api/v1/pods?resourceVersion=0"),
    list("/api/v1/pods?resourceVersion=0&resourceVersionMatch=NotOlderThan"),
    list("/api/v1/pods?resourceVersionMatch=NotOlderThan"),
    list("/api/v1/pods?resourceVersion=0&resourceVersionMatch=Exact"),
    list("/api/v1/pods?resourceVersion=0&resourceVersionMatch=Nonsense"),
    list("/api/v1/pods?sendInitialEvents=true"),
    list("/api/v1/pods?resourceVersion=nonsense"),
    list("/api/v1/pods?resourceVersion=99999999999"),
    list("/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-00000,status.phase!%3DFailed"),
    list("/api/v1/pods?fieldSelector=spec.nonsense%3Da"),
    list("/api/v1/pods?labelSelector=app%3D(("),
    list("/api/v1/pods?labelSelector=nonexistent"),
    list("/api/v1/namespaces/nonexistent/pods"),
    list("/api/v1/nodes"),
    Case { path: "/api/v1/pods?limit=3", accept: METADATA },
    Case { path: "/apis/apps/v1/replicasets", accept: METADATA },
    Case { path: "/api/v1/pods", accept: "application/vnd.nonsense" },
    watch(
        "/api/v1/nodes?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=2",
    ),
    watch(
        "/api/v1/nodes?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1",
    ),
    watch("/api/v1/nodes?watch=true&sendInitialEvents=true&timeoutSeconds=1"),
    watch("/api/v1/nodes?watch=true&resourceVersionMatch=NotOlderThan&resourceVersion=0&timeoutSeconds=1"),
    watch("/api/v1/nodes?watch=true&resourceVersion=0&timeoutSeconds=1"),
    watch("/api/v1/nodes?watch=true&timeoutSeconds=1"),
    watch(
        "/api/v1/pods?watch=true&resourceVersion=0&fieldSelector=spec.nodeName%3Dnode-00001&timeoutSeconds=1",
    ),
    Case {
        path: "/api/v1/nodes?watch=true&resourceVersion=0&timeoutSeconds=1",
        accept: "application/vnd.kubernetes.protobuf;stream=watch;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
    },
];

/// One of the two servers.
struct Server {
    url: String,
    token: String,
    client: HttpClient,
}

impl Server {
    fn new(url: String, token: &str, authority: &str) -> Self {
        let tls = TlsConfig { ca: Some(PemSource::Inline(authority.to_owned())), ..TlsConfig::default() };
        let config = HttpClientConfig { tls, ..HttpClientConfig::default() };
        let options = ClientOptions::new("comparison", "comparison", Blame::Cluster);
        let client = HttpClient::new(&config, options, Resolver::new(ResolverOptions::default())).unwrap();
        Self { url, token: token.trim().to_owned(), client }
    }

    async fn get(&self, path: &str, accept: &str, token: &str) -> (u16, String, BodyReader) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
        let url = format!("{}{path}", self.url);
        let request = HttpRequest {
            method: Method::GET,
            url: &url,
            headers,
            body: bytes::Bytes::new(),
            deadline: Instant::now() + Duration::from_secs(20),
        };
        let response = self.client.send(request).await.unwrap();
        let media_type =
            response.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
        (response.status.as_u16(), media_type, response.body)
    }

    /// What is compared of an answer, as text.
    async fn facts(&self, case: &Case) -> String {
        let (status, media_type, body) = self.get(case.path, case.accept, &self.token).await;
        let facts = if status != 200 {
            refusal(&body.read_all(1 << 20).await.unwrap())
        } else if case.path.contains("watch=true") {
            stream(body).await
        } else {
            list_facts(&body.read_all(64 << 20).await.unwrap())
        };
        format!("{status} {media_type} {facts}")
    }
}

fn refusal(body: &[u8]) -> String {
    match decode_envelope(body) {
        Ok(envelope) => {
            let status = Status::decode(envelope.raw).unwrap();
            let retry = status.retry_after_seconds.is_some();
            format!("{} {} {} retry-after {retry}", envelope.kind, status.code, status.reason)
        }
        Err(_) => format!("not protobuf, {}", if body.starts_with(b"{") { "JSON" } else { "text" }),
    }
}

fn list_facts(body: &[u8]) -> String {
    let mut decoder = ListDecoder::new(ListLimits::default());
    decoder.push(body);
    let mut items = 0;
    while decoder.next_item().unwrap().is_some() {
        items += 1;
    }
    let end = decoder.finish().unwrap();
    let version = end.meta.resource_version.parse::<u64>().is_ok();
    let more = !end.meta.continue_token.is_empty();
    // How many objects there are differs between the clusters; whether there are some, and on which page, does not.
    let some = if more { items.to_string() } else { (items > 0).to_string() };
    format!(
        "{} {} some {some} version {version} more {more} remaining {}",
        end.api_version,
        end.kind,
        end.meta.remaining.is_some()
    )
}

async fn stream(mut body: BodyReader) -> String {
    let mut frames = WatchFrames::new(WatchFrames::DEFAULT_LIMIT);
    let mut facts: Vec<String> = Vec::new();
    let mut seen = 0;
    while let Ok(Some(chunk)) = body.chunk().await {
        frames.push(&chunk);
        while let Some(frame) = frames.next_frame().unwrap() {
            let event = decode_watch_event(frame).unwrap();
            let mut fact = format!("{:?} {} {}", event.kind, event.object.api_version, event.object.kind);
            if event.kind == WatchEventKind::Bookmark {
                let meta = object_meta(event.object.raw).unwrap();
                fact.push_str(&format!(
                    " end {:?} version {}",
                    meta.annotation(INITIAL_EVENTS_END),
                    !meta.resource_version.is_empty()
                ));
            }
            if facts.last() != Some(&fact) {
                facts.push(fact);
            }
            seen += 1;
            if seen == FRAMES {
                return facts.join(", ");
            }
        }
    }
    facts.join(", ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_simulated_api_server_answers_as_the_real_one() {
    if left_out("the comparison of the simulated API server with the real one") {
        return;
    }
    let rig = Rig::up(&[Component::KubeApiserver, Component::Kwok], Options::default()).await.unwrap();
    rig.fill(&FillPlan { nodes: 3, pods: 30, ..FillPlan::default() }).await.unwrap();
    let token = std::fs::read_to_string(rig.token_file(User::Outrigger)).unwrap();
    let authority = std::fs::read_to_string(rig.authority_file()).unwrap();
    let real = Server::new(rig.apiserver_url().unwrap().to_owned(), &token, &authority);

    let store = Arc::new(Store::new());
    let options = PopulationOptions { nodes: 3, pods: 30, port: 9 };
    let _population = Population::create(options, store.clone(), Arc::default(), 1_700_000_000);
    let api_server = ApiServer::start(store, ApiServerOptions::default()).await.unwrap();
    let simulated = Server::new(api_server.url(), "simulated", api_server.certificate_pem());

    let mut different = Vec::new();
    for case in CASES {
        let (expected, got) = (real.facts(case).await, simulated.facts(case).await);
        println!("{} [{}]\n  {expected}", case.path, case.accept);
        if expected != got {
            different
                .push(format!("{} [{}]\n  real      {expected}\n  simulated {got}", case.path, case.accept));
        }
    }
    for (server, name) in [(&real, "real"), (&simulated, "simulated")] {
        let (status, _, body) = server.get("/api/v1/pods", PROTOBUF, "wrong").await;
        let facts = refusal(&body.read_all(1 << 20).await.unwrap());
        assert_eq!((status, facts.as_str()), (401, "Status 401 Unauthorized retry-after false"), "{name}");
    }
    let nobody = std::fs::read_to_string(rig.token_file(User::Nobody)).unwrap();
    let (status, _, body) = real.get("/api/v1/pods", PROTOBUF, nobody.trim()).await;
    let forbidden = (status, refusal(&body.read_all(1 << 20).await.unwrap()));
    api_server.faults().change(|faults| {
        faults.forbidden.insert(ResourceKind::Pod);
    });
    let (status, _, body) = simulated.get("/api/v1/pods", PROTOBUF, "simulated").await;
    assert_eq!((status, refusal(&body.read_all(1 << 20).await.unwrap())), forbidden);
    assert!(different.is_empty(), "{} answers differ:\n{}", different.len(), different.join("\n"));
}
