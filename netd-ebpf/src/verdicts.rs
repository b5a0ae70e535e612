//! Verdicts as the programs apply them: look up, decide once a flow, act.

use aya_ebpf::maps::lpm_trie::Key;
use netd_common::{
    control::{Control, Mode},
    counter::Counter,
    flow::Slot,
    key::{Address, Endpoint, FlowKey},
    packet::Packet,
    verdict::{Action, FRONT_WORDS, Rule, RuleId, Subject, Verdicts, conform, decide, front_bit, near},
};

use crate::{
    context::{Context, Count, boot_ns, control},
    maps::{ALLOW, BLOCK_ENDPOINTS, BLOCK_FLOWS, BLOCK_HOSTS, BLOCK_PREFIXES, BUCKETS, FRONT, HITS, RULES},
};

/// What happens to a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Pass,
    Drop,
    Reset,
}

/// The lists of one generation: a packet is judged by the one it met first, whatever is swapped meanwhile.
struct KernelMaps {
    generation: u32,
    short_v6_prefixes: bool,
}

impl KernelMaps {
    #[inline(always)]
    fn new(control: &Control) -> Self {
        // SAFETY: a word of a map's value. Volatile, because it is to be read once: the daemon changes it meanwhile.
        let generation = unsafe { (&raw const control.lists).read_volatile() } & 1;
        Self { generation, short_v6_prefixes: control.short_v6_prefixes >> generation & 1 != 0 }
    }

    #[inline(always)]
    fn holding(&self, rule: Option<u32>) -> Option<RuleId> {
        let id = rule?;
        if holds(id) { Some(id) } else { None }
    }
}

/// An address looked up in a trie. The key is 20 bytes, and the verifier wants the address in it aligned on the stack:
/// so the key starts four bytes into this.
#[repr(C)]
struct Needle {
    _aligned: u32,
    bits: u32,
    address: Address,
}

impl Needle {
    #[inline(always)]
    fn new(address: &Address) -> Self {
        Self { _aligned: 0, bits: 128, address: *address }
    }

    #[inline(always)]
    fn key(&self) -> &Key<[u8; 16]> {
        // SAFETY: `bits` and `address` lie as in the packed `Key`, which has no alignment.
        unsafe { &*core::ptr::from_ref(&self.bits).cast() }
    }
}

impl Verdicts for KernelMaps {
    #[inline(always)]
    fn near(&self, address: &Address) -> u8 {
        let bit = front_bit(address);
        let Some(word) = FRONT.get(self.generation * FRONT_WORDS + (bit >> 6)) else { return near::ANYTHING };
        let near = (word >> (bit & 63)) as u8 & near::ANYTHING;
        if self.short_v6_prefixes && !address.is_v4() { near | near::PREFIX } else { near }
    }

    #[inline(always)]
    fn is_allowed(&self, address: &Address) -> bool {
        ALLOW.get(Needle::new(address).key()).is_some()
    }

    #[inline(always)]
    fn five_tuple(&self, key: &FlowKey) -> Option<RuleId> {
        // SAFETY: the value is a word, read once.
        self.holding(unsafe { BLOCK_FLOWS.get(key) }.copied())
    }

    #[inline(always)]
    fn endpoint(&self, endpoint: &Endpoint) -> Option<RuleId> {
        // SAFETY: the value is a word, read once.
        self.holding(unsafe { BLOCK_ENDPOINTS.get(endpoint) }.copied())
    }

    #[inline(always)]
    fn host(&self, address: &Address) -> Option<RuleId> {
        // SAFETY: the value is a word, read once.
        self.holding(unsafe { BLOCK_HOSTS.get(self.generation)?.get(address) }.copied())
    }

    #[inline(always)]
    fn prefix(&self, address: &Address) -> Option<RuleId> {
        self.holding(BLOCK_PREFIXES.get(self.generation)?.get(Needle::new(address).key()).copied())
    }
}

/// Returns the rule for a packet, 0 for none.
#[inline(always)]
pub fn rule_for(packet: &Packet, control: &Control) -> RuleId {
    let maps = KernelMaps::new(control);
    let conversation = &packet.conversation;
    if maps.near(&conversation.a) | maps.near(&conversation.b) == 0 {
        return 0;
    }
    look_up(packet, control)
}

