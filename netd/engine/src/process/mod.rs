//! Who owns a socket, and what kind of program that is.

mod identity;

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use netd_common::record::Owner;

pub use identity::{Ancestor, Container, Missing, Pod, Process, ProcessId, Provenance, Runtime};

/// Sockets and processes remembered at once.
const LIMIT: usize = 65_536;

/// Owners by socket cookie, provenance by process.
pub(crate) struct Processes {
    owners: Recent<u64, Arc<Process>>,
    provenance: Recent<u32, (Option<String>, Provenance)>,
}

impl Processes {
    pub(crate) fn new() -> Self {
        Self { owners: Recent::new(LIMIT), provenance: Recent::new(LIMIT) }
    }

    /// Remembers who owns a socket, and returns it.
    pub(crate) fn learn_owner(&mut self, cookie: u64, owner: &Owner) -> Option<Arc<Process>> {
        if owner.tgid == 0 {
            return None;
        }
        let exe = self.provenance.get(&owner.tgid).and_then(|(exe, _)| exe.clone());
        let process = Arc::new(Process {
            id: ProcessId { pid: owner.tgid, start_ticks: 0 },
            uid: owner.uid,
            comm: comm(&owner.comm),
            exe,
            cgroup_id: owner.cgroup_id,
            ..Process::default()
        });
        if cookie != 0 {
            self.owners.insert(cookie, process.clone());
        }
        Some(process)
    }

    pub(crate) fn learn_provenance(&mut self, pid: u32, exe: Option<String>, provenance: Provenance) {
        self.provenance.insert(pid, (exe, provenance));
    }

    pub(crate) fn owner(&self, cookie: u64) -> Option<&Arc<Process>> {
        self.owners.get(&cookie)
    }

    pub(crate) fn provenance(&self, pid: u32) -> Option<&(Option<String>, Provenance)> {
        self.provenance.get(&pid)
    }
}

fn comm(bytes: &[u8; 16]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// A map that forgets whatever was inserted first.
struct Recent<K, V> {
    values: HashMap<K, V>,
    order: VecDeque<K>,
    limit: usize,
}

impl<K: Copy + Eq + Hash, V> Recent<K, V> {
    fn new(limit: usize) -> Self {
        Self { values: HashMap::new(), order: VecDeque::new(), limit }
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key)
    }

    fn insert(&mut self, key: K, value: V) {
        if self.values.insert(key, value).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.values.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_forgotten_first_come_first_gone() {
        let mut recent = Recent::new(2);
        for key in 0..3 {
            recent.insert(key, key);
        }

        assert_eq!(recent.get(&0), None);
        assert_eq!(recent.get(&2), Some(&2));
        assert_eq!(recent.order.len(), 2);
    }

    #[test]
    fn an_owner_the_kernel_did_not_see_is_nobody() {
        assert_eq!(Processes::new().learn_owner(7, &Owner::default()), None);
    }

    #[test]
    fn a_command_name_ends_at_its_first_zero() {
        assert_eq!(comm(b"curl\0rest-of-it\0"), "curl");
    }
}
