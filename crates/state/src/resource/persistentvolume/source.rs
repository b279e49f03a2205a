//! What a PersistentVolume is made of.

use crate::object::{Map, Nested, message};
use crate::samples::Value::{self, Text, Word};

message! {
    /// `v1.PersistentVolumeSource`.
    pub struct PersistentVolumeSource {
        1 "gcePersistentDisk" gce_persistent_disk: Nested<'a, GcePersistentDisk<'a>>,
        2 "awsElasticBlockStore" aws_elastic_block_store: Nested<'a, AwsElasticBlockStore<'a>>,
        3 "hostPath" host_path: Nested<'a, HostPath<'a>>,
        5 "nfs" nfs: Nested<'a, Nfs<'a>>,
        7 "iscsi" iscsi: Nested<'a, Iscsi<'a>>,
        10 "fc" fc: Nested<'a, FibreChannel<'a>>,
        16 "azureDisk" azure_disk: Nested<'a, AzureDisk<'a>>,
        20 "local" local: Nested<'a, Local<'a>>,
        22 "csi" csi: Nested<'a, Csi<'a>>,
    }

    /// `v1.GCEPersistentDiskVolumeSource`.
    pub struct GcePersistentDisk {
        1 "pdName" pd_name: &'a str,
    }

    /// `v1.AWSElasticBlockStoreVolumeSource`.
    pub struct AwsElasticBlockStore {
        1 "volumeID" volume_id: &'a str,
    }

    /// `v1.HostPathVolumeSource`.
    pub struct HostPath {
        1 "path" path: &'a str,
        2 "type" kind: &'a str,
    }

    /// `v1.NFSVolumeSource`.
    pub struct Nfs {
        1 "server" server: &'a str,
        2 "path" path: &'a str,
    }

    /// `v1.ISCSIPersistentVolumeSource`.
    pub struct Iscsi {
        1 "targetPortal" target_portal: &'a str,
        2 "iqn" iqn: &'a str,
        3 "lun" lun: i32,
        12 "initiatorName" initiator_name: &'a str,
    }

    /// `v1.FCVolumeSource`.
    pub struct FibreChannel {
        1 "targetWWNs" target_wwns: Vec<&'a str>,
        2 "lun" lun: Option<i32>,
        5 "wwids" wwids: Vec<&'a str>,
    }

    /// `v1.AzureDiskVolumeSource`.
    pub struct AzureDisk {
        1 "diskName" disk_name: &'a str,
    }

    /// `v1.LocalVolumeSource`.
    pub struct Local {
        1 "path" path: &'a str,
        2 "fsType" fs_type: &'a str,
    }

    /// `v1.CSIPersistentVolumeSource`.
    pub struct Csi {
        1 "driver" driver: &'a str,
        2 "volumeHandle" volume_handle: &'a str,
        5 "volumeAttributes" volume_attributes: Map<'a>,
    }
}

/// Where the values of a source begin among the labels of `kube_persistentvolume_info` that say what a volume is.
const GCE: usize = 0;
const EBS: usize = 1;
const AZURE: usize = 2;
const FC: usize = 3;
const ISCSI: usize = 6;
const NFS: usize = 10;
const CSI: usize = 12;
const LOCAL: usize = 14;
const HOST: usize = 16;
const VALUES: usize = 18;

impl PersistentVolumeSource<'_> {
    /// Gives the values of the labels from `gce_persistent_disk_name` to `host_path_type`. Of several sources, which
    /// Kubernetes refuses, the first one in the order here counts.
    pub(super) fn describe(&self, take: impl FnOnce(&[Value<'_>; VALUES])) {
        let mut digits = itoa::Buffer::new();
        if let Some(disk) = self.gce_persistent_disk.get() {
            take(&values_at(GCE, &[Text(disk.pd_name)]));
        } else if let Some(store) = self.aws_elastic_block_store.get() {
            take(&values_at(EBS, &[Text(store.volume_id)]));
        } else if let Some(disk) = self.azure_disk.get() {
            take(&values_at(AZURE, &[Text(disk.disk_name)]));
        } else if let Some(fc) = self.fc.get() {
            let lun = fc.lun.map_or("", |lun| digits.format(lun));
            take(&values_at(FC, &[Text(&joined(&fc.wwids)), Word(lun), Text(&joined(&fc.target_wwns))]));
        } else if let Some(iscsi) = self.iscsi.get() {
            let lun = Word(digits.format(iscsi.lun));
            let values = [Word(iscsi.target_portal), Text(iscsi.iqn), lun, Word(iscsi.initiator_name)];
            take(&values_at(ISCSI, &values));
        } else if let Some(nfs) = self.nfs.get() {
            take(&values_at(NFS, &[Word(nfs.server), Text(nfs.path)]));
        } else if let Some(csi) = self.csi.get() {
            take(&values_at(CSI, &[Word(csi.driver), Text(csi.volume_handle)]));
        } else if let Some(local) = self.local.get() {
            take(&values_at(LOCAL, &[Word(local.path), Word(local.fs_type)]));
        } else if let Some(host) = self.host_path.get() {
            take(&values_at(HOST, &[Text(host.path), Word(host.kind)]));
        } else {
            take(&values_at(GCE, &[]));
        }
    }
}

fn values_at<'v>(first: usize, own: &[Value<'v>]) -> [Value<'v>; VALUES] {
    let mut values = [Word(""); VALUES];
    values[first..first + own.len()].copy_from_slice(own);
    values
}

/// With a comma before each text that has something before it.
fn joined(texts: &[&str]) -> String {
    texts.iter().fold(String::new(), |mut joined, text| {
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(text);
        joined
    })
}
