//! Every map, with its size where the loader does not choose another.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    btf_maps,
    macros::{btf_map, map},
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf},
};
use netd_common::{
    control::Control,
    counter::Counters,
    flow::Set,
    key::{Address, Endpoint, FlowKey},
    packet::Packet,
    record::{PAYLOAD_SNAP, PayloadRecord, Socket},
    verdict::{FRONT_WORDS, GENERATIONS, Hits, MAX_RULES, Rule},
};

/// See [`netd_common::control`].
#[map]
pub static CONTROL: Array<Control> = Array::with_max_entries(1, 0);

#[map]
pub static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

/// The flow table: see [`netd_common::flow`]. Mapped into the daemon, hence page-aligned, hence every set starts a
/// cache line.
#[map]
pub static FLOWS: Array<Set> = Array::with_max_entries(1024, BPF_F_MMAPABLE);

#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// What processes do, apart from what packets do: a flood of the one takes no room from the other.
#[map]
pub static PROCESSES: RingBuf = RingBuf::with_byte_size(2 << 20, 0);

/// By process: a second in the upper half, and how many redirections were told in it.
#[map]
pub static REDIRECTS: LruHashMap<u32, u64> = LruHashMap::with_max_entries(4_096, 0);

/// Owners by socket cookie. LRU: who opened a socket long ago is in user space by then.
#[map]
pub static SOCKETS: LruHashMap<u64, Socket> = LruHashMap::with_max_entries(65_536, 0);

#[map]
pub static RULES: Array<Rule> = Array::with_max_entries(MAX_RULES, 0);

#[map]
pub static BUCKETS: Array<u64> = Array::with_max_entries(MAX_RULES, 0);

#[map]
pub static HITS: PerCpuArray<Hits> = PerCpuArray::with_max_entries(MAX_RULES, 0);

/// One front after the other, a generation each.
#[map]
pub static FRONT: Array<u64> = Array::with_max_entries(GENERATIONS * FRONT_WORDS, 0);

#[map]
pub static ALLOW: LpmTrie<[u8; 16], u32> = LpmTrie::with_max_entries(65_536, BPF_F_NO_PREALLOC);

// Verdicts are not in LRU maps: evicting one would silently let a blocked flow through.
#[map]
pub static BLOCK_FLOWS: HashMap<FlowKey, u32> = HashMap::with_max_entries(65_536, BPF_F_NO_PREALLOC);

#[map]
pub static BLOCK_ENDPOINTS: HashMap<Endpoint, u32> = HashMap::with_max_entries(65_536, BPF_F_NO_PREALLOC);

/// By generation. The daemon makes the inner maps, each as large as its lists: the sizes here are a template's.
#[btf_map]
pub static BLOCK_HOSTS: btf_maps::ArrayOfMaps<Hosts, { GENERATIONS as usize }> = btf_maps::ArrayOfMaps::new();

#[btf_map]
pub static BLOCK_PREFIXES: btf_maps::ArrayOfMaps<Prefixes, { GENERATIONS as usize }> = btf_maps::ArrayOfMaps::new();

/// Allocated when it is made: what does not fit in memory is refused before the first key is in.
type Hosts = btf_maps::HashMap<Address, u32, 1_024>;

type Prefixes = btf_maps::LpmTrie<[u8; 16], u32, 1_024>;

#[map]
pub static WATCHED: HashMap<u32, u32> = HashMap::with_max_entries(1024, 0);

#[map]
pub static LAST_INGRESS: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// A payload record with its bytes: 1.5 KB do not fit the stack.
#[repr(C)]
pub struct Export {
    pub head: PayloadRecord,
    pub data: [u8; PAYLOAD_SNAP],
}

#[map]
pub static SCRATCH: PerCpuArray<Export> = PerCpuArray::with_max_entries(1, 0);

/// The packet being parsed. In a map, because the verifier follows every constant on the stack but none in a map:
/// after parsing all paths join, and the programs verify in a hundredth of the steps.
#[repr(C)]
pub struct Parsing {
    pub packet: Packet,
    /// See [`crate::reader::joined`].
    pub cell: u32,
}

#[map]
pub static PACKET: PerCpuArray<Parsing> = PerCpuArray::with_max_entries(1, 0);
