//! What maps cost the kernel.

use std::time::Duration;

use anyhow::{Context as _, Result};

/// Freed and delayed memory comes and goes for this long after a map changes.
const SETTLING: Duration = Duration::from_secs(6);

/// Returns the kernel's bytes, of the kinds that maps are made of. What processes use is left out.
pub(crate) fn kernel_bytes() -> Result<u64> {
    std::thread::sleep(SETTLING);
    let table = std::fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    ["VmallocUsed", "SUnreclaim", "Percpu"].iter().try_fold(0, |sum, kind| {
        let line = table.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(':'));
        let number = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        Ok(sum + number.with_context(|| format!("/proc/meminfo does not say {kind}"))? * 1_024)
    })
}
