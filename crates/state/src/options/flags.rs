//! The flags, and arguments as `spf13/pflag` reads them.

use std::collections::BTreeSet;

use super::klog::{Severity, is_module_list, is_trace_location};
use super::{CommandLine, Compat, LabelsAllowList, Options, Shell, go};

/// An argument that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// No flag has this name.
    #[error("unknown flag: --{name}{hint}")]
    Unknown {
        /// The name.
        name: String,
        /// What was probably meant, and how to find out.
        hint: String,
    },
    /// No flag has this letter.
    #[error("unknown shorthand flag: {letter:?} in -{argument}{hint}")]
    UnknownLetter {
        /// The letter.
        letter: char,
        /// The argument it is in.
        argument: String,
        /// What was probably meant.
        hint: String,
    },
    /// The flag is the last argument and has no value.
    #[error("flag needs an argument: {flag}")]
    NoValue {
        /// The flag.
        flag: String,
    },
    /// A value that is none for this flag.
    #[error("invalid argument {value:?} for {flag:?} flag: {problem}")]
    Value {
        /// The value.
        value: String,
        /// The flag.
        flag: String,
        /// What is wrong.
        problem: String,
    },
    /// `--` before something that is no name.
    #[error("bad flag syntax: {argument}")]
    Syntax {
        /// The argument.
        argument: String,
    },
    /// An argument that is no flag.
    #[error("unknown command {argument:?}: state-metrics takes flags, version, completion or help{hint}")]
    Command {
        /// The argument.
        argument: String,
        /// What was probably meant.
        hint: String,
    },
    /// `completion` for an unknown shell.
    #[error("completion: {shell:?} is none of bash, zsh and fish")]
    Shell {
        /// What was given.
        shell: String,
    },
    /// `completion` without a shell, or with two.
    #[error("completion: name one shell: bash, zsh or fish")]
    Shells,
}

/// What a flag's value is, which decides whether it can be left out and what the help calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Text(&'static str),
}

type Set = fn(&mut Options, &str) -> Result<(), String>;

/// One flag.
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) letter: Option<char>,
    pub(super) kind: Kind,
    /// As the help shows it; empty for none.
    pub(super) default: &'static str,
    pub(super) help: &'static str,
    set: Set,
}

const fn flag(name: &'static str, kind: Kind, default: &'static str, help: &'static str, set: Set) -> Flag {
    Flag { name, letter: None, kind, default, help, set }
}

impl Flag {
    const fn letter(mut self, letter: char) -> Self {
        self.letter = Some(letter);
        self
    }

    /// As errors name it.
    fn shown(&self) -> String {
        match self.letter {
            Some(letter) => format!("-{letter}, --{}", self.name),
            None => format!("--{}", self.name),
        }
    }

    fn apply(&self, options: &mut Options, value: &str) -> Result<(), FlagError> {
        (self.set)(options, value).map_err(|problem| FlagError::Value {
            value: value.to_owned(),
            flag: self.shown(),
            problem,
        })
    }
}

const BOOL: Kind = Kind::Bool;
const STRING: Kind = Kind::Text("string");
const INT: Kind = Kind::Text("int");
const DURATION: Kind = Kind::Text("duration");

macro_rules! truth {
    ($($field:ident).+) => {
        |options, value| {
            options.$($field).+ = boolean(value)?;
            Ok(())
        }
    };
}

macro_rules! text {
    ($field:ident) => {
        |options, value| {
            value.clone_into(&mut options.$field);
            Ok(())
        }
    };
}

macro_rules! number {
    ($field:ident, $what:literal) => {
        |options, value| {
            options.$field = go::parse_int(value).and_then(|number| number.try_into().ok()).ok_or($what)?;
            Ok(())
        }
    };
}

macro_rules! duration {
    ($field:ident) => {
        |options, value| {
            options.$field = go::parse_duration(value)?;
            Ok(())
        }
    };
}

macro_rules! ignored {
    ($name:literal, $valid:expr, $problem:literal) => {
        |options, value| {
            let valid: fn(&str) -> bool = $valid;
            if !valid(value) {
                return Err($problem.to_owned());
            }
            options.klog.ignored.push($name);
            Ok(())
        }
    };
}

/// A flag about log files: without effect unless it is switched to what it is anyway.
macro_rules! about_files {
    ($name:literal, $standard:literal) => {
        |options, value| {
            if boolean(value)? != $standard {
                options.klog.ignored.push($name);
            }
            Ok(())
        }
    };
}

