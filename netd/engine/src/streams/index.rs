//! A snapshot by what is asked of it: who holds an object, what a process holds, which sockets belong together.

use std::collections::HashMap;

use netd_common::key::FlowKey;

use super::{Access, Course, Descriptor, InetSocket, Link, Object, Opened, Snapshot, Socket};

/// Local ports from which connect(2) draws where nobody changed it (`ip_local_port_range`).
const EPHEMERAL: u16 = 32_768;

pub(super) struct Index<'a> {
    pub(super) snapshot: &'a Snapshot,
    by_object: HashMap<Object, Vec<usize>>,
    by_pid: HashMap<u32, Vec<usize>>,
    by_key: HashMap<FlowKey, u64>,
    /// Inodes of listeners by protocol and port.
    listeners: HashMap<(u8, [u8; 2]), Vec<u64>>,
}

impl<'a> Index<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        let (mut by_object, mut by_pid) = (HashMap::<_, Vec<usize>>::new(), HashMap::<_, Vec<usize>>::new());
        for (at, descriptor) in snapshot.descriptors.iter().enumerate() {
            by_pid.entry(descriptor.pid).or_default().push(at);
            if !matches!(descriptor.object, Object::Console | Object::Other) {
                by_object.entry(descriptor.object).or_default().push(at);
            }
        }
        let (mut by_key, mut listeners) = (HashMap::new(), HashMap::<_, Vec<u64>>::new());
        for (inode, socket) in &snapshot.sockets {
            let Socket::Inet(socket) = socket else { continue };
            if socket.opened == Opened::Listening {
                listeners.entry((socket.key.proto, socket.key.src_port)).or_default().push(*inode);
            } else if has_peer(socket) {
                by_key.insert(socket.key, *inode);
            }
        }
        Self { snapshot, by_object, by_pid, by_key, listeners }
    }

    /// Returns the descriptors of a process.
    pub(super) fn of_process(&self, pid: u32) -> impl Iterator<Item = &'a Descriptor> + '_ {
        self.pick(self.by_pid.get(&pid))
    }

    /// Returns who holds an object.
    pub(super) fn holders(&self, object: Object) -> impl Iterator<Item = &'a Descriptor> + '_ {
        self.pick(self.by_object.get(&object))
    }

    fn pick<'s>(&'s self, places: Option<&'s Vec<usize>>) -> impl Iterator<Item = &'a Descriptor> + 's {
        places.into_iter().flatten().filter_map(|at| self.snapshot.descriptors.get(*at))
    }

    pub(super) fn socket(&self, object: Object) -> Option<&'a Socket> {
        let Object::Socket { inode } = object else { return None };
        self.snapshot.sockets.get(&inode)
    }

    /// Returns what joins a descriptor to others, and what they hold of it.
    pub(super) fn joined(&self, object: Object) -> Option<(Link, Object)> {
        match object {
            Object::Pipe { .. } => Some((Link::Pipe, object)),
            Object::Fifo { .. } => Some((Link::Fifo, object)),
            Object::Terminal { index } => Some((Link::Terminal, Object::TerminalMaster { index })),
            Object::Socket { .. } => match self.socket(object)? {
                Socket::Unix { peer } => Some((Link::Unix, Object::Socket { inode: (*peer)? })),
                Socket::Inet(socket) => {
                    let inode = *self.by_key.get(&socket.key.reversed())?;
                    Some((Link::Loopback, Object::Socket { inode }))
                }
            },
            // What the slaves of a master's other terminals do is their own affair.
            Object::TerminalMaster { .. } | Object::Console | Object::Other => None,
        }
    }

    /// Returns who began a connection, and whether that is a guess by its ports.
    pub(super) fn opened(&self, socket: &InetSocket) -> (Opened, bool) {
        match socket.opened {
            Opened::Connected | Opened::Accepted | Opened::Listening => (socket.opened, false),
            Opened::Unknown => {
                let is_listened = self.listeners.contains_key(&(socket.key.proto, socket.key.src_port));
                let is_ephemeral = socket.key.src_port() >= EPHEMERAL;
                (if is_listened || !is_ephemeral { Opened::Accepted } else { Opened::Connected }, true)
            }
        }
    }

    /// Returns the processes that listen on a socket's local port.
    pub(super) fn listeners(&self, socket: &InetSocket) -> Vec<u32> {
        let inodes = self.listeners.get(&(socket.key.proto, socket.key.src_port));
        let objects = inodes.into_iter().flatten().map(|inode| Object::Socket { inode: *inode });
        let mut pids: Vec<u32> = objects.flat_map(|object| self.holders(object)).map(|holder| holder.pid).collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }
}

pub(super) fn has_peer(socket: &InetSocket) -> bool {
    socket.key.dst_port != [0; 2] && socket.opened != Opened::Listening
}

/// Whether a descriptor passes bytes this way: the suspect's input is read on its side, and read again by whoever
/// relays it.
pub(super) fn passes(access: Access, course: Course) -> bool {
    match (access, course) {
        (Access::Both, Course::In | Course::Out) | (Access::Read, Course::In) | (Access::Write, Course::Out) => true,
        (Access::Read, Course::Out) | (Access::Write, Course::In) => false,
    }
}

/// Whether a descriptor is the other end: who writes what the near side reads.
pub(super) fn faces(access: Access, course: Course) -> bool {
    match course {
        Course::In => passes(access, Course::Out),
        Course::Out => passes(access, Course::In),
    }
}
