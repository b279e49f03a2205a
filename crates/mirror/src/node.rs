use outrigger_wire::kubernetes::scan::NodeFields;

use crate::metadata::{metadata_methods, write_labels};
use crate::payload::{Pairs, Payload};
use crate::table::{Kind, ReadError, RowWriter, Rows, Table};

/// The nodes of a cluster.
pub type NodeTable = Table<Nodes>;

const UNSCHEDULABLE: u32 = 1;

/// How nodes are stored.
#[derive(Debug, Default)]
pub struct Nodes {
    fields: NodeFields<'static>,
}

impl Kind for Nodes {
    type View<'a> = NodeView<'a>;

    const TEXTS: usize = 1;
    const BLOCKS: usize = 0;

    fn view(rows: &Rows, index: u32) -> NodeView<'_> {
        NodeView { rows, index }
    }

    fn read(&mut self, object: &[u8], row: &mut RowWriter<'_>) -> Result<(), ReadError> {
        let mut node = std::mem::take(&mut self.fields).recycle();
        let result = node.scan(object).map_err(ReadError::from).and_then(|()| write_node(&node, row));
        self.fields = node.recycle();
        result
    }
}

/// Buffer: name, labels and annotations, uid, provider ID, kubelet port, addresses, conditions.
fn write_node(node: &NodeFields<'_>, row: &mut RowWriter<'_>) -> Result<(), ReadError> {
    row.key(false, b"", node.meta.name)?;
    row.set_flags(if node.unschedulable { UNSCHEDULABLE } else { 0 });
    write_labels(&node.meta, row);
    row.text(node.meta.uid);
    row.text(node.provider_id);
    row.number(u64::from(node.kubelet_port.cast_unsigned()));
    row.section(|row| row.pairs(&node.addresses));
    row.number(node.conditions.len() as u64);
    for (kind, status) in &node.conditions {
        row.shared(kind);
        row.shared(status);
    }
    Ok(())
}

/// A node. Absent strings are `""`.
#[derive(Debug, Clone, Copy)]
pub struct NodeView<'a> {
    rows: &'a Rows,
    index: u32,
}

impl<'a> NodeView<'a> {
    metadata_methods!();

    /// `metadata.uid`.
    pub fn uid(self) -> &'a str {
        self.after_labels().text()
    }

    /// `spec.providerID`.
    pub fn provider_id(self) -> &'a str {
        let mut payload = self.after_labels();
        payload.skip_text();
        payload.text()
    }

    /// `spec.unschedulable`.
    pub fn unschedulable(self) -> bool {
        self.rows.flags(self.index) & UNSCHEDULABLE != 0
    }

    /// `status.daemonEndpoints.kubeletEndpoint.Port`; 0 when absent.
    pub fn kubelet_port(self) -> u32 {
        self.after_provider_id().number() as u32
    }

    /// `status.addresses` as (type, address), in the object's order.
    pub fn addresses(self) -> Pairs<'a> {
        let mut payload = self.after_provider_id();
        payload.number();
        Pairs::new(payload.section())
    }

    /// `status.conditions` as (type, status), in the object's order.
    pub fn conditions(self) -> Pairs<'a> {
        let mut payload = self.after_provider_id();
        payload.number();
        payload.section();
        Pairs::new(payload)
    }

    fn after_labels(self) -> Payload<'a> {
        let mut payload = self.rows.payload(self.index);
        payload.section();
        payload
    }

    fn after_provider_id(self) -> Payload<'a> {
        let mut payload = self.after_labels();
        payload.skip_text();
        payload.skip_text();
        payload
    }
}
