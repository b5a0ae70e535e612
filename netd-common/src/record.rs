//! The records the kernel programs write to the ring buffer and capture replay produces by the same accounting.
//!
//! Times are nanoseconds: `CLOCK_MONOTONIC` live, the capture's Unix time in replay. Counters are cumulative
//! since the slot's birth, so that a lost record loses no bytes: the next one carries them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::key::{ConversationKey, FlowKey};

/// Longest payload a [`PayloadRecord`] carries, in bytes. Covers a 1500-byte segment: an HTTP request head, a DNS
/// message over UDP with EDNS, a datagram of QUIC. What is longer takes several records.
pub const PAYLOAD_SNAP: usize = 1_472;

/// What follows a [`Header`].
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Flow = 1,
    Turn = 2,
    Payload = 3,
    Socket = 4,
    /// See [`crate::process`], as for `Exit`.
    Process = 5,
    Exit = 6,
}

impl Kind {
    /// Returns the kind of a header's number, or `None` for one of another version.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::Flow),
            2 => Some(Self::Turn),
            3 => Some(Self::Payload),
            4 => Some(Self::Socket),
            5 => Some(Self::Process),
            6 => Some(Self::Exit),
            _ => None,
        }
    }
}

/// The start of every record.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Header {
    /// A [`Kind`].
    pub kind: u16,
    /// The CPU whose table holds the conversation's slot: counters of several CPUs add up.
    pub cpu: u16,
    /// Length of the whole record in bytes.
    pub len: u32,
    pub time_ns: u64,
}

/// Why a [`FlowRecord`] was written.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlowEvent {
    /// First packet of the conversation on this CPU. Payload in it is the conversation's first turn: no turn record
    /// follows for it.
    Begin = 1,
    /// Still alive after the active timeout (IPFIX flowEndReason 2).
    Active = 2,
    /// A first FIN of either side, or RST (IPFIX flowEndReason 3); `state` says which. The connection is over when
    /// the FIN bits of all its CPUs together hold both, or one holds `ENDED`.
    End = 3,
    /// Its slot was needed for another conversation (IPFIX flowEndReason 5).
    Evicted = 4,
    /// The five-tuple began anew: a SYN after the end. These are the old conversation's last counters.
    Reused = 5,
}

impl FlowEvent {
    /// Returns the event of a record's number, or `None` for one of another version.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Begin),
            2 => Some(Self::Active),
            3 => Some(Self::End),
            4 => Some(Self::Evicted),
            5 => Some(Self::Reused),
            _ => None,
        }
    }
}

/// A conversation's counters as one CPU saw them. Arrays are indexed by [`crate::key::Direction`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FlowRecord {
    pub header: Header,
    pub key: ConversationKey,
    /// Bytes on the wire, link layer included, segmentation offload undone.
    pub bytes: [u64; 2],
    /// Transport payload bytes, retransmissions included.
    pub payload: [u64; 2],
    /// First packet; with the key and the CPU it names this conversation among reuses of its five-tuple.
    pub first_ns: u64,
    pub last_ns: u64,
    /// Socket cookie of this host's end, 0 when forwarded or not known.
    pub cookie: u64,
    /// Packets on the wire, modulo 2^32.
    pub packets: [u32; 2],
    pub ifindex: u32,
    /// Rule that decided the conversation, 0 for none: see [`crate::verdict`].
    pub rule: u32,
    /// VLAN identifier (outermost), 0 for none.
    pub vlan: u16,
    /// TCP flags seen, or the first ICMP type.
    pub flags: [u8; 2],
    /// [`state`] bits.
    pub state: u8,
    /// A [`FlowEvent`].
    pub event: u8,
    /// ICMP code of the first packet, 0 otherwise: with the type in `flags` it stands for the ports (Community ID).
    pub icmp_code: u8,
    pub pad: u8,
}

const _: () = assert!(size_of::<FlowRecord>() == 136);

/// Bits of a slot's and a record's `state`.
pub mod state {
    /// The originator is end `b` (the conversation's first packet went b to a).
    pub const ORIGINATOR_IS_B: u8 = 1;
    /// The originator is certain: a SYN, a SYN+ACK, an ICMP echo request was seen.
    pub const ORIGINATOR_CERTAIN: u8 = 1 << 1;
    /// Payload has been seen.
    pub const PAYLOAD: u8 = 1 << 2;
    /// FIN from a / from b.
    pub const FIN_A: u8 = 1 << 3;
    pub const FIN_B: u8 = 1 << 4;
    /// Ended: reset, or FIN from both.
    pub const ENDED: u8 = 1 << 5;
    /// Seen at egress with a five-tuple other than at ingress: the translated face of another conversation.
    pub const TRANSLATED: u8 = 1 << 6;
    /// Reset by either side.
    pub const RESET: u8 = 1 << 7;
}

