//! Programs on the cgroup tree: who opens a socket, and refusal with an error. The tree is the machine's, so the
//! verdicts here are on addresses that nobody else speaks with.

#![allow(clippy::unwrap_used, reason = "a failing test points to its line")]

mod kernel_support;

use std::{
    fs,
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    path::Path,
};

use kernel_support::{Pair, THERE, block, eventually, options, pinned, watch};
use netd::kernel::{Event, Kernel, Options};
use netd_common::record::{SocketEvent, SocketRecord};
use netd_lab::require_root;

fn with_cgroup(directory: &str) -> Kernel {
    let (mut kernel, lacking) = Kernel::load(&Options { cgroup: true, ..options(directory) }).unwrap();
    assert_eq!(lacking, []);
    let degraded = kernel.attach(watch().current()).unwrap();
    assert_eq!(degraded, []);
    kernel
}

fn links() -> usize {
    let links = fs::read_dir(pinned("links")).unwrap();
    links.filter(|link| link.as_ref().unwrap().file_name().to_string_lossy().starts_with("cgroup-")).count()
}

#[test]
fn a_connect_to_a_blocked_host_is_refused_with_an_error_and_so_is_a_send() {
    require_root!();
    let pair = Pair::new();
    pair.here
        .run(|| {
            let kernel = with_cgroup("netd");
            assert_eq!(links(), 10);
            block(&mut kernel.verdict_maps().unwrap(), THERE);

            let refused = TcpStream::connect((THERE, 80)).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            let refused = socket.send_to(b"hello", (THERE, 80)).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::PermissionDenied);

            drop(kernel);
            assert_eq!(socket.send_to(b"hello", (THERE, 80)).unwrap(), 5);
            assert!(!Path::new("/sys/fs/bpf/netd").exists());
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_process_that_opens_a_connection_is_named() {
    require_root!();
    let pair = Pair::new();
    let listener = pair.there.run(|| Ok(TcpListener::bind((THERE, 8_080))?)).unwrap();
    pair.here
        .run(|| {
            let kernel = with_cgroup("netd");
            let mut events = kernel.events().unwrap();

            let stream = TcpStream::connect((THERE, 8_080)).unwrap();
            let _accepted = listener.accept().unwrap();

            let mut seen: Vec<SocketRecord> = Vec::new();
            eventually("this process's connection is told", || {
                events.poll_batch(10_000, |event| {
                    if let Event::Socket(record) = Event::from(event)
                        && record.key.dst_port() == 8_080
                    {
                        seen.push(record);
                    }
                });
                seen.iter().any(|record| {
                    record.event == SocketEvent::Connected as u8
                        && record.key.src_port() == stream.local_addr().unwrap().port()
                        && record.owner.tgid == std::process::id()
                })
            });
            Ok(())
        })
        .unwrap();
}

#[test]
fn two_netds_and_a_follower_share_the_tree() {
    require_root!();
    let pair = Pair::new();
    pair.here
        .run(|| {
            let mut first = with_cgroup("netd");
            let second = with_cgroup("netd2");
            block(&mut first.verdict_maps().unwrap(), THERE);
            block(&mut second.verdict_maps().unwrap(), Ipv4Addr::new(192, 0, 2, 3));
            first.keep(true);
            drop(first);
            let follower = with_cgroup("netd");

            let refused = |host: [u8; 4]| {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.send_to(b"hello", (Ipv4Addr::from(host), 80)).is_err()
            };
            assert!(refused([192, 0, 2, 2]) && refused([192, 0, 2, 3]) && !refused([192, 0, 2, 4]));

            drop(second);
            assert!(refused([192, 0, 2, 2]) && !refused([192, 0, 2, 3]));
            drop(follower);
            assert!(!refused([192, 0, 2, 2]));
            Ok(())
        })
        .unwrap();
}
