//! Programs that see processes start, end and redirect their streams. Nothing of it is pinned: without a
//! daemon nobody reads what they write, so they end with it.

use std::os::fd::OwnedFd;

use netd_common::names;

use super::{Degraded, Kernel, perf::Tracepoints, sys};

const RAW: [(&str, &str, &str); 2] = [
    (
        names::PROCESS_EXEC,
        "sched_process_exec",
        "programs are not seen when they start: reverse shells are found by their network rhythm, short-lived processes \
         only by their number",
    ),
    (names::PROCESS_EXIT, "sched_process_exit", "ended processes are remembered until others push them out"),
];

const NO_REDIRECTS: &str =
    "a shell that puts its own streams elsewhere is seen when it connects one of them or starts a program";
const NO_ACCEPTS: &str =
    "a connection that a worker takes without asking for the peer's address is named after the process that listens";

/// Programs, the system calls at whose return they run, and what is missed without.
const RETURNS: [(&str, &[&str], &str); 3] = [
    (names::ACCEPT, &["accept", "accept4"], NO_ACCEPTS),
    (names::DUP, &["dup", "dup2", "dup3"], NO_REDIRECTS),
    (names::FCNTL, &["fcntl"], NO_REDIRECTS),
];

impl Kernel {
    /// Attaches everything that sees processes.
    pub(super) fn attach_tracepoints(&mut self, degraded: &mut Vec<Degraded>) {
        self.tracepoints.clear();
        for (name, tracepoint, consequence) in RAW {
            let Some(program) = self.programs.get(name) else { continue };
            match sys::raw_tracepoint(program, tracepoint) {
                Ok(link) => self.tracepoints.push(link),
                Err(error) => {
                    degraded.push(Degraded::new(format!("tracepoint {tracepoint}"), error.to_string(), consequence));
                }
            }
        }
        if self.returns {
            self.attach_returns(degraded);
        }
    }

    fn attach_returns(&mut self, degraded: &mut Vec<Degraded>) {
        let tracepoints = match Tracepoints::open() {
            Ok(tracepoints) => tracepoints,
            Err(error) => {
                degraded.push(Degraded::new("tracefs", error.to_string(), NO_REDIRECTS));
                degraded.push(Degraded::new("tracefs", error.to_string(), NO_ACCEPTS));
                return;
            }
        };
        for (name, calls, consequence) in RETURNS {
            let Some(program) = self.programs.get(name) else { continue };
            let mut events: Vec<OwnedFd> = Vec::new();
            for call in calls {
                match tracepoints.attach_to_return_of(call, program) {
                    Ok(event) => events.push(event),
                    // Not every architecture has every call; the others do what it would.
                    Err(error) if error.raw_os_error() == Some(libc::ENOENT) && !events.is_empty() => {}
                    Err(error) => degraded.push(Degraded::new(
                        format!("tracepoint sys_exit_{call}"),
                        error.to_string(),
                        consequence,
                    )),
                }
            }
            self.tracepoints.append(&mut events);
        }
    }
}
