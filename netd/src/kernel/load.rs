//! Loading: the object's maps, made or adopted, and its programs.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapData},
    util::KernelVersion,
};
use netd_common::{
    flow::{HashKeys, WAYS},
    names::{self, maps},
    offsets::Offsets,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use zerocopy::IntoBytes;

use super::{
    Counters, Degraded, Error, Events, FlowTable, Kernel, Options, Steering, VerdictMaps, chain,
    filter::Place,
    health::Health,
    lists::{self, Homes, Lists, Outer},
    offsets,
    pins::{Pins, open_pin},
    programs, sys,
    table::{Plain, Table},
};

/// Built by `make ebpf`, committed, and put here by the build script.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/netd.bpf.o"));

/// Kinds of map (`enum bpf_map_type`).
pub(super) const HASH: u32 = 1;
const ARRAY: u32 = 2;
const PER_CPU_ARRAY: u32 = 6;
const LRU_HASH: u32 = 9;
pub(super) const LPM_TRIE: u32 = 11;
const ARRAY_OF_MAPS: u32 = 12;
const RING_BUFFER: u32 = 27;

/// Every map of the object, and its kind.
const MAPS: [(&str, u32); 20] = [
    (maps::CONTROL, ARRAY),
    (maps::COUNTERS, PER_CPU_ARRAY),
    (maps::FLOWS, ARRAY),
    (maps::EVENTS, RING_BUFFER),
    (maps::PROCESSES, RING_BUFFER),
    (maps::SOCKETS, LRU_HASH),
    (maps::REDIRECTS, LRU_HASH),
    (maps::RULES, ARRAY),
    (maps::BUCKETS, ARRAY),
    (maps::HITS, PER_CPU_ARRAY),
    (maps::FRONT, ARRAY),
    (maps::ALLOW, LPM_TRIE),
    (maps::BLOCK_FLOWS, HASH),
    (maps::BLOCK_ENDPOINTS, HASH),
    (maps::BLOCK_HOSTS, ARRAY_OF_MAPS),
    (maps::BLOCK_PREFIXES, ARRAY_OF_MAPS),
    (maps::WATCHED, HASH),
    (maps::LAST_INGRESS, PER_CPU_ARRAY),
    (maps::SCRATCH, PER_CPU_ARRAY),
    (maps::PACKET, PER_CPU_ARRAY),
];

impl Kernel {
    /// Loads the programs, over the maps that a former run pinned or over new ones. Attaches nothing.
    ///
    /// # Errors
    ///
    /// When netd cannot work at all; what was attached before is then as it was.
    pub fn load(options: &Options) -> Result<(Self, Vec<Degraded>), Error> {
        let pins = Pins::open(&options.bpffs, options.layout)?;
        match load(&pins, options) {
            Ok(loaded) => loaded.finish(pins, options),
            Err(error) => {
                // Maps that nobody uses yet would only stay in the way; another layout's are in use.
                if pins.is_new
                    && let Err(error) = pins.withdraw()
                {
                    tracing::warn!(error = chain(&error), "could not remove what the failed loading had pinned");
                }
                Err(error)
            }
        }
    }

    /// Returns the reader of flows, turns, payload and sockets. There must be one at a time: two would take each other's
    /// records.
    ///
    /// # Errors
    ///
    /// When the ring buffer cannot be mapped.
    pub fn events(&self) -> Result<Events, Error> {
        self.reader(maps::EVENTS)
    }

    /// Returns the reader of processes: what starts, ends and puts its streams elsewhere. It is woken at once for what may
    /// be a shell. As [`Kernel::events`], there must be one at a time.
    ///
    /// # Errors
    ///
    /// When the ring buffer cannot be mapped.
    pub fn processes(&self) -> Result<Events, Error> {
        self.reader(maps::PROCESSES)
    }

    fn reader(&self, name: &'static str) -> Result<Events, Error> {
        let failed = |source| Error::RingBuffer { name, source: Box::new(source) };
        let data = MapData::from_fd(self.map(name)?).map_err(failed)?;
        Ok(Events::new(Map::from_map_data(data).and_then(TryInto::try_into).map_err(failed)?))
    }

    /// Returns the reader of the counters.
    ///
    /// # Errors
    ///
    /// When the process has no descriptors left, and so for the rest.
    pub fn counters(&self) -> Result<Counters, Error> {
        let table = Table::open_per_cpu(maps::COUNTERS, self.map(maps::COUNTERS)?, self.possible_cpus)?;
        Ok(Counters { table })
    }

    /// Returns the flow table.
    ///
    /// # Errors
    ///
    /// When it cannot be mapped into memory.
    pub fn flows(&self) -> Result<FlowTable, Error> {
        let fd = self.map(maps::FLOWS)?;
        let info = info(maps::FLOWS, fd.as_fd())?;
        if info.value_size as usize != size_of::<netd_common::flow::Set>() {
            return Err(Error::MapLayout {
                name: maps::FLOWS,
                found: format!("{}-byte values", info.value_size),
                expected: size_of::<netd_common::flow::Set>().to_string(),
            });
        }
        FlowTable::map(fd, info.max_entries, self.possible_cpus)
    }

    /// Returns the maps that hold verdicts.
    ///
    /// # Errors
    ///
    /// When another version's maps are pinned.
    pub fn verdict_maps(&self) -> Result<VerdictMaps, Error> {
        Ok(VerdictMaps {
            rules: self.table(maps::RULES)?,
            buckets: self.table(maps::BUCKETS)?,
            hits: Table::open_per_cpu(maps::HITS, self.map(maps::HITS)?, self.possible_cpus)?,
            front: self.table(maps::FRONT)?,
            allow: self.table(maps::ALLOW)?,
            flows: self.table(maps::BLOCK_FLOWS)?,
            endpoints: self.table(maps::BLOCK_ENDPOINTS)?,
            lists: self.lists()?,
            steering: self.steering(),
            provers: self.provers()?,
        })
    }

    /// Returns a program's descriptor, for `BPF_PROG_TEST_RUN` and for what the kernel knows of it; `None` when the
    /// kernel refused the program.
    #[must_use]
    pub fn program(&self, name: &str) -> Option<BorrowedFd<'_>> {
        self.programs.get(name).map(AsFd::as_fd)
    }

    fn lists(&self) -> Result<Lists, Error> {
        let outer = Outer { hosts: self.map(maps::BLOCK_HOSTS)?, prefixes: self.map(maps::BLOCK_PREFIXES)? };
        Lists::open(outer, Homes::of(&self.pins), self.list_limits, self.steering())
    }

    fn map(&self, name: &'static str) -> Result<OwnedFd, Error> {
        duplicate(&self.maps, name)
    }

    fn table<K: Plain, V: Plain>(&self, name: &'static str) -> Result<Table<K, V>, Error> {
        Table::open(name, self.map(name)?)
    }
}

