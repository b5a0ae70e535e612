//! Names of programs and maps in the object, and the version of their layout.

/// Version of every pinned map's layout; the pins live in a directory of this number, so that a daemon never
/// adopts maps it would misread.
pub const ABI: u32 = 5;

/// Programs.
pub const TC_INGRESS: &str = "tc_ingress";
pub const TC_EGRESS: &str = "tc_egress";
/// The same for devices without a link-layer header (tun, WireGuard).
pub const TC_INGRESS_L3: &str = "tc_ingress_l3";
pub const TC_EGRESS_L3: &str = "tc_egress_l3";
pub const XDP_INGRESS: &str = "xdp_ingress";
pub const CONNECT4: &str = "connect4";
pub const CONNECT6: &str = "connect6";
pub const SENDMSG4: &str = "sendmsg4";
pub const SENDMSG6: &str = "sendmsg6";
pub const POST_BIND4: &str = "post_bind4";
pub const POST_BIND6: &str = "post_bind6";
pub const SOCK_RELEASE: &str = "sock_release";
pub const GETPEERNAME4: &str = "getpeername4";
pub const GETPEERNAME6: &str = "getpeername6";
pub const SOCK_OPS: &str = "sock_ops";
pub const PROCESS_EXEC: &str = "process_exec";
pub const PROCESS_EXIT: &str = "process_exit";
/// The same program for accept(2) and accept4(2).
pub const ACCEPT: &str = "accept";
/// The same program for dup(2), dup2(2) and dup3(2).
pub const DUP: &str = "dup";
pub const FCNTL: &str = "fcntl";

/// Read-only data: an `offsets::Offsets`, written before the programs are loaded.
pub const OFFSETS: &str = "OFFSETS";

/// Maps. All are pinned by these names.
pub mod maps {
    /// Array of one `Control`.
    pub const CONTROL: &str = "CONTROL";
    /// Per-CPU array of one `counter::Counters`.
    pub const COUNTERS: &str = "COUNTERS";
    /// Mmapable array of `flow::Set`: `Control::set_mask + 1` for each possible CPU in turn.
    pub const FLOWS: &str = "FLOWS";
    /// Ring buffer of records.
    pub const EVENTS: &str = "EVENTS";
    /// Ring buffer of records of processes: a flood of them takes no flow's room.
    pub const PROCESSES: &str = "PROCESSES";
    /// Hash, socket cookie to `record::Socket`.
    pub const SOCKETS: &str = "SOCKETS";
    /// Hash, process number to how many redirections it was heard for this second.
    pub const REDIRECTS: &str = "REDIRECTS";
    /// Array of `Rule`.
    pub const RULES: &str = "RULES";
    /// Array of `u64`: a throttle's theoretical arrival time, by rule.
    pub const BUCKETS: &str = "BUCKETS";
    /// Per-CPU array of `Hits`, by rule.
    pub const HITS: &str = "HITS";
    /// Array of `u64`: the front of each generation in turn, two bits a /24 (IPv4) or a hashed /48 (IPv6).
    pub const FRONT: &str = "FRONT";
    /// LPM trie of `Prefix` to `u32` (1).
    pub const ALLOW: &str = "ALLOW";
    /// Hash, `FlowKey` a to b, to rule.
    pub const BLOCK_FLOWS: &str = "BLOCK_FLOWS";
    /// Hash, `Endpoint` to rule.
    pub const BLOCK_ENDPOINTS: &str = "BLOCK_ENDPOINTS";
    /// Array of hashes by generation of lists, `Address` to rule. The daemon pins the hash in use as `BLOCK_HOSTS_0` or
    /// `BLOCK_HOSTS_1`.
    pub const BLOCK_HOSTS: &str = "BLOCK_HOSTS";
    /// Array of LPM tries by generation of lists, `Prefix` to rule; pinned likewise.
    pub const BLOCK_PREFIXES: &str = "BLOCK_PREFIXES";
    /// Hash of ifindex to `u32` (1): the interfaces netd is attached to.
    pub const WATCHED: &str = "WATCHED";
    /// Per-CPU array of one `u64`: the conversation just accounted at ingress, for egress to recognise it.
    pub const LAST_INGRESS: &str = "LAST_INGRESS";
    /// Per-CPU array of one payload record with its bytes: too large for the stack.
    pub const SCRATCH: &str = "SCRATCH";
    /// Per-CPU array of one element: the packet being parsed.
    pub const PACKET: &str = "PACKET";
}
