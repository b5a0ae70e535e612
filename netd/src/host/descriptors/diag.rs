//! The sockets of a network namespace, by inode, as sock_diag lists them.

use std::{
    collections::{HashMap, HashSet},
    io,
};

use netd_common::key::Address;
use netd_engine::streams::{InetSocket, Opened, Socket};
use rustix::net::netlink::SOCK_DIAG;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::host::{
    netlink::{Message, Netlink, attribute},
    sockets::{self, Answer, BY_FAMILY, Request},
};

/// Sockets kept of one namespace; a busy proxy has some hundred thousand.
const LIMIT: usize = 1_000_000;

const TCP: u8 = libc::IPPROTO_TCP as u8;
const UDP: u8 = libc::IPPROTO_UDP as u8;
const LISTEN: u8 = 10;

/// `UDIAG_SHOW_PEER`, and `UNIX_DIAG_PEER` that answers it.
const SHOW_PEER: u32 = 4;
const PEER: u16 = 2;

/// `struct unix_diag_req`.
#[repr(C)]
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct UnixRequest {
    family: u8,
    protocol: u8,
    pad: u16,
    states: u32,
    inode: u32,
    show: u32,
    cookie: [u32; 2],
}

/// `struct unix_diag_msg`.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct UnixAnswer {
    family: u8,
    kind: u8,
    state: u8,
    pad: u8,
    inode: u32,
    cookie: [u32; 2],
}

/// A socket before it is judged who opened it.
struct Listed {
    socket: sockets::Socket,
    is_listening: bool,
}

/// Lists TCP, UDP and Unix sockets of the calling thread's namespace, whose inode is `netns`, into `found`.
///
/// `opened` knows better who began a connection, by the socket's cookie.
///
/// # Errors
///
/// When the kernel cannot be asked at all. A protocol that it does not list is left out.
pub(super) fn list(
    found: &mut HashMap<u64, Socket>,
    netns: u64,
    opened: &dyn Fn(u64) -> Option<Opened>,
) -> io::Result<()> {
    let mut netlink = Netlink::open(Some(SOCK_DIAG))?;
    let mut listed = Vec::new();
    for (family, proto) in [(libc::AF_INET, TCP), (libc::AF_INET6, TCP), (libc::AF_INET, UDP), (libc::AF_INET6, UDP)] {
        let request = Request { family: family as u8, protocol: proto, states: u32::MAX, ..Request::default() };
        let dump = netlink.dump(&Message::new(BY_FAMILY, 0, &request), |_, body| {
            if listed.len() < LIMIT {
                listed.extend(inet(body, proto));
            }
        });
        permitted(dump)?;
    }
    let listeners = Listeners::of(&listed);
    for Listed { socket, is_listening } in listed {
        let judged = if is_listening { Opened::Listening } else { listeners.judge(&socket) };
        let opened = opened(socket.cookie).unwrap_or(judged);
        let mut key = socket.key;
        if key.dst_port == [0; 2] && key.dst.ip().is_unspecified() {
            key.dst = Address::UNSPECIFIED;
        }
        found.insert(socket.inode.into(), Socket::Inet(InetSocket { key, netns, cookie: socket.cookie, opened }));
    }
    let request =
        UnixRequest { family: libc::AF_UNIX as u8, states: u32::MAX, show: SHOW_PEER, ..UnixRequest::default() };
    let dump = netlink.dump(&Message::new(BY_FAMILY, 0, &request), |_, body| {
        if found.len() < LIMIT {
            found.extend(unix(body));
        }
    });
    permitted(dump)
}

/// Passes on only that nothing can be asked: a kernel may be without a protocol, or without the listing of it.
fn permitted(dump: io::Result<bool>) -> io::Result<()> {
    match dump.map_err(|error| (error.raw_os_error(), error)) {
        Ok(_) | Err((Some(libc::ENOENT | libc::EOPNOTSUPP | libc::EINVAL), _)) => Ok(()),
        Err((_, error)) => Err(error),
    }
}

/// Reads an answer; `None` for a socket that no descriptor leads to.
fn inet(body: &[u8], proto: u8) -> Option<Listed> {
    let (answer, _) = Answer::read_from_prefix(body).ok()?;
    let socket = sockets::described(&answer, proto)?;
    (socket.inode != 0).then_some(Listed { socket, is_listening: proto == TCP && answer.state == LISTEN })
}

fn unix(body: &[u8]) -> Option<(u64, Socket)> {
    let (answer, attributes) = UnixAnswer::read_from_prefix(body).ok()?;
    let peer =
        attribute(attributes, PEER).and_then(|bytes| bytes.first_chunk()).map(|bytes| u32::from_ne_bytes(*bytes));
    let peer = peer.filter(|inode| *inode != 0).map(u64::from);
    (answer.inode != 0).then_some((answer.inode.into(), Socket::Unix { peer }))
}

