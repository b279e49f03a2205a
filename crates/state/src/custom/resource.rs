//! Custom resources with their families.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde_json::Value as Json;

use super::config::{Config, Family, ResourceConfig};
use super::discovery::ServedKind;
use super::labels::Labels;
use super::problem::{Problem, ValueError};
use crate::family::FamilyInfo;
use crate::image::Generator;
use crate::samples::{Samples, Value};
use crate::selection::Selection;
use crate::{Encoding, ObjectError};

/// Group, version and kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupVersionKind {
    /// API group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Kind.
    pub kind: String,
}

impl fmt::Display for GroupVersionKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

/// A custom resource to watch, and what is said of its objects.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomResource {
    /// What it is.
    pub gvk: GroupVersionKind,
    /// Its name in URLs.
    pub plural: String,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    families: Arc<[Family]>,
    /// The constant labels of each family.
    common_labels: Vec<BTreeMap<String, String>>,
}

/// Labels of a sample that are kept one by one.
const MOST_NAMED: usize = 60;

/// What a configuration means for a cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resolution {
    /// The resources, sorted by [`table_name`](CustomResource::table_name), each once.
    pub resources: Vec<CustomResource>,
    /// What is configured, but served by no CRD.
    pub missing: Vec<GroupVersionKind>,
}

impl Config {
    /// Finds the configured resources among what is served. Version and kind may be `*`; built-in kinds are never
    /// found, as no CRD serves them. Of two entries that come to the same resource the later one counts.
    pub fn resolve(&self, served: &[ServedKind]) -> Resolution {
        let (mut resources, mut missing) = (BTreeMap::new(), Vec::new());
        for config in &self.resources {
            let kinds: Vec<_> = served.iter().filter(|kind| config.wants(&kind.gvk)).collect();
            if kinds.is_empty() && !matches!(config.gvk.group.as_str(), "" | "*") {
                missing.push(config.gvk.clone());
            }
            let mut seen = BTreeSet::new();
            for kind in kinds.into_iter().filter(|kind| seen.insert(&kind.gvk)) {
                let resource = CustomResource::new(config, kind);
                resources.insert(resource.table_name(), resource);
            }
        }
        Resolution { resources: resources.into_values().collect(), missing }
    }
}

impl ResourceConfig {
    fn wants(&self, served: &GroupVersionKind) -> bool {
        let any = |wanted: &str, served: &str| matches!(wanted, "" | "*") || wanted == served;
        !matches!(self.gvk.group.as_str(), "" | "*")
            && self.gvk.group == served.group
            && any(&self.gvk.version, &served.version)
            && any(&self.gvk.kind, &served.kind)
    }
}

/// Told of each value that gave no sample.
pub type ReportProblem = Arc<dyn Fn(&Problem<'_>) + Send + Sync>;

impl CustomResource {
    fn new(config: &ResourceConfig, kind: &ServedKind) -> Self {
        let ServedKind { gvk, plural, namespaced } = kind.clone();
        let mut shared = config.common_labels.clone();
        shared.insert("customresource_group".to_owned(), gvk.group.clone());
        shared.insert("customresource_version".to_owned(), gvk.version.clone());
        shared.insert("customresource_kind".to_owned(), gvk.kind.clone());
        let with_own =
            |family: &Family| shared.clone().into_iter().chain(family.common_labels.clone()).collect();
        let common_labels = config.families.iter().map(with_own).collect();
        Self { gvk, plural, namespaced, families: config.families.clone(), common_labels }
    }

    /// What kube-state-metrics sorts it by among all resources: `group/version, Resource=plural`.
    pub fn table_name(&self) -> String {
        format!("{}/{}, Resource={}", self.gvk.group, self.gvk.version, self.plural)
    }

    /// Names of all families, wanted or not.
    pub fn family_names(&self) -> impl Iterator<Item = &str> {
        self.families.iter().map(|family| family.name.as_str())
    }

    /// Says the samples of the families that are wanted.
    pub fn generator(&self, selection: &Selection, report: ReportProblem) -> Box<dyn Generator> {
        let families = self.families.iter().zip(&self.common_labels);
        let wanted: Vec<_> = families
            .filter(|(family, _)| selection.families.wants(&family.name, false))
            .map(|(family, labels)| (family.clone(), labels.clone()))
            .collect();
        let info = |(family, _): &(Family, _)| FamilyInfo {
            name: family.name.clone(),
            help: family.help.clone(),
            kind: family.kind,
        };
        Box::new(CustomGenerator { infos: wanted.iter().map(info).collect(), families: wanted, report })
    }
}

struct CustomGenerator {
    infos: Vec<FamilyInfo>,
    families: Vec<(Family, BTreeMap<String, String>)>,
    report: ReportProblem,
}

/// Names of an object.
#[derive(Clone, Copy)]
struct Identity<'a> {
    namespace: &'a str,
    name: &'a str,
    uid: &'a str,
}

