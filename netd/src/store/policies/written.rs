//! What the API was given, as the state directory keeps it.

use std::collections::BTreeMap;
use std::path::Path;

use netd_engine::policy::Name;

use super::collection::Collection;
use crate::config::policies::Faults;
use crate::store::disk::{File, StateDir};

/// Texts of policies by their names.
#[derive(Clone, Debug, Default)]
pub struct Written {
    pub(super) disk: Option<StateDir>,
    pub(super) in_force: BTreeMap<Name, String>,
    /// Kept, and not in force beside the others: a file has the name, or another version of netd wrote it.
    pub(super) waiting: BTreeMap<Name, String>,
}

/// A policy that is kept and not in force.
#[derive(Clone, Debug)]
pub struct LeftOut {
    pub name: Name,
    pub why: Faults,
}

impl Written {
    /// Reads what the state directory keeps; without one there is nothing and nothing can be put.
    #[must_use]
    pub fn open(disk: Option<StateDir>) -> Self {
        let names = disk.as_ref().map(StateDir::policies).unwrap_or_default();
        let read = |name: Name| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
            let text = disk.as_ref()?.read_or_set_aside(File::Policy(&name), text)?;
            Some((name, text))
        };
        Self { waiting: names.into_iter().filter_map(read).collect(), in_force: BTreeMap::new(), disk }
    }

    /// Reads the operator's files, and puts what waits in force beside them as far as it goes: a policy of the API must
    /// not keep netd from starting.
    ///
    /// # Errors
    /// Each fault of the files, and of what is in force already.
    pub fn read(&mut self, path: &Path) -> Result<(Collection, Vec<LeftOut>), Faults> {
        let read = Collection::read(path, &self.in_force)?;
        let mut all = self.in_force.clone();
        all.extend(self.waiting.clone());
        if let Ok(read) = read.with(&all) {
            (self.in_force, self.waiting) = (all, BTreeMap::new());
            return Ok((read, Vec::new()));
        }
        let (mut read, mut left_out) = (read, Vec::new());
        for (name, text) in std::mem::take(&mut self.waiting) {
            let mut more = self.in_force.clone();
            more.insert(name.clone(), text.clone());
            match read.with(&more) {
                Ok(with) => (read, self.in_force) = (with, more),
                Err(why) => {
                    self.waiting.insert(name.clone(), text);
                    left_out.push(LeftOut { name, why });
                }
            }
        }
        Ok((read, left_out))
    }

    pub(super) fn text(&self, name: &Name) -> Option<&str> {
        self.in_force.get(name).or_else(|| self.waiting.get(name)).map(String::as_str)
    }
}
