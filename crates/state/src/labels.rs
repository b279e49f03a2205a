//! Keys of Kubernetes' labels and annotations as names of Prometheus' labels (kube-state-metrics
//! `internal/store/utils.go`).

use std::borrow::Cow;
use std::collections::HashMap;

/// Every character that a label name cannot have becomes `_`.
pub fn sanitize_label_name(key: &str) -> Cow<'_, str> {
    if key.bytes().all(is_name_byte) {
        return Cow::Borrowed(key);
    }
    Cow::Owned(key.chars().map(|c| if c.is_ascii() && is_name_byte(c as u8) { c } else { '_' }).collect())
}

/// `<prefix>_<key>` with `_` for what a name cannot have, and `camelCase` written as `camel_case`.
pub fn label_name(prefix: &str, key: &str) -> String {
    let mut name = String::with_capacity(prefix.len() + key.len() + 4);
    name.push_str(prefix);
    name.push('_');
    let mut before = ' ';
    for character in key.chars() {
        let valid = character.is_ascii() && is_name_byte(character as u8);
        let character = if valid { character } else { '_' };
        if character.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit()) {
            name.push('_');
        }
        name.push(character.to_ascii_lowercase());
        before = character;
    }
    name
}

/// Names and values for the pairs of one object, ordered by key. Keys whose names would be the same get `_conflict1`,
/// `_conflict2` and so on in that order, passing over names that are in use already; Prometheus refuses a sample with
/// the same name twice.
pub fn label_pairs<'a>(prefix: &str, mut pairs: Vec<(&'a str, &'a str)>) -> Vec<(String, &'a str)> {
    pairs.sort_unstable_by_key(|(key, _)| *key);
    let names = pairs.iter().map(|(key, _)| label_name(prefix, key)).collect::<Vec<_>>();
    let names = if all_differ(&names) { names } else { without_conflicts(names) };
    names.into_iter().zip(pairs).map(|(name, (_, value))| (name, value)).collect()
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn all_differ(names: &[String]) -> bool {
    let mut sorted: Vec<&str> = names.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    sorted.windows(2).all(|pair| pair[0] != pair[1])
}

fn without_conflicts(names: Vec<String>) -> Vec<String> {
    let mut given: Vec<String> = Vec::with_capacity(names.len());
    let mut used: HashMap<String, usize> = HashMap::with_capacity(names.len());
    let mut suffixes: HashMap<String, usize> = HashMap::new();
    for base in names {
        let name = if let Some(count) = suffixes.get_mut(&base) {
            next_free(&base, count, &used)
        } else if let Some(first) = used.get(&base).copied() {
            // The first of this name has it without a suffix so far.
            let mut count = 0;
            let renamed = next_free(&base, &mut count, &used);
            used.remove(&base);
            given[first].clone_from(&renamed);
            used.insert(renamed, first);
            let name = next_free(&base, &mut count, &used);
            suffixes.insert(base, count);
            name
        } else {
            base
        };
        used.insert(name.clone(), given.len());
        given.push(name);
    }
    given
}

fn next_free(base: &str, count: &mut usize, used: &HashMap<String, usize>) -> String {
    loop {
        *count += 1;
        let candidate = format!("{base}_conflict{count}");
        if !used.contains_key(&candidate) {
            return candidate;
        }
    }
}

/// The keys of labels or annotations that a resource shows (kube-state-metrics `createPrometheusLabelKeysValues`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyFilter {
    listed: bool,
    all: bool,
    exact: Vec<String>,
    /// What comes before and after the `*`.
    patterns: Vec<(String, String)>,
}

impl KeyFilter {
    /// No key.
    pub const NONE: &'static Self =
        &Self { listed: false, all: false, exact: Vec::new(), patterns: Vec::new() };

    /// These keys. A single `*` in one stands for any characters; `*` alone counts only as the first, and a key with
    /// two is passed over.
    pub fn new(keys: Vec<String>) -> Self {
        let mut filter = Self { listed: !keys.is_empty(), ..Self::default() };
        filter.all = keys.first().is_some_and(|key| key == "*");
        for key in keys.into_iter().filter(|key| key != "*") {
            match key.split_once('*') {
                None => filter.exact.push(key),
                Some((_, after)) if after.contains('*') => {}
                Some((before, after)) => filter.patterns.push((before.to_owned(), after.to_owned())),
            }
        }
        filter.exact.sort_unstable();
        filter
    }

    /// Whether no key is given: the family has no samples then. Otherwise each object has one, if only with its
    /// default labels.
    pub fn is_empty(&self) -> bool {
        !self.listed
    }

    /// Whether a key is shown.
    pub fn allows(&self, key: &str) -> bool {
        self.all
            || self.exact.binary_search_by(|exact| exact.as_str().cmp(key)).is_ok()
            || self.patterns.iter().any(|(before, after)| {
                key.len() >= before.len() + after.len() && key.starts_with(before) && key.ends_with(after)
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::options::testdata;

    #[test]
    fn keys_become_names_as_in_the_cases() {
        for case in testdata("labels.json")["label_names"].as_array().expect("cases") {
            let pairs: Vec<(&str, &str)> = case["labels"]
                .as_object()
                .expect("labels")
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str().expect("text")))
                .collect();
            let want: Vec<(String, &str)> = case["want"]
                .as_array()
                .expect("pairs")
                .iter()
                .map(|pair| (pair[0].as_str().expect("name").to_owned(), pair[1].as_str().expect("value")))
                .collect();
            assert_eq!(label_pairs("label", pairs), want);
        }
    }

    #[test]
    fn sanitizing_keeps_the_case() {
        for (key, want) in [("nvidia.com/gpu", "nvidia_com_gpu"), ("aB", "aB"), ("ä1", "_1"), ("", "")] {
            assert_eq!(sanitize_label_name(key), want);
        }
    }

    #[test]
    fn keys_are_allowed_as_in_the_cases() {
        for case in testdata("labels.json")["allowed"].as_array().expect("cases") {
            let keys = serde_json::from_value(case["allow"].clone()).expect("keys");
            let filter = KeyFilter::new(keys);
            let labels = case["labels"].as_object().expect("labels");
            let pairs = labels
                .iter()
                .filter(|(key, _)| filter.allows(key))
                .map(|(key, value)| (key.as_str(), value.as_str().expect("text")))
                .collect();
            let want: Vec<(String, String)> = serde_json::from_value(case["want"].clone()).expect("pairs");
            let got: Vec<(String, String)> = label_pairs("metric", pairs)
                .into_iter()
                .map(|(name, value)| (name, value.to_owned()))
                .collect();
            assert_eq!(got, want, "{case}");
        }
    }

    #[test]
    fn a_pattern_does_not_use_a_character_twice() {
        let filter = KeyFilter::new(vec!["ab*ba".to_owned()]);
        assert!(filter.allows("abba") && filter.allows("abcba"));
        assert!(!filter.allows("aba"));
    }

    proptest! {
        #[test]
        fn no_name_is_given_twice(keys in proptest::collection::btree_set("[aB_.-]{0,3}(_conflict[1-3])?", 0..12)) {
            let pairs = keys.iter().map(|key| (key.as_str(), "")).collect();
            let names: Vec<String> = label_pairs("label", pairs).into_iter().map(|(name, _)| name).collect();
            prop_assert_eq!(names.len(), keys.len());
            prop_assert!(all_differ(&names), "{:?}", names);
        }
    }
}