/// Not inlined: what passes the front is rare, and the hooks stay small.
#[inline(never)]
fn look_up(packet: &Packet, control: &Control) -> RuleId {
    let key = packet.flow();
    decide(&KernelMaps::new(control), Subject { key: &key, has_ports: packet.has_ports() }).unwrap_or(0)
}

/// What a packet costs a rule.
#[derive(Clone, Copy)]
pub struct Weight {
    pub bytes: u64,
    pub packets: u32,
}

/// Judges a packet; its slot, where it has one, remembers the rule.
#[inline(always)]
pub fn judge(packet: &Packet, slot: Option<&mut Slot>, weight: Weight, now_ns: u64, control: &Control) -> Fate {
    if matches!(Mode::from_number(control.mode), Mode::Observe) || control.kill_switch != 0 {
        return Fate::Pass;
    }
    let rule = match slot {
        Some(slot) => {
            // Expired: a wider list may still hold, so the flow decides again.
            if slot.generation != control.generation || (slot.rule != 0 && !holds(slot.rule)) {
                slot.rule = rule_for(packet, control);
                slot.generation = control.generation;
            }
            slot.rule
        }
        None => rule_for(packet, control),
    };
    if rule == 0 {
        return Fate::Pass;
    }
    apply(rule, weight, now_ns, Context::Network)
}

/// Returns whether a rule holds. The clock is read for those alone that end some day.
#[inline(always)]
fn holds(rule: RuleId) -> bool {
    match RULES.get(rule) {
        Some(rule) => rule.expires_ns == u64::MAX || rule.holds(boot_ns()),
        None => false,
    }
}

/// Returns what a rule that holds does to a packet, and counts it.
#[inline(never)]
pub fn apply(id: RuleId, weight: Weight, now_ns: u64, context: Context) -> Fate {
    let (Some(rule), Some(count), Some(control)) = (RULES.get(id), Count::new(), control()) else {
        return Fate::Pass;
    };
    let Weight { bytes, packets } = weight;
    let packets = u64::from(packets);
    if control.heartbeat_is_stale(now_ns) {
        count.add_in(context, Counter::FailOpenPackets, packets);
        return Fate::Pass;
    }
    let fate = match Action::from_number(rule.action) {
        None => return Fate::Pass,
        Some(Action::Observe) => Fate::Pass,
        Some(Action::Drop) => Fate::Drop,
        Some(Action::Reset) => Fate::Reset,
        Some(Action::Throttle) => {
            if within_rate(id, rule, bytes, now_ns) {
                return Fate::Pass;
            }
            Fate::Drop
        }
    };
    let shadow = rule.shadow != 0 || matches!(Mode::from_number(control.mode), Mode::Shadow);
    if let Some(hits) = HITS.get_ptr_mut(id) {
        // SAFETY: only the fields' addresses are taken, of this CPU's own element.
        let (packet_hits, byte_hits) = unsafe {
            if shadow && fate != Fate::Pass {
                (&raw mut (*hits).shadow_packets, &raw mut (*hits).shadow_bytes)
            } else {
                (&raw mut (*hits).packets, &raw mut (*hits).bytes)
            }
        };
        context.add(packet_hits, packets);
        context.add(byte_hits, bytes);
    }
    if fate == Fate::Pass {
        return Fate::Pass;
    }
    if shadow {
        count.add_in(context, Counter::ShadowDropped, packets);
        return Fate::Pass;
    }
    if rule.action == Action::Throttle as u8 {
        count.add_in(context, Counter::ThrottleDropped, packets);
    }
    fate
}

/// Charges a packet to the rule's bucket. Two CPUs may charge at once and one charge be lost: a rate is then exceeded
/// by a packet, where a lock would stall the wire.
#[inline(always)]
fn within_rate(id: RuleId, rule: &Rule, bytes: u64, now_ns: u64) -> bool {
    let Some(bucket) = BUCKETS.get_ptr_mut(id) else { return true };
    // SAFETY: an aligned word of an array map, read and written whole.
    let arrival = unsafe { bucket.read_volatile() };
    let Some(next) = conform(rule, arrival, now_ns, bytes) else { return false };
    // SAFETY: as above.
    unsafe { bucket.write_volatile(next) };
    true
}
