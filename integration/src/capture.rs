//! Writes capture files, in every shape that replay must read.

use crate::frames::Link;

/// A packet with its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// What was captured.
    pub bytes: Vec<u8>,
    /// How long the packet was on the wire.
    pub length: usize,
}

impl Packet {
    /// A packet that was captured as a whole.
    #[must_use]
    pub fn new(time_ns: u64, bytes: Vec<u8>) -> Self {
        let length = bytes.len();
        Self { time_ns, bytes, length }
    }

    /// Cuts what was captured to `snaplen` bytes.
    #[must_use]
    pub fn snap(mut self, snaplen: usize) -> Self {
        self.bytes.truncate(snaplen);
        self
    }
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub container: Container,
    pub order: Order,
    pub resolution: Resolution,
    /// LINKTYPE number: see [`link_type`].
    pub link_type: u16,
    pub snaplen: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    Pcap,
    Pcapng,
}

/// The byte order of the machine that "wrote" the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Little,
    Big,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    Micro,
    Nano,
}

/// LINKTYPE_RAW's two particular forms.
pub const LINKTYPE_IPV4: u16 = 228;
pub const LINKTYPE_IPV6: u16 = 229;

/// Returns the LINKTYPE number of frames with this header.
#[must_use]
pub fn link_type(link: Link) -> u16 {
    match link {
        Link::Null { .. } => 0,
        Link::Ethernet => 1,
        Link::Raw => 101,
        Link::Loop => 108,
        Link::Cooked => 113,
        Link::Cooked2 => 276,
    }
}

impl Format {
    /// The shape that tcpdump writes: pcap, little-endian, microseconds.
    #[must_use]
    pub fn pcap(link: Link) -> Self {
        Self {
            container: Container::Pcap,
            order: Order::Little,
            resolution: Resolution::Micro,
            link_type: link_type(link),
            snaplen: 262_144,
        }
    }

    /// The shape that Wireshark writes: pcapng, little-endian, nanoseconds.
    #[must_use]
    pub fn pcapng(link: Link) -> Self {
        Self { container: Container::Pcapng, resolution: Resolution::Nano, ..Self::pcap(link) }
    }

    #[must_use]
    pub fn order(self, order: Order) -> Self {
        Self { order, ..self }
    }

    #[must_use]
    pub fn resolution(self, resolution: Resolution) -> Self {
        Self { resolution, ..self }
    }

    #[must_use]
    pub fn snaplen(self, snaplen: u32) -> Self {
        Self { snaplen, ..self }
    }

    /// Returns the usual ending of such a file's name.
    #[must_use]
    pub fn ending(&self) -> &'static str {
        match self.container {
            Container::Pcap => "pcap",
            Container::Pcapng => "pcapng",
        }
    }

    /// Returns the file.
    #[must_use]
    pub fn write(&self, packets: &[Packet]) -> Vec<u8> {
        let mut file = Writer { bytes: Vec::new(), order: self.order };
        match self.container {
            Container::Pcap => self.write_pcap(&mut file, packets),
            Container::Pcapng => self.write_pcapng(&mut file, packets),
        }
        file.bytes
    }

    fn write_pcap(&self, file: &mut Writer, packets: &[Packet]) {
        file.u32(match self.resolution {
            Resolution::Micro => 0xa1b2_c3d4,
            Resolution::Nano => 0xa1b2_3c4d,
        });
        file.u16(2);
        file.u16(4);
        file.u32(0);
        file.u32(0);
        file.u32(self.snaplen);
        file.u32(u32::from(self.link_type));
        for packet in packets {
            let fraction = packet.time_ns % 1_000_000_000;
            file.u32((packet.time_ns / 1_000_000_000) as u32);
            file.u32(match self.resolution {
                Resolution::Micro => fraction / 1_000,
                Resolution::Nano => fraction,
            } as u32);
            file.u32(packet.bytes.len() as u32);
            file.u32(packet.length as u32);
            file.bytes.extend(&packet.bytes);
        }
    }

    fn write_pcapng(&self, file: &mut Writer, packets: &[Packet]) {
        file.block(0x0a0d_0d0a, |file| {
            file.u32(0x1a2b_3c4d);
            file.u16(1);
            file.u16(0);
            // The section's length is not stated.
            file.u32(u32::MAX);
            file.u32(u32::MAX);
        });
        file.block(1, |file| {
            file.u16(self.link_type);
            file.u16(0);
            file.u32(self.snaplen);
            // if_tsresol: ten to the minus this. Microseconds are what is meant without it.
            if self.resolution == Resolution::Nano {
                file.u16(9);
                file.u16(1);
                file.bytes.extend([9, 0, 0, 0]);
                file.u32(0);
            }
        });
        for packet in packets {
            let time = match self.resolution {
                Resolution::Micro => packet.time_ns / 1_000,
                Resolution::Nano => packet.time_ns,
            };
            file.block(6, |file| {
                file.u32(0);
                file.u32((time >> 32) as u32);
                file.u32(time as u32);
                file.u32(packet.bytes.len() as u32);
                file.u32(packet.length as u32);
                file.bytes.extend(&packet.bytes);
            });
        }
    }
}