impl<'a> Identity<'a> {
    fn of(object: &'a Json) -> Self {
        let text = |name| object.pointer(name).and_then(Json::as_str).unwrap_or_default();
        Self {
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
            uid: text("/metadata/uid"),
        }
    }

    /// A text that hardly any other object has is not worth a place in the dictionary.
    fn value<'t>(&self, text: &'t str) -> Value<'t> {
        let own = text == self.name || text == self.uid || text.len() > 100;
        if own { Value::Text(text) } else { Value::Word(text) }
    }
}

impl CustomGenerator {
    fn say(&self, object: &Json, samples: &mut Samples) {
        let identity = Identity::of(object);
        samples.set_object(identity.namespace, identity.name, identity.uid);
        for (place, (family, common)) in self.families.iter().enumerate() {
            samples.begin_family(place as u16);
            let outcome = family.each.values(object);
            for error in &outcome.errors {
                self.report(family, identity, error);
            }
            if outcome.values.is_empty() {
                continue;
            }
            let mut base: Labels<'_> = common
                .iter()
                .map(|(name, value)| (Cow::Borrowed(&**name), Cow::Borrowed(&**value)))
                .collect();
            family.labels.add(object, &mut base);
            for value in outcome.values {
                let mut labels = base.clone();
                labels.extend(value.labels);
                family.say(&labels, identity, value.number, samples);
            }
        }
    }

    fn report(&self, family: &Family, identity: Identity<'_>, error: &ValueError) {
        let Identity { namespace, name, .. } = identity;
        (self.report)(&Problem { family: &family.name, namespace, name, verbosity: family.verbosity, error });
    }
}

impl Family {
    fn say(&self, labels: &Labels<'_>, identity: Identity<'_>, number: f64, samples: &mut Samples) {
        if self.labels.has_wildcard() || self.each.labels.has_wildcard() || labels.len() > MOST_NAMED {
            let pairs: Vec<(String, &str)> =
                labels.iter().map(|(name, value)| (name.clone().into_owned(), &**value)).collect();
            samples.add_pairs(&[], &[], &pairs, number);
        } else {
            let named: Vec<(&str, Value<'_>)> =
                labels.iter().map(|(name, value)| (&**name, identity.value(value))).collect();
            samples.add_named(&named, number);
        }
    }
}

impl Generator for CustomGenerator {
    fn families(&self) -> &[FamilyInfo] {
        &self.infos
    }

    fn samples(&self) -> Samples {
        Samples::default()
    }

    fn generate(&self, encoding: Encoding, object: &[u8], samples: &mut Samples) -> Result<(), ObjectError> {
        self.say(&read(encoding, object)?, samples);
        Ok(())
    }

    fn identify(&self, encoding: Encoding, object: &[u8], samples: &mut Samples) -> Result<(), ObjectError> {
        let object = read(encoding, object)?;
        let Identity { namespace, name, uid } = Identity::of(&object);
        samples.set_object(namespace, name, uid);
        Ok(())
    }
}

/// Custom resources are always JSON.
fn read(encoding: Encoding, object: &[u8]) -> Result<Json, ObjectError> {
    match encoding {
        Encoding::Json => {
            serde_json::from_slice(object).map_err(|error| ObjectError::NotJson(error.to_string()))
        }
        Encoding::Protobuf => Err(ObjectError::Json { expected: "JSON, not protobuf" }),
    }
}
