//! `sigv4`, `azuread` and `google_iam`, checked as Prometheus checks them.

use outrigger_model::cloud_auth::{
    AwsKeys, AwsRole, AzureAdConfig, AzureCloud, AzureIdentity, CloudAuth, GoogleIamConfig, SigV4Config,
};
use outrigger_model::secret::{Secret, SecretSource};

use super::files::{Files, ReferencedFileKind};
use crate::yaml::walk::{Cursor, Section};

/// Reads those of `kinds` that are there. With `http_auth` beside it, or two of them, that is an error.
pub(super) fn read(
    section: &Section<'_>,
    http_auth: &[&'static str],
    kinds: &[&str],
    files: &Files<'_>,
) -> Option<CloudAuth> {
    let mut keys: Vec<&'static str> = Vec::new();
    let mut first_auth = None;
    for key in ["sigv4", "azuread", "google_iam"] {
        if !kinds.contains(&key) {
            continue;
        }
        let Some(value) = section.get(key).filter(|value| !value.is_null()) else { continue };
        let auth = match key {
            "sigv4" => sigv4(&value).map(CloudAuth::SigV4),
            "azuread" => azure_ad(&value, files).map(CloudAuth::AzureAd),
            _ => google_iam(&value, files).map(CloudAuth::GoogleIam),
        };
        keys.push(key);
        first_auth = first_auth.or(auth);
    }
    let first = http_auth.first().or(keys.first()).copied();
    if let Some(last) = keys.last()
        && first.is_some_and(|first| first != *last)
    {
        let message = format!("{} and {last} are both set", first.unwrap_or_default());
        section.error_at(last, message, "keep one way to authenticate");
    }
    first_auth
}

fn sigv4(value: &Cursor<'_>) -> Option<SigV4Config> {
    let section = value.section()?;
    let text = |key: &'static str| {
        let text = section.get(key).and_then(|value| value.secret().text()).unwrap_or("");
        Some(text.to_owned()).filter(|text| !text.is_empty())
    };
    let keys = match (text("access_key"), text("secret_key")) {
        (Some(access_key), Some(secret)) => Some(AwsKeys { access_key, secret_key: Secret::new(secret) }),
        (None, None) => None,
        (access, _) => {
            let key = if access.is_none() { "secret_key" } else { "access_key" };
            let message = "access_key and secret_key belong together";
            section.error_at(key, message, "add the other one, or remove both");
            None
        }
    };
    let config = SigV4Config {
        region: text("region"),
        keys,
        profile: text("profile"),
        role: aws_role(&section, text),
        service: text("service_name"),
        fips_sts: section.boolean("use_fips_sts_endpoint").unwrap_or(false),
    };
    section.finish(&[]);
    Some(config)
}

fn aws_role(section: &Section<'_>, text: impl Fn(&'static str) -> Option<String>) -> Option<AwsRole> {
    let arn = text("role_arn");
    let (external_id, session_name) = (text("external_id"), text("session_name"));
    for (key, value) in [("external_id", &external_id), ("session_name", &session_name)] {
        if value.is_some() && arn.is_none() {
            section.error_at(key, format!("{key} is of use only with role_arn"), "add role_arn");
        }
    }
    let foreign = |c: char| !(c.is_ascii_alphanumeric() || "_+=,.@-".contains(c));
    if session_name.as_ref().is_some_and(|name| !(2..=64).contains(&name.len()) || name.contains(foreign)) {
        section.error_at("session_name", "not a session name", "use 2 to 64 letters, digits and + = , . @ -");
    }
    let tags = section.get("tags").map(|value| value.text_map()).unwrap_or_default();
    if !tags.is_empty() && arn.is_none() {
        section.error_at("tags", "tags are of use only with role_arn", "add role_arn");
    }
    if tags.iter().any(|(name, tag)| name.is_empty() || name.len() > 128 || tag.len() > 256) {
        section.error_at(
            "tags",
            "a tag is empty or too long",
            "names have 1 to 128 bytes, values at most 256",
        );
    }
    Some(AwsRole { arn: arn?, external_id, session_name, tags })
}

fn azure_ad(value: &Cursor<'_>, files: &Files<'_>) -> Option<AzureAdConfig> {
    let section = value.section()?;
    let cloud = match section.text("cloud").unwrap_or("") {
        "" | "AzurePublic" => AzureCloud::Public,
        "AzureGovernment" => AzureCloud::Government,
        "AzureChina" => AzureCloud::China,
        _ => {
            let fix = "write AzurePublic, AzureGovernment or AzureChina";
            section.error_at("cloud", "not an Azure cloud", fix);
            AzureCloud::Public
        }
    };
    let scope = section.owned_text("scope");
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
    let mut identity = None;
    for key in set {
        if let Some(method) = section.section(key) {
            identity = identity.or(azure_identity(key, &method, files));
            method.finish(&[]);
        }
    }
    section.finish(&[]);
    Some(AzureAdConfig { cloud, scope: Some(scope).filter(|scope| !scope.is_empty()), identity: identity? })
}

/// One way to authenticate: which keys it needs, and which of them are UUIDs.
fn azure_identity(name: &str, section: &Section<'_>, files: &Files<'_>) -> Option<AzureIdentity> {
    let text = |key: &'static str| {
        let text = section.get(key).and_then(|value| value.secret().text()).unwrap_or("");
        let uuid = key == "client_id" || (name == "workload_identity" && key == "tenant_id");
        if uuid && !text.is_empty() && !is_uuid(text) {
            section.error_at(key, "not a UUID", "write for example 00000000-0000-0000-0000-000000000000");
        }
        Some(text.to_owned()).filter(|text| !text.is_empty())
    };
    let needed = |key: &'static str| {
        let text = text(key);
        if text.is_none() {
            section.error_at(key, format!("{key} is missing"), format!("add {key}"));
        }
        text
    };
    let path = |key: &'static str| {
        let path = section.get(key).and_then(|value| files.path(&value, ReferencedFileKind::Secret));
        path.map(SecretSource::File)
    };
    if name == "managed_identity" {
        return Some(AzureIdentity::Managed { client_id: text("client_id") });
    }
    if name == "sdk" {
        return Some(AzureIdentity::Default { tenant_id: text("tenant_id") });
    }
    let (client_id, tenant_id) = (needed("client_id"), needed("tenant_id"));
    match name {
        "workload_identity" => {
            let token_file = path("token_file_path");
            Some(AzureIdentity::Workload { client_id: client_id?, tenant_id: tenant_id?, token_file })
        }
        "oauth" => {
            let secret = needed("client_secret").map(Secret::new);
            Some(AzureIdentity::Secret { client_id: client_id?, tenant_id: tenant_id?, secret: secret? })
        }
        _ => {
            let certificate = path("certificate_path");
            if certificate.is_none() {
                section.error_at("certificate_path", "certificate_path is missing", "add certificate_path");
            }
            let key = path("certificate_key_path");
            let password = text("certificate_password").map(Secret::new);
            let send_chain = section.boolean("send_certificate_chain").unwrap_or(false);
            Some(AzureIdentity::Certificate {
                client_id: client_id?,
                tenant_id: tenant_id?,
                certificate: certificate?,
                key,
                password,
                send_chain,
            })
        }
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

fn google_iam(value: &Cursor<'_>, files: &Files<'_>) -> Option<GoogleIamConfig> {
    let section = value.section()?;
    let file = section.get("credentials_file");
    let credentials_file = file.and_then(|path| files.path(&path, ReferencedFileKind::Secret));
    section.finish(&[]);
    Some(GoogleIamConfig { credentials_file: credentials_file.map(SecretSource::File) })
}
