//! AWS' shared configuration files: `~/.aws/config` and `~/.aws/credentials`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::environment::CloudEnvironment;
use super::error::CloudAuthError;
use crate::file::{self, FileError};

/// What the two files say; the credentials file counts first.
#[derive(Default)]
pub(super) struct Profiles {
    profiles: BTreeMap<String, Profile>,
    /// Where they were looked for.
    paths: Vec<PathBuf>,
}

/// Keys and values of one profile.
#[derive(Default)]
pub(super) struct Profile {
    values: BTreeMap<String, String>,
}

impl Profile {
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl Profiles {
    /// Reads the files. One that is not there is empty.
    pub(super) fn load(environment: &CloudEnvironment) -> Result<Self, CloudAuthError> {
        let mut profiles = Self::default();
        let places = [
            ("AWS_CONFIG_FILE", ".aws/config", true),
            ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", false),
        ];
        for (variable, home_path, with_prefix) in places {
            let path = environment.get(variable).map(PathBuf::from);
            let Some(path) = path.or_else(|| environment.home_file(home_path)) else { continue };
            if let Some(text) = read(&path)? {
                profiles.add(&text, with_prefix);
            }
            profiles.paths.push(path);
        }
        Ok(profiles)
    }

    /// The profile of this name.
    pub(super) fn get(&self, name: &str) -> Result<&Profile, CloudAuthError> {
        self.profiles.get(name).ok_or_else(|| {
            let paths: Vec<String> = self.paths.iter().map(|path| path.display().to_string()).collect();
            let paths = if paths.is_empty() { "any file".to_owned() } else { paths.join(" or ") };
            CloudAuthError::Setup(format!("there is no AWS profile {name:?} in {paths}"))
        })
    }

    pub(super) fn find(&self, name: &str) -> Option<&Profile> {
        self.profiles.get(name)
    }

    /// The configuration file writes `[profile name]`, except for the default one.
    fn add(&mut self, text: &str, with_prefix: bool) {
        let mut current: Option<String> = None;
        for line in text.lines() {
            // Indented lines are settings of single services.
            let nested = line.starts_with([' ', '\t']);
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) || nested {
                continue;
            }
            if let Some(section) = line.strip_prefix('[') {
                let name = section.split(']').next().unwrap_or_default().trim();
                let prefixed = name.strip_prefix("profile").filter(|rest| rest.starts_with([' ', '\t']));
                current = match prefixed {
                    Some(rest) if with_prefix => Some(rest.trim().to_owned()),
                    None if !with_prefix || name == "default" => Some(name.to_owned()),
                    _ => None,
                };
            } else if let (Some(name), Some((key, value))) = (&current, line.split_once('=')) {
                let value = [" #", " ;"].iter().fold(value, |value, mark| {
                    value.split_once(mark).map_or(value, |(value, _comment)| value)
                });
                let profile = self.profiles.entry(name.clone()).or_default();
                profile.values.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
            }
        }
    }
}

fn read(path: &Path) -> Result<Option<String>, FileError> {
    match file::read_trimmed(path) {
        Ok(text) => Ok(Some(text)),
        Err(FileError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_read_as_aws_reads_them() {
        let mut profiles = Profiles::default();
        profiles.add(
            "# comment\n[default]\nregion = eu-west-1 ; here\ns3 =\n  region = nested\n[profile a b]\nRole_Arn=arn:x\n\
             [ignored]\nregion=x\n",
            true,
        );
        profiles.add(
            "[default]\naws_access_key_id=A#B\naws_secret_access_key = s=e=c #no\n[ignored]\naws_access_key_id=C\n\
             [profile d]\naws_access_key_id=E\n",
            false,
        );
        let value = |name: &str, key: &str| profiles.find(name).and_then(|profile| profile.get(key));
        assert_eq!(value("default", "region"), Some("eu-west-1"));
        assert_eq!(value("default", "aws_access_key_id"), Some("A#B"));
        assert_eq!(value("default", "aws_secret_access_key"), Some("s=e=c"));
        assert_eq!(value("default", "s3"), None);
        assert_eq!(value("a b", "role_arn"), Some("arn:x"));
        assert_eq!(value("ignored", "region"), None);
        assert_eq!(value("ignored", "aws_access_key_id"), Some("C"));
        assert!(profiles.find("d").is_none());
        assert!(profiles.get("d").is_err());
    }
}
