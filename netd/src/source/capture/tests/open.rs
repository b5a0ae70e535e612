use std::fs;
use std::io::{self, Cursor, Read};
use std::path::Path;

use super::super::{Capture, Error};
use super::write::{Pcap, gzip};
use super::{Order, read, read_from};

fn refusal(bytes: &[u8]) -> String {
    let (packets, error) = read(bytes);
    assert_eq!(packets, []);
    error.unwrap().to_string()
}

#[test]
fn a_file_is_read_by_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.pcap");
    fs::write(&path, Pcap::new(Order::Little, Pcap::MICROSECONDS, 1).packet(1, 2, b"frame").bytes).unwrap();

    let mut capture = Capture::open(&path).unwrap();

    assert_eq!(capture.next_frame().unwrap().unwrap().data, b"frame");
    assert_eq!(capture.next_frame().unwrap(), None);
}

#[test]
fn a_missing_file_and_a_folder_cannot_be_opened() {
    let folder = tempfile::tempdir().unwrap();

    for path in [folder.path(), &folder.path().join("missing.pcap")] {
        let error = Capture::open(path).err().unwrap();

        assert!(matches!(error, Error::Open { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("cannot open {}", path.display()));
    }
}

#[test]
fn what_is_not_a_capture_is_named_where_it_is_known() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "it is empty"),
        (b"PK\x03\x04....", "it begins with 50 4b 03 04, which looks like a zip archive"),
        (b"#separator \\x09\n", "it begins with 23 73 65 70, which looks like a Zeek log"),
        (b"{\"ts\":1}\n", "it begins with 7b 22 74 73, which looks like JSON, perhaps a Zeek log"),
        (b"hello\n", "it begins with 68 65 6c 6c, which looks like text"),
        (b"\x7fELF\x02", "it begins with 7f 45 4c 46"),
    ];
    for (bytes, found) in cases {
        assert_eq!(
            refusal(bytes),
            format!("test.pcap is not a capture: {found}; pcap and pcapng can be read, plain or compressed with gzip")
        );
    }
}

#[test]
fn what_is_not_a_capture_is_named_inside_gzip_too() {
    assert!(refusal(&gzip(b"")).contains("it is empty inside gzip;"));
    assert!(refusal(&gzip(b"#separator")).contains("it begins inside gzip with 23 73 65 70, which looks like a Zeek"));
}

#[test]
fn a_stream_that_fails_gives_what_came_before() {
    let mut file = Pcap::new(Order::Little, Pcap::MICROSECONDS, 1).packet(1, 2, b"frame").bytes;
    file.extend([0; 9]);

    let (packets, error) = read_from(Cursor::new(file).chain(Fails));

    assert_eq!(packets.len(), 1);
    let Some(Error::Read { at, .. }) = error else { panic!("{error:?}") };
    assert_eq!((at.path.as_path(), at.packet, at.offset), (Path::new("test.pcap"), 2, 45));
}

struct Fails;

impl Read for Fails {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the disk is gone"))
    }
}
