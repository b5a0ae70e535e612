//! How much memory there is to take: of the machine, and of the control groups this process is in.

use std::{fs, path::Path};

/// Where control groups of version 2 are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Returns how many bytes can be allocated before somebody is killed for it; `None` when the kernel does not say.
#[must_use]
pub fn available() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| of_machine(&text));
    let own = fs::read_to_string("/proc/self/cgroup").ok();
    let group = own.as_deref().and_then(own_group).and_then(|path| of_groups(Path::new(CGROUPS), path));
    match (machine, group) {
        (Some(machine), Some(group)) => Some(machine.min(group)),
        (machine, group) => machine.or(group),
    }
}

/// Returns this process's most resident memory so far and its present one, in bytes.
#[must_use]
pub fn resident() -> Option<(u64, u64)> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    Some((kilobytes(&status, "VmHWM:")?, kilobytes(&status, "VmRSS:")?))
}

fn of_machine(meminfo: &str) -> Option<u64> {
    kilobytes(meminfo, "MemAvailable:")
}

fn kilobytes(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1_024)
}

fn own_group(cgroup: &str) -> Option<&str> {
    cgroup.lines().find_map(|line| line.strip_prefix("0::"))
}

/// Returns the least that a group and those around it leave.
fn of_groups(root: &Path, path: &str) -> Option<u64> {
    let group = root.join(path.trim_start_matches('/'));
    group.ancestors().take_while(|group| group.starts_with(root)).filter_map(of_group).min()
}

fn of_group(group: &Path) -> Option<u64> {
    let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
    // "max" is no number: no limit.
    let limit = number("memory.max")?;
    let used = number("memory.current")?;
    // Pages of files that nobody has used for long go first, before anybody is refused.
    let reclaimable = fs::read_to_string(group.join("memory.stat"))
        .ok()
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("inactive_file "))?.trim().parse::<u64>().ok());
    Some(limit.saturating_sub(used.saturating_sub(reclaimable.unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_says_what_is_available() {
        let text = "MemTotal:       24000000 kB\nMemFree:         100 kB\nMemAvailable:   23000 kB\n";

        assert_eq!(of_machine(text), Some(23_000 * 1_024));
        assert_eq!(of_machine("MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn the_narrowest_group_around_a_process_counts() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("outer/inner");
        fs::create_dir_all(&inner).unwrap();
        let write = |group: &Path, name: &str, text: &str| fs::write(group.join(name), text).unwrap();
        write(&inner, "memory.max", "max\n");
        write(&inner, "memory.current", "5\n");
        let outer = root.path().join("outer");
        write(&outer, "memory.max", "1000\n");
        write(&outer, "memory.current", "700\n");
        write(&outer, "memory.stat", "anon 600\ninactive_file 100\n");

        assert_eq!(of_groups(root.path(), "/outer/inner"), Some(400));
        assert_eq!(of_groups(root.path(), "/"), None);
    }

    #[test]
    fn a_process_of_the_first_hierarchy_alone_has_no_group() {
        assert_eq!(own_group("12:memory:/a\n0::/b/c\n"), Some("/b/c"));
        assert_eq!(own_group("12:memory:/a\n"), None);
    }
}
