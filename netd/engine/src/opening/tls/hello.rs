//! The ClientHello: what a client offers, and whom it asks for.

use std::net::IpAddr;
use std::sync::Arc;

use tls_parser::{DTLSMessage, DTLSMessageHandshakeBody, TlsCipherSuiteID, TlsExtension, TlsVersion};

use super::fingerprint::{Carrier, is_grease, ja3, ja4};
use crate::name::{NameSource, clean};
use crate::opening::{Facts, Opening, Protocol};

/// Extensions and values of one list that are looked at; no client sends nearly as many.
const MOST: usize = 256;
/// Bytes kept of a protocol's name.
const LONGEST_ALPN: usize = 32;

const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
const ENCRYPTED_SERVER_NAME: u16 = 0xffce;
/// Server name, groups, point formats, signature algorithms, ALPN, supported versions.
const READ: [u16; 6] = [0, 10, 11, 13, 16, 43];

/// What a client offers, in its order and with its GREASE.
#[derive(Clone, Debug, Default)]
pub(super) struct Offer {
    /// `legacy_version`.
    pub(super) version: u16,
    /// Of the extension `supported_versions`.
    pub(super) versions: Vec<u16>,
    pub(super) ciphers: Vec<u16>,
    pub(super) extensions: Vec<u16>,
    pub(super) groups: Vec<u16>,
    pub(super) point_formats: Vec<u8>,
    pub(super) signature_algorithms: Vec<u16>,
    /// The first protocol offered.
    pub(super) alpn: Option<Vec<u8>>,
    pub(super) server_name: Option<Arc<str>>,
}

impl Offer {
    fn of(version: TlsVersion, ciphers: &[TlsCipherSuiteID], extensions: &[u8]) -> Self {
        let ciphers = ciphers.iter().take(MOST).map(|cipher| cipher.0).collect();
        let mut offer = Self { version: version.0, ciphers, ..Self::default() };
        offer.read_extensions(extensions);
        offer
    }

    /// Reads one extension at a time: the list may be cut short, and a malformed one must not hide the others.
    fn read_extensions(&mut self, mut extensions: &[u8]) {
        while let [a, b, c, d, body @ ..] = extensions {
            let kind = u16::from_be_bytes([*a, *b]);
            let len = usize::from(u16::from_be_bytes([*c, *d]));
            if self.extensions.len() == MOST || body.len() < len {
                return;
            }
            self.extensions.push(kind);
            if READ.contains(&kind)
                && let Ok((_, extension)) = tls_parser::parse_tls_client_hello_extension(extensions)
            {
                self.take(extension);
            }
            extensions = &body[len..];
        }
    }

    fn take(&mut self, extension: TlsExtension<'_>) {
        if let TlsExtension::SNI(names) = &extension {
            self.server_name = names.first().and_then(|(_, name)| clean(name));
        } else if let TlsExtension::EllipticCurves(groups) = &extension {
            self.groups = groups.iter().take(MOST).map(|group| group.0).collect();
        } else if let TlsExtension::EcPointFormats(formats) = extension {
            self.point_formats = formats.to_vec();
        } else if let TlsExtension::SignatureAlgorithms(algorithms) = &extension {
            self.signature_algorithms = algorithms.iter().take(MOST).copied().collect();
        } else if let TlsExtension::ALPN(protocols) = &extension {
            self.alpn = protocols.first().map(|first| first.to_vec());
        } else if let TlsExtension::SupportedVersions(versions) = &extension {
            self.versions = versions.iter().take(MOST).map(|version| version.0).collect();
        }
    }

    /// Returns the newest version on offer.
    pub(super) fn highest_version(&self, carrier: Carrier) -> u16 {
        let versions = self.versions.iter().copied().filter(|version| !is_grease(*version));
        // DTLS counts its versions downwards.
        let highest = if carrier == Carrier::Dtls { versions.min() } else { versions.max() };
        highest.unwrap_or(self.version)
    }

    fn opening(&self, carrier: Carrier, is_cut: bool) -> Opening {
        // An address is no name, although some clients send it as one.
        let name = self.server_name.clone().filter(|name| name.parse::<IpAddr>().is_err());
        let is_encrypted =
            self.extensions.iter().any(|kind| [ENCRYPTED_CLIENT_HELLO, ENCRYPTED_SERVER_NAME].contains(kind));
        let facts = Facts::TLS
            .with_if(name.is_none() && is_cut, Facts::TLS_CUT)
            .with_if(name.is_none() && !is_cut, Facts::TLS_WITHOUT_NAME)
            .with_if(is_encrypted, Facts::ENCRYPTED_HELLO);
        let source = if name.is_some() { NameSource::Sni } else { NameSource::None };
        // Half an offer has the fingerprint of nobody.
        let print = |of: &dyn Fn() -> String| (!is_cut).then(|| Arc::from(of()));
        Opening {
            protocol: protocol_of(carrier),
            facts,
            name,
            source,
            alpn: self.alpn.as_deref().and_then(shown),
            ja3: print(&|| ja3(self)),
            ja4: print(&|| ja4(self, carrier)),
            ..Opening::default()
        }
    }
}

