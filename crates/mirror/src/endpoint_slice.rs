use outrigger_wire::kubernetes::scan::{EndpointFields, EndpointSliceFields};

use crate::chain::Chain;
use crate::endpoints::{TargetIndex, TargetView, write_target};
use crate::metadata::{metadata_methods, namespace_method, write_labels};
use crate::payload::{Pairs, Payload, Texts};
use crate::row::RowId;
use crate::table::{Kind, ReadError, RowWriter, Rows, Table};

/// The EndpointSlices of a cluster.
pub type EndpointSliceTable = Table<EndpointSlices>;

const ADDRESS_TYPE: usize = 1;
const SERVICE: usize = 2;

/// The label that names a slice's service.
const SERVICE_NAME_LABEL: &[u8] = b"kubernetes.io/service-name";

/// How EndpointSlices are stored.
#[derive(Debug, Default)]
pub struct EndpointSlices {
    fields: EndpointSliceFields<'static>,
    by_service: Chain,
    index: TargetIndex,
}

impl Kind for EndpointSlices {
    type View<'a> = EndpointSliceView<'a>;

    const TEXTS: usize = 3;
    const BLOCKS: usize = 0;

    fn view(rows: &Rows, index: u32) -> EndpointSliceView<'_> {
        EndpointSliceView { rows, index }
    }

    fn read(&mut self, object: &[u8], row: &mut RowWriter<'_>) -> Result<(), ReadError> {
        let mut slice = std::mem::take(&mut self.fields).recycle();
        let result = slice.scan(object).map_err(ReadError::from).and_then(|()| write_slice(&slice, row));
        self.fields = slice.recycle();
        result
    }

    fn link(&mut self, rows: &Rows, index: u32) {
        let slice = EndpointSliceView { rows, index };
        self.index.link(rows, index, slice.targets());
        if !slice.service_name().is_empty() {
            self.by_service.insert(service_key(rows, slice.namespace(), slice.service_name()), index);
        }
    }

    fn unlink(&mut self, rows: &Rows, index: u32) {
        let slice = EndpointSliceView { rows, index };
        self.index.unlink(rows, index, slice.targets());
        if !slice.service_name().is_empty() {
            self.by_service.remove(service_key(rows, slice.namespace(), slice.service_name()), index);
        }
    }

    fn index_memory(&self) -> usize {
        self.by_service.memory() + self.index.memory()
    }
}

fn service_key(rows: &Rows, namespace: &str, name: &str) -> u64 {
    rows.hash((namespace, name))
}

/// Buffer: name, labels and annotations, ports (a section), number of endpoints and the endpoints.
fn write_slice(slice: &EndpointSliceFields<'_>, row: &mut RowWriter<'_>) -> Result<(), ReadError> {
    row.key(true, slice.meta.namespace, slice.meta.name)?;
    row.set_text(ADDRESS_TYPE, slice.address_type);
    let service = slice.meta.labels.binary_search_by_key(&SERVICE_NAME_LABEL, |(key, _)| *key);
    row.set_text(SERVICE, service.map_or(b"", |found| slice.meta.labels[found].1));
    write_labels(&slice.meta, row);
    row.section(|row| {
        row.number(slice.ports.len() as u64);
        for port in &slice.ports {
            row.text(port.name);
            row.number(port.number.map_or(0, |number| u64::from(number.cast_unsigned()) + 1));
            row.text(port.protocol);
            row.text(port.app_protocol);
        }
    });
    row.number(slice.endpoints.len() as u64);
    for endpoint in &slice.endpoints {
        write_endpoint(slice, endpoint, row);
    }
    Ok(())
}

fn write_endpoint(slice: &EndpointSliceFields<'_>, endpoint: &EndpointFields<'_>, row: &mut RowWriter<'_>) {
    let conditions = [endpoint.ready, endpoint.serving, endpoint.terminating];
    row.number(conditions.into_iter().fold(0, |bits, condition| bits * 4 + condition_bits(condition)));
    row.text(endpoint.hostname);
    row.shared(endpoint.node_name);
    row.shared(endpoint.zone);
    write_target(&endpoint.target, row);
    row.section(|row| row.texts(slice.addresses(endpoint)));
    row.section(|row| row.pairs(slice.topology(endpoint)));
}

fn condition_bits(condition: Option<bool>) -> u64 {
    match condition {
        None => 0,
        Some(false) => 1,
        Some(true) => 2,
    }
}

fn condition(bits: u64) -> Option<bool> {
    match bits & 3 {
        0 => None,
        bit => Some(bit == 2),
    }
}

