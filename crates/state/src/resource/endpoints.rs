//! Endpoints.

use super::{Family, Kind, annotations, created, labels};
use crate::object::{Repeated, message, object};
use crate::samples::{Samples, Value};

object! {
    /// `v1.Endpoints`.
    pub struct Endpoints {
        2 "subsets" subsets: Repeated<'a, EndpointSubset<'a>>,
    }
}

message! {
    /// `v1.EndpointSubset`.
    pub struct EndpointSubset {
        1 "addresses" addresses: Repeated<'a, EndpointAddress<'a>>,
        2 "notReadyAddresses" not_ready_addresses: Repeated<'a, EndpointAddress<'a>>,
        3 "ports" ports: Repeated<'a, EndpointPort<'a>>,
    }

    /// `v1.EndpointAddress`.
    pub struct EndpointAddress {
        1 "ip" ip: &'a str,
    }

    /// `v1.EndpointPort`.
    pub struct EndpointPort {
        1 "name" name: &'a str,
        2 "port" port: i32,
        3 "protocol" protocol: &'a str,
    }
}

pub(crate) struct EndpointsKind;

impl Kind for EndpointsKind {
    type Object<'a> = Endpoints<'a>;

    const FAMILIES: &'static [Family<Self>] = &[
        Family::<Self>::stable("kube_endpoint_info", "Information about endpoint.", |_, samples| {
            samples.add(&[], &[], 1.0)
        }),
        Family::<Self>::stable("kube_endpoint_created", "Unix creation timestamp", |endpoints, samples| {
            created(&endpoints.metadata, samples)
        }),
        Family::<Self>::alpha(
            "kube_endpoint_annotations",
            "Kubernetes annotations converted to Prometheus labels.",
            |endpoints, samples| annotations(&endpoints.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_endpoint_labels",
            "Kubernetes labels converted to Prometheus labels.",
            |endpoints, samples| labels(&endpoints.metadata, samples),
        ),
        Family::<Self>::stable(
            "kube_endpoint_address",
            "Information about Endpoint available and non available addresses.",
            address,
        ),
        Family::<Self>::stable("kube_endpoint_ports", "Information about the Endpoint ports.", ports)
            .deprecated("v2.14.0"),
    ];

    fn identity(endpoints: &Endpoints<'_>, samples: &mut Samples) {
        samples.add_identity("namespace", endpoints.metadata.namespace);
        samples.add_identity("endpoint", endpoints.metadata.name);
    }
}

/// Each address of a subset with each of its ports.
fn address(endpoints: &Endpoints<'_>, samples: &mut Samples) {
    for subset in &*endpoints.subsets {
        for port in &*subset.ports {
            addresses(port, &subset.addresses, "true", samples);
            addresses(port, &subset.not_ready_addresses, "false", samples);
        }
    }
}

fn addresses(port: &EndpointPort<'_>, addresses: &[EndpointAddress<'_>], ready: &str, samples: &mut Samples) {
    const LABELS: &[&str] = &["port_protocol", "port_number", "port_name", "ip", "ready"];
    let mut digits = itoa::Buffer::new();
    let number = digits.format(port.port);
    for address in addresses {
        let values = [
            Value::Word(port.protocol),
            Value::Word(number),
            Value::Word(port.name),
            Value::Text(address.ip),
            Value::Word(ready),
        ];
        samples.add(LABELS, &values, 1.0);
    }
}

fn ports(endpoints: &Endpoints<'_>, samples: &mut Samples) {
    const LABELS: &[&str] = &["port_name", "port_protocol", "port_number"];
    for port in endpoints.subsets.iter().flat_map(|subset| subset.ports.iter()) {
        let mut digits = itoa::Buffer::new();
        let values = [port.name, port.protocol, digits.format(port.port)];
        samples.add(LABELS, &values.map(Value::Word), 1.0);
    }
}
