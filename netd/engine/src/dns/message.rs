//! A DNS message: who is asked for, and what the answers say.
//!
//! Messages are hostile and may be cut short anywhere; what stands before the cut is read.

use std::hash::{DefaultHasher, Hasher};
use std::net::IpAddr;

use hickory_proto::op::{Header, Query};
use hickory_proto::rr::rdata::svcb::SvcParamValue;
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, DecodeError, Restrict};

use super::Labels;
use crate::lookup::{Flags, Record};

/// Length of a message's header.
pub(super) const HEADER: usize = 12;
/// More questions than this are no DNS that anybody answers.
const MOST_QUESTIONS: u16 = 4;
/// Answers read of one message.
const MOST_ANSWERS: u16 = 64;
/// Bytes of a record's text that are shown.
const LONGEST_TEXT: usize = 512;
/// Types of which the data are shown.
const SHOWN: [RecordType; 12] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::CNAME,
    RecordType::NS,
    RecordType::PTR,
    RecordType::MX,
    RecordType::SRV,
    RecordType::SOA,
    RecordType::TXT,
    RecordType::HTTPS,
    RecordType::SVCB,
    RecordType::CAA,
];
/// Set in the third byte of a response.
const RESPONSE: u8 = 0x80;
const RCODE: u8 = 0x0f;
const NO_ERROR: u8 = 0;
const NO_SUCH_NAME: u8 = 3;

/// What a message says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: u16,
    pub(crate) flags: Flags,
    pub(crate) is_response: bool,
    /// The response's code without its extension.
    pub(crate) rcode: u8,
    pub(crate) question: Option<Question>,
    pub(crate) answers: Vec<Answer>,
    /// Names that the name asked for stands for, in the order of the answer.
    pub(crate) aliases: Vec<Labels>,
    /// The header announces nothing after the question.
    pub(crate) is_bare: bool,
}

/// The first question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) name: Labels,
    /// Type of record and class asked for, by their IANA numbers.
    pub(crate) rtype: u16,
    pub(crate) class: u16,
}

/// One record of the answer section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) rtype: u16,
    pub(crate) ttl_s: u32,
    /// Length that the record gives, also where the capture is cut short, and a number for the data: equal data have
    /// equal numbers.
    pub(crate) len: u16,
    pub(crate) digest: u64,
    /// Addresses that it gives to the name that was asked for: its own, its alias's, or those of its service.
    pub(crate) addresses: Vec<IpAddr>,
}

impl Message {
    pub(crate) fn is_no_such_name(&self) -> bool {
        self.is_response && self.rcode == NO_SUCH_NAME
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.is_response && self.rcode == NO_ERROR
    }
}

/// Reads a DNS message, or returns `None` when the bytes are none. A message cut short yields the answers before the cut.
pub(crate) fn read(bytes: &[u8]) -> Option<Message> {
    let [high, low, flags, code, ..] = *bytes else { return None };
    let mut decoder = BinDecoder::new(bytes);
    let (header, question) = head(&mut decoder)?;
    let is_response = flags & RESPONSE != 0;
    let mut message = Message {
        id: u16::from_be_bytes([high, low]),
        flags: Flags(u16::from_be_bytes([flags, code])),
        is_response,
        rcode: code & RCODE,
        is_bare: [header.counts.answers, header.counts.authorities, header.counts.additionals] == [0; 3],
        ..Message::default()
    };
    if let Some(question) = question {
        if is_response && message.rcode == NO_ERROR {
            (message.answers, message.aliases) = answers(&mut decoder, header.counts.answers, question.name());
        }
        message.question = Some(Question {
            name: Labels::of(question.name()),
            rtype: question.query_type().into(),
            class: question.query_class().into(),
        });
    }
    Some(message)
}

/// Reads the header and the first question, and passes the others.
fn head(decoder: &mut BinDecoder<'_>) -> Option<(Header, Option<Query>)> {
    let header = Header::read(decoder).ok()?;
    if header.counts.queries > MOST_QUESTIONS {
        return None;
    }
    let mut question = None;
    for _ in 0..header.counts.queries {
        let query = Query::read(decoder).ok()?;
        question = question.or(Some(query));
    }
    Some((header, question))
}

/// Returns the answers of a message whatever its code, as texts; those before a cut.
pub(crate) fn records(bytes: &[u8]) -> Vec<Record> {
    let mut decoder = BinDecoder::new(bytes);
    let Some((header, _)) = head(&mut decoder) else { return Vec::new() };
    let count = header.counts.answers.min(MOST_ANSWERS);
    let mut next = || {
        let raw = Raw::read(&mut decoder).ok()?;
        let data = if raw.is_whole { raw.text(&decoder) } else { None };
        Some(Record { owner: Labels::of(&raw.owner).text_from(0), rtype: raw.rtype, ttl_s: raw.ttl_s, data })
    };
    (0..count).map_while(|_| next()).collect()
}

/// A record of which the data are not read.
struct Raw<'a> {
    owner: Name,
    rtype: u16,
    class: u16,
    ttl_s: u32,
    len: u16,
    /// Where the data begin in the message, and what was captured of them.
    from: usize,
    data: &'a [u8],
    is_whole: bool,
}

