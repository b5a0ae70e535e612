//! Programs and maps of one object, and what a packet costs a program.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, MapData, ProgramArray},
    programs::{Program, ProgramFd, SchedClassifier, TestRun as _, TestRunOptions, Xdp},
};
use rustix::{
    thread::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_gettime},
};
use zerocopy::IntoBytes;

/// The yardsticks, and the drivers.
pub(crate) const LIMITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../netd-ebpf/limits.bpf.o");

/// A loaded object.
pub(crate) struct Object {
    pub(crate) ebpf: Ebpf,
}

impl Object {
    /// Loads an object with these programs and map sizes.
    pub(crate) fn load(path: &Path, programs: &[&str], sizes: &[(&str, u32)]) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut loader = EbpfLoader::new();
        for (map, size) in sizes {
            loader.map_max_entries(map, *size);
        }
        let mut ebpf = loader.load(&bytes).with_context(|| format!("cannot load {}", path.display()))?;
        for name in programs {
            load(ebpf.program_mut(name).with_context(|| format!("no program {name}"))?)
                .with_context(|| format!("the kernel refuses {name}"))?;
        }
        Ok(Self { ebpf })
    }

    /// Returns an array's handle; its elements are bytes.
    pub(crate) fn array<V: Pod>(&mut self, name: &str) -> Result<Array<&mut MapData, V>> {
        let map = self.ebpf.map_mut(name).with_context(|| format!("no map {name}"))?;
        Ok(map.try_into()?)
    }

    /// Writes an array's element.
    pub(crate) fn put<V: Pod>(&mut self, name: &str, index: u32, value: V) -> Result<()> {
        Ok(self.array::<V>(name)?.set(index, value, 0)?)
    }

    /// Runs a program over `packets` copies of a frame and returns what it said of the last.
    pub(crate) fn run(&self, program: &str, frame: &[u8], packets: u32) -> Result<u32> {
        let options = TestRunOptions { data_in: Some(frame), repeat: packets, ..TestRunOptions::new() };
        let result = match self.ebpf.program(program).with_context(|| format!("no program {program}"))? {
            Program::SchedClassifier(program) => program.test_run(options)?,
            Program::Xdp(program) => program.test_run(options)?,
            _ => anyhow::bail!("{program} is neither TC nor XDP"),
        };
        Ok(result.return_value)
    }

    /// Returns nanoseconds of CPU time a packet.
    pub(crate) fn cost(&self, program: &str, frame: &[u8], packets: u32) -> Result<f64> {
        // An interrupt in the short run would make the long one look short: the least of three.
        let mut overhead = Duration::MAX;
        for _ in 0..3 {
            overhead = overhead.min(self.time(program, frame, 2)?);
        }
        let time = self.time(program, frame, packets)?.saturating_sub(overhead);
        Ok(time.as_nanos() as f64 / f64::from(packets - 2))
    }

    fn time(&self, program: &str, frame: &[u8], packets: u32) -> Result<Duration> {
        let begin = thread_time();
        self.run(program, frame, packets)?;
        Ok(thread_time() - begin)
    }

    /// Returns a program's descriptor.
    pub(crate) fn program(&self, name: &str) -> Result<&ProgramFd> {
        match self.ebpf.program(name).with_context(|| format!("no program {name}"))? {
            Program::SchedClassifier(program) => Ok(program.fd()?),
            Program::Xdp(program) => Ok(program.fd()?),
            _ => anyhow::bail!("{name} is neither TC nor XDP"),
        }
    }
}

fn load(program: &mut Program) -> Result<()> {
    match program {
        Program::SchedClassifier(program) => SchedClassifier::load(program)?,
        Program::Xdp(program) => Xdp::load(program)?,
        _ => anyhow::bail!("neither TC nor XDP"),
    }
    Ok(())
}

/// Which flows the drivers make of one packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flows {
    pub(crate) order: Order,
    pub(crate) count: u32,
    /// Bytes by which the sequence number grows with every packet.
    pub(crate) advance: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    InTurn,
    Random,
}

/// IPv4 source address of the first flow, 10.0.0.0.
const BASE: u32 = 10 << 24;

/// `Drive` of the object.
#[derive(Clone, Copy, IntoBytes, zerocopy::Immutable)]
#[repr(C)]
struct Drive {
    state: u64,
    flows: u32,
    random: u32,
    base: u32,
    advance: u32,
}

/// The driver of one hook.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Driver {
    pub(crate) program: &'static str,
    targets: &'static str,
    pub(crate) empty: &'static str,
}

pub(crate) const TC: Driver = Driver { program: "rewrite", targets: "TARGETS", empty: "empty" };
pub(crate) const XDP: Driver = Driver { program: "rewrite_xdp", targets: "XDP_TARGETS", empty: "empty_xdp" };

impl Driver {
    /// Chooses the flows, from the first on.
    pub(crate) fn steer(&self, limits: &mut Object, flows: Flows) -> Result<()> {
        let drive = Drive {
            state: 0,
            flows: flows.count,
            random: u32::from(flows.order == Order::Random),
            base: BASE,
            advance: flows.advance,
        };
        let bytes: [u8; size_of::<Drive>()] = zerocopy::transmute!(drive);
        limits.put("DRIVE", 0, bytes)
    }

    /// Puts a program behind the driver.
    pub(crate) fn aim(&self, limits: &mut Object, target: &ProgramFd) -> Result<()> {
        let map = limits.ebpf.map_mut(self.targets).with_context(|| format!("no map {}", self.targets))?;
        Ok(ProgramArray::try_from(map)?.set(0, target, 0)?)
    }

    /// Puts one of the limits themselves behind the driver.
    pub(crate) fn aim_at_limit(&self, limits: &mut Object, target: &str) -> Result<()> {
        let target = limits.program(target)?.try_clone()?;
        self.aim(limits, &target)
    }
}

/// Keeps this thread on one CPU.
pub(crate) fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).with_context(|| format!("cannot run on CPU {cpu}"))
}

/// Returns the CPU time of this thread.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
