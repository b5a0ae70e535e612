//! The committed object in the kernel: small maps of its own, nothing pinned, nothing attached, packets by
//! `BPF_PROG_TEST_RUN`.

mod context;
mod lists;
mod records;

use std::path::Path;

use aya::{
    Ebpf, EbpfLoader, TestRun, TestRunOptions,
    maps::{Array, Map, MapData, PerCpuArray, RingBuf},
    programs::{SchedClassifier, Xdp},
    util::nr_cpus,
};
pub(crate) use context::{SkBuff, XdpMd};
pub(crate) use lists::{Level, directed};
use netd_common::{
    control::{Control, Mode},
    counter::{Counter, Counters},
    flow::{HashKeys, Set, Slot, tag, ticks},
    key::ConversationKey,
    names::maps,
    verdict::{Hits, RuleId},
};
use nix::{
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};
pub(crate) use records::Record;
use zerocopy::{FromBytes, IntoBytes};

/// What the classifiers answer: `TC_ACT_UNSPEC` passes a packet on to the next program.
pub(crate) const PASS: u32 = u32::MAX;
pub(crate) const SHOT: u32 = 2;
pub(crate) const REDIRECT: u32 = 7;
/// What XDP answers.
pub(crate) const XDP_DROP: u32 = 1;
pub(crate) const XDP_PASS: u32 = 2;

/// The seed of the flow table's hash, the same in every test.
pub(crate) const HASH_SEED: u64 = 7;

/// Rules, and keys of a kind, that a test may list.
const RULES: u32 = 1024;

/// How large the maps are that a test may fill.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Sets of the flow table per CPU, a power of two.
    pub(crate) sets: u32,
    /// Bytes of the ring buffer.
    pub(crate) events: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { sets: 16, events: 1 << 18 }
    }
}

/// What a program answered, and how it left the packet.
pub(crate) struct Outcome {
    pub(crate) action: u32,
    pub(crate) frame: Vec<u8>,
    pub(crate) context: SkBuff,
}

pub(crate) struct Kernel {
    bpf: Ebpf,
    events: RingBuf<MapData>,
    control: Control,
    cpu: usize,
    next_rule: RuleId,
}

