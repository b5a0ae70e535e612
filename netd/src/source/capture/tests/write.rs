//! Writes captures.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::order::Order;

/// A pcap file.
pub(super) struct Pcap {
    order: Order,
    pub(super) bytes: Vec<u8>,
}

impl Pcap {
    pub(super) const MICROSECONDS: u32 = 0xa1b2_c3d4;
    pub(super) const NANOSECONDS: u32 = 0xa1b2_3c4d;

    pub(super) fn new(order: Order, magic: u32, link_type: u32) -> Self {
        let mut bytes = u32(order, magic).to_vec();
        bytes.extend(u16(order, 2));
        bytes.extend(u16(order, 4));
        for word in [0, 0, 65_535, link_type] {
            bytes.extend(u32(order, word));
        }
        Self { order, bytes }
    }

    pub(super) fn packet(self, seconds: u32, fraction: u32, data: &[u8]) -> Self {
        let length = data.len() as u32;
        self.record([seconds, fraction, length, length], data)
    }

    pub(super) fn record(mut self, header: [u32; 4], data: &[u8]) -> Self {
        for word in header {
            self.bytes.extend(u32(self.order, word));
        }
        self.bytes.extend(data);
        self
    }
}

/// A pcapng file: sections and their blocks.
pub(super) struct PcapNg {
    order: Order,
    pub(super) bytes: Vec<u8>,
    /// Where blocks end.
    pub(super) ends: Vec<usize>,
}

/// An option: its code and its value.
pub(super) type Opt<'a> = (u16, &'a [u8]);

impl PcapNg {
    pub(super) fn new(order: Order) -> Self {
        Self { order, bytes: Vec::new(), ends: Vec::new() }.section(order)
    }

    pub(super) fn section(mut self, order: Order) -> Self {
        self.order = order;
        let mut body = u32(order, 0x1a2b_3c4d).to_vec();
        body.extend(u16(order, 1));
        body.extend(u16(order, 0));
        body.extend([0xff; 8]);
        self.block(0x0a0d_0d0a, &body)
    }

    pub(super) fn interface(self, link_type: u16, snaplen: u32, options: &[Opt<'_>]) -> Self {
        let mut body = u16(self.order, link_type).to_vec();
        body.extend([0, 0]);
        body.extend(u32(self.order, snaplen));
        for (code, value) in options {
            body.extend(u16(self.order, *code));
            body.extend(u16(self.order, value.len() as u16));
            body.extend(*value);
            pad(&mut body);
        }
        if !options.is_empty() {
            body.extend([0; 4]);
        }
        self.block(1, &body)
    }

    pub(super) fn enhanced(self, interface: u32, units: u64, data: &[u8]) -> Self {
        let length = data.len() as u32;
        self.enhanced_with([interface, (units >> 32) as u32, units as u32, length, length], data)
    }

    pub(super) fn enhanced_with(self, words: [u32; 5], data: &[u8]) -> Self {
        let order = self.order;
        let mut body: Vec<u8> = words.iter().flat_map(|word| u32(order, *word)).collect();
        body.extend(data);
        self.block(6, &body)
    }

    pub(super) fn simple(self, original: u32, data: &[u8]) -> Self {
        let mut body = u32(self.order, original).to_vec();
        body.extend(data);
        self.block(3, &body)
    }

    pub(super) fn obsolete(self, interface: u16, units: u64, data: &[u8]) -> Self {
        let order = self.order;
        let mut body = u16(order, interface).to_vec();
        body.extend(u16(order, 0xffff));
        let length = data.len() as u32;
        for word in [(units >> 32) as u32, units as u32, length, length] {
            body.extend(u32(order, word));
        }
        body.extend(data);
        self.block(2, &body)
    }

    pub(super) fn block(mut self, kind: u32, body: &[u8]) -> Self {
        let length = 12 + body.len().next_multiple_of(4) as u32;
        self.bytes.extend(u32(self.order, kind));
        self.bytes.extend(u32(self.order, length));
        self.bytes.extend(body);
        pad(&mut self.bytes);
        self.bytes.extend(u32(self.order, length));
        self.ends.push(self.bytes.len());
        self
    }
}

/// Compresses `bytes` as one gzip member.
pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

fn u16(order: Order, value: u16) -> [u8; 2] {
    match order {
        Order::Little => value.to_le_bytes(),
        Order::Big => value.to_be_bytes(),
    }
}

fn u32(order: Order, value: u32) -> [u8; 4] {
    match order {
        Order::Little => value.to_le_bytes(),
        Order::Big => value.to_be_bytes(),
    }
}