impl<'a> Raw<'a> {
    fn read(decoder: &mut BinDecoder<'a>) -> Result<Self, DecodeError> {
        let owner = Name::read(decoder)?;
        let rtype = decoder.read_u16()?.unverified(/*every number is a type*/);
        let class = decoder.read_u16()?.unverified(/*compared*/);
        let ttl_s = decoder.read_u32()?.unverified(/*every number is a time*/);
        let len = decoder.read_u16()?.unverified(/*cut to what there is*/);
        let from = decoder.index();
        let kept = usize::from(len).min(decoder.len());
        let data = decoder.read_slice(kept)?.unverified(/*every byte is data*/);
        Ok(Self { owner, rtype, class, ttl_s, len, from, data, is_whole: kept == usize::from(len) })
    }

    /// Returns a copy of the message's decoder at the data: names in them may point to what stands before.
    fn decoder(&self, message: &BinDecoder<'a>) -> BinDecoder<'a> {
        message.clone(self.from as u16)
    }

    /// Returns the data as text, where they are of a type that is shown.
    fn text(&self, message: &BinDecoder<'a>) -> Option<String> {
        let rtype = RecordType::from(self.rtype);
        let is_shown = SHOWN.contains(&rtype);
        let data = is_shown.then(|| RData::read(&mut self.decoder(message), rtype, Restrict::new(self.len)))?.ok()?;
        let name = |name: &Name| match Labels::of(name).text_from(0) {
            root if root.is_empty() => ".".to_owned(),
            name => name,
        };
        if let Some(address) = data.ip_addr() {
            return Some(address.to_string());
        }
        Some(if let RData::CNAME(target) = &data {
            name(&target.0)
        } else if let RData::NS(server) = &data {
            name(&server.0)
        } else if let RData::PTR(target) = &data {
            name(&target.0)
        } else if let RData::MX(mail) = &data {
            name(&mail.exchange)
        } else if let RData::SRV(service) = &data {
            name(&service.target)
        } else if let RData::SOA(authority) = &data {
            name(&authority.mname)
        } else if let RData::TXT(text) = &data {
            let bytes = text.txt_data.iter().flat_map(|part| part.iter().copied());
            bytes.take(LONGEST_TEXT).flat_map(std::ascii::escape_default).map(char::from).collect()
        } else {
            data.to_string().chars().take(LONGEST_TEXT).collect()
        })
    }
}

fn answers(decoder: &mut BinDecoder<'_>, count: u16, asked: &Name) -> (Vec<Answer>, Vec<Labels>) {
    let mut answers = Vec::new();
    // An alias changes the owner of what follows, not what the client asked for.
    let mut owners = vec![asked.clone()];
    for _ in 0..count.min(MOST_ANSWERS) {
        match answer(decoder, &mut owners) {
            Ok(Some(answer)) => answers.push(answer),
            Ok(None) => {}
            Err(_) => break,
        }
    }
    (answers, owners.iter().skip(1).map(Labels::of).collect())
}

/// Reads one record; `None` if it is of no use.
fn answer(decoder: &mut BinDecoder<'_>, owners: &mut Vec<Name>) -> Result<Option<Answer>, DecodeError> {
    let raw = Raw::read(decoder)?;
    if raw.class != u16::from(DNSClass::IN) {
        return Ok(None);
    }
    let mut addresses = Vec::new();
    let is_asked_for = owners.iter().any(|known| known.eq_ignore_root(&raw.owner));
    if is_asked_for && raw.is_whole {
        match read_data(&mut raw.decoder(decoder), raw.rtype, raw.len) {
            Some(Data::Alias(target)) if owners.len() < usize::from(MOST_ANSWERS) => owners.push(target),
            Some(Data::Addresses(found)) => addresses = found,
            Some(Data::Alias(_)) | None => {}
        }
    }
    let mut digest = DefaultHasher::new();
    digest.write(raw.data);
    let Raw { rtype, ttl_s, len, .. } = raw;
    Ok(Some(Answer { rtype, ttl_s, len, digest: digest.finish(), addresses }))
}

enum Data {
    Alias(Name),
    Addresses(Vec<IpAddr>),
}

fn read_data(decoder: &mut BinDecoder<'_>, rtype: u16, len: u16) -> Option<Data> {
    let rtype = RecordType::from(rtype);
    let is_of_use = rtype == RecordType::A
        || rtype == RecordType::AAAA
        || rtype == RecordType::CNAME
        || rtype == RecordType::HTTPS
        || rtype == RecordType::SVCB;
    let data = if is_of_use { RData::read(decoder, rtype, Restrict::new(len)).ok()? } else { return None };
    if let Some(address) = data.ip_addr() {
        return Some(Data::Addresses(vec![address]));
    }
    let service = if let RData::CNAME(target) = data {
        return Some(Data::Alias(target.0));
    } else if let RData::HTTPS(service) = data {
        service.0
    } else if let RData::SVCB(service) = data {
        service
    } else {
        return None;
    };
    // Mode alias (RFC 9460, 2.4.2).
    if service.svc_priority == 0 {
        return Some(Data::Alias(service.target_name));
    }
    let mut hints = Vec::new();
    for (_, value) in service.svc_params {
        if let SvcParamValue::Ipv4Hint(hint) = value {
            hints.extend(hint.0.iter().map(|address| IpAddr::from(address.0)));
        } else if let SvcParamValue::Ipv6Hint(hint) = value {
            hints.extend(hint.0.iter().map(|address| IpAddr::from(address.0)));
        }
    }
    hints.truncate(usize::from(MOST_ANSWERS));
    Some(Data::Addresses(hints))
}
