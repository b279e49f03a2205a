//! Files, as the caller lets the configuration see them, and Go's file patterns over them.

use std::io;
use std::path::Path;

/// The files that a configuration may refer to. Implemented by whoever does I/O; by a map in tests.
pub trait FileAccess {
    /// The content of a file.
    ///
    /// # Errors
    /// As reading it fails.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// The names (not paths) of a directory's entries, in any order.
    ///
    /// # Errors
    /// As listing it fails.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// Whether the path exists.
    fn exists(&self, path: &Path) -> bool;
}

/// A pattern that is not one, for example with a `[` that no `]` closes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pattern ends within [ ] or behind a backslash")]
pub struct BadPattern;

/// The existing paths that `pattern` matches, sorted within each directory, as Go's `filepath.Glob` finds
/// them: `*`, `?` and `[a-z]` match within one path element; directories that cannot be read match nothing.
///
/// # Errors
/// [`BadPattern`] when the pattern is malformed.
pub fn glob(files: &dyn FileAccess, pattern: &str) -> Result<Vec<String>, BadPattern> {
    matches_pattern(pattern, "")?;
    if !has_meta(pattern) {
        let exists = files.exists(Path::new(pattern));
        return Ok(if exists { vec![pattern.to_owned()] } else { Vec::new() });
    }
    let (directory, name_pattern) = match pattern.rfind('/') {
        Some(0) => ("/", &pattern[1..]),
        Some(slash) => (&pattern[..slash], &pattern[slash + 1..]),
        None => (".", pattern),
    };
    let directories = if has_meta(directory) { glob(files, directory)? } else { vec![directory.to_owned()] };
    let mut found = Vec::new();
    for directory in directories {
        let mut names = files.list(Path::new(&directory)).unwrap_or_default();
        names.sort();
        for name in names {
            if matches_pattern(name_pattern, &name)? {
                found.push(join_directory(&directory, &name));
            }
        }
    }
    Ok(found)
}

fn has_meta(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '\\'])
}

/// Whether `name` matches the whole of `pattern`, as Go's `filepath.Match`.
///
/// # Errors
/// [`BadPattern`] when the pattern is malformed, whatever the name.
pub fn matches_pattern(pattern: &str, name: &str) -> Result<bool, BadPattern> {
    let parts = parse_pattern(pattern)?;
    let name: Vec<char> = name.chars().collect();
    // Two-pointer matching: on a mismatch go back to the last star and let it take one more character.
    let (mut part, mut at) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < name.len() {
        match parts.get(part) {
            Some(Part::Star) => {
                star = Some((part, at));
                part += 1;
            }
            Some(single) if single.matches(name[at]) => {
                part += 1;
                at += 1;
            }
            _ => match star {
                Some((behind, taken)) if name[taken] != '/' => {
                    star = Some((behind, taken + 1));
                    part = behind + 1;
                    at = taken + 1;
                }
                _ => return Ok(false),
            },
        }
    }
    Ok(parts[part..].iter().all(|rest| matches!(rest, Part::Star)))
}

enum Part {
    Star,
    Any,
    One(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Part {
    fn matches(&self, character: char) -> bool {
        match self {
            Part::Star => false,
            Part::Any => character != '/',
            Part::One(expected) => character == *expected,
            Part::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&character)) != *negated
            }
        }
    }
}

fn parse_pattern(pattern: &str) -> Result<Vec<Part>, BadPattern> {
    let mut characters = pattern.chars().peekable();
    let mut parts = Vec::new();
    while let Some(character) = characters.next() {
        parts.push(match character {
            '*' => Part::Star,
            '?' => Part::Any,
            '\\' => Part::One(characters.next().ok_or(BadPattern)?),
            '[' => parse_class(&mut characters)?,
            other => Part::One(other),
        });
    }
    Ok(parts)
}

fn parse_class(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Part, BadPattern> {
    let negated = characters.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && characters.next_if_eq(&']').is_some() {
            return Ok(Part::Class { negated, ranges });
        }
        let low = class_character(characters)?;
        let high = match characters.next_if_eq(&'-') {
            Some(_) => class_character(characters)?,
            None => low,
        };
        ranges.push((low, high));
    }
}

