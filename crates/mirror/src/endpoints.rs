use outrigger_wire::kubernetes::scan::{EndpointAddressFields, EndpointsFields, TargetFields};

use crate::metadata::{metadata_methods, namespace_method, write_labels};
use crate::payload::{Payload, Ports};
use crate::references::References;
use crate::row::RowId;
use crate::table::{Kind, ReadError, RowWriter, Rows, Table};

/// The Endpoints objects of a cluster.
pub type EndpointsTable = Table<EndpointsKind>;

/// How Endpoints objects are stored.
#[derive(Debug, Default)]
pub struct EndpointsKind {
    fields: EndpointsFields<'static>,
    pub(crate) index: TargetIndex,
}

/// Rows by the pods and the nodes that their endpoints name.
#[derive(Debug, Default)]
pub(crate) struct TargetIndex {
    pods: References,
    nodes: References,
    /// Keys of the row at hand, for its duplicates.
    keys: Vec<u64>,
}

impl TargetIndex {
    pub(crate) fn link<'a>(
        &mut self,
        rows: &Rows,
        index: u32,
        endpoints: impl Iterator<Item = (TargetView<'a>, &'a str)> + Clone,
    ) {
        self.pod_keys(rows, endpoints.clone());
        for key in &self.keys {
            self.pods.insert(*key, index);
        }
        self.node_keys(rows, endpoints);
        for key in &self.keys {
            self.nodes.insert(*key, index);
        }
    }

    pub(crate) fn unlink<'a>(
        &mut self,
        rows: &Rows,
        index: u32,
        endpoints: impl Iterator<Item = (TargetView<'a>, &'a str)> + Clone,
    ) {
        self.pod_keys(rows, endpoints.clone());
        for key in &self.keys {
            self.pods.remove(*key, index);
        }
        self.node_keys(rows, endpoints);
        for key in &self.keys {
            self.nodes.remove(*key, index);
        }
    }

    fn pod_keys<'a>(&mut self, rows: &Rows, endpoints: impl Iterator<Item = (TargetView<'a>, &'a str)>) {
        let pods = endpoints.filter(|(target, _)| target.kind == "Pod");
        self.set_keys(pods.map(|(target, _)| pod_key(rows, target.namespace, target.name)));
    }

    fn node_keys<'a>(&mut self, rows: &Rows, endpoints: impl Iterator<Item = (TargetView<'a>, &'a str)>) {
        let nodes = endpoints.flat_map(|(target, node)| [node, target.node()]);
        self.set_keys(nodes.filter(|node| !node.is_empty()).map(|node| node_key(rows, node)));
    }

    fn set_keys(&mut self, keys: impl Iterator<Item = u64>) {
        self.keys.clear();
        self.keys.extend(keys);
        self.keys.sort_unstable();
        self.keys.dedup();
    }

    pub(crate) fn memory(&self) -> usize {
        self.pods.memory() + self.nodes.memory() + self.keys.capacity() * size_of::<u64>()
    }

    pub(crate) fn of_pod(&self, rows: &Rows, namespace: &str, name: &str) -> impl Iterator<Item = u32> {
        self.pods.rows(pod_key(rows, namespace, name))
    }

    pub(crate) fn of_node(&self, rows: &Rows, node: &str) -> impl Iterator<Item = u32> {
        self.nodes.rows(node_key(rows, node))
    }
}

fn pod_key(rows: &Rows, namespace: &str, name: &str) -> u64 {
    rows.hash((namespace, name))
}

fn node_key(rows: &Rows, node: &str) -> u64 {
    rows.hash(node)
}

impl Kind for EndpointsKind {
    type View<'a> = EndpointsView<'a>;

    const TEXTS: usize = 1;
    const BLOCKS: usize = 0;

    fn view(rows: &Rows, index: u32) -> EndpointsView<'_> {
        EndpointsView { rows, index }
    }

    fn read(&mut self, object: &[u8], row: &mut RowWriter<'_>) -> Result<(), ReadError> {
        let mut endpoints = std::mem::take(&mut self.fields).recycle();
        let result =
            endpoints.scan(object).map_err(ReadError::from).and_then(|()| write_endpoints(&endpoints, row));
        self.fields = endpoints.recycle();
        result
    }

    fn link(&mut self, rows: &Rows, index: u32) {
        self.index.link(rows, index, EndpointsView { rows, index }.targets());
    }

    fn unlink(&mut self, rows: &Rows, index: u32) {
        self.index.unlink(rows, index, EndpointsView { rows, index }.targets());
    }

    fn index_memory(&self) -> usize {
        self.index.memory()
    }
}