fn boolean(value: &str) -> Result<bool, String> {
    go::parse_bool(value).ok_or_else(|| "write true or false".to_owned())
}

/// All flags, by name.
#[rustfmt::skip]
pub(super) static FLAGS: &[Flag] = &[
    flag("add_dir_header", BOOL, "", "Accepted for manifests; the form of log lines is --log-format's.", about_files!("add_dir_header", false)),
    flag("alsologtostderr", BOOL, "", "Accepted for manifests; log lines go to standard error.", about_files!("alsologtostderr", false)),
    flag("alsologtostderrthreshold", Kind::Text("severity"), "", "Accepted for manifests; log lines go to standard error.",
        ignored!("alsologtostderrthreshold", |value| Severity::parse(value).is_some(), "write INFO, WARNING, ERROR or FATAL")),
    flag("apiserver", STRING, "", "URL of the API server, instead of the kubeconfig's.", text!(apiserver)),
    flag("auth-filter", BOOL, "", "Let only those read metrics whom the API server allows to get this path (TokenReview and SubjectAccessReview).", truth!(auth_filter)),
    flag("auto-gomemlimit", BOOL, "", "Accepted for manifests; there is no Go runtime here.", truth!(auto_gomemlimit)),
    flag("auto-gomemlimit-ratio", Kind::Text("float"), "0.9", "Accepted for manifests; there is no Go runtime here.",
        |options, value| { options.auto_gomemlimit_ratio = value.parse().map_err(|_| "not a number")?; Ok(()) }),
    flag("compat", STRING, "2.20", "Version of kube-state-metrics whose output is given.", set_compat),
    flag("config", STRING, "", "Configuration file of these options, YAML. What it sets wins over the flags; it is read anew when it changes.", text!(config)),
    flag("continue-without-config", BOOL, "", "Start even if the file of --config is not there yet.", truth!(continue_without_config)),
    flag("continue-without-custom-resource-state-config-file", BOOL, "", "Start even if the file of --custom-resource-state-config-file is not there yet.", truth!(continue_without_custom_resource_config_file)),
    flag("custom-resource-state-config", STRING, "", "Custom resource state configuration, YAML.", text!(custom_resource_config)),
    flag("custom-resource-state-config-file", STRING, "", "File with the custom resource state configuration; it is read anew when it changes.", text!(custom_resource_config_file)),
    flag("custom-resource-state-only", BOOL, "", "Only custom resource state metrics.", truth!(custom_resources_only)),
    flag("enable-gzip-encoding", BOOL, "", "Answer in gzip where the client asks for it with Accept-Encoding.", truth!(enable_gzip_encoding)),
    flag("help", BOOL, "", "Print this text.", |_, value| boolean(value).map(|_| ())).letter('h'),
    flag("host", STRING, "::", "Address of /metrics.", text!(host)),
    flag("kubeconfig", STRING, "", "Kubeconfig file; without it the service account of the pod is used.", text!(kubeconfig)),
    flag("legacy_stderr_threshold_behavior", BOOL, "", "Let --stderrthreshold have no effect.", truth!(klog.legacy_threshold)),
    flag("log_backtrace_at", Kind::Text("traceLocation"), ":0", "Accepted for manifests; log lines carry no stack traces.",
        ignored!("log_backtrace_at", is_trace_location, "write file.go:234")),
    flag("log_dir", STRING, "", "Accepted for manifests; log lines go to standard error.", ignored!("log_dir", |_| true, "")),
    flag("log_file", STRING, "", "Accepted for manifests; log lines go to standard error.", ignored!("log_file", |_| true, "")),
    flag("log_file_max_size", Kind::Text("uint"), "1800", "Accepted for manifests; log lines go to standard error.",
        ignored!("log_file_max_size", |value| go::parse_int(value).is_some_and(|size| size >= 0), "not a whole number of megabytes")),
    flag("logtostderr", BOOL, "true", "Accepted for manifests; log lines go to standard error.", about_files!("logtostderr", true)),
    flag("metric-allowlist", STRING, "", "Metrics to expose: comma-separated ECMAScript expressions, one of which must match somewhere in the name. Not together with --metric-denylist.",
        |options, value| { extend(&mut options.metric_allowlist, value); Ok(()) }),
    flag("metric-annotations-allowlist", STRING, "", "Annotations that become labels of kube_<resource>_annotations, such as 'namespaces=[team/*,owner],pods=[*]'. A * alone allows all and must be first; within a key it stands for any characters, once a key. The resource * stands for all that are enabled.",
        |options, value| { options.annotations_allow_list = allow_list(value)?; Ok(()) }),
    flag("metric-denylist", STRING, "", "Metrics not to expose: comma-separated ECMAScript expressions that match somewhere in the name. Not together with --metric-allowlist.",
        |options, value| { extend(&mut options.metric_denylist, value); Ok(()) }),
    flag("metric-labels-allowlist", STRING, "", "Labels that become labels of kube_<resource>_labels, such as 'namespaces=[team/*,owner],pods=[*]'. A * alone allows all and must be first; within a key it stands for any characters, once a key. The resource * stands for all that are enabled.",
        |options, value| { options.labels_allow_list = allow_list(value)?; Ok(()) }),
    flag("metric-opt-in-list", STRING, "", "Metrics to expose that are off by default: comma-separated regular expressions (RE2) that match somewhere in the name.",
        |options, value| { extend(&mut options.metric_opt_in_list, value); Ok(()) }),
    flag("namespaces", STRING, "", "Comma-separated namespaces to watch; all without it.",
        |options, value| { options.namespaces.extend(words(value)); Ok(()) }),
    flag("namespaces-denylist", STRING, "", "Comma-separated namespaces not to watch; together with --namespaces, those of it that are not listed here.",
        |options, value| { options.namespaces_denylist.extend(words(value)); Ok(()) }),
    flag("node", STRING, "", "Only pods of this node, for a DaemonSet; use it with --resources=pods.", text!(node)),
    flag("object-limit", INT, "", "Most objects of a list; 0 for no limit.", number!(object_limit, "not a whole number")),
    flag("one_output", BOOL, "", "Accepted for manifests; log lines go to standard error.", about_files!("one_output", false)),
    flag("pod", STRING, "", "Name of the pod this runs in. With --pod-namespace, shard and number of shards are read off its StatefulSet.", text!(pod)),
    flag("pod-namespace", STRING, "", "Namespace of the pod that --pod names.", text!(pod_namespace)),
    flag("port", INT, "8080", "Port of /metrics.", number!(port, "not a port (0 to 65535)")),
    flag("resources", STRING, "", "Comma-separated resources to watch; those that are on by default without it.",
        |options, value| { extend(&mut options.resources, value); Ok(()) }),
    flag("server-idle-timeout", DURATION, "5m0s", "Longest time between two requests of a connection.", duration!(server_idle_timeout)),
    flag("server-read-header-timeout", DURATION, "5s", "Longest time for the headers of a request.", duration!(server_read_header_timeout)),
    flag("server-read-timeout", DURATION, "1m0s", "Longest silence of a client while its request is read.", duration!(server_read_timeout)),
    flag("server-write-timeout", DURATION, "1m0s", "Longest silence of a client while an answer is written to it; as long as it reads on, it may take as long as it needs.", duration!(server_write_timeout)),
    flag("shard", Kind::Text("int32"), "", "Which of the shards this is, counted from 0.", number!(shard, "not a whole number")),
    flag("skip_headers", BOOL, "", "Accepted for manifests; the form of log lines is --log-format's.", about_files!("skip_headers", false)),
    flag("skip_log_headers", BOOL, "", "Accepted for manifests; log lines go to standard error.", about_files!("skip_log_headers", false)),
    flag("stderrthreshold", Kind::Text("severity"), "INFO", "Log only lines of this severity or a higher one: INFO, WARNING, ERROR.", |options, value| {
        options.klog.threshold = Severity::parse(value).ok_or("write INFO, WARNING, ERROR or FATAL")?;
        Ok(())
    }),
    flag("telemetry-host", STRING, "::", "Address of the process's own metrics.", text!(telemetry_host)),
    flag("telemetry-port", INT, "8081", "Port of the process's own metrics.", number!(telemetry_port, "not a port (0 to 65535)")),
    flag("tls-config", STRING, "", "Web configuration file as Prometheus' exporters have it: TLS, client certificates, users and passwords.", text!(tls_config)),
    flag("total-shards", INT, "1", "How many shards there are; 1 for no sharding.", number!(total_shards, "not a whole number")),
    flag("track-unscheduled-pods", BOOL, "", "Only pods that have no node yet; use it with --resources=pods.", truth!(track_unscheduled_pods)),
    flag("use-apiserver-cache", BOOL, "", "List what the API server has in its cache (resourceVersion=0).", truth!(use_api_server_cache)),
    flag("v", Kind::Text("Level"), "", "Log more: debugging lines from 4 on, everything from 6 on.", |options, value| {
        options.klog.verbosity = value.parse().map_err(|_| "not a whole number")?;
        Ok(())
    }).letter('v'),
    flag("virtual-shard-ports", STRING, "", "Comma-separated ports, or ranges such as 9000-9003: the n-th serves shard n of as many as there are ports, all from one process.", set_ports),
    flag("vmodule", Kind::Text("moduleSpec"), "", "Accepted for manifests; filter lines by module with --log-level.",
        ignored!("vmodule", is_module_list, "syntax error: expect comma-separated list of filename=N")),
];

