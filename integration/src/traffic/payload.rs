//! What an exchange looks like on the wire: nothing in particular, TLS or HTTP.
//!
//! The TLS is a well-formed ClientHello and records around random bytes; no key is ever agreed.

use crate::traffic::dice::Dice;

/// How the payload of a connection looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Random bytes.
    Raw,
    /// TLS 1.3, with the server's name when there is one.
    Tls { name: Option<String> },
    /// HTTP/1.1 in clear text.
    Http { host: String },
}

impl Look {
    /// Returns a request of `length` bytes (more where the look needs more); `first` of its connection.
    #[must_use]
    pub fn request(&self, first: bool, length: usize, dice: &mut Dice) -> Vec<u8> {
        match self {
            Self::Raw => random(length, dice),
            Self::Tls { name } if first => client_hello(name.as_deref(), length, dice),
            Self::Tls { .. } => application_data(length, dice),
            Self::Http { host } => {
                let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\nCookie: ");
                let pad = length.saturating_sub(head.len() + 4);
                [head.as_bytes(), &letters(pad, dice), b"\r\n\r\n"].concat()
            }
        }
    }

    /// Returns an answer of `length` bytes (more where the look needs more); none when `length` is 0.
    #[must_use]
    pub fn answer(&self, first: bool, length: usize, dice: &mut Dice) -> Vec<u8> {
        if length == 0 {
            return Vec::new();
        }
        match self {
            Self::Raw => random(length, dice),
            Self::Tls { .. } if first => {
                let mut flight = server_hello(dice);
                let rest = length.saturating_sub(flight.len());
                flight.extend(application_data(rest.max(6), dice));
                flight
            }
            Self::Tls { .. } => application_data(length, dice),
            Self::Http { .. } => {
                // The length of the head depends on the length that it names: five digits settle it.
                let head = |body: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {body:05}\r\n\r\n");
                let body = length.saturating_sub(head(0).len());
                [head(body).as_bytes(), &letters(body, dice)].concat()
            }
        }
    }
}

/// Returns an NTP packet of a client (mode 3) or a server (mode 4), version 4.
#[must_use]
pub fn ntp(mode: u8, transmit: u64) -> [u8; 48] {
    let mut packet = [0; 48];
    packet[0] = 4 << 3 | mode;
    packet[1] = if mode == 4 { 2 } else { 0 };
    packet[2] = 6;
    packet[3] = 0xec;
    packet[40..].copy_from_slice(&transmit.to_be_bytes());
    packet
}

/// A ClientHello record of `length` bytes: its padding extension makes up what is missing.
fn client_hello(name: Option<&str>, length: usize, dice: &mut Dice) -> Vec<u8> {
    const PADDING: u16 = 21;
    let mut extensions = Vec::new();
    if let Some(name) = name {
        let host = [&[0][..], &prefixed_u16(name.as_bytes())].concat();
        extensions.extend(extension(0, &prefixed_u16(&host)));
    }
    extensions.extend(extension(10, &[0, 4, 0, 0x1d, 0, 0x17]));
    extensions.extend(extension(11, &[1, 0]));
    extensions.extend(extension(13, &[0, 8, 4, 3, 8, 4, 4, 1, 5, 3]));
    extensions.extend(extension(16, &[0, 12, 2, b'h', b'2', 8, b'h', b't', b't', b'p', b'/', b'1', b'.', b'1']));
    extensions.extend(extension(43, &[4, 3, 4, 3, 3]));
    extensions.extend(extension(51, &prefixed_u16(&[&[0, 0x1d, 0, 32][..], &random(32, dice)].concat())));

    let mut hello = vec![3, 3];
    hello.extend(random(32, dice));
    hello.push(32);
    hello.extend(random(32, dice));
    hello.extend(prefixed_u16(&[0x13, 1, 0x13, 2, 0x13, 3, 0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x2c, 0xc0, 0x30]));
    hello.extend([1, 0]);

    // A record header, a handshake header and the length of the extensions come on top.
    let around = 5 + 4 + hello.len() + 2;
    if let Some(missing) = length.checked_sub(around + extensions.len() + 4) {
        extensions.extend(extension(PADDING, &vec![0; missing]));
    }
    hello.extend(prefixed_u16(&extensions));
    record(22, &[&[1, 0][..], &prefixed_u16(&hello)].concat())
}

fn server_hello(dice: &mut Dice) -> Vec<u8> {
    let mut hello = vec![3, 3];
    hello.extend(random(32, dice));
    hello.push(32);
    hello.extend(random(32, dice));
    hello.extend([0x13, 1, 0]);
    let mut extensions = extension(43, &[3, 4]);
    extensions.extend(extension(51, &[&[0, 0x1d, 0, 32][..], &random(32, dice)].concat()));
    hello.extend(prefixed_u16(&extensions));
    record(22, &[&[2, 0][..], &prefixed_u16(&hello)].concat())
}

/// Records of encrypted data, `length` bytes with their headers.
fn application_data(length: usize, dice: &mut Dice) -> Vec<u8> {
    const MOST: usize = 16_384;
    let mut records = Vec::with_capacity(length);
    while records.len() < length {
        let left = length - records.len();
        // The last record but one leaves enough for a record.
        let body = if left > MOST + 5 { MOST.min(left - 11) } else { left.saturating_sub(5).max(1) };
        records.extend(record(23, &random(body, dice)));
    }
    records
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    // A ClientHello names TLS 1.0 on its record for old middle boxes.
    let minor = if body.first() == Some(&1) && kind == 22 { 1 } else { 3 };
    [&[kind, 3, minor][..], &prefixed_u16(body)].concat()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &prefixed_u16(body)].concat()
}

/// `body` behind its length; what does not fit in 16 bits is cut.
fn prefixed_u16(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], &body[..usize::from(length)]].concat()
}

fn random(length: usize, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = vec![0; length];
    dice.fill(&mut bytes);
    bytes
}

fn letters(length: usize, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = random(length, dice);
    bytes.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_have_the_length_that_was_asked() {
        let mut dice = Dice::new(5);
        let looks = [Look::Raw, Look::Tls { name: Some("a.example".into()) }, Look::Http { host: "a.example".into() }];
        for look in looks {
            for length in [300, 517, 1_400, 16_389, 16_390, 16_400, 50_000] {
                for first in [true, false] {
                    assert_eq!(look.request(first, length, &mut dice).len(), length, "{look:?} {first}");
                    assert_eq!(look.answer(first, length, &mut dice).len(), length, "{look:?} {first}");
                }
            }
        }
    }

    #[test]
    fn a_client_hello_names_the_server() {
        let hello = Look::Tls { name: Some("c2.example".into()) }.request(true, 300, &mut Dice::new(5));

        assert_eq!(hello[..3], [22, 3, 1]);
        assert!(hello.windows(10).any(|part| part == b"c2.example"));
    }
}