/// Buffer: name, labels and annotations, number of subsets; for each a section with its addresses and its ports.
fn write_endpoints(endpoints: &EndpointsFields<'_>, row: &mut RowWriter<'_>) -> Result<(), ReadError> {
    row.key(true, endpoints.meta.namespace, endpoints.meta.name)?;
    write_labels(&endpoints.meta, row);
    row.number(endpoints.subsets.len() as u64);
    for subset in &endpoints.subsets {
        row.section(|row| {
            let addresses = endpoints.addresses(subset);
            row.number(addresses.len() as u64);
            addresses.iter().for_each(|address| write_address(address, row));
        });
        let ports = endpoints.ports(subset);
        row.section(|row| {
            row.number(ports.len() as u64);
            ports.iter().for_each(|port| row.port(port.name, port.number, port.protocol));
        });
    }
    Ok(())
}

fn write_address(address: &EndpointAddressFields<'_>, row: &mut RowWriter<'_>) {
    row.number(u64::from(address.ready));
    row.text(address.ip);
    row.text(address.hostname);
    row.shared(address.node_name);
    write_target(&address.target, row);
}

pub(crate) fn write_target(target: &TargetFields<'_>, row: &mut RowWriter<'_>) {
    row.shared(target.kind);
    row.shared(target.namespace);
    row.text(target.name);
}

impl EndpointsTable {
    /// The objects with an address that stands for this pod.
    pub fn targeting_pod(&self, namespace: &str, name: &str) -> impl Iterator<Item = RowId> {
        self.kind.index.of_pod(&self.rows, namespace, name).map(|index| self.rows.id(index))
    }

    /// The objects with an address on this node, or that stands for it.
    pub fn on_node(&self, node: &str) -> impl Iterator<Item = RowId> {
        self.kind.index.of_node(&self.rows, node).map(|index| self.rows.id(index))
    }
}

/// An Endpoints object; it has the name of its service.
#[derive(Debug, Clone, Copy)]
pub struct EndpointsView<'a> {
    rows: &'a Rows,
    index: u32,
}

impl<'a> EndpointsView<'a> {
    metadata_methods!();
    namespace_method!();

    /// `subsets`.
    pub fn subsets(self) -> Subsets<'a> {
        let mut payload = self.rows.payload(self.index);
        payload.section();
        Subsets { left: payload.number() as usize, payload }
    }

    fn targets(self) -> impl Iterator<Item = (TargetView<'a>, &'a str)> + Clone {
        self.subsets().flat_map(SubsetView::addresses).map(|address| (address.target, address.node_name))
    }
}

/// The subsets of an Endpoints object.
#[derive(Debug, Clone)]
pub struct Subsets<'a> {
    left: usize,
    payload: Payload<'a>,
}

impl<'a> Iterator for Subsets<'a> {
    type Item = SubsetView<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(SubsetView { addresses: self.payload.section(), ports: self.payload.section() })
    }
}

/// One of the subsets: every address has every port.
#[derive(Debug, Clone, Copy)]
pub struct SubsetView<'a> {
    addresses: Payload<'a>,
    ports: Payload<'a>,
}

impl<'a> SubsetView<'a> {
    /// `addresses`, then `notReadyAddresses`.
    pub fn addresses(self) -> EndpointAddresses<'a> {
        let mut payload = self.addresses;
        EndpointAddresses { left: payload.number() as usize, payload }
    }

    /// `ports`.
    pub fn ports(self) -> Ports<'a> {
        Ports::new(self.ports)
    }
}

/// The addresses of a subset.
#[derive(Debug, Clone)]
pub struct EndpointAddresses<'a> {
    left: usize,
    payload: Payload<'a>,
}

/// What an endpoint stands for: its `targetRef`. All `""` when there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetView<'a> {
    /// `kind`.
    pub kind: &'a str,
    /// `namespace`.
    pub namespace: &'a str,
    /// `name`.
    pub name: &'a str,
}

impl<'a> TargetView<'a> {
    pub(crate) fn take(payload: &mut Payload<'a>) -> Self {
        Self { kind: payload.text(), namespace: payload.text(), name: payload.text() }
    }

    /// The name of the node that is meant; `""` when it is no node.
    fn node(self) -> &'a str {
        if self.kind == "Node" { self.name } else { "" }
    }
}

/// An address of a subset. Absent strings are `""`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointAddressView<'a> {
    /// Whether it is one of `addresses` and not of `notReadyAddresses`.
    pub ready: bool,
    /// `ip`.
    pub ip: &'a str,
    /// `hostname`.
    pub hostname: &'a str,
    /// `nodeName`.
    pub node_name: &'a str,
    /// `targetRef`.
    pub target: TargetView<'a>,
}

impl<'a> Iterator for EndpointAddresses<'a> {
    type Item = EndpointAddressView<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let payload = &mut self.payload;
        Some(EndpointAddressView {
            ready: payload.number() != 0,
            ip: payload.text(),
            hostname: payload.text(),
            node_name: payload.text(),
            target: TargetView::take(payload),
        })
    }
}
