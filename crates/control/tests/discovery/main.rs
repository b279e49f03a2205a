//! Discovery as a whole: configurations in, targets out, over real files, sockets and the simulated API server.

mod conformance;
mod engine;
mod files_and_http;
mod kubernetes;
