//! The part of a DNS message that names flows: addresses of the question's name.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::{Header, MessageType, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use crate::name::clean;

/// A message longer than this is not read.
const LONGEST: usize = 4_096;
const HEADER: usize = 12;
/// More questions than this are no DNS that anybody answers.
const MOST_QUESTIONS: u16 = 4;
/// Answers read of one message.
const MOST_ANSWERS: u16 = 64;

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Query,
    /// `name` has these addresses for so many seconds.
    Answer {
        name: Arc<str>,
        addresses: Vec<(IpAddr, u32)>,
    },
    /// DNS, but nothing that names a flow.
    Other,
}

/// Reads a DNS message, or returns `None` when the bytes are none. A message cut short yields the answers before the cut.
pub(crate) fn read(bytes: &[u8]) -> Option<Message> {
    if bytes.len() < HEADER || bytes.len() > LONGEST {
        return None;
    }
    let questions = u16::from_be_bytes([bytes[4], bytes[5]]);
    let answers = u16::from_be_bytes([bytes[6], bytes[7]]);
    if questions > MOST_QUESTIONS {
        return None;
    }
    let mut decoder = BinDecoder::new(bytes);
    let header = Header::read(&mut decoder).ok()?;
    let mut question = None;
    for _ in 0..questions {
        let query = Query::read(&mut decoder).ok()?;
        question = question.or(Some(query));
    }
    if header.message_type != MessageType::Response {
        return Some(if questions > 0 { Message::Query } else { Message::Other });
    }
    let Some(question) = question.filter(|_| header.response_code == ResponseCode::NoError) else {
        return Some(Message::Other);
    };
    if !matches!(question.query_type(), RecordType::A | RecordType::AAAA) {
        return Some(Message::Other);
    }
    let Some(name) = clean(question.name().to_ascii().as_bytes()) else { return Some(Message::Other) };
    let mut addresses = Vec::new();
    for _ in 0..answers.min(MOST_ANSWERS) {
        let Ok(record) = Record::<RData>::read(&mut decoder) else { break };
        if record.dns_class != DNSClass::IN {
            continue;
        }
        // An alias in between changes the owner, not what the client asked for.
        if let Some(ip) = record.data.ip_addr() {
            addresses.push((ip, record.ttl));
        }
    }
    Some(Message::Answer { name, addresses })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    /// A response: a question for A, an alias, and the alias's address.
    fn response() -> Vec<u8> {
        let mut bytes = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0];
        bytes.extend(b"\x03WWW\x07example\x03org\x00\x00\x01\x00\x01");
        bytes.extend(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x06\x03cdn\xc0\x10");
        bytes.extend(b"\xc0\x2d\x00\x01\x00\x01\x00\x00\x00\x78\x00\x04\xc6\x33\x64\x09");
        bytes
    }

    #[test]
    fn an_address_is_named_as_the_client_asked_not_as_its_alias() {
        let address = IpAddr::from(Ipv4Addr::new(198, 51, 100, 9));

        let expected = Message::Answer { name: "www.example.org".into(), addresses: vec![(address, 120)] };
        assert_eq!(read(&response()), Some(expected));
    }

    #[test]
    fn a_message_cut_short_yields_the_answers_before_the_cut() {
        let whole = response();

        let read = read(&whole[..whole.len() - 2]);

        assert_eq!(read, Some(Message::Answer { name: "www.example.org".into(), addresses: Vec::new() }));
    }

    #[test]
    fn what_is_no_dns_is_not_taken_for_it() {
        assert_eq!(read(b"SSH-2.0-OpenSSH_9.6\r\n"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_danger(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            read(&bytes);
        }

        #[test]
        fn no_damage_is_a_danger(at in 0usize..80, value: u8) {
            let mut bytes = response();
            let at = at % bytes.len();
            bytes[at] = value;

            read(&bytes);
        }
    }
}
