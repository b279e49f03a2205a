//! Nodes and leases.

use outrigger_wire::protobuf::Writer;

use super::encode::{Metadata, Object, Owner, quantities, seconds};
use super::names;
use super::pod::node_address;
use outrigger_wire::kubernetes::ResourceKind;

impl Object {
    pub(super) fn node(&self, writer: &mut Writer<'_>) {
        let number = self.number();
        let zone = format!("region-1-{}", ["a", "b", "c"][(number % 3) as usize]);
        let uid = names::uid(self.resource, number, 0);
        let class = if number.is_multiple_of(10) { "gpu.8xlarge" } else { "general.4xlarge" };
        let labels = [
            ("beta.kubernetes.io/arch", "amd64"),
            ("beta.kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", "amd64"),
            ("kubernetes.io/hostname", self.key.name.as_str()),
            ("kubernetes.io/os", "linux"),
            ("node-role.kubernetes.io/worker", ""),
            ("node.kubernetes.io/instance-type", class),
            ("topology.kubernetes.io/region", "region-1"),
            ("topology.kubernetes.io/zone", &zone),
        ];
        self.metadata_of(
            writer,
            &Metadata {
                uid: &uid,
                created: self.created(),
                labels: &labels,
                annotations: &[
                    ("node.alpha.kubernetes.io/ttl", "0"),
                    ("volumes.kubernetes.io/controller-managed-attach-detach", "true"),
                ],
                owner: None,
                managers: 2,
            },
        );
        writer.message(2, |spec| {
            spec.string(1, &format!("10.{}.{}.0/24", number >> 8 & 0xff, number & 0xff));
            spec.string(3, &format!("cloud:///{zone}/i-{:017x}", self.random(3) >> 4));
            spec.boolean(4, number % 200 == 7);
            if number.is_multiple_of(10) {
                spec.message(5, |taint| {
                    taint.string(1, "accelerator");
                    taint.string(2, "present");
                    taint.string(3, "NoSchedule");
                });
            }
            spec.string(7, &format!("10.{}.{}.0/24", number >> 8 & 0xff, number & 0xff));
        });
        writer.message(3, |status| self.node_status(status));
    }

    fn node_status(&self, status: &mut Writer<'_>) {
        let number = self.number();
        for (field, cpu, memory) in [(1, "16", "65843048Ki"), (2, "15890m", "64691048Ki")] {
            quantities(
                status,
                field,
                &[
                    ("cpu", cpu),
                    ("ephemeral-storage", "104845292Ki"),
                    ("hugepages-1Gi", "0"),
                    ("hugepages-2Mi", "0"),
                    ("memory", memory),
                    ("pods", "110"),
                ],
            );
        }
        status.string(3, "");
        for (kind, holds, reason) in [
            ("MemoryPressure", false, "KubeletHasSufficientMemory"),
            ("DiskPressure", false, "KubeletHasNoDiskPressure"),
            ("PIDPressure", false, "KubeletHasSufficientPID"),
            ("Ready", true, "KubeletReady"),
        ] {
            status.message(4, |condition| {
                condition.string(1, kind);
                condition.string(2, if holds { "True" } else { "False" });
                condition.message(3, |time| seconds(time, self.all.now));
                condition.message(4, |time| seconds(time, self.created()));
                condition.string(5, reason);
                condition.string(6, "kubelet says so");
            });
        }
        for (kind, address) in [("InternalIP", node_address(number)), ("Hostname", self.key.name.clone())] {
            status.message(5, |one| {
                one.string(1, kind);
                one.string(2, &address);
            });
        }
        status.message(6, |daemons| daemons.message(1, |kubelet| kubelet.int(1, 10250)));
        status.message(7, |info| {
            info.string(1, &names::digest(number)[..32]);
            info.string(2, &names::uid(self.resource, number, 1));
            info.string(3, &names::uid(self.resource, number, 2));
            info.string(4, "6.12.41-generic");
            info.string(5, "Container Linux 41.20260801");
            info.string(6, "containerd://2.1.4");
            info.string(7, "v1.35.2");
            info.string(8, "");
            info.string(9, "linux");
            info.string(10, "amd64");
        });
        for image in 0..30 {
            status.message(8, |one| {
                let name = format!("registry.example.com/platform/{}", names::application(image));
                one.string(1, &format!("{name}@sha256:{}", names::digest(image)));
                one.string(1, &format!("{name}:v1.{image}.0"));
                one.int(2, 80_000_000 + image as i64);
            });
        }
    }

    pub(super) fn lease(&self, writer: &mut Writer<'_>) {
        let of_node = self.key.namespace == "kube-node-lease";
        let owner = of_node.then(|| Owner {
            api_version: "v1",
            kind: "Node",
            name: &self.key.name,
            uid: names::uid(ResourceKind::Node, self.number(), 0),
        });
        self.metadata(writer, &[], owner);
        // The edition of a lease is the second of its renewal.
        let renewed = if self.made.edition == 0 { self.all.now } else { self.made.edition as i64 - 1 };
        writer.message(2, |spec| {
            spec.string(1, &self.key.name);
            spec.int(2, 40);
            if !of_node {
                spec.message(3, |time| seconds(time, self.created()));
            }
            spec.message(4, |time| {
                time.int(1, renewed);
                time.int(2, (self.random(2) % 1_000_000 * 1000) as i64);
            });
        });
    }
}
