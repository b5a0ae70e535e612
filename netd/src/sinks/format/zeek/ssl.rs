//! `ssl.log`: what the handshakes of TLS, DTLS and QUIC showed.
//!
//! A flow's handshake is told with its end, as its row of `conn.log` is, and under the same `uid`.

use netd_engine::flow::{Conversation, NameSource, Protocol};

use super::{Column, Field, ID, address, conn};
use crate::sinks::format::id::Id;

pub(super) const COLUMNS: [Column; 16] = [
    ID[0],
    ID[1],
    ID[2],
    ID[3],
    ID[4],
    ID[5],
    ("version", "string"),
    ("cipher", "string"),
    ("curve", "string"),
    ("server_name", "string"),
    ("resumed", "bool"),
    ("last_alert", "string"),
    ("next_protocol", "string"),
    ("established", "bool"),
    ("ja3", "string"),
    ("ja4", "string"),
];

/// Returns the row of a conversation that showed something of a handshake.
pub(super) fn row(flow: &Conversation) -> Option<Vec<Field>> {
    let is_secured = matches!(flow.service, Some(Protocol::Tls | Protocol::Dtls | Protocol::Quic));
    let is_named = flow.name_source == NameSource::Sni;
    let name = flow.name.clone().filter(|_| is_named);
    let tls = &flow.tls;
    if !is_secured || (name.is_none() && tls.ja3.is_none() && tls.version.is_none()) {
        return None;
    }
    let (from, to) = conn::ports(flow);
    let text = |text: Option<String>| text.map_or(Field::Unset, Field::Text);
    let cipher = tls.cipher.map(|number| tls.cipher_name().map_or_else(|| format!("unknown-{number}"), str::to_owned));
    Some(vec![
        Field::Seconds(flow.start.0 / 1_000),
        Field::Word(Id::of_conversation(flow).uid()),
        address(flow.originator),
        Field::Count(from),
        address(flow.responder),
        Field::Count(to),
        text(tls.version.map(version)),
        text(cipher),
        Field::Unset,
        text(name),
        Field::Unset,
        Field::Unset,
        text(tls.next_protocol.as_deref().map(str::to_owned)),
        Field::Unset,
        text(tls.ja3.as_deref().map(str::to_owned)),
        text(flow.ja4.clone()),
    ])
}

fn version(number: u16) -> String {
    match number {
        0x0300 => "SSLv3".to_owned(),
        0x0301..=0x0304 => format!("TLSv1{}", number - 0x0301),
        0xfeff => "DTLSv10".to_owned(),
        0xfefd => "DTLSv12".to_owned(),
        0xfefc => "DTLSv13".to_owned(),
        other => format!("unknown-{other}"),
    }
}
