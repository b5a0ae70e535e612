//! `conn.log`: conversations that ended.

use netd_engine::flow::{Conversation, Protocol, Sent};

use super::{Column, Field, address, proto};
use crate::sinks::format::Site;
use crate::sinks::format::id::Id;

/// Ethernet's header, which Zeek's bytes of IP leave out.
const LINK: u64 = 14;
const VLAN_TAG: u64 = 4;

pub(super) const COLUMNS: [Column; 23] = [
    ("ts", "time"),
    ("uid", "string"),
    ("id.orig_h", "addr"),
    ("id.orig_p", "port"),
    ("id.resp_h", "addr"),
    ("id.resp_p", "port"),
    ("proto", "enum"),
    ("service", "string"),
    ("duration", "interval"),
    ("orig_bytes", "count"),
    ("resp_bytes", "count"),
    ("conn_state", "string"),
    ("local_orig", "bool"),
    ("local_resp", "bool"),
    ("missed_bytes", "count"),
    ("history", "string"),
    ("orig_pkts", "count"),
    ("orig_ip_bytes", "count"),
    ("resp_pkts", "count"),
    ("resp_ip_bytes", "count"),
    ("tunnel_parents", "set[string]"),
    ("ip_proto", "count"),
    ("community_id", "string"),
];

pub(super) fn row(flow: &Conversation, site: &Site) -> Vec<Field> {
    let link = LINK + if flow.vlan == 0 { 0 } else { VLAN_TAG };
    let ip_bytes = |sent: &Sent| sent.bytes.saturating_sub(link * sent.packets);
    let (from, to) = ports(flow);
    vec![
        Field::Seconds(flow.start.0 / 1_000),
        Field::Word(Id::of_conversation(flow).uid()),
        address(flow.originator),
        Field::Count(from),
        address(flow.responder),
        Field::Count(to),
        Field::Word(proto(flow.protocol)),
        flow.service.map_or(Field::Unset, |protocol| Field::Word(service(protocol).to_owned())),
        Field::Seconds(flow.end.0.saturating_sub(flow.start.0) / 1_000),
        Field::Count(flow.originated.payload),
        Field::Count(flow.responded.payload),
        Field::Word(flow.state.to_owned()),
        Field::Bool(site.is_local(flow.originator)),
        Field::Bool(site.is_local(flow.responder)),
        Field::Count(0),
        history(flow),
        Field::Count(flow.originated.packets),
        Field::Count(ip_bytes(&flow.originated)),
        Field::Count(flow.responded.packets),
        Field::Count(ip_bytes(&flow.responded)),
        Field::Unset,
        Field::Count(u64::from(flow.protocol)),
        flow.community_id.clone().map_or(Field::Unset, Field::Word),
    ]
}

/// Zeek writes the types of ICMP where others have ports.
pub(super) fn ports(flow: &Conversation) -> (u64, u64) {
    match flow.protocol {
        1 | 58 => (u64::from(flow.originated.flags), u64::from(flow.responded.flags)),
        _ => (u64::from(flow.originator_port), u64::from(flow.responder_port)),
    }
}

fn service(protocol: Protocol) -> &'static str {
    match protocol.name() {
        "tls" => "ssl",
        "dtls" => "dtls",
        "kerberos" => "krb",
        "postgres" => "postgresql",
        "vnc" => "rfb",
        "http2" => "http",
        other => other,
    }
}

/// Zeek's history, as far as flags without their order tell: capitals are the originator's.
fn history(flow: &Conversation) -> Field {
    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;
    let mut history = String::new();
    let (from, to) = (&flow.originated, &flow.responded);
    if flow.protocol == 6 {
        let seen = [
            (from.flags & SYN != 0, 'S'),
            (to.flags & SYN != 0, 'h'),
            (from.flags & ACK != 0 && from.packets > 1, 'A'),
            (from.payload > 0, 'D'),
            (to.flags & ACK != 0 && to.packets > 1, 'a'),
            (to.payload > 0, 'd'),
            (from.flags & FIN != 0, 'F'),
            (to.flags & FIN != 0, 'f'),
            (from.flags & RST != 0, 'R'),
            (to.flags & RST != 0, 'r'),
        ];
        history.extend(seen.iter().filter(|(is_seen, _)| *is_seen).map(|(_, letter)| letter));
    } else {
        history.extend((from.packets > 0).then_some('D'));
        history.extend((to.packets > 0).then_some('d'));
    }
    if history.is_empty() { Field::Unset } else { Field::Word(history) }
}
