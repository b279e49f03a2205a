//! Conditions in an object's status.

use super::message;

message! {
    /// The part that the conditions of most kinds in `k8s.io/api/core/v1` have in common.
    pub struct Condition {
        1 "type" kind: &'a str,
        2 "status" status: &'a str,
    }
}
