//! Checks of the text before and beside the grammar: what libyaml's reader and scanner refuse and YAML 1.2 does not.

use super::{MAX_BYTES, Mark, SyntaxError};

/// What libyaml's reader refuses before it looks at the grammar.
pub(super) fn check_text(text: &str) -> Result<(), SyntaxError> {
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes, more than the limit of {MAX_BYTES}", text.len());
        return Err(SyntaxError {
            mark: None,
            key: String::new(),
            message,
            fix: "split it with scrape_config_files or file_sd_configs",
        });
    }
    let mut mark = Mark { line: 1, column: 1 };
    for (i, character) in text.chars().enumerate() {
        let printable = match character {
            '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' => true,
            '\u{feff}' => i == 0,
            '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => true,
            _ => false,
        };
        if !printable {
            let message = format!("the control character U+{:04X} is not allowed", u32::from(character));
            return Err(SyntaxError {
                mark: Some(mark),
                key: String::new(),
                message,
                fix: "remove it, or write it as an escape in double quotes",
            });
        }
        match character {
            '\n' => mark = Mark { line: mark.line + 1, column: 1 },
            _ => mark.column += 1,
        }
    }
    Ok(())
}

/// The first tab within the indentation of a line, from line `from` on.
pub(super) fn tab_in_indentation(text: &str, from: u32) -> Option<Mark> {
    let lines = (1..).zip(text.lines()).skip_while(|(number, _)| *number < from);
    let tab = |(line, content): (u32, &str)| {
        let column =
            content.find(|character| character != ' ').filter(|at| content[*at..].starts_with('\t'))?;
        Some(Mark { line, column: u32::try_from(column).unwrap_or(u32::MAX - 1) + 1 })
    };
    lines.filter_map(tab).next()
}

/// A line that begins with `%` before a document must be one of YAML's two directives.
pub(super) fn check_directives(text: &str, from: usize) -> Result<(), SyntaxError> {
    let line_start = text[..from].rfind('\n').map_or(0, |newline| newline + 1);
    let start = if text[line_start..from].trim().is_empty() { line_start } else { from };
    let first_line = text[..start].matches('\n').count();
    for (i, line) in text[start..].lines().enumerate() {
        let line = line.trim_start_matches('\u{feff}');
        let directive =
            |name: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '\t']));
        let known = directive("%YAML") || directive("%TAG");
        if line.starts_with('%') && !known && (i > 0 || start == line_start) {
            let line = u32::try_from(first_line + i + 1).unwrap_or(u32::MAX);
            return Err(SyntaxError {
                mark: Some(Mark { line, column: 1 }),
                key: String::new(),
                message: "a line cannot begin with %".to_owned(),
                fix: "quote the text",
            });
        }
        if !(known || line.trim().is_empty() || line.trim_start().starts_with('#')) {
            break;
        }
    }
    Ok(())
}
