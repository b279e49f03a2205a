//! Requests as the API server reads them, and refusals as it writes them.

use std::time::Duration;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use outrigger_wire::kubernetes::{Status, StatusCause, decode_envelope};
use serde::Deserialize;

use crate::machine::{Ask, ListVersion, Refusal};
use crate::resource::WatchedResource;

/// Kind of a request, as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestKind {
    /// A list or a page of one.
    List,
    /// A streamed initial list that goes on as a watch.
    WatchList,
    /// A watch from a version.
    Watch,
    /// `GET /version`.
    Version,
    /// One object.
    Get,
    /// A new object.
    Create,
    /// A question for the server's health.
    Probe,
}

impl RequestKind {
    /// The label value in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::WatchList => "watchlist",
            Self::Watch => "watch",
            Self::Version => "version",
            Self::Get => "get",
            Self::Create => "create",
            Self::Probe => "probe",
        }
    }
}

/// Custom resources, and single objects.
pub(crate) const JSON: &str = "application/json";
/// Objects, whole. JSON is for what has no protobuf, such as errors of a proxy before the server.
const OBJECTS: &str = "application/vnd.kubernetes.protobuf,application/json;q=0.5";
/// A list of metadata.
const METADATA_LIST: &str = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,\
                             application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1;q=0.5";
/// Events of metadata. The stream's framing follows from `watch=true`, as for client-go.
const METADATA_WATCH: &str = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,\
                              application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1;q=0.5";

const JSON_METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
const JSON_METADATA_WATCH: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

impl Ask {
    /// What it counts as.
    pub(crate) fn kind(&self) -> RequestKind {
        match self {
            Ask::StreamedList { .. } => RequestKind::WatchList,
            Ask::List { .. } => RequestKind::List,
            Ask::Watch { .. } => RequestKind::Watch,
        }
    }

    /// `Accept` for a resource.
    pub(crate) fn accept(&self, resource: &WatchedResource, metadata_only: bool) -> &'static str {
        match (resource, self) {
            (WatchedResource::Kind(_), _) if !metadata_only => OBJECTS,
            (WatchedResource::Kind(_), Ask::List { .. }) => METADATA_LIST,
            (WatchedResource::Kind(_), Ask::StreamedList { .. } | Ask::Watch { .. }) => METADATA_WATCH,
            (WatchedResource::Custom(_), _) if !metadata_only => JSON,
            (WatchedResource::Custom(_), Ask::List { .. }) => JSON_METADATA_LIST,
            (WatchedResource::Custom(_), Ask::StreamedList { .. } | Ask::Watch { .. }) => JSON_METADATA_WATCH,
        }
    }

    /// Path and query within a collection; the field selector selects all where it is empty.
    pub(crate) fn path(&self, collection: &str, field_selector: &str) -> String {
        let mut path = collection.to_owned();
        let mut query = Query::new(&mut path);
        match self {
            Ask::StreamedList { timeout } => {
                query.add("watch", "true");
                query.add("sendInitialEvents", "true");
                query.add("resourceVersionMatch", "NotOlderThan");
                query.add("allowWatchBookmarks", "true");
                query.add("timeoutSeconds", &timeout.as_secs().to_string());
            }
            Ask::List { version, limit, continue_token } => {
                if let Some(limit) = limit {
                    query.add("limit", &limit.to_string());
                }
                match version {
                    _ if !continue_token.is_empty() => query.add("continue", continue_token),
                    ListVersion::Any => query.add("resourceVersion", "0"),
                    ListVersion::NotOlderThan(version) => {
                        query.add("resourceVersion", version);
                        query.add("resourceVersionMatch", "NotOlderThan");
                    }
                    ListVersion::Consistent => {}
                }
            }
            Ask::Watch { version, timeout } => {
                query.add("watch", "true");
                query.add("resourceVersion", version);
                query.add("allowWatchBookmarks", "true");
                query.add("timeoutSeconds", &timeout.as_secs().to_string());
            }
        }
        // A continue token carries no selector: every page repeats it.
        if !field_selector.is_empty() {
            query.add("fieldSelector", field_selector);
        }
        path
    }
}

