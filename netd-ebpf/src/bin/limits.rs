//! Yardsticks for `make bench`: the kernel's own structures in place of netd's, as small as they can be; and drivers
//! that turn the one packet of a test run into many flows.

#![no_std]
#![no_main]

#[path = "../reader.rs"]
mod reader;

use aya_ebpf::{
    bindings::{
        BPF_F_NO_PREALLOC, TC_ACT_OK,
        xdp_action::{XDP_DROP, XDP_PASS},
    },
    helpers::bpf_ktime_get_coarse_ns,
    macros::{classifier, map, xdp},
    maps::{Array, HashMap, LpmTrie, LruHashMap, LruPerCpuHashMap, PerCpuArray, ProgramArray, RingBuf, lpm_trie::Key},
    programs::{TcContext, XdpContext},
};
use netd_common::{
    key::Address,
    packet::{self, ETH_P_IP, ETH_P_IPV6, ETHERNET, Packet},
    verdict::FRONT_WORDS,
};
use reader::Linear;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// A directed five-tuple in words.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Tuple {
    pub source: [u64; 2],
    pub destination: [u64; 2],
    pub ports: u32,
    pub proto: u32,
}

/// What a bare flow counter keeps.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bare {
    pub packets: u64,
    pub bytes: u64,
    pub last_ns: u64,
    pub first_ns: u64,
}

#[map]
static LRU: LruPerCpuHashMap<Tuple, Bare> = LruPerCpuHashMap::with_max_entries(1 << 16, 0);

#[map]
static SHARED_LRU: LruHashMap<Tuple, Bare> = LruHashMap::with_max_entries(1 << 16, 0);

#[map]
static LIMIT_EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

#[map]
static LISTED: HashMap<Address, u32> = HashMap::with_max_entries(1 << 20, BPF_F_NO_PREALLOC);

#[map]
static LISTED_PREFIXES: LpmTrie<[u8; 16], u32> = LpmTrie::with_max_entries(1 << 20, BPF_F_NO_PREALLOC);

#[map]
static WORDS: Array<u64> = Array::with_max_entries(FRONT_WORDS / 2, 0);

/// The packet being parsed, as netd's programs keep it.
#[repr(C)]
struct Parsing {
    packet: Packet,
    /// See `reader::joined`.
    cell: u32,
}

#[map]
static PARSING: PerCpuArray<Parsing> = PerCpuArray::with_max_entries(1, 0);

/// What the drivers write into the packet before they hand it on.
#[repr(C)]
#[derive(Clone, Copy)]
struct Drive {
    /// Packets so far, or the state of the random numbers.
    state: u64,
    /// The flows are 0 to this, minus one.
    flows: u32,
    /// 0: one after the other; 1: at random.
    random: u32,
    /// IPv4 source address of flow 0.
    base: u32,
    /// Bytes by which the TCP sequence number grows with every packet.
    advance: u32,
}

#[map]
static DRIVE: Array<Drive> = Array::with_max_entries(1, 0);

/// The program under test: one slot for TC, one for XDP.
#[map]
static TARGETS: ProgramArray = ProgramArray::with_max_entries(1, 0);

#[map]
static XDP_TARGETS: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Does nothing: what a program run costs.
#[classifier]
pub fn empty(_: TcContext) -> i32 {
    TC_ACT_OK
}

/// Parses, and counts in a per-CPU LRU hash in place.
#[classifier]
pub fn lru_in_place(ctx: TcContext) -> i32 {
    count(&ctx, false)
}

/// The same, with a 128-byte record for every new flow.
#[classifier]
pub fn lru_with_event(ctx: TcContext) -> i32 {
    count(&ctx, true)
}

#[inline(always)]
fn count(ctx: &TcContext, event: bool) -> i32 {
    let Some(key) = five_tuple(ctx) else { return TC_ACT_OK };
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    if let Some(bare) = LRU.get_ptr_mut(&key) {
        // SAFETY: this CPU's own value.
        add(unsafe { &mut *bare }, ctx.len(), now);
        return TC_ACT_OK;
    }
    let bare = Bare { packets: 1, bytes: u64::from(ctx.len()), last_ns: now, first_ns: now };
    let _ = LRU.insert(&key, &bare, 0);
    if event {
        if let Some(mut entry) = LIMIT_EVENTS.reserve::<[u64; 16]>(0) {
            entry.write([now; 16]);
            entry.submit(0);
        }
    }
    TC_ACT_OK
}

