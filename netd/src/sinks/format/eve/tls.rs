//! The handshake of a TLS connection.

use netd_engine::flow::{NameSource, Protocol};
use serde::Serialize;

use super::{Event, of_flow};
use crate::sinks::format::{Flow, Site};

#[derive(Serialize)]
pub(super) struct TlsBody<'a> {
    tls: Tls<'a>,
}

#[derive(Serialize)]
struct Tls<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<&'a str>,
    /// What the server chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_alpns: Option<[&'a str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ja3: Option<Ja3<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ja4: Option<&'a str>,
}

#[derive(Serialize)]
struct Ja3<'a> {
    hash: &'a str,
}

pub(super) fn event<'a>(flow: &Flow<'a>, site: &'a Site) -> Option<Event<'a, TlsBody<'a>>> {
    let conversation = flow.conversation;
    let is_tls = conversation.service == Some(Protocol::Tls);
    let is_named = conversation.name_source == NameSource::Sni;
    let sni = conversation.name.as_deref().filter(|_| is_named);
    let (ja4, version) = (conversation.ja4.as_deref(), conversation.tls.version);
    if !is_tls || (sni.is_none() && ja4.is_none() && version.is_none()) {
        return None;
    }
    let tls = Tls {
        sni,
        version: version.map(version_name),
        client_alpns: conversation.alpn.as_deref().map(|alpn| [alpn]),
        ja3: conversation.tls.ja3.as_deref().map(|hash| Ja3 { hash }),
        ja4,
    };
    Some(of_flow(flow, site, "tls", TlsBody { tls }))
}

fn version_name(version: u16) -> String {
    match version {
        0x0300 => "SSLv3".to_owned(),
        0x0301 => "TLSv1".to_owned(),
        0x0302..=0x0304 => format!("TLS 1.{}", version - 0x0301),
        other => format!("0x{other:04x}"),
    }
}
