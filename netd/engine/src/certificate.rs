//! Whether a TLS server showed a certificate that it signed itself.
//!
//! TLS 1.2 and older send certificates in the clear. Of the first one only issuer and subject are compared (RFC 5280,
//! 4.1); what is cut short before both are read says nothing.

const HANDSHAKE: u8 = 22;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;

/// Returns whether the first certificate in a server's first data names itself as its issuer.
pub(crate) fn is_self_signed(bytes: &[u8]) -> Option<bool> {
    let message = certificate_message(bytes)?;
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

/// Returns the body of the Certificate message, as far as it is there.
fn certificate_message(bytes: &[u8]) -> Option<&[u8]> {
    let mut records = bytes;
    loop {
        let [kind, 3, 0..=4, high, low, body @ ..] = records else { return None };
        if *kind != HANDSHAKE {
            return None;
        }
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let mut messages = &body[..body.len().min(len)];
        while let [message, a, b, c, message_body @ ..] = messages {
            match *message {
                CERTIFICATE => return Some(message_body),
                SERVER_HELLO => {}
                _ => return None,
            }
            let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            messages = message_body.get(len..)?;
        }
        records = body.get(len..)?;
    }
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

    fn flight(issuer: &[u8], subject: &[u8]) -> Vec<u8> {
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
        let mut handshake = vec![SERVER_HELLO, 0, 0, 2, 3, 3, CERTIFICATE];
        handshake.extend(&(message.len() as u32).to_be_bytes()[1..]);
        handshake.extend(message);
        let mut record = vec![HANDSHAKE, 3, 3];
        record.extend((handshake.len() as u16).to_be_bytes());
        record.extend(handshake);
        record
    }

    #[test]
    fn a_certificate_that_names_itself_is_self_signed() {
        assert_eq!(is_self_signed(&flight(b"CN=me", b"CN=me")), Some(true));
        assert_eq!(is_self_signed(&flight(b"CN=authority", b"CN=me")), Some(false));
    }

    #[test]
    fn a_certificate_cut_after_its_subject_still_tells() {
        let whole = flight(b"CN=me", b"CN=me");

        assert_eq!(is_self_signed(&whole[..whole.len() - 250]), Some(true));
    }

    #[test]
    fn a_certificate_cut_before_its_subject_tells_nothing() {
        let whole = flight(b"CN=me", b"CN=me");

        assert_eq!(is_self_signed(&whole[..whole.len() - 310]), None);
    }

    proptest! {
        #[test]
        fn no_damage_is_a_danger(at in 0usize..450, value: u8, cut in 0usize..450) {
            let mut bytes = flight(b"CN=me", b"CN=me");
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(cut);

            is_self_signed(&bytes);
        }
    }
}
