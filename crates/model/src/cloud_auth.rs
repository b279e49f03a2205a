//! Authentication by a cloud vendor's identity: `sigv4`, `azuread` and `google_iam` of remote write.

use crate::secret::{Secret, SecretSource};

/// A vendor's way to authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloudAuth {
    /// `sigv4`: every request is signed with AWS credentials.
    SigV4(SigV4Config),
    /// `azuread`: a bearer token of Microsoft Entra ID.
    AzureAd(AzureAdConfig),
    /// `google_iam`: a bearer token of Google Cloud.
    GoogleIam(GoogleIamConfig),
}

/// AWS Signature Version 4 (`github.com/prometheus/sigv4`). What is absent comes from AWS' default chain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SigV4Config {
    /// `region`.
    pub region: Option<String>,
    /// `access_key` and `secret_key`.
    pub keys: Option<AwsKeys>,
    /// `profile` of the shared configuration files.
    pub profile: Option<String>,
    /// `role_arn`, `external_id`, `session_name` and `tags`.
    pub role: Option<AwsRole>,
    /// `service_name`; `aps` when absent.
    pub service: Option<String>,
    /// `use_fips_sts_endpoint`.
    pub fips_sts: bool,
}

/// A long-lived pair of AWS keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsKeys {
    /// Access key id.
    pub access_key: String,
    /// Secret access key.
    pub secret_key: Secret,
}

/// An AWS role to assume with the credentials found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AwsRole {
    /// Amazon resource name, never empty.
    pub arn: String,
    /// What the role's owner asks third parties for.
    pub external_id: Option<String>,
    /// Name of the session in AWS' logs.
    pub session_name: Option<String>,
    /// Session tags, in order.
    pub tags: Vec<(String, String)>,
}

/// Microsoft Entra ID (Prometheus `storage/remote/azuread`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureAdConfig {
    /// `cloud`.
    pub cloud: AzureCloud,
    /// `scope` in place of the cloud's.
    pub scope: Option<String>,
    /// How the client proves itself.
    pub identity: AzureIdentity,
}

/// The Azure clouds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AzureCloud {
    /// `AzurePublic`.
    #[default]
    Public,
    /// `AzureGovernment`.
    Government,
    /// `AzureChina`.
    China,
}

/// How a client proves itself to Microsoft Entra ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AzureIdentity {
    /// `managed_identity`; the system-assigned one without a client id.
    Managed {
        /// `client_id` of a user-assigned identity.
        client_id: Option<String>,
    },
    /// `workload_identity`: a token of the Kubernetes cluster, in a file.
    Workload {
        /// `client_id`.
        client_id: String,
        /// `tenant_id`.
        tenant_id: String,
        /// `token_file_path`.
        token_file: Option<SecretSource>,
    },
    /// `oauth`: a shared secret.
    Secret {
        /// `client_id`.
        client_id: String,
        /// `tenant_id`.
        tenant_id: String,
        /// `client_secret`.
        secret: Secret,
    },
    /// `certificate`.
    Certificate {
        /// `client_id`.
        client_id: String,
        /// `tenant_id`.
        tenant_id: String,
        /// `certificate_path`: PEM, with the private key unless that has a file of its own.
        certificate: SecretSource,
        /// `certificate_key_path`.
        key: Option<SecretSource>,
        /// `certificate_password`.
        password: Option<Secret>,
        /// `send_certificate_chain`.
        send_chain: bool,
    },
    /// `sdk`: what the environment offers.
    Default {
        /// `tenant_id`.
        tenant_id: Option<String>,
    },
}

/// Google Cloud (Prometheus `storage/remote/googleiam`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GoogleIamConfig {
    /// `credentials_file`; Google's application default credentials when absent.
    pub credentials_file: Option<SecretSource>,
}
