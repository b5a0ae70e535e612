//! The kernel's records of processes, in the words of the host and of the engine.

use std::collections::HashMap;
use std::sync::Arc;

use netd_common::process::{ProcessRecord, Side, Stream as Held, StreamKind, access};
use netd_common::record::{Owner, SocketEvent, SocketRecord};
use netd_engine::process::{Ancestor, Process, ProcessId};
use netd_engine::streams::{Access, Descriptor, InetSocket, Object, Opened, Snapshot, Socket, Stream};

use crate::host::attribution::Owned;
use crate::host::executable::FileId;
use crate::host::table::Facts;

/// Returns the process that a record is about.
pub(super) const fn id(owner: &Owner) -> ProcessId {
    ProcessId::new(owner.tgid, owner.start_ns)
}

/// Returns what a socket's record tells of its owner.
pub(super) fn of_owner(owner: &Owner) -> Facts {
    let file = FileId::from_kernel(owner.exe_device, owner.exe_inode);
    Facts {
        id: id(owner),
        uid: owner.uid,
        comm: text(&owner.comm),
        cgroup_id: owner.cgroup_id,
        netns: owner.netns.into(),
        file: (owner.exe_inode != 0).then_some(file),
        ..Facts::default()
    }
}

/// Returns what a process's record tells; path and arguments are empty unless it is of an exec.
pub(super) fn of_record(record: &ProcessRecord, filename: &[u8], args: &[u8]) -> Facts {
    let ancestors = record.ancestors.iter().take_while(|ancestor| ancestor.tgid != 0);
    let parents = ancestors.map(|ancestor| Ancestor {
        id: ProcessId::new(ancestor.tgid, ancestor.start_ns),
        comm: text(&ancestor.comm),
        exe: None,
    });
    let args = args.strip_suffix(b"\0").unwrap_or(args);
    let args = if args.is_empty() { Vec::new() } else { args.split(|byte| *byte == 0).map(text).collect() };
    Facts { filename: text(filename), args, parents: parents.collect(), ..of_owner(&record.owner) }
}

/// Returns what a glance at the standard streams tells.
pub(super) fn streams(record: &ProcessRecord) -> [Stream; 3] {
    record.streams.each_ref().map(|held| match StreamKind::from_number(held.kind) {
        StreamKind::Pipe => Stream::Pipe,
        StreamKind::Fifo => Stream::Fifo,
        StreamKind::Terminal | StreamKind::TerminalMaster => Stream::Terminal,
        StreamKind::Unix | StreamKind::Socket => Stream::Socket,
        StreamKind::Inet => Stream::Inet,
        StreamKind::Unknown
        | StreamKind::Closed
        | StreamKind::File
        | StreamKind::Memory
        | StreamKind::Console
        | StreamKind::Device
        | StreamKind::Anonymous => Stream::Other,
    })
}

/// Returns whether the record alone shows input and output to be connections that this host opened: then nobody else
/// needs to be asked.
pub(super) fn is_direct(record: &ProcessRecord) -> bool {
    let [input, output, errors] = &record.streams;
    let is_opened = |held: &Held| held.kind == StreamKind::Inet as u8 && Side::from_number(held.side) == Side::Opened;
    is_opened(input) && (is_opened(output) || is_opened(errors))
}

/// Returns the standard streams as a snapshot of one process.
pub(super) fn snapshot(record: &ProcessRecord, process: &Arc<Process>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (fd, held) in (0_u32..).zip(&record.streams) {
        snapshot.descriptors.push(Descriptor {
            pid: process.id.pid,
            fd,
            object: object(held),
            access: match held.access {
                access::READ => Access::Read,
                access::WRITE => Access::Write,
                _ => Access::Both,
            },
        });
        match StreamKind::from_number(held.kind) {
            StreamKind::Inet => {
                let socket =
                    InetSocket { key: held.key, netns: process.netns, cookie: held.cookie, opened: opened(held.side) };
                snapshot.sockets.insert(held.inode, Socket::Inet(socket));
            }
            StreamKind::Unix => {
                let peer = Some(held.peer).filter(|peer| *peer != 0);
                snapshot.sockets.insert(held.inode, Socket::Unix { peer });
            }
            StreamKind::Pipe
            | StreamKind::Fifo
            | StreamKind::Terminal
            | StreamKind::TerminalMaster
            | StreamKind::Socket
            | StreamKind::Unknown
            | StreamKind::Closed
            | StreamKind::File
            | StreamKind::Memory
            | StreamKind::Console
            | StreamKind::Device
            | StreamKind::Anonymous => {}
        }
    }
    snapshot.processes = HashMap::from([(process.id.pid, Arc::clone(process))]);
    snapshot
}

