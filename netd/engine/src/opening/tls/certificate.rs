//! Whether a TLS server showed a certificate that it signed itself.
//!
//! TLS 1.2 and older send certificates in the clear. Of the first one only issuer and subject are compared (RFC 5280,
//! 4.1); what is cut short before both are read says nothing.

use super::{CERTIFICATE, SERVER_HELLO, handshake, messages};

const CERTIFICATE_STATUS: u8 = 22;
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;

/// What a server's first bytes say of its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::opening) enum Shown {
    SelfSigned,
    /// Signed by somebody else, not shown in the clear, or not a certificate.
    No,
    /// More bytes may tell.
    NotYet,
}

/// Reads the beginning of what a TLS server sent.
pub(in crate::opening) fn read(stream: &[u8]) -> Shown {
    let handshake = handshake(stream);
    for message in messages(&handshake.bytes) {
        match message.kind {
            SERVER_HELLO | CERTIFICATE_STATUS => {}
            CERTIFICATE => {
                return match is_self_signed(message.body) {
                    Some(true) => Shown::SelfSigned,
                    Some(false) => Shown::No,
                    None if message.is_cut && !handshake.is_over => Shown::NotYet,
                    None => Shown::No,
                };
            }
            _ => return Shown::No,
        }
    }
    if handshake.is_over { Shown::No } else { Shown::NotYet }
}

/// Returns whether the first certificate of a Certificate message names itself as its issuer.
fn is_self_signed(message: &[u8]) -> Option<bool> {
    // Length of the list, then of the first certificate: three bytes each.
    let certificate = message.get(6..)?;
    let (tag, certificate) = enter(certificate)?;
    let (tbs_tag, tbs) = enter(certificate)?;
    if tag != SEQUENCE || tbs_tag != SEQUENCE {
        return None;
    }
    let mut rest = tbs;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.after;
    }
    let serial = element(rest)?;
    let algorithm = element(serial.after)?;
    let issuer = element(algorithm.after)?;
    let validity = element(issuer.after)?;
    let subject = element(validity.after)?;
    let is_certificate =
        serial.tag == INTEGER && [&algorithm, &issuer, &validity, &subject].iter().all(|part| part.tag == SEQUENCE);
    // Two empty names are equal without meaning it.
    is_certificate.then_some(issuer.value == subject.value && !issuer.value.is_empty())
}

/// One DER element that is wholly there.
struct Element<'a> {
    tag: u8,
    value: &'a [u8],
    after: &'a [u8],
}

fn element(bytes: &[u8]) -> Option<Element<'_>> {
    let (tag, len, body) = header(bytes)?;
    Some(Element { tag, value: body.get(..len)?, after: body.get(len..)? })
}

/// Returns the inside of an element that may be cut short.
fn enter(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (tag, len, body) = header(bytes)?;
    Some((tag, &body[..body.len().min(len)]))
}

fn header(bytes: &[u8]) -> Option<(u8, usize, &[u8])> {
    match bytes {
        [tag, len @ 0..=0x7f, body @ ..] => Some((*tag, usize::from(*len), body)),
        [tag, 0x81, len, body @ ..] => Some((*tag, usize::from(*len), body)),
        [tag, 0x82, high, low, body @ ..] => Some((*tag, usize::from(u16::from_be_bytes([*high, *low])), body)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn der(tag: u8, value: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag, 0x82];
        bytes.extend((value.len() as u16).to_be_bytes());
        bytes.extend(value);
        bytes
    }

    fn flight(issuer: &[u8], subject: &[u8], longest: usize) -> Vec<u8> {
        let mut tbs = der(VERSION, &[2, 1, 2]);
        tbs.extend(der(INTEGER, &[7; 16]));
        tbs.extend(der(SEQUENCE, &[6, 1, 42]));
        tbs.extend(der(SEQUENCE, issuer));
        tbs.extend(der(SEQUENCE, b"validity"));
        tbs.extend(der(SEQUENCE, subject));
        tbs.extend(der(SEQUENCE, &[0; 300]));
        let certificate = der(SEQUENCE, &der(SEQUENCE, &tbs));
        let mut message = vec![0, 0, 0, 0, 0, 0];
        message.extend(certificate);
        let mut records = super::super::hello::tests::records(SERVER_HELLO, &[3, 3], 1 << 14);
        records.extend(super::super::hello::tests::records(CERTIFICATE, &message, longest));
        records
    }

    #[test]
    fn a_certificate_that_names_itself_is_self_signed() {
        assert_eq!(read(&flight(b"CN=me", b"CN=me", 1 << 14)), Shown::SelfSigned);
        assert_eq!(read(&flight(b"CN=authority", b"CN=me", 1 << 14)), Shown::No);
    }

    #[test]
    fn a_certificate_in_several_records_is_read() {
        assert_eq!(read(&flight(b"CN=me", b"CN=me", 20)), Shown::SelfSigned);
    }

    #[test]
    fn a_certificate_cut_after_its_subject_still_tells() {
        let whole = flight(b"CN=me", b"CN=me", 1 << 14);

        assert_eq!(read(&whole[..whole.len() - 250]), Shown::SelfSigned);
    }

    #[test]
    fn a_certificate_cut_before_its_subject_tells_nothing_yet() {
        let whole = flight(b"CN=me", b"CN=me", 1 << 14);

        assert_eq!(read(&whole[..whole.len() - 310]), Shown::NotYet);
        assert_eq!(read(&whole[..9]), Shown::NotYet);
    }

    #[test]
    fn encrypted_certificates_are_not_waited_for() {
        let mut tls13 = super::super::hello::tests::records(SERVER_HELLO, &[3, 3], 1 << 14);
        tls13.extend([20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 9]);

        assert_eq!(read(&tls13), Shown::No);
    }

    proptest! {
        #[test]
        fn no_damage_is_a_danger(at in 0usize..450, value: u8, cut in 0usize..450, longest in 1usize..500) {
            let mut bytes = flight(b"CN=me", b"CN=me", longest);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(cut);

            read(&bytes);
        }
    }
}
