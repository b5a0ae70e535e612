//! Who opens and binds sockets, and when they go.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd as _,
    process::Command,
};

use io_uring::{IoUring, opcode, types::Fd};
use netd_common::{
    key::FlowKey,
    process::ProcessEvent,
    record::{Owner, SocketEvent},
};
use netd_lab::require_root;

use crate::watcher::{start_ticks, tcp, watching};

const LOOPBACKS: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

fn expect_us(owner: &Owner) {
    let us = std::process::id();
    assert_eq!((owner.tgid, owner.start_ns / 10_000_000), (us, start_ticks(us)));
}

fn udp(src: SocketAddr, dst: SocketAddr) -> FlowKey {
    FlowKey { proto: libc::IPPROTO_UDP as u8, ..tcp(src, dst) }
}

#[test]
fn whoever_connects_is_named_with_its_start() {
    require_root!();
    watching(|watcher| {
        for local in LOOPBACKS {
            let listener = TcpListener::bind(local).unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let key = tcp(stream.local_addr().unwrap(), stream.peer_addr().unwrap());

            let record = watcher.socket(SocketEvent::Connected, |record| record.key == key);

            expect_us(&record.owner);
        }
    });
}

#[test]
fn a_connected_udp_socket_is_named_when_it_connects_and_joined_when_it_goes() {
    require_root!();
    watching(|watcher| {
        for local in LOOPBACKS {
            let server = UdpSocket::bind(local).unwrap();
            let socket = UdpSocket::bind(local).unwrap();
            socket.connect(server.local_addr().unwrap()).unwrap();
            let key = udp(socket.local_addr().unwrap(), server.local_addr().unwrap());

            let open = watcher.socket(SocketEvent::Open, |record| record.key == key);
            expect_us(&open.owner);
            drop(socket);

            let released = watcher.socket(SocketEvent::Released, |record| record.key == key);
            assert_eq!((released.cookie, released.owner), (open.cookie, open.owner));
        }
    });
}

#[test]
fn an_unconnected_send_is_named_with_the_port_it_comes_from() {
    require_root!();
    watching(|watcher| {
        let unspecified = [SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), (Ipv6Addr::UNSPECIFIED, 0).into()];
        for (any, local) in unspecified.into_iter().zip(LOOPBACKS) {
            let server = UdpSocket::bind(local).unwrap();
            let socket = UdpSocket::bind(any).unwrap();
            socket.send_to(b"hello", server.local_addr().unwrap()).unwrap();

            let port = server.local_addr().unwrap().port();
            let record = watcher.socket(SocketEvent::Open, |record| record.key.dst_port() == port);

            expect_us(&record.owner);
            assert_eq!(record.key.src_port(), socket.local_addr().unwrap().port());
        }
    });
}

#[test]
fn a_udp_server_is_named_before_anybody_speaks_to_it() {
    require_root!();
    watching(|watcher| {
        for local in LOOPBACKS {
            let server = UdpSocket::bind(local).unwrap();
            let address = server.local_addr().unwrap();

            let record = watcher.socket(SocketEvent::Bound, |record| record.key.src_port() == address.port());

            expect_us(&record.owner);
            assert_eq!(record.key.src.ip(), address.ip());
            assert_eq!(record.key.proto, libc::IPPROTO_UDP as u8);
        }
    });
}

#[test]
fn a_connect_through_io_uring_is_named() {
    require_root!();
    watching(|watcher| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let SocketAddr::V4(peer) = listener.local_addr().unwrap() else { unreachable!() };
        let address = libc::sockaddr_in {
            sin_family: libc::AF_INET as u16,
            sin_port: peer.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(peer.ip().octets()) },
            sin_zero: [0; 8],
        };
        let socket = nix::sys::socket::socket(
            nix::sys::socket::AddressFamily::Inet,
            nix::sys::socket::SockType::Stream,
            nix::sys::socket::SockFlag::empty(),
            None,
        )
        .unwrap();
        let mut ring = IoUring::new(2).unwrap();
        let connect =
            opcode::Connect::new(Fd(socket.as_raw_fd()), (&raw const address).cast(), size_of_val(&address) as u32);
        // SAFETY: socket and address live until the call has completed, below.
        unsafe { ring.submission().push(&connect.build()).unwrap() };
        ring.submit_and_wait(1).unwrap();
        assert_eq!(ring.completion().next().unwrap().result(), 0);

        let record = watcher.socket(SocketEvent::Connected, |record| record.key.dst_port() == peer.port());

        expect_us(&record.owner);
    });
}

#[test]
fn every_one_of_two_thousand_short_connections_names_its_process() {
    require_root!();
    const PROCESSES: usize = 10;
    const CONNECTIONS: usize = 200;
    watching(|watcher| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            listener.incoming().take(PROCESSES * CONNECTIONS).for_each(|stream| drop(stream.unwrap()));
        });
        let script =
            format!("for i in {{1..{CONNECTIONS}}}; do exec 5<>/dev/tcp/127.0.0.1/{port} || exit 1; exec 5>&-; done");
        let mut children: Vec<_> =
            (0..PROCESSES).map(|_| Command::new("/bin/bash").args(["-c", &script]).spawn().unwrap()).collect();
        for child in &mut children {
            assert!(child.wait().unwrap().success());
        }
        server.join().unwrap();

        let mut starts = HashMap::new();
        for child in &children {
            starts.insert(child.id(), watcher.of(child.id(), ProcessEvent::Exec).record.owner.start_ns);
        }
        watcher.look();
        let of_the_port =
            |event| move |r: &&netd_common::record::SocketRecord| r.event == event as u8 && r.key.dst_port() == port;
        for event in [SocketEvent::Open, SocketEvent::Connected] {
            let owners: Vec<_> = watcher.sockets.iter().filter(of_the_port(event)).map(|record| record.owner).collect();
            assert_eq!(owners.len(), PROCESSES * CONNECTIONS, "{event:?}");
            assert!(owners.iter().all(|owner| starts.get(&owner.tgid) == Some(&owner.start_ns)), "{event:?}");
        }
    });
}
