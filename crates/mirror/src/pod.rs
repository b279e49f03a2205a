use outrigger_wire::kubernetes::scan::{ContainerFields, ContainerStatusFields, MetaFields, PodFields, Text};

use crate::chain::Chain;
use crate::payload::{Pairs, Payload, Ports, PutText, put_number};
use crate::row::RowId;
use crate::table::{Kind, NAMESPACE, ReadError, RowWriter, Rows, Table};

/// The pods of a cluster.
pub type PodTable = Table<Pods>;

const NODE: usize = 1;
const PHASE: usize = 2;
const HOST_IP: usize = 3;
const READY: usize = 4;

const LABELS: usize = 0;
/// What the pods of one template share: see `write_template`.
const TEMPLATE: usize = 1;
const CONTROLLER: usize = 2;

const HOST_NETWORK: u32 = 1;

/// How pods are stored.
#[derive(Debug, Default)]
pub struct Pods {
    fields: PodFields<'static>,
    by_node: Chain,
    by_controller: Chain,
}

impl Kind for Pods {
    type View<'a> = PodView<'a>;

    const TEXTS: usize = 5;
    const BLOCKS: usize = 3;

    fn view(rows: &Rows, index: u32) -> PodView<'_> {
        PodView { rows, index }
    }

    fn read(&mut self, object: &[u8], row: &mut RowWriter<'_>) -> Result<(), ReadError> {
        let mut pod = std::mem::take(&mut self.fields).recycle();
        let result = pod.scan(object).map_err(ReadError::from).and_then(|()| write_pod(&pod, row));
        self.fields = pod.recycle();
        result
    }

    fn link(&mut self, rows: &Rows, index: u32) {
        if let Some(key) = node_key(rows, index) {
            self.by_node.insert(key, index);
        }
        if let Some(key) = controller_key_of(rows, index) {
            self.by_controller.insert(key, index);
        }
    }

    fn unlink(&mut self, rows: &Rows, index: u32) {
        if let Some(key) = node_key(rows, index) {
            self.by_node.remove(key, index);
        }
        if let Some(key) = controller_key_of(rows, index) {
            self.by_controller.remove(key, index);
        }
    }

    fn index_memory(&self) -> usize {
        self.by_node.memory() + self.by_controller.memory()
    }
}

fn node_key(rows: &Rows, index: u32) -> Option<u64> {
    Some(rows.text(NODE, index)).filter(|node| !node.is_empty()).map(|node| rows.hash(node))
}

fn controller_key_of(rows: &Rows, index: u32) -> Option<u64> {
    let pod = PodView { rows, index };
    pod.controller().map(|owner| controller_key(rows, pod.namespace(), owner.kind, owner.name))
}

fn controller_key(rows: &Rows, namespace: &str, kind: &str, name: &str) -> u64 {
    rows.hash((namespace, kind, name))
}

/// Buffer: name, uid, pod IP, nominated node, container IDs (in the order of the template), annotations.
fn write_pod(pod: &PodFields<'_>, row: &mut RowWriter<'_>) -> Result<(), ReadError> {
    let meta = &pod.meta;
    row.key(true, meta.namespace, meta.name)?;
    row.set_text(NODE, pod.node_name);
    row.set_text(PHASE, pod.phase);
    row.set_text(HOST_IP, pod.host_ip);
    match pod.ready {
        Some(b"True") => row.set_text(READY, b"true"),
        Some(b"False") => row.set_text(READY, b"false"),
        Some(b"Unknown") | None => row.set_text(READY, b"unknown"),
        Some(other) => row.set_text(READY, String::from_utf8_lossy(other).to_lowercase().as_bytes()),
    }
    row.set_flags(if pod.host_network { HOST_NETWORK } else { 0 });

    row.set_block(LABELS, |put, block| write_pairs(&meta.labels, put, block));
    row.set_block(TEMPLATE, |put, block| write_template(pod, put, block));
    row.set_block(CONTROLLER, |put, block| write_controller(meta, put, block));

    row.inline(meta.uid);
    row.inline(pod.pod_ip);
    row.text(pod.nominated_node_name);
    for container in &pod.containers {
        row.inline(container_id(container, &pod.container_statuses));
    }
    for container in &pod.init_containers {
        row.inline(container_id(container, &pod.init_container_statuses));
    }
    row.pairs(&meta.annotations);
    Ok(())
}