fn words(value: &str) -> impl Iterator<Item = String> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned)
}

fn extend(set: &mut BTreeSet<String>, value: &str) {
    set.extend(words(value));
}

fn allow_list(value: &str) -> Result<LabelsAllowList, String> {
    LabelsAllowList::parse(value).map_err(|error| error.to_string())
}

fn set_compat(options: &mut Options, value: &str) -> Result<(), String> {
    options.compat = Compat::parse(value).ok_or("the only version whose output is known is 2.20")?;
    Ok(())
}

fn set_ports(options: &mut Options, value: &str) -> Result<(), String> {
    options.virtual_shard_ports.extend(parse_ports(value)?);
    Ok(())
}

/// Ports and ranges of ports.
pub(super) fn parse_ports(value: &str) -> Result<Vec<u16>, String> {
    let mut ports = Vec::new();
    for word in words(value) {
        let port = |text: &str| -> Result<u16, String> {
            let port = text.trim().parse().ok().filter(|port| *port != 0);
            port.ok_or_else(|| format!("{word:?} is neither a port nor a range such as 9000-9003"))
        };
        match word.split_once('-') {
            None => ports.push(port(&word)?),
            Some((first, last)) => {
                let (first, last) = (port(first)?, port(last)?);
                if first > last || last - first >= 1024 {
                    return Err(format!("{word:?} is not a range of at most 1,024 ports"));
                }
                ports.extend(first..=last);
            }
        }
    }
    Ok(ports)
}

