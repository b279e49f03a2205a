//! How the benchmark talks to its load and its receiver: a few words over HTTP on loopback.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Answers each request by what its path says after the slash; a word without an answer is a 404.
pub(super) async fn serve(
    address: SocketAddr,
    answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
) -> Result<()> {
    let answer = Arc::new(answer);
    serve_with(address, move |request: Request<Incoming>| {
        let answered = answer(request.uri().path().trim_start_matches('/'));
        async move {
            let mut response = Response::new(Full::from(answered.clone().unwrap_or_default()));
            if answered.is_none() {
                *response.status_mut() = StatusCode::NOT_FOUND;
            }
            response
        }
    })
    .await
}

/// An HTTP/1.1 server that runs for as long as the process.
pub(super) async fn serve_with<F, A>(address: SocketAddr, answer: F) -> Result<()>
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let listener = TcpListener::bind(address).await.with_context(|| format!("bind {address}"))?;
    loop {
        let (stream, _) = listener.accept().await.context("accept a connection")?;
        stream.set_nodelay(true).context("set up a connection")?;
        let answer = answer.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answered = answer(request);
                async move { Ok::<_, Infallible>(answered.await) }
            });
            // The peer hung up, which is its right.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