fn class_character(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, BadPattern> {
    match characters.next() {
        None | Some('-' | ']') => Err(BadPattern),
        Some('\\') => characters.next().ok_or(BadPattern),
        Some(other) => Ok(other),
    }
}

/// `path` as it is when it is empty or absolute, else joined to `directory` and cleaned as Go's
/// `filepath.Join` does (Prometheus `config.JoinDir`).
pub fn join_directory(directory: &str, path: &str) -> String {
    if path.is_empty() || path.starts_with('/') {
        return path.to_owned();
    }
    clean(&format!("{directory}/{path}"), directory.is_empty())
}

/// Go's `filepath.Clean`: no `.`, no empty elements, `..` resolved by the text alone.
fn clean(path: &str, relative: bool) -> String {
    let rooted = path.starts_with('/') && !relative;
    let mut elements: Vec<&str> = Vec::new();
    for element in path.split('/') {
        match element {
            "" | "." => {}
            ".." => match elements.last() {
                Some(last) if *last != ".." => drop(elements.pop()),
                _ if rooted => {}
                _ => elements.push(".."),
            },
            other => elements.push(other),
        }
    }
    match (rooted, elements.is_empty()) {
        (true, _) => format!("/{}", elements.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => elements.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    struct Tree(BTreeSet<&'static str>);

    impl FileAccess for Tree {
        fn read(&self, _: &Path) -> io::Result<String> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
            let parent = |path: &&&str| Path::new(path).parent() == Some(directory);
            let name = |path: &&str| path.rsplit('/').next().map(str::to_owned);
            Ok(self.0.iter().filter(parent).filter_map(name).collect())
        }

        fn exists(&self, path: &Path) -> bool {
            self.0.contains(path.to_str().unwrap_or(""))
        }
    }

    #[test]
    fn globs_as_go_does() {
        let tree = Tree(BTreeSet::from(["/a", "/a/x.yml", "/a/y.yml", "/a/z.json", "/b", "/b/x.yml"]));
        for (pattern, expected) in [
            ("/a/*.yml", vec!["/a/x.yml", "/a/y.yml"]),
            ("/a/x.yml", vec!["/a/x.yml"]),
            ("/a/none.yml", vec![]),
            ("/?/x.*", vec!["/a/x.yml", "/b/x.yml"]),
            ("/[b-c]/x.yml", vec!["/b/x.yml"]),
            ("/nowhere/*", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(
                glob(&tree, pattern),
                Ok(expected.iter().map(|p| (*p).to_owned()).collect()),
                "{pattern}"
            );
        }
        assert_eq!(glob(&tree, "/a/[x"), Err(BadPattern));
    }

    #[test]
    fn matches_as_go_does() {
        for (pattern, name, expected) in [
            ("abc", "abc", Ok(true)),
            ("*", "abc", Ok(true)),
            ("*c", "abc", Ok(true)),
            ("a*", "ab/c", Ok(false)),
            ("a*/b", "abc/b", Ok(true)),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", Ok(true)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Ok(true)),
            ("a*b?c*x", "abxbbxdbxebxczzy", Ok(false)),
            ("ab[c]", "abc", Ok(true)),
            ("ab[^c]", "abc", Ok(false)),
            ("ab[b-d]", "abc", Ok(true)),
            ("a\\*b", "a*b", Ok(true)),
            ("a?b", "a/b", Ok(false)),
            ("[\\]a]", "]", Ok(true)),
            ("[x\\-]", "-", Ok(true)),
            ("[]a]", "]", Err(BadPattern)),
            ("[-]", "-", Err(BadPattern)),
            ("[a-]", "a", Err(BadPattern)),
            ("[", "a", Err(BadPattern)),
            ("a\\", "a", Err(BadPattern)),
            ("*x", "xxx", Ok(true)),
            ("", "", Ok(true)),
        ] {
            assert_eq!(matches_pattern(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn joins_as_go_does() {
        for (directory, path, expected) in [
            ("/etc/p", "a.yml", "/etc/p/a.yml"),
            ("/etc/p", "../a.yml", "/etc/a.yml"),
            ("/etc/p", "/abs/../a.yml", "/abs/../a.yml"),
            ("/etc/p", "", ""),
            (".", "a/./b", "a/b"),
            ("", "a", "a"),
            ("x", "..", "."),
            ("..", "../a", "../../a"),
            ("/", "../a", "/a"),
        ] {
            assert_eq!(join_directory(directory, path), expected, "{directory} {path}");
        }
    }
}
