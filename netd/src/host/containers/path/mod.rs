//! What a cgroup's path says: container, pod, systemd unit.
//!
//! Runtimes name the cgroup after the container. The innermost container counts, so that a container inside another is
//! told from it; its helpers outside (conmon, LXC's monitor) belong to none.

use std::sync::Arc;

use netd_engine::process::{Container, Pod, Runtime};

/// Longest path read; the kernel's own limit of a path.
const MAX_PATH: usize = 4_096;
/// Longest name of an LXC or nspawn container that is kept.
const MAX_NAME: usize = 128;

/// Where a process lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub path: Option<Arc<str>>,
    pub container: Option<Arc<Container>>,
    /// The innermost systemd unit that is no container's.
    pub unit: Option<Arc<str>>,
}

/// Reads a path of the cgroup tree, of any hierarchy.
#[must_use]
pub fn place(path: &str) -> Place {
    if path.len() > MAX_PATH {
        return Place::default();
    }
    let mut container = None;
    let mut pod: Option<String> = None;
    let mut unit = None;
    let mut is_in_kubepods = false;
    let mut parent = "";
    // `a.slice:cri-containerd:ID` is what containerd writes when it is given systemd's path without its driver.
    for segment in path.split(['/', ':']).filter(|segment| !matches!(*segment, "" | "." | "..")) {
        is_in_kubepods |= segment.contains("kubepods");
        if is_in_kubepods && let Some(uid) = pod_uid(segment) {
            pod = Some(uid);
        }
        match read(parent, segment) {
            Segment::Container(runtime, id) => container = Some((runtime, id.to_owned(), pod.clone())),
            Segment::Named(name) => container = Some((Runtime::Unknown, unescape(name), None)),
            Segment::Unit => unit = Some(Arc::from(segment)),
            Segment::Other => {}
        }
        parent = segment;
    }
    let container = container.map(|(runtime, id, pod)| {
        let pod = pod.map(|uid| Pod { uid, ..Pod::default() });
        Arc::new(Container { id, runtime, pod, ..Container::default() })
    });
    Place { path: Some(Arc::from(path)), container, unit }
}

enum Segment<'a> {
    Container(Runtime, &'a str),
    /// A container that is known by its name alone.
    Named(&'a str),
    Unit,
    Other,
}

/// What precedes the id in a scope of systemd's, or in a directory where the runtime writes cgroups itself.
const PREFIXES: [(&str, Runtime); 7] = [
    ("docker-", Runtime::Docker),
    ("cri-containerd-", Runtime::Containerd),
    ("nerdctl-", Runtime::Containerd),
    ("containerd-", Runtime::Containerd),
    ("crio-", Runtime::CriO),
    ("libpod-payload-", Runtime::Podman),
    ("libpod-", Runtime::Podman),
];

/// Directories that hold nothing but containers.
const PARENTS: [(&str, Runtime); 7] = [
    ("docker", Runtime::Docker),
    ("ecs", Runtime::Docker),
    ("k8s.io", Runtime::Containerd),
    ("moby", Runtime::Containerd),
    ("cri-containerd", Runtime::Containerd),
    ("crio", Runtime::CriO),
    ("libpod_parent", Runtime::Podman),
];

const UNITS: [&str; 6] = [".service", ".scope", ".socket", ".mount", ".swap", ".timer"];

fn read<'a>(parent: &str, segment: &'a str) -> Segment<'a> {
    if ["crio-conmon-", "libpod-conmon-", "lxc.monitor"].iter().any(|helper| segment.starts_with(helper)) {
        return Segment::Other;
    }
    let bare = segment.strip_suffix(".scope").unwrap_or(segment);
    for (prefix, runtime) in PREFIXES {
        if let Some(id) = bare.strip_prefix(prefix).filter(|id| is_id(id)) {
            return Segment::Container(runtime, id);
        }
    }
    if is_id(bare) {
        let runtime =
            PARENTS.iter().find(|(name, _)| *name == parent).map_or(Runtime::Unknown, |(_, runtime)| *runtime);
        return Segment::Container(runtime, bare);
    }
    if let Some((_, id)) = bare.rsplit_once('-').filter(|(_, id)| is_id(id)) {
        return Segment::Container(Runtime::Unknown, id);
    }
    if let Some(name) = named(parent, segment) {
        return Segment::Named(name);
    }
    if UNITS.iter().any(|suffix| segment.len() > suffix.len() && segment.ends_with(suffix)) {
        return Segment::Unit;
    }
    Segment::Other
}

/// Returns the name of an LXC or systemd-nspawn container.
fn named<'a>(parent: &str, segment: &'a str) -> Option<&'a str> {
    let lxc = segment.strip_prefix("lxc.payload.").or(matches!(parent, "lxc" | "lxc.payload").then_some(segment));
    let nspawn = || segment.strip_prefix("systemd-nspawn@")?.strip_suffix(".service");
    let machine = || {
        let name = segment.strip_prefix("machine-")?.strip_suffix(".scope")?;
        // libvirt's virtual machines are registered at the same place.
        (!name.starts_with("qemu")).then_some(name)
    };
    lxc.or_else(nspawn).or_else(machine).filter(|name| !name.is_empty() && name.len() <= MAX_NAME)
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns the uid in `pod<uid>` or `kubepods-burstable-pod<uid_with_underscores>.slice`.
fn pod_uid(segment: &str) -> Option<String> {
    let name = match segment.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod")?.1,
        None => segment.strip_prefix("pod")?,
    };
    let uid = name.replace('_', "-");
    let is_uid = (32..=36).contains(&uid.len()) && uid.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    is_uid.then_some(uid)
}

/// Undoes systemd's escapes (`\x2d`) in the name of a unit.
fn unescape(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'\\', b'x', high, low, ..] => hexadecimal(*high).zip(hexadecimal(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = &rest[4..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hexadecimal(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests;
