//! What is wrong with a configuration, all of it at once, each with its place and a fix.

use std::fmt;
use std::sync::Arc;

/// A place in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The file, as the caller named it.
    pub path: Arc<str>,
    /// Line, from 1; 0 when the whole file is meant.
    pub line: u32,
    /// Column in characters, from 1; 0 when the whole file is meant.
    pub column: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => formatter.write_str(&self.path),
            _ => write!(formatter, "{}:{}:{}", self.path, self.line, self.column),
        }
    }
}

/// One thing that is wrong. Values are shortened, secrets are never part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where.
    pub location: Location,
    /// Path of the key, for example `scrape_configs[2].relabel_configs[0].regex`; empty for the whole document.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead; empty when the message says it already.
    pub fix: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.location)?;
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        formatter.write_str(&self.message)?;
        match self.fix.as_str() {
            "" => Ok(()),
            fix => write!(formatter, " ({fix})"),
        }
    }
}

/// Everything that is wrong, in order of file and line, never empty. Displays one error per line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(formatter, "{separator}{error}")?;
        }
        Ok(())
    }
}

/// What a key that Outrigger does not act on means for `run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It would change what is collected or sent: `run` refuses the file.
    RefuseToRun,
    /// It concerns another part of Prometheus: `run` says so once.
    WarnOnce,
}

/// A valid key that Outrigger does not act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Where.
    pub location: Location,
    /// Path of the key.
    pub key: String,
    /// What follows from it.
    pub severity: Severity,
    /// What Outrigger does instead, and what to do about it.
    pub reason: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}: {}", self.location, self.key, self.reason)
    }
}