struct Loaded {
    programs: BTreeMap<&'static str, OwnedFd>,
    maps: BTreeMap<&'static str, OwnedFd>,
    possible_cpus: usize,
    steering: Steering,
    watched: Table<u32, u32>,
    namespace: u64,
    degraded: Vec<Degraded>,
}

impl Loaded {
    fn finish(self, pins: Pins, options: &Options) -> Result<(Kernel, Vec<Degraded>), Error> {
        let Self { programs, maps, possible_cpus, steering, watched, namespace, degraded } = self;
        let kernel = Kernel {
            list_limits: lists::Limits { hosts: options.hosts.max(1), prefixes: options.prefixes.max(1) },
            pins,
            place: Place::new(&options.bpffs),
            namespace,
            programs,
            maps,
            possible_cpus,
            steering,
            watched,
            attached: BTreeMap::new(),
            cgroup_links: BTreeMap::new(),
            health: Health::default(),
            tracepoints: Vec::new(),
            xdp: options.xdp,
            cgroup: options.cgroup,
            processes: options.processes,
            returns: options.returns,
            tcx: !options.force_clsact,
            keep: false,
        };
        // The generation that answers is there before any program is attached.
        kernel.lists()?;
        Ok((kernel, degraded))
    }
}

fn load(pins: &Pins, options: &Options) -> Result<Loaded, Error> {
    raise_locked_memory();
    let namespace = std::fs::metadata("/proc/thread-self/ns/net").map_err(|source| Error::Namespace { source })?.ino();
    let possible_cpus = aya::util::nr_cpus().map_err(|(_, source)| Error::Map {
        doing: "counting the CPUs of",
        name: maps::COUNTERS,
        source,
    })?;
    let (offsets, mut degraded) = if options.offsets { offsets::find() } else { (Offsets::UNKNOWN, Vec::new()) };

    let mut object = open_object(pins, options, possible_cpus, &offsets)?;
    let programs = programs::load(&mut object, &mut degraded)?;
    let maps = open_maps(pins)?;

    let steering = steering(&maps, possible_cpus)?;
    let watched = Table::open(maps::WATCHED, duplicate(&maps, maps::WATCHED)?)?;
    Ok(Loaded { programs, maps, possible_cpus, steering, watched, namespace, degraded })
}

