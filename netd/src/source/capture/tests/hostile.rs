use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::super::network_layer;
use super::write::{Pcap, PcapNg, gzip};
use super::{ORDERS, read};

const DATA: &[u8] = &[0x45; 64];

/// Captures that hold every kind of block and record.
fn captures() -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    for order in ORDERS {
        for link_type in [0, 1, 101, 113, 276] {
            let file = Pcap::new(order, Pcap::MICROSECONDS, link_type).packet(1, 2, DATA).packet(3, 4, &DATA[..9]);
            files.push(file.bytes);
        }
        let file = PcapNg::new(order)
            .interface(1, 0, &[(2, b"eth0"), (9, &[9]), (14, &[0; 8])])
            .interface(113, 64, &[])
            .enhanced(0, 1, DATA)
            .obsolete(1, 2, DATA)
            .block(5, b"statistics")
            .simple(64, DATA)
            .section(order)
            .interface(101, 0, &[])
            .enhanced(0, 3, &DATA[..9]);
        files.push(file.bytes);
    }
    files.extend(files.clone().iter().map(|file| gzip(file)));
    files
}

/// Reads `bytes` and checks what holds for any file.
fn check(bytes: &[u8]) {
    for packet in read(bytes).0 {
        assert!(packet.wire_len as usize >= packet.data.len());
        if let Some(layer) = network_layer(packet.link, &packet.data) {
            assert!(layer.offset <= packet.data.len());
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..512)) {
        check(&bytes);
    }

    #[test]
    fn random_bytes_behind_a_true_beginning_never_panic(
        file in select(captures()), kept in any::<Index>(), bytes in vec(any::<u8>(), 0..512)
    ) {
        let kept = kept.index(file.len() + 1);

        check(&[&file[..kept], &bytes].concat());
    }

    #[test]
    fn damaged_captures_never_panic(
        file in select(captures()),
        changes in vec((any::<Index>(), prop_oneof![any::<u8>(), select(vec![0, 1, 0x7f, 0x80, 0xff])]), 1..8),
        kept in any::<Index>(),
    ) {
        let mut file = file;
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }

        check(&file);
        check(&file[..kept.index(file.len() + 1)]);
    }

    /// How a stream is cut into reads must not change what is read.
    #[test]
    fn reading_in_pieces_changes_nothing(file in select(captures()), step in 1usize..80) {
        let whole = read(&file);

        let pieces = super::read_from(super::Trickle { bytes: std::io::Cursor::new(file), step });

        prop_assert_eq!(whole.0, pieces.0);
        prop_assert_eq!(whole.1.map(|error| error.to_string()), pieces.1.map(|error| error.to_string()));
    }
}
