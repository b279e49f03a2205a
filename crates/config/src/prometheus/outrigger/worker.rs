//! `outrigger.worker`: who a worker is and where its masters are.

use outrigger_model::http::TlsConfig;
use outrigger_model::secret::SecretSource;

use super::centre::{credentials, url};
use super::environment::Environment;
use crate::prometheus::files::Files;
use crate::prometheus::http_client;
use crate::yaml::walk::{Cursor, Section};

/// `outrigger.worker`. Environment variables are expanded in `name`, `zone` and `advertise`.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerConfig {
    /// `name`, the same after a restart and different from all others'; the host's name when empty.
    pub name: String,
    /// `zone` that it runs in; may be empty.
    pub zone: String,
    /// `weight`: its share of the load in comparison with others, 1; positive.
    pub weight: f64,
    /// `masters`: their URLs, addresses rather than names where there is a choice.
    pub masters: Vec<String>,
    /// `advertise`: the URL under which a master and other workers reach this one's web server; may be empty.
    pub advertise: String,
    /// `tls_config` towards the masters; its client certificate must carry `name`.
    pub tls: TlsConfig,
    /// `authorization`: the bearer token.
    pub token: Option<SecretSource>,
}

impl WorkerConfig {
    pub(super) fn read(section: Section<'_>, files: &Files<'_>, environment: Environment<'_>) -> Self {
        let masters: Vec<String> = section.items("masters").iter().filter_map(url).collect();
        if masters.is_empty() {
            section.missing(
                "masters",
                "there is no master",
                "add masters, for example [https://10.0.0.5:9441]",
            );
        }
        let token = section.get("authorization").and_then(|value| {
            let section = value.section()?;
            let token = credentials(&section, files);
            section.finish(&[("token", "write credentials"), ("token_file", "write credentials_file")]);
            token
        });
        let config = Self {
            name: environment.text(&section, "name"),
            zone: environment.text(&section, "zone"),
            weight: section.get("weight").and_then(|value| weight(&value)).unwrap_or(1.0),
            advertise: environment.url(&section, "advertise"),
            tls: section.get("tls_config").map(|value| http_client::tls(&value, files)).unwrap_or_default(),
            masters,
            token,
        };
        section.finish(&[
            ("master", "write masters, which is a list"),
            ("tls", "write tls_config"),
            ("credentials_file", "write it below authorization"),
        ]);
        config
    }
}

fn weight(value: &Cursor<'_>) -> Option<f64> {
    let weight = value.float()?;
    if !(0.01..=100.0).contains(&weight) {
        value.error(format!("{} is not a weight", value.shown()), "write a number from 0.01 to 100");
        return None;
    }
    Some(weight)
}
