//! DNS messages (RFC 1035): one question, and answers of one type.

use std::net::Ipv4Addr;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    A = 1,
    Null = 10,
    Ptr = 12,
    Txt = 16,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Addresses(Vec<Ipv4Addr>),
    Data(Vec<u8>),
    NoSuchName,
}

/// Returns a query.
pub(crate) fn query(id: u16, name: &str, kind: Kind) -> Vec<u8> {
    let mut message = head(id, 0x0100, 0);
    question(&mut message, name, kind);
    message
}

/// Returns the reply to it; `ttl_s` is that of every answer.
pub(crate) fn reply(id: u16, name: &str, kind: Kind, answer: &Answer, ttl_s: u32) -> Vec<u8> {
    let records: Vec<Vec<u8>> = match answer {
        Answer::Addresses(addresses) => addresses.iter().map(|address| address.octets().to_vec()).collect(),
        Answer::Data(data) if kind == Kind::Txt => {
            let strings =
                data.chunks(255).flat_map(|part| std::iter::once(part.len() as u8).chain(part.iter().copied()));
            vec![strings.collect()]
        }
        Answer::Data(data) => vec![data.clone()],
        Answer::NoSuchName => Vec::new(),
    };
    let code = u16::from(*answer == Answer::NoSuchName) * 3;
    let mut message = head(id, 0x8180 | code, records.len() as u16);
    question(&mut message, name, kind);
    for record in records {
        // The name stands at the beginning of the question.
        message.extend(0xc00c_u16.to_be_bytes());
        message.extend((kind as u16).to_be_bytes());
        message.extend(1_u16.to_be_bytes());
        message.extend(ttl_s.to_be_bytes());
        message.extend((record.len() as u16).to_be_bytes());
        message.extend(record);
    }
    message
}

fn head(id: u16, flags: u16, answers: u16) -> Vec<u8> {
    [id, flags, 1, answers, 0, 0].into_iter().flat_map(u16::to_be_bytes).collect()
}

fn question(message: &mut Vec<u8>, name: &str, kind: Kind) {
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(63)];
        message.push(label.len() as u8);
        message.extend(label);
    }
    message.push(0);
    message.extend((kind as u16).to_be_bytes());
    message.extend(1_u16.to_be_bytes());
}
