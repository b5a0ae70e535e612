//! What a run's processes asked the kernel for, as strace(1) wrote it: exec, fork, connect, and what was duplicated onto
//! which descriptor.

use std::collections::HashMap;
use std::net::IpAddr;

/// The system calls that [`read`] understands, for strace's `-e trace=`.
pub const CALLS: &str = "execve,execveat,connect,dup,dup2,dup3,clone,clone3,fork,vfork";

/// A system call that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub pid: u32,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Exec {
        /// The path that was called; of a descriptor, what it leads to.
        path: String,
        /// The arguments as strace shows them.
        arguments: String,
    },
    Fork {
        child: u32,
    },
    /// To an IPv4 or IPv6 address; under way counts.
    Connect {
        descriptor: u32,
        address: IpAddr,
        port: u16,
    },
    Duplicate {
        /// The new descriptor.
        onto: u32,
        /// What it leads to.
        object: Object,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// An IPv4 or IPv6 socket; whether it has a peer.
    Inet {
        has_peer: bool,
    },
    Other,
}

/// Reads what `strace -f -yy -o FILE` wrote. Lines of any other kind are skipped.
#[must_use]
pub fn read(text: &str) -> Vec<Event> {
    let mut unfinished: HashMap<u32, &str> = HashMap::new();
    let mut events = Vec::new();
    for line in text.lines() {
        let Some((pid, call)) = line.split_once(' ') else { continue };
        let (Ok(pid), call) = (pid.parse(), call.trim_start()) else { continue };
        if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
            unfinished.insert(pid, begun);
            continue;
        }
        let whole = match call.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            Some((_, rest)) => format!("{}{rest}", unfinished.remove(&pid).unwrap_or_default()),
            None => call.to_owned(),
        };
        events.extend(event(&whole).map(|what| Event { pid, what }));
    }
    events
}

fn event(call: &str) -> Option<What> {
    let (name, rest) = call.split_once('(')?;
    // Results are aligned with spaces.
    let (inside, result) = rest.rsplit_once(" = ")?;
    let inside = inside.trim_end().strip_suffix(')')?;
    let number: i64 = leading_number(result)?;
    match name {
        "execve" if number == 0 => {
            let (path, arguments) = inside.split_once(", ")?;
            Some(What::Exec { path: path.trim_matches('"').to_owned(), arguments: listed(arguments) })
        }
        "execveat" if number == 0 => {
            let (descriptor, rest) = inside.split_once(", ")?;
            let (path, arguments) = rest.split_once(", ")?;
            let path = match path.trim_matches('"') {
                "" => descriptor.split_once('<')?.1.trim_end_matches('>'),
                path => path,
            };
            Some(What::Exec { path: path.to_owned(), arguments: listed(arguments) })
        }
        "fork" | "vfork" | "clone" | "clone3" => {
            Some(What::Fork { child: u32::try_from(number).ok().filter(|child| *child > 0)? })
        }
        "connect" if number == 0 || result.contains("EINPROGRESS") => connect(inside),
        "dup" | "dup2" | "dup3" => {
            let object = result.split_once('<').map_or(Object::Other, |(_, path)| object(path));
            Some(What::Duplicate { onto: u32::try_from(number).ok()?, object })
        }
        _ => None,
    }
}

fn connect(inside: &str) -> Option<What> {
    let descriptor = u32::try_from(leading_number(inside)?).ok()?;
    let port = after(inside, "port=htons(")?.split(')').next()?.parse().ok()?;
    let quoted = after(inside, "inet_addr(\"").or_else(|| after(inside, "inet_pton(AF_INET6, \""))?;
    let address = quoted.split('"').next()?.parse().ok()?;
    Some(What::Connect { descriptor, address, port })
}

/// `TCP:[10.0.0.1:5->10.0.0.2:80]>`, `UDPv6:[[::1]:5->[::2]:53]>`, or an inode where there is no address.
fn object(path: &str) -> Object {
    let is_inet = ["TCP:[", "TCPv6:[", "UDP:[", "UDPv6:["].iter().any(|kind| path.starts_with(kind));
    if is_inet { Object::Inet { has_peer: path.contains("->") } } else { Object::Other }
}

fn listed(arguments: &str) -> String {
    let list = arguments.split_once('[').map_or("", |(_, rest)| rest);
    let list = list.rsplit_once(']').map_or(list, |(list, _)| list);
    list.split(", ").map(|word| word.trim_matches('"')).collect::<Vec<_>>().join(" ")
}

fn after<'t>(text: &'t str, what: &str) -> Option<&'t str> {
    text.split_once(what).map(|(_, rest)| rest)
}

fn leading_number(text: &str) -> Option<i64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_was_duplicated_onto_a_stream_is_seen() {
        let text = "7 dup2(3<TCP:[10.0.0.1:5->10.0.0.2:80]>, 0</dev/null>) = 0<TCP:[10.0.0.1:5->10.0.0.2:80]>\n";

        let object = Object::Inet { has_peer: true };
        assert_eq!(read(text), [Event { pid: 7, what: What::Duplicate { onto: 0, object } }]);
    }

    #[test]
    fn a_call_that_was_interrupted_is_put_together() {
        let text = "7 connect(3<TCPv6:[99]>, {sa_family=AF_INET6, sin6_port=htons(443), sin6_flowinfo=htonl(0), \
                    inet_pton(AF_INET6, \"2001:db8::9\", &sin6_addr), sin6_scope_id=0}, 28 <unfinished ...>\n\
                    8 vfork( <unfinished ...>\n\
                    7 <... connect resumed>)       = -1 EINPROGRESS (Operation now in progress)\n\
                    8 <... vfork resumed>) = 9\n";

        let address = "2001:db8::9".parse().unwrap();
        let connect = What::Connect { descriptor: 3, address, port: 443 };
        assert_eq!(read(text), [Event { pid: 7, what: connect }, Event { pid: 8, what: What::Fork { child: 9 } }]);
    }

    #[test]
    fn an_exec_from_memory_names_its_descriptor() {
        let text =
            "7 execveat(4</memfd:payload (deleted)>, \"\", [\"sh\", \"-i\"], 0x1 /* 7 vars */, AT_EMPTY_PATH) = 0\n";

        let (path, arguments) = ("/memfd:payload (deleted)".to_owned(), "sh -i".to_owned());
        assert_eq!(read(text), [Event { pid: 7, what: What::Exec { path, arguments } }]);
    }

    #[test]
    fn what_failed_did_not_happen() {
        let text = "7 execve(\"/nowhere\", [\"x\"], 0x1 /* 7 vars */) = -1 ENOENT (No such file or directory)\n\
                    7 connect(3<TCP:[9]>, {sa_family=AF_INET, sin_port=htons(1), sin_addr=inet_addr(\"10.0.0.2\")}, 16) = -1 ECONNREFUSED (Connection refused)\n";

        assert_eq!(read(text), []);
    }
}