/// Wraps a file in gzip without compressing it: what a compressor makes differs between its versions, this does not.
#[must_use]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let blocks = bytes.chunks(0xffff);
    let last = blocks.len().saturating_sub(1);
    for (index, block) in blocks.enumerate() {
        let length = block.len() as u16;
        file.push(u8::from(index == last));
        file.extend(length.to_le_bytes());
        file.extend((!length).to_le_bytes());
        file.extend(block);
    }
    if bytes.is_empty() {
        file.extend([1, 0, 0, 0xff, 0xff]);
    }
    file.extend(crc32(bytes).to_le_bytes());
    file.extend((bytes.len() as u32).to_le_bytes());
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

struct Writer {
    bytes: Vec<u8>,
    order: Order,
}

impl Writer {
    fn u16(&mut self, value: u16) {
        self.bytes.extend(match self.order {
            Order::Little => value.to_le_bytes(),
            Order::Big => value.to_be_bytes(),
        });
    }

    fn u32(&mut self, value: u32) {
        self.bytes.extend(match self.order {
            Order::Little => value.to_le_bytes(),
            Order::Big => value.to_be_bytes(),
        });
    }

    /// A pcapng block: its kind, its length on both sides, and what `body` writes, padded to whole words.
    fn block(&mut self, kind: u32, body: impl FnOnce(&mut Self)) {
        let mut inner = Self { bytes: Vec::new(), order: self.order };
        body(&mut inner);
        inner.bytes.resize(inner.bytes.len().next_multiple_of(4), 0);
        let length = (12 + inner.bytes.len()) as u32;
        self.u32(kind);
        self.u32(length);
        self.bytes.extend(inner.bytes);
        self.u32(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pcap_holds_its_packets_and_their_times() {
        let packets = [Packet::new(1_500_000_001, vec![1, 2, 3]).snap(2)];

        let file = Format::pcap(Link::Raw).order(Order::Big).resolution(Resolution::Nano).write(&packets);

        assert_eq!(file[..4], [0xa1, 0xb2, 0x3c, 0x4d]);
        assert_eq!(file[20..24], [0, 0, 0, 101]);
        assert_eq!(file[24..40], [0, 0, 0, 1, 0x1d, 0xcd, 0x65, 0x01, 0, 0, 0, 2, 0, 0, 0, 3]);
        assert_eq!(file[40..], [1, 2]);
    }

    #[test]
    fn blocks_of_pcapng_name_their_length_twice() {
        let file = Format::pcapng(Link::Ethernet).write(&[Packet::new(7, vec![9; 5])]);

        let mut rest = &file[..];
        let mut kinds = Vec::new();
        while let [a, b, c, d, e, f, g, h, ..] = *rest {
            let length = u32::from_le_bytes([e, f, g, h]) as usize;
            kinds.push(u32::from_le_bytes([a, b, c, d]));
            assert_eq!(rest[length - 4..length], (length as u32).to_le_bytes());
            rest = &rest[length..];
        }
        assert_eq!((kinds, rest.len()), (vec![0x0a0d_0d0a, 1, 6], 0));
    }

    #[test]
    fn the_check_value_of_crc32_holds() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
