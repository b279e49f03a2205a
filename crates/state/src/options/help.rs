//! Help and completion.

use std::fmt::Write as _;

use super::flags::{FLAGS, Flag, Kind};
use super::{NOT_BY_DEFAULT, RESOURCES};

/// A shell that completes flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// fish.
    Fish,
}

impl Shell {
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "bash" => Some(Self::Bash),
            "zsh" => Some(Self::Zsh),
            "fish" => Some(Self::Fish),
            _ => None,
        }
    }

    /// How to load the script of [`completion`].
    pub fn how_to_load(self) -> &'static str {
        match self {
            Self::Bash => "source <(outrigger state-metrics completion bash)",
            Self::Zsh => "source <(outrigger state-metrics completion zsh)",
            Self::Fish => "outrigger state-metrics completion fish | source",
        }
    }
}

/// The help text, lines no longer than `width` where words allow it.
pub fn usage(width: usize) -> String {
    let mut text = String::from(
        "Serve metrics about the state of a cluster's objects, as kube-state-metrics does, from one process.\n\n\
         Usage:\n  outrigger [--log-level LEVEL] [--log-format FORMAT] state-metrics [flags]\n  \
         outrigger state-metrics version\n  outrigger state-metrics completion bash|zsh|fish\n\nFlags:\n",
    );
    let indent = 10;
    for flag in FLAGS {
        let letter = flag.letter.map_or("    ".to_owned(), |letter| format!("-{letter}, "));
        let value = match flag.kind {
            Kind::Bool => String::new(),
            Kind::Text(name) => format!(" {name}"),
        };
        let default =
            if flag.default.is_empty() { String::new() } else { format!(" (default {})", flag.default) };
        let _ = writeln!(text, "  {letter}--{}{value}{default}", flag.name);
        for line in wrapped(&help_of(flag), width.saturating_sub(indent)) {
            let _ = writeln!(text, "{:indent$}{line}", "");
        }
    }
    text
}

fn help_of(flag: &Flag) -> String {
    if flag.name != "resources" {
        return flag.help.to_owned();
    }
    let list = |on| {
        let picked = RESOURCES.iter().filter(|resource| NOT_BY_DEFAULT.contains(resource) != on);
        picked.copied().collect::<Vec<_>>().join(", ")
    };
    format!("{} By default: {}. Only when named: {}.", flag.help, list(true), list(false))
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is a line");
        if !line.is_empty() && line.len() + 1 + word.len() > width.max(30) {
            lines.push(word.to_owned());
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines
}

/// The script that makes a shell complete the flags and resources of `outrigger state-metrics`.
pub fn completion(shell: Shell) -> String {
    let flags = |separator: &str| {
        let names = FLAGS.iter().map(|flag| match flag.kind {
            Kind::Bool => format!("--{}", flag.name),
            Kind::Text(_) => format!("--{}=", flag.name),
        });
        names.collect::<Vec<_>>().join(separator)
    };
    match shell {
        Shell::Bash => bash(&flags(" ")),
        Shell::Zsh => zsh(),
        Shell::Fish => fish(),
    }
}

fn bash(flags: &str) -> String {
    let resources = RESOURCES.join(" ");
    format!(
        r#"# bash completion for outrigger state-metrics
_outrigger_state_metrics() {{
    local cur="${{COMP_WORDS[COMP_CWORD]}}" line="${{COMP_LINE:0:COMP_POINT}}"
    COMPREPLY=()
    [[ "${{COMP_WORDS[1]}}" == state-metrics ]] || {{
        COMPREPLY=($(compgen -W "run master worker demo check state-metrics" -- "$cur"))
        return
    }}
    local word="${{line##* }}"
    case "$word" in
        --resources=*)
            local list="${{word#--resources=}}" done=""
            [[ "$list" == *,* ]] && done="${{list%,*}},"
            COMPREPLY=($(compgen -P "$done" -W "{resources}" -- "${{list##*,}}"))
            compopt -o nospace ;;
        -*)
            COMPREPLY=($(compgen -W "{flags}" -- "$cur"))
            [[ "${{COMPREPLY[0]}}" == *= ]] && compopt -o nospace ;;
        *)
            COMPREPLY=($(compgen -W "version completion help" -- "$cur")) ;;
    esac
}}
complete -F _outrigger_state_metrics outrigger
"#
    )
}

fn zsh() -> String {
    let mut text =
        String::from("#compdef outrigger\n_outrigger_state_metrics() {\n  local -a flags\n  flags=(\n");
    for flag in FLAGS {
        let help = first_sentence(flag.help).replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]");
        let argument = match (flag.kind, flag.name) {
            (Kind::Bool, _) => String::new(),
            (_, "resources") => format!(":resource:_values -s , resource {}", RESOURCES.join(" ")),
            (_, "config" | "kubeconfig" | "tls-config" | "custom-resource-state-config-file") => {
                ":file:_files".to_owned()
            }
            (Kind::Text(name), _) => format!(":{name}:"),
        };
        let equals = if flag.kind == Kind::Bool { "" } else { "=" };
        let _ = writeln!(text, "    '--{}{equals}[{help}]{argument}'", flag.name);
    }
    text.push_str(
        "  )\n  if (( CURRENT == 2 )); then\n    _values command run master worker demo check state-metrics\n  \
         elif [[ ${words[2]} == state-metrics ]]; then\n    shift words; (( CURRENT-- ))\n    \
         _arguments $flags '1:command:(version completion help)' '2:shell:(bash zsh fish)'\n  fi\n}\n\
         compdef _outrigger_state_metrics outrigger\n",
    );
    text
}

fn fish() -> String {
    let mut text = String::from("# fish completion for outrigger state-metrics\n");
    let here = "complete -c outrigger -n '__fish_seen_subcommand_from state-metrics'";
    for flag in FLAGS {
        let help = first_sentence(flag.help).replace('\\', "\\\\").replace('\'', "\\'");
        let letter = flag.letter.map(|letter| format!(" -s {letter}")).unwrap_or_default();
        let argument = match (flag.kind, flag.name) {
            (Kind::Bool, _) => String::new(),
            (_, "resources") => format!(" -x -a '(__fish_append , {})'", RESOURCES.join(" ")),
            (_, "config" | "kubeconfig" | "tls-config" | "custom-resource-state-config-file") => {
                " -r -F".to_owned()
            }
            (Kind::Text(_), _) => " -x".to_owned(),
        };
        let _ = writeln!(text, "{here}{letter} -l {}{argument} -d '{help}'", flag.name);
    }
    let _ = writeln!(text, "{here} -f -a 'version completion help'");
    let _ = writeln!(text, "complete -c outrigger -n __fish_use_subcommand -f -a state-metrics");
    text
}

fn first_sentence(help: &str) -> &str {
    help.split_once(". ").map_or(help.trim_end_matches('.'), |(first, _)| first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_and_scripts_name_every_flag() {
        for text in [usage(100), completion(Shell::Bash), completion(Shell::Zsh)] {
            assert!(FLAGS.iter().all(|flag| text.contains(&format!("--{}", flag.name))), "{text}");
        }
        let fish = completion(Shell::Fish);
        assert!(FLAGS.iter().all(|flag| fish.contains(&format!("-l {}", flag.name))), "{fish}");
    }

    #[test]
    fn lines_are_as_long_as_asked() {
        let text = usage(80);
        let (_, flags) = text.split_once("Flags:\n").expect("flags");
        let long: Vec<&str> = flags.lines().filter(|line| line.len() > 80).collect();
        assert_eq!(long, [""; 0]);
    }
}
