//! What the programs take of the machine: how often each ran, and for how long.

use std::time::Duration;

use super::{Kernel, sys};

/// Where the host says whether runs are counted.
const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Runs of a program since it was loaded, as far as they were counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    pub program: &'static str,
    pub runs: u64,
    pub time: Duration,
}

/// Returns whether this host counts runs of programs: `kernel.bpf_stats_enabled`. It costs each run some ten nanoseconds,
/// of everybody's programs, so netd leaves it to the operator.
#[must_use]
pub fn are_counted() -> bool {
    std::fs::read_to_string(SWITCH).is_ok_and(|text| text.trim() != "0")
}

impl Kernel {
    /// Returns the runs of every program that has been seen running.
    #[must_use]
    pub fn runs(&self) -> Vec<Runs> {
        let runs = self.programs.iter().filter_map(|(&program, fd)| {
            // Who cannot be asked has nothing to tell.
            let info = sys::program_info(fd).ok()?;
            Some(Runs { program, runs: info.runs, time: Duration::from_nanos(info.run_time_ns) })
        });
        runs.filter(|program| program.runs > 0).collect()
    }
}
