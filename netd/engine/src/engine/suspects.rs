//! Processes that lead to the network, and what they were seen to run.

use std::collections::{HashMap, VecDeque};

use crate::finding::Finding;
use crate::process::{Process, ProcessId};

/// Suspects remembered at once.
const LIMIT: usize = 1_024;
/// Commands kept of one.
const COMMANDS: usize = 16;
/// Characters kept of one command.
const LENGTH: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Suspect {
    id: ProcessId,
    /// As last told.
    pub(super) finding: Option<Finding>,
    pub(super) commands: Vec<String>,
    pub(super) count: u32,
    pub(super) recon: u32,
    /// Whose commands those were: an exec may be told more than once.
    latest: VecDeque<(ProcessId, String)>,
}

impl Suspect {
    /// Notes a command; returns whether it is new.
    pub(super) fn run(&mut self, child: &Process, is_recon: bool) -> bool {
        let line = command_line(child);
        if self.latest.iter().any(|(id, known)| *id == child.id && *known == line) {
            return false;
        }
        self.latest.push_back((child.id, line.clone()));
        if self.latest.len() > COMMANDS {
            self.latest.pop_front();
        }
        self.count = self.count.saturating_add(1);
        self.recon = self.recon.saturating_add(u32::from(is_recon));
        if self.commands.len() < COMMANDS {
            self.commands.push(line);
        }
        true
    }
}

/// By process number; the oldest gives way.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    by_pid: HashMap<u32, Suspect>,
    order: VecDeque<u32>,
}

impl Suspects {
    pub(super) fn get(&self, id: ProcessId) -> Option<&Suspect> {
        self.by_pid.get(&id.pid).filter(|known| is_same(known.id, id))
    }

    pub(super) fn get_mut(&mut self, id: ProcessId) -> Option<&mut Suspect> {
        self.by_pid.get_mut(&id.pid).filter(|known| is_same(known.id, id))
    }

    /// Returns the suspect, made if there is none; a former bearer of its number is forgotten.
    pub(super) fn at(&mut self, id: ProcessId) -> &mut Suspect {
        if !self.by_pid.contains_key(&id.pid) {
            while self.order.len() >= LIMIT {
                let Some(oldest) = self.order.pop_front() else { break };
                self.by_pid.remove(&oldest);
            }
            self.order.push_back(id.pid);
        }
        let suspect = self.by_pid.entry(id.pid).or_default();
        if !is_same(suspect.id, id) || suspect.id.pid == 0 {
            *suspect = Suspect { id, ..Suspect::default() };
        }
        suspect
    }

    pub(super) fn forget(&mut self, id: ProcessId) {
        if self.get(id).is_some() {
            self.by_pid.remove(&id.pid);
            self.order.retain(|pid| *pid != id.pid);
        }
    }
}

fn is_same(a: ProcessId, b: ProcessId) -> bool {
    a.pid == b.pid && (a.start_ticks == b.start_ticks || a.start_ticks == 0 || b.start_ticks == 0)
}

fn command_line(process: &Process) -> String {
    let line = if process.args.is_empty() { process.comm.clone() } else { process.args.join(" ") };
    // Whoever reads it does so on a terminal.
    line.chars().take(LENGTH).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(pid: u32, start_ticks: u64) -> ProcessId {
        ProcessId { pid, start_ticks }
    }

    #[test]
    fn a_flood_of_suspects_does_not_grow_the_memory() {
        let mut suspects = Suspects::default();
        for pid in 1..=2 * LIMIT as u32 {
            suspects.at(id(pid, 1));
        }

        assert_eq!((suspects.by_pid.len(), suspects.order.len()), (LIMIT, LIMIT));
    }

    #[test]
    fn the_next_bearer_of_a_number_inherits_nothing() {
        let mut suspects = Suspects::default();
        suspects.at(id(7, 1)).run(&Process::default(), true);

        assert_eq!(suspects.at(id(7, 2)).count, 0);
        assert!(suspects.get(id(7, 1)).is_none());
    }

    #[test]
    fn a_command_is_told_once_and_without_what_would_move_a_cursor() {
        let mut suspect = Suspect::default();
        let child = Process { id: id(9, 1), args: vec!["echo".into(), "\u{1b}[2J".into()], ..Process::default() };

        assert!(suspect.run(&child, false) && !suspect.run(&child, false));
        assert_eq!(suspect.commands, ["echo  [2J"]);
    }
}
