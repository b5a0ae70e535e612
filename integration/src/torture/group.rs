//! Control groups that hold a daemon down, of whichever version the machine has.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};

static GROUPS: AtomicU32 = AtomicU32::new(0);

/// A control group with a limit. It goes with its handle.
#[derive(Debug)]
pub struct Group(PathBuf);

impl Group {
    /// Limits memory.
    ///
    /// # Errors
    ///
    /// Without root, or when the machine has no such controller.
    pub fn of_memory(bytes: u64) -> Result<Self> {
        let bytes = bytes.to_string();
        Self::with(&[
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", &bytes),
            ("/sys/fs/cgroup", "memory.max", &bytes),
        ])
    }

    /// Limits the time on all CPUs together to `percent` of one.
    ///
    /// # Errors
    ///
    /// As [`Group::of_memory`].
    pub fn of_cpu(percent: u32) -> Result<Self> {
        const PERIOD_US: u32 = 100_000;
        let quota_us = PERIOD_US / 100 * percent;
        let (v1, v2) = (quota_us.to_string(), format!("{quota_us} {PERIOD_US}"));
        Self::with(&[("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", &v1), ("/sys/fs/cgroup", "cpu.max", &v2)])
    }

    /// Makes a group below the first of the roots that there is.
    fn with(limits: &[(&str, &str, &str)]) -> Result<Self> {
        let (root, file, limit) = limits
            .iter()
            .find(|(root, ..)| Path::new(root).join("cgroup.procs").exists())
            .context("there are no control groups")?;
        let number = GROUPS.fetch_add(1, Ordering::Relaxed);
        let group = Self(Path::new(root).join(format!("netd-lab-{}-{number}", std::process::id())));
        fs::create_dir(&group.0).with_context(|| format!("cannot make {}", group.0.display()))?;
        fs::write(group.0.join(file), limit).with_context(|| format!("cannot limit {}", group.0.display()))?;
        Ok(group)
    }

    /// Moves a process with all its threads into the group.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn take(&self, process: u32) -> Result<()> {
        fs::write(self.0.join("cgroup.procs"), process.to_string()).context("cannot move the daemon into its group")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Whoever is still in it goes back up first.
        let up = self.0.parent().map(|parent| parent.join("cgroup.procs"));
        if let (Ok(inside), Some(up)) = (fs::read_to_string(self.0.join("cgroup.procs")), up) {
            // One that has ended meanwhile is out of it.
            inside.lines().for_each(|process| drop(fs::write(&up, process)));
        }
        let _ = fs::remove_dir(&self.0);
    }
}