impl CommandLine {
    /// Reads the arguments that follow the program's name.
    ///
    /// # Errors
    /// The first argument that cannot be read.
    pub fn parse<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<Self, FlagError> {
        let mut options = Options::default();
        let mut arguments = arguments.into_iter();
        let mut words = Vec::new();
        let mut help = false;
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                words.extend(arguments.by_ref().map(str::to_owned));
            } else if let Some(long) = argument.strip_prefix("--") {
                help |= parse_long(&mut options, long, &mut arguments)?;
            } else if let Some(letters) = argument.strip_prefix('-').filter(|letters| !letters.is_empty()) {
                help |= parse_letters(&mut options, letters, &mut arguments)?;
            } else {
                words.push(argument.to_owned());
            }
        }
        command(&words, help, options)
    }

    /// Puts a configuration file over the flags: `text` is the content of the file `path`.
    ///
    /// # Errors
    /// When it is not YAML or a value cannot be read, with path, line and key.
    pub fn with_file(
        flags: &Options,
        path: &str,
        text: &str,
    ) -> Result<(Options, Vec<super::FileWarning>), super::FileError> {
        super::file::merge(flags, path, text)
    }
}

fn command(words: &[String], help: bool, options: Options) -> Result<CommandLine, FlagError> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["help"] if help || !words.is_empty() => Ok(CommandLine::Help),
        [] => Ok(CommandLine::Run(Box::new(options))),
        ["version"] => Ok(if help { CommandLine::Help } else { CommandLine::Version }),
        ["completion" | "comp" | "c", shells @ ..] | ["help", "completion", shells @ ..] => {
            let help = help || words[0] == "help";
            match shells {
                [] if help => Ok(CommandLine::CompletionHelp(Shell::Bash)),
                [shell] => {
                    let shell =
                        Shell::parse(shell).ok_or_else(|| FlagError::Shell { shell: (*shell).to_owned() })?;
                    Ok(if help { CommandLine::CompletionHelp(shell) } else { CommandLine::Completion(shell) })
                }
                _ => Err(FlagError::Shells),
            }
        }
        ["help", ..] => Ok(CommandLine::Help),
        [first, ..] => {
            let switched = matches!(*first, "true" | "false")
                .then_some(" (a switch takes its value after an equal sign, as in --auth-filter=false)");
            let near = go::nearest(first, ["version", "completion", "help"].into_iter());
            let hint = switched
                .map(str::to_owned)
                .or_else(|| near.map(|near| format!(" (did you mean {near}?)")))
                .unwrap_or_default();
            Err(FlagError::Command { argument: (*first).to_owned(), hint })
        }
    }
}

