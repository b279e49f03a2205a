//! Notices changes of files, also where a mounted ConfigMap swaps a link.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

/// How often files are looked at.
const PERIOD: Duration = Duration::from_secs(2);

/// What tells one version of a file from another without reading it.
type Version = Option<(u64, u64, i64, i64, u64)>;

/// Files whose changes matter.
#[derive(Debug, Default)]
pub(super) struct WatchedFiles(Vec<(PathBuf, Version)>);

impl WatchedFiles {
    /// The files as they are now.
    pub(super) fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let versions = paths.into_iter().map(|path| {
            let version = version(&path);
            (path, version)
        });
        Self(versions.collect())
    }

    /// Waits until one of them is changed, made or replaced, and names it. One that goes away is no change: what was
    /// read of it stays in force until it is back. Cancel safe.
    pub(super) async fn changed(&mut self) -> PathBuf {
        loop {
            for (path, known) in &mut self.0 {
                let now = version(path);
                if now.is_some() && now != *known {
                    *known = now;
                    return path.clone();
                }
            }
            tokio::time::sleep(PERIOD).await;
        }
    }
}

fn version(path: &PathBuf) -> Version {
    let data = std::fs::metadata(path).ok()?;
    Some((data.dev(), data.ino(), data.mtime(), data.mtime_nsec(), data.len()))
}
