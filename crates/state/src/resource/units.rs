//! Names of a node's resources and the units that they are counted in.

/// The units of a resource by its name: core, byte or integer. None for names that kube-state-metrics leaves out; two
/// for a domain such as `hugepages-a/b`, which it takes for both.
///
/// Source: kube-state-metrics 2.20, `internal/store/utils.go` and `pod.go`.
pub(crate) fn units(name: &str) -> impl Iterator<Item = &'static str> {
    let (first, second) = match name {
        "cpu" => (Some("core"), None),
        "storage" | "ephemeral-storage" | "memory" => (Some("byte"), None),
        _ => {
            let is_bytes = name.starts_with("hugepages-") || name.starts_with("attachable-volumes-");
            (is_bytes.then_some("byte"), is_extended(name).then_some("integer"))
        }
    };
    first.into_iter().chain(second)
}

/// Whether a name is that of an extended resource, such as `nvidia.com/gpu`.
fn is_extended(name: &str) -> bool {
    let Some((domain, rest)) = name.split_once('/') else { return false };
    !name.contains("kubernetes.io/")
        && !name.starts_with("requests.")
        && is_quota_domain(domain)
        && is_label_key(rest)
}

/// Whether `requests.<domain>` is a DNS subdomain.
fn is_quota_domain(domain: &str) -> bool {
    domain.len() + "requests.".len() <= 253
        && domain.split('.').all(|label| {
            let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            !label.is_empty() && label.bytes().all(inside) && !label.starts_with('-') && !label.ends_with('-')
        })
}

/// Whether a text is the name part of a label key.
fn is_label_key(name: &str) -> bool {
    let bytes = name.as_bytes();
    let inside = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let outside = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= 63 && bytes.iter().all(inside) && outside(bytes.first()) && outside(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_have_the_units_of_kube_state_metrics() {
        let cases: &[(&str, &[&str])] = &[
            ("cpu", &["core"]),
            ("memory", &["byte"]),
            ("storage", &["byte"]),
            ("ephemeral-storage", &["byte"]),
            ("hugepages-2Mi", &["byte"]),
            ("attachable-volumes-aws-ebs", &["byte"]),
            ("pods", &[]),
            ("gpu", &[]),
            ("nvidia.com/gpu", &["integer"]),
            ("nvidia.com/mig-1g.5gb", &["integer"]),
            ("kubernetes.io/foo", &[]),
            ("a.kubernetes.io/foo", &[]),
            ("requests.nvidia.com/gpu", &[]),
            ("hugepages-a/b", &["byte", "integer"]),
            ("hugepages-2Mi/b", &["byte"]),
            ("/gpu", &[]),
            ("a.com/", &[]),
            ("a.com/b/c", &[]),
            ("A.com/b", &[]),
            ("a..com/b", &[]),
            ("a.com/-b", &[]),
            ("a.com/b_", &[]),
            ("a.com/B_c.d", &["integer"]),
        ];
        for (name, want) in cases {
            assert_eq!(units(name).collect::<Vec<_>>(), *want, "{name}");
        }
    }
}