/// `name`, `name=value` or `name` with the value in the next argument; whether it asks for help.
fn parse_long<'a>(
    options: &mut Options,
    argument: &str,
    rest: &mut impl Iterator<Item = &'a str>,
) -> Result<bool, FlagError> {
    let (name, value) = match argument.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (argument, None),
    };
    if name.is_empty() || name.starts_with('-') {
        return Err(FlagError::Syntax { argument: format!("--{argument}") });
    }
    let Some(flag) = FLAGS.iter().find(|flag| flag.name == name) else {
        return Err(FlagError::Unknown { name: name.to_owned(), hint: hint(name) });
    };
    let value = match (value, flag.kind) {
        (Some(value), _) => value,
        (None, Kind::Bool) => "true",
        (None, Kind::Text(_)) => {
            rest.next().ok_or_else(|| FlagError::NoValue { flag: format!("--{name}") })?
        }
    };
    flag.apply(options, value)?;
    Ok(flag.name == "help" && value != "false")
}

/// Letters of which the last may have a value: `-v2`, `-v=2`, `-v 2`, `-hv2`; whether they ask for help.
fn parse_letters<'a>(
    options: &mut Options,
    letters: &str,
    rest: &mut impl Iterator<Item = &'a str>,
) -> Result<bool, FlagError> {
    let mut help = false;
    for (index, letter) in letters.char_indices() {
        let Some(flag) = FLAGS.iter().find(|flag| flag.letter == Some(letter)) else {
            let long = letters.split('=').next().unwrap_or_default();
            let known = FLAGS.iter().any(|flag| flag.name == long);
            let hint = if known { format!(" (write --{letters})") } else { String::new() };
            return Err(FlagError::UnknownLetter { letter, argument: letters.to_owned(), hint });
        };
        let after = &letters[index + letter.len_utf8()..];
        let value = match (after.strip_prefix('='), flag.kind) {
            (Some(value), _) => value,
            (None, Kind::Bool) => {
                flag.apply(options, "true")?;
                help |= flag.name == "help";
                continue;
            }
            (None, Kind::Text(_)) if !after.is_empty() => after,
            (None, Kind::Text(_)) => {
                rest.next().ok_or_else(|| FlagError::NoValue { flag: format!("{letter:?} in -{letters}") })?
            }
        };
        flag.apply(options, value)?;
        return Ok(help || flag.name == "help" && value != "false");
    }
    Ok(help)
}

