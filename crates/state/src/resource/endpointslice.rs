//! EndpointSlices.

use super::{Family, Kind, annotations, created, labels, truth_text};
use crate::object::reference::ObjectReference;
use crate::object::{Nested, Repeated, message, object};
use crate::samples::{Samples, Value};

object! {
    /// `v1.EndpointSlice`.
    pub struct EndpointSlice {
        2 "endpoints" endpoints: Repeated<'a, Endpoint<'a>>,
        3 "ports" ports: Repeated<'a, EndpointPort<'a>>,
        4 "addressType" address_type: &'a str,
    }
}

message! {
    /// `v1.Endpoint`.
    pub struct Endpoint {
        1 "addresses" addresses: Vec<&'a str>,
        2 "conditions" conditions: Nested<'a, EndpointConditions<'a>>,
        3 "hostname" hostname: &'a str,
        4 "targetRef" target_ref: Nested<'a, ObjectReference<'a>>,
        6 "nodeName" node_name: &'a str,
        7 "zone" zone: &'a str,
        8 "hints" hints: Nested<'a, EndpointHints<'a>>,
    }

    /// `v1.EndpointConditions`.
    pub struct EndpointConditions {
        1 "ready" ready: Option<bool>,
        2 "serving" serving: Option<bool>,
        3 "terminating" terminating: Option<bool>,
    }

    /// `v1.EndpointHints`.
    pub struct EndpointHints {
        1 "forZones" for_zones: Repeated<'a, ForZone<'a>>,
    }

    /// `v1.ForZone`.
    pub struct ForZone {
        1 "name" name: &'a str,
    }

    /// `v1.EndpointPort`.
    pub struct EndpointPort {
        1 "name" name: &'a str,
        2 "protocol" protocol: &'a str,
        3 "port" port: Option<i32>,
    }
}

pub(crate) struct EndpointSlices;

impl Kind for EndpointSlices {
    type Object<'a> = EndpointSlice<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::alpha("kube_endpointslice_info", "Information about endpointslice.", info),
        Family::<Self>::alpha("kube_endpointslice_created", "Unix creation timestamp", |slice, samples| {
            created(&slice.metadata, samples)
        }),
        Family::<Self>::alpha(
            "kube_endpointslice_endpoints_hints",
            "Topology routing hints attached to endpoints",
            hints,
        ),
        Family::<Self>::alpha(
            "kube_endpointslice_endpoints",
            "Endpoints attached to the endpointslice.",
            endpoints,
        ),
        Family::<Self>::alpha("kube_endpointslice_ports", "Ports attached to the endpointslice.", ports),
        Family::<Self>::alpha(
            "kube_endpointslice_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |slice, samples| annotations(&slice.metadata, samples),
        ),
        Family::<Self>::alpha(
            "kube_endpointslice_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |slice, samples| labels(&slice.metadata, samples),
        ),
    ];

    fn identity(slice: &EndpointSlice<'_>, samples: &mut Samples) {
        samples.add_identity("endpointslice", slice.metadata.name);
        samples.add_identity("namespace", slice.metadata.namespace);
    }
}

fn info(slice: &EndpointSlice<'_>, samples: &mut Samples) {
    samples.add(&["addresstype"], &[Value::Word(slice.address_type)], 1.0);
}

/// The zones that each endpoint, named by its first address, is meant for.
fn hints(slice: &EndpointSlice<'_>, samples: &mut Samples) {
    for endpoint in &*slice.endpoints {
        let Some(address) = endpoint.addresses.first() else { continue };
        for zone in &*endpoint.hints.for_zones {
            samples.add(&["address", "for_zone"], &[Value::Text(address), Value::Word(zone.name)], 1.0);
        }
    }
}

/// Each address of each endpoint.
fn endpoints(slice: &EndpointSlice<'_>, samples: &mut Samples) {
    const LABELS: &[&str] = &[
        "ready",
        "serving",
        "hostname",
        "terminating",
        "targetref_kind",
        "targetref_name",
        "targetref_namespace",
        "endpoint_nodename",
        "endpoint_zone",
        "address",
    ];
    for endpoint in &*slice.endpoints {
        let (conditions, target) = (&endpoint.conditions, &endpoint.target_ref);
        for address in &endpoint.addresses {
            let values = [
                Value::Word(condition(conditions.ready)),
                Value::Word(condition(conditions.serving)),
                Value::Text(endpoint.hostname),
                Value::Word(condition(conditions.terminating)),
                Value::Word(target.kind),
                Value::Text(target.name),
                Value::Word(target.namespace),
                Value::Word(endpoint.node_name),
                Value::Word(endpoint.zone),
                Value::Text(address),
            ];
            samples.add(LABELS, &values, 1.0);
        }
    }
}

/// A condition that is not known is empty.
fn condition(known: Option<bool>) -> &'static str {
    known.map_or("", truth_text)
}

fn ports(slice: &EndpointSlice<'_>, samples: &mut Samples) {
    const LABELS: &[&str] = &["port_name", "port_protocol", "port_number"];
    for port in &*slice.ports {
        let mut digits = itoa::Buffer::new();
        let number = port.port.map_or("", |number| digits.format(number));
        samples.add(LABELS, &[port.name, port.protocol, number].map(Value::Word), 1.0);
    }
}
