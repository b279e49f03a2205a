//! Values of Secrets and ConfigMaps that monitors name.

use std::collections::BTreeMap;
use std::fmt;

use super::resource::{KeySelector, SecretOrConfigMap};

/// A Secret or a ConfigMap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum AssetKind {
    Secret,
    ConfigMap,
}

impl AssetKind {
    /// Name in URLs and RBAC rules.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Secret => "secrets",
            Self::ConfigMap => "configmaps",
        }
    }
}

impl fmt::Display for AssetKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Secret => "secret",
            Self::ConfigMap => "config map",
        })
    }
}

/// One Secret or ConfigMap by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AssetName {
    pub(crate) kind: AssetKind,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl fmt::Display for AssetName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// The contents of one Secret or ConfigMap. `Debug` shows the keys only.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct AssetData(pub(crate) BTreeMap<String, Vec<u8>>);

impl fmt::Debug for AssetData {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// What is known of a Secret or ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asset {
    /// It was read.
    Present(AssetData),
    /// The server says that there is none.
    Absent,
    /// It could not be read (yet), with the reason. Contents that were read before are not forgotten for that.
    Unread(String),
}

/// Why a value cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AssetProblem {
    /// It has not been read so far: the object waits.
    Pending(String),
    /// It is not there or is not usable: the object is rejected.
    Missing(String),
}

/// Looks values up, and notes whatever was looked for.
pub(crate) struct Assets<'a> {
    namespace: &'a str,
    known: &'a dyn Fn(&AssetName) -> Option<Asset>,
    wanted: std::cell::RefCell<Vec<AssetName>>,
}

impl<'a> Assets<'a> {
    /// Assets of a namespace, out of those that `known` has.
    pub(crate) fn new(namespace: &'a str, known: &'a dyn Fn(&AssetName) -> Option<Asset>) -> Self {
        Self { namespace, known, wanted: Default::default() }
    }

    /// Everything that was looked for.
    pub(crate) fn into_wanted(self) -> Vec<AssetName> {
        let mut wanted = self.wanted.into_inner();
        wanted.sort();
        wanted.dedup();
        wanted
    }

    /// The value of a Secret's key.
    ///
    /// # Errors
    /// When it is not there or not known; the message never has contents.
    pub(crate) fn secret(&self, selector: &KeySelector) -> Result<String, AssetProblem> {
        self.value(AssetKind::Secret, selector)
    }

    /// The value of whichever of the two is named; empty where neither is.
    ///
    /// # Errors
    /// As [`secret`](Self::secret).
    pub(crate) fn either(&self, selector: &SecretOrConfigMap) -> Result<String, AssetProblem> {
        match (&selector.secret, &selector.config_map) {
            (Some(secret), _) => self.value(AssetKind::Secret, secret),
            (None, Some(map)) => self.value(AssetKind::ConfigMap, map),
            (None, None) => Ok(String::new()),
        }
    }

    fn value(&self, kind: AssetKind, selector: &KeySelector) -> Result<String, AssetProblem> {
        let KeySelector { name, key } = selector;
        if name.is_empty() {
            return Err(AssetProblem::Missing(format!("a {kind} without a name is referred to")));
        }
        let asset = AssetName { kind, namespace: self.namespace.to_owned(), name: name.clone() };
        let known = (self.known)(&asset);
        self.wanted.borrow_mut().push(asset);
        match known {
            None => Err(AssetProblem::Pending(format!("the {kind} {name:?} has not been read yet"))),
            Some(Asset::Unread(reason)) => {
                Err(AssetProblem::Pending(format!("the {kind} {name:?} cannot be read: {reason}")))
            }
            Some(Asset::Absent) => Err(AssetProblem::Missing(format!("there is no {kind} {name:?}"))),
            Some(Asset::Present(data)) => match data.0.get(key) {
                None => Err(AssetProblem::Missing(format!("the {kind} {name:?} has no key {key:?}"))),
                Some(bytes) => String::from_utf8(bytes.clone()).map_err(|_| {
                    AssetProblem::Missing(format!("the key {key:?} of the {kind} {name:?} is not text"))
                }),
            },
        }
    }
}
