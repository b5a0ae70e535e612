//! Who holds which descriptor at one moment, as the shell read it.

use std::collections::HashMap;
use std::sync::Arc;

use netd_common::key::FlowKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::process::Process;

/// The descriptors of a host's processes at one moment. The order of `descriptors` means nothing.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub descriptors: Vec<Descriptor>,
    /// Sockets by the inode that descriptors lead to; one that is not here is of no family that matters.
    pub sockets: HashMap<u64, Socket>,
    /// Processes by number: at one moment the number suffices.
    pub processes: HashMap<u32, Arc<Process>>,
    /// Not everybody was asked: what is not here may be elsewhere.
    pub is_part: bool,
    /// Processes that ended or refused while they were read.
    pub unread: u32,
}

/// A descriptor of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Descriptor {
    pub pid: u32,
    pub fd: u32,
    pub object: Object,
    pub access: Access,
}

/// What a descriptor leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// An anonymous pipe, by its inode.
    Pipe { inode: u64 },
    /// A named pipe, by device and inode.
    Fifo { device: u64, inode: u64 },
    /// The slave of a pseudo-terminal: `/dev/pts/INDEX` of the devpts instance that `device` names. 0 where that is not
    /// known: containers have instances of their own, which count from 0 each.
    Terminal { device: u64, index: u32 },
    /// Its master.
    TerminalMaster { device: u64, index: u32 },
    /// A socket of any family: see [`Snapshot::sockets`].
    Socket { inode: u64 },
    /// A serial line, virtual console, or another terminal that is no pair of ends.
    Console,
    /// A file, directory, device or what else stores bytes rather than passes them to another process.
    Other,
}

/// How a descriptor was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    Read,
    Write,
    Both,
}

/// A socket that a descriptor leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    Inet(InetSocket),
    /// A Unix socket, and the inode of its peer where it has one.
    Unix {
        peer: Option<u64>,
    },
}

/// An IPv4 or IPv6 socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InetSocket {
    /// Directed from this host; zero addresses and ports where there is no peer.
    pub key: FlowKey,
    /// Inode of its network namespace: a peer in another one is as far as another host.
    pub netns: u64,
    pub cookie: u64,
    pub opened: Opened,
}

/// Who began a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Opened {
    /// This host: connect(2), or a datagram socket that was given a peer.
    Connected,
    /// A peer, through a listener of this host.
    Accepted,
    /// It listens.
    Listening,
    /// It has no peer, or it is not known who began.
    Unknown,
}
