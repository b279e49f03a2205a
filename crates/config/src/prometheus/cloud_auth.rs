//! `sigv4`, `azuread` and `google_iam`: checked as Prometheus checks them, not acted on yet.

use super::files::{Files, ReferencedFileKind};
use super::remote_write::CloudAuth;
use crate::yaml::walk::{Cursor, Section};

/// Reads those of `kinds` that are there. With `http_auth` beside it, or two of them, that is an error.
pub(super) fn read(
    section: &Section<'_>,
    http_auth: &[&'static str],
    kinds: &[&str],
    files: &Files<'_>,
) -> Option<CloudAuth> {
    let mut found: Vec<(&'static str, CloudAuth)> = Vec::new();
    for (key, kind) in
        [("sigv4", CloudAuth::SigV4), ("azuread", CloudAuth::AzureAd), ("google_iam", CloudAuth::GoogleIam)]
    {
        if !kinds.contains(&key) {
            continue;
        }
        let Some(value) = section.get(key).filter(|value| !value.is_null()) else { continue };
        match kind {
            CloudAuth::SigV4 => sigv4(&value),
            CloudAuth::AzureAd => azure_ad(&value, files),
            CloudAuth::GoogleIam => google_iam(&value, files),
        }
        found.push((key, kind));
    }
    let first = http_auth.first().copied().or_else(|| found.first().map(|(key, _)| *key));
    if let Some((last, _)) = found.last()
        && first.is_some_and(|first| first != *last)
    {
        let message = format!("{} and {last} are both set", first.unwrap_or_default());
        section.error_at(last, message, "keep one way to authenticate");
    }
    found.first().map(|(_, kind)| *kind)
}

fn sigv4(value: &Cursor<'_>) {
    let Some(section) = value.section() else { return };
    let text = |key: &'static str| section.get(key).and_then(|value| value.secret().text()).unwrap_or("");
    for key in ["region", "profile", "service_name"] {
        text(key);
    }
    let (access, secret) = (text("access_key"), text("secret_key"));
    if access.is_empty() != secret.is_empty() {
        let key = if access.is_empty() { "secret_key" } else { "access_key" };
        section.error_at(
            key,
            "access_key and secret_key belong together",
            "add the other one, or remove both",
        );
    }
    let role = text("role_arn");
    for key in ["external_id", "session_name"] {
        if !text(key).is_empty() && role.is_empty() {
            section.error_at(key, format!("{key} is of use only with role_arn"), "add role_arn");
        }
    }
    let session = text("session_name");
    let foreign = |c: char| !(c.is_ascii_alphanumeric() || "_+=,.@-".contains(c));
    if !session.is_empty() && (!(2..=64).contains(&session.len()) || session.contains(foreign)) {
        section.error_at("session_name", "not a session name", "use 2 to 64 letters, digits and + = , . @ -");
    }
    let tags = section.get("tags").map(|value| value.text_map()).unwrap_or_default();
    if !tags.is_empty() && role.is_empty() {
        section.error_at("tags", "tags are of use only with role_arn", "add role_arn");
    }
    if tags.iter().any(|(name, tag)| name.is_empty() || name.len() > 128 || tag.len() > 256) {
        section.error_at(
            "tags",
            "a tag is empty or too long",
            "names have 1 to 128 bytes, values at most 256",
        );
    }
    section.boolean("use_fips_sts_endpoint");
    section.finish(&[]);
}

fn azure_ad(value: &Cursor<'_>, files: &Files<'_>) {
    let Some(section) = value.section() else { return };
    let cloud = section.text("cloud").unwrap_or("");
    if !["", "AzureChina", "AzureGovernment", "AzurePublic"].contains(&cloud) {
        section.error_at("cloud", "not an Azure cloud", "write AzurePublic, AzureGovernment or AzureChina");
    }
    let scope = section.text("scope").unwrap_or("");
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_:/.-".contains(c) || " \t\n\r\x0c".contains(c);
    if !scope.chars().all(allowed) {
        section.error_at(
            "scope",
            "the scope holds a character that is not allowed",
            "use letters, digits and _ : / . -",
        );
    }
    let methods = ["managed_identity", "workload_identity", "oauth", "sdk", "certificate"];
    let set: Vec<&'static str> =
        methods.into_iter().filter(|key| section.get(key).is_some_and(|value| !value.is_null())).collect();
    match set[..] {
        [] => value.error("no way to authenticate is named", format!("add one of {}", methods.join(", "))),
        [_] => {}
        [first, second, ..] => {
            section.error_at(second, format!("{first} and {second} are both set"), "keep one of them");
        }
    }
    for key in set {
        if let Some(method) = section.section(key) {
            azure_method(key, &method, files);
            method.finish(&[]);
        }
    }
    section.finish(&[]);
}

/// One way to authenticate: which keys it needs, and which of them are UUIDs.
fn azure_method(name: &str, section: &Section<'_>, files: &Files<'_>) {
    let (required, optional): (&[&'static str], &[&'static str]) = match name {
        "managed_identity" => (&[], &["client_id"]),
        "workload_identity" => (&["client_id", "tenant_id"], &["token_file_path"]),
        "oauth" => (&["client_id", "client_secret", "tenant_id"], &[]),
        "sdk" => (&[], &["tenant_id"]),
        _ => (&["client_id", "tenant_id"], &["certificate_key_path", "certificate_password"]),
    };
    for key in required.iter().chain(optional) {
        let text = section.get(key).and_then(|value| value.secret().text()).unwrap_or("");
        if text.is_empty() && required.contains(key) {
            section.error_at(key, format!("{key} is missing"), format!("add {key}"));
        }
        let uuid = *key == "client_id" || (name == "workload_identity" && *key == "tenant_id");
        if uuid && !text.is_empty() && !is_uuid(text) {
            section.error_at(key, "not a UUID", "write for example 00000000-0000-0000-0000-000000000000");
        }
    }
    if name == "certificate" {
        let path = section.get("certificate_path");
        let path = path.and_then(|value| files.path(&value, ReferencedFileKind::Secret));
        if path.is_none() {
            section.error_at("certificate_path", "certificate_path is missing", "add certificate_path");
        }
        section.boolean("send_certificate_chain");
    }
}

/// What `google/uuid` parses: with hyphens, without, in braces, or with `urn:uuid:` in front.
pub(super) fn is_uuid(text: &str) -> bool {
    let plain = match text.len() {
        45 if text[..9].eq_ignore_ascii_case("urn:uuid:") => &text[9..],
        38 if text.is_ascii() => &text[1..37],
        32 => return text.bytes().all(|byte| byte.is_ascii_hexdigit()),
        _ => text,
    };
    plain.len() == 36
        && plain.bytes().enumerate().all(|(i, byte)| match i {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn google_iam(value: &Cursor<'_>, files: &Files<'_>) {
    let Some(section) = value.section() else { return };
    if let Some(path) = section.get("credentials_file") {
        files.path(&path, ReferencedFileKind::Secret);
    }
    section.finish(&[]);
}
