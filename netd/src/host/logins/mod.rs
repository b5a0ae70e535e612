//! Who is logged in on this host over the network: peers of connections to a management port that somebody has authenticated.
//!
//! A connection proves nothing: anybody can open one. What counts is written after authentication, by root, and in no
//! place that whoever connects can write to:
//!
//! - a session of `systemd-logind` whose remote host is the peer,
//! - a login record of `utmp` with the peer's address, whose process lives,
//! - a login session of the kernel's audit (`pam_loginuid`), begun by the root process that holds the connection: no
//!   terminal is needed, so file transfers and tunnels count, too.

mod audit;
mod logind;
mod utmp;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
};

use super::{
    process::files::bounded,
    sockets::{self, Error},
};

/// Peers told at once.
pub const MOST: usize = 256;
/// The port of SSH, where no process says otherwise.
const SSH: u16 = 22;

/// Which ports management comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ports {
    /// Those that a process named `sshd` listens on, else 22.
    #[default]
    Sshd,
    These(BTreeSet<u16>),
}

/// Where a host tells of those logged in.
#[derive(Clone, Debug)]
pub struct Logins {
    proc: PathBuf,
    sessions: PathBuf,
    utmp: PathBuf,
}

impl Default for Logins {
    fn default() -> Self {
        Self { proc: "/proc".into(), sessions: "/run/systemd/sessions".into(), utmp: "/run/utmp".into() }
    }
}

impl Logins {
    /// Returns the peers of established connections to `ports` that are logged in, at most [`MOST`].
    ///
    /// Asks the kernel and reads small files; of processes it looks at those named `sshd`, and only where a connection is
    /// explained by nothing else. For a thread that may block.
    ///
    /// # Errors
    ///
    /// When the kernel does not list its sockets.
    pub fn peers(&self, ports: &Ports) -> Result<BTreeSet<IpAddr>, Error> {
        let ports = match ports {
            Ports::Sshd => self.sshd_ports()?,
            Ports::These(ports) => ports.clone(),
        };
        let mut open: BTreeMap<IpAddr, Vec<u32>> = BTreeMap::new();
        for port in ports {
            for socket in sockets::established_at(port)? {
                let peer = socket.key.dst.ip();
                if !peer.is_loopback() {
                    open.entry(peer).or_default().push(socket.inode);
                }
            }
        }
        if open.is_empty() {
            return Ok(BTreeSet::new());
        }
        let named: BTreeSet<_> = logind::remote_hosts(&self.sessions)
            .into_iter()
            .chain(utmp::remote_hosts(&self.utmp, |pid| self.proc.join(pid.to_string()).is_dir()))
            .collect();
        let (mut peers, unexplained): (BTreeMap<_, _>, BTreeMap<_, _>) =
            open.into_iter().partition(|(peer, _)| named.contains(peer));
        if !unexplained.is_empty() {
            let authenticated = audit::authenticated(&self.proc);
            let is_held = |inodes: &[u32]| inodes.iter().any(|inode| authenticated.contains(inode));
            peers.extend(unexplained.into_iter().filter(|(_, inodes)| is_held(inodes)));
        }
        Ok(peers.into_keys().take(MOST).collect())
    }

    fn sshd_ports(&self) -> Result<BTreeSet<u16>, Error> {
        let held = audit::unauthenticated(&self.proc);
        let listening = if held.is_empty() { Vec::new() } else { sockets::listening()? };
        let ports: BTreeSet<_> = listening
            .iter()
            .filter(|socket| held.contains(&socket.inode))
            .map(|socket| socket.key.src_port())
            .collect();
        Ok(if ports.is_empty() { BTreeSet::from([SSH]) } else { ports })
    }
}

/// Reads the beginning of a small file; `None` where there is none.
fn read_bounded(path: &Path, limit: u64) -> Option<String> {
    bounded(path, limit).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn address(text: &str) -> Option<IpAddr> {
    text.trim().parse().ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests;