/// Returns a socket that is older than the daemon as if its record had come now.
pub(super) fn record(owned: &Owned) -> SocketRecord {
    let Owned { key, cookie, opened, process } = owned;
    let event = match opened {
        Opened::Connected => SocketEvent::Connected,
        Opened::Accepted => SocketEvent::AcceptedBy,
        Opened::Listening => SocketEvent::Listen,
        Opened::Unknown => SocketEvent::Bound,
    };
    let mut comm = [0; 16];
    for (to, from) in comm.iter_mut().zip(process.comm.bytes()) {
        *to = from;
    }
    let owner = Owner {
        tgid: process.id.pid,
        start_ns: process.id.start_ticks.saturating_mul(ProcessId::TICK_NS),
        uid: process.uid,
        cgroup_id: process.cgroup_id,
        comm,
        ..Owner::default()
    };
    SocketRecord { key: *key, cookie: *cookie, owner, event: event as u8, ..SocketRecord::default() }
}

/// Iterates over the processes of a snapshot and what their standard streams lead to.
pub(super) fn standing(snapshot: &Snapshot) -> impl Iterator<Item = (&Arc<Process>, [Stream; 3])> {
    let mut streams: HashMap<u32, [Stream; 3]> = HashMap::new();
    for Descriptor { pid, fd, object, .. } in &snapshot.descriptors {
        let stream = match object {
            Object::Pipe { .. } => Stream::Pipe,
            Object::Fifo { .. } => Stream::Fifo,
            Object::Terminal { .. } | Object::TerminalMaster { .. } => Stream::Terminal,
            Object::Socket { inode } if matches!(snapshot.sockets.get(inode), Some(Socket::Inet(_))) => Stream::Inet,
            Object::Socket { .. } => Stream::Socket,
            Object::Console | Object::Other => Stream::Other,
        };
        if let Some(slot) = streams.entry(*pid).or_default().get_mut(*fd as usize) {
            *slot = stream;
        }
    }
    streams.into_iter().filter_map(|(pid, streams)| Some((snapshot.processes.get(&pid)?, streams)))
}

const fn object(held: &Held) -> Object {
    match StreamKind::from_number(held.kind) {
        StreamKind::Pipe => Object::Pipe { inode: held.inode },
        StreamKind::Fifo => Object::Fifo { device: held.device as u64, inode: held.inode },
        StreamKind::Terminal => Object::Terminal { device: held.device as u64, index: held.peer as u32 },
        StreamKind::TerminalMaster => Object::TerminalMaster { device: 0, index: held.peer as u32 },
        StreamKind::Inet | StreamKind::Unix | StreamKind::Socket => Object::Socket { inode: held.inode },
        StreamKind::Console => Object::Console,
        StreamKind::Unknown
        | StreamKind::Closed
        | StreamKind::File
        | StreamKind::Memory
        | StreamKind::Device
        | StreamKind::Anonymous => Object::Other,
    }
}

const fn opened(side: u8) -> Opened {
    match Side::from_number(side) {
        Side::Opened => Opened::Connected,
        Side::Accepted => Opened::Accepted,
        Side::Listening => Opened::Listening,
        Side::Unknown => Opened::Unknown,
    }
}

/// Returns text up to its terminating zero.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or(bytes)).into_owned()
}
