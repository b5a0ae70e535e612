//! Who is most likely to hold the other ends of a process's streams: those it was started with.

use std::{collections::HashSet, fs, path::Path};

use crate::host::process::files::Stat;

/// Processes above that count as near; the first of all is near to everybody and is none.
const ABOVE: usize = 3;
/// Processes near, at most: with more a look at everybody costs no more.
const MOST: usize = 64;

/// Returns processes, those above them, and the children of both, as far as the kernel tells.
#[must_use]
pub fn near(pids: &[u32]) -> Vec<u32> {
    let mut seen = HashSet::new();
    let mut found: Vec<u32> = pids.iter().copied().filter(|pid| seen.insert(*pid)).collect();
    for pid in pids {
        let mut next = *pid;
        for _ in 0..=ABOVE {
            if next <= 1 || found.len() >= MOST {
                break;
            }
            let children = children(next);
            found.extend(std::iter::once(next).chain(children).filter(|pid| seen.insert(*pid)));
            let Ok(stat) = Stat::read(&Path::new("/proc").join(next.to_string())) else { break };
            next = stat.parent;
        }
    }
    found.truncate(MOST.max(pids.len()));
    found
}

/// Returns the children of a process's first thread; none where the kernel does not list them.
fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn whoever_was_started_together_is_near() {
        let mut shell = Command::new("/bin/sh").args(["-c", "sleep 60 & sleep 60 & echo; wait"]).spawn().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while children(shell.id()).len() < 2 && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        let together = children(shell.id());

        let found = near(&together[..1]);

        for pid in &together {
            let _ = Command::new("/bin/kill").arg(pid.to_string()).status();
        }
        shell.wait().unwrap();
        assert!(together.iter().chain(&[shell.id()]).all(|pid| found.contains(pid)), "{found:?} of {together:?}");
        assert!(!found.contains(&1));
    }
}
