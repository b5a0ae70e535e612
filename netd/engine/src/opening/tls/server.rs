//! The ServerHello: what a server chose (RFC 8446, 4.1.3; RFC 5246, 7.4.1.3).

use std::sync::Arc;

use super::{SERVER_HELLO, handshake, hello, messages};

const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;
/// Extensions that are looked at.
const MOST: usize = 32;

/// A server's choice among what the client offered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Choice {
    pub(crate) version: u16,
    pub(crate) cipher: u16,
    /// Protocol inside TLS; TLS 1.3 sends it encrypted.
    pub(crate) alpn: Option<Arc<str>>,
}

/// Reads the beginning of what a TLS server sent; none until its hello is whole.
pub(in crate::opening) fn read(stream: &[u8]) -> Option<Choice> {
    let handshake = handshake(stream);
    let message =
        messages(&handshake.bytes).next().filter(|message| message.kind == SERVER_HELLO && !message.is_cut)?;
    let (version, rest) = message.body.split_first_chunk()?;
    let (session, rest) = rest.get(32..)?.split_first()?;
    let (cipher, rest) = rest.get(usize::from(*session)..)?.split_first_chunk()?;
    let mut choice =
        Choice { version: u16::from_be_bytes(*version), cipher: u16::from_be_bytes(*cipher), ..Choice::default() };
    // Compression method and length of the extensions, which old servers leave out.
    let mut extensions = rest.get(3..).unwrap_or_default();
    for _ in 0..MOST {
        let [a, b, c, d, body @ ..] = extensions else { break };
        let len = usize::from(u16::from_be_bytes([*c, *d]));
        let Some((body, after)) = body.split_at_checked(len) else { break };
        match (u16::from_be_bytes([*a, *b]), body) {
            (SUPPORTED_VERSIONS, [high, low]) => choice.version = u16::from_be_bytes([*high, *low]),
            // A list of one.
            (ALPN, [_, _, _, name @ ..]) => choice.alpn = hello::shown(name),
            _ => {}
        }
        extensions = after;
    }
    Some(choice)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::hello::tests::{extension, records};
    use super::*;

    fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([2, 1, 1, 0x13, 0x01, 0]);
        let extensions = extensions.concat();
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        body
    }

    #[test]
    fn a_server_hello_tells_version_and_cipher() {
        let tls13 = records(SERVER_HELLO, &hello(&[extension(SUPPORTED_VERSIONS, &[3, 4])]), 1 << 14);
        let tls12 = records(SERVER_HELLO, &hello(&[extension(ALPN, b"\x00\x03\x02h2")]), 20);

        assert_eq!(read(&tls13), Some(Choice { version: 0x0304, cipher: 0x1301, alpn: None }));
        assert_eq!(read(&tls12), Some(Choice { version: 0x0303, cipher: 0x1301, alpn: Some("h2".into()) }));
    }

    #[test]
    fn a_hello_without_extensions_or_without_its_end_is_not_guessed() {
        let mut old = hello(&[]);
        old.truncate(old.len() - 2);
        let whole = records(SERVER_HELLO, &old, 1 << 14);

        assert_eq!(read(&whole).map(|choice| choice.version), Some(0x0303));
        assert_eq!(read(&whole[..whole.len() - 1]), None);
        assert_eq!(read(&records(11, &old, 1 << 14)), None);
    }

    proptest! {
        #[test]
        fn no_damage_is_a_danger(at in 0usize..70, value: u8, cut in 0usize..70) {
            let mut bytes = records(SERVER_HELLO, &hello(&[extension(ALPN, b"\x00\x03\x02h2")]), 1 << 14);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(cut);

            read(&bytes);
        }
    }
}
