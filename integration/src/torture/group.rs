//! Control groups that hold a daemon down, of whichever version the machine has.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};

static GROUPS: AtomicU32 = AtomicU32::new(0);

/// A control group with a limit. It goes with its handle.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
    files: &'static Files,
}

/// Where one version of control groups has a controller, and its files.
#[derive(Debug)]
struct Files {
    root: &'static str,
    limit: &'static str,
    /// How a limit is written.
    text: fn(u64) -> String,
    /// What is written where there is none.
    none: &'static str,
    /// What the group has used.
    used: &'static str,
}

const MEMORY: [Files; 2] = [
    Files {
        root: "/sys/fs/cgroup/memory",
        limit: "memory.limit_in_bytes",
        text: |bytes| bytes.to_string(),
        none: "-1",
        used: "memory.usage_in_bytes",
    },
    Files {
        root: "/sys/fs/cgroup",
        limit: "memory.max",
        text: |bytes| bytes.to_string(),
        none: "max",
        used: "memory.current",
    },
];

/// Microseconds within which a group may use its share of a CPU: what the kernel begins with.
const PERIOD_US: u64 = 100_000;

const CPU: [Files; 2] = [
    Files {
        root: "/sys/fs/cgroup/cpu",
        limit: "cpu.cfs_quota_us",
        text: |quota_us| quota_us.to_string(),
        none: "-1",
        used: "cpuacct.usage",
    },
    Files {
        root: "/sys/fs/cgroup",
        limit: "cpu.max",
        text: |quota_us| format!("{quota_us} {PERIOD_US}"),
        none: "max",
        used: "cpu.stat",
    },
];

impl Group {
    /// Limits memory, in bytes.
    ///
    /// # Errors
    ///
    /// Without root, or when the machine has no such controller.
    pub fn of_memory(bytes: u64) -> Result<Self> {
        let group = Self::below(&MEMORY)?;
        group.limit(Some(bytes))?;
        Ok(group)
    }

    /// Limits the time on all CPUs together to `percent` of one.
    ///
    /// # Errors
    ///
    /// As [`Group::of_memory`].
    pub fn of_cpu(percent: u64) -> Result<Self> {
        let group = Self::below(&CPU)?;
        group.limit(Some(PERIOD_US / 100 * percent))?;
        Ok(group)
    }

    /// Makes a group below the first of the roots that there is.
    fn below(versions: &'static [Files]) -> Result<Self> {
        let files = versions
            .iter()
            .find(|files| Path::new(files.root).join("cgroup.procs").exists())
            .context("there are no control groups")?;
        let number = GROUPS.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(files.root).join(format!("netd-lab-{}-{number}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path, files })
    }

    /// Sets another limit, bytes or microseconds, or none.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn limit(&self, limit: Option<u64>) -> Result<()> {
        let text = limit.map_or_else(|| self.files.none.to_owned(), self.files.text);
        fs::write(self.path.join(self.files.limit), text)
            .with_context(|| format!("cannot limit {}", self.path.display()))
    }

    /// Returns the bytes that a group of memory uses.
    ///
    /// # Errors
    ///
    /// When the kernel does not say.
    pub fn used(&self) -> Result<u64> {
        let text = fs::read_to_string(self.path.join(self.files.used)).context("cannot read what a group uses")?;
        text.trim().parse().context("a group uses no number")
    }

    /// Moves a process with all its threads into the group.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn take(&self, process: u32) -> Result<()> {
        fs::write(self.path.join("cgroup.procs"), process.to_string()).context("cannot move the daemon into its group")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Whoever is still in it goes back up first.
        let up = self.path.parent().map(|parent| parent.join("cgroup.procs"));
        if let (Ok(inside), Some(up)) = (fs::read_to_string(self.path.join("cgroup.procs")), up) {
            // One that has ended meanwhile is out of it.
            inside.lines().for_each(|process| drop(fs::write(&up, process)));
        }
        let _ = fs::remove_dir(&self.path);
    }
}
