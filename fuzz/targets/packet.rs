#![no_main]

use netd_common::packet::Packet;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let wire_len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    for wire_len in [wire_len, wire_len.saturating_add(65_535)] {
        // Why a frame cannot be parsed does not matter, only that it is said.
        let _ = Packet::from_ethernet(bytes, wire_len);
        for ethertype in [0x0800, 0x86dd] {
            let _ = Packet::from_network(bytes, ethertype, 0, wire_len);
        }
    }
});
