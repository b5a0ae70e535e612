//! What fuzz targets call: every parser of the engine that sees the network, and what must hold of its answers.
//!
//! A crash that a target found lies in `fuzz/crashes/TARGET/`, and the tests here replay it.

use netd_common::key::Direction;

use crate::name::LONGEST_NAME;
use crate::opening::{self, FirstData, Opening, Openings};
use crate::slab::Slab;
use crate::{dns, opening::parsers};

/// Reads a DNS message.
pub fn dns_message(bytes: &[u8]) {
    dns::read(bytes);
}

/// Reads TLS records of a client, the body of a ClientHello, a DTLS datagram, and records of a server.
pub fn client_hello(bytes: &[u8]) {
    parsers::tls(bytes).iter().for_each(check);
}

/// Reads datagrams of a QUIC client, and what might have been encrypted in them.
pub fn quic_initial(bytes: &[u8]) {
    parsers::quic(bytes).iter().for_each(check);
}

/// Reads the head of an HTTP request.
pub fn http_head(bytes: &[u8]) {
    parsers::http(bytes).iter().for_each(check);
}

/// Hears a conversation. Five bytes say what carries it and how each record is sent, the rest is what is said.
pub fn first_bytes(bytes: &[u8]) {
    const RECORDS: usize = 7;
    let [carrier, port, sides, order, cut, said @ ..] = bytes else { return };
    let mut openings = Openings::new();
    let handle = Slab::new().insert(());
    let longest = usize::from(*cut).max(1) * 8;
    let mut is_known = false;
    for (nth, record) in said.chunks(longest).take(RECORDS).enumerate() {
        let is_late = order >> nth & 1 != 0;
        let at = if is_late { nth.saturating_sub(1) } else { nth } * longest;
        let data = FirstData {
            direction: Direction::from_bit(sides >> nth & 1),
            originator: Direction::AToB,
            ip_protocol: [6, 17, 1][usize::from(carrier % 3)],
            responder_port: u16::from(*port),
            seq: (carrier & 0x80 == 0).then_some((at as u32).wrapping_sub(1_000)),
            bytes: record,
            at_ns: nth as u64,
        };
        if let Some(heard) = openings.hear(handle, is_known, &data) {
            is_known = true;
            check(&heard.opening);
        }
    }
}

/// What holds of every opening, whatever the bytes.
fn check(opening: &Opening) {
    let is_bounded = |text: &Option<std::sync::Arc<str>>, longest: usize| {
        text.as_ref().is_none_or(|text| {
            !text.is_empty() && text.len() <= longest && text.bytes().all(|b| (b' '..=b'~').contains(&b))
        })
    };
    assert!(is_bounded(&opening.name, LONGEST_NAME), "{opening:?}");
    assert!(is_bounded(&opening.alpn, 32), "{opening:?}");
    assert!(is_bounded(&opening.user_agent, 256), "{opening:?}");
    assert!(opening.ja3.as_ref().is_none_or(|ja3| ja3.len() == 32), "{opening:?}");
    assert!(opening.ja4.as_ref().is_none_or(|ja4| ja4.len() == 36), "{opening:?}");
    assert_eq!(opening.name.is_some(), !opening.source.is_none(), "{opening:?}");
    let is_shell = opening.shell_sign.is_some() && opening.protocol.is_known();
    assert!(!is_shell, "{opening:?}");
    let both = opening::Facts::TLS_CUT.with(opening::Facts::TLS_WITHOUT_NAME);
    assert!(!(opening.facts.has(both) && opening.name.is_some()), "{opening:?}");
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Replays what the target found once, and what it starts from.
    fn replay(target: &str, run: fn(&[u8])) {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
        let mut replayed = 0;
        for folder in ["corpus", "crashes"] {
            let Ok(files) = fs::read_dir(fuzz.join(folder).join(target)) else { continue };
            for file in files {
                run(&fs::read(file.unwrap().path()).unwrap());
                replayed += 1;
            }
        }
        assert!(replayed > 0, "no corpus for {target}");
    }

    #[test]
    fn dns_messages_are_no_danger() {
        replay("dns_message", dns_message);
    }

    #[test]
    fn client_hellos_are_no_danger() {
        replay("client_hello", client_hello);
    }

    #[test]
    fn quic_initials_are_no_danger() {
        replay("quic_initial", quic_initial);
    }

    #[test]
    fn http_heads_are_no_danger() {
        replay("http_head", http_head);
    }

    #[test]
    fn first_bytes_are_no_danger() {
        replay("first_bytes", first_bytes);
    }
}
