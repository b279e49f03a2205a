//! The query of a list or watch request, checked as the real API server checks it
//! (`k8s.io/apimachinery/pkg/apis/meta/internalversion/validation`).

use std::time::Duration;

use outrigger_config::selector::{FieldSelector, LabelSelector, SelectorError};
use url::form_urlencoded;

use crate::store::StoredObject;

/// A query that the API server refuses; the text becomes the `Status` message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ListOptionsError {
    /// 400.
    #[error("{0}")]
    BadRequest(String),
    /// 422.
    #[error("ListOptions.meta.k8s.io \"\" is invalid: {0}")]
    Invalid(String),
}

/// How `resourceVersion` is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResourceVersionMatch {
    NotOlderThan,
    Exact,
}

/// The parsed query.
#[derive(Debug, Default)]
pub(crate) struct ListOptions {
    pub(crate) watch: bool,
    pub(crate) selector: Selector,
    pub(crate) resource_version: String,
    pub(crate) resource_version_match: Option<ResourceVersionMatch>,
    pub(crate) limit: usize,
    pub(crate) continue_token: String,
    pub(crate) timeout: Option<Duration>,
    pub(crate) allow_watch_bookmarks: bool,
    pub(crate) send_initial_events: Option<bool>,
}

impl ListOptions {
    pub(crate) fn parse(query: &str) -> Result<Self, ListOptionsError> {
        let mut options = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "watch" => options.watch = is_true(&value),
                "labelSelector" => {
                    options.selector.labels =
                        LabelSelector::parse(&value).map_err(|error| bad_selector(&error))?
                }
                "fieldSelector" => {
                    options.selector.fields =
                        FieldSelector::parse(&value).map_err(|error| bad_selector(&error))?
                }
                "resourceVersion" => options.resource_version = value.into_owned(),
                "resourceVersionMatch" => options.resource_version_match = parse_match(&value)?,
                "limit" => options.limit = parse_number(&name, &value)?,
                "continue" => options.continue_token = value.into_owned(),
                "timeoutSeconds" => {
                    options.timeout = Some(Duration::from_secs(parse_number(&name, &value)? as u64));
                }
                "allowWatchBookmarks" => options.allow_watch_bookmarks = is_true(&value),
                "sendInitialEvents" => options.send_initial_events = Some(is_true(&value)),
                _ => {}
            }
        }
        options.validate()?;
        Ok(options)
    }

    fn validate(&self) -> Result<(), ListOptionsError> {
        let invalid = |message: &str| Err(ListOptionsError::Invalid(message.to_owned()));
        if !self.resource_version.is_empty() && self.resource_version.parse::<u64>().is_err() {
            let message = format!(
                "resourceVersion: Invalid value: {:?}: must be an unsigned integer",
                self.resource_version
            );
            return Err(ListOptionsError::BadRequest(message));
        }
        if self.watch {
            return match (self.send_initial_events, self.resource_version_match) {
                (Some(_), Some(ResourceVersionMatch::NotOlderThan)) | (None, None) => Ok(()),
                (Some(_), _) => invalid(
                    "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                ),
                (None, Some(_)) => invalid(
                    "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                ),
            };
        }
        if self.send_initial_events.is_some() {
            return invalid("sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list");
        }
        let Some(resource_version_match) = self.resource_version_match else { return Ok(()) };
        if !self.continue_token.is_empty() {
            return invalid(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
            );
        }
        if self.resource_version.is_empty() {
            return invalid(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
            );
        }
        if resource_version_match == ResourceVersionMatch::Exact && self.resource_version == "0" {
            return invalid(
                "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            );
        }
        Ok(())
    }
}

fn is_true(value: &str) -> bool {
    // The API server takes any value but these as true, the empty one included.
    !matches!(value.to_ascii_lowercase().as_str(), "false" | "0")
}

fn parse_number(name: &str, value: &str) -> Result<usize, ListOptionsError> {
    value.parse().map_err(|_| ListOptionsError::BadRequest(format!("{name}: invalid value {value:?}")))
}

fn parse_match(value: &str) -> Result<Option<ResourceVersionMatch>, ListOptionsError> {
    match value {
        "" => Ok(None),
        "NotOlderThan" => Ok(Some(ResourceVersionMatch::NotOlderThan)),
        "Exact" => Ok(Some(ResourceVersionMatch::Exact)),
        other => Err(ListOptionsError::Invalid(format!(
            "resourceVersionMatch: Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\""
        ))),
    }
}

/// Label and field requirements; all must hold.
#[derive(Debug, Default, Clone)]
pub(crate) struct Selector {
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selector {
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn matches(&self, object: &StoredObject) -> bool {
        if self.is_empty() {
            return true;
        }
        let (labels, fields) = (object.labels(), object.fields());
        let label = |key: &str| labels.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        let field = |key: &str| fields.iter().find(|(k, _)| *k == key).map(|(_, v)| v.as_str());
        self.labels.matches(label) && self.fields.matches(field)
    }

    /// The first field name that is not among `known`.
    pub(crate) fn unknown_field(&self, known: &[&str]) -> Option<&str> {
        self.fields.terms().iter().map(|term| term.field.as_str()).find(|field| !known.contains(field))
    }
}

fn bad_selector(error: &SelectorError) -> ListOptionsError {
    ListOptionsError::BadRequest(format!("unable to parse requirement: {error}"))
}

#[cfg(test)]
mod tests {
    use outrigger_wire::kubernetes::ResourceKind;
    use outrigger_wire::kubernetes::object::{ObjectMeta, Pod};

    use super::*;
    use crate::store::Store;

    #[test]
    fn the_combinations_that_the_api_server_refuses_are_refused() {
        for (query, accepted) in [
            ("watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=", true),
            ("watch=1&sendInitialEvents=true", false),
            ("watch=1&resourceVersionMatch=NotOlderThan&resourceVersion=5", false),
            ("sendInitialEvents=true", false),
            ("resourceVersion=0&resourceVersionMatch=NotOlderThan", true),
            ("resourceVersion=0&resourceVersionMatch=Exact", false),
            ("resourceVersionMatch=NotOlderThan", false),
            ("resourceVersion=x", false),
            ("limit=500&continue=abc", true),
            ("limit=many", false),
        ] {
            assert_eq!(ListOptions::parse(query).is_ok(), accepted, "{query}");
        }
    }

    #[test]
    fn selectors_hold_as_documented() {
        let mut meta = ObjectMeta::named("default", "a");
        meta.labels = [("app", "web"), ("tier", "front")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let store = Store::new();
        store.put(&mut Pod { meta, phase: "Running".to_owned(), ..Pod::default() });
        let (_, objects) = store.snapshot(ResourceKind::Pod);
        let object = &objects[0];
        for (query, matches) in [
            ("labelSelector=app%3Dweb", true),
            ("labelSelector=app%3D%3Dweb%2Ctier!%3Dback", true),
            ("labelSelector=app+in+(api,web),!canary", true),
            ("labelSelector=app+notin+(api,web)", false),
            ("labelSelector=canary", false),
            ("fieldSelector=status.phase%3DRunning,metadata.name!%3Db", true),
            ("fieldSelector=status.phase!%3DRunning", false),
        ] {
            let options = ListOptions::parse(query).expect(query);
            assert_eq!(options.selector.matches(object), matches, "{query}");
        }
    }
}
