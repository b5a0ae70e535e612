//! Look-ups: what was asked of a name server and what it answered, as logs of DNS show them.

use std::net::IpAddr;

use crate::time::Timestamp;

/// A question to a name server with its answer, or one of the two where the other was not seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    pub carrier: Carrier,
    /// Number of the message.
    pub id: u16,
    /// In lower case, with bytes that no host name has as `\DDD`; none where the message asks for nothing.
    pub name: Option<String>,
    /// IANA's numbers of the type and the class that were asked for.
    pub qtype: u16,
    pub qclass: u16,
    /// When the question was seen, and its flags.
    pub asked: Option<(Timestamp, Flags)>,
    pub reply: Option<Reply>,
}

/// The conversation that carries a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carrier {
    /// When the conversation began: it is the same in its flow record.
    pub start: Timestamp,
    pub originator: IpAddr,
    pub originator_port: u16,
    pub responder: IpAddr,
    pub responder_port: u16,
    pub protocol: u8,
    pub community_id: Option<String>,
    pub vlan: u16,
    pub ifindex: u32,
}

/// What a name server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub at: Timestamp,
    pub flags: Flags,
    /// The answer section, as far as it was captured; 64 records at most.
    pub records: Vec<Record>,
    /// Neither an answer nor anything else came with it.
    pub is_bare: bool,
}

/// One record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub owner: String,
    pub rtype: u16,
    pub ttl_s: u32,
    /// An address, a name, or a text of at most 512 bytes; none for types that are not read, and where it was cut short.
    pub data: Option<String>,
}

/// The third and fourth byte of a message (RFC 1035, 4.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    #[must_use]
    pub const fn is_response(self) -> bool {
        self.0 & 0x8000 != 0
    }

    #[must_use]
    pub const fn opcode(self) -> u8 {
        (self.0 >> 11 & 0xf) as u8
    }

    #[must_use]
    pub const fn is_authoritative(self) -> bool {
        self.0 & 0x0400 != 0
    }

    #[must_use]
    pub const fn is_truncated(self) -> bool {
        self.0 & 0x0200 != 0
    }

    #[must_use]
    pub const fn recursion_desired(self) -> bool {
        self.0 & 0x0100 != 0
    }

    #[must_use]
    pub const fn recursion_available(self) -> bool {
        self.0 & 0x0080 != 0
    }

    /// Returns the three bits that RFC 1035 reserves; DNSSEC uses two of them.
    #[must_use]
    pub const fn reserved(self) -> u8 {
        (self.0 >> 4 & 0b111) as u8
    }

    /// Returns the response code without its extension.
    #[must_use]
    pub const fn rcode(self) -> u8 {
        (self.0 & 0xf) as u8
    }
}

impl Lookup {
    /// Returns when it began: with its question, or else with its answer.
    #[must_use]
    pub fn begun(&self) -> Timestamp {
        let asked = self.asked.map(|(at, _)| at);
        asked.or_else(|| self.reply.as_ref().map(|reply| reply.at)).unwrap_or_default()
    }

    /// Returns the time from question to answer, nanoseconds, where both were seen.
    #[must_use]
    pub fn round_trip_ns(&self) -> Option<u64> {
        let (asked, _) = self.asked?;
        self.reply.as_ref().map(|reply| reply.at.0.saturating_sub(asked.0))
    }
}

/// Returns the name of a type of record, as IANA has it; none for types that are rarely asked for.
#[must_use]
pub const fn type_name(rtype: u16) -> Option<&'static str> {
    Some(match rtype {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        10 => "NULL",
        11 => "WKS",
        12 => "PTR",
        13 => "HINFO",
        14 => "MINFO",
        15 => "MX",
        16 => "TXT",
        17 => "RP",
        18 => "AFSDB",
        24 => "SIG",
        25 => "KEY",
        28 => "AAAA",
        29 => "LOC",
        33 => "SRV",
        35 => "NAPTR",
        37 => "CERT",
        39 => "DNAME",
        41 => "OPT",
        43 => "DS",
        44 => "SSHFP",
        46 => "RRSIG",
        47 => "NSEC",
        48 => "DNSKEY",
        50 => "NSEC3",
        51 => "NSEC3PARAM",
        52 => "TLSA",
        59 => "CDS",
        60 => "CDNSKEY",
        61 => "OPENPGPKEY",
        64 => "SVCB",
        65 => "HTTPS",
        99 => "SPF",
        249 => "TKEY",
        250 => "TSIG",
        251 => "IXFR",
        252 => "AXFR",
        255 => "ANY",
        256 => "URI",
        257 => "CAA",
        _ => return None,
    })
}

/// Returns the name of a response code, as IANA has it.
#[must_use]
pub const fn rcode_name(rcode: u8) -> Option<&'static str> {
    Some(match rcode {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        11 => "DSOTYPENI",
        _ => return None,
    })
}
