//! What differs between versions of the API server, in one table.

/// Major and minor version of an API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerVersion {
    /// Major, `1` so far.
    pub major: u32,
    /// Minor.
    pub minor: u32,
}

impl ServerVersion {
    /// Reads the `gitVersion` of `GET /version`, for example `v1.34.2-eks-1a2b3c`.
    pub fn parse(git_version: &str) -> Option<Self> {
        let mut parts = git_version.trim_start_matches('v').split(['.', '-', '+']);
        Some(Self { major: parts.next()?.parse().ok()?, minor: parts.next()?.parse().ok()? })
    }
}

/// Behaviour that depends on the server's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerFeatures {
    /// Ask for the streamed initial list (KEP-3157). A server may still refuse it: 1.33 has it switched off by
    /// default, and then the list/watch falls back.
    pub watch_list: bool,
}

/// First version with each behaviour; the last line that applies wins.
const TABLE: &[(ServerVersion, ServerFeatures)] = &[
    (ServerVersion { major: 1, minor: 0 }, ServerFeatures { watch_list: false }),
    // Beta, on by default (off again by default in 1.33, on since 1.34).
    (ServerVersion { major: 1, minor: 32 }, ServerFeatures { watch_list: true }),
];

impl ServerFeatures {
    /// Features of `version`; a server that does not tell its version is asked for everything.
    pub fn of(version: Option<ServerVersion>) -> Self {
        let Some(version) = version else {
            return Self { watch_list: true };
        };
        let applies = TABLE.iter().rev().find(|(since, _)| version >= *since);
        applies.map_or(Self { watch_list: false }, |(_, features)| *features)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_vendors_are_read_and_decide_the_features() {
        for (text, expected, watch_list) in [
            ("v1.28.15", Some((1, 28)), false),
            ("v1.31.9-gke.1000", Some((1, 31)), false),
            ("v1.32.0", Some((1, 32)), true),
            ("v1.34.2-eks-3cfe0ce", Some((1, 34)), true),
            ("v1.37.0-beta.0+abc", Some((1, 37)), true),
            ("1.33+", Some((1, 33)), true),
            ("latest", None, true),
            ("", None, true),
        ] {
            let version = ServerVersion::parse(text);
            assert_eq!(version.map(|v| (v.major, v.minor)), expected, "{text}");
            assert_eq!(ServerFeatures::of(version).watch_list, watch_list, "{text}");
        }
    }
}
