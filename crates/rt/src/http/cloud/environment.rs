//! Environment variables by which clouds tell programs who they are.

use std::collections::BTreeMap;
use std::fmt;

use outrigger_model::secret::Secret;

/// Names that may matter, by their beginning.
const PREFIXES: [&str; 8] = ["AWS_", "AZURE_", "GOOGLE_", "GCE_", "CLOUDSDK_", "IDENTITY_", "IMDS_", "MSI_"];

/// The variables that AWS', Azure's and Google's own clients read.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct CloudEnvironment {
    variables: BTreeMap<String, Secret>,
}

impl CloudEnvironment {
    /// The variables of this process.
    pub fn from_process() -> Self {
        Self::from_variables(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// Those of these variables that matter; an empty value counts as none.
    pub fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let matters = |name: &str| name == "HOME" || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let variables = variables
            .into_iter()
            .filter(|(name, value)| matters(name) && !value.is_empty())
            .map(|(name, value)| (name, Secret::new(value)))
            .collect();
        Self { variables }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(Secret::expose)
    }

    /// A file below the home directory.
    pub(super) fn home_file(&self, path: &str) -> Option<std::path::PathBuf> {
        self.get("HOME").map(|home| std::path::Path::new(home).join(path))
    }
}

/// Values may be secret, so only names are shown.
impl fmt::Debug for CloudEnvironment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.variables.keys()).finish()
    }
}