fn hint(name: &str) -> String {
    let dashed = name.replace('_', "-");
    let names = FLAGS.iter().map(|flag| flag.name);
    let near = names.clone().find(|flag| *flag == dashed).or_else(|| go::nearest(name, names));
    match near {
        Some(near) => format!(" (did you mean --{near}?)"),
        None => " (--help lists all)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn options(arguments: &[&str]) -> Options {
        match CommandLine::parse(arguments.iter().copied()) {
            Ok(CommandLine::Run(options)) => *options,
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    #[test]
    fn every_flag_of_kube_state_metrics_is_there() {
        let names: BTreeSet<&str> = include_str!("../../testdata/options/flags.txt").lines().collect();
        assert_eq!(names.len(), 53);
        let ours: BTreeSet<&str> = FLAGS.iter().map(|flag| flag.name).collect();
        let extra: Vec<&str> = ours.difference(&names).copied().collect();
        assert_eq!(names.difference(&ours).count(), 0);
        assert_eq!(extra, ["compat", "virtual-shard-ports"]);
        assert!(FLAGS.iter().map(|flag| flag.name).is_sorted(), "the help lists them in this order");
    }

    #[test]
    fn every_flag_reaches_its_option() {
        let values = |flag: &Flag| match (flag.kind, flag.name) {
            (Kind::Bool, "logtostderr") => "false",
            (Kind::Bool, _) => "true",
            (_, "compat") => "2.20",
            (_, "metric-labels-allowlist" | "metric-annotations-allowlist") => "pods=[a]",
            (_, "alsologtostderrthreshold" | "stderrthreshold") => "ERROR",
            (_, "vmodule") => "a=1",
            (_, "log_backtrace_at") => "a.go:1",
            (Kind::Text("string"), name) if !name.contains("ports") => "a",
            (Kind::Text("duration"), _) => "7s",
            (Kind::Text("float"), _) => "0.5",
            _ => "7",
        };
        for flag in FLAGS.iter().filter(|flag| !matches!(flag.name, "help" | "compat")) {
            let argument = format!("--{}={}", flag.name, values(flag));
            assert_ne!(options(&[&argument]), Options::default(), "{argument}");
        }
    }

    #[test]
    fn values_come_after_an_equal_sign_or_in_the_next_argument() {
        assert_eq!(options(&["--port=1", "--telemetry-port", "0x10"]).telemetry_port, 16);
        assert_eq!(options(&["--host", "--port"]).host, "--port");
        assert_eq!(options(&["--host="]).host, "");
        assert!(options(&["--auth-filter"]).auth_filter);
        assert!(!options(&["--auth-filter", "--auth-filter=F"]).auth_filter);
        for arguments in [&["-v=4"][..], &["-v4"], &["-v", "4"], &["--v=4"], &["--v", "4"]] {
            assert_eq!(options(arguments).klog.verbosity, 4, "{arguments:?}");
        }
        let lists = options(&[
            "--resources=pods, nodes,",
            "--resources",
            "jobs",
            "--namespaces=b",
            "--namespaces=a,b",
        ]);
        assert_eq!(lists.resources.iter().collect::<Vec<_>>(), ["jobs", "nodes", "pods"]);
        assert_eq!(lists.namespaces, ["b", "a", "b"]);
        let labels = options(&["--metric-labels-allowlist=pods=[a]", "--metric-labels-allowlist=nodes=[b]"]);
        assert_eq!(labels.labels_allow_list.resources().collect::<Vec<_>>(), ["nodes"], "the last counts");
        assert_eq!(options(&["--server-idle-timeout=1h30m"]).server_idle_timeout, Duration::from_secs(5400));
        assert_eq!(
            options(&["--virtual-shard-ports=9000-9002,7"]).virtual_shard_ports,
            [9000, 9001, 9002, 7]
        );
    }

    #[test]
    fn words_are_commands() {
        let cases: &[(&[&str], CommandLine)] = &[
            (&["--help"], CommandLine::Help),
            (&["-h", "--port=1"], CommandLine::Help),
            (&["help"], CommandLine::Help),
            (&["version"], CommandLine::Version),
            (&["completion", "zsh"], CommandLine::Completion(Shell::Zsh)),
            (&["completion", "--help"], CommandLine::CompletionHelp(Shell::Bash)),
            (&["help", "completion", "fish"], CommandLine::CompletionHelp(Shell::Fish)),
        ];
        for (arguments, want) in cases {
            assert_eq!(CommandLine::parse(arguments.iter().copied()).as_ref(), Ok(want), "{arguments:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let cases: &[(&[&str], &str)] = &[
            (&["--foo=bar"], "unknown flag: --foo (--help lists all)"),
            (&["--resource=pods"], "unknown flag: --resource (did you mean --resources?)"),
            (
                &["--metric_allowlist=a"],
                "unknown flag: --metric_allowlist (did you mean --metric-allowlist?)",
            ),
            (&["-port=1"], "unknown shorthand flag: 'p' in -port=1 (write --port=1)"),
            (&["--port"], "flag needs an argument: --port"),
            (&["-v"], "flag needs an argument: 'v' in -v"),
            (&["--port=http"], "invalid argument \"http\" for \"--port\" flag: not a port"),
            (&["--port=70000"], "not a port (0 to 65535)"),
            (&["-vx"], "invalid argument \"x\" for \"-v, --v\" flag"),
            (&["--server-read-timeout=60"], "has no unit (write 60s for seconds)"),
            (&["--auth-filter", "false"], "as in --auth-filter=false"),
            (&["--auth-filter=no"], "write true or false"),
            (&["--compat=2.19"], "the only version whose output is known is 2.20"),
            (&["--=a"], "bad flag syntax: --=a"),
            (&["---a"], "bad flag syntax: ---a"),
            (&["pods"], "unknown command \"pods\""),
            (&["--", "--port=1"], "unknown command \"--port=1\""),
            (&["completion"], "name one shell"),
            (&["completion", "sh"], "\"sh\" is none of bash"),
            (&["--virtual-shard-ports=1-x"], "\"1-x\" is neither a port nor a range"),
        ];
        for (arguments, message) in cases {
            let error = CommandLine::parse(arguments.iter().copied()).expect_err(message).to_string();
            assert!(error.contains(message), "{arguments:?}: {error}");
        }
    }
}
