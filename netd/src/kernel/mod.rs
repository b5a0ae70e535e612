//! The kernel: the only room that names aya. It loads the programs, attaches and pins them, reads what they write,
//! and writes what they read.
//!
//! What is pinned outlives the daemon: a killed one leaves every program attached and every map as it was, and the
//! next adopts both. Programs are exchanged under the packets (`BPF_LINK_UPDATE`, filter replacement), never detached
//! and attached again.
//!
//! Order of use: [`Kernel::load`], [`Kernel::steering`] to set limits, [`Kernel::attach`], [`Kernel::take_over`], then
//! [`Kernel::follow`] and [`Kernel::heal`] while it runs. Dropping a [`Kernel`] unloads it, unless [`Kernel::keep`] was called.
//! Everything here belongs to the network namespace of the thread that calls.

mod attach;
mod btf;
mod cgroup;
mod control;
mod counters;
mod events;
mod filter;
mod flows;
mod health;
pub mod interfaces;
mod lists;
mod load;
mod maps;
mod offsets;
mod perf;
mod pins;
mod programs;
mod proof;
pub mod runs;
mod succession;
mod sys;
mod table;
mod tracepoints;

use std::{
    collections::BTreeMap,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use aya::programs::ProgramError;
use serde::Serialize;

use attach::Attached;
pub use attach::Direction;
pub use control::Steering;
pub use counters::{Counters, Totals};
pub use events::{Event, EventRef, Events};
use filter::Place;
pub use flows::{FlowTable, LiveSlot};
use health::Health;
pub use maps::VerdictMaps;
pub use offsets::find as find_offsets;
use pins::Pins;
pub use runs::Runs;
use table::Table;

/// Where netd's directory is unless told otherwise.
pub const DEFAULT_BPFFS: &str = "/sys/fs/bpf/netd";

/// Why the kernel did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} is not on a BPF file system", path.display())]
    NotBpffs { path: PathBuf },
    #[error("cannot mount a BPF file system at {}", path.display())]
    Mount { path: PathBuf, source: io::Error },
    #[error("cannot {doing} directory {}", path.display())]
    Directory { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is not a directory of this user's: somebody else made it", path.display())]
    ForeignDirectory { path: PathBuf },
    #[error("another netd is using {}", path.display())]
    InUse { path: PathBuf },
    #[error("{} is of a version unknown to this netd, and goes on enforcing: `netd unload` removes it", path.display())]
    UnknownLayout { path: PathBuf },
    #[error("what another version is attached to cannot be taken over: {what}; it goes on enforcing")]
    NotTakenOver { what: String },
    #[error("cannot {doing} the pin {}", path.display())]
    Pin { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot tell which network namespace this is")]
    Namespace { source: io::Error },
    #[error("cannot draw a random seed")]
    Random { source: io::Error },
    #[error("cannot load the kernel programs")]
    Object { source: Box<aya::EbpfError> },
    #[error("the object holds no {what} {name}")]
    Missing { what: &'static str, name: &'static str },
    #[error("the kernel refused program {name}")]
    Program { name: &'static str, source: Box<ProgramError> },
    #[error("map {name} has {found}, not {expected}: unload what another version left")]
    MapLayout { name: &'static str, found: String, expected: String },
    #[error("map {name} cannot hold more than {capacity} entries")]
    MapFull { name: &'static str, capacity: u32, source: io::Error },
    #[error("{wanted} entries of {name} take about {needed} MiB of kernel memory; {available} MiB are available")]
    NoMemory { name: &'static str, wanted: u64, needed: u64, available: u64 },
    #[error("failed {doing} map {name}")]
    Map { doing: &'static str, name: &'static str, source: io::Error },
    #[error("cannot read the ring buffer {name}")]
    RingBuffer { name: &'static str, source: Box<aya::maps::MapError> },
    #[error("cannot attach {program} to {target}")]
    Attach { program: &'static str, target: String, source: io::Error },
    #[error("cannot remove the filter from interface {ifindex}")]
    Filter { ifindex: u32, source: io::Error },
    #[error(transparent)]
    Interfaces(#[from] interfaces::Error),
}

/// Something the kernel lacks, without which netd goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Degraded {
    pub what: String,
    pub why: String,
    pub consequence: String,
}

impl Degraded {
    fn new(what: impl Into<String>, why: impl Into<String>, consequence: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into(), consequence: consequence.into() }
    }
}

/// Returns an error with all its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Some errors repeat their source in their own text.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// Where the early drop of listed hosts runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Xdp {
    /// In the driver, or in the stack where the driver cannot.
    #[default]
    Auto,
    Native,
    Generic,
    Off,
}

/// How to load. Sizes hold only for maps that are not pinned yet.
#[derive(Clone, Debug)]
pub struct Options {
    /// netd's own directory on a BPF file system.
    pub bpffs: PathBuf,
    /// Conversations each CPU can keep; rounded up to a power of two of sets.
    pub flows_per_cpu: u32,
    /// Rounded up to a power of two of pages.
    pub ring_bytes: u32,
    /// The same for records of processes.
    pub process_ring_bytes: u32,
    /// Sockets whose owners are kept.
    pub sockets: u32,
    /// Addresses that can be listed, and so on for the other tables. Those of hosts and prefixes are as large as what is
    /// listed: these are limits.
    pub hosts: u32,
    pub prefixes: u32,
    pub endpoints: u32,
    pub flow_verdicts: u32,
    pub allowed: u32,
    pub xdp: Xdp,
    /// Whether to attach to the cgroup tree: who opens a socket, and refusal with an error.
    pub cgroup: bool,
    /// Whether to see processes start, end and put their standard streams elsewhere.
    pub processes: bool,
    /// Whether to run at the return of accept(2), dup(2) and fcntl(2), for the price of a few nanoseconds on every
    /// system call of the host.
    pub returns: bool,
    /// Whether to look up where this kernel keeps what the programs read; without, they do without.
    pub offsets: bool,
    /// Use filters even where there are TCX links.
    pub force_clsact: bool,
    /// Version under which the maps are pinned: [`netd_common::names::ABI`], unless a test wants to be another version.
    pub layout: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bpffs: PathBuf::from(DEFAULT_BPFFS),
            flows_per_cpu: 65_536,
            ring_bytes: 8 << 20,
            process_ring_bytes: 2 << 20,
            sockets: 65_536,
            hosts: 1 << 20,
            prefixes: 1 << 18,
            endpoints: 65_536,
            flow_verdicts: 65_536,
            allowed: 65_536,
            xdp: Xdp::default(),
            cgroup: true,
            processes: true,
            returns: true,
            offsets: true,
            force_clsact: false,
            layout: netd_common::names::ABI,
        }
    }
}

/// The loaded programs and their maps.
#[derive(Debug)]
pub struct Kernel {
    pins: Pins,
    place: Place,
    /// Number of the network namespace, which names of pins carry.
    namespace: u64,
    programs: BTreeMap<&'static str, OwnedFd>,
    maps: BTreeMap<&'static str, OwnedFd>,
    possible_cpus: usize,
    steering: Steering,
    list_limits: lists::Limits,
    watched: Table<u32, u32>,
    attached: BTreeMap<u32, Attached>,
    /// Links to the cgroup tree, by pin.
    cgroup_links: BTreeMap<String, OwnedFd>,
    health: Health,
    /// What holds the programs that see processes.
    tracepoints: Vec<OwnedFd>,
    xdp: Xdp,
    cgroup: bool,
    processes: bool,
    returns: bool,
    /// Whether to try TCX links first; false once the kernel has said that it has none.
    tcx: bool,
    keep: bool,
}

/// What an unloading removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unloaded {
    pub links: usize,
    /// Filters in this network namespace; those of another are out of sight.
    pub filters: usize,
}

impl Kernel {
    /// Leaves everything attached and pinned when this is dropped.
    pub const fn keep(&mut self, keep: bool) {
        self.keep = keep;
    }

    /// Returns the writer of the control record.
    #[must_use]
    pub fn steering(&self) -> Steering {
        self.steering.clone()
    }

    /// Detaches and unpins everything.
    ///
    /// # Errors
    ///
    /// The first failure; the rest is removed all the same.
    pub fn unload(mut self) -> Result<Unloaded, Error> {
        self.keep = true;
        let unloaded = self.unload_now();
        self.pins.forget_former();
        unloaded
    }

    fn unload_now(&mut self) -> Result<Unloaded, Error> {
        self.attached.clear();
        unload_from(&self.pins, &self.place)
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if self.succeeds() {
            self.give_back();
            return;
        }
        if self.keep {
            return;
        }
        if let Err(error) = self.unload_now() {
            tracing::error!(error = chain(&error), "could not unload everything");
        }
    }
}

/// Detaches and unpins what a daemon left in `bpffs`, of whatever version.
///
/// # Errors
///
/// When a running netd holds it; else the first failure, and the rest is removed all the same.
pub fn unload(bpffs: &Path) -> Result<Unloaded, Error> {
    let place = Place::new(bpffs);
    match Pins::open_existing(bpffs)? {
        Some(pins) => unload_from(&pins, &place),
        None => Ok(Unloaded { links: 0, filters: remove_filters(&place)? }),
    }
}

fn unload_from(pins: &Pins, place: &Place) -> Result<Unloaded, Error> {
    let filters = remove_filters(place);
    let links = pins.clear();
    Ok(Unloaded { links: links?, filters: filters? })
}

fn remove_filters(place: &Place) -> Result<usize, Error> {
    let mut removed = 0;
    let mut failure = None;
    for ifindex in interfaces::indices()? {
        for direction in Direction::BOTH {
            match place.detach(ifindex, direction) {
                Ok(true) => removed += 1,
                Ok(false) => {}
                Err(source) => {
                    failure.get_or_insert(Error::Filter { ifindex, source });
                }
            }
        }
    }
    failure.map_or(Ok(removed), Err)
}
