//! The MaxMind DB format, version 2.0: search tree, 16 zero bytes, data section, metadata.

use netd_engine::region::Region;

use super::trie::{Child, Trie};

pub(crate) const METADATA: &[u8] = b"\xab\xcd\xefMaxMind.com";
const SEPARATOR: usize = 16;

/// Type numbers of the format.
const POINTER: u8 = 1;
pub(crate) const STRING: u8 = 2;
const UINT16: u8 = 5;
pub(crate) const UINT32: u8 = 6;
pub(crate) const MAP: u8 = 7;
const UINT64: u8 = 9;
pub(crate) const ARRAY: u8 = 11;

/// Keys of the records. They lead the data section, and records point to them.
const KEYS: [&str; 3] = ["country_code", "autonomous_system_number", "autonomous_system_organization"];

/// Returns the file.
pub(super) fn database(trie: &Trie, regions: &[Region], ipv6: bool, build_epoch: u64) -> Vec<u8> {
    let (data, offsets) = data(regions);
    let nodes = trie.nodes().len();
    let largest = (nodes + SEPARATOR + data.len()) as u64;
    let record_size = match largest {
        0..0x100_0000 => 24,
        0x100_0000..0x1000_0000 => 28,
        _ => 32,
    };
    let record = |child: Child| match child {
        Child::Empty => nodes as u64,
        Child::Node(node) => node.into(),
        Child::Region(region) => (nodes + SEPARATOR + offsets[region as usize]) as u64,
    };
    let mut file = Vec::with_capacity(nodes * usize::from(record_size) / 4 + data.len() + 512);
    for [left, right] in trie.nodes() {
        write_node(&mut file, record_size, record(*left), record(*right));
    }
    file.extend([0; SEPARATOR]);
    file.extend(&data);
    file.extend(METADATA);
    metadata(&mut file, regions, nodes, record_size, ipv6, build_epoch);
    file
}

/// Writes a node of two records, which are below 2^`record_size`.
fn write_node(file: &mut Vec<u8>, record_size: u16, left: u64, right: u64) {
    let ([.., a, b, c, d], [.., e, f, g, h]) = (left.to_be_bytes(), right.to_be_bytes());
    match record_size {
        24 => file.extend([b, c, d, f, g, h]),
        28 => file.extend([b, c, d, a << 4 | e, f, g, h]),
        _ => file.extend([a, b, c, d, e, f, g, h]),
    }
}

/// Returns the data section, and where each region's record begins in it.
fn data(regions: &[Region]) -> (Vec<u8>, Vec<usize>) {
    let mut data = Vec::new();
    let keys = KEYS.map(|key| {
        let offset = data.len();
        string(&mut data, key);
        offset
    });
    let offsets = regions.iter().map(|region| {
        let offset = data.len();
        let known = [region.country.is_some(), region.asn.is_some(), region.as_name.is_some()];
        head(&mut data, MAP, known.iter().filter(|known| **known).count());
        if let Some(country) = region.country {
            pointer(&mut data, keys[0]);
            string(&mut data, country.as_str());
        }
        if let Some(asn) = region.asn {
            pointer(&mut data, keys[1]);
            number(&mut data, UINT32, asn.into());
        }
        if let Some(name) = &region.as_name {
            pointer(&mut data, keys[2]);
            string(&mut data, name);
        }
        offset
    });
    let offsets = offsets.collect();
    (data, offsets)
}

pub(crate) fn metadata(
    file: &mut Vec<u8>,
    regions: &[Region],
    nodes: usize,
    record_size: u16,
    ipv6: bool,
    build_epoch: u64,
) {
    let country = regions.iter().any(|region| region.country.is_some());
    let asn = regions.iter().any(|region| region.asn.is_some());
    let (database_type, description) = match (country, asn) {
        (true, true) => ("netd-Country-ASN", "Countries and autonomous systems, made by netd geoip build"),
        (false, true) => ("netd-ASN", "Autonomous systems, made by netd geoip build"),
        (true, false) | (false, false) => ("netd-Country", "Countries, made by netd geoip build"),
    };
    head(file, MAP, 9);
    string(file, "binary_format_major_version");
    number(file, UINT16, 2);
    string(file, "binary_format_minor_version");
    number(file, UINT16, 0);
    string(file, "build_epoch");
    number(file, UINT64, build_epoch);
    string(file, "database_type");
    string(file, database_type);
    string(file, "description");
    head(file, MAP, 1);
    string(file, "en");
    string(file, description);
    string(file, "ip_version");
    number(file, UINT16, if ipv6 { 6 } else { 4 });
    string(file, "languages");
    head(file, ARRAY, 1);
    string(file, "en");
    string(file, "node_count");
    number(file, UINT32, nodes as u64);
    string(file, "record_size");
    number(file, UINT16, record_size.into());
}

/// Writes a control byte, with its extended type and size where they do not fit into it.
pub(crate) fn head(out: &mut Vec<u8>, kind: u8, size: usize) {
    let (low, more): (u8, Vec<u8>) = match size {
        0..29 => (size as u8, Vec::new()),
        29..285 => (29, vec![(size - 29) as u8]),
        285..65_821 => (30, ((size - 285) as u16).to_be_bytes().to_vec()),
        _ => (31, ((size - 65_821) as u32).to_be_bytes()[1..].to_vec()),
    };
    match kind {
        0..=7 => out.push(kind << 5 | low),
        _ => out.extend([low, kind - 7]),
    }
    out.extend(more);
}

pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    head(out, STRING, text.len());
    out.extend(text.as_bytes());
}

/// Writes an unsigned number without leading zero bytes.
pub(crate) fn number(out: &mut Vec<u8>, kind: u8, number: u64) {
    let bytes = number.to_be_bytes();
    let bytes = &bytes[number.leading_zeros() as usize / 8..];
    head(out, kind, bytes.len());
    out.extend(bytes);
}

/// Writes a pointer to an offset below 2048, as those of the keys are.
fn pointer(out: &mut Vec<u8>, offset: usize) {
    let [high, low] = (offset as u16).to_be_bytes();
    out.extend([POINTER << 5 | high, low]);
}
