//! ValidatingWebhookConfigurations.

use super::{Family, Kind, created, resource_version};
use crate::object::admission::WebhookConfiguration;
use crate::samples::{Samples, Value};

pub(crate) struct ValidatingWebhookConfigurations;

impl Kind for ValidatingWebhookConfigurations {
    type Object<'a> = WebhookConfiguration<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::alpha(
            "kube_validatingwebhookconfiguration_info",
            "Information about the ValidatingWebhookConfiguration.",
            |_, samples| samples.add(&[], &[], 1.0),
        ),
        Family::<Self>::alpha(
            "kube_validatingwebhookconfiguration_created",
            "Unix creation timestamp.",
            |configuration, samples| created(&configuration.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_validatingwebhookconfiguration_metadata_resource_version",
            "Resource version representing a specific version of the ValidatingWebhookConfiguration.",
            |configuration, samples| resource_version(&configuration.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_validatingwebhookconfiguration_webhook_clientconfig_service",
            "Service used by the apiserver to connect to a validating webhook.",
            services,
        ),
    ];

    fn identity(configuration: &WebhookConfiguration<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", configuration.metadata.namespace);
        samples.add_identity("validatingwebhookconfiguration", configuration.metadata.name);
    }
}

/// The service behind each webhook, empty for one behind a URL; for MutatingWebhookConfigurations too.
pub(super) fn services(configuration: &WebhookConfiguration<'_>, samples: &mut Samples) {
    for webhook in &*configuration.webhooks {
        let service = &webhook.client_config.service;
        let values = [webhook.name, service.name, service.namespace].map(Value::Word);
        samples.add(&["webhook_name", "service_name", "service_namespace"], &values, 1.0);
    }
}
