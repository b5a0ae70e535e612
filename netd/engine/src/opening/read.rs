//! One side's first bytes, read by whichever protocol they are of.

use super::signature::{self, Speaker};
use super::stream::Stream;
use super::tls::{self, Carrier, certificate, hello, server};
use super::{Facts, Opening, Protocol, http, quic, shell};

const TCP: u8 = 6;
const UDP: u8 = 17;
const NTP_PORT: u16 = 123;
/// Bytes that must be printable for a payload to count as text.
const TEXT_SAMPLE: usize = 64;

/// What carries a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) ip_protocol: u8,
    pub(super) responder_port: u16,
}

/// What one side said as far as it was heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) opening: Opening,
    /// Further bytes would tell nothing more.
    pub(super) is_settled: bool,
    /// Further bytes are likely to tell the name.
    pub(super) awaits_name: bool,
}

impl Said {
    fn settled(opening: Opening) -> Self {
        Self { opening, is_settled: true, awaits_name: false }
    }

    fn open(opening: Opening) -> Self {
        Self { opening, ..Self::default() }
    }

    fn whole_or_awaited(opening: Opening, is_whole: bool) -> Self {
        let awaits_name = !is_whole && opening.name.is_none();
        Self { opening, is_settled: is_whole, awaits_name }
    }
}

pub(super) fn originator(stream: &Stream, path: Path) -> Said {
    match path.ip_protocol {
        TCP => connection(stream),
        UDP => datagrams(stream, path),
        _ => Said::open(unknown(stream.datagrams().next().unwrap_or_default())),
    }
}

pub(super) fn responder(stream: &Stream, path: Path) -> Said {
    if path.ip_protocol != TCP {
        let first = stream.datagrams().next().unwrap_or_default();
        let known = (path.ip_protocol == UDP).then(|| signature::of_datagram(first)).flatten();
        return match known {
            Some(protocol) => Said::settled(Opening::of(protocol)),
            None => Said::open(Opening { shell_sign: command(stream), ..unknown(first) }),
        };
    }
    let bytes = stream.joined();
    if tls::is_handshake(&bytes) {
        let shown = certificate::read(&bytes);
        let facts = Facts::default().with_if(shown == certificate::Shown::SelfSigned, Facts::SELF_SIGNED);
        let server = server::read(&bytes);
        let opening = Opening { protocol: Protocol::Tls, facts, server, ..Opening::default() };
        return Said { opening, is_settled: shown != certificate::Shown::NotYet, awaits_name: false };
    }
    match signature::of_stream(&bytes, Speaker::Responder) {
        Some(protocol) => Said::settled(Opening::of(protocol)),
        None => Said::open(Opening { shell_sign: command(stream), ..unknown(&bytes) }),
    }
}

fn command(stream: &Stream) -> Option<shell::ShellSign> {
    stream.datagrams().filter_map(shell::of_responder).max()
}

fn prompt(stream: &Stream) -> Option<shell::ShellSign> {
    stream.datagrams().filter_map(shell::of_originator).max()
}

fn connection(stream: &Stream) -> Said {
    let bytes = stream.joined();
    if tls::is_handshake(&bytes) {
        return client_hello(&bytes);
    }
    if let Some(request) = http::read(&bytes) {
        return Said::whole_or_awaited(request.opening, request.is_whole);
    }
    if let Some(protocol) = signature::of_stream(&bytes, Speaker::Originator) {
        return Said::settled(Opening { facts: plain_fact(&bytes), ..Opening::of(protocol) });
    }
    Said::open(Opening { facts: plain_fact(&bytes), shell_sign: prompt(stream), ..unknown(&bytes) })
}

fn client_hello(bytes: &[u8]) -> Said {
    let handshake = tls::handshake(bytes);
    match tls::messages(&handshake.bytes).next() {
        Some(message) if message.kind == tls::CLIENT_HELLO => {
            let opening = hello::read(message.body, message.is_cut, Carrier::Tcp);
            Said::whole_or_awaited(opening, !message.is_cut || handshake.is_over)
        }
        // Joined midway.
        Some(_) => Said::settled(hello::unread(Carrier::Tcp, Facts::default())),
        None => Said::whole_or_awaited(hello::unread(Carrier::Tcp, Facts::TLS_CUT), handshake.is_over),
    }
}

fn datagrams(stream: &Stream, path: Path) -> Said {
    let first = stream.datagrams().next().unwrap_or_default();
    let ntp_mode = signature::ntp_mode(first);
    let is_not_ntp = path.responder_port == NTP_PORT && ntp_mode.is_none();
    let said = match signature::of_datagram(first) {
        Some(Protocol::Quic) => {
            let hello = quic::client_hello(stream.datagrams());
            Said::whole_or_awaited(hello.opening, hello.is_whole)
        }
        Some(Protocol::Dtls) => Said::settled(hello::read_dtls(first).unwrap_or(Opening::of(Protocol::Dtls))),
        Some(Protocol::Ntp) => Said::settled(Opening { ntp_mode, ..Opening::of(Protocol::Ntp) }),
        Some(protocol) => Said::settled(Opening::of(protocol)),
        None => Said::open(Opening { shell_sign: prompt(stream), ..unknown(first) }),
    };
    let facts = said.opening.facts.with_if(is_not_ntp, Facts::NOT_NTP);
    Said { opening: Opening { facts, ..said.opening }, ..said }
}

fn unknown(bytes: &[u8]) -> Opening {
    match bytes {
        [] => Opening::default(),
        _ if is_text(bytes) => Opening::of(Protocol::Text),
        _ => Opening::of(Protocol::Binary),
    }
}

fn plain_fact(bytes: &[u8]) -> Facts {
    match bytes {
        [] => Facts::default(),
        _ if is_text(bytes) => Facts::TEXT,
        _ => Facts::BINARY,
    }
}

fn is_text(bytes: &[u8]) -> bool {
    let sample = &bytes[..bytes.len().min(TEXT_SAMPLE)];
    sample.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n'))
}
