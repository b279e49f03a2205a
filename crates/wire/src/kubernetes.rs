//! The subset of Kubernetes' protocol-buffers encoding that Outrigger speaks.
//!
//! - [`envelope`](decode_envelope): the `k8s\0` magic and `runtime.Unknown` around every message;
//! - [`WatchFrames`], [`decode_watch_event`]: a watch stream;
//! - [`ListDecoder`]: a list response, one item at a time;
//! - [`JsonLines`], [`JsonListDecoder`]: the same in JSON, for custom resources, which have no protobuf;
//! - [`Status`]: what the API server answers instead;
//! - [`object_meta`]: the metadata of any object;
//! - [`scan`]: the fields of each resource that Outrigger reads, borrowed from the message;
//! - [`object`]: plain structs to encode, for the simulated API server and for tests.
//!
//! Field numbers are those of the `generated.proto` files in `k8s.io/api` and `k8s.io/apimachinery`. The Go
//! encoder writes every field that is not a pointer, so an empty string on the wire means "absent".

mod envelope;
mod json;
mod list;
mod meta;
pub mod object;
mod resource;
pub mod scan;
mod status;
#[cfg(test)]
mod tests;
mod watch;

pub use envelope::{Envelope, EnvelopeError, decode_envelope, encode_envelope};
pub use json::{
    JsonLines, JsonListDecoder, JsonListEnd, JsonWatchEvent, decode_json_watch_event, first_row, member,
};
pub use list::{ListDecoder, ListEnd, ListError, ListLimits, ListMeta, encode_list};
pub use meta::{ObjectMetaView, object_meta};
pub use resource::{CustomResource, ResourceKind};
pub use status::{Status, StatusCause};
pub use watch::{
    INITIAL_EVENTS_END, WatchError, WatchEvent, WatchEventKind, WatchFrames, decode_watch_event,
    encode_frame, encode_watch_event,
};
