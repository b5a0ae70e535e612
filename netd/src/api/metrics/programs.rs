//! The kernel programs: whether each is where it should be, and what it takes.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Unit;

use super::{Labels, Metrics, label};
use crate::store::status::Programs;

impl Metrics<'_> {
    pub(super) fn programs(&mut self, programs: &Programs) {
        self.gauge("programs_missing", "Hooks without their program", [(Vec::new(), programs.missing)]);
        let reattached = programs.reattached.iter().map(|(hook, count)| (label("hook", hook), *count));
        self.count("program_reattached", "Programs attached again where somebody had detached them", reattached);
        let repinned = programs.repinned.iter().map(|(what, count)| (label("what", what), *count));
        self.count("program_repinned", "Pins made again where somebody had removed them", repinned);
        let runs = programs.runs.iter().map(|runs| (label("program", runs.program), runs.runs));
        self.count("bpf_program_runs", "Runs of a program, counted while kernel.bpf_stats_enabled is 1", runs);
        let time = Family::<Labels, Counter<f64, AtomicU64>>::default();
        for runs in &programs.runs {
            time.get_or_create(&label("program", runs.program)).inc_by(runs.time_ns as f64 / 1e9);
        }
        let help = "Time that a program ran, counted while kernel.bpf_stats_enabled is 1";
        self.0.register_with_unit("bpf_program_run_time", help, Unit::Seconds, time);
    }
}
