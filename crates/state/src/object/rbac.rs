//! Types of `k8s.io/api/rbac/v1` that several kinds use.

use super::{Nested, message, object};

object! {
    /// `v1.RoleBinding` and `v1.ClusterRoleBinding`, which are the same.
    pub struct Binding {
        3 "roleRef" role_ref: Nested<'a, RoleRef<'a>>,
    }
}

message! {
    /// `v1.RoleRef`.
    pub struct RoleRef {
        2 "kind" kind: &'a str,
        3 "name" name: &'a str,
    }
}
