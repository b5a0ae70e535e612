//! pcap, the format of libpcap: a header, then records.

use super::Record;
use super::buffer::Buffer;
use super::error::{Damage, Fault};
use super::link::Link;
use super::order::Order;
use super::sniff::Refusal;

/// Length of the file's header.
pub(super) const HEADER: usize = 24;

/// Length of the header of a record.
const RECORD: usize = 16;

/// Longest packet, in bytes: libpcap's `MAXIMUM_SNAPLEN`. The header's own snapshot length is not held against a record:
/// libpcap reads longer ones too, and files exist whose header understates it.
pub const MAX_CAPTURED: u32 = 262_144;

/// What the magic number says.
#[derive(Clone, Copy)]
pub(super) struct Variant {
    pub(super) order: Order,
    pub(super) unit: Unit,
}

/// Unit of the fraction of a time.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Microsecond,
    Nanosecond,
}

pub(super) struct Reader {
    order: Order,
    ns_per_unit: u64,
    link: Link,
    lengths: Lengths,
}

/// The order of a record's two lengths.
#[derive(Clone, Copy)]
enum Lengths {
    CapturedFirst,
    /// Before version 2.3.
    OriginalFirst,
    /// Version 2.3, which programs disagreed about: the smaller one is what was captured.
    Either,
}

impl Reader {
    pub(super) fn new(Variant { order, unit }: Variant, buffer: &mut Buffer) -> Result<Self, Refusal> {
        let [_magic, version, _zone, _accuracy, _snaplen, link] = buffer.words("the file header")?;
        let (major, minor) = order.u16_pair(version);
        if major != 2 {
            return Err(Fault::from(Damage::Version { major, minor }).into());
        }
        // The upper six bits tell about the frame check sequence.
        let link = Link::from_link_type(order.u32(link) & 0x03ff_ffff);
        if let Link::Unsupported(link_type) = link {
            return Err(Refusal::Link(link_type));
        }
        buffer.consume(HEADER, 0..0);
        Ok(Self {
            order,
            ns_per_unit: match unit {
                Unit::Microsecond => 1_000,
                Unit::Nanosecond => 1,
            },
            link,
            lengths: match minor {
                0..=2 => Lengths::OriginalFirst,
                3 => Lengths::Either,
                _ => Lengths::CapturedFirst,
            },
        })
    }

    #[inline]
    pub(super) fn next_record(&mut self, buffer: &mut Buffer) -> Result<Option<Record>, Fault> {
        if buffer.is_at_end()? {
            return Ok(None);
        }
        let [seconds, fraction, captured, original] = buffer.words("its record header")?;
        let (captured, original) = match (self.lengths, self.order.u32(captured), self.order.u32(original)) {
            (Lengths::CapturedFirst, first, second) => (first, second),
            (Lengths::OriginalFirst, first, second) => (second, first),
            (Lengths::Either, first, second) => (first.min(second), first.max(second)),
        };
        if captured > MAX_CAPTURED {
            return Err(Damage::PacketLength { captured, limit: MAX_CAPTURED }.into());
        }
        // Two 32-bit numbers, so neither product nor sum can overflow. A fraction of more than a second carries over.
        let time_ns =
            u64::from(self.order.u32(seconds)) * 1_000_000_000 + u64::from(self.order.u32(fraction)) * self.ns_per_unit;

        let length = RECORD + captured as usize;
        buffer.require(length, "its record")?;
        let data = buffer.consume(length, RECORD..length);
        Ok(Some(Record { data, time_ns, link: self.link, wire_len: original.max(captured) }))
    }
}