/// The ID in the first status that has the container's name.
fn container_id<'a>(container: &ContainerFields<'_>, statuses: &[ContainerStatusFields<'a>]) -> Text<'a> {
    statuses.iter().find(|status| status.name == container.name).map_or(b"", |status| status.container_id)
}

/// Pairs inline, as a block.
fn write_pairs(pairs: &[(Text<'_>, Text<'_>)], put: PutText, block: &mut Vec<u8>) {
    put_number(pairs.len() as u64, block);
    for (key, value) in pairs {
        put(key, block);
        put(value, block);
    }
}

/// Block: restart policy, scheduler, service account, number of containers and for each of them init flag,
/// name, image, ports.
fn write_template(pod: &PodFields<'_>, put: PutText, block: &mut Vec<u8>) {
    put(pod.restart_policy, block);
    put(pod.scheduler_name, block);
    put(pod.service_account_name, block);
    put_number((pod.containers.len() + pod.init_containers.len()) as u64, block);
    for (init, containers) in [(0, &pod.containers), (1, &pod.init_containers)] {
        for container in containers {
            put_number(init, block);
            put(container.name, block);
            put(container.image, block);
            let ports = pod.ports(container);
            put_number(ports.len() as u64, block);
            for port in ports {
                put(port.name, block);
                put_number(u64::from(port.number.cast_unsigned()), block);
                put(port.protocol, block);
            }
        }
    }
}

/// Block: API version, kind, name; empty when there is no controller.
fn write_controller(meta: &MetaFields<'_>, put: PutText, block: &mut Vec<u8>) {
    if let Some(owner) = &meta.controller {
        put(owner.api_version, block);
        put(owner.kind, block);
        put(owner.name, block);
    }
}

impl PodTable {
    /// The pods that are bound to a node.
    pub fn on_node(&self, node: &str) -> impl Iterator<Item = RowId> {
        let id = self.rows.find_text(node).filter(|_| !node.is_empty());
        let key = self.rows.hash(node);
        self.kind
            .by_node
            .rows(key)
            .filter(move |index| Some(self.rows.text_id(NODE, *index)) == id)
            .map(|index| self.rows.id(index))
    }

    /// The pods whose controller is this object (`kind` as in `ReplicaSet`).
    pub fn controlled_by(&self, namespace: &str, kind: &str, name: &str) -> impl Iterator<Item = RowId> {
        let key = controller_key(&self.rows, namespace, kind, name);
        self.kind
            .by_controller
            .rows(key)
            .filter(move |index| {
                let pod = PodView { rows: &self.rows, index: *index };
                pod.namespace() == namespace
                    && pod.controller().is_some_and(|owner| owner.kind == kind && owner.name == name)
            })
            .map(|index| self.rows.id(index))
    }
}

/// The controller of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<'a> {
    /// `apiVersion`.
    pub api_version: &'a str,
    /// `kind`.
    pub kind: &'a str,
    /// `name`.
    pub name: &'a str,
}

/// A pod. Absent strings are `""`.
#[derive(Debug, Clone, Copy)]
pub struct PodView<'a> {
    rows: &'a Rows,
    index: u32,
}

impl<'a> PodView<'a> {
    /// Its row.
    pub fn row(self) -> RowId {
        self.rows.id(self.index)
    }

