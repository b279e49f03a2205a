//! The names in a client's certificate.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;

use crate::tls::der::{
    BOOLEAN, EXPLICIT_VERSION, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, SET, element, elements,
};

/// `id-at-commonName` (RFC 5280 appendix A.1).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// `id-ce-subjectAltName` (RFC 5280 section 4.2.1.6).
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// `dNSName` of a `GeneralName`.
const DNS_NAME: u8 = 0x82;
/// Extensions of a certificate.
const EXTENSIONS: u8 = 0xa3;

/// Names of a verified client certificate: its DNS names, then its common name. A request extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateNames(pub Arc<[String]>);

impl CertificateNames {
    /// Of the first certificate of a verified chain.
    pub(super) fn of_chain(chain: &[CertificateDer<'_>]) -> Self {
        let names = chain.first().and_then(|certificate| names(certificate)).unwrap_or_default();
        Self(names.into())
    }
}

fn names(certificate: &[u8]) -> Option<Vec<String>> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(certificate, SEQUENCE)?;
    if let Some((_, rest)) = element(fields, EXPLICIT_VERSION) {
        fields = rest;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE] {
        // Serial number, signature algorithm, issuer, validity.
        (_, fields) = element(fields, tag)?;
    }
    let (subject, fields) = element(fields, SEQUENCE)?;
    let extensions = elements(fields).find(|(tag, _)| *tag == EXTENSIONS);
    let mut names: Vec<String> = extensions.into_iter().flat_map(|(_, list)| dns_names(list)).collect();
    for name in common_names(subject) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Some(names)
}

fn dns_names(extensions: &[u8]) -> Vec<String> {
    let list = element(extensions, SEQUENCE).map_or(&[][..], |(list, _)| list);
    let alternatives = elements(list).filter_map(|(_, extension)| {
        let (identifier, mut rest) = element(extension, OBJECT_IDENTIFIER)?;
        if identifier != SUBJECT_ALT_NAME {
            return None;
        }
        if let Some((_, after_critical)) = element(rest, BOOLEAN) {
            rest = after_critical;
        }
        let (value, _) = element(rest, OCTET_STRING)?;
        Some(element(value, SEQUENCE)?.0)
    });
    let names = alternatives.flat_map(elements).filter(|(tag, _)| *tag == DNS_NAME);
    names.filter_map(|(_, name)| text(name)).collect()
}

fn common_names(subject: &[u8]) -> Vec<String> {
    let parts = elements(subject).filter(|(tag, _)| *tag == SET).flat_map(|(_, set)| elements(set));
    let names = parts.filter_map(|(_, part)| {
        let (identifier, value) = element(part, OBJECT_IDENTIFIER)?;
        (identifier == COMMON_NAME).then_some(value)
    });
    // Whichever kind of string it is: those that are not ASCII-compatible fail to be text or match nothing.
    names.filter_map(|value| elements(value).next().and_then(|(_, name)| text(name))).collect()
}

fn text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    (!text.is_empty() && !text.contains('\0')).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_names_come_first_and_the_common_name_after_them() {
        let key = rcgen::KeyPair::generate().unwrap();
        for (alternative, common, expected) in [
            (
                &["worker-1", "worker-1.fleet.example"][..],
                "w1",
                &["worker-1", "worker-1.fleet.example", "w1"][..],
            ),
            (&["worker-1"], "worker-1", &["worker-1"]),
            (&["127.0.0.1"], "worker-1", &["worker-1"]),
            (&[], "worker-1", &["worker-1"]),
            (&[], "", &[]),
        ] {
            let alternative: Vec<String> = alternative.iter().map(|name| (*name).to_owned()).collect();
            let mut params = rcgen::CertificateParams::new(alternative).unwrap();
            params.distinguished_name = rcgen::DistinguishedName::new();
            if !common.is_empty() {
                params.distinguished_name.push(rcgen::DnType::OrganizationName, "fleet");
                params.distinguished_name.push(rcgen::DnType::CommonName, common);
            }
            let certificate = params.self_signed(&key).unwrap();
            let found = CertificateNames::of_chain(&[certificate.der().clone()]);
            assert_eq!(*found.0, *expected);
            for cut in 0..certificate.der().len() {
                let cut = CertificateDer::from(certificate.der()[..cut].to_vec());
                assert!(CertificateNames::of_chain(&[cut]).0.is_empty());
            }
        }
    }
}