struct Query<'a> {
    path: &'a mut String,
    separator: char,
}

impl<'a> Query<'a> {
    fn new(path: &'a mut String) -> Self {
        Self { path, separator: '?' }
    }

    fn add(&mut self, name: &str, value: &str) {
        self.path.push(self.separator);
        self.separator = '&';
        self.path.push_str(name);
        self.path.push('=');
        self.path.push_str(&encode(value));
    }
}

fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// A refusal in full: what the machine needs, and words for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    /// The server's message, or the start of what it sent instead.
    pub(crate) message: String,
}

/// Characters of a server's message that are kept.
const MAX_MESSAGE: usize = 600;

impl Refused {
    /// Reads an HTTP answer other than 200. Its body may be a protobuf or JSON `Status`, or anything else.
    pub(crate) fn of_answer(code: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let status = status_of_body(body);
        let mut refused = match status {
            Some(status) => Self::of_status(&status),
            None => Self { refusal: Refusal::default(), message: text_of(headers, body) },
        };
        // The head says it best: an HTML page of a proxy has no code of its own.
        refused.refusal.code = code.as_u16();
        if let Some(seconds) = retry_after(headers) {
            refused.refusal.retry_after = Some(seconds);
        }
        refused
    }

    /// Reads the `Status` of an ERROR event, or of an answer.
    pub(crate) fn of_status(status: &Status) -> Self {
        let too_large = |cause: &StatusCause| cause.reason == "ResourceVersionTooLarge";
        let message = if status.message.is_empty() { &status.reason } else { &status.message };
        Self {
            refusal: Refusal {
                code: u16::try_from(status.code).unwrap_or_default(),
                retry_after: status.retry_after_seconds.map(|seconds| Duration::from_secs(seconds.into())),
                version_too_large: status.causes.iter().any(too_large)
                    || status.message.starts_with("Too large resource version"),
            },
            message: shorten(message),
        }
    }
}

fn status_of_body(body: &[u8]) -> Option<Status> {
    match decode_envelope(body) {
        Ok(envelope) if envelope.kind == "Status" => Status::decode(envelope.raw).ok(),
        Ok(_) => None,
        Err(_) => {
            serde_json::from_slice::<JsonStatus>(body).ok().filter(|s| s.kind == "Status").map(Into::into)
        }
    }
}

