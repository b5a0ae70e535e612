//! netd's own programs under test, their records and their bookkeeping.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use aya::maps::{ArrayOfMaps, HashMap, LpmTrie, MapData, PerCpuArray, RingBuf, lpm_trie::Key};
use netd_common::{
    control::{Control, Mode},
    counter::{Counter, Counters},
    flow::{HashKeys, Set, WAYS, ticks},
    names::{TC_INGRESS, XDP_INGRESS, maps},
    record::{FlowEvent, FlowRecord, Kind},
    verdict::{Action, Rule},
};
use zerocopy::{FromBytes as _, transmute};

use super::{kernel::Object, lists::Lists, options::Options};

/// Flows a CPU's table holds when nobody chose otherwise.
pub(crate) const DEFAULT_FLOWS: u32 = 65_536;

/// The rule that everything listed names.
const RULE: u32 = 1;

pub(crate) struct Netd {
    pub(crate) object: Object,
    events: RingBuf<MapData>,
    control: Control,
    cpus: u32,
    /// What the records have told.
    records: u64,
    reported_packets: u64,
}

/// `BPF_F_NO_PREALLOC`, without which there is no trie.
const NO_PREALLOC: u32 = 1;

/// Returns the size of a map for so many entries, none of which is refused.
fn room(entries: usize) -> u32 {
    u32::try_from(entries + 1).unwrap_or(u32::MAX)
}

/// Where every packet went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Balance {
    pub(crate) seen: u64,
    pub(crate) reported: u64,
    pub(crate) in_table: u64,
    pub(crate) counted_lost: u64,
    pub(crate) records: u64,
}

impl Balance {
    /// Returns packets that are nowhere, or twice.
    pub(crate) fn missing(&self) -> u64 {
        self.seen.abs_diff(self.reported + self.in_table + self.counted_lost)
    }
}

impl Netd {
    /// Loads the programs; verdicts act.
    pub(crate) fn load(options: &Options, flows_per_cpu: u32) -> Result<Self> {
        let committed = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../netd-ebpf/netd.bpf.o"));
        let path = options.object.clone().unwrap_or_else(committed);
        Self::load_from(&path, flows_per_cpu)
    }

    fn load_from(path: &Path, flows_per_cpu: u32) -> Result<Self> {
        let cpus = aya::util::nr_cpus().map_err(|(file, error)| anyhow::anyhow!("{file}: {error}"))? as u32;
        let sets = flows_per_cpu.div_ceil(WAYS as u32).next_power_of_two();
        let sizes = [(maps::FLOWS, sets * cpus)];
        let mut object = Object::load(path, &[TC_INGRESS, XDP_INGRESS], &sizes)?;
        let events = object.ebpf.take_map(maps::EVENTS).context("no map EVENTS")?;
        let control = Control {
            generation: 1,
            mode: Mode::Enforce as u32,
            turn_gap: ticks(750_000_000),
            active_timeout: ticks(60_000_000_000),
            cpus,
            set_mask: sets - 1,
            hash_keys: HashKeys::from_seed(0x6e65_7464),
            ..Control::default()
        };
        let mut netd = Self { object, events: events.try_into()?, control, cpus, records: 0, reported_packets: 0 };
        netd.steer(control)?;
        Ok(netd)
    }

    fn steer(&mut self, control: Control) -> Result<()> {
        self.control = control;
        let bytes: [u8; size_of::<Control>()] = transmute!(control);
        self.object.put(maps::CONTROL, 0, bytes)
    }

    pub(crate) fn set_mode(&mut self, mode: Mode) -> Result<()> {
        self.steer(Control { mode: mode as u32, ..self.control })
    }

    /// Drops what is listed.
    pub(crate) fn list(&mut self, lists: &Lists) -> Result<()> {
        let rule: [u8; size_of::<Rule>()] = transmute!(Rule::new(Action::Drop, u64::MAX));
        self.object.put(maps::RULES, RULE, rule)?;
        let mut front = self.object.array::<u64>(maps::FRONT)?;
        for (word, bits) in lists.front() {
            front.set(word, bits, 0)?;
        }
        let mut hosts = HashMap::<MapData, [u8; 16], u32>::create(room(lists.hosts.len()), 0)?;
        for host in &lists.hosts {
            hosts.insert(host.0, RULE, 0)?;
        }
        let map = self.object.ebpf.map_mut(maps::BLOCK_HOSTS).context("no map BLOCK_HOSTS")?;
        ArrayOfMaps::try_from(map)?.set(0, &hosts, 0)?;
        let mut prefixes = LpmTrie::<MapData, [u8; 16], u32>::create(room(lists.prefixes.len()), NO_PREALLOC)?;
        for prefix in &lists.prefixes {
            prefixes.insert(&Key::new(prefix.bits, prefix.address), RULE, 0)?;
        }
        let map = self.object.ebpf.map_mut(maps::BLOCK_PREFIXES).context("no map BLOCK_PREFIXES")?;
        ArrayOfMaps::try_from(map)?.set(0, &prefixes, 0)?;
        self.steer(Control { generation: self.control.generation + 1, ..self.control })
    }

    /// Reads every record there is.
    pub(crate) fn drain(&mut self) {
        while let Some(record) = self.events.next() {
            self.records += 1;
            let Ok(record) = FlowRecord::read_from_bytes(&record) else { continue };
            if record.header.kind != Kind::Flow as u16 {
                continue;
            }
            // The last of a slot's counters; others come again.
            if let Some(FlowEvent::Evicted | FlowEvent::Reused) = FlowEvent::from_number(record.event) {
                self.reported_packets += record.packets.iter().copied().map(u64::from).sum::<u64>();
            }
        }
    }

    /// Adds up where every packet since loading is.
    pub(crate) fn balance(&mut self) -> Result<Balance> {
        self.drain();
        let map = self.object.ebpf.map_mut(maps::COUNTERS).context("no map COUNTERS")?;
        let counters = PerCpuArray::<_, [u64; size_of::<Counters>() / 8]>::try_from(map)?.get(&0, 0)?;
        let totals: Vec<_> = counters.iter().map(|cpu| transmute!(*cpu)).map(|cpu: Counters| cpu.totals()).collect();
        let sum = |counter: Counter| totals.iter().map(|cpu| cpu[counter as usize]).sum::<u64>();
        let (seen, counted_lost) = (sum(Counter::IngressPackets), sum(Counter::UnaccountedPackets));
        let table = self.object.array::<[u8; size_of::<Set>()]>(maps::FLOWS)?;
        let mut in_table = 0;
        for index in 0..table.len() {
            let set: Set = transmute!(table.get(&index, 0)?);
            let taken = set.tags.iter().zip(&set.slots).filter(|(tag, _)| **tag != 0);
            in_table += taken.flat_map(|(_, slot)| slot.packets).map(u64::from).sum::<u64>();
        }
        Ok(Balance { seen, reported: self.reported_packets, in_table, counted_lost, records: self.records })
    }

    pub(crate) fn cpus(&self) -> u32 {
        self.cpus
    }
}
