use outrigger_wire::kubernetes::scan::ServiceFields;

use crate::metadata::{metadata_methods, namespace_method, write_labels};
use crate::payload::{Payload, Ports, Texts};
use crate::table::{Kind, ReadError, RowWriter, Rows, Table};

/// The services of a cluster.
pub type ServiceTable = Table<Services>;

const TYPE: usize = 1;

/// How services are stored.
#[derive(Debug, Default)]
pub struct Services {
    fields: ServiceFields<'static>,
}

impl Kind for Services {
    type View<'a> = ServiceView<'a>;

    const TEXTS: usize = 2;
    const BLOCKS: usize = 0;

    fn view(rows: &Rows, index: u32) -> ServiceView<'_> {
        ServiceView { rows, index }
    }

    fn read(&mut self, object: &[u8], row: &mut RowWriter<'_>) -> Result<(), ReadError> {
        let mut service = std::mem::take(&mut self.fields).recycle();
        let result =
            service.scan(object).map_err(ReadError::from).and_then(|()| write_service(&service, row));
        self.fields = service.recycle();
        result
    }
}

/// Buffer: name, labels and annotations, cluster IP, load balancer IP, external name, IP family policy, primary IP
/// family, ingress IPs (a section), ports.
fn write_service(service: &ServiceFields<'_>, row: &mut RowWriter<'_>) -> Result<(), ReadError> {
    row.key(true, service.meta.namespace, service.meta.name)?;
    row.set_text(TYPE, service.service_type);
    write_labels(&service.meta, row);
    row.text(service.cluster_ip);
    row.text(service.load_balancer_ip);
    row.text(service.external_name);
    row.shared(service.ip_family_policy);
    row.shared(service.primary_ip_family);
    row.section(|row| row.texts(&service.ingress_ips));
    row.number(service.ports.len() as u64);
    for port in &service.ports {
        row.port(port.name, port.number, port.protocol);
    }
    Ok(())
}

/// A service. Absent strings are `""`.
#[derive(Debug, Clone, Copy)]
pub struct ServiceView<'a> {
    rows: &'a Rows,
    index: u32,
}

impl<'a> ServiceView<'a> {
    metadata_methods!();
    namespace_method!();

    /// `spec.type`.
    pub fn service_type(self) -> &'a str {
        self.rows.text(TYPE, self.index)
    }

    /// `spec.clusterIP`.
    pub fn cluster_ip(self) -> &'a str {
        self.texts(0).text()
    }

    /// `spec.loadBalancerIP`.
    pub fn load_balancer_ip(self) -> &'a str {
        self.texts(1).text()
    }

    /// `spec.externalName`.
    pub fn external_name(self) -> &'a str {
        self.texts(2).text()
    }

    /// `spec.ipFamilyPolicy`.
    pub fn ip_family_policy(self) -> &'a str {
        self.texts(3).text()
    }

    /// The first of `spec.ipFamilies`.
    pub fn primary_ip_family(self) -> &'a str {
        self.texts(4).text()
    }

    /// The `ip` of each of `status.loadBalancer.ingress` that has one.
    pub fn ingress_ips(self) -> Texts<'a> {
        Texts::new(self.texts(5).section())
    }

    /// `spec.ports`.
    pub fn ports(self) -> Ports<'a> {
        let mut payload = self.texts(5);
        payload.section();
        Ports::new(payload)
    }

    /// The payload after the labels and `skip` texts.
    fn texts(self, skip: usize) -> Payload<'a> {
        let mut payload = self.rows.payload(self.index);
        payload.section();
        for _ in 0..skip {
            payload.skip_text();
        }
        payload
    }
}
