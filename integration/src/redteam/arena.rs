//! Where the red team plays: a victim that netd watches, and the outside.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, Result};

use crate::api::Api;
use crate::daemon::{Daemon, Setup};
use crate::lab::{C2, IMPLANT, Lab, v6};
use crate::namespace::Namespace;

use super::tree;

/// What netd is told to do about a shell: it is cut wherever a finding counts, and everything that its own rules call fit
/// for a block is blocked, without a limit per hour.
pub const POLICY: &str = "\
apiVersion: netd/v1
kind: ResponsePolicy
metadata:
  name: redteam
spec:
  mode: enforce
  action: drop
  target: endpoint
  ttl: 10m
  block_when: two_kinds
  respond:
    host_reverse_shell: {from: medium, do: [cut]}
    bind_shell: {from: medium, do: [cut]}
    reverse_shell: {from: medium, do: [cut]}
  max_blocks_per_hour: 10000
";

/// A host, the outside, and netd on the host if it was asked for. Dropping it takes all of it down.
#[derive(Debug)]
pub struct Arena {
    // The daemon ends before its namespace.
    daemon: Option<Daemon>,
    lab: Lab,
}

impl Arena {
    /// Builds the two namespaces, without netd.
    ///
    /// # Errors
    ///
    /// As [`Lab::host`].
    pub fn new() -> Result<Self> {
        Ok(Self { daemon: None, lab: Lab::host()? })
    }

    /// Starts netd on the victim's side, in `mode`. Call it from a thread that outlives the arena.
    ///
    /// # Errors
    ///
    /// As [`Daemon::start`].
    pub fn watch(&mut self, mode: &str) -> Result<()> {
        let policy = POLICY.replace("mode: enforce", &format!("mode: {mode}"));
        // The cgroup programs see who opens a socket; they are attached to the whole tree.
        let setup = Setup { mode, policy: Some(&policy), cgroup: true, ..Setup::default() };
        self.daemon = Some(Daemon::start(&self.lab, setup)?);
        Ok(())
    }

    /// Returns the inode that names the victim's network namespace.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell.
    pub fn victim_inode(&self) -> Result<u64> {
        inode(self.victim())
    }

    #[must_use]
    pub fn victim(&self) -> &Namespace {
        self.lab.watched()
    }

    #[must_use]
    pub fn outside(&self) -> &Namespace {
        self.lab.wan()
    }

    /// Returns netd, where it was started.
    #[must_use]
    pub fn daemon(&mut self) -> Option<&mut Daemon> {
        self.daemon.as_mut()
    }

    /// Returns netd's API, where it was started.
    #[must_use]
    pub fn api(&self) -> Option<Api> {
        self.daemon.as_ref().map(Daemon::api)
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.daemon = None;
        // Sessions of a server have environments of their own, and no mark.
        for namespace in [self.victim(), self.outside()] {
            if let Ok(inode) = inode(namespace) {
                tree::end_inside(inode);
            }
        }
    }
}

fn inode(namespace: &Namespace) -> Result<u64> {
    Ok(fs::metadata(namespace.path()).context("cannot tell the namespace's inode")?.ino())
}

/// Returns the victim's address.
#[must_use]
pub fn victim_address(is_v6: bool) -> IpAddr {
    if is_v6 { v6(IMPLANT).into() } else { IMPLANT.into() }
}

/// Returns the attacker's address; servers of the benign list live there, too.
#[must_use]
pub fn outside_address(is_v6: bool) -> IpAddr {
    if is_v6 { v6(C2).into() } else { C2.into() }
}
