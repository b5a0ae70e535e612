//! Programs by the state of their file: digest and package are found out once for all processes that run it.

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::Arc,
};

use crate::host::executable::{FileId, Stamp};

/// What is known of an executable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// As a process saw it that ran it.
    pub path: PathBuf,
    pub sha256: Option<Arc<str>>,
    pub package: Option<Arc<str>>,
    pub is_packaged: Option<bool>,
}

/// The programs met, a bounded number.
#[derive(Debug)]
pub struct Files {
    limit: usize,
    programs: HashMap<Stamp, Program>,
    /// The last state of a file.
    latest: HashMap<FileId, Stamp>,
    order: VecDeque<Stamp>,
}

impl Files {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, programs: HashMap::new(), latest: HashMap::new(), order: VecDeque::new() }
    }

    /// Notes that a file is run from `path`.
    pub fn meet(&mut self, stamp: Stamp, path: PathBuf) {
        self.latest.insert(stamp.file, stamp);
        if let Some(program) = self.programs.get_mut(&stamp) {
            if program.path.as_os_str().is_empty() {
                program.path = path;
            }
            return;
        }
        self.programs.insert(stamp, Program { path, ..Program::default() });
        self.order.push_back(stamp);
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.programs.remove(&oldest);
            if self.latest.get(&oldest.file) == Some(&oldest) {
                self.latest.remove(&oldest.file);
            }
        }
    }

    /// Notes the digest of a file's bytes, which may be known before anybody said where the file is run from.
    pub fn digest(&mut self, stamp: Stamp, sha256: Arc<str>) {
        self.meet(stamp, PathBuf::new());
        if let Some(program) = self.programs.get_mut(&stamp) {
            program.sha256 = Some(sha256);
        }
    }

    /// Notes who owns a file; `is_packaged` is `None` where that is not known.
    pub fn owner(&mut self, stamp: Stamp, package: Option<Arc<str>>, is_packaged: Option<bool>) {
        if let Some(program) = self.programs.get_mut(&stamp) {
            program.package = package;
            program.is_packaged = is_packaged;
        }
    }

    #[must_use]
    pub fn get(&self, stamp: Stamp) -> Option<&Program> {
        self.programs.get(&stamp)
    }

    /// Returns the last state of a file, and where it was. The number of a deleted file is given to others: look
    /// whether the state is still that.
    #[must_use]
    pub fn last(&self, file: FileId) -> Option<(Stamp, &Program)> {
        let stamp = *self.latest.get(&file)?;
        Some((stamp, self.programs.get(&stamp)?))
    }
}
