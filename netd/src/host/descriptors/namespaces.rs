//! Asking the kernel inside the network namespaces of other processes.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::Path,
    thread,
};

use netd_engine::streams::{Opened, Socket};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::diag;
use crate::host::process::files;

/// Namespaces asked in one reading.
const LIMIT: usize = 1_024;

/// Lists the sockets of namespaces, each given by its inode and a process in it. Returns how many could not be asked.
///
/// Those of others are entered by a thread that ends with it: this one stays where it is.
pub(super) fn sockets(
    namespaces: &BTreeMap<u64, u32>,
    opened: &(dyn Fn(u64) -> Option<Opened> + Sync),
) -> (HashMap<u64, Socket>, u32) {
    let mut found = HashMap::new();
    let mut unread = namespaces.len().saturating_sub(LIMIT) as u32;
    let own = files::namespace(Path::new("/proc/thread-self"), "net");
    let is_own = |inode: u64| inode == 0 || inode == own;
    if namespaces.keys().any(|inode| is_own(*inode)) && diag::list(&mut found, own, opened).is_err() {
        unread += 1;
    }
    let others: Vec<_> = namespaces.iter().filter(|(inode, _)| !is_own(**inode)).take(LIMIT).collect();
    if others.is_empty() {
        return (found, unread);
    }
    let guest = || {
        let mut found = HashMap::new();
        let failed = others.iter().filter(|(inode, pid)| {
            let listed = enter(**inode, **pid).and_then(|()| diag::list(&mut found, **inode, opened));
            listed.inspect_err(|error| tracing::debug!(%error, pid, "sockets of a namespace are not known")).is_err()
        });
        let failed = failed.count() as u32;
        (found, failed)
    };
    let outcome = thread::scope(|scope| {
        let thread = thread::Builder::new().name("netd-namespaces".into()).spawn_scoped(scope, guest);
        thread.ok().and_then(|thread| thread.join().ok())
    });
    match outcome {
        Some((others, failed)) => {
            found.extend(others);
            (found, unread + failed)
        }
        None => (found, unread + others.len() as u32),
    }
}

/// Moves this thread into the namespace of process `pid`, if that is the one with `inode`.
fn enter(inode: u64, pid: u32) -> io::Result<()> {
    let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
    if namespace.metadata()?.ino() != inode {
        return Err(io::ErrorKind::NotFound.into());
    }
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(())
}
