//! Replays what the packet parser's fuzz target starts from, and what it crashed on.

use std::fs;
use std::path::Path;

use netd_common::packet::Packet;

#[test]
fn fuzzed_packets_are_no_danger() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let mut parsed = 0;
    for folder in ["corpus/packet", "crashes/packet"] {
        let Ok(files) = fs::read_dir(fuzz.join(folder)) else { continue };
        for file in files {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            let wire_len = bytes.len() as u32;
            for wire_len in [wire_len, wire_len + 65_535] {
                parsed += u32::from(Packet::from_ethernet(bytes.as_slice(), wire_len).is_ok());
                for ethertype in [0x0800, 0x86dd] {
                    let _ = Packet::from_network(bytes.as_slice(), ethertype, 0, wire_len);
                }
            }
        }
    }

    assert!(parsed > 0, "the corpus holds no packet");
}
