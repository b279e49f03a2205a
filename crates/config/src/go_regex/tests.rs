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

#[test]
fn nesting_up_to_the_limit_of_go_compiles_and_more_is_refused() {
    let nested = |open: &str, depth: usize| format!("{}a{}", open.repeat(depth), ")".repeat(depth));
    assert!(GoRegex::anchored(&nested("(", 990)).unwrap().is_match("a"));
    assert!(GoRegex::anchored(&nested("(?:", 100_000)).unwrap().is_match("a"));
    assert!(GoRegex::anchored(&nested("(?:b|", 400)).unwrap().is_match("a"));
    for deep in [nested("(", 1100), nested("(", 200_000), nested("(?:a|b(", 1100).replace(')', "))")] {
        assert_eq!(GoRegex::anchored(&deep).unwrap_err().kind, GoRegexErrorKind::NestingDepth);
    }
}

#[test]
fn large_patterns_compile_and_huge_ones_are_refused() {
    let words: Vec<String> = (0..20_000).map(|i| format!("instance-{i}")).collect();
    let set = GoRegex::anchored(&words.join("|")).unwrap();
    assert!(set.is_match("instance-19999"));
    assert!(!set.is_match("instance-20000"));
    assert!(GoRegex::anchored(r"\w{1000}").unwrap().is_match(&"x".repeat(1000)));
    assert!(GoRegex::anchored(r".{1,1000}").unwrap().is_match("é"));
    assert!(GoRegex::anchored(r"\pL{300}").unwrap().is_match(&"é".repeat(300)));
    let huge = r"(?:\pL{1000})".repeat(50);
    assert_eq!(GoRegex::anchored(&huge).unwrap_err().kind, GoRegexErrorKind::Large);
}

#[test]
fn an_error_says_where_in_the_given_pattern_it_is() {
    for (pattern, offset) in
        [(r"ab\q", 2), ("a**", 1), ("a[b", 1), ("a(?x)", 1), ("x{1001}", 1), ("(a", 0), (r"a\", 0)]
    {
        let error = GoRegex::anchored(pattern).unwrap_err();
        assert_eq!(error.offset, offset, "{pattern}: {error}");
    }
}

#[test]
fn equal_patterns_share_one_compiled_form() {
    let first = GoRegex::anchored("shared-[0-9]+").unwrap();
    let second = GoRegex::anchored("shared-[0-9]+").unwrap();
    assert!(Arc::ptr_eq(&first.0, &second.0));
}

#[test]
fn usual_patterns_need_no_engine() {
    for pattern in [
        "",
        "web",
        "(.*)",
        ".*",
        "(.+)",
        "a|b",
        "(web|db)",
        "__meta_label_(.+)",
        ".*-exporter",
        "a.+z",
        "a)|(?:b",
    ] {
        let regex = GoRegex::anchored(pattern).unwrap();
        assert_eq!(matches!(regex.0.shape, Shape::Engine(_)), pattern == "a)|(?:b", "{pattern}");
    }
}

proptest! {
    #[test]
    fn any_text_as_a_pattern_is_compiled_or_refused(pattern in r"\PC{0,30}", text in r"\PC{0,10}") {
        if let Ok(regex) = GoRegex::anchored(&pattern) {
            prop_assert_eq!(regex.is_match(&text), regex.captures(&text).is_some());
        }
    }

    #[test]
    fn any_mix_of_syntax_is_compiled_or_refused(
        pieces in prop::collection::vec(r"[a-c(){}\[\]|*+?.^$\\,:<>=!i0-9PQEdxp-]", 0..24),
        text in "[a-c]{0,6}",
    ) {
        if let Ok(regex) = GoRegex::anchored(&pieces.concat()) {
            prop_assert_eq!(regex.is_match(&text), regex.captures(&text).is_some());
            let template = regex.template("<$1$0>");
            regex.replace_all(&text, &template);
        }
    }
}
