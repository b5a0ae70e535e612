//! Looks at the processes behind sockets, once each.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use netd_common::record::Owner;
use netd_engine::process::{Process, ProcessId, Provenance};

use crate::host::{clock, process};

/// Processes remembered as looked at.
const LIMIT: usize = 16_384;

/// Programs that run what they are given: a script file, or a command on the line.
const INTERPRETERS: [&str; 12] =
    ["sh", "bash", "dash", "zsh", "ash", "python", "perl", "ruby", "php", "lua", "node", "busybox"];

pub(super) struct Inspector {
    /// Process and network namespace: enough to tell a reused number apart soon, cheap enough for each record.
    seen: HashSet<(u32, [u8; 16])>,
    order: VecDeque<(u32, [u8; 16])>,
}

impl Inspector {
    pub(super) fn new() -> Self {
        Self { seen: HashSet::new(), order: VecDeque::new() }
    }

    /// Returns a socket's owner and its provenance the first time it is met; `None` when it is known, or
    /// gone already.
    pub(super) fn inspect(&mut self, owner: &Owner, monotonic_ns: u64) -> Option<(Arc<Process>, Provenance)> {
        // The same number with another name is another process, or the same after exec: both are worth a look.
        let identity = (owner.tgid, owner.comm);
        if owner.tgid == 0 || !self.seen.insert(identity) {
            return None;
        }
        self.order.push_back(identity);
        if self.order.len() > LIMIT
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        let offset = u64::try_from(clock::Offsets::measure().boot_ns).unwrap_or(0);
        let details = process::inspect(owner.tgid, Some(monotonic_ns.saturating_add(offset)))?;
        let (exe, provenance) = provenance(&details);
        let start_ticks = details.started_boot_ns / ProcessId::TICK_NS;
        let process = Process {
            id: ProcessId { pid: details.pid, start_ticks },
            uid: details.uid,
            comm: details.comm,
            exe,
            args: details.command_line,
            cgroup_id: owner.cgroup_id,
            ..Process::default()
        };
        Some((Arc::new(process), provenance))
    }
}

fn provenance(details: &process::Details) -> (Option<String>, Provenance) {
    let Some(executable) = &details.executable else { return (None, Provenance::default()) };
    let provenance = Provenance {
        is_deleted: executable.deleted && !executable.memory,
        is_memory: executable.memory,
        is_temporary: executable.temporary,
        is_bare_interpreter: is_bare_interpreter(&details.comm, &details.command_line),
        is_packaged: None,
    };
    (Some(executable.path.display().to_string()), provenance)
}

/// Returns whether an interpreter runs no script file: interactive, or a command given on the line.
fn is_bare_interpreter(comm: &str, arguments: &[String]) -> bool {
    let name = comm.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    INTERPRETERS.contains(&name) && !arguments.iter().skip(1).any(|argument| !argument.starts_with('-'))
        || INTERPRETERS.contains(&name) && arguments.iter().any(|argument| argument == "-c" || argument == "-e")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn an_interpreter_with_a_command_on_the_line_runs_no_script() {
        assert!(is_bare_interpreter("python3.11", &arguments("python3 -c import")));
        assert!(is_bare_interpreter("bash", &arguments("bash -i")));
    }

    #[test]
    fn an_interpreter_with_a_script_file_is_like_any_program() {
        assert!(!is_bare_interpreter("python3", &arguments("python3 /usr/bin/backup --all")));
        assert!(!is_bare_interpreter("curl", &arguments("curl -e x")));
    }
}