const fn protocol_of(carrier: Carrier) -> Protocol {
    match carrier {
        Carrier::Tcp => Protocol::Tls,
        Carrier::Quic => Protocol::Quic,
        Carrier::Dtls => Protocol::Dtls,
    }
}

/// Returns a protocol's name as it may be shown.
pub(super) fn shown(alpn: &[u8]) -> Option<Arc<str>> {
    let is_shown = !alpn.is_empty() && alpn.len() <= LONGEST_ALPN && alpn.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(alpn).ok().filter(|_| is_shown).map(Arc::from)
}

/// Returns what a ClientHello that was not, or not usefully, read still says of its conversation.
pub(in crate::opening) fn unread(carrier: Carrier, facts: Facts) -> Opening {
    Opening { protocol: protocol_of(carrier), facts: Facts::TLS.with(facts), ..Opening::default() }
}

/// Reads the body of a ClientHello; `is_cut` where its end is missing.
pub(in crate::opening) fn read(body: &[u8], is_cut: bool, carrier: Carrier) -> Opening {
    if !is_cut && let Ok((_, hello)) = tls_parser::parse_tls_handshake_client_hello(body) {
        return Offer::of(hello.version, &hello.ciphers, hello.ext.unwrap_or_default()).opening(carrier, false);
    }
    // A hello cut short still has its first extensions, where the name usually stands.
    let mut offer = Offer::default();
    offer.read_extensions(extensions_of_cut_hello(body).unwrap_or_default());
    offer.opening(carrier, true)
}

/// Skips version, random, session, cipher suites, compression methods and the length of the extensions.
fn extensions_of_cut_hello(body: &[u8]) -> Option<&[u8]> {
    let after_random = body.get(2 + 32..)?;
    let after_session = after_random.get(1 + usize::from(*after_random.first()?)..)?;
    let ciphers = usize::from(u16::from_be_bytes(*after_session.first_chunk()?));
    let after_ciphers = after_session.get(2 + ciphers..)?;
    let after_compression = after_ciphers.get(1 + usize::from(*after_ciphers.first()?)..)?;
    after_compression.get(2..)
}

/// Reads a datagram that begins with a DTLS handshake record.
pub(in crate::opening) fn read_dtls(datagram: &[u8]) -> Option<Opening> {
    let [super::HANDSHAKE, 0xfe, 0xff | 0xfd | 0xfc, ..] = datagram else { return None };
    let Ok((_, record)) = tls_parser::parse_dtls_plaintext_record(datagram) else {
        return Some(unread(Carrier::Dtls, Facts::default()));
    };
    let hello = record.messages.iter().find_map(|message| match message {
        DTLSMessage::Handshake(handshake) => match &handshake.body {
            DTLSMessageHandshakeBody::ClientHello(hello) => Some(hello),
            DTLSMessageHandshakeBody::HelloRequest
            | DTLSMessageHandshakeBody::HelloVerifyRequest(_)
            | DTLSMessageHandshakeBody::ServerHello(_)
            | DTLSMessageHandshakeBody::NewSessionTicket(_)
            | DTLSMessageHandshakeBody::HelloRetryRequest(_)
            | DTLSMessageHandshakeBody::Certificate(_)
            | DTLSMessageHandshakeBody::ServerKeyExchange(_)
            | DTLSMessageHandshakeBody::CertificateRequest(_)
            | DTLSMessageHandshakeBody::ServerDone(_)
            | DTLSMessageHandshakeBody::CertificateVerify(_)
            | DTLSMessageHandshakeBody::ClientKeyExchange(_)
            | DTLSMessageHandshakeBody::Finished(_)
            | DTLSMessageHandshakeBody::CertificateStatus(_)
            | DTLSMessageHandshakeBody::NextProtocol(_)
            | DTLSMessageHandshakeBody::Fragment(_) => None,
        },
        DTLSMessage::ChangeCipherSpec
        | DTLSMessage::Alert(_)
        | DTLSMessage::ApplicationData(_)
        | DTLSMessage::Heartbeat(_) => None,
    });
    Some(match hello {
        Some(hello) => {
            let offer = Offer::of(hello.version, &hello.ciphers, hello.ext.unwrap_or_default());
            offer.opening(Carrier::Dtls, false)
        }
        None => unread(Carrier::Dtls, Facts::default()),
    })
}

#[cfg(test)]
pub(in crate::opening) mod tests {
    use proptest::prelude::*;

    use super::super::CLIENT_HELLO;
    use super::*;

    pub(in crate::opening) fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn server_name(name: &str) -> Vec<u8> {
        let len = name.len() as u16;
        let mut body = (len + 3).to_be_bytes().to_vec();
        body.push(0);
        body.extend(len.to_be_bytes());
        body.extend(name.as_bytes());
        extension(0, &body)
    }