/// Payload appeared after an idle time of at least g: see DETECTION.md 2.1.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TurnRecord {
    pub header: Header,
    pub key: ConversationKey,
    /// Cumulative payload before this turn, all CPUs: the difference between two records is the turn between.
    pub payload: [u64; 2],
    /// First packet of the conversation, as in [`FlowRecord`].
    pub first_ns: u64,
    /// Time since the previous payload in either direction; 0 for a conversation's first.
    pub idle_ns: u64,
    /// Payload bytes of the packet that starts the turn.
    pub first_len: u32,
    /// Who starts it: a [`crate::key::Direction`].
    pub starter: u8,
    /// 1 for the conversation's first payload.
    pub is_first: u8,
    /// [`state`] bits of the conversation.
    pub state: u8,
    pub pad: u8,
}

const _: () = assert!(size_of::<TurnRecord>() == 96);

/// Why payload was exported.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadKind {
    /// Of one side's first flight: see [`crate::account::Excerpts`].
    FirstData = 1,
    /// A DNS message over UDP, or a piece of the stream of a TCP connection, where either port is 53.
    Dns = 2,
}

/// The fixed part of a payload record; `captured` bytes follow it.
///
/// Each CPU exports what it sees: where a connection's packets move between CPUs, user space may hear more records than
/// one CPU's rule allows, and a retransmission on another CPU. Sequence numbers tell.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PayloadRecord {
    pub header: Header,
    pub key: ConversationKey,
    /// Payload length of the packet, segmentation offload not undone.
    pub wire_len: u32,
    /// Bytes that follow, at most [`PAYLOAD_SNAP`].
    pub captured: u16,
    /// A [`crate::key::Direction`].
    pub direction: u8,
    /// A [`PayloadKind`].
    pub kind: u8,
    /// TCP sequence number of the first byte that follows, 0 otherwise.
    pub seq: u32,
    /// Where in the packet's payload the first byte that follows stands: not 0 in a packet's second record, and where
    /// what stands before it was exported already.
    pub offset: u32,
}

const _: () = assert!(size_of::<PayloadRecord>() == 72);

/// What happened to a socket of this host.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketEvent {
    /// connect(2) or a first unconnected send: source address and port are zero where the socket is not bound to them.
    Open = 1,
    /// TCP established by connect(2).
    Connected = 2,
    /// TCP established from a listener.
    Accepted = 3,
    /// TCP closed; `rtt_us` is the smoothed round-trip time.
    Closed = 4,
    /// A verdict refused connect(2) or a send.
    Refused = 5,
    /// listen(2): names the process behind later `Accepted` records of that port.
    Listen = 6,
    /// bind(2), or the port that listen(2) chose: only the local end is known.
    Bound = 7,
    /// The last descriptor of a UDP socket was closed: the end of the conversation where it had one peer.
    Released = 8,
    /// accept(2): the owner is the process that took the connection, which need not be the one that listens.
    AcceptedBy = 9,
}

impl SocketEvent {
    /// Returns the event of a record's number, or `None` for one of another version.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Open),
            2 => Some(Self::Connected),
            3 => Some(Self::Accepted),
            4 => Some(Self::Closed),
            5 => Some(Self::Refused),
            6 => Some(Self::Listen),
            7 => Some(Self::Bound),
            8 => Some(Self::Released),
            9 => Some(Self::AcceptedBy),
            _ => None,
        }
    }
}

/// A process as the kernel sees it where it acts, kept by socket cookie for the sockets it owns.
///
/// Number and start together name it for good. Start, executable, parent and namespace are zero where the running
/// kernel's layout is not known.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Owner {
    pub cgroup_id: u64,
    /// 0 where only the process is known, not a socket of its.
    pub netns_cookie: u64,
    /// Start of the thread group's leader, `CLOCK_BOOTTIME` nanoseconds.
    pub start_ns: u64,
    /// With `exe_device` the executable, which names it when the process is gone.
    pub exe_inode: u64,
    /// As stat(2) tells it, except on file systems that give each subvolume a number of its own.
    pub exe_device: u32,
    /// Inode of the process's network namespace.
    pub netns: u32,
    /// Thread group id: the process. As the thread's, in the initial pid namespace.
    pub tgid: u32,
    /// Thread id.
    pub pid: u32,
    pub uid: u32,
    /// Thread group id of the parent.
    pub parent: u32,
    pub comm: [u8; 16],
}

const _: () = assert!(size_of::<Owner>() == 72);

/// What is kept of a socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Socket {
    /// All zero until somebody accepts it.
    pub owner: Owner,
    /// A [`crate::process::Side`].
    pub side: u32,
    pub pad: u32,
}

/// A socket's event, directed from this host.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SocketRecord {
    pub header: Header,
    /// Local end is the source.
    pub key: FlowKey,
    pub cookie: u64,
    /// All zero when the kernel saw no owner (accepted, or older than netd).
    pub owner: Owner,
    /// Smoothed round-trip time in microseconds, 0 when not known.
    pub rtt_us: u32,
    /// The rule that refused, 0 otherwise.
    pub rule: u32,
    /// A [`SocketEvent`].
    pub event: u8,
    pub pad: [u8; 7],
}

const _: () = assert!(size_of::<SocketRecord>() == 152);
