//! Netlink: requests, dumps, news and attributes, with every length checked against the bytes that came.

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::{
    io::retry_on_intr,
    net::{
        AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind,
        netlink::SocketAddrNetlink,
        recvfrom, sendto, socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

mod news;

pub(crate) use news::{News, Told};

const HEADER: usize = size_of::<Header>();
const MESSAGE_ERROR: u16 = libc::NLMSG_ERROR as u16;
const MESSAGE_DONE: u16 = libc::NLMSG_DONE as u16;
const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
const ACKNOWLEDGE: u16 = libc::NLM_F_ACK as u16;
const DUMP: u16 = libc::NLM_F_DUMP as u16;
const DUMP_INTERRUPTED: u16 = libc::NLM_F_DUMP_INTR as u16;
const NESTED: u16 = libc::NLA_F_NESTED as u16;

/// The kernel answers from memory; one that does not answer within this time never will.
const PATIENCE: Duration = Duration::from_secs(5);

/// The kernel fills at most 32 KB a message of a dump.
const BUFFER: usize = 64 * 1024;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Header {
    len: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
}

/// A message to the kernel: a fixed part and attributes.
#[derive(Debug)]
pub(crate) struct Message {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Message {
    /// Begins a message of `kind` with its fixed part.
    pub(crate) fn new<T: IntoBytes + Immutable>(kind: u16, flags: i32, fixed: &T) -> Self {
        Self { kind, flags: flags as u16, body: fixed.as_bytes().to_vec() }
    }

    /// Adds an attribute.
    #[must_use]
    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        push_attribute(&mut self.body, kind, value);
        self
    }

    /// Adds an attribute that holds attributes.
    #[must_use]
    pub(crate) fn nested(self, kind: u16, attributes: &[(u16, &[u8])]) -> Self {
        let mut inner = Vec::new();
        for (kind, value) in attributes {
            push_attribute(&mut inner, *kind, value);
        }
        self.attribute(kind | NESTED, &inner)
    }
}

fn push_attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = (4 + value.len()) as u16;
    body.extend_from_slice(&len.to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// Iterates over attributes; ends at the first that does not fit into the bytes.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (head, _) = bytes.split_first_chunk::<4>()?;
        let [a, b, c, d] = *head;
        let len = usize::from(u16::from_ne_bytes([a, b]));
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([c, d]) & libc::NLA_TYPE_MASK as u16, value))
    })
}

/// Returns the first attribute of `kind`.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(found, value)| (found == kind).then_some(value))
}

/// A conversation with the kernel in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Netlink {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens a socket for routes, links and filters (`None`) or another protocol.
    pub(crate) fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let fd = open_socket(protocol, SocketFlags::CLOEXEC, 0)?;
        set_socket_timeout(&fd, Timeout::Recv, Some(PATIENCE))?;
        set_socket_timeout(&fd, Timeout::Send, Some(PATIENCE))?;
        Ok(Self { fd, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// Sends `message` and waits for the kernel's yes or no.
    pub(crate) fn request(&mut self, message: &Message) -> io::Result<()> {
        self.send(message, ACKNOWLEDGE)?;
        self.receive(&mut |_, _| {}).map(drop)
    }

    /// Asks for one thing and calls `each` with what the kernel answers.
    pub(crate) fn get(&mut self, message: &Message, mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
        self.send(message, ACKNOWLEDGE)?;
        self.receive(&mut each).map(drop)
    }

    /// Asks for everything of a kind and calls `each` with the kind and body of every message.
    ///
    /// A dump that was disturbed by a change is complete except for what changed; the caller is told by `true`.
    pub(crate) fn dump(&mut self, message: &Message, mut each: impl FnMut(u16, &[u8])) -> io::Result<bool> {
        self.send(message, DUMP)?;
        self.receive(&mut each)
    }

    fn send(&mut self, message: &Message, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let header = Header {
            len: (HEADER + message.body.len()) as u32,
            kind: message.kind,
            flags: message.flags | REQUEST | flags,
            sequence: self.sequence,
            port: 0,
        };
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(&message.body);
        let sent = sendto(&self.fd, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Reads answers to the last request until the kernel says that there are no more.
    fn receive(&mut self, each: &mut impl FnMut(u16, &[u8])) -> io::Result<bool> {
        let mut disturbed = false;
        loop {
            let buffer = &mut self.buffer;
            let (_, len, from) = retry_on_intr(|| recvfrom(&self.fd, buffer.as_mut_slice(), RecvFlags::TRUNC))?;
            if !is_kernel(from) {
                continue;
            }
            let Some(datagram) = self.buffer.get(..len) else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a netlink answer longer than its buffer"));
            };
            for (header, body) in messages(datagram) {
                if header.sequence != self.sequence {
                    continue;
                }
                disturbed |= header.flags & DUMP_INTERRUPTED != 0;
                match header.kind {
                    MESSAGE_DONE => return done(body).map(|()| disturbed),
                    MESSAGE_ERROR => return done(body).map(|()| disturbed),
                    kind => each(kind, body),
                }
            }
        }
    }
}

fn open_socket(protocol: Option<Protocol>, flags: SocketFlags, groups: u32) -> io::Result<OwnedFd> {
    let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
    bind(&fd, &SocketAddrNetlink::new(0, groups))?;
    Ok(fd)
}

/// Whether a datagram is the kernel's: other processes can write to our port.
fn is_kernel(from: Option<rustix::net::SocketAddrAny>) -> bool {
    from.and_then(|from| SocketAddrNetlink::try_from(from).ok()).is_some_and(|from| from.pid() == 0)
}

/// Reads the error number that a final message begins with.
fn done(body: &[u8]) -> io::Result<()> {
    match body.first_chunk::<4>().map(|bytes| i32::from_ne_bytes(*bytes)) {
        Some(error) if error < 0 => Err(io::Error::from_raw_os_error(error.saturating_neg())),
        Some(_) | None => Ok(()),
    }
}

/// Iterates over a datagram's messages; ends at the first that does not fit into the bytes.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (Header, &[u8])> {
    std::iter::from_fn(move || {
        let (header, _) = Header::read_from_prefix(bytes).ok()?;
        let body = bytes.get(HEADER..header.len as usize)?;
        bytes = bytes.get((header.len as usize).next_multiple_of(4)..).unwrap_or_default();
        Some((header, body))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn attributes_are_read_back_as_written() {
        let message = Message::new(1, 0, &0_u32).attribute(7, b"four").nested(9, &[(1, b"a"), (2, b"bcdef")]);

        let found: Vec<_> = attributes(&message.body[4..]).collect();

        assert_eq!(found[0], (7, b"four".as_slice()));
        assert_eq!(attribute(found[1].1, 2), Some(b"bcdef".as_slice()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic_or_run_forever(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            prop_assert!(attributes(&bytes).count() <= bytes.len() / 4 + 1);
            prop_assert!(messages(&bytes).count() <= bytes.len() / HEADER + 1);
            let _ = done(&bytes);
        }
    }

    #[test]
    fn a_length_of_zero_ends_the_attributes() {
        assert_eq!(attributes(&[0; 64]).count(), 0);
        assert_eq!(messages(&[0; 64]).count(), 0);
    }
}
