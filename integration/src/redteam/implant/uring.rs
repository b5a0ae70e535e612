//! A connection that no connect(2) opened.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use io_uring::{IoUring, opcode, squeue, types};

/// Connects a TCP socket through `io_uring`: neither socket(2) nor connect(2) is called.
pub(super) fn connect(to: SocketAddr) -> Result<OwnedFd> {
    let mut ring = IoUring::new(2).context("no io_uring here")?;
    let domain = if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let socket = submit(&mut ring, &opcode::Socket::new(domain, libc::SOCK_STREAM, 0).build())?;
    // SAFETY: the kernel has just given this descriptor to us alone.
    let owned = unsafe { OwnedFd::from_raw_fd(socket) };
    // Both families' addresses fit, and live until the answer is there.
    let (address, length) = raw(to);
    let entry = opcode::Connect::new(types::Fd(socket), (&raw const address).cast(), length).build();
    submit(&mut ring, &entry).with_context(|| format!("cannot connect to {to}"))?;
    Ok(owned)
}

/// Submits one entry and waits for its answer; what it points to must live as long.
fn submit(ring: &mut IoUring, entry: &squeue::Entry) -> Result<i32> {
    // SAFETY: the caller's address outlives this call, which returns after the kernel has answered.
    unsafe { ring.submission().push(entry) }.context("the ring is full")?;
    ring.submit_and_wait(1)?;
    let answer = ring.completion().next().context("no answer")?.result();
    if answer < 0 { Err(io::Error::from_raw_os_error(-answer).into()) } else { Ok(answer) }
}

fn raw(address: SocketAddr) -> (libc::sockaddr_in6, libc::socklen_t) {
    // SAFETY: all bytes zero is a valid address of either family; that of IPv6 is the larger one.
    let mut storage: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
    let length = match address {
        SocketAddr::V4(v4) => {
            // SAFETY: the storage is larger than an IPv4 address and at least as aligned.
            let inner = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in>() };
            inner.sin_family = libc::AF_INET as libc::sa_family_t;
            inner.sin_port = v4.port().to_be();
            inner.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            storage.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            storage.sin6_port = v6.port().to_be();
            storage.sin6_addr.s6_addr = v6.ip().octets();
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, length as libc::socklen_t)
}
