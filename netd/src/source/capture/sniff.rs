//! What a stream is, by its first bytes.

use std::fmt;

use super::buffer::Buffer;
use super::error::Fault;
use super::order::Order;
use super::pcap::{self, Unit, Variant};

/// The formats that can be read.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Pcap(Variant),
    PcapNg,
}

/// Why reading cannot begin.
pub(super) enum Refusal {
    NotCapture(Head),
    /// The capture's only link type, and it is not supported.
    Link(u32),
    Fault(Fault),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

const MAGICS: [([u8; 4], Kind); 5] = [
    ([0x0a, 0x0d, 0x0d, 0x0a], Kind::PcapNg),
    ([0xd4, 0xc3, 0xb2, 0xa1], Kind::Pcap(Variant { order: Order::Little, unit: Unit::Microsecond })),
    ([0x4d, 0x3c, 0xb2, 0xa1], Kind::Pcap(Variant { order: Order::Little, unit: Unit::Nanosecond })),
    ([0xa1, 0xb2, 0xc3, 0xd4], Kind::Pcap(Variant { order: Order::Big, unit: Unit::Microsecond })),
    ([0xa1, 0xb2, 0x3c, 0x4d], Kind::Pcap(Variant { order: Order::Big, unit: Unit::Nanosecond })),
];

/// Finds out what `buffer` begins with, and leaves it there.
pub(super) fn kind(buffer: &mut Buffer) -> Result<Kind, Refusal> {
    if buffer.is_at_end()? {
        return Err(Refusal::NotCapture(Head { bytes: Vec::new(), gzip: buffer.is_gzip() }));
    }
    buffer.fill(Head::MAX);
    let head = buffer.unread();
    if let Some((_, kind)) = MAGICS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Ok(*kind);
    }
    if MAGICS.iter().any(|(magic, _)| magic.starts_with(head)) {
        buffer.require(pcap::HEADER, "the file header")?;
    }
    let head = buffer.unread();
    Err(Refusal::NotCapture(Head { bytes: head[..head.len().min(Head::MAX)].to_vec(), gzip: buffer.is_gzip() }))
}

/// How a stream begins that is not a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The first bytes, at most [`Head::MAX`].
    pub bytes: Vec<u8>,
    /// Whether they were compressed.
    pub gzip: bool,
}

impl Head {
    pub const MAX: usize = 16;

    /// Returns what else the stream seems to be.
    #[must_use]
    pub fn looks_like(&self) -> Option<&'static str> {
        const FORMATS: [(&[u8], &str); 14] = [
            (b"#separator", "a Zeek log"),
            (b"{", "JSON, perhaps a Zeek log"),
            (b"PK\x03\x04", "a zip archive"),
            (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
            (b"\xfd7zXZ\0", "compressed with xz"),
            (b"BZh", "compressed with bzip2"),
            (b"\x04\x22\x4d\x18", "compressed with lz4"),
            (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
            (b"\x1f\x8b", "compressed with gzip twice"),
            (b"\xa1\xb2\xcd\x34", "a pcap with Kuznetsov's extended records"),
            (b"\x34\xcd\xb2\xa1", "a pcap with Kuznetsov's extended records"),
            (b"snoop\0\0\0", "a Solaris snoop capture"),
            (b"GMBU", "a Microsoft Network Monitor capture"),
            (b"version https://", "a Git LFS pointer to a file that was not fetched"),
        ];
        let known = FORMATS.iter().find(|(magic, _)| self.bytes.starts_with(magic)).map(|(_, name)| *name);
        let is_text = |bytes: &[u8]| bytes.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
        known.or_else(|| is_text(&self.bytes).then_some("text"))
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inside = if self.gzip { " inside gzip" } else { "" };
        if self.bytes.is_empty() {
            return write!(f, "it is empty{inside}");
        }
        write!(f, "it begins{inside} with")?;
        for byte in self.bytes.iter().take(4) {
            write!(f, " {byte:02x}")?;
        }
        match self.looks_like() {
            Some(name) => write!(f, ", which looks like {name}"),
            None => Ok(()),
        }
    }
}
