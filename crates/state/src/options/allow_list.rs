//! Which keys of labels or annotations a resource shows: `pods=[app,team/*],namespaces=[*]`.

use std::collections::BTreeMap;

/// Most `*` in one key.
const MAX_WILDCARDS: usize = 1;

/// An allowlist that does not follow the grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllowListError {
    /// The brackets, commas or equal signs are wrong.
    #[error(
        "invalid format at character {position}: write resource=[label1,label2,labeln...],resource2=[] without blanks \
         between them"
    )]
    Format {
        /// Where, counted from 1.
        position: usize,
    },
    /// Two `*` in one key.
    #[error("invalid format, only one wildcard per label allowed: {key:?} has {count}")]
    Wildcards {
        /// The key.
        key: String,
        /// How many it has.
        count: usize,
    },
}

/// Keys by resource; the resource `*` stands for all that are enabled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelsAllowList(BTreeMap<String, Vec<String>>);

impl LabelsAllowList {
    /// Reads `resource=[key,key],resource=[key]`.
    ///
    /// # Errors
    /// [`AllowListError`] with the place.
    pub fn parse(text: &str) -> Result<Self, AllowListError> {
        let characters: Vec<char> = text.chars().collect();
        let mut list: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut name = String::new();
        let mut word = 0;
        for (index, character) in characters.iter().enumerate() {
            let next = characters.get(index + 1).copied();
            let previous = if index == 0 { *character } else { characters[index - 1] };
            let wrong = || AllowListError::Format { position: index + 1 };
            let key = || characters[word..index].iter().collect::<String>().trim().to_owned();
            match character {
                '=' if previous == ',' || next != Some('[') => return Err(wrong()),
                '=' => {
                    name = key();
                    list.insert(name.clone(), Vec::new());
                }
                '[' if previous != '=' => return Err(wrong()),
                '[' => {}
                ']' if !matches!(next, None | Some(',')) => return Err(wrong()),
                ']' if previous != '[' => list.entry(name.clone()).or_default().push(key()),
                ']' => {}
                ',' if previous == ',' || matches!(next, None | Some(']')) => return Err(wrong()),
                ',' if previous != ']' => list.entry(name.clone()).or_default().push(key()),
                ',' => {}
                _ => continue,
            }
            word = index + 1;
        }
        Self::checked(list)
    }

    /// Takes a list that was read already, as from a configuration file.
    ///
    /// # Errors
    /// [`AllowListError::Wildcards`].
    pub fn checked(list: BTreeMap<String, Vec<String>>) -> Result<Self, AllowListError> {
        for key in list.values().flatten() {
            let count = key.matches('*').count();
            if count > MAX_WILDCARDS {
                return Err(AllowListError::Wildcards { key: key.clone(), count });
            }
        }
        Ok(Self(list))
    }

    /// Whether nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The resources that are named.
    pub fn resources(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// The keys of a resource that is enabled. `*` among the resources wins over all others.
    pub fn keys(&self, resource: &str) -> &[String] {
        self.0.get("*").or_else(|| self.0.get(resource)).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::testdata;

    #[test]
    fn lists_are_read_as_in_the_cases() {
        for case in testdata("allow_lists.json").as_array().expect("cases") {
            let text = case["value"].as_str().expect("text");
            let want: Option<BTreeMap<String, Vec<String>>> =
                serde_json::from_value(case["want"].clone()).expect("a list or null");
            assert_eq!(LabelsAllowList::parse(text).ok().map(|list| list.0), want, "{text}");
        }
    }

    #[test]
    fn errors_say_where() {
        let message = LabelsAllowList::parse("pods=[a]nodes=[b]").expect_err("no comma").to_string();
        assert!(message.contains("at character 8"), "{message}");
        let message = LabelsAllowList::parse("pods=[*a*]").expect_err("two").to_string();
        assert!(message.contains(r#""*a*" has 2"#), "{message}");
    }

    #[test]
    fn all_resources_win_over_one() {
        let list = LabelsAllowList::parse("pods=[a],*=[b]").expect("valid");
        assert_eq!(list.keys("pods"), ["b"]);
        assert_eq!(LabelsAllowList::parse("pods=[a]").expect("valid").keys("nodes"), [""; 0]);
    }
}
