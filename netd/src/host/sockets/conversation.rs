//! The sockets of one conversation, in this network namespace or in that of whoever holds them.

use std::{
    fs::File,
    io,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::Path,
    thread,
};

use netd_common::key::FlowKey;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use zerocopy::FromBytes as _;

use super::{
    Answer, BY_FAMILY, Destroyed, Error, Request, STATES, Socket, SocketId, address_of, described, destroy_all, open,
};
use crate::host::{
    netlink::{Message, Netlink},
    process::files,
};

/// "Whatever its cookie is", in a request.
const ANY_COOKIE: [u32; 2] = [u32::MAX; 2];
const TCP: u8 = libc::IPPROTO_TCP as u8;

/// Destroys the sockets of a conversation that is directed from this host, TCP or UDP: first those of this network
/// namespace, and if there are none, those of the namespaces in which `holders` live. A holder that is gone is passed
/// over.
///
/// TCP sockets are asked for by their ends, so that the number of others does not matter; of UDP all are listed. Blocks,
/// as [`super::destroy`].
///
/// # Errors
///
/// When a namespace cannot be entered or asked, or the first of the failures.
pub fn destroy_conversation(key: &FlowKey, holders: &[u32]) -> Result<Destroyed, Error> {
    let here = destroy_here(key)?;
    if here != Destroyed::default() {
        return Ok(here);
    }
    let own = files::namespace(Path::new("/proc/thread-self"), "net");
    let mut visited = vec![own];
    for pid in holders {
        let Some(namespace) = namespace_of(*pid)? else { continue };
        let inode = namespace.metadata().map_err(|source| Error::Enter { pid: *pid, source })?.ino();
        if visited.contains(&inode) {
            continue;
        }
        visited.push(inode);
        let there = destroy_there(*pid, &namespace, key)?;
        if there != Destroyed::default() {
            return Ok(there);
        }
    }
    Ok(Destroyed::default())
}

fn namespace_of(pid: u32) -> Result<Option<File>, Error> {
    match File::open(format!("/proc/{pid}/ns/net")) {
        Ok(file) => Ok(Some(file)),
        // Ended: the first while it is being looked up, the second when it has not been waited for.
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(source) => Err(Error::Enter { pid, source }),
    }
}

/// Destroys in another namespace, which a thread enters that ends with it: this one stays where it is.
fn destroy_there(pid: u32, namespace: &File, key: &FlowKey) -> Result<Destroyed, Error> {
    let visit = || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|source| Error::Enter { pid, source: source.into() })?;
        destroy_here(key)
    };
    thread::scope(|scope| {
        let guest = thread::Builder::new().name("netd-cut".to_owned()).spawn_scoped(scope, visit);
        let guest = guest.map_err(|source| Error::Enter { pid, source })?;
        guest.join().unwrap_or_else(|_| Err(Error::Enter { pid, source: io::Error::other("the thread panicked") }))
    })
}

fn destroy_here(key: &FlowKey) -> Result<Destroyed, Error> {
    let mut netlink = open()?;
    let sockets = if key.proto == TCP { connected(&mut netlink, key)? } else { datagrams(&mut netlink, key)? };
    destroy_all(&mut netlink, &sockets)
}

/// Returns the TCP socket of a conversation. The kernel falls back on whoever listens there, which is none.
fn connected(netlink: &mut Netlink, key: &FlowKey) -> Result<Vec<Socket>, Error> {
    let family = if key.src.is_v4() { libc::AF_INET } else { libc::AF_INET6 } as u8;
    let id = SocketId {
        local_port: key.src_port,
        remote_port: key.dst_port,
        local: address_of(family, &key.src),
        remote: address_of(family, &key.dst),
        ifindex: 0,
        cookie: ANY_COOKIE,
    };
    let request = Request { family, protocol: TCP, states: STATES, id, ..Request::default() };
    let mut sockets = Vec::new();
    let asked = netlink.get(&Message::new(BY_FAMILY, 0, &request), |_, body| {
        sockets.extend(of_conversation(body, key));
    });
    match asked {
        Ok(()) => Ok(sockets),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(sockets),
        Err(source) => Err(Error::List { source }),
    }
}

/// Returns the UDP sockets whose peer is the conversation's far end; one without a peer is everybody's.
fn datagrams(netlink: &mut Netlink, key: &FlowKey) -> Result<Vec<Socket>, Error> {
    let mut sockets = Vec::new();
    for family in [libc::AF_INET as u8, libc::AF_INET6 as u8] {
        let request = Request { family, protocol: key.proto, states: u32::MAX, ..Request::default() };
        let dump = netlink.dump(&Message::new(BY_FAMILY, 0, &request), |_, body| {
            sockets.extend(of_conversation(body, key));
        });
        match dump {
            Ok(_) => {}
            // Neither a module for this protocol nor a socket of it.
            Err(source) if source.raw_os_error() == Some(libc::ENOENT) => {}
            Err(source) => return Err(Error::List { source }),
        }
    }
    Ok(sockets)
}

fn of_conversation(body: &[u8], key: &FlowKey) -> Option<Socket> {
    let (answer, _) = Answer::read_from_prefix(body).ok()?;
    described(&answer, key.proto).filter(|socket| socket.key == *key)
}
