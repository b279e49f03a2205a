use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Row {
    pattern: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    found: Vec<FoundRow>,
}

#[derive(Deserialize)]
struct FoundRow {
    text: String,
    #[serde(default)]
    spans: Vec<i64>,
    #[serde(default)]
    template: String,
    #[serde(default)]
    expanded: String,
    #[serde(default)]
    replaced: String,
}

/// Where this differs from Go on purpose: every difference that `differences` finds must be listed.
fn differences(row: &Row) -> Vec<String> {
    let regex = match GoRegex::anchored(&row.pattern) {
        Err(error) if error.to_string() == row.error => return Vec::new(),
        Err(error) => return vec![format!("{:?}: {error}, Go: {:?}", row.pattern, row.error)],
        Ok(_) if !row.error.is_empty() => {
            return vec![format!("{:?}: accepted, Go: {}", row.pattern, row.error)];
        }
        Ok(regex) => regex,
    };
    let mut out = Vec::new();
    if regex.0.group_names != row.names {
        out.push(format!("{:?}: names {:?}, Go: {:?}", row.pattern, regex.0.group_names, row.names));
    }
    for found in &row.found {
        let mut report = |what: &str, ours: &dyn fmt::Debug, theirs: &dyn fmt::Debug| {
            out.push(format!("{:?} in {:?}: {what} {ours:?}, Go: {theirs:?}", row.pattern, found.text));
        };
        if regex.is_match(&found.text) == found.spans.is_empty() {
            report("match", &found.spans.is_empty(), &!found.spans.is_empty());
            continue;
        }
        let Some(captures) = regex.captures(&found.text) else { continue };
        let spans: Vec<i64> = (0..row.names.len())
            .flat_map(|group| captures.found.group(group).map_or([-1, -1], |(a, b)| [a as i64, b as i64]))
            .collect();
        if spans != found.spans {
            report("spans", &spans, &found.spans);
        }
        let template = regex.template(&found.template);
        let mut expanded = String::new();
        template.expand(&captures, &mut expanded);
        if expanded != found.expanded {
            report(&format!("{:?} expands to", found.template), &expanded, &found.expanded);
        }
        let replaced = regex.replace_all(&found.text, &template);
        if replaced != found.replaced {
            report(&format!("replaced by {:?}", found.template), &replaced, &found.replaced);
        }
    }
    out
}

#[test]
fn patterns_mean_what_they_mean_in_go() {
    let rows = include_str!("../../testdata/go_regex/cases.jsonl");
    let rows: Vec<Row> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows.len() > 300);
    let differences: Vec<String> = rows.iter().flat_map(differences).collect();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}