    /// The body of a ClientHello with GREASE first, the server name second, and `more` extensions.
    pub(in crate::opening) fn hello(name: Option<&str>, more: &[Vec<u8>]) -> Vec<u8> {
        let mut extensions = extension(0x0a0a, &[]);
        extensions.extend(name.map(server_name).unwrap_or_default());
        extensions.extend(extension(23, &[]));
        extensions.extend(more.concat());
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(0);
        body.extend([0, 2, 0x13, 0x01, 1, 0]);
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        body
    }

    /// A handshake message in records of at most `longest` bytes.
    pub(in crate::opening) fn records(kind: u8, body: &[u8], longest: usize) -> Vec<u8> {
        let mut message = vec![kind];
        message.extend(&(body.len() as u32).to_be_bytes()[1..]);
        message.extend(body);
        let record = |fragment: &[u8]| {
            let mut record = vec![22, 3, 1];
            record.extend((fragment.len() as u16).to_be_bytes());
            record.extend(fragment);
            record
        };
        message.chunks(longest).flat_map(record).collect()
    }

    pub(in crate::opening) fn client_hello(name: Option<&str>) -> Vec<u8> {
        records(CLIENT_HELLO, &hello(name, &[]), 1 << 14)
    }

    #[test]
    fn a_client_hello_names_its_server() {
        let opening = read(&hello(Some("WWW.Example.org"), &[]), false, Carrier::Tcp);

        assert_eq!(opening.name.as_deref(), Some("www.example.org"));
        assert_eq!(opening.source, NameSource::Sni);
        assert_eq!(opening.protocol, Protocol::Tls);
    }

    #[test]
    fn a_client_hello_without_a_name_or_with_an_address_says_so() {
        for name in [None, Some("192.0.2.7")] {
            assert!(read(&hello(name, &[]), false, Carrier::Tcp).facts.has(Facts::TLS_WITHOUT_NAME), "{name:?}");
        }
    }

    #[test]
    fn a_hello_cut_after_its_name_still_names_its_server() {
        let whole = hello(Some("example.org"), &[]);

        let opening = read(&whole[..whole.len() - 3], true, Carrier::Tcp);

        assert_eq!(opening.name.as_deref(), Some("example.org"));
        assert_eq!(opening.ja4, None);
    }

    #[test]
    fn a_hello_cut_before_its_name_does_not_claim_to_have_none() {
        let whole = hello(Some("example.org"), &[]);

        let opening = read(&whole[..whole.len() - 12], true, Carrier::Tcp);

        assert_eq!(opening.name, None);
        assert!(opening.facts.has(Facts::TLS_CUT) && !opening.facts.has(Facts::TLS_WITHOUT_NAME));
    }

    #[test]
    fn the_first_protocol_offered_is_shown() {
        let alpn = extension(16, b"\x00\x0c\x02h2\x08http/1.1");

        let opening = read(&hello(Some("example.org"), &[alpn]), false, Carrier::Tcp);

        assert_eq!(opening.alpn.as_deref(), Some("h2"));
        assert!(opening.ja4.unwrap().starts_with("t12d0103h2_"));
    }

    #[test]
    fn a_malformed_extension_does_not_hide_the_others() {
        let malformed = extension(13, &[0xff, 0xff, 1]);
        let versions = extension(43, &[2, 3, 4]);

        let opening = read(&hello(Some("example.org"), &[malformed, versions]), false, Carrier::Tcp);

        assert!(opening.ja4.unwrap().starts_with("t13d0104"));
    }

    #[test]
    fn an_encrypted_hello_is_noted() {
        let ech = extension(ENCRYPTED_CLIENT_HELLO, &[0; 40]);

        assert!(read(&hello(None, &[ech]), false, Carrier::Tcp).facts.has(Facts::ENCRYPTED_HELLO));
        assert!(!read(&hello(None, &[]), false, Carrier::Tcp).facts.has(Facts::ENCRYPTED_HELLO));
    }

    #[test]
    fn a_dtls_hello_names_its_server() {
        let mut body = hello(Some("turn.example.org"), &[]);
        body[0..2].copy_from_slice(&[0xfe, 0xfd]);
        body.insert(2 + 32 + 1, 0);
        let len = (body.len() as u32).to_be_bytes();
        let mut message = vec![CLIENT_HELLO, len[1], len[2], len[3], 0, 0, 0, 0, 0, len[1], len[2], len[3]];
        message.extend(body);
        let mut datagram = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0];
        datagram.extend((message.len() as u16).to_be_bytes());
        datagram.extend(message);

        let opening = read_dtls(&datagram).unwrap();

        assert_eq!(opening.name.as_deref(), Some("turn.example.org"));
        assert!(opening.ja4.unwrap().starts_with("dd2d01"));
    }

    proptest! {
        #[test]
        fn no_damage_to_a_hello_is_a_danger(at in 0usize..120, value: u8, cut in 0usize..140, is_cut: bool) {
            let mut bytes = hello(Some("www.example.org"), &[extension(16, b"\x00\x03\x02h2"), extension(43, &[2, 3, 4])]);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(cut);

            let opening = read(&bytes, is_cut, Carrier::Quic);
            prop_assert!(opening.facts.has(Facts::TLS));
            read_dtls(&bytes);
        }
    }
}