/// Parses the object and makes its maps, or opens those that are pinned.
fn open_object(pins: &Pins, options: &Options, possible_cpus: usize, offsets: &Offsets) -> Result<Ebpf, Error> {
    let mut loader = EbpfLoader::new();
    loader.override_global(names::OFFSETS, offsets.as_bytes(), true);
    let wanted = sizes(options, possible_cpus);
    for (name, kind) in MAPS {
        let path = pins.map(name);
        let size = match open_pin(&path)? {
            Some(map) => Some(adopted_size(name, kind, map.as_fd(), wanted.get(name).copied())?),
            None => wanted.get(name).copied(),
        };
        if let Some(size) = size {
            loader.map_max_entries(name, size);
        }
        loader.map_pin_path(name, path);
    }
    loader.load(OBJECT).map_err(|source| Error::Object { source: Box::new(source) })
}

/// Returns the sizes that [`Options`] ask for.
fn sizes(options: &Options, possible_cpus: usize) -> BTreeMap<&'static str, u32> {
    let sets_per_cpu = options.flows_per_cpu.max(1).div_ceil(WAYS as u32).next_power_of_two();
    let sets = sets_per_cpu.saturating_mul(possible_cpus as u32);
    BTreeMap::from([
        (maps::FLOWS, sets),
        (maps::EVENTS, options.ring_bytes.max(4_096).next_power_of_two()),
        (maps::PROCESSES, options.process_ring_bytes.max(4_096).next_power_of_two()),
        (maps::SOCKETS, options.sockets.max(1)),
        (maps::ALLOW, options.allowed.max(1)),
        (maps::BLOCK_FLOWS, options.flow_verdicts.max(1)),
        (maps::BLOCK_ENDPOINTS, options.endpoints.max(1)),
    ])
}

/// Returns the size of a pinned map, which wins over the one asked for: resizing would lose what is in it.
fn adopted_size(name: &'static str, kind: u32, map: BorrowedFd<'_>, wanted: Option<u32>) -> Result<u32, Error> {
    let info = info(name, map)?;
    if info.map_type != kind {
        return Err(Error::MapLayout {
            name,
            found: format!("type {}", info.map_type),
            expected: format!("type {kind}"),
        });
    }
    if let Some(wanted) = wanted
        && wanted != info.max_entries
    {
        tracing::info!(
            map = name,
            size = info.max_entries,
            wanted,
            "keeping the size of the pinned map; unload first to change it"
        );
    }
    Ok(info.max_entries)
}

/// Opens every map where the loader has pinned it.
fn open_maps(pins: &Pins) -> Result<BTreeMap<&'static str, OwnedFd>, Error> {
    MAPS.iter()
        .map(|(name, _)| Ok((*name, open_pin(&pins.map(name))?.ok_or(Error::Missing { what: "map", name })?)))
        .collect()
}

/// Opens the control record; fills in what the programs need to know of the maps, when these are new.
fn steering(taken: &BTreeMap<&'static str, OwnedFd>, possible_cpus: usize) -> Result<Steering, Error> {
    let steering = Steering::adopt(Table::open(maps::CONTROL, duplicate(taken, maps::CONTROL)?)?)?;
    let sets = info(maps::FLOWS, duplicate(taken, maps::FLOWS)?.as_fd())?.max_entries;
    let sets_per_cpu = sets / possible_cpus as u32;
    if !sets_per_cpu.is_power_of_two() || sets_per_cpu * possible_cpus as u32 != sets {
        return Err(Error::MapLayout {
            name: maps::FLOWS,
            found: format!("{sets} sets"),
            expected: format!("a power of two for each of {possible_cpus} CPUs"),
        });
    }
    let found = steering.current().hash_keys;
    let keys = if found == HashKeys([0; 11]) { HashKeys::from_seed(random_seed()?) } else { found };
    steering.update(|control| {
        control.cpus = possible_cpus as u32;
        control.set_mask = sets_per_cpu - 1;
        control.hash_keys = keys;
    })?;
    Ok(steering)
}

fn random_seed() -> Result<u64, Error> {
    let mut seed = [0; 8];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut seed))
        .map_err(|source| Error::Random { source })?;
    Ok(u64::from_ne_bytes(seed))
}

fn info(name: &'static str, map: BorrowedFd<'_>) -> Result<sys::MapInfo, Error> {
    sys::map_info(map).map_err(|source| Error::Map { doing: "asking about", name, source })
}

fn duplicate(taken: &BTreeMap<&'static str, OwnedFd>, name: &'static str) -> Result<OwnedFd, Error> {
    let map = taken.get(name).ok_or(Error::Missing { what: "map", name })?;
    map.try_clone().map_err(|source| Error::Map { doing: "duplicating", name, source })
}

/// Before 5.11 maps counted as locked memory (bpf: Eliminate rlimit-based memory accounting, 755e5d55367a).
fn raise_locked_memory() {
    let old = KernelVersion::current().is_ok_and(|version| version < KernelVersion::new(5, 11, 0));
    if old && setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None }).is_err() {
        tracing::warn!("cannot raise the limit of locked memory; large maps may be refused");
    }
}
