//! How much memory there is to take: of the machine, and of the control groups this process is in.

use std::{fs, path::Path};

/// A version of control groups: where it is mounted, how /proc names a process's group in it, and its files.
struct Version {
    root: &'static str,
    mark: &'static str,
    limit: &'static str,
    used: &'static str,
}

const VERSIONS: [Version; 2] = [
    Version { root: "/sys/fs/cgroup", mark: "::", limit: "memory.max", used: "memory.current" },
    Version {
        root: "/sys/fs/cgroup/memory",
        mark: ":memory:",
        limit: "memory.limit_in_bytes",
        used: "memory.usage_in_bytes",
    },
];

/// Returns how many bytes can be allocated before somebody is killed for it; `None` when the kernel does not say.
#[must_use]
pub fn available() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| of_machine(&text));
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let groups = VERSIONS.iter().filter_map(|version| of_groups(version, Path::new(version.root), version.own(&own)?));
    let group = groups.min();
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

impl Version {
    /// Returns a process's group, of what /proc says of it.
    fn own<'t>(&self, cgroup: &'t str) -> Option<&'t str> {
        cgroup.lines().find_map(|line| line.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(self.mark))
    }
}

/// Returns the least that a group and those around it leave.
fn of_groups(version: &Version, root: &Path, path: &str) -> Option<u64> {
    let group = root.join(path.trim_start_matches('/'));
    group.ancestors().take_while(|group| group.starts_with(root)).filter_map(|group| of_group(version, group)).min()
}

fn of_group(version: &Version, group: &Path) -> Option<u64> {
    let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
    // "max" is no number: no limit.
    let limit = number(version.limit)?;
    let used = number(version.used)?;
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

        assert_eq!(of_groups(&VERSIONS[0], root.path(), "/outer/inner"), Some(400));
        assert_eq!(of_groups(&VERSIONS[0], root.path(), "/"), None);
    }

    #[test]
    fn a_process_is_in_a_group_of_each_version() {
        let text = "12:memory:/a\n0::/b/c\n";

        assert_eq!(VERSIONS.map(|version| version.own(text)), [Some("/b/c"), Some("/a")]);
        assert_eq!(VERSIONS[0].own("7:pids:/a\n"), None);
    }
}
