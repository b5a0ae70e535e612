//! The metrics every daemon has, by their usual names: what this process takes of the machine.

use std::fs;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// Adds them to a registry of the prefix `process`. What /proc does not tell is left out.
pub(super) fn register(registry: &mut Registry) {
    if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::parse) {
        let cpu = Counter::<f64, AtomicU64>::default();
        cpu.inc_by(stat.cpu_ticks as f64 / clock_ticks_per_second() as f64);
        registry.register_with_unit("cpu", "User and system time taken", Unit::Seconds, cpu);
        gauge(
            registry,
            "resident_memory",
            Some(Unit::Bytes),
            "Memory in use",
            stat.resident_pages * page_size() as u64,
        );
        gauge(registry, "virtual_memory", Some(Unit::Bytes), "Address space in use", stat.virtual_bytes);
        gauge(registry, "threads", None, "Threads", stat.threads);
        if let Some(booted) = boot_time() {
            let start = Gauge::<f64, AtomicU64>::default();
            start.set(booted as f64 + stat.start_ticks as f64 / clock_ticks_per_second() as f64);
            registry.register_with_unit("start_time", "When the process began, Unix time", Unit::Seconds, start);
        }
    }
    if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
        // One of them is the directory itself.
        gauge(registry, "open_fds", None, "Descriptors open", (descriptors.count() as u64).saturating_sub(1));
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        gauge(registry, "max_fds", None, "Descriptors there can be", most);
    }
}

fn gauge(registry: &mut Registry, name: &str, unit: Option<Unit>, help: &str, value: u64) {
    let gauge = Gauge::<u64, AtomicU64>::default();
    gauge.set(value);
    match unit {
        Some(unit) => registry.register_with_unit(name, help, unit, gauge),
        None => registry.register(name, help, gauge),
    }
}

/// What is read of /proc/self/stat.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name, which stands in parentheses, may hold anything.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        // proc(5) counts from 1, and the state, field 3, is the first here.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// Returns when the system booted, in seconds of Unix time.
fn boot_time() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_a_hostile_name_is_read() {
        let text =
            "7 (a) R (b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 12345 1048576 300 18446744073709551615";

        let stat =
            Stat { cpu_ticks: 300, threads: 9, start_ticks: 12_345, virtual_bytes: 1_048_576, resident_pages: 300 };
        assert_eq!(Stat::parse(text), Some(stat));
        assert_eq!(Stat::parse("7 (cut"), None);
    }
}
