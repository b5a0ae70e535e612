//! What the kernel tells of processes: what they run, where their standard streams lead, when they end.
//!
//! Process numbers are those of the initial pid namespace. Times of start are `CLOCK_BOOTTIME` nanoseconds of the thread
//! group's leader: with the number they name a process for good, within one boot. Device numbers are as stat(2) tells
//! them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    key::FlowKey,
    record::{Header, Owner},
};

/// How far up the tree of processes a record goes.
pub const ANCESTORS: usize = 6;
/// Standard streams: descriptors 0, 1 and 2.
pub const STREAMS: usize = 3;
/// Longest path of an executable that a record carries, in bytes.
pub const FILENAME_SNAP: usize = 256;
/// Longest arguments that a record carries, in bytes.
pub const ARGUMENTS_SNAP: usize = 512;
/// Longest name of a file that a record carries, its terminating zero included.
pub const NAME_SNAP: usize = 32;

/// Why a [`ProcessRecord`] was written.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProcessEvent {
    /// execve(2) put another program into the process: its path and arguments follow.
    Exec = 1,
    /// One of the standard streams was put where it leads: dup(2), dup2(2), dup3(2) or fcntl(2).
    Redirect = 2,
    /// A socket that is a standard stream was given its peer: connect(2). Its TCP state is the one before.
    Connect = 3,
}

impl ProcessEvent {
    /// Returns the event of a record's number, or `None` for one of another version.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Exec),
            2 => Some(Self::Redirect),
            3 => Some(Self::Connect),
            _ => None,
        }
    }
}

/// What a descriptor leads to.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamKind {
    /// It was not looked at, or could not be read.
    Unknown = 0,
    Closed = 1,
    /// A file, a directory, a block device.
    File = 2,
    /// A file that has never had a path.
    Memory = 3,
    /// An anonymous pipe.
    Pipe = 4,
    /// A named one.
    Fifo = 5,
    /// The slave of a pseudo-terminal; `peer` is its index.
    Terminal = 6,
    /// Its master; `peer` is its index.
    TerminalMaster = 7,
    /// A serial line, a virtual console, another terminal without a master.
    Console = 8,
    /// A character device that is no terminal.
    Device = 9,
    /// An IPv4 or IPv6 socket.
    Inet = 10,
    /// A Unix socket; `peer` is the inode of the socket at its other end, 0 without one.
    Unix = 11,
    /// A socket of another family.
    Socket = 12,
    /// An object without a file: epoll, timer, io_uring.
    Anonymous = 13,
}

impl StreamKind {
    /// Returns the kind of a record's number; one of another version is unknown.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Closed,
            2 => Self::File,
            3 => Self::Memory,
            4 => Self::Pipe,
            5 => Self::Fifo,
            6 => Self::Terminal,
            7 => Self::TerminalMaster,
            8 => Self::Console,
            9 => Self::Device,
            10 => Self::Inet,
            11 => Self::Unix,
            12 => Self::Socket,
            13 => Self::Anonymous,
            _ => Self::Unknown,
        }
    }

    /// Returns whether bytes written there reach another process.
    #[inline(always)]
    #[must_use]
    pub const fn leads_on(self) -> bool {
        matches!(
            self,
            Self::Pipe | Self::Fifo | Self::Terminal | Self::TerminalMaster | Self::Inet | Self::Unix | Self::Socket
        )
    }
}

/// Who began what a socket carries.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Side {
    #[default]
    Unknown = 0,
    /// This host: connect(2), or a send to a peer.
    Opened = 1,
    /// The peer, through a listener of this host.
    Accepted = 2,
    /// It listens.
    Listening = 3,
}

impl Side {
    /// Returns the side of a record's number; one of another version is unknown.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Opened,
            2 => Self::Accepted,
            3 => Self::Listening,
            _ => Self::Unknown,
        }
    }
}

/// How a descriptor was opened: bits of [`Stream::access`].
pub mod access {
    pub const READ: u8 = 1;
    pub const WRITE: u8 = 2;
}

/// What one standard stream leads to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Stream {
    /// Of an IPv4 or IPv6 socket, directed from this host; zero where it has no peer, as for other kinds.
    pub key: FlowKey,
    pub inode: u64,
    /// What stands at the other end: see [`StreamKind`].
    pub peer: u64,
    /// Socket cookie of an IPv4 or IPv6 socket, 0 where the kernel has not yet given one.
    pub cookie: u64,
    pub device: u32,
    /// A [`StreamKind`].
    pub kind: u8,
    /// [`access`] bits.
    pub access: u8,
    /// TCP state (`TCP_ESTABLISHED` is 1) of a socket.
    pub state: u8,
    /// A [`Side`], of an IPv4 or IPv6 socket.
    pub side: u8,
}

const _: () = assert!(size_of::<Stream>() == 72);

/// A process above another.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ancestor {
    pub start_ns: u64,
    pub tgid: u32,
    pub pad: u32,
    pub comm: [u8; 16],
}

const _: () = assert!(size_of::<Ancestor>() == 32);

/// The fixed part of a process record: after an exec the path follows as it was given to execve(2), `filename_len`
/// bytes, then the arguments, `args_len` bytes, each ended by a zero unless the last was cut.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ProcessRecord {
    pub header: Header,
    pub owner: Owner,
    /// Descriptors 0, 1 and 2.
    pub streams: [Stream; STREAMS],
    /// Parent first; zero where there are no more.
    pub ancestors: [Ancestor; ANCESTORS],
    /// The executable's name in its directory, ended by a zero: a process can choose its `comm`, but not this. Of a
    /// memfd it is `memfd:` and the name it was made with.
    pub exe_name: [u8; NAME_SNAP],
    /// Session id.
    pub session: u32,
    /// Paths that lead to the executable; 0 for a deleted file and for a memfd.
    pub exe_links: u32,
    pub filename_len: u16,
    pub args_len: u16,
    /// A [`ProcessEvent`].
    pub event: u8,
    /// The descriptor that was put where it leads; 0 after an exec.
    pub descriptor: u8,
    pub pad: [u8; 2],
}

const _: () = assert!(size_of::<ProcessRecord>() == 544);

/// A process has ended: its last thread has.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExitRecord {
    pub header: Header,
    pub start_ns: u64,
    pub tgid: u32,
    pub pad: u32,
}

const _: () = assert!(size_of::<ExitRecord>() == 32);
