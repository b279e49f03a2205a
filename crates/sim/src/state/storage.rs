//! Volumes.

use outrigger_wire::kubernetes::ResourceKind;
use outrigger_wire::protobuf::Writer;

use super::encode::{Object, pairs, quantities};
use super::names;
use super::pod::{application_labels, borrowed};
use crate::store::{Made, Maker as _};

const CLASS: &str = "storageclass-0";
const SIZE: [(&str, &str); 1] = [("storage", "100Gi")];

impl Object {
    fn other(&self, resource: ResourceKind) -> crate::store::ObjectKey {
        self.all.key(resource, Made { number: self.number(), edition: 0 })
    }

    pub(super) fn volume(&self, writer: &mut Writer<'_>) {
        self.metadata(writer, &[], None);
        let claim = self.other(ResourceKind::PersistentVolumeClaim);
        writer.message(2, |spec| {
            quantities(spec, 1, &SIZE);
            spec.message(2, |source| {
                source.message(22, |csi| {
                    csi.string(1, "disk.csi.example.com");
                    csi.string(2, &format!("vol-{:016x}", self.random(2)));
                    csi.boolean(3, false);
                    csi.string(4, "ext4");
                });
            });
            spec.string(3, "ReadWriteOnce");
            spec.message(4, |reference| {
                reference.string(1, "PersistentVolumeClaim");
                reference.string(2, &claim.namespace);
                reference.string(3, &claim.name);
                reference.string(4, &names::uid(ResourceKind::PersistentVolumeClaim, self.number(), 0));
                reference.string(5, "v1");
                reference.string(6, "1");
                reference.string(7, "");
            });
            spec.string(5, "Delete");
            spec.string(6, CLASS);
            spec.string(8, "Filesystem");
        });
        writer.message(3, |status| {
            status.string(1, "Bound");
            status.string(2, "");
            status.string(3, "");
        });
    }

    pub(super) fn claim(&self, writer: &mut Writer<'_>) {
        let labels = application_labels(self.number() / 3);
        self.metadata(writer, &borrowed(&labels), None);
        let volume = self.other(ResourceKind::PersistentVolume);
        writer.message(2, |spec| {
            spec.string(1, "ReadWriteOnce");
            spec.message(2, |resources| quantities(resources, 2, &SIZE));
            spec.string(3, &volume.name);
            spec.string(5, CLASS);
            spec.string(6, "Filesystem");
        });
        writer.message(3, |status| {
            status.string(1, "Bound");
            status.string(2, "ReadWriteOnce");
            quantities(status, 3, &SIZE);
        });
    }

    pub(super) fn attachment(&self, writer: &mut Writer<'_>) {
        self.metadata(writer, &[], None);
        let volume = self.other(ResourceKind::PersistentVolume);
        writer.message(2, |spec| {
            spec.string(1, "disk.csi.example.com");
            spec.message(2, |source| source.string(1, &volume.name));
            spec.string(3, &names::node(self.number() % self.all.nodes()));
        });
        writer.message(3, |status| {
            status.boolean(1, true);
            pairs(status, 2, &[("devicePath", "/dev/nvme1n1")]);
        });
    }

    pub(super) fn storage_class(&self, writer: &mut Writer<'_>) {
        self.metadata(writer, &[], None);
        writer.string(2, "disk.csi.example.com");
        pairs(writer, 3, &[("type", "ssd")]);
        writer.string(4, "Delete");
        writer.boolean(6, true);
        writer.string(7, "WaitForFirstConsumer");
    }
}
