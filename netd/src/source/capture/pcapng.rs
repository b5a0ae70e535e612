//! pcapng: blocks, in sections that each have their own byte order and interfaces.
//!
//! Every block ends by repeating its length, and a packet is handed out only if that holds. Options matter where they
//! say what time is (in an Interface Description Block); anywhere else nothing depends on them, and they are skipped
//! with their block.

use super::Record;
use super::buffer::Buffer;
use super::error::{Damage, Fault};
use super::link::Link;
use super::order::Order;

/// Longest block, in bytes, as in libpcap and Wireshark. This also bounds the memory that a block takes.
pub const MAX_BLOCK: u32 = 16 << 20;

/// Most interfaces of a section. This bounds the memory that descriptions take.
pub const MAX_INTERFACES: usize = 1 << 16;

/// Block types.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
/// Obsolete, but found in old files.
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Options of an Interface Description Block.
const OPT_ENDOFOPT: u16 = 0;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;

/// Length of a block's type and length.
const HEAD: usize = 8;
/// Length of the repeated length.
const TAIL: usize = 4;

const NS_PER_SECOND: u64 = 1_000_000_000;

pub(super) struct Reader {
    order: Order,
    interfaces: Vec<Interface>,
    last_time_ns: u64,
    unsupported: Option<u32>,
}

struct Interface {
    link: Link,
    /// 0 means unlimited.
    snaplen: u32,
    resolution: Resolution,
    offset_ns: i128,
}

/// How long a unit of an interface's times is.
enum Resolution {
    NsPerUnit(u64),
    UnitsPerNs(u64),
    /// 2^-n seconds.
    BinaryPlaces(u8),
}

/// A packet block before its interface is known to exist.
struct Packet {
    interface: u32,
    /// `None` if the block has no time.
    units: Option<u64>,
    captured: u32,
    original: u32,
    /// Where the bytes begin in the block.
    at: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Self { order: Order::Little, interfaces: Vec::new(), last_time_ns: 0, unsupported: None }
    }
}

impl Reader {
    /// Returns the link type of the first packet whose link type is not supported.
    pub(super) const fn unsupported(&self) -> Option<u32> {
        self.unsupported
    }

    #[inline]
    pub(super) fn next_record(&mut self, buffer: &mut Buffer) -> Result<Option<Record>, Fault> {
        while !buffer.is_at_end()? {
            let (kind, length) = self.block(buffer)?;
            let body = &buffer.unread()[HEAD..length - TAIL];
            let packet = match kind {
                ENHANCED_PACKET => Some(enhanced_packet(self.order, body)?),
                SIMPLE_PACKET => Some(self.simple_packet(body)?),
                PACKET => Some(packet(self.order, body)?),
                INTERFACE_DESCRIPTION => {
                    self.describe_interface(body)?;
                    None
                }
                SECTION_HEADER => {
                    self.begin_section(body)?;
                    None
                }
                // Statistics, names, secrets, custom blocks and what is yet to be invented.
                _ => None,
            };
            match packet {
                Some(packet) => return self.record(&packet, length, buffer).map(Some),
                None => {
                    buffer.consume(length, 0..0);
                }
            }
        }
        Ok(None)
    }

    /// Makes the next block unread as a whole; returns its type and length.
    #[inline]
    fn block(&mut self, buffer: &mut Buffer) -> Result<(u32, usize), Fault> {
        let [kind, length] = buffer.words("a block header")?;
        // The same in both byte orders, so it is known before the order is.
        if kind == SECTION_HEADER.to_be_bytes() {
            self.order = section_order(buffer)?;
        }
        let (kind, length) = (self.order.u32(kind), self.order.u32(length));
        if !length.is_multiple_of(4) || (length as usize) < HEAD + TAIL || length > MAX_BLOCK {
            return Err(Damage::BlockLength { length, limit: MAX_BLOCK }.into());
        }
        buffer.require(length as usize, name(kind))?;

        match buffer.unread()[..length as usize].last_chunk().map(|tail| self.order.u32(*tail)) {
            Some(trailing) if trailing != length => Err(Damage::TrailingLength { length, trailing }.into()),
            Some(_) | None => Ok((kind, length as usize)),
        }
    }

    #[inline]
    fn record(&mut self, packet: &Packet, length: usize, buffer: &mut Buffer) -> Result<Record, Fault> {
        let Packet { interface, units, captured, original, at } = *packet;
        let Some(description) = self.interfaces.get(interface as usize) else {
            return Err(Damage::UnknownInterface { interface, described: self.interfaces.len() }.into());
        };
        let room = length.saturating_sub(at + TAIL);
        if captured as usize > room {
            return Err(Damage::PacketOverrun { captured, room }.into());
        }
        if let Some(units) = units {
            let Some(time_ns) = description.time_ns(units) else {
                return Err(Damage::TimeRange { units, interface }.into());
            };
            self.last_time_ns = time_ns;
        }
        if let Link::Unsupported(link_type) = description.link {
            self.unsupported.get_or_insert(link_type);
        }
        let data = buffer.consume(length, at..at + captured as usize);
        Ok(Record { data, time_ns: self.last_time_ns, link: description.link, wire_len: original.max(captured) })
    }

    fn simple_packet(&self, body: &[u8]) -> Result<Packet, Fault> {
        let Some(original) = body.first_chunk().map(|bytes| self.order.u32(*bytes)) else {
            return Err(Damage::BlockTooShort { what: name(SIMPLE_PACKET), length: body.len() }.into());
        };
        // The captured length is not stored: it is what the first interface's snapshot length leaves.
        let limit = self.interfaces.first().map(|interface| interface.snaplen).filter(|snaplen| *snaplen > 0);
        let captured = limit.map_or(original, |snaplen| original.min(snaplen));
        Ok(Packet { interface: 0, units: None, captured, original, at: HEAD + 4 })
    }

