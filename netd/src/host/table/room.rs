//! Room in the table: what comes in, what goes out for it.

use std::sync::Arc;

use netd_engine::process::{Process, ProcessId, Provenance};

use super::{Entry, Table};
use crate::host::executable::{FileId, Stamp};

impl Table {
    pub(super) fn put(&mut self, process: Process, provenance: Provenance, stamp: Option<Stamp>, file: Option<FileId>) {
        let id = process.id;
        let bytes = weight(&process);
        let process = Arc::new(process);
        let entry = Entry { process, provenance, stamp, file, bytes, ended_ns: None, used: false };
        self.bytes += bytes;
        match self.entries.get_mut(&id) {
            Some(before) => {
                self.bytes -= before.bytes;
                *before = Entry { ended_ns: before.ended_ns, used: before.used, ..entry };
            }
            None => {
                self.entries.insert(id, entry);
                self.order.push_back(id);
            }
        }
        self.latest.insert(id.pid, id);
        while self.entries.len() > self.limits.processes || self.bytes > self.limits.bytes {
            self.evict();
        }
        // Ended processes leave their place in the order behind.
        if self.order.len() > 2 * self.entries.len() + 1_024 {
            self.order.retain(|id| self.entries.contains_key(id));
        }
    }

    /// Makes room: for an ended process first, then for the one that came first and was not asked for.
    fn evict(&mut self) {
        if let Some((_, id)) = self.ended.pop_front() {
            self.evicted.ended += u64::from(self.remove(id));
            return;
        }
        while let Some(id) = self.order.pop_front() {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            if std::mem::take(&mut entry.used) {
                self.order.push_back(id);
                continue;
            }
            self.evicted.living += u64::from(self.remove(id));
            return;
        }
    }

    pub(super) fn remove(&mut self, id: ProcessId) -> bool {
        let Some(entry) = self.entries.remove(&id) else { return false };
        self.bytes -= entry.bytes;
        if self.latest.get(&id.pid) == Some(&id) {
            self.latest.remove(&id.pid);
        }
        true
    }
}

/// Returns roughly the memory that an entry takes.
pub(super) fn weight(process: &Process) -> usize {
    let option = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let parents: usize = process.parents.iter().map(|above| 96 + above.comm.len() + option(&above.exe)).sum();
    let args: usize = process.args.iter().map(|argument| 24 + argument.len()).sum();
    let cgroup = process.cgroup.as_ref().map_or(0, |path| path.len());
    768 + process.comm.len() + option(&process.exe) + option(&process.cwd) + parents + args + cgroup
}
