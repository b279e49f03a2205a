//! Configuration, rule and target files.

use std::io;
use std::path::{Path, PathBuf};

use outrigger_config::file_access::FileAccess;
use outrigger_config::prometheus::{
    Source, check, check_rule_file, load as load_configuration, parse_json_targets, parse_target_file,
};
use outrigger_model::names::NameValidation;

struct NoFiles;

impl FileAccess for NoFiles {
    fn read(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn exists(&self, _: &Path) -> bool {
        false
    }
}

/// The first byte says what kind of file it is.
pub(crate) fn load(data: &[u8]) {
    let Some((choice, data)) = crate::split_choice(data) else { return };
    let Ok(text) = std::str::from_utf8(data) else { return };
    match choice % 8 {
        0 => drop(check_rule_file("rules.yml", text, NameValidation::Utf8)),
        1 => drop(parse_target_file("targets.yml", text)),
        2 => drop(parse_target_file("targets.json", text)),
        3 => drop(parse_json_targets("http://targets/", text)),
        choice => prometheus(choice == 7, text),
    }
}

fn prometheus(agent_mode: bool, text: &str) {
    let environment = |name: &str| (name.len() < 4).then(|| name.to_owned());
    let source = || Source {
        path: "prometheus.yml",
        text,
        directory: PathBuf::from("/etc/prometheus"),
        environment: &environment,
        files: &NoFiles,
        agent_mode,
    };
    let again = load_configuration(&source());
    match load_configuration(&source()) {
        Ok(loaded) => {
            let again = again.expect("as the first time");
            assert_eq!(loaded.config, again.config);
            let _ = check(&loaded, &NoFiles);
        }
        Err(errors) => {
            let is_break = |character| matches!(character, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
            let lines = 1 + text.chars().filter(|character| is_break(*character)).count();
            assert_eq!(errors.to_string(), again.expect_err("as the first time").to_string());
            assert!(!errors.0.is_empty(), "refused without a word");
            for error in &errors.0 {
                assert!(!error.message.is_empty());
                assert!(error.location.line as usize <= lines, "{error} in {lines} lines");
            }
        }
    }
}
