//! The validity period of a certificate (RFC 5280 section 4.1.2.5), for the one check that webpki does not offer
//! on its own.

use rustls::{CertificateError, Error};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::der::{EXPLICIT_VERSION, INTEGER, SEQUENCE, element};

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Whether `now` is within the certificate's validity period.
pub(super) fn check_validity(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let (not_before, not_after) =
        validity(certificate).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let unix = |seconds: i64| {
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    };
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if seconds < not_before {
        let not_before = unix(not_before);
        return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
    }
    if seconds > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after: unix(not_after) }.into());
    }
    Ok(())
}

/// `notBefore` and `notAfter` in seconds since the epoch.
fn validity(certificate: &[u8]) -> Option<(i64, i64)> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(certificate, SEQUENCE)?;
    if let Some((_, rest)) = element(fields, EXPLICIT_VERSION) {
        fields = rest;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        // Serial number, signature algorithm, issuer.
        (_, fields) = element(fields, tag)?;
    }
    let (period, _) = element(fields, SEQUENCE)?;
    let (not_before, rest) = time(period)?;
    let (not_after, _) = time(rest)?;
    Some((not_before, not_after))
}

fn time(input: &[u8]) -> Option<(i64, &[u8])> {
    if let Some((digits, rest)) = element(input, UTC_TIME) {
        let year = number(digits.get(..2)?)?;
        let century = if year >= 50 { 1900 } else { 2000 };
        return Some((seconds(century + year, digits.get(2..)?)?, rest));
    }
    let (digits, rest) = element(input, GENERALIZED_TIME)?;
    Some((seconds(number(digits.get(..4)?)?, digits.get(4..)?)?, rest))
}

/// Seconds since the epoch of a year and `MMDDhhmmssZ`.
fn seconds(year: i64, rest: &[u8]) -> Option<i64> {
    if rest.len() != 11 || rest[10] != b'Z' {
        return None;
    }
    let part = |index: usize| number(&rest[index * 2..index * 2 + 2]);
    let (month, day, hour, minute, second) = (part(0)?, part(1)?, part(2)?, part(3)?, part(4)?);
    // Days from a civil date, counted from March so that the leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits
        .iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_encodings_are_read() {
        for (encoded, expected) in [
            (&b"\x17\x0d700101000000Z"[..], Some(0)),
            (b"\x17\x0d240229123456Z", Some(1_709_210_096)),
            (b"\x17\x0d491231235959Z", Some(2_524_607_999)),
            (b"\x18\x0f20500101000000Z", Some(2_524_608_000)),
            (b"\x18\x0f99991231235959Z", Some(253_402_300_799)),
            (b"\x17\x0d7001010000000", None),
            (b"\x17\x0d70010100", None),
        ] {
            assert_eq!(time(encoded).map(|(seconds, _)| seconds), expected);
        }
    }

    #[test]
    fn the_period_of_a_certificate_is_found() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2001, 9, 9);
        params.not_after = rcgen::date_time_ymd(2051, 2, 3);
        let certificate = params.self_signed(&key).unwrap();
        assert_eq!(validity(certificate.der()), Some((999_993_600, 2_558_995_200)));
        let at = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        assert!(check_validity(certificate.der(), at(1_000_000_000)).is_ok());
        assert!(check_validity(certificate.der(), at(999_993_599)).is_err());
        assert!(check_validity(certificate.der(), at(2_558_995_201)).is_err());
        for cut in 0..certificate.der().len().min(200) {
            assert!(validity(&certificate.der()[..cut]).is_none());
        }
    }
}
