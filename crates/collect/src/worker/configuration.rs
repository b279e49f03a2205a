//! The configuration as a master sends it, piece by piece, and what becomes of it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use outrigger_config::error::{Notice, Severity};
use outrigger_config::file_access::FileAccess;
use outrigger_config::prometheus::{self, Config, Source, parts};
use outrigger_wire::centre::{Configuration, File, JobConfiguration};

use super::files::Contents;

/// What masters have sent so far: base, jobs and files.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct ReceivedConfiguration {
    pub(crate) revision: u64,
    base: String,
    jobs: BTreeMap<String, String>,
    directory: String,
    files: BTreeMap<String, Vec<u8>>,
}

/// The master's files are not here, but for those that come with the configuration.
struct NoFiles;

impl FileAccess for NoFiles {
    fn read(&self, _: &Path) -> io::Result<String> {
        Err(io::Error::new(io::ErrorKind::NotFound, "the master has not sent it"))
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn exists(&self, _: &Path) -> bool {
        false
    }
}

impl ReceivedConfiguration {
    /// Takes a message over: the whole, or what changed.
    pub(crate) fn merge(&mut self, message: Configuration) {
        if message.complete {
            *self = Self::default();
        }
        self.revision = message.revision;
        if let Some(base) = message.base {
            self.base = base;
        }
        for job in message.removed_jobs {
            self.jobs.remove(&job);
        }
        self.jobs.extend(message.jobs.into_iter().map(|job| (job.job, job.yaml)));
        if !message.directory.is_empty() {
            self.directory = message.directory;
        }
        for file in message.files {
            match file.missing {
                true => self.files.remove(&file.path),
                false => self.files.insert(file.path, file.contents),
            };
        }
    }

    /// Whether the other is the same but for its revision.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.base == other.base
            && self.directory == other.directory
            && self.jobs == other.jobs
            && self.files == other.files
    }

    /// A message that gives another process the same.
    pub(crate) fn to_message(&self) -> Configuration {
        let jobs = self.jobs.iter();
        let files = self.files.iter();
        Configuration {
            revision: self.revision,
            complete: true,
            base: Some(self.base.clone()),
            jobs: jobs.map(|(job, yaml)| JobConfiguration { job: job.clone(), yaml: yaml.clone() }).collect(),
            removed_jobs: Vec::new(),
            directory: self.directory.clone(),
            files: files
                .map(|(path, contents)| File {
                    path: path.clone(),
                    contents: contents.clone(),
                    missing: false,
                })
                .collect(),
        }
    }

    /// The validated configuration, with the contents of files in their place.
    ///
    /// # Errors
    /// What this version cannot read or does not do, all of it, with places in the text that the pieces make together.
    pub(crate) fn load(&self) -> Result<Config, String> {
        let text = parts::compose(&self.base, self.jobs.values().map(String::as_str));
        let loaded = prometheus::load(&Source {
            path: &format!("the master's configuration {}", self.revision),
            text: &text,
            directory: PathBuf::from(&self.directory),
            // The master has put its own environment in.
            environment: &|_| None,
            files: &NoFiles,
            agent_mode: false,
        })
        .map_err(|errors| errors.to_string())?;
        let refused = loaded.notices.iter().filter(|notice| notice.severity == Severity::RefuseToRun);
        let refused: Vec<String> = refused.map(Notice::to_string).collect();
        if !refused.is_empty() {
            return Err(format!("it asks for what this version does not do:\n{}", refused.join("\n")));
        }
        let mut config = loaded.config;
        Contents(&self.files).put_into(&mut config);
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use outrigger_model::http::{HttpAuth, PemSource};
    use outrigger_model::secret::{Secret, SecretSource};

    use super::*;

    fn job(name: &str, more: &str) -> JobConfiguration {
        JobConfiguration {
            job: name.into(),
            yaml: format!("{{job_name: {name}, scrape_interval: 7s{more}}}"),
        }
    }

    fn file(path: &str, contents: &str) -> File {
        File { path: path.into(), contents: contents.into(), missing: false }
    }

    fn names(config: &Config) -> Vec<&str> {
        config.scrape_configs.iter().map(|job| &*job.job_name).collect()
    }

    #[test]
    fn changes_are_added_to_what_is_there_and_survive_a_restart() {
        let mut received = ReceivedConfiguration::default();
        received.merge(Configuration {
            revision: 4,
            complete: true,
            base: Some(
                "global: {external_labels: {cost: \"5$$\"}}\nremote_write: [{url: \"http://s/w\"}]\n".into(),
            ),
            jobs: vec![job("b", ""), job("a", "")],
            ..Configuration::default()
        });
        let config = received.load().unwrap();
        assert_eq!(names(&config), ["a", "b"]);
        assert_eq!(config.global.external_labels.get("cost"), Some("5$"));
        assert_eq!(config.remote_write.len(), 1);

        received.merge(Configuration {
            revision: 5,
            jobs: vec![job("c", ""), job("b", ", honor_labels: true")],
            removed_jobs: vec!["a".into()],
            ..Configuration::default()
        });
        let config = received.load().unwrap();
        assert_eq!(names(&config), ["b", "c"]);
        assert!(config.scrape_configs[0].honor_labels);
        assert_eq!(config.remote_write.len(), 1);

        let mut restarted = ReceivedConfiguration::default();
        restarted.merge(received.to_message());
        assert_eq!(restarted, received);
    }

    #[test]
    fn what_this_version_cannot_read_is_named() {
        let mut received = ReceivedConfiguration::default();
        received.merge(Configuration {
            revision: 9,
            jobs: vec![job("a", ", key_of_tomorrow: 1")],
            ..Configuration::default()
        });
        let error = received.load().unwrap_err();
        assert!(
            error.contains("the master's configuration 9:") && error.contains("key_of_tomorrow"),
            "{error}"
        );
    }

    #[test]
    fn contents_of_files_take_their_place() {
        let mut received = ReceivedConfiguration::default();
        let more = ", authorization: {credentials_file: token}, tls_config: {ca_file: /ca.pem, cert_file: /gone.pem, \
                    key_file: /gone.key}";
        received.merge(Configuration {
            revision: 1,
            jobs: vec![job("a", more)],
            directory: "/etc/p".into(),
            files: vec![file("/etc/p/token", " t0 \n"), file("/ca.pem", "CA\n")],
            ..Configuration::default()
        });
        let credentials =
            |received: &ReceivedConfiguration| match &received.load().unwrap().scrape_configs[0].http.auth {
                Some(HttpAuth::Authorization { credentials, .. }) => credentials.clone(),
                other => panic!("{other:?}"),
            };
        assert_eq!(credentials(&received), Some(SecretSource::Inline(Secret::new("t0"))));
        let tls = received.load().unwrap().scrape_configs[0].http.tls.clone();
        assert_eq!(tls.ca, Some(PemSource::Inline("CA\n".into())));
        // What the master has not sent may be on this machine.
        assert_eq!(tls.key, Some(SecretSource::File("/gone.key".into())));

        received.merge(Configuration {
            revision: 2,
            files: vec![file("/etc/p/token", "t1")],
            ..Configuration::default()
        });
        assert_eq!(credentials(&received), Some(SecretSource::Inline(Secret::new("t1"))));
        let gone = File { path: "/etc/p/token".into(), missing: true, ..File::default() };
        received.merge(Configuration { revision: 3, files: vec![gone], ..Configuration::default() });
        assert_eq!(credentials(&received), Some(SecretSource::File("/etc/p/token".into())));
    }
}
