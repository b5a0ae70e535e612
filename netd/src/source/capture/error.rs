//! What can go wrong with a capture, and where.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::gzip::GzipDamage;
use super::link;
use super::sniff::Head;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open {}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("{} is not a capture: {head}; pcap and pcapng can be read, plain or compressed with gzip", path.display())]
    NotCapture { path: PathBuf, head: Head },
    #[error(
        "no packet of {} can be read: its link type is {}; these can: {}",
        path.display(), link::describe(*link_type), link::SUPPORTED
    )]
    UnsupportedLink { path: PathBuf, link_type: u32 },
    /// `what` begins at the position and is `needed` bytes long.
    #[error("{at}: the capture is truncated: {what} takes {needed} bytes, and {available} are left")]
    Truncated { at: Position, what: &'static str, needed: usize, available: usize },
    #[error("{at}: the capture is damaged: {damage}")]
    Damaged { at: Position, damage: Damage },
    #[error("{at}: {damage}")]
    Gzip { at: Position, damage: GzipDamage },
    #[error("{at}: cannot read on")]
    Read { at: Position, source: io::Error },
}

/// The place of a fault: where the record or block begins that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub path: PathBuf,
    /// The packet that could not be read; the next one if the fault lies in a header or block that holds none.
    pub packet: u64,
    /// Offset in bytes, of the uncompressed stream.
    pub offset: u64,
    /// Whether the capture is compressed, so that `offset` is no place in the file itself.
    pub gzip: bool,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stream = if self.gzip { " of the uncompressed stream" } else { "" };
        write!(f, "{}: packet {}, byte {}{stream}", self.path.display(), self.packet, self.offset)
    }
}

/// A statement of the file that cannot be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("version {major}.{minor} of the file format is not known")]
    Version { major: u16, minor: u16 },
    #[error("a packet of {captured} bytes; none is longer than {limit}")]
    PacketLength { captured: u32, limit: u32 },
    #[error("a packet of {captured} bytes in a block that has room for {room}")]
    PacketOverrun { captured: u32, room: usize },
    #[error("a block of {length} bytes; its length must be a multiple of 4, from 12 to {limit}")]
    BlockLength { length: u32, limit: u32 },
    #[error("a block of {length} bytes that says {trailing} at its end")]
    TrailingLength { length: u32, trailing: u32 },
    #[error("{what} of {length} bytes is too short for its fixed fields")]
    BlockTooShort { what: &'static str, length: usize },
    #[error("byte-order magic {found:#010x}; it must be 0x1a2b3c4d in either order")]
    ByteOrder { found: u32 },
    #[error("option {code} of {length} bytes does not fit its block or its meaning")]
    Option { code: u16, length: u16 },
    #[error("a packet of interface {interface}, and the section has described {described}")]
    UnknownInterface { interface: u32, described: usize },
    #[error("a section with more than {limit} interfaces")]
    TooManyInterfaces { limit: usize },
    #[error("the time of the packet, {units} units of interface {interface}, lies before 1970 or after 2554")]
    TimeRange { units: u64, interface: u32 },
}

/// A fault without its place, which only the [`Capture`](super::Capture) knows.
#[derive(Debug)]
pub(super) enum Fault {
    Truncated { what: &'static str, needed: usize, available: usize },
    Damaged(Damage),
    Gzip(GzipDamage),
    Read(io::Error),
}

impl Fault {
    #[cold]
    pub(super) fn at(self, at: Position) -> Error {
        match self {
            Self::Truncated { what, needed, available } => Error::Truncated { at, what, needed, available },
            Self::Damaged(damage) => Error::Damaged { at, damage },
            Self::Gzip(damage) => Error::Gzip { at, damage },
            Self::Read(source) => Error::Read { at, source },
        }
    }
}

impl From<Damage> for Fault {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

impl From<GzipDamage> for Fault {
    fn from(damage: GzipDamage) -> Self {
        Self::Gzip(damage)
    }
}

impl From<io::Error> for Fault {
    fn from(source: io::Error) -> Self {
        Self::Read(source)
    }
}
