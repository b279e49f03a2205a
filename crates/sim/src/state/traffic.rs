//! Services and how traffic reaches their pods.

use std::collections::BTreeMap;

use outrigger_wire::kubernetes::ResourceKind;
use outrigger_wire::kubernetes::object::{
    Endpoint, EndpointAddress, EndpointPort, EndpointSlice, EndpointSubset, Endpoints, ObjectMeta,
    OwnerReference, SlicePort, TargetReference,
};
use outrigger_wire::protobuf::Writer;

use super::encode::{Object, number_or_text, pairs};
use super::pod::{address, application_labels, borrowed};
use super::{PODS_PER_DEPLOYMENT, StatePopulation, names};
use crate::store::{Made, Maker as _};

impl Object {
    pub(super) fn service(&self, writer: &mut Writer<'_>) {
        let labels = application_labels(self.number());
        let labels = borrowed(&labels);
        self.metadata(writer, &labels, None);
        let number = self.number();
        let balanced = number.is_multiple_of(50);
        writer.message(2, |spec| {
            for (name, port) in [("http", 80), ("metrics", 9090)] {
                spec.message(1, |one| {
                    one.string(1, name);
                    one.string(2, "TCP");
                    one.int(3, port);
                    one.message(4, |target| number_or_text(target, if port == 80 { 8080 } else { 9090 }));
                    one.int(5, 0);
                });
            }
            pairs(spec, 2, &labels[..1]);
            let cluster_ip =
                format!("10.{}.{}.{}", 128 + (number >> 16 & 0x7f), number >> 8 & 0xff, number & 0xff);
            spec.string(3, &cluster_ip);
            spec.string(4, if balanced { "LoadBalancer" } else { "ClusterIP" });
            spec.string(7, "None");
            spec.string(8, "");
            spec.string(10, "");
            spec.string(17, "SingleStack");
            spec.string(18, &cluster_ip);
            spec.string(19, "IPv4");
        });
        writer.message(3, |status| {
            status.message(1, |balancer| {
                if balanced {
                    balancer.message(1, |ingress| {
                        ingress.string(1, &format!("198.51.100.{}", number / 50 % 250));
                        ingress.string(2, "");
                    });
                }
            });
        });
    }

    pub(super) fn ingress(&self, writer: &mut Writer<'_>) {
        let labels = application_labels(self.number());
        self.metadata(writer, &borrowed(&labels), None);
        let host = format!("{}.example.com", self.key.name);
        writer.message(2, |spec| {
            spec.message(2, |tls| {
                tls.string(1, &host);
                tls.string(2, &format!("{}-tls", self.key.name));
            });
            spec.message(3, |rule| {
                rule.string(1, &host);
                rule.message(2, |value| {
                    value.message(1, |http| {
                        http.message(1, |path| {
                            path.string(1, "/");
                            path.message(2, |backend| {
                                backend.message(4, |service| {
                                    service.string(1, &self.key.name);
                                    service.message(2, |port| {
                                        port.string(1, "");
                                        port.int(2, 80);
                                    });
                                });
                            });
                            path.string(3, "Prefix");
                        });
                    });
                });
            });
            spec.string(4, "public");
        });
        writer.message(3, |status| status.message(1, |_| {}));
    }

    pub(super) fn ingress_class(&self, writer: &mut Writer<'_>) {
        self.metadata(writer, &[], None);
        writer.message(2, |spec| spec.string(1, "example.com/ingress-controller"));
    }

    pub(super) fn network_policy(&self, writer: &mut Writer<'_>) {
        self.metadata(writer, &[], None);
        writer.message(2, |spec| {
            spec.message(1, |_| {});
            spec.message(2, |_| {});
            spec.message(3, |_| {});
            spec.string(4, "Ingress");
            spec.string(4, "Egress");
        });
    }
}

impl StatePopulation {
    /// Writes the EndpointSlice and the Endpoints of a Deployment's Service: those of its pods that are ready.
    pub(super) fn put_endpoints(&self, deployment: u64) {
        let all = self.all;
        let service = all.key(ResourceKind::Service, Made { number: deployment, edition: 0 });
        let first = deployment * PODS_PER_DEPLOYMENT;
        let pods = first..(first + PODS_PER_DEPLOYMENT).min(all.pods);
        let serials: Vec<u64> = {
            let all = self.pods.lock();
            pods.clone().map(|pod| all[pod as usize].0).collect()
        };
        let addresses: Vec<EndpointAddress> = pods
            .zip(serials)
            .map(|(pod, serial)| EndpointAddress {
                ip: address(pod, serial),
                node_name: names::node(pod % all.nodes()),
                target: Some(TargetReference {
                    kind: "Pod".to_owned(),
                    namespace: service.namespace.clone(),
                    name: names::pod(pod, serial),
                    uid: names::uid(ResourceKind::Pod, pod, serial),
                }),
                ..EndpointAddress::default()
            })
            .collect();
        let meta = |resource: ResourceKind| {
            let key = all.key(resource, Made { number: deployment, edition: 0 });
            let labels: BTreeMap<String, String> =
                application_labels(deployment).map(|(key, value)| (key.to_owned(), value)).into();
            ObjectMeta {
                uid: names::uid(resource, deployment, 0),
                creation_timestamp: Some(all.created(resource, deployment)),
                labels,
                ..ObjectMeta::named(&key.namespace, &key.name)
            }
        };
        let mut slice = meta(ResourceKind::EndpointSlice);
        slice.labels.insert("kubernetes.io/service-name".to_owned(), service.name.clone());
        slice.owner_references = vec![OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Service".to_owned(),
            name: service.name.clone(),
            uid: names::uid(ResourceKind::Service, deployment, 0),
            controller: Some(true),
        }];
        let endpoint = |address: &EndpointAddress| Endpoint {
            addresses: vec![address.ip.clone()],
            ready: Some(true),
            serving: Some(true),
            terminating: Some(false),
            target: address.target.clone(),
            node_name: address.node_name.clone(),
            zone: "region-1-a".to_owned(),
            ..Endpoint::default()
        };
        const PORTS: [(&str, i32); 2] = [("http", 8080), ("metrics", 9090)];
        let slice_port = |(name, number): (&str, i32)| SlicePort {
            name: name.to_owned(),
            protocol: "TCP".to_owned(),
            number: Some(number),
            ..SlicePort::default()
        };
        self.store.put(&mut EndpointSlice {
            meta: slice,
            address_type: "IPv4".to_owned(),
            endpoints: addresses.iter().map(endpoint).collect(),
            ports: PORTS.map(slice_port).to_vec(),
        });
        let port = |(name, number): (&str, i32)| EndpointPort {
            name: name.to_owned(),
            number,
            protocol: "TCP".to_owned(),
        };
        self.store.put(&mut Endpoints {
            meta: meta(ResourceKind::Endpoints),
            subsets: vec![EndpointSubset {
                addresses,
                not_ready_addresses: Vec::new(),
                ports: PORTS.map(port).to_vec(),
            }],
        });
    }
}
