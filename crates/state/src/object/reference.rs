//! References from an object to another one, in the types of `k8s.io/api/core/v1`.

use super::message;

message! {
    /// `v1.ObjectReference`.
    pub struct ObjectReference {
        1 "kind" kind: &'a str,
        2 "namespace" namespace: &'a str,
        3 "name" name: &'a str,
    }

    /// `v1.LocalObjectReference`.
    pub struct LocalObjectReference {
        1 "name" name: &'a str,
    }

    /// `v1.TypedLocalObjectReference`.
    pub struct TypedLocalObjectReference {
        1 "apiGroup" api_group: &'a str,
        2 "kind" kind: &'a str,
        3 "name" name: &'a str,
    }
}
