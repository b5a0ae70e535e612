//! The cgroup of a living process: `/proc/<pid>/cgroup`.

use super::path::{Place, place};

/// Hierarchies of version 1 in the order in which their paths are believed: systemd's own tells most.
const CONTROLLERS: [&str; 8] = ["name=systemd", "pids", "memory", "cpu", "cpuacct", "devices", "freezer", "cpuset"];

/// Reads the file's content: the unified hierarchy where it tells something, a controller's of version 1 otherwise.
///
/// On a hybrid host only the controllers know the container; the path kept is the one that told.
#[must_use]
pub fn place_of(content: &str) -> Place {
    let mut best = Place::default();
    let mut rank = (false, false, 0);
    for (controllers, path) in content.lines().take(32).filter_map(line) {
        let order = if controllers.is_empty() {
            CONTROLLERS.len() + 1
        } else {
            let known = CONTROLLERS.iter().position(|known| controllers.split(',').any(|name| name == *known));
            known.map_or(0, |index| CONTROLLERS.len() - index)
        };
        let place = place(path);
        let found = (place.container.is_some(), path != "/", order);
        if best.path.is_none() || found > rank {
            (best, rank) = (place, found);
        }
    }
    best
}

/// Returns the path in the unified hierarchy, whose directory has the kernel's number of the cgroup.
#[must_use]
pub fn unified_path(content: &str) -> Option<&str> {
    content.lines().take(32).find_map(|line| line.strip_prefix("0::"))
}

/// Splits `hierarchy:controllers:path`; the path may hold colons.
fn line(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once(':')?;
    rest.split_once(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn the_unified_hierarchy_is_believed_first() {
        let place = place_of("1:name=systemd:/system.slice/old.service\n0::/system.slice/ssh.service\n");

        assert_eq!(place.unit.as_deref(), Some("ssh.service"));
    }

    #[test]
    fn on_a_hybrid_host_a_controller_tells_the_container() {
        let place = place_of(&format!("9:name=systemd:/\n4:memory:/docker/{ID}\n1:cpu,cpuacct:/\n0::/\n"));

        assert_eq!(place.container.unwrap().id, ID);
    }

    #[test]
    fn a_path_with_colons_is_whole() {
        let place = place_of("0::/a:b:c\n");

        assert_eq!(place.path.as_deref(), Some("/a:b:c"));
        assert_eq!(unified_path("4:memory:/x\n0::/a:b:c\n"), Some("/a:b:c"));
    }

    #[test]
    fn nothing_readable_is_no_place() {
        for content in ["", ":", "::", "x", "\n\n", "0:"] {
            assert_eq!(place_of(content).container, None, "{content:?}");
        }
    }
}
