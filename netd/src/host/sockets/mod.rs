//! Sockets, through sock_diag: which ones of this network namespace speak with a target, or hold one conversation in
//! whatever namespace, and their end.
//!
//! A connection whose packets are only dropped keeps its process waiting for minutes, and lives on when the verdict
//! expires. A destroyed one ends at once: the process's next read or write gives `ECONNABORTED`.

use std::{io, net::IpAddr};

use netd_common::key::{Address, FlowKey};
use netd_engine::verdict::Target;
use rustix::net::netlink::SOCK_DIAG;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::netlink::{Message, Netlink};

mod conversation;
mod served;

pub use conversation::destroy_conversation;
pub use served::{established_at, listening};

pub(super) const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;

/// States in which a socket has a remote end that it can still exchange data with (1 << `TCP_ESTABLISHED`, ...):
/// all but closed, time-wait and listening.
const STATES: u32 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;

/// `struct inet_diag_sockid`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(super) struct SocketId {
    /// Network byte order, as the addresses.
    pub(super) local_port: [u8; 2],
    pub(super) remote_port: [u8; 2],
    pub(super) local: [u8; 16],
    pub(super) remote: [u8; 16],
    pub(super) ifindex: u32,
    pub(super) cookie: [u32; 2],
}

/// `struct inet_diag_req_v2`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(super) struct Request {
    pub(super) family: u8,
    pub(super) protocol: u8,
    pub(super) extensions: u8,
    pub(super) pad: u8,
    pub(super) states: u32,
    pub(super) id: SocketId,
}

/// `struct inet_diag_msg`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(super) struct Answer {
    pub(super) family: u8,
    pub(super) state: u8,
    pub(super) timer: u8,
    pub(super) retransmissions: u8,
    pub(super) id: SocketId,
    pub(super) expires: u32,
    pub(super) receive_queue: u32,
    pub(super) send_queue: u32,
    pub(super) uid: u32,
    pub(super) inode: u32,
}

/// Why sockets could not be listed or destroyed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open a sock_diag socket")]
    Open { source: io::Error },
    #[error("cannot list the sockets of a network namespace")]
    List { source: io::Error },
    #[error("not allowed to destroy sockets: that needs CAP_NET_ADMIN")]
    NotPermitted { source: io::Error },
    #[error("cannot enter the network namespace of process {pid}")]
    Enter { pid: u32, source: io::Error },
    #[error("this kernel cannot destroy sockets (CONFIG_INET_DIAG_DESTROY is not set)")]
    NotSupported { source: io::Error },
    #[error("cannot destroy the socket {local_port} to {remote}:{remote_port}")]
    Destroy { local_port: u16, remote: IpAddr, remote_port: u16, source: io::Error },
}

impl Error {
    /// Returns whether every later attempt would fail the same way, so that it is worth telling the operator once.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::NotPermitted { .. } | Self::NotSupported { .. } | Self::Open { .. } => true,
            Self::List { .. } | Self::Destroy { .. } | Self::Enter { .. } => false,
        }
    }
}

/// A TCP socket with a remote end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Directed from this host.
    pub key: FlowKey,
    pub uid: u32,
    /// Number of the socket in `/proc/<pid>/fd`.
    pub inode: u32,
    /// The same cookie that the kernel programs see.
    pub cookie: u64,
    family: u8,
    ifindex: u32,
}

impl Socket {
    /// Returns whether this is a conversation that `target` names.
    ///
    /// A host or a prefix is the remote end, so that a verdict on one's own address does not end everything; an
    /// endpoint names a listening side, which may be this host's; a five-tuple may be directed either way.
    #[must_use]
    pub fn is_named_by(&self, target: &Target) -> bool {
        let key = &self.key;
        match *target {
            Target::FiveTuple { source, source_port, destination, destination_port, proto } => {
                let tuple = FlowKey {
                    src: source.into(),
                    dst: destination.into(),
                    src_port: source_port.to_be_bytes(),
                    dst_port: destination_port.to_be_bytes(),
                    proto,
                    pad: [0; 3],
                };
                tuple == *key || tuple.reversed() == *key
            }
            Target::Endpoint { address, port, proto } => {
                let end = (Address::from(address), port.to_be_bytes());
                proto == key.proto && (end == (key.src, key.src_port) || end == (key.dst, key.dst_port))
            }
            Target::Host { address } => Address::from(address) == key.dst,
            Target::Prefix { prefix } => prefix.contains(&key.dst.ip()),
        }
    }
}

/// What became of the sockets that matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Destroyed {
    pub destroyed: usize,
    /// Closed by themselves before their turn came.
    pub gone: usize,
}

/// Lists the sockets that `wanted` accepts.
///
/// Reads the kernel's whole table, which takes about a microsecond a socket: do not call it on a runtime's worker.
///
/// # Errors
///
/// When the kernel does not answer.
pub fn list(wanted: impl FnMut(&Socket) -> bool) -> Result<Vec<Socket>, Error> {
    list_with(&mut open()?, wanted)
}