    fn describe_interface(&mut self, body: &[u8]) -> Result<(), Fault> {
        let (words, _) = body.as_chunks::<4>();
        let [link, snaplen, ..] = *words else {
            return Err(Damage::BlockTooShort { what: name(INTERFACE_DESCRIPTION), length: body.len() }.into());
        };
        if self.interfaces.len() == MAX_INTERFACES {
            return Err(Damage::TooManyInterfaces { limit: MAX_INTERFACES }.into());
        }
        let (link_type, _reserved) = self.order.u16_pair(link);
        let mut interface = Interface {
            link: Link::from_link_type(link_type.into()),
            snaplen: self.order.u32(snaplen),
            resolution: Resolution::NsPerUnit(1_000),
            offset_ns: 0,
        };
        let mut options = &body[8..];
        while let Some((head, rest)) = options.split_first_chunk() {
            let (code, length) = self.order.u16_pair(*head);
            let Some(value) = rest.get(..length.into()) else {
                return Err(Damage::Option { code, length }.into());
            };
            match (code, value) {
                (OPT_ENDOFOPT, _) => break,
                (IF_TSRESOL, [exponent]) => interface.resolution = Resolution::new(*exponent),
                (IF_TSOFFSET, &[a, b, c, d, e, f, g, h]) => {
                    let seconds = self.order.i64([a, b, c, d, e, f, g, h]);
                    interface.offset_ns = i128::from(seconds) * i128::from(NS_PER_SECOND);
                }
                (IF_TSRESOL | IF_TSOFFSET, _) => return Err(Damage::Option { code, length }.into()),
                _ => {}
            }
            options = rest.get(usize::from(length).next_multiple_of(4)..).unwrap_or_default();
        }
        self.interfaces.push(interface);
        Ok(())
    }

    fn begin_section(&mut self, body: &[u8]) -> Result<(), Fault> {
        let (words, _) = body.as_chunks::<4>();
        // The section's length is not needed: its end is the next header or the end of the file.
        let [_magic, version, _length_high, _length_low, ..] = *words else {
            return Err(Damage::BlockTooShort { what: name(SECTION_HEADER), length: body.len() }.into());
        };
        let (major, minor) = self.order.u16_pair(version);
        if major != 1 {
            return Err(Damage::Version { major, minor }.into());
        }
        self.interfaces.clear();
        Ok(())
    }
}

/// Returns the byte order that the Section Header Block at the front of `buffer` declares; even
/// the block's own length cannot be read before this.
fn section_order(buffer: &mut Buffer) -> Result<Order, Fault> {
    let [_kind, _length, magic] = buffer.words(name(SECTION_HEADER))?;
    match magic {
        [0x4d, 0x3c, 0x2b, 0x1a] => Ok(Order::Little),
        [0x1a, 0x2b, 0x3c, 0x4d] => Ok(Order::Big),
        _ => Err(Damage::ByteOrder { found: u32::from_be_bytes(magic) }.into()),
    }
}

#[inline]
fn enhanced_packet(order: Order, body: &[u8]) -> Result<Packet, Fault> {
    let (words, _) = body.as_chunks::<4>();
    let [interface, high, low, captured, original, ..] = *words else {
        return Err(Damage::BlockTooShort { what: name(ENHANCED_PACKET), length: body.len() }.into());
    };
    Ok(Packet {
        interface: order.u32(interface),
        units: Some(u64::from(order.u32(high)) << 32 | u64::from(order.u32(low))),
        captured: order.u32(captured),
        original: order.u32(original),
        at: HEAD + 20,
    })
}

fn packet(order: Order, body: &[u8]) -> Result<Packet, Fault> {
    // The same but for the first word: interface and drop count, 16 bits each.
    let mut packet = enhanced_packet(order, body)?;
    if let Some(word) = body.first_chunk() {
        packet.interface = order.u16_pair(*word).0.into();
    }
    Ok(packet)
}

const fn name(kind: u32) -> &'static str {
    match kind {
        SECTION_HEADER => "a section header block",
        INTERFACE_DESCRIPTION => "an interface description block",
        PACKET => "its packet block",
        SIMPLE_PACKET => "its simple packet block",
        ENHANCED_PACKET => "its enhanced packet block",
        _ => "a block",
    }
}

impl Interface {
    /// Returns nanoseconds since the Unix epoch, if they are not negative and fit.
    #[inline]
    fn time_ns(&self, units: u64) -> Option<u64> {
        let ns = match self.resolution {
            Resolution::NsPerUnit(ns) => i128::from(units) * i128::from(ns),
            Resolution::UnitsPerNs(per_ns) => i128::from(units / per_ns),
            Resolution::BinaryPlaces(places) => (i128::from(units) * i128::from(NS_PER_SECOND)) >> places,
        };
        // Both are less than 2^94.
        u64::try_from(ns + self.offset_ns).ok()
    }
}

impl Resolution {
    /// Reads `if_tsresol`: a negative power of 2 if the highest bit is set, else of 10.
    const fn new(exponent: u8) -> Self {
        match exponent {
            0..=9 => Self::NsPerUnit(10_u64.pow(9 - exponent as u32)),
            // Beyond 10^-28 s all of a 64-bit time is less than 2 ns; saturation keeps it so.
            10..=0x7f => Self::UnitsPerNs(10_u64.saturating_pow(exponent as u32 - 9)),
            0x80.. => Self::BinaryPlaces(exponent & 0x7f),
        }
    }
}
