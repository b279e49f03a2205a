use outrigger_wire::kubernetes::scan::IngressFields;

use crate::metadata::{metadata_methods, namespace_method, write_labels};
use crate::payload::{Payload, Texts};
use crate::table::{Kind, ReadError, RowWriter, Rows, Table};

/// The ingresses of a cluster.
pub type IngressTable = Table<Ingresses>;

const CLASS: usize = 1;

/// How ingresses are stored.
#[derive(Debug, Default)]
pub struct Ingresses {
    fields: IngressFields<'static>,
}

impl Kind for Ingresses {
    type View<'a> = IngressView<'a>;

    const TEXTS: usize = 2;
    const BLOCKS: usize = 0;

    fn view(rows: &Rows, index: u32) -> IngressView<'_> {
        IngressView { rows, index }
    }

    fn read(&mut self, object: &[u8], row: &mut RowWriter<'_>) -> Result<(), ReadError> {
        let mut ingress = std::mem::take(&mut self.fields).recycle();
        let result =
            ingress.scan(object).map_err(ReadError::from).and_then(|()| write_ingress(&ingress, row));
        self.fields = ingress.recycle();
        result
    }
}

/// Buffer: name, labels and annotations, TLS hosts (a section), number of rules and for each host, has-http, paths
/// (a section).
fn write_ingress(ingress: &IngressFields<'_>, row: &mut RowWriter<'_>) -> Result<(), ReadError> {
    row.key(true, ingress.meta.namespace, ingress.meta.name)?;
    row.set_text(CLASS, ingress.class_name);
    write_labels(&ingress.meta, row);
    row.section(|row| row.texts(&ingress.tls_hosts));
    row.number(ingress.rules.len() as u64);
    for rule in &ingress.rules {
        row.text(rule.host);
        row.number(u64::from(rule.has_http));
        row.section(|row| row.texts(ingress.paths(rule)));
    }
    Ok(())
}

/// An ingress. Absent strings are `""`.
#[derive(Debug, Clone, Copy)]
pub struct IngressView<'a> {
    rows: &'a Rows,
    index: u32,
}

impl<'a> IngressView<'a> {
    metadata_methods!();
    namespace_method!();

    /// `spec.ingressClassName`.
    pub fn class_name(self) -> &'a str {
        self.rows.text(CLASS, self.index)
    }

    /// The `hosts` of all of `spec.tls`, in the object's order.
    pub fn tls_hosts(self) -> Texts<'a> {
        let mut payload = self.rows.payload(self.index);
        payload.section();
        Texts::new(payload.section())
    }

    /// `spec.rules`.
    pub fn rules(self) -> IngressRules<'a> {
        let mut payload = self.rows.payload(self.index);
        payload.section();
        payload.section();
        IngressRules { left: payload.number() as usize, payload }
    }
}

/// The rules of an ingress.
#[derive(Debug, Clone)]
pub struct IngressRules<'a> {
    left: usize,
    payload: Payload<'a>,
}

/// A rule of an ingress.
#[derive(Debug, Clone)]
pub struct IngressRuleView<'a> {
    /// `host`; `""` when absent.
    pub host: &'a str,
    /// Whether `http` is set. A rule without it stands for `/`, one with it for the paths it lists, if any.
    pub has_http: bool,
    paths: Payload<'a>,
}

impl<'a> IngressRuleView<'a> {
    /// The `path` of each of `http.paths`.
    pub fn paths(&self) -> Texts<'a> {
        Texts::new(self.paths)
    }
}

impl<'a> Iterator for IngressRules<'a> {
    type Item = IngressRuleView<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let host = self.payload.text();
        let has_http = self.payload.number() != 0;
        Some(IngressRuleView { host, has_http, paths: self.payload.section() })
    }
}
