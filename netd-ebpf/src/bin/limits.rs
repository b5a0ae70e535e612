//! Yardsticks for `make bench`: the kernel's own structures in place of netd's, as small as they can be.

#![no_std]
#![no_main]

#[path = "../reader.rs"]
mod reader;

use aya_ebpf::{
    bindings::TC_ACT_OK,
    helpers::bpf_ktime_get_coarse_ns,
    macros::{classifier, map},
    maps::{LruPerCpuHashMap, PerCpuArray, RingBuf},
    programs::TcContext,
};
use netd_common::{
    key::ConversationKey,
    packet::{self, Packet},
};
use reader::Linear;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

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
static LRU: LruPerCpuHashMap<ConversationKey, Bare> = LruPerCpuHashMap::with_max_entries(1 << 16, 0);

#[map]
static LIMIT_EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// See `reader::joined`.
#[map]
static CELL: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

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
    let Some(cell) = CELL.get_ptr_mut(0) else { return TC_ACT_OK };
    // SAFETY: only the fields' addresses are taken, of a context that outlives the program's run.
    let (data, data_end) = unsafe { (&raw const (*ctx.skb.skb).data, &raw const (*ctx.skb.skb).data_end) };
    let linear = Linear::new(data, data_end, cell);
    let mut packet = Packet::EMPTY;
    if packet::ethernet(&linear, ctx.len(), None, &mut packet).is_err() {
        return TC_ACT_OK;
    }
    let key = packet.conversation;
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    if let Some(bare) = LRU.get_ptr_mut(&key) {
        // SAFETY: this CPU's own value.
        let bare = unsafe { &mut *bare };
        bare.packets += 1;
        bare.bytes += u64::from(ctx.len());
        bare.last_ns = now;
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
