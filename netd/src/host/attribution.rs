//! Who owns the sockets that are older than the daemon: their packets come without a record of their beginning.

use std::{collections::HashMap, sync::Arc};

use netd_common::key::FlowKey;
use netd_engine::{
    process::Process,
    streams::{InetSocket, Object, Opened, Socket},
};

use super::descriptors::Taken;

/// A socket with a remote end or a listener, and the process that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Directed from this host.
    pub key: FlowKey,
    pub cookie: u64,
    pub opened: Opened,
    pub process: Arc<Process>,
}

/// Returns the owners of a whole snapshot's IPv4 and IPv6 sockets, in all network namespaces that were read.
///
/// Of several processes that hold one socket, the one that has lived longest counts: it opened what the others
/// inherited.
#[must_use]
pub fn owners(taken: &Taken) -> Vec<Owned> {
    let snapshot = &taken.snapshot;
    let mut holders: HashMap<u64, (InetSocket, &Arc<Process>)> = HashMap::new();
    for descriptor in &snapshot.descriptors {
        let Object::Socket { inode } = descriptor.object else { continue };
        let Some(Socket::Inet(socket)) = snapshot.sockets.get(&inode) else { continue };
        let Some(process) = snapshot.processes.get(&descriptor.pid) else { continue };
        let holder = holders.entry(inode).or_insert((*socket, process));
        let age = |process: &Process| (process.id.start_ticks, process.id.pid);
        if age(process) < age(holder.1) {
            holder.1 = process;
        }
    }
    let owned = holders.into_values().map(|(socket, process)| Owned {
        key: socket.key,
        cookie: socket.cookie,
        opened: socket.opened,
        process: process.clone(),
    });
    owned.collect()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;
    use crate::host::{
        descriptors::{Scope, read},
        process::Reader,
    };

    fn now() -> Vec<Owned> {
        owners(&read(&Reader::new(None), Scope::First(&[]), &|_| None, &|_| None))
    }

    #[test]
    fn sockets_older_than_the_question_are_given_to_their_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_far, from) = listener.accept().unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.connect(near.local_addr().unwrap()).unwrap();

        let owned = now();

        let of = |port: u16, proto| {
            owned.iter().find(|owned| owned.key.src_port() == port && owned.key.proto == proto).unwrap()
        };
        assert_eq!(of(from.port(), 6).opened, Opened::Connected);
        assert_eq!(of(from.port(), 6).process.id.pid, std::process::id());
        assert_eq!(of(udp.local_addr().unwrap().port(), 17).process.id.pid, std::process::id());
        assert!(of(from.port(), 6).process.exe.is_some());
    }

    #[test]
    fn a_socket_that_a_child_inherited_stays_its_parents() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let port = near.local_addr().unwrap().port();
        let mut child = std::process::Command::new("/bin/sleep")
            .arg("60")
            .stdin(std::os::fd::OwnedFd::from(near.try_clone().unwrap()))
            .spawn()
            .unwrap();

        let owned = now();

        child.kill().unwrap();
        child.wait().unwrap();
        let owner = owned.iter().find(|owned| owned.key.src_port() == port && owned.key.proto == 6).unwrap();
        assert_eq!(owner.process.id.pid, std::process::id());
    }
}
