//! The parsers one by one, for fuzz targets.

use super::tls::{Carrier, certificate, hello};
use super::{Opening, http, quic, read, stream::Stream};

pub(crate) fn tls(bytes: &[u8]) -> Vec<Opening> {
    certificate::read(bytes);
    let mut openings: Vec<Opening> = hello::read_dtls(bytes).into_iter().collect();
    for is_cut in [false, true] {
        openings.push(hello::read(bytes, is_cut, Carrier::Tcp));
    }
    let mut stream = Stream::default();
    stream.push(None, bytes);
    openings.push(read::originator(&stream, read::Path { ip_protocol: 6, responder_port: 443 }).opening);
    openings
}

/// Two datagrams cut after as many bytes as the first one says; the same bytes as the payload of packets.
pub(crate) fn quic(bytes: &[u8]) -> Vec<Opening> {
    let Some((cut, bytes)) = bytes.split_first() else { return Vec::new() };
    let (first, second) = bytes.split_at(bytes.len().min(usize::from(*cut) * 8));
    quic::is_long_header(bytes);
    let mut crypto = quic::Crypto::default();
    crypto.read(first);
    crypto.read(second);
    vec![
        quic::client_hello([bytes].into_iter()).opening,
        quic::client_hello([first, second].into_iter()).opening,
        quic::from_crypto(&crypto).opening,
    ]
}

pub(crate) fn http(bytes: &[u8]) -> Vec<Opening> {
    http::read(bytes).map(|request| request.opening).into_iter().collect()
}