/// Destroys the sockets that `wanted` accepts, for instance `|socket| socket.is_named_by(target)`.
///
/// Goes on after a socket that could not be destroyed. As [`list`], for a thread that may block.
///
/// # Errors
///
/// When nothing can be destroyed, or the first of the failures.
pub fn destroy(wanted: impl FnMut(&Socket) -> bool) -> Result<Destroyed, Error> {
    let mut netlink = open()?;
    let sockets = list_with(&mut netlink, wanted)?;
    destroy_all(&mut netlink, &sockets)
}

fn destroy_all(netlink: &mut Netlink, sockets: &[Socket]) -> Result<Destroyed, Error> {
    let mut outcome = Destroyed::default();
    let mut failure = None;
    for socket in sockets {
        match destroy_one(netlink, socket) {
            Ok(true) => outcome.destroyed += 1,
            Ok(false) => outcome.gone += 1,
            Err(error) if error.is_permanent() => return Err(error),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(outcome), Err)
}

fn open() -> Result<Netlink, Error> {
    Netlink::open(Some(SOCK_DIAG)).map_err(|source| Error::Open { source })
}

fn list_with(netlink: &mut Netlink, wanted: impl FnMut(&Socket) -> bool) -> Result<Vec<Socket>, Error> {
    dump(netlink, STATES, 0, wanted)
}

/// Lists TCP sockets in some of `states`, of `local_port` alone where that is not 0.
fn dump(
    netlink: &mut Netlink,
    states: u32,
    local_port: u16,
    mut wanted: impl FnMut(&Socket) -> bool,
) -> Result<Vec<Socket>, Error> {
    let mut sockets = Vec::new();
    for family in [libc::AF_INET as u8, libc::AF_INET6 as u8] {
        let id = SocketId { local_port: local_port.to_be_bytes(), ..SocketId::default() };
        let request = Request { family, protocol: libc::IPPROTO_TCP as u8, states, id, ..Request::default() };
        let dump = netlink.dump(&Message::new(BY_FAMILY, 0, &request), |_, body| {
            sockets.extend(socket(body).filter(&mut wanted));
        });
        match dump {
            Ok(_) => {}
            // A kernel without IPv6, or without the module for it.
            Err(source) if family == libc::AF_INET6 as u8 && source.raw_os_error() == Some(libc::ENOENT) => {}
            Err(source) => return Err(Error::List { source }),
        }
    }
    Ok(sockets)
}

/// Reads one answer; `None` for one that is too short or of another family.
fn socket(body: &[u8]) -> Option<Socket> {
    let (answer, _) = Answer::read_from_prefix(body).ok()?;
    described(&answer, libc::IPPROTO_TCP as u8)
}

/// Reads an answer about a socket of `proto`; `None` for one of another family.
pub(super) fn described(answer: &Answer, proto: u8) -> Option<Socket> {
    let id = answer.id;
    let (src, dst) = match i32::from(answer.family) {
        libc::AF_INET => (first_four(&id.local), first_four(&id.remote)),
        libc::AF_INET6 => (Address(id.local), Address(id.remote)),
        _ => return None,
    };
    let [low, high] = id.cookie;
    Some(Socket {
        key: FlowKey { src, dst, src_port: id.local_port, dst_port: id.remote_port, proto, pad: [0; 3] },
        uid: answer.uid,
        inode: answer.inode,
        cookie: u64::from(low) | u64::from(high) << 32,
        family: answer.family,
        ifindex: id.ifindex,
    })
}

fn first_four(address: &[u8; 16]) -> Address {
    let [a, b, c, d, ..] = *address;
    Address::v4([a, b, c, d])
}

/// Returns false when the socket is gone.
fn destroy_one(netlink: &mut Netlink, socket: &Socket) -> Result<bool, Error> {
    let request = Request {
        family: socket.family,
        protocol: socket.key.proto,
        states: STATES,
        id: SocketId {
            local_port: socket.key.src_port,
            remote_port: socket.key.dst_port,
            local: address_of(socket.family, &socket.key.src),
            remote: address_of(socket.family, &socket.key.dst),
            ifindex: socket.ifindex,
            // The cookie makes sure that a new socket of the same tuple is not taken for this one.
            cookie: [socket.cookie as u32, (socket.cookie >> 32) as u32],
        },
        ..Request::default()
    };
    let Err(source) = netlink.request(&Message::new(DESTROY, 0, &request)) else { return Ok(true) };
    match source.raw_os_error() {
        Some(libc::ENOENT | libc::ESTALE) => Ok(false),
        Some(libc::EPERM | libc::EACCES) => Err(Error::NotPermitted { source }),
        Some(libc::EOPNOTSUPP) => Err(Error::NotSupported { source }),
        _ => Err(Error::Destroy {
            local_port: socket.key.src_port(),
            remote: socket.key.dst.ip(),
            remote_port: socket.key.dst_port(),
            source,
        }),
    }
}

fn address_of(family: u8, address: &Address) -> [u8; 16] {
    let mut bytes = address.0;
    if i32::from(family) == libc::AF_INET {
        bytes.copy_within(12.., 0);
        bytes[4..].fill(0);
    }
    bytes
}

#[cfg(test)]
mod tests;
