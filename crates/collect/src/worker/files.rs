//! The master's files in a worker's configuration: their contents, in memory only, in place of their paths.
//!
//! A file that the master could not read stays a path on the worker's own machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use outrigger_config::prometheus::Config;
use outrigger_model::cloud_auth::{AzureIdentity, CloudAuth};
use outrigger_model::http::{BasicUsername, HttpAuth, HttpClientConfig, OAuth2Grant, PemSource, TlsConfig};
use outrigger_model::secret::{Secret, SecretSource};

/// Files by their absolute path on the master.
pub(crate) struct Contents<'a>(pub(crate) &'a BTreeMap<String, Vec<u8>>);

impl Contents<'_> {
    /// Replaces paths of jobs and remote-write endpoints.
    pub(crate) fn put_into(&self, config: &mut Config) {
        if self.0.is_empty() {
            return;
        }
        for job in &mut config.scrape_configs {
            self.client(&mut Arc::make_mut(job).http);
        }
        for endpoint in &mut config.remote_write {
            self.client(&mut Arc::make_mut(endpoint).http);
        }
    }

    fn client(&self, client: &mut HttpClientConfig) {
        self.tls(&mut client.tls);
        client.headers.iter_mut().flat_map(|header| &mut header.values).for_each(|value| self.secret(value));
        match &mut client.auth {
            Some(HttpAuth::Basic { username, password }) => {
                if let BasicUsername::File(path) = username
                    && let Some(text) = self.text(path)
                {
                    *username = BasicUsername::Inline(text);
                }
                password.iter_mut().for_each(|password| self.secret(password));
            }
            Some(HttpAuth::Authorization { credentials, .. }) => {
                credentials.iter_mut().for_each(|credentials| self.secret(credentials));
            }
            Some(HttpAuth::OAuth2(oauth2)) => {
                self.tls(&mut oauth2.tls);
                match &mut oauth2.grant {
                    OAuth2Grant::ClientSecret(secret) => {
                        secret.iter_mut().for_each(|secret| self.secret(secret))
                    }
                    OAuth2Grant::JwtBearer { key, .. } => key.iter_mut().for_each(|key| self.secret(key)),
                }
            }
            Some(HttpAuth::Cloud(cloud)) => self.cloud(cloud),
            None => {}
        }
    }

    fn cloud(&self, cloud: &mut CloudAuth) {
        match cloud {
            CloudAuth::AzureAd(config) => match &mut config.identity {
                AzureIdentity::Workload { token_file, .. } => {
                    token_file.iter_mut().for_each(|token| self.secret(token));
                }
                AzureIdentity::Certificate { certificate, key, .. } => {
                    self.secret(certificate);
                    key.iter_mut().for_each(|key| self.secret(key));
                }
                AzureIdentity::Managed { .. }
                | AzureIdentity::Secret { .. }
                | AzureIdentity::Default { .. } => {}
            },
            CloudAuth::GoogleIam(config) => {
                config.credentials_file.iter_mut().for_each(|file| self.secret(file));
            }
            CloudAuth::SigV4(_) => {}
        }
    }

    fn tls(&self, tls: &mut TlsConfig) {
        for pem in tls.ca.iter_mut().chain(&mut tls.cert) {
            if let PemSource::File(path) = pem
                && let Some(contents) = self.contents(path)
            {
                *pem = PemSource::Inline(contents.to_owned());
            }
        }
        tls.key.iter_mut().for_each(|key| self.secret(key));
    }

    fn secret(&self, source: &mut SecretSource) {
        if let SecretSource::File(path) = source
            && let Some(text) = self.text(path)
        {
            *source = SecretSource::Inline(Secret::new(text));
        }
    }

    /// As a secret is read from a file.
    fn text(&self, path: &Path) -> Option<String> {
        self.contents(path).map(|contents| contents.trim().to_owned())
    }

    fn contents(&self, path: &Path) -> Option<&str> {
        std::str::from_utf8(self.0.get(path.to_str()?)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use outrigger_wire::centre::{Configuration, File};

    use crate::worker::configuration::ReceivedConfiguration;

    const ID: &str = "00000000-0000-0000-0000-000000000000";

    #[test]
    fn files_of_clouds_are_handed_like_all_others() {
        for (auth, count) in [
            (
                format!(
                    "azuread: {{workload_identity: {{client_id: {ID}, tenant_id: {ID}, token_file_path: /m/a}}}}"
                ),
                1,
            ),
            (
                format!(
                    "azuread: {{certificate: {{client_id: {ID}, tenant_id: t, certificate_path: /m/a, \
                     certificate_key_path: /m/b}}}}"
                ),
                2,
            ),
            ("google_iam: {credentials_file: /m/a}".to_owned(), 1),
        ] {
            let text = format!("remote_write: [{{url: \"https://r.example/\", {auth}}}]");
            let files = ["/m/a", "/m/b"].map(|path| File {
                path: path.to_owned(),
                contents: b" secret\n".to_vec(),
                missing: false,
            });
            let mut received = ReceivedConfiguration::default();
            received.merge(Configuration {
                complete: true,
                base: Some(text),
                files: files.into(),
                ..Configuration::default()
            });
            let config = received.load().expect("a configuration");
            let auth = format!("{:?}", config.remote_write[0].http.auth);
            assert!(!auth.contains("/m/"), "{auth}");
            assert_eq!(auth.matches("Inline(").count(), count, "{auth}");
        }
    }
}