impl EndpointSliceTable {
    /// The slices of a service, by the label `kubernetes.io/service-name`.
    pub fn of_service(&self, namespace: &str, name: &str) -> impl Iterator<Item = RowId> {
        let key = service_key(&self.rows, namespace, name);
        let rows = &self.rows;
        self.kind
            .by_service
            .rows(key)
            .filter(move |index| {
                let slice = EndpointSliceView { rows, index: *index };
                slice.namespace() == namespace && slice.service_name() == name
            })
            .map(|index| self.rows.id(index))
    }

    /// The slices with an endpoint that stands for this pod.
    pub fn targeting_pod(&self, namespace: &str, name: &str) -> impl Iterator<Item = RowId> {
        self.kind.index.of_pod(&self.rows, namespace, name).map(|index| self.rows.id(index))
    }

    /// The slices with an endpoint on this node, or that stands for it.
    pub fn on_node(&self, node: &str) -> impl Iterator<Item = RowId> {
        self.kind.index.of_node(&self.rows, node).map(|index| self.rows.id(index))
    }
}

/// An EndpointSlice. Absent strings are `""`.
#[derive(Debug, Clone, Copy)]
pub struct EndpointSliceView<'a> {
    rows: &'a Rows,
    index: u32,
}

impl<'a> EndpointSliceView<'a> {
    metadata_methods!();
    namespace_method!();

    /// `addressType`.
    pub fn address_type(self) -> &'a str {
        self.rows.text(ADDRESS_TYPE, self.index)
    }

    /// The label `kubernetes.io/service-name`.
    pub fn service_name(self) -> &'a str {
        self.rows.text(SERVICE, self.index)
    }

    /// `ports`.
    pub fn ports(self) -> SlicePorts<'a> {
        let mut payload = self.after_labels().section();
        SlicePorts { left: payload.number() as usize, payload }
    }

    /// `endpoints`.
    pub fn endpoints(self) -> SliceEndpoints<'a> {
        let mut payload = self.after_labels();
        payload.section();
        SliceEndpoints { left: payload.number() as usize, payload }
    }

    fn after_labels(self) -> Payload<'a> {
        let mut payload = self.rows.payload(self.index);
        payload.section();
        payload
    }

    fn targets(self) -> impl Iterator<Item = (TargetView<'a>, &'a str)> + Clone {
        self.endpoints().map(|endpoint| (endpoint.target, endpoint.node_name.unwrap_or_default()))
    }
}

/// The ports of a slice.
#[derive(Debug, Clone)]
pub struct SlicePorts<'a> {
    left: usize,
    payload: Payload<'a>,
}

/// A port of a slice. A name or protocol that is `""` in the object is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlicePortView<'a> {
    /// `name`.
    pub name: Option<&'a str>,
    /// `port`; `None` stands for all ports.
    pub number: Option<u32>,
    /// `protocol`.
    pub protocol: Option<&'a str>,
    /// `appProtocol`.
    pub app_protocol: Option<&'a str>,
}

impl<'a> Iterator for SlicePorts<'a> {
    type Item = SlicePortView<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = present(self.payload.text());
        let number = self.payload.number().checked_sub(1).map(|number| number as u32);
        let protocol = present(self.payload.text());
        Some(SlicePortView { name, number, protocol, app_protocol: present(self.payload.text()) })
    }
}

fn present(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// The endpoints of a slice.
#[derive(Debug, Clone)]
pub struct SliceEndpoints<'a> {
    left: usize,
    payload: Payload<'a>,
}

/// An endpoint of a slice. A hostname, node or zone that is `""` in the object is `None`.
#[derive(Debug, Clone)]
pub struct EndpointView<'a> {
    /// `conditions.ready`.
    pub ready: Option<bool>,
    /// `conditions.serving`.
    pub serving: Option<bool>,
    /// `conditions.terminating`.
    pub terminating: Option<bool>,
    /// `hostname`.
    pub hostname: Option<&'a str>,
    /// `nodeName`.
    pub node_name: Option<&'a str>,
    /// `zone`.
    pub zone: Option<&'a str>,
    /// `targetRef`.
    pub target: TargetView<'a>,
    addresses: Payload<'a>,
    topology: Payload<'a>,
}

impl<'a> EndpointView<'a> {
    /// `addresses`.
    pub fn addresses(&self) -> Texts<'a> {
        Texts::new(self.addresses)
    }

    /// `deprecatedTopology`, sorted by key.
    pub fn topology(&self) -> Pairs<'a> {
        Pairs::new(self.topology)
    }
}

impl<'a> Iterator for SliceEndpoints<'a> {
    type Item = EndpointView<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let payload = &mut self.payload;
        let conditions = payload.number();
        Some(EndpointView {
            ready: condition(conditions >> 4),
            serving: condition(conditions >> 2),
            terminating: condition(conditions),
            hostname: present(payload.text()),
            node_name: present(payload.text()),
            zone: present(payload.text()),
            target: TargetView::take(payload),
            addresses: payload.section(),
            topology: payload.section(),
        })
    }
}
