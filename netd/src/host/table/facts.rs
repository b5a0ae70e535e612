//! What goes into the table and what comes out.

use std::sync::Arc;

use netd_engine::process::{Ancestor, Process, ProcessId, Provenance};

use crate::host::executable::FileId;

/// What a table may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub processes: usize,
    /// Of all processes, roughly.
    pub bytes: usize,
    pub programs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { processes: 65_536, bytes: 96 * 1024 * 1024, programs: 16_384 }
    }
}

/// What a record of the kernel's tells of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub id: ProcessId,
    pub uid: u32,
    pub comm: String,
    /// As it was given to execve(2); empty where the record is of another event.
    pub filename: String,
    pub args: Vec<String>,
    pub parents: Vec<Ancestor>,
    pub cgroup_id: u64,
    pub netns: u64,
    pub file: Option<FileId>,
}

/// A process as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub process: Arc<Process>,
    pub provenance: Provenance,
}