/// Where somebody listens: address and port.
#[derive(Default)]
struct Listeners(HashSet<(Address, [u8; 2])>);

impl Listeners {
    fn of(listed: &[Listed]) -> Self {
        let listening = listed.iter().filter(|listed| listed.is_listening);
        Self(listening.map(|listed| (listed.socket.key.src, listed.socket.key.src_port)).collect())
    }

    /// A connection on a port where somebody listens was accepted there; a listener that has closed since is not seen.
    fn judge(&self, socket: &sockets::Socket) -> Opened {
        let key = &socket.key;
        if key.dst_port == [0; 2] {
            return Opened::Unknown;
        }
        let any = [Address::UNSPECIFIED, Address::v4([0; 4])];
        let accepted = |address: &Address| self.0.contains(&(*address, key.src_port));
        // The unspecified IPv6 address takes IPv4 too.
        let is_wildcard = accepted(&any[0]) || key.src.is_v4() && accepted(&any[1]);
        if key.proto == TCP && (is_wildcard || accepted(&key.src)) { Opened::Accepted } else { Opened::Connected }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream, UdpSocket},
        os::{fd::AsFd, unix::net::UnixStream},
    };

    use proptest::prelude::*;

    use super::*;

    fn inode(socket: impl AsFd) -> u64 {
        rustix::fs::fstat(socket).unwrap().st_ino
    }

    fn all() -> HashMap<u64, Socket> {
        let mut found = HashMap::new();
        list(&mut found, 0, &|_| None).unwrap();
        found
    }

    fn inet_of(found: &HashMap<u64, Socket>, socket: impl AsFd) -> InetSocket {
        match found.get(&inode(socket)) {
            Some(Socket::Inet(inet)) => *inet,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_connection_is_told_from_the_one_that_accepted_it_over_both_families() {
        for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let port = listener.local_addr().unwrap().port();
            let to = if address.starts_with('[') { format!("[::1]:{port}") } else { format!("127.0.0.1:{port}") };
            let near = TcpStream::connect(to).unwrap();
            let (far, _) = listener.accept().unwrap();

            let found = all();

            assert_eq!(inet_of(&found, &listener).opened, Opened::Listening, "{address}");
            assert_eq!(inet_of(&found, &far).opened, Opened::Accepted, "{address}");
            let near_socket = inet_of(&found, &near);
            assert_eq!(near_socket.opened, Opened::Connected, "{address}");
            assert_eq!(near_socket.key.dst_port(), port);
            assert_eq!(near_socket.key.src_port(), near.local_addr().unwrap().port());
            assert_ne!(near_socket.cookie, 0);
        }
    }

    #[test]
    fn a_dual_stack_listener_accepts_ipv4() {
        let Ok(listener) = TcpListener::bind("[::]:0") else { return netd_lab::left_out!("no IPv6 here") };
        let _near = TcpStream::connect(("127.0.0.1", listener.local_addr().unwrap().port())).unwrap();
        let (far, _) = listener.accept().unwrap();

        assert_eq!(inet_of(&all(), &far).opened, Opened::Accepted);
    }

    #[test]
    fn a_datagram_socket_with_a_peer_is_connected_and_one_without_has_none() {
        let bound = UdpSocket::bind("127.0.0.1:0").unwrap();
        let connected = UdpSocket::bind("127.0.0.1:0").unwrap();
        connected.connect(bound.local_addr().unwrap()).unwrap();

        let found = all();

        assert_eq!(inet_of(&found, &connected).opened, Opened::Connected);
        let bound = inet_of(&found, &bound);
        assert_eq!((bound.opened, bound.key.dst, bound.key.dst_port()), (Opened::Unknown, Address::UNSPECIFIED, 0));
    }

    #[test]
    fn the_ends_of_a_socket_pair_are_each_others_peers() {
        let (a, b) = UnixStream::pair().unwrap();

        let found = all();

        assert_eq!(found.get(&inode(&a)), Some(&Socket::Unix { peer: Some(inode(&b)) }));
        assert_eq!(found.get(&inode(&b)), Some(&Socket::Unix { peer: Some(inode(&a)) }));
    }

    #[test]
    fn who_saw_the_connection_begin_knows_better() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut found = HashMap::new();

        list(&mut found, 0, &|_| Some(Opened::Accepted)).unwrap();

        assert_eq!(inet_of(&found, &near).opened, Opened::Accepted);
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
            let _ = (inet(&bytes, TCP), unix(&bytes));
        }
    }
}
