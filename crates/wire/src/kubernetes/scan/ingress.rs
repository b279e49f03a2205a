use std::ops::Range;

use super::{MetaFields, ScanError, Text, emptied, fields, part_of, position, push};

/// What is read of an Ingress.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IngressFields<'a> {
    /// `metadata`.
    pub meta: MetaFields<'a>,
    /// `spec.ingressClassName`.
    pub class_name: Text<'a>,
    /// `spec.rules`.
    pub rules: Vec<IngressRuleFields<'a>>,
    /// The `hosts` of all of `spec.tls`, in the object's order.
    pub tls_hosts: Vec<Text<'a>>,
    paths: Vec<Text<'a>>,
}

/// One of `spec.rules`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IngressRuleFields<'a> {
    /// `host`.
    pub host: Text<'a>,
    /// Whether `http` is set: a rule without it stands for every path, one with it for the paths it lists.
    pub has_http: bool,
    paths: Range<u32>,
}

impl<'a> IngressFields<'a> {
    /// Reads an Ingress. `self` must be new or recycled.
    ///
    /// # Errors
    /// When the message is malformed.
    pub fn scan(&mut self, object: &'a [u8]) -> Result<(), ScanError> {
        fields(object, "object", |number, field| match number {
            1 => self.meta.scan_message(field.bytes(1)?),
            2 => self.scan_spec(field.bytes(2)?),
            _ => Ok(()),
        })?;
        self.meta.finish();
        Ok(())
    }

    fn scan_spec(&mut self, message: &'a [u8]) -> Result<(), ScanError> {
        fields(message, "spec", |number, field| {
            match number {
                2 => self.scan_tls(field.bytes(2)?)?,
                3 => self.scan_rule(field.bytes(3)?)?,
                4 => self.class_name = field.bytes(4)?,
                _ => {}
            }
            Ok(())
        })
    }

    fn scan_tls(&mut self, message: &'a [u8]) -> Result<(), ScanError> {
        fields(message, "spec.tls", |number, field| match number {
            1 => push(&mut self.tls_hosts, field.bytes(1)?),
            _ => Ok(()),
        })
    }

    fn scan_rule(&mut self, message: &'a [u8]) -> Result<(), ScanError> {
        let mut rule = IngressRuleFields { paths: position(&self.paths)..0, ..IngressRuleFields::default() };
        fields(message, "spec.rules", |number, field| {
            match number {
                1 => rule.host = field.bytes(1)?,
                2 => fields(field.bytes(2)?, "spec.rules", |number, field| {
                    if number == 1 {
                        rule.has_http = true;
                        self.scan_http(field.bytes(1)?)?;
                    }
                    Ok(())
                })?,
                _ => {}
            }
            Ok(())
        })?;
        rule.paths.end = position(&self.paths);
        push(&mut self.rules, rule)
    }

    fn scan_http(&mut self, message: &'a [u8]) -> Result<(), ScanError> {
        fields(message, "spec.rules.http", |number, field| {
            if number == 1 {
                let mut path: Text<'a> = b"";
                fields(field.bytes(1)?, "spec.rules.http.paths", |number, field| {
                    if number == 1 {
                        path = field.bytes(1)?;
                    }
                    Ok(())
                })?;
                push(&mut self.paths, path)?;
            }
            Ok(())
        })
    }

    /// The paths of one of the rules.
    pub fn paths(&self, rule: &IngressRuleFields<'a>) -> &[Text<'a>] {
        part_of(&self.paths, &rule.paths)
    }

    /// Forgets everything but the allocations.
    pub fn recycle<'b>(self) -> IngressFields<'b> {
        IngressFields {
            meta: self.meta.recycle(),
            class_name: b"",
            rules: emptied(self.rules),
            tls_hosts: emptied(self.tls_hosts),
            paths: emptied(self.paths),
        }
    }
}
