//! Environment variables in what tells one process from the others that share its file.

use std::net::Ipv6Addr;

use super::centre::url_text;
use crate::prometheus::global::expand;
use crate::yaml::walk::{Cursor, Section};

/// Expands `${NAME}` as `global.external_labels` does, except that a variable that is not set is an error: a name or an
/// address that lacks a part would be taken for another's.
#[derive(Clone, Copy)]
pub(super) struct Environment<'a>(pub(super) &'a dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    /// Text; empty when absent.
    pub(super) fn text(self, section: &Section<'_>, name: &'static str) -> String {
        section.get(name).and_then(|value| self.expanded(&value)).unwrap_or_default()
    }

    /// An `http` or `https` URL without a path; empty when absent. A variable that holds an IPv6 address gets its
    /// brackets.
    pub(super) fn url(self, section: &Section<'_>, name: &'static str) -> String {
        let url = section.get(name).and_then(|value| url_text(&value, &self.expanded_in_url(&value)?));
        url.unwrap_or_default()
    }

    fn expanded(self, value: &Cursor<'_>) -> Option<String> {
        self.expand(value, |text| text)
    }

    fn expanded_in_url(self, value: &Cursor<'_>) -> Option<String> {
        let bare = !value.text()?.contains("[$");
        self.expand(
            value,
            |text| if bare && text.parse::<Ipv6Addr>().is_ok() { format!("[{text}]") } else { text },
        )
    }

    fn expand(self, value: &Cursor<'_>, shape: impl Fn(String) -> String) -> Option<String> {
        let mut missing = Vec::new();
        let mut variable = |name: &str| match (self.0)(name) {
            Some(text) => shape(text),
            None => {
                missing.push(name.to_owned());
                String::new()
            }
        };
        let text = expand(value.text()?, &mut variable);
        for name in &missing {
            value.error(
                format!("the environment variable {name:?} is not set"),
                "set it, or write the value itself; $$ stands for a dollar",
            );
        }
        missing.is_empty().then_some(text)
    }
}