    /// `metadata.namespace`.
    pub fn namespace(self) -> &'a str {
        self.rows.text(NAMESPACE, self.index)
    }

    /// `metadata.name`.
    pub fn name(self) -> &'a str {
        self.rows.name(self.index)
    }

    /// `metadata.uid`.
    pub fn uid(self) -> &'a str {
        self.rows.payload(self.index).text()
    }

    /// `metadata.labels`, sorted by key.
    pub fn labels(self) -> Pairs<'a> {
        Pairs::new(self.rows.block(LABELS, self.index))
    }

    /// The value of a label.
    pub fn label(self, key: &str) -> Option<&'a str> {
        self.labels().find_sorted(key)
    }

    /// `metadata.annotations`, sorted by key.
    pub fn annotations(self) -> Pairs<'a> {
        let mut payload = self.container_ids();
        for _ in 0..self.containers().left {
            payload.skip_text();
        }
        Pairs::new(payload)
    }

    /// The value of an annotation.
    pub fn annotation(self, key: &str) -> Option<&'a str> {
        self.annotations().find_sorted(key)
    }

    /// The first of `metadata.ownerReferences` that is the controller.
    pub fn controller(self) -> Option<Owner<'a>> {
        let mut block = self.rows.block(CONTROLLER, self.index);
        (!block.is_empty()).then(|| Owner {
            api_version: block.text(),
            kind: block.text(),
            name: block.text(),
        })
    }

    /// `spec.nodeName`.
    pub fn node_name(self) -> &'a str {
        self.rows.text(NODE, self.index)
    }

    /// `spec.restartPolicy`.
    pub fn restart_policy(self) -> &'a str {
        self.rows.block(TEMPLATE, self.index).text()
    }

    /// `spec.schedulerName`.
    pub fn scheduler_name(self) -> &'a str {
        let mut template = self.rows.block(TEMPLATE, self.index);
        template.skip_text();
        template.text()
    }

    /// `spec.serviceAccountName`.
    pub fn service_account_name(self) -> &'a str {
        let mut template = self.rows.block(TEMPLATE, self.index);
        template.skip_text();
        template.skip_text();
        template.text()
    }

    /// `spec.hostNetwork`.
    pub fn host_network(self) -> bool {
        self.rows.flags(self.index) & HOST_NETWORK != 0
    }

    /// `status.phase`.
    pub fn phase(self) -> &'a str {
        self.rows.text(PHASE, self.index)
    }

    /// `status.hostIP`.
    pub fn host_ip(self) -> &'a str {
        self.rows.text(HOST_IP, self.index)
    }

    /// `status.podIP`.
    pub fn pod_ip(self) -> &'a str {
        let mut payload = self.rows.payload(self.index);
        payload.skip_text();
        payload.text()
    }

    /// `status.nominatedNodeName`.
    pub fn nominated_node_name(self) -> &'a str {
        let mut payload = self.rows.payload(self.index);
        payload.skip_text();
        payload.skip_text();
        payload.text()
    }

    /// The status of the condition `Ready` in lower case, `"unknown"` when there is no such condition
    /// (Prometheus `discovery/kubernetes/pod.go`, `podReady`).
    pub fn ready(self) -> &'a str {
        self.rows.text(READY, self.index)
    }

    /// `spec.containers` and then `spec.initContainers`, the order in which Prometheus goes over them.
    pub fn containers(self) -> Containers<'a> {
        let mut template = self.rows.block(TEMPLATE, self.index);
        for _ in 0..3 {
            template.skip_text();
        }
        let left = template.number() as usize;
        Containers { left, template, ids: self.container_ids() }
    }

    fn container_ids(self) -> Payload<'a> {
        let mut payload = self.rows.payload(self.index);
        for _ in 0..3 {
            payload.skip_text();
        }
        payload
    }
}

/// The containers of a pod.
#[derive(Debug, Clone)]
pub struct Containers<'a> {
    left: usize,
    template: Payload<'a>,
    ids: Payload<'a>,
}

/// A container of a pod. Absent strings are `""`.
#[derive(Debug, Clone)]
pub struct ContainerView<'a> {
    /// `name`.
    pub name: &'a str,
    /// `image` of the specification.
    pub image: &'a str,
    /// `containerID` of the container's status.
    pub id: &'a str,
    /// Whether it is an init container.
    pub init: bool,
    ports: Ports<'a>,
}

impl<'a> ContainerView<'a> {
    /// `ports`.
    pub fn ports(&self) -> Ports<'a> {
        self.ports.clone()
    }
}

impl<'a> Iterator for Containers<'a> {
    type Item = ContainerView<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let init = self.template.number() != 0;
        let name = self.template.text();
        let image = self.template.text();
        let ports = Ports::take(&mut self.template);
        Some(ContainerView { name, image, id: self.ids.text(), init, ports })
    }
}
