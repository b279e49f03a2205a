//! Runtime parts: HTTP client and server, TLS, resolver, supervisor, self-metrics.