/// The refusal that a JSON `Status` tells, with its reason.
pub(crate) fn refused_of_json(status: &[u8]) -> Option<(Refused, String)> {
    let status: Status = serde_json::from_slice::<JsonStatus>(status).ok()?.into();
    Some((Refused::of_status(&status), status.reason))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct JsonStatus {
    kind: String,
    message: String,
    reason: String,
    code: i32,
    details: JsonDetails,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct JsonDetails {
    retry_after_seconds: u32,
    causes: Vec<JsonCause>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct JsonCause {
    reason: String,
    message: String,
}

impl From<JsonStatus> for Status {
    fn from(json: JsonStatus) -> Self {
        let cause = |cause: JsonCause| StatusCause {
            reason: cause.reason,
            message: cause.message,
            ..StatusCause::default()
        };
        Self {
            message: json.message,
            reason: json.reason,
            code: json.code,
            causes: json.details.causes.into_iter().map(cause).collect(),
            retry_after_seconds: Some(json.details.retry_after_seconds).filter(|seconds| *seconds > 0),
            ..Self::default()
        }
    }
}

/// `Retry-After` in seconds; its date form is not used by API servers.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn text_of(headers: &HeaderMap, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    let html = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("text/html"));
    if html || text.is_empty() || text.contains('\0') { String::new() } else { shorten(text) }
}

fn shorten(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_MESSAGE) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use outrigger_wire::kubernetes::{ResourceKind, encode_envelope};

    use super::*;

    #[test]
    fn paths_are_those_of_the_api() {
        let minute = Duration::from_secs(60);
        let list = |version, continue_token: &str, limit| Ask::List {
            version,
            limit,
            continue_token: continue_token.to_owned(),
        };
        for (ask, resource, namespace, expected) in [
            (
                Ask::StreamedList { timeout: minute },
                ResourceKind::Pod,
                None,
                "/api/v1/pods?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan\
                 &allowWatchBookmarks=true&timeoutSeconds=60",
            ),
            (
                list(ListVersion::Any, "", None),
                ResourceKind::Node,
                Some("x"),
                "/api/v1/nodes?resourceVersion=0",
            ),
            (
                list(ListVersion::NotOlderThan("12".into()), "", None),
                ResourceKind::Job,
                Some("team a"),
                "/apis/batch/v1/namespaces/team%20a/jobs?resourceVersion=12&resourceVersionMatch=NotOlderThan",
            ),
            (list(ListVersion::Consistent, "", Some(500)), ResourceKind::Pod, None, "/api/v1/pods?limit=500"),
            (
                list(ListVersion::Consistent, "a=&b", Some(500)),
                ResourceKind::Pod,
                None,
                "/api/v1/pods?limit=500&continue=a%3D%26b",
            ),
            (
                Ask::Watch { version: "7".into(), timeout: minute },
                ResourceKind::EndpointSlice,
                Some("web"),
                "/apis/discovery.k8s.io/v1/namespaces/web/endpointslices?watch=true&resourceVersion=7\
                 &allowWatchBookmarks=true&timeoutSeconds=60",
            ),
        ] {
            let collection = WatchedResource::from(resource).collection(namespace, None);
            assert_eq!(ask.path(&collection, ""), expected);
        }
    }

    #[test]
    fn selectors_versions_and_metadata_are_asked_for() {
        let ask = Ask::List { version: ListVersion::Any, limit: None, continue_token: String::new() };
        let policies = WatchedResource::from(ResourceKind::MutatingAdmissionPolicy);
        let collection = policies.collection(Some("x"), Some("v1beta1"));
        assert_eq!(
            ask.path(&collection, "metadata.name!=a,metadata.name!=b"),
            "/apis/admissionregistration.k8s.io/v1beta1/mutatingadmissionpolicies?resourceVersion=0\
             &fieldSelector=metadata.name%21%3Da%2Cmetadata.name%21%3Db"
        );
        assert_eq!(ask.accept(&policies, false), OBJECTS);
        assert_eq!(ask.accept(&policies, true), METADATA_LIST);
    }

    #[test]
    fn refusals_are_read_from_protobuf_json_and_plain_text() {
        let status = Status {
            message: "Too large resource version: 9, current: 3".into(),
            reason: "Timeout".into(),
            code: 504,
            causes: vec![StatusCause { reason: "ResourceVersionTooLarge".into(), ..StatusCause::default() }],
            retry_after_seconds: Some(1),
            ..Status::default()
        };
        let (mut raw, mut protobuf) = (Vec::new(), Vec::new());
        status.encode(&mut raw);
        encode_envelope("v1", "Status", &raw, &mut protobuf);
        let json = br#"{"kind":"Status","message":"Too large resource version: 9, current: 3","code":504,
            "details":{"retryAfterSeconds":1,"causes":[{"reason":"ResourceVersionTooLarge"}]}}"#;
        let headers = HeaderMap::new();
        let code = StatusCode::GATEWAY_TIMEOUT;
        let expected =
            Refusal { code: 504, retry_after: Some(Duration::from_secs(1)), version_too_large: true };
        for body in [protobuf.as_slice(), json.as_slice()] {
            let refused = Refused::of_answer(code, &headers, body);
            assert_eq!(refused.refusal, expected);
            assert_eq!(refused.message, "Too large resource version: 9, current: 3");
        }
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, http::HeaderValue::from_static("7"));
        let refused = Refused::of_answer(
            StatusCode::TOO_MANY_REQUESTS,
            &headers,
            b"Too many requests, please try again later.\n",
        );
        assert_eq!(refused.refusal.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(refused.message, "Too many requests, please try again later.");
        headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("text/html; charset=utf-8"));
        assert_eq!(Refused::of_answer(StatusCode::BAD_GATEWAY, &headers, b"<html>").message, "");
        assert_eq!(Refused::of_answer(StatusCode::BAD_GATEWAY, &headers, b"k8s\0\xff").message, "");
    }
}
