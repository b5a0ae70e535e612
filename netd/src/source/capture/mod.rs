//! Capture files: the frames of a pcap or pcapng file, plain or gzip-compressed.
//!
//! A capture is read as a stream through one buffer, and a frame borrows from it: nothing is allocated per packet.
//! Times are nanoseconds since the Unix epoch, lengths are bytes, packets are numbered from 1 as in Wireshark, and
//! offsets count from the beginning of the uncompressed stream.
//!
//! Nothing in a file is trusted. What stands before a fault is handed out, then comes one error that names the place,
//! then nothing. Memory is bounded by [`MAX_BLOCK`] and [`MAX_INTERFACES`], whatever the file claims.

mod buffer;
mod error;
mod gzip;
mod link;
mod order;
mod pcap;
mod pcapng;
mod sniff;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use buffer::{Buffer, Source};
pub use error::{Damage, Error, Position};
pub use gzip::GzipDamage;
pub use link::{Link, NetworkLayer, network_layer};
pub use pcap::MAX_CAPTURED;
pub use pcapng::{MAX_BLOCK, MAX_INTERFACES};
pub use sniff::Head;
use sniff::Kind;

/// One captured frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// When it passed, in nanoseconds since the Unix epoch. A pcapng Simple Packet Block has no time: such a frame
    /// carries that of the packet before it, 0 if there is none.
    pub time_ns: u64,
    pub link: Link,
    /// The bytes that were captured, from the link layer's header on.
    pub data: &'a [u8],
    /// Length on the wire; never less than `data`.
    pub wire_len: u32,
    /// Number of this packet in the capture, from 1.
    pub index: u64,
}

/// A capture that is being read.
pub struct Capture {
    path: PathBuf,
    buffer: Buffer,
    format: Format,
    packets: u64,
    /// Whether a frame was of a link type that can be read.
    readable: bool,
    ended: bool,
}

enum Format {
    Pcap(pcap::Reader),
    PcapNg(pcapng::Reader),
}

/// What a format's reader found: the place of the bytes in the buffer rather than the bytes, because a borrow
/// could not outlive the loop that skips blocks.
struct Record {
    data: Range<usize>,
    time_ns: u64,
    link: Link,
    wire_len: u32,
}

impl Capture {
    /// Opens the capture at `path`, or the one on standard input if `path` is `-`.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened, is not a capture, ends within its header, or is a pcap whose one link type
    /// is not supported.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if path == Path::new("-") {
            return Self::read(Path::new("standard input"), io::stdin());
        }
        let file = File::open(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
        Self::read(path, file)
    }

    /// Reads the capture that `stream` yields; `path` is its name in errors.
    ///
    /// # Errors
    ///
    /// As [`Capture::open`].
    pub fn read(path: &Path, stream: impl Read + Send + 'static) -> Result<Self, Error> {
        let source = Source::detect(stream).map_err(|source| Error::Open { path: path.to_owned(), source })?;
        let mut buffer = Buffer::new(source);
        let format = match Format::detect(&mut buffer) {
            Ok(format) => format,
            Err(sniff::Refusal::NotCapture(head)) => {
                return Err(Error::NotCapture { path: path.to_owned(), head });
            }
            Err(sniff::Refusal::Link(link_type)) => {
                return Err(Error::UnsupportedLink { path: path.to_owned(), link_type });
            }
            Err(sniff::Refusal::Fault(error::Fault::Read(source))) => {
                return Err(Error::Open { path: path.to_owned(), source });
            }
            Err(sniff::Refusal::Fault(fault)) => return Err(fault.at(position(path, 1, &buffer))),
        };
        Ok(Self { path: path.to_owned(), buffer, format, packets: 0, readable: false, ended: false })
    }

    /// Returns the next frame, or `None` at the end of the capture and after an error.
    ///
    /// # Errors
    ///
    /// If the capture is truncated or damaged here, or has ended without one packet of a link type that is supported.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Error> {
        if self.ended {
            return Ok(None);
        }
        let record = match &mut self.format {
            Format::Pcap(reader) => reader.next_record(&mut self.buffer),
            Format::PcapNg(reader) => reader.next_record(&mut self.buffer),
        };
        match record {
            Ok(Some(Record { data, time_ns, link, wire_len })) => {
                self.packets += 1;
                self.readable |= !matches!(link, Link::Unsupported(_));
                Ok(Some(Frame { time_ns, link, data: self.buffer.slice(data), wire_len, index: self.packets }))
            }
            Ok(None) => self.end().map(|()| None),
            Err(fault) => {
                self.ended = true;
                Err(fault.at(position(&self.path, self.packets + 1, &self.buffer)))
            }
        }
    }

    /// A capture of which nothing could be read must not look like one in which nothing was found.
    #[cold]
    fn end(&mut self) -> Result<(), Error> {
        self.ended = true;
        match &self.format {
            Format::PcapNg(reader) if !self.readable => match reader.unsupported() {
                Some(link_type) => Err(Error::UnsupportedLink { path: self.path.clone(), link_type }),
                None => Ok(()),
            },
            Format::PcapNg(_) | Format::Pcap(_) => Ok(()),
        }
    }
}

impl Format {
    fn detect(buffer: &mut Buffer) -> Result<Self, sniff::Refusal> {
        match sniff::kind(buffer)? {
            Kind::Pcap(variant) => Ok(Self::Pcap(pcap::Reader::new(variant, buffer)?)),
            Kind::PcapNg => Ok(Self::PcapNg(pcapng::Reader::default())),
        }
    }
}

fn position(path: &Path, packet: u64, buffer: &Buffer) -> Position {
    Position { path: path.to_owned(), packet, offset: buffer.offset(), gzip: buffer.is_gzip() }
}
