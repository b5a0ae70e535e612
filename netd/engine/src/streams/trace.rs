//! Walks from a process's standard streams to the sockets behind them.
//!
//! Each course is walked by itself, nearest first: against the bytes from descriptor 0, with them from 1 and 2. A pipe's
//! other end is whoever opened it the other way; a copy of the same end, as a fork leaves it, leads nowhere.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::index::{Index, faces, has_peer, passes};
use super::{Course, Descriptor, Edge, End, Graph, Hold, InetSocket, Link, Node, Object, Opened, Snapshot, Socket};
use crate::process::{Process, ProcessId};

/// Steps from the suspect, processes and steps of one graph, at most.
pub const MOST_DEPTH: usize = 6;
pub const MOST_NODES: usize = 64;
pub const MOST_EDGES: usize = 256;
const MOST_ENDS: usize = 64;
/// Holders and listeners named of one end.
const MOST_PIDS: usize = 8;
/// Ways on from a process above which it serves many and relays for none.
const HUB: usize = 32;
/// The same of Unix sockets where a relay is their client: a bus, a display server.
const UNIX_HUB: usize = 4;

/// Traces the streams of `suspect`. A process for which `stops` holds is not walked through: its own sockets are the
/// last that count.
#[must_use]
pub fn trace(snapshot: &Snapshot, suspect: u32, stops: &dyn Fn(&Process) -> bool) -> Graph {
    let mut walk = Walk {
        index: Index::new(snapshot),
        graph: Graph { suspect, ..Graph::default() },
        stops,
        seen: HashSet::new(),
        ended: HashSet::new(),
        queue: VecDeque::new(),
    };
    walk.add_node(suspect, None);
    walk.begin(suspect);
    while let Some(item) = walk.queue.pop_front() {
        walk.follow(item);
    }
    walk.graph.ends.sort_by_key(|end| (end.course, end.edge));
    walk.graph
}

struct Walk<'a> {
    index: Index<'a>,
    graph: Graph,
    stops: &'a dyn Fn(&Process) -> bool,
    seen: HashSet<(Course, u32)>,
    ended: HashSet<(Course, u32, Object)>,
    queue: VecDeque<Item>,
}

/// A descriptor to follow.
#[derive(Clone, Copy)]
struct Item {
    course: Course,
    descriptor: Descriptor,
    edge: Option<usize>,
    depth: usize,
}