#[inline(always)]
fn add(bare: &mut Bare, len: u32, now: u64) {
    bare.packets += 1;
    bare.bytes += u64::from(len);
    bare.last_ns = now;
}

/// Returns the five-tuple, and believes that every packet is TCP or UDP over IP without options.
#[inline(always)]
fn five_tuple(ctx: &TcContext) -> Option<Tuple> {
    // SAFETY: only the fields' addresses are taken, of a context that outlives the program's run.
    let (data, data_end) = unsafe { (&raw const (*ctx.skb.skb).data, &raw const (*ctx.skb.skb).data_end) };
    // SAFETY: both are fields of the program's context; volatile as in `Linear::new`.
    let (start, end) = unsafe { (data.read_volatile() as usize, data_end.read_volatile() as usize) };
    if start + ETHERNET + 24 > end {
        return None;
    }
    let network = start + ETHERNET;
    // SAFETY: within the packet, as checked above and below; the kernel loads unaligned words.
    unsafe {
        match word::<u16>(start + 12).to_be() {
            ETH_P_IP => Some(Tuple {
                source: [0, V4_MAPPED | u64::from(word::<u32>(network + 12)) << 32],
                destination: [0, V4_MAPPED | u64::from(word::<u32>(network + 16)) << 32],
                ports: word(network + 20),
                proto: u32::from(word::<u8>(network + 9)),
            }),
            ETH_P_IPV6 if network + 44 <= end => Some(Tuple {
                source: [word(network + 8), word(network + 16)],
                destination: [word(network + 24), word(network + 32)],
                ports: word(network + 40),
                proto: u32::from(word::<u8>(network + 6)),
            }),
            _ => None,
        }
    }
}

/// The second half of an IPv4-mapped address, but for the address.
const V4_MAPPED: u64 = 0xffff_0000;

/// # Safety
/// The word lies within the packet.
#[inline(always)]
unsafe fn word<T>(at: usize) -> T {
    // SAFETY: the caller's promise.
    unsafe { (at as *const T).read_unaligned() }
}

/// Parses, and counts in one LRU hash of all CPUs; two may lose a packet between them.
#[classifier]
pub fn shared_lru_in_place(ctx: TcContext) -> i32 {
    let Some(key) = five_tuple(&ctx) else { return TC_ACT_OK };
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    if let Some(bare) = SHARED_LRU.get_ptr_mut(&key) {
        // SAFETY: aligned words of a map's value, read and written whole.
        add(unsafe { &mut *bare }, ctx.len(), now);
        return TC_ACT_OK;
    }
    let bare = Bare { packets: 1, bytes: u64::from(ctx.len()), last_ns: now, first_ns: now };
    let _ = SHARED_LRU.insert(&key, &bare, 0);
    TC_ACT_OK
}

/// Does nothing, at XDP.
#[xdp(frags)]
pub fn empty_xdp(_: XdpContext) -> u32 {
    XDP_PASS
}

/// Parses.
#[xdp(frags)]
pub fn parse_xdp(ctx: XdpContext) -> u32 {
    match parse(&ctx) {
        Some(packet) if packet.fragment as u8 != 0 => XDP_DROP,
        Some(_) | None => XDP_PASS,
    }
}

/// Parses, and drops a source that is in a hash.
#[xdp(frags)]
pub fn hash_drop(ctx: XdpContext) -> u32 {
    let Some(packet) = parse(&ctx) else { return XDP_PASS };
    // SAFETY: the value is not read.
    match unsafe { LISTED.get(source(packet)) } {
        Some(_) => XDP_DROP,
        None => XDP_PASS,
    }
}

/// Parses, and reads one word of an array as large as the front's IPv4 half: what a random look-up costs at least.
#[xdp(frags)]
pub fn array_pass(ctx: XdpContext) -> u32 {
    let Some(packet) = parse(&ctx) else { return XDP_PASS };
    let (_, low) = source(packet).words();
    match WORDS.get((low.to_be() as u32) >> 13) {
        Some(word) if *word != 0 => XDP_DROP,
        Some(_) | None => XDP_PASS,
    }
}

