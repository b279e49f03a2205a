//! The runtime crate against real servers, proxies, certificates and name servers on loopback.

#![allow(clippy::unwrap_used, reason = "helper functions of tests are tests too")]

#[path = "rt/auth.rs"]
mod auth;
#[path = "rt/cloud.rs"]
mod cloud;
#[path = "rt/grpc.rs"]
mod grpc;
#[path = "rt/http.rs"]
mod http_client;
#[path = "rt/metrics.rs"]
mod metrics;
#[path = "rt/oauth2.rs"]
mod oauth2;
#[path = "rt/proxy.rs"]
mod proxy;
#[path = "rt/redirect.rs"]
mod redirect;
#[path = "rt/resolver.rs"]
mod resolver;
#[path = "rt/server.rs"]
mod server;
#[path = "rt/supervisor.rs"]
mod supervisor;
#[path = "rt/support.rs"]
mod support;
#[path = "rt/tls.rs"]
mod tls;
