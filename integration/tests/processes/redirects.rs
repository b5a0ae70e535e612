//! Standard streams that a process puts elsewhere itself.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::process::CommandExt as _,
    },
    process::Command,
};

use netd_common::{
    counter::Counter,
    process::{ProcessEvent, Side, StreamKind},
};
use netd_lab::require_root;

use crate::watcher::{Watcher, tcp, watching};

/// Runs `work` in a child before it starts another program; returns the child's number.
fn in_a_child(work: impl FnMut() -> io::Result<()> + Send + Sync + 'static) -> u32 {
    let mut command = Command::new("/bin/true");
    // SAFETY: callers make system calls only.
    unsafe { command.pre_exec(work) };
    let mut child = command.spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn connection() -> (TcpListener, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener, stream)
}

fn expect_socket(watcher: &mut Watcher, child: u32, descriptor: u8, stream: &TcpStream) {
    let (local, peer) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    let told = watcher.wait("the redirection", |seen| {
        seen.all_of(child, ProcessEvent::Redirect)
            .find(|told| told.record.streams[usize::from(descriptor)].kind == StreamKind::Inet as u8)
            .cloned()
    });
    assert_eq!(told.record.descriptor, descriptor);
    let stream = told.record.streams[usize::from(descriptor)];
    assert_eq!((stream.key, stream.side), (tcp(local, peer), Side::Opened as u8));
}

/// Puts `from` onto a standard stream; what closes it first where that is needed.
fn by(call: &'static str, from: RawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: the calls take numbers.
    unsafe {
        match call {
            "dup2" => check(libc::dup2(from, to)),
            "dup3" => check(libc::dup3(from, to, 0)),
            "dup" => check(libc::close(to)).and_then(|()| check(libc::dup(from))),
            "fcntl" => check(libc::close(to)).and_then(|()| check(libc::fcntl(from, libc::F_DUPFD, 0))),
            _ => check(libc::close(to)).and_then(|()| check(libc::fcntl(from, libc::F_DUPFD_CLOEXEC, 0))),
        }
    }
}

#[test]
fn a_socket_put_onto_a_standard_stream_is_told_whatever_call_does_it() {
    require_root!();
    watching(|watcher| {
        for call in ["dup2", "dup3", "dup", "fcntl", "fcntl, close on exec"] {
            let (_listener, stream) = connection();
            let fd = stream.as_raw_fd();

            let child = in_a_child(move || by(call, fd, 0));

            expect_socket(watcher, child, 0, &stream);
        }
    });
}

#[test]
fn a_command_of_fcntl_that_returns_a_small_number_is_none() {
    require_root!();
    watching(|watcher| {
        let (_listener, stream) = connection();
        let fd = stream.as_raw_fd();

        let child = in_a_child(move || {
            by("dup2", fd, 0)?;
            // SAFETY: the calls take numbers.
            unsafe {
                check(libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC))?;
                check(libc::fcntl(fd, libc::F_GETFD))?;
                check(libc::fcntl(fd, libc::F_GETFL))
            }
        });

        watcher.of(child, ProcessEvent::Exec);
        let sockets = watcher
            .all_of(child, ProcessEvent::Redirect)
            .filter(|told| told.record.streams[0].kind == StreamKind::Inet as u8);
        assert_eq!(sockets.count(), 1);
    });
}

#[test]
fn a_socket_that_is_a_standard_stream_is_told_when_it_connects() {
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

        let child = in_a_child(move || {
            // SAFETY: the calls take numbers, and the address of a live structure with its length.
            unsafe {
                libc::close(0);
                check(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0))?;
                check(libc::connect(0, (&raw const address).cast(), size_of_val(&address) as u32))
            }
        });

        let told = watcher.of(child, ProcessEvent::Connect);
        assert_eq!((told.record.descriptor, told.record.streams[0].kind), (0, StreamKind::Inet as u8));
        assert_eq!(told.record.streams[0].side, Side::Opened as u8);
        let exec = watcher.of(child, ProcessEvent::Exec).record.streams[0];
        assert_eq!((exec.state, exec.key.dst_port()), (1, peer.port()));
        assert_eq!(exec.cookie, told.record.streams[0].cookie);
    });
}

#[test]
fn a_process_is_heard_for_so_many_pipes_a_second_and_the_rest_is_counted() {
    require_root!();
    watching(|watcher| {
        let (reader, _writer) = io::pipe().unwrap();
        let fd = reader.as_raw_fd();

        let child = in_a_child(move || (0..100).try_for_each(|_| by("dup2", fd, 0)));

        watcher.of(child, ProcessEvent::Exec);
        // Twice as many where a second has passed meanwhile.
        let heard = watcher.all_of(child, ProcessEvent::Redirect).count();
        assert!((8..=24).contains(&heard), "{heard}");
        let unheard = watcher.kernel.counters().unwrap().read().unwrap().of(Counter::RedirectsUnheard);
        assert!(unheard >= 100 - heard as u64, "{unheard}");
    });
}
