//! A snapshot by what is asked of it: who holds an object, what a process holds, which sockets belong together.

use std::collections::{HashMap, HashSet};

use netd_common::key::FlowKey;

use super::{Access, Course, Descriptor, InetSocket, Link, Object, Opened, Snapshot, Socket};
use crate::process::Image;

/// Local ports from which connect(2) draws where nobody changed it (`ip_local_port_range`).
const EPHEMERAL: u16 = 32_768;

pub(super) struct Index<'a> {
    pub(super) snapshot: &'a Snapshot,
    by_object: HashMap<Object, Vec<usize>>,
    by_pid: HashMap<u32, Vec<usize>>,
    /// Inodes of sockets by network namespace and addresses: two namespaces may have the same ones.
    by_key: HashMap<(u64, FlowKey), u64>,
    /// Inodes of listeners by network namespace, protocol and port.
    listeners: HashMap<(u64, u8, [u8; 2]), Vec<u64>>,
    /// The masters of all instances, by index.
    masters: HashMap<u32, Vec<Object>>,
    slaves: HashMap<u32, Vec<Object>>,
}

impl<'a> Index<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        let (mut masters, mut slaves) = (HashMap::new(), HashMap::new());
        let (mut by_object, mut by_pid) = (HashMap::<_, Vec<usize>>::new(), HashMap::<_, Vec<usize>>::new());
        for (at, descriptor) in snapshot.descriptors.iter().enumerate() {
            by_pid.entry(descriptor.pid).or_default().push(at);
            if !matches!(descriptor.object, Object::Console | Object::Other) {
                by_object.entry(descriptor.object).or_default().push(at);
            }
            let of_index: Option<&mut Vec<Object>> = match descriptor.object {
                Object::TerminalMaster { index, .. } => Some(masters.entry(index).or_default()),
                Object::Terminal { index, .. } => Some(slaves.entry(index).or_default()),
                Object::Pipe { .. } | Object::Fifo { .. } | Object::Socket { .. } | Object::Console | Object::Other => {
                    None
                }
            };
            if let Some(ends) = of_index.filter(|ends| !ends.contains(&descriptor.object)) {
                ends.push(descriptor.object);
            }
        }
        let (mut by_key, mut listeners) = (HashMap::new(), HashMap::<_, Vec<u64>>::new());
        for (inode, socket) in &snapshot.sockets {
            let Socket::Inet(socket) = socket else { continue };
            if socket.opened == Opened::Listening {
                listeners.entry((socket.netns, socket.key.proto, socket.key.src_port)).or_default().push(*inode);
            } else if has_peer(socket) {
                by_key.insert((socket.netns, socket.key), *inode);
            }
        }
        Self { snapshot, by_object, by_pid, by_key, listeners, masters, slaves }
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
            Object::Terminal { device, index } => Some((Link::Terminal, self.master(device, index)?)),
            Object::Socket { .. } => match self.socket(object)? {
                Socket::Unix { peer } => Some((Link::Unix, Object::Socket { inode: (*peer)? })),
                Socket::Inet(socket) => {
                    let inode = *self.by_key.get(&(socket.netns, socket.key.reversed()))?;
                    Some((Link::Loopback, Object::Socket { inode }))
                }
            },
            // What the slaves of a master's other terminals do is their own affair; but see `Self::slave`.
            Object::TerminalMaster { .. } | Object::Console | Object::Other => None,
        }
    }

    /// Returns a slave's master: of the same instance, or else the one whose instance is not known.
    fn master(&self, device: u64, index: u32) -> Option<Object> {
        let masters = self.masters.get(&index)?;
        let of = |wanted: u64| {
            let is_wanted =
                |master: &&Object| matches!(master, Object::TerminalMaster { device, .. } if *device == wanted);
            masters.iter().find(is_wanted).copied()
        };
        let only = if device == 0 && masters.len() == 1 { masters.first().copied() } else { None };
        of(device).or_else(|| of(0)).or(only)
    }

    /// Returns the slave of a master that a process relays to.
    ///
    /// Many hold masters whose terminals have nothing to do with each other: multiplexers, editors, notebooks. So this is
    /// only about an interpreter that runs a line, or a program that hides, with two masters and without a terminal of
    /// its own, at which a person would sit; and on the other terminal runs no shell.
    pub(super) fn slave(&self, relay: u32, master: Object) -> Option<Object> {
        let Object::TerminalMaster { index, .. } = master else { return None };
        let process = self.snapshot.processes.get(&relay)?;
        let is_line = Image::of(process) == Image::Interpreter && process.is_bare();
        let has_own = self.of_process(relay).any(|held| held.fd <= 2 && matches!(held.object, Object::Terminal { .. }));
        let masters = self.of_process(relay).map(|held| held.object);
        let masters: HashSet<Object> =
            masters.filter(|object| matches!(object, Object::TerminalMaster { .. })).collect();
        if !(is_line || process.is_hidden()) || has_own || masters.len() != 2 {
            return None;
        }
        let slave =
            *self.slaves.get(&index)?.iter().find(|slave| self.joined(**slave) == Some((Link::Terminal, master)))?;
        let is_shell = |holder: &Descriptor| {
            self.snapshot.processes.get(&holder.pid).is_some_and(|process| Image::of(process) == Image::Shell)
        };
        (!self.holders(slave).any(is_shell)).then_some(slave)
    }

    /// Returns who began a connection, and whether that is a guess by its ports.
    pub(super) fn opened(&self, socket: &InetSocket) -> (Opened, bool) {
        match socket.opened {
            Opened::Connected | Opened::Accepted | Opened::Listening => (socket.opened, false),
            Opened::Unknown => {
                let is_listened = self.listeners.contains_key(&(socket.netns, socket.key.proto, socket.key.src_port));
                let is_ephemeral = socket.key.src_port() >= EPHEMERAL;
                (if is_listened || !is_ephemeral { Opened::Accepted } else { Opened::Connected }, true)
            }
        }
    }

    /// Returns the processes that listen on a socket's local port.
    pub(super) fn listeners(&self, socket: &InetSocket) -> Vec<u32> {
        let inodes = self.listeners.get(&(socket.netns, socket.key.proto, socket.key.src_port));
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
