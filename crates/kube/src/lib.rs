//! Credentials and the list/watch of a Kubernetes API server.
