//! MutatingWebhookConfigurations.

use super::validatingwebhookconfiguration::services;
use super::{Family, Kind, created, resource_version};
use crate::object::admission::WebhookConfiguration;
use crate::samples::Samples;

pub(crate) struct MutatingWebhookConfigurations;

impl Kind for MutatingWebhookConfigurations {
    type Object<'a> = WebhookConfiguration<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::alpha(
            "kube_mutatingwebhookconfiguration_info",
            "Information about the MutatingWebhookConfiguration.",
            |_, samples| samples.add(&[], &[], 1.0),
        ),
        Family::<Self>::alpha(
            "kube_mutatingwebhookconfiguration_created",
            "Unix creation timestamp.",
            |configuration, samples| created(&configuration.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_mutatingwebhookconfiguration_metadata_resource_version",
            "Resource version representing a specific version of the MutatingWebhookConfiguration.",
            |configuration, samples| resource_version(&configuration.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_mutatingwebhookconfiguration_webhook_clientconfig_service",
            "Service used by the apiserver to connect to a mutating webhook.",
            services,
        ),
    ];

    fn identity(configuration: &WebhookConfiguration<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", configuration.metadata.namespace);
        samples.add_identity("mutatingwebhookconfiguration", configuration.metadata.name);
    }
}