impl Walk<'_> {
    fn begin(&mut self, suspect: u32) {
        let mut streams: Vec<Descriptor> = self.index.of_process(suspect).filter(|d| d.fd <= 2).copied().collect();
        streams.sort_by_key(|descriptor| descriptor.fd);
        let mut begun = HashSet::new();
        for descriptor in streams {
            let course = if descriptor.fd == 0 { Course::In } else { Course::Out };
            if passes(descriptor.access, course) && begun.insert((course, descriptor.object)) {
                self.queue.push_back(Item { course, descriptor, edge: None, depth: 0 });
            }
        }
    }

    fn follow(&mut self, item: Item) {
        let object = item.descriptor.object;
        let by_master = || Some((Link::Terminal, self.index.slave(item.descriptor.pid, object)?));
        let Some((link, far)) = self.index.joined(object).or_else(by_master) else {
            if let Some(Socket::Inet(socket)) = self.index.socket(object) {
                self.end(&item, *socket);
            }
            return;
        };
        let holders: Vec<Descriptor> = self.index.holders(far).copied().collect();
        for holder in holders {
            let is_other = match link {
                Link::Pipe | Link::Fifo => faces(holder.access, item.course),
                Link::Terminal | Link::Unix | Link::Loopback => true,
            };
            if is_other && holder.pid != item.descriptor.pid && holder.pid != self.graph.suspect {
                self.step(&item, link, holder);
            }
        }
    }

    /// Goes on to a process at the other end.
    fn step(&mut self, item: &Item, link: Link, holder: Descriptor) {
        if self.seen.contains(&(item.course, holder.pid)) {
            return;
        }
        if item.depth >= MOST_DEPTH || self.graph.edges.len() >= MOST_EDGES {
            self.graph.is_cut = true;
            return;
        }
        let mut exits = self.exits(item.course, holder);
        let (mut unix, mut ways) = (0, 0);
        for exit in &exits {
            match self.index.joined(exit.object).map(|(link, _)| link) {
                Some(Link::Unix) => (unix, ways) = (unix + 1, ways + 1),
                Some(Link::Pipe | Link::Fifo | Link::Terminal) => ways += 1,
                Some(Link::Loopback) | None => {}
            }
        }
        // Whatever a relay's display server or bus does for its other clients is not the relay's.
        if link == Link::Unix && item.depth > 0 && unix > UNIX_HUB || !self.add_node(holder.pid, Some(holder)) {
            return;
        }
        self.seen.insert((item.course, holder.pid));
        let near = Hold { pid: item.descriptor.pid, fd: item.descriptor.fd };
        let far = Hold { pid: holder.pid, fd: holder.fd };
        self.graph.edges.push(Edge { course: item.course, link, near, far, before: item.edge });
        let edge = Some(self.graph.edges.len() - 1);
        let stops = self.graph.node(holder.pid).is_some_and(|node| (self.stops)(&node.process));
        if stops || ways > HUB {
            self.graph.is_cut |= !stops;
            exits.retain(|exit| matches!(self.index.socket(exit.object), Some(Socket::Inet(_))));
        }
        for descriptor in exits {
            let item = Item { course: item.course, descriptor, edge, depth: item.depth + 1 };
            match self.index.socket(descriptor.object) {
                Some(Socket::Inet(socket)) if stops => self.end(&item, *socket),
                Some(Socket::Inet(_) | Socket::Unix { .. }) | None => self.queue.push_back(item),
            }
        }
    }

    /// Returns what a process passes the bytes on by, lowest descriptors first and each object once.
    fn exits(&self, course: Course, entry: Descriptor) -> Vec<Descriptor> {
        let mut exits: Vec<Descriptor> = self.index.of_process(entry.pid).copied().collect();
        exits.retain(|exit| exit.object != entry.object && passes(exit.access, course));
        exits.retain(|exit| match self.index.socket(exit.object) {
            Some(Socket::Inet(socket)) => has_peer(socket),
            Some(Socket::Unix { peer }) => peer.is_some(),
            None => self.index.joined(exit.object).is_some() || self.index.slave(entry.pid, exit.object).is_some(),
        });
        exits.sort_by_key(|exit| exit.fd);
        let mut once = HashSet::new();
        exits.retain(|exit| once.insert(exit.object));
        exits
    }

    fn end(&mut self, item: &Item, socket: InetSocket) {
        let descriptor = item.descriptor;
        let is_inside = socket.key.dst.ip().is_loopback();
        if is_inside || !has_peer(&socket) || !self.ended.insert((item.course, descriptor.pid, descriptor.object)) {
            return;
        }
        if self.graph.ends.len() >= MOST_ENDS {
            self.graph.is_cut = true;
            return;
        }
        let (opened, is_guessed) = self.index.opened(&socket);
        let mut holders: Vec<u32> = self.index.holders(descriptor.object).map(|holder| holder.pid).collect();
        holders.sort_unstable();
        holders.dedup();
        holders.retain(|pid| *pid != descriptor.pid);
        holders.truncate(MOST_PIDS);
        let mut listeners = if opened == Opened::Accepted { self.index.listeners(&socket) } else { Vec::new() };
        listeners.truncate(MOST_PIDS);
        for process in listeners.iter().filter_map(|pid| self.index.snapshot.processes.get(pid)) {
            if self.graph.listener(process.id.pid).is_none() {
                self.graph.listeners.push(process.clone());
            }
        }
        self.graph.ends.push(End {
            course: item.course,
            at: Hold { pid: descriptor.pid, fd: descriptor.fd },
            local: (socket.key.src.ip(), socket.key.src_port()).into(),
            remote: (socket.key.dst.ip(), socket.key.dst_port()).into(),
            proto: socket.key.proto,
            opened,
            is_guessed,
            edge: item.edge,
            holders,
            listeners,
            key: socket.key,
        });
    }

    /// Adds a process; returns whether there was room.
    fn add_node(&mut self, pid: u32, entry: Option<Descriptor>) -> bool {
        if self.graph.node(pid).is_some() {
            return true;
        }
        if self.graph.nodes.len() >= MOST_NODES {
            self.graph.is_cut = true;
            return false;
        }
        let unread = || Arc::new(Process { id: ProcessId { pid, start_ticks: 0 }, ..Process::default() });
        let process = self.index.snapshot.processes.get(&pid).cloned().unwrap_or_else(unread);
        self.graph.nodes.push(Node {
            id: ProcessId { pid, ..process.id },
            comm: process.comm.clone(),
            exe: process.exe.clone(),
            serves: self.serves(pid, entry),
            process,
        });
        true
    }

    /// Whether others reach a process, other than by the socket the walk came by or the port that it was accepted on.
    fn serves(&self, pid: u32, entry: Option<Descriptor>) -> bool {
        let came_by = entry.and_then(|entry| self.index.socket(entry.object));
        self.index.of_process(pid).any(|descriptor| {
            let Some(Socket::Inet(socket)) = self.index.socket(descriptor.object) else { return false };
            let is_same = match came_by {
                Some(Socket::Inet(came_by)) => came_by.key.src_port == socket.key.src_port,
                Some(Socket::Unix { .. }) | None => false,
            };
            let is_reached = match socket.opened {
                Opened::Listening => true,
                Opened::Accepted | Opened::Connected | Opened::Unknown => {
                    has_peer(socket) && self.index.opened(socket).0 == Opened::Accepted
                }
            };
            is_reached && !is_same
        })
    }
}
