//! The captures of these tests are written here, byte by byte, and read as any file.

mod gzip;
mod hostile;
mod open;
mod pcap;
mod pcapng;
mod shared;
mod speed;
mod write;

use std::io::{self, Cursor, Read};
use std::path::Path;

use super::order::Order;
use super::{Capture, Error, Frame, Link};

const ORDERS: [Order; 2] = [Order::Little, Order::Big];

/// A frame that outlives its capture.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Packet {
    time_ns: u64,
    link: Link,
    data: Vec<u8>,
    wire_len: u32,
    index: u64,
}

impl From<Frame<'_>> for Packet {
    fn from(Frame { time_ns, link, data, wire_len, index }: Frame<'_>) -> Self {
        Self { time_ns, link, data: data.to_vec(), wire_len, index }
    }
}

/// Reads `bytes` to their end or to the fault in them.
fn read(bytes: &[u8]) -> (Vec<Packet>, Option<Error>) {
    read_from(Cursor::new(bytes.to_vec()))
}

fn read_from(stream: impl Read + Send + 'static) -> (Vec<Packet>, Option<Error>) {
    let mut packets = Vec::new();
    let mut capture = match Capture::read(Path::new("test.pcap"), stream) {
        Ok(capture) => capture,
        Err(error) => return (packets, Some(error)),
    };
    loop {
        match capture.next_frame() {
            Ok(Some(frame)) => packets.push(frame.into()),
            Ok(None) => return (packets, None),
            Err(error) => {
                assert!(matches!(capture.next_frame(), Ok(None)), "nothing follows an error");
                return (packets, Some(error));
            }
        }
    }
}

fn read_all(bytes: &[u8]) -> Vec<Packet> {
    let (packets, error) = read(bytes);
    assert!(error.is_none(), "{error:?}");
    packets
}

/// Yields at most `step` bytes a read, as a slow pipe does.
struct Trickle {
    bytes: Cursor<Vec<u8>>,
    step: usize,
}

impl Read for Trickle {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let step = self.step.min(into.len());
        self.bytes.read(&mut into[..step])
    }
}