/// Parses, and drops a source that is in a trie.
#[xdp(frags)]
pub fn trie_drop(ctx: XdpContext) -> u32 {
    let Some(packet) = parse(&ctx) else { return XDP_PASS };
    let needle = Needle { _aligned: 0, bits: 128, address: *source(packet) };
    // SAFETY: `bits` and `address` lie as in the packed `Key`, which has no alignment.
    let key: &Key<[u8; 16]> = unsafe { &*core::ptr::from_ref(&needle.bits).cast() };
    match LISTED_PREFIXES.get(key) {
        Some(_) => XDP_DROP,
        None => XDP_PASS,
    }
}

/// A trie's key, its address aligned on the stack.
#[repr(C)]
struct Needle {
    _aligned: u32,
    bits: u32,
    address: Address,
}

#[inline(always)]
fn source(packet: &Packet) -> &Address {
    if packet.direction == 0 { &packet.conversation.a } else { &packet.conversation.b }
}

#[inline(always)]
fn parsing() -> Option<&'static mut Parsing> {
    // SAFETY: this CPU's own element; network programs do not nest on one CPU.
    PARSING.get_ptr_mut(0).map(|parsing| unsafe { &mut *parsing })
}

#[inline(always)]
fn parse(ctx: &XdpContext) -> Option<&'static Packet> {
    let parsing = parsing()?;
    // SAFETY: only the fields' addresses are taken, of a context that outlives the program's run.
    let (data, data_end) = unsafe { (&raw const (*ctx.ctx).data, &raw const (*ctx.ctx).data_end) };
    let linear = Linear::new(data, data_end, &raw mut parsing.cell);
    packet::ethernet(&linear, linear.len(), None, &mut parsing.packet).ok()?;
    Some(&parsing.packet)
}

/// Gives an IPv4 TCP packet another source address, and hands it on.
#[classifier]
pub fn rewrite(ctx: TcContext) -> i32 {
    // SAFETY: only the fields' addresses are taken, of a context that outlives the program's run.
    let (data, data_end) = unsafe { (&raw const (*ctx.skb.skb).data, &raw const (*ctx.skb.skb).data_end) };
    drive(data, data_end);
    // SAFETY: nothing here waits to be dropped.
    unsafe { TARGETS.tail_call(&ctx, 0) };
    TC_ACT_OK
}

/// The same at XDP.
#[xdp(frags)]
pub fn rewrite_xdp(ctx: XdpContext) -> u32 {
    // SAFETY: only the fields' addresses are taken, of a context that outlives the program's run.
    let (data, data_end) = unsafe { (&raw const (*ctx.ctx).data, &raw const (*ctx.ctx).data_end) };
    drive(data, data_end);
    // SAFETY: nothing here waits to be dropped.
    unsafe { XDP_TARGETS.tail_call(&ctx, 0) };
    XDP_PASS
}

const SOURCE: usize = ETHERNET + 12;
const SEQUENCE: usize = ETHERNET + 20 + 4;

#[inline(always)]
fn drive(data: *const u32, data_end: *const u32) {
    let Some(drive) = DRIVE.get_ptr_mut(0) else { return };
    // SAFETY: one test run at a time uses the drivers.
    let drive = unsafe { &mut *drive };
    // SAFETY: both are fields of the program's context; volatile as in `Linear::new`.
    let (start, end) = unsafe { (data.read_volatile() as usize, data_end.read_volatile() as usize) };
    if start + SEQUENCE + 4 > end {
        return;
    }
    let flow = if drive.random != 0 {
        // Knuth's MMIX generator; the upper half, scaled to the number of flows.
        drive.state = drive.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (((drive.state >> 32) * u64::from(drive.flows)) >> 32) as u32
    } else {
        drive.state += 1;
        if drive.state >= u64::from(drive.flows) {
            drive.state = 0;
        }
        drive.state as u32
    };
    // SAFETY: the bytes lie between the packet's start and end, checked above; the kernel loads unaligned words.
    unsafe {
        ((start + SOURCE) as *mut [u8; 4]).write(drive.base.wrapping_add(flow).to_be_bytes());
        if drive.advance != 0 {
            let sequence = (start + SEQUENCE) as *mut [u8; 4];
            sequence.write(u32::from_be_bytes(sequence.read()).wrapping_add(drive.advance).to_be_bytes());
        }
    }
}
