use std::io::{Cursor, Write};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

use super::super::{Error, GzipDamage};
use super::write::{Pcap, PcapNg, gzip};
use super::{Order, Trickle, read, read_all, read_from};

const DATA: &[u8] = b"a frame of 21 bytes..";

fn pcap(packets: u32) -> Vec<u8> {
    (0..packets).fold(Pcap::new(Order::Little, Pcap::MICROSECONDS, 1), |file, n| file.packet(n, n, DATA)).bytes
}

fn damage(bytes: &[u8]) -> (usize, GzipDamage) {
    match read(bytes) {
        (packets, Some(Error::Gzip { damage, .. })) => (packets.len(), damage),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_compressed_capture_reads_like_the_plain_one() {
    let pcapng = PcapNg::new(Order::Big).interface(1, 0, &[]).enhanced(0, 1, DATA).simple(21, DATA).bytes;
    for file in [pcap(20_000), pcapng] {
        assert_eq!(read_all(&gzip(&file)), read_all(&file));
    }
}

#[test]
fn members_and_packets_need_not_end_together() {
    let file = pcap(40);
    for cut in [0, 1, 24, 500, file.len()] {
        let (first, second) = file.split_at(cut);
        let members = [gzip(first), gzip(b""), gzip(second)].concat();

        assert_eq!(read_all(&members), read_all(&file));
    }
}

#[test]
fn a_member_may_carry_name_comment_and_extra_field() {
    let mut encoder =
        GzBuilder::new().filename("x.pcap").comment("x").extra(vec![0; 300]).write(Vec::new(), Compression::best());
    encoder.write_all(&pcap(3)).unwrap();

    assert_eq!(read_all(&encoder.finish().unwrap()).len(), 3);
}

#[test]
fn a_slow_stream_is_read_to_its_end() {
    let file = pcap(40);
    for bytes in [gzip(&file), file] {
        for step in [1, 7] {
            let (packets, error) = read_from(Trickle { bytes: Cursor::new(bytes.clone()), step });

            assert!(error.is_none(), "{error:?}");
            assert_eq!(packets.len(), 40);
        }
    }
}

#[test]
fn zeros_after_the_last_member_are_padding() {
    let mut bytes = gzip(&pcap(3));
    bytes.extend([0; 512]);

    assert_eq!(read_all(&bytes).len(), 3);
}

#[test]
fn other_data_after_the_last_member_is_damage() {
    let mut bytes = gzip(&pcap(3));
    bytes.extend(b"rest");

    assert_eq!(damage(&bytes), (3, GzipDamage::Trailing));
}

#[test]
fn packets_before_invalid_data_are_handed_out() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&pcap(1_000)).unwrap();
    encoder.flush().unwrap();
    let mut bytes = encoder.get_ref().clone();
    // A deflate block of the reserved type.
    bytes.extend([0x07; 16]);

    assert_eq!(damage(&bytes), (1_000, GzipDamage::Deflate));
}

#[test]
fn a_wrong_checksum_is_reported_after_all_packets() {
    for back in [8, 4] {
        let mut bytes = gzip(&pcap(3));
        let at = bytes.len() - back;
        bytes[at] ^= 1;

        assert_eq!(damage(&bytes), (3, GzipDamage::Checksum));
    }
}

#[test]
fn a_truncated_stream_gives_what_is_whole_and_then_an_error() {
    let whole = read_all(&pcap(40));
    let bytes = gzip(&pcap(40));
    let mut most = 0;
    for cut in 2..bytes.len() {
        let (packets, error) = read(&bytes[..cut]);

        most = most.max(packets.len());
        assert_eq!(packets, whole[..packets.len()]);
        match error {
            Some(Error::Gzip { at, damage: GzipDamage::Truncated }) => {
                let begin = if at.offset == 0 { 0 } else { 24 + 37 * packets.len() as u64 };
                assert_eq!((at.packet, at.offset, at.gzip), (packets.len() as u64 + 1, begin, true));
            }
            other => panic!("cut at {cut}: {other:?}"),
        }
    }
    assert_eq!(most, 40, "the last packet needs no trailer");
}

#[test]
fn a_truncated_capture_in_a_whole_stream_says_which_offset_it_means() {
    let file = pcap(2);

    let (packets, error) = read(&gzip(&file[..file.len() - 30]));

    assert_eq!(packets.len(), 1);
    assert_eq!(
        error.unwrap().to_string(),
        "test.pcap: packet 2, byte 61 of the uncompressed stream: the capture is truncated: its record header takes \
         16 bytes, and 7 are left"
    );
}
