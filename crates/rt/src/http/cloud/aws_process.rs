//! `credential_process`: a program that prints AWS credentials.

use std::process::Stdio;

use serde_json::{Map, Value};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::Instant;

use super::error::CloudAuthError;

/// Most bytes that the program may print.
const MAX_OUTPUT: u64 = 64 << 10;

/// Runs the command by the shell, as AWS' own clients do, and returns the object that it prints. What it says on
/// standard error is not shown: it may be secret.
pub(super) async fn run(
    profile: &str,
    command: &str,
    deadline: Instant,
) -> Result<Map<String, Value>, CloudAuthError> {
    let failed = |problem: String| {
        CloudAuthError::Setup(format!("credential_process of AWS profile {profile:?} {problem}"))
    };
    let run = async {
        let mut child = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let mut printed = Vec::new();
        if let Some(output) = child.stdout.take() {
            output.take(MAX_OUTPUT).read_to_end(&mut printed).await?;
        }
        Ok::<_, std::io::Error>((child.wait().await?, printed))
    };
    let (status, printed) = match tokio::time::timeout_at(deadline, run).await {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => return Err(failed(format!("cannot be run: {error}"))),
        Err(_) => return Err(failed("takes too long".to_owned())),
    };
    if !status.success() {
        return Err(failed(format!("failed: {status}")));
    }
    let object: Option<Map<String, Value>> = serde_json::from_slice(&printed).ok();
    let object = object.filter(|object| object.get("Version").and_then(Value::as_i64) == Some(1));
    object.ok_or_else(|| failed("printed something else than credentials of version 1".to_owned()))
}
