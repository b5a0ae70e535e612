//! Login records: `utmp(5)`.

use std::{fs::File, io::Read as _, net::IpAddr, path::Path};

use zerocopy::{FromBytes, Immutable, KnownLayout, transmute};

/// Bytes that are read: some two thousand records.
const LONGEST: u64 = 1 << 20;
const USER_PROCESS: i16 = libc::USER_PROCESS;

/// `struct utmp` as glibc writes it where time is 32 bits wide in it: x86-64 and those like it.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
struct Record {
    kind: i16,
    pad: i16,
    pid: i32,
    line: [u8; 32],
    id: [u8; 4],
    user: [u8; 32],
    host: [u8; 256],
    exit: [i16; 2],
    session: i32,
    time: [i32; 2],
    address: [[u8; 4]; 4],
    unused: [u8; 20],
}

const _: () = assert!(size_of::<Record>() == 384);

/// Returns where users came from whose session's process lives.
pub(super) fn remote_hosts(utmp: &Path, lives: impl Fn(u32) -> bool) -> Vec<IpAddr> {
    let mut bytes = Vec::new();
    let read = File::open(utmp).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
    if read.is_err() {
        return Vec::new();
    }
    remote(&bytes, lives)
}

fn remote(bytes: &[u8], lives: impl Fn(u32) -> bool) -> Vec<IpAddr> {
    let records = bytes.chunks_exact(size_of::<Record>()).filter_map(|bytes| Record::read_from_bytes(bytes).ok());
    let users = records.filter(|record| record.kind == USER_PROCESS);
    users.filter(|record| u32::try_from(record.pid).is_ok_and(&lives)).filter_map(|record| came_from(&record)).collect()
}

/// An IPv4 address stands in the first four bytes, and nothing behind it.
fn came_from(record: &Record) -> Option<IpAddr> {
    const NONE: [u8; 4] = [0; 4];
    match record.address {
        [NONE, NONE, NONE, NONE] => None,
        [v4, NONE, NONE, NONE] => Some(IpAddr::from(v4)),
        address => {
            let v6: [u8; 16] = transmute!(address);
            Some(IpAddr::from(v6).to_canonical())
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the record of a user's login from an address.
    pub(in super::super) fn record(pid: i32, from: &str) -> Vec<u8> {
        let mut bytes = vec![0; size_of::<Record>()];
        bytes[..2].copy_from_slice(&USER_PROCESS.to_ne_bytes());
        bytes[4..8].copy_from_slice(&pid.to_ne_bytes());
        match from.parse().unwrap() {
            IpAddr::V4(v4) => bytes[348..352].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => bytes[348..364].copy_from_slice(&v6.octets()),
        }
        bytes
    }

    #[test]
    fn logins_from_elsewhere_count_while_their_process_lives() {
        let bytes = [record(7, "198.51.100.7"), record(8, "2001:db8::8"), record(9, "198.51.100.9")].concat();
        let console = record(7, "0.0.0.0");
        let mut ended = record(7, "198.51.100.10");
        ended[0] = 8;

        let found = remote(&[bytes, console, ended].concat(), |pid| pid != 9);

        assert_eq!(found, ["198.51.100.7".parse::<IpAddr>().unwrap(), "2001:db8::8".parse().unwrap()]);
    }

    proptest! {
        #[test]
        fn no_content_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..1_200)) {
            prop_assert!(remote(&bytes, |_| true).len() <= 3);
        }
    }
}
