//! A host's descriptors, put together end by end.

use std::net::SocketAddr;
use std::sync::Arc;

use netd_common::key::FlowKey;
use netd_engine::config::Config;
use netd_engine::finding::Finding;
use netd_engine::process::{Ancestor, Process, ProcessId, Programs};
use netd_engine::streams::{
    Access, Descriptor, Graph, InetSocket, Look, Object, Opened, Snapshot, Socket, Trigger, trace,
};

use crate::support::{TCP, UDP, World, ns};

/// This host, and whoever commands it.
pub(crate) const HERE: &str = "10.0.3.7:51514";
pub(crate) const C2: &str = "198.51.100.7:4444";

/// A descriptor: process and number.
pub(crate) type At = (u32, u32);

#[derive(Default)]
pub(crate) struct Host {
    pub(crate) snapshot: Snapshot,
    pub(crate) last: u64,
    /// Where the next sockets are.
    pub(crate) netns: u64,
}

impl Host {
    /// Adds a process; `line` is its command line.
    pub(crate) fn run(&mut self, pid: u32, exe: &str, line: &str) -> &mut Process {
        let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let comm = args[0].rsplit('/').next().unwrap_or_default().trim_start_matches('-').chars().take(15).collect();
        let id = ProcessId { pid, start_ticks: u64::from(pid) };
        let process = Process { id, comm, exe: Some(exe.to_owned()), args, ..Process::default() };
        self.snapshot.processes.insert(pid, Arc::new(process));
        self.change(pid)
    }

    pub(crate) fn sh(&mut self, pid: u32) -> &mut Process {
        self.run(pid, "/usr/bin/dash", "sh -i")
    }

    pub(crate) fn change(&mut self, pid: u32) -> &mut Process {
        Arc::get_mut(self.snapshot.processes.get_mut(&pid).expect("a process")).expect("nobody else has it")
    }

    /// Puts one process below another.
    pub(crate) fn below(&mut self, child: u32, parent: u32) {
        let above = self.snapshot.processes[&parent].clone();
        let own = Ancestor { id: above.id, comm: above.comm.clone(), exe: above.exe.clone() };
        self.change(child).parents = std::iter::once(own).chain(above.parents.iter().cloned()).collect();
    }

    pub(crate) fn hold(&mut self, at: &[At], object: Object, access: Access) {
        self.snapshot.descriptors.extend(at.iter().map(|(pid, fd)| Descriptor { pid: *pid, fd: *fd, object, access }));
    }

    pub(crate) fn pipe(&mut self, writers: &[At], readers: &[At]) {
        let inode = self.inode();
        self.hold(writers, Object::Pipe { inode }, Access::Write);
        self.hold(readers, Object::Pipe { inode }, Access::Read);
    }

    pub(crate) fn fifo(&mut self, writers: &[At], readers: &[At]) {
        let object = Object::Fifo { device: 5, inode: self.inode() };
        self.hold(writers, object, Access::Write);
        self.hold(readers, object, Access::Read);
    }

    pub(crate) fn pty(&mut self, masters: &[At], slaves: &[At]) {
        let index = self.inode() as u32;
        self.hold(masters, Object::TerminalMaster { device: 1, index }, Access::Both);
        self.hold(slaves, Object::Terminal { device: 1, index }, Access::Both);
    }

    pub(crate) fn socketpair(&mut self, a: &[At], b: &[At]) {
        let (one, other) = (self.inode(), self.inode());
        for (inode, peer, at) in [(one, other, a), (other, one, b)] {
            self.snapshot.sockets.insert(inode, Socket::Unix { peer: Some(peer) });
            self.hold(at, Object::Socket { inode }, Access::Both);
        }
    }

    pub(crate) fn socket(&mut self, at: &[At], proto: u8, local: &str, remote: &str, opened: Opened) {
        let end = |text: &str| text.parse::<SocketAddr>().expect("an address and a port");
        let (src, dst) = (end(local), end(remote));
        let key = FlowKey {
            src: src.ip().into(),
            dst: dst.ip().into(),
            src_port: src.port().to_be_bytes(),
            dst_port: dst.port().to_be_bytes(),
            proto,
            pad: [0; 3],
        };
        let inode = self.inode();
        self.snapshot.sockets.insert(inode, Socket::Inet(InetSocket { key, netns: self.netns, cookie: inode, opened }));
        self.hold(at, Object::Socket { inode }, Access::Both);
    }

    pub(crate) fn connected(&mut self, at: &[At]) {
        self.socket(at, TCP, HERE, C2, Opened::Connected);
    }

    pub(crate) fn datagrams(&mut self, at: &[At]) {
        self.socket(at, UDP, HERE, C2, Opened::Connected);
    }

    /// A connection that somebody opened to `local` port.
    pub(crate) fn accepted(&mut self, at: &[At], port: u16) {
        self.socket(at, TCP, &format!("10.0.3.7:{port}"), "203.0.113.5:40000", Opened::Accepted);
    }

    pub(crate) fn listening(&mut self, at: &[At], port: u16) {
        self.socket(at, TCP, &format!("0.0.0.0:{port}"), "0.0.0.0:0", Opened::Listening);
    }

    /// A connection within this host: who connected, who accepted.
    pub(crate) fn within(&mut self, connected: &[At], accepted: &[At], port: u16) {
        let (client, server) = ("127.0.0.1:40100", format!("127.0.0.1:{port}"));
        self.socket(connected, TCP, client, &server, Opened::Connected);
        self.socket(accepted, TCP, &server, client, Opened::Accepted);
    }

    pub(crate) fn file(&mut self, at: &[At]) {
        self.hold(at, Object::Other, Access::Both);
    }

    pub(crate) fn graph(&self, pid: u32) -> Graph {
        let programs = Programs::default();
        trace(&self.snapshot, pid, &|process| programs.class(process, None).is_some())
    }

    /// What an engine says that knows nothing else.
    pub(crate) fn findings(&self, pid: u32) -> Vec<Finding> {
        let mut world = World::new(Config::default());
        self.look(&mut world, pid);
        world.findings()
    }

    /// Returns whether another look is worth it.
    pub(crate) fn look(&self, world: &mut World, pid: u32) -> bool {
        let look = Look { pid, trigger: Trigger::Exec, since_ns: ns(1.0), at_ns: ns(1.02) };
        world.engine.observe_streams(&self.snapshot, look)
    }

    fn inode(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

/// Descriptors 0, 1 and 2.
pub(crate) fn stdio(pid: u32) -> [At; 3] {
    [(pid, 0), (pid, 1), (pid, 2)]
}

pub(crate) fn names(finding: &Finding) -> Vec<&'static str> {
    finding.reasons.iter().map(|reason| reason.evidence).collect()
}