/// Returns the bytes of the committed object.
pub(crate) fn object() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../netd-ebpf/netd.bpf.o");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Kernel {
    /// Enforces, with a daemon that never falls silent, on the calling thread's CPU.
    pub(crate) fn load() -> Self {
        Self::with_sizes(Sizes::default())
    }

    pub(crate) fn with_sizes(sizes: Sizes) -> Self {
        let cpus = nr_cpus().unwrap() as u32;
        let mut bpf = EbpfLoader::new()
            .map_max_entries(maps::FLOWS, sizes.sets * cpus)
            .map_max_entries(maps::EVENTS, sizes.events)
            .map_max_entries(maps::SOCKETS, 64)
            .map_max_entries(maps::RULES, RULES)
            .map_max_entries(maps::BUCKETS, RULES)
            .map_max_entries(maps::HITS, RULES)
            .map_max_entries(maps::BLOCK_FLOWS, RULES)
            .map_max_entries(maps::BLOCK_ENDPOINTS, RULES)
            .load(&object())
            .unwrap();
        let events = RingBuf::try_from(bpf.take_map(maps::EVENTS).unwrap()).unwrap();
        let control = Control {
            generation: 1,
            mode: Mode::Enforce as u32,
            turn_gap: ticks(2_000_000_000),
            active_timeout: ticks(300_000_000_000),
            cpus,
            set_mask: sizes.sets - 1,
            hash_keys: HashKeys::from_seed(HASH_SEED),
            ..Control::default()
        };
        let mut kernel = Self { bpf, events, control, cpu: 0, next_rule: 1 };
        kernel.make_lists(RULES);
        kernel.move_to(sched_getcpu().unwrap());
        kernel.steer(|_| {});
        kernel
    }

    /// Runs what follows on a CPU.
    pub(crate) fn move_to(&mut self, cpu: usize) {
        let mut set = CpuSet::new();
        set.set(cpu).unwrap();
        sched_setaffinity(Pid::from_raw(0), &set).unwrap();
        self.cpu = cpu;
    }

    pub(crate) fn cpu(&self) -> usize {
        self.cpu
    }

    pub(crate) fn control(&self) -> &Control {
        &self.control
    }

    /// Changes the control record.
    pub(crate) fn steer(&mut self, change: impl FnOnce(&mut Control)) {
        change(&mut self.control);
        let mut bytes = [0; size_of::<Control>()];
        bytes.copy_from_slice(self.control.as_bytes());
        self.array::<{ size_of::<Control>() }>(maps::CONTROL).set(0, bytes, 0).unwrap();
    }

    pub(crate) fn set_mode(&mut self, mode: Mode) {
        self.steer(|control| control.mode = mode as u32);
    }

    /// Makes every conversation decide again, as the daemon does after a list has changed.
    pub(crate) fn new_generation(&mut self) {
        self.steer(|control| control.generation += 1);
    }

    /// Runs a classifier over a packet.
    pub(crate) fn run(&mut self, program: &str, frame: &[u8]) -> Outcome {
        self.run_with(program, frame, &SkBuff::default())
    }

    /// The same with what the packet's metadata say.
    pub(crate) fn run_with(&mut self, program: &str, frame: &[u8], context: &SkBuff) -> Outcome {
        let mut data = vec![0; frame.len() + 256];
        let mut after = SkBuff::default();
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut data),
            ctx_in: Some(context.as_bytes()),
            ctx_out: Some(after.as_mut_bytes()),
            ..TestRunOptions::new()
        };
        let result = self.classifier(program).test_run(options).unwrap();
        data.truncate(result.data_size_out as usize);
        Outcome { action: result.return_value, frame: data, context: after }
    }

    /// Runs a classifier over a packet and returns its answer alone; `None` where the kernel takes no such packet.
    pub(crate) fn answer(&mut self, program: &str, frame: &[u8]) -> Option<u32> {
        self.answer_with(program, frame, &SkBuff::default())
    }

    /// The same with what the packet's metadata say.
    pub(crate) fn answer_with(&mut self, program: &str, frame: &[u8], context: &SkBuff) -> Option<u32> {
        let options =
            TestRunOptions { data_in: Some(frame), ctx_in: Some(context.as_bytes()), ..TestRunOptions::new() };
        self.classifier(program).test_run(options).ok().map(|result| result.return_value)
    }

    /// Runs `xdp_ingress` over a packet.
    pub(crate) fn run_xdp(&mut self, frame: &[u8]) -> u32 {
        let context = XdpMd { data_end: frame.len() as u32, ..XdpMd::default() };
        let options =
            TestRunOptions { data_in: Some(frame), ctx_in: Some(context.as_bytes()), ..TestRunOptions::new() };
        self.xdp().test_run(options).unwrap().return_value
    }

    /// Returns a classifier, loaded.
    pub(crate) fn classifier(&mut self, name: &str) -> &mut SchedClassifier {
        let program: &mut SchedClassifier = self.bpf.program_mut(name).unwrap().try_into().unwrap();
        if program.fd().is_err() {
            program.load().unwrap();
        }
        program
    }

    fn xdp(&mut self) -> &mut Xdp {
        let program: &mut Xdp = self.bpf.program_mut(netd_common::names::XDP_INGRESS).unwrap().try_into().unwrap();
        if program.fd().is_err() {
            program.load().unwrap();
        }
        program
    }

    /// Returns a counter's sum over all CPUs.
    pub(crate) fn count(&self, counter: Counter) -> u64 {
        self.counters()[counter as usize]
    }

    /// Returns the sums of all counters over all CPUs, by index.
    pub(crate) fn counters(&self) -> [u64; Counter::SLOTS] {
        let map = self.bpf.map(maps::COUNTERS).unwrap();
        let per_cpu = PerCpuArray::<_, [u64; size_of::<Counters>() / 8]>::try_from(map).unwrap().get(&0, 0).unwrap();
        let mut sums = [0; Counter::SLOTS];
        for counters in per_cpu.iter() {
            let counters = Counters::read_from_bytes(counters.as_bytes()).unwrap();
            for (sum, counter) in sums.iter_mut().zip(counters.totals()) {
                *sum += counter;
            }
        }
        sums
    }

    /// Returns what a rule met, on all CPUs.
    pub(crate) fn hits(&self, rule: RuleId) -> Hits {
        let map = self.bpf.map(maps::HITS).unwrap();
        let per_cpu = PerCpuArray::<_, [u64; 4]>::try_from(map).unwrap().get(&rule, 0).unwrap();
        let mut sum = Hits::default();
        for [packets, bytes, shadow_packets, shadow_bytes] in per_cpu.iter() {
            sum.packets += packets;
            sum.bytes += bytes;
            sum.shadow_packets += shadow_packets;
            sum.shadow_bytes += shadow_bytes;
        }
        sum
    }

    /// Takes every record out of the ring buffer.
    pub(crate) fn drain(&mut self) -> Vec<Record> {
        std::iter::from_fn(|| self.events.next().map(|bytes| Record::read(&bytes))).collect()
    }

    /// Takes one record out of the ring buffer.
    pub(crate) fn next_record(&mut self) -> Option<Record> {
        self.events.next().map(|bytes| Record::read(&bytes))
    }

    /// Returns the set of the flow table that a conversation belongs to, on the CPU the test runs on.
    pub(crate) fn set_of(&self, key: &ConversationKey) -> Set {
        self.set_at(self.set_index(key))
    }

    /// Returns a conversation's slot and the tick of its last packet.
    pub(crate) fn slot(&self, key: &ConversationKey) -> Option<(Slot, u32)> {
        let set = self.set_of(key);
        let way = set.find(tag(self.control.hash_keys.hash(key)), key)?;
        Some((set.slots[way], set.last[way]))
    }

    /// Makes a conversation's past lie `ticks` further back.
    pub(crate) fn age(&mut self, key: &ConversationKey, ticks: u32) {
        let index = self.set_index(key);
        let mut set = self.set_at(index);
        let way = set.find(tag(self.control.hash_keys.hash(key)), key).expect("the conversation has a slot");
        let slot = &mut set.slots[way];
        for tick in [&mut slot.first, &mut slot.last_payload, &mut slot.reported, &mut set.last[way]] {
            *tick = tick.wrapping_sub(ticks);
        }
        let mut bytes = [0; size_of::<Set>()];
        bytes.copy_from_slice(set.as_bytes());
        self.array::<{ size_of::<Set>() }>(maps::FLOWS).set(index, bytes, 0).unwrap();
    }

    /// Returns every slot in use, of all CPUs.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        let sets = (self.control.set_mask + 1) * self.control.cpus;
        let taken =
            |set: Set| (0..set.tags.len()).filter(move |way| set.tags[*way] != 0).map(move |way| set.slots[way]);
        (0..sets).flat_map(|index| taken(self.set_at(index))).collect()
    }

    fn set_index(&self, key: &ConversationKey) -> u32 {
        let hash = self.control.hash_keys.hash(key);
        self.cpu as u32 * (self.control.set_mask + 1) + (hash & self.control.set_mask)
    }

    fn set_at(&self, index: u32) -> Set {
        let map = self.bpf.map(maps::FLOWS).unwrap();
        let bytes = Array::<_, [u8; size_of::<Set>()]>::try_from(map).unwrap().get(&index, 0).unwrap();
        Set::read_from_bytes(&bytes).unwrap()
    }

    fn array<const N: usize>(&mut self, name: &str) -> Array<&mut MapData, [u8; N]> {
        Array::try_from(self.map(name)).unwrap()
    }

    fn map(&mut self, name: &str) -> &mut Map {
        self.bpf.map_mut(name).unwrap()
    }
}
