//! Who takes a connection.

use std::{
    io,
    mem::MaybeUninit,
    net::{TcpListener, TcpStream},
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::process::CommandExt as _,
    },
    process::Command,
};

use io_uring::{IoUring, opcode, types::Fd};
use netd_common::record::SocketEvent;
use netd_lab::require_root;

use crate::watcher::{Watcher, options, tcp, watching, watching_with};

/// Lets a child take one connection; returns its number.
fn accept_in_a_child(listener: RawFd, asks_for_address: bool) -> u32 {
    let mut command = Command::new("/bin/true");
    // SAFETY: between fork and exec, one system call, with addresses of live variables or none.
    unsafe {
        command.pre_exec(move || {
            let mut address = MaybeUninit::<libc::sockaddr_storage>::uninit();
            let mut len = size_of_val(&address) as u32;
            let accepted = if asks_for_address {
                libc::accept(listener, address.as_mut_ptr().cast(), &raw mut len)
            } else {
                libc::accept(listener, std::ptr::null_mut(), std::ptr::null_mut())
            };
            if accepted < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
        });
    }
    let mut child = command.spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

fn expect_worker(watcher: &mut Watcher, local: &str, asks_for_address: bool) {
    let listener = TcpListener::bind(local).unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let expected = tcp(stream.peer_addr().unwrap(), stream.local_addr().unwrap());

    let child = accept_in_a_child(listener.as_raw_fd(), asks_for_address);

    let record = watcher.socket(SocketEvent::AcceptedBy, |record| record.key == expected);
    assert_eq!(record.owner.tgid, child);
    assert_ne!((record.cookie, record.owner.start_ns, record.owner.netns_cookie), (0, 0, 0));
    watcher.look();
    let times = watcher
        .sockets
        .iter()
        .filter(|record| record.event == SocketEvent::AcceptedBy as u8 && record.key == expected)
        .count();
    assert_eq!(times, 1);
}

#[test]
fn the_worker_that_takes_a_connection_is_named_not_the_listener() {
    require_root!();
    watching(|watcher| {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            expect_worker(watcher, local, false);
            expect_worker(watcher, local, true);
        }
    });
}

#[test]
fn the_worker_is_named_without_tracepoints_where_it_asks_who_calls() {
    require_root!();
    watching_with(netd::kernel::Options { returns: false, ..options() }, |watcher| {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            expect_worker(watcher, local, true);
        }
    });
}

#[test]
fn a_connection_taken_through_io_uring_is_named_where_the_address_is_asked_for() {
    require_root!();
    watching(|watcher| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let expected = tcp(stream.peer_addr().unwrap(), stream.local_addr().unwrap());
        let mut address = MaybeUninit::<libc::sockaddr_storage>::uninit();
        let mut len = size_of_val(&address) as u32;
        let mut ring = IoUring::new(2).unwrap();
        let accept = opcode::Accept::new(Fd(listener.as_raw_fd()), address.as_mut_ptr().cast(), &raw mut len);
        // SAFETY: the address, its length and the listener live until the call has completed, below.
        unsafe { ring.submission().push(&accept.build()).unwrap() };
        ring.submit_and_wait(1).unwrap();
        assert!(ring.completion().next().unwrap().result() >= 0);

        let record = watcher.socket(SocketEvent::AcceptedBy, |record| record.key == expected);

        assert_eq!(record.owner.tgid, std::process::id());
    });
}

#[test]
fn a_listener_is_named_when_it_is_bound_and_when_it_listens() {
    require_root!();
    watching(|watcher| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();

        for event in [SocketEvent::Bound, SocketEvent::Listen] {
            let record = watcher.socket(event, |record| record.key.src_port() == port);
            assert_eq!(record.owner.tgid, std::process::id());
        }
    });
}
