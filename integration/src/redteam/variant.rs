//! A variant of the matrix: a command line, and what it is known to need.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where Debian puts programs; what a user installed elsewhere is no part of the matrix.
pub const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// A way to give a shell to somebody else.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    pub name: &'static str,
    pub class: Class,
    /// Packaged programs that it runs, by name or path.
    pub needs: &'static [&'static str],
    pub transport: Transport,
    pub role: Role,
    /// Whether its tools speak IPv6.
    pub v6: bool,
    /// Whether there is no shell that waits: each command is a process of its own, so that the first command is the first
    /// moment at which anything can be known.
    pub per_command: bool,
    /// Its command line: see [`Place::fill`] for the words in braces.
    pub command: &'static [&'static str],
}

/// What leads from the shell to the network; a short run plays one variant a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Standard streams are the connected socket.
    Direct,
    Fifo,
    Pipe,
    SocketPair,
    Pty,
    /// Several processes, or loopback, between the shell and the socket.
    Relay,
    /// A process that stays and runs each command with redirected streams.
    Loop,
    Tls,
    Udp,
    /// The executable has no file.
    Memory,
    /// Connected by `io_uring`.
    Uring,
    /// The victim listens.
    Bind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Tls,
    Udp,
}

/// What the victim does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Connects,
    Listens,
}

impl Variant {
    /// A variant over TCP that connects, and whose tools speak IPv6.
    #[must_use]
    pub const fn tcp(
        name: &'static str,
        class: Class,
        needs: &'static [&'static str],
        command: &'static [&'static str],
    ) -> Self {
        let (transport, role) = (Transport::Tcp, Role::Connects);
        Self { name, class, needs, transport, role, v6: true, per_command: false, command }
    }

    #[must_use]
    pub const fn over(self, transport: Transport) -> Self {
        Self { transport, ..self }
    }

    #[must_use]
    pub const fn listening(self) -> Self {
        Self { role: Role::Listens, ..self }
    }

    #[must_use]
    pub const fn only_v4(self) -> Self {
        Self { v6: false, ..self }
    }

    #[must_use]
    pub const fn per_command(self) -> Self {
        Self { per_command: true, ..self }
    }

    /// Returns the first needed program that is not installed.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        self.needs.iter().copied().find(|name| program(name).is_none())
    }
}

/// Returns where a packaged program is.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.exists());
    }
    PATH.split(':').map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

/// What a command line is filled with.
#[derive(Clone, Debug)]
pub struct Place {
    /// The attacker's address, or the one that the victim listens at.
    pub address: SocketAddr,
    /// A folder of the run's own.
    pub folder: PathBuf,
    /// This program, which has the small implants as hidden modes.
    pub me: PathBuf,
}

impl Place {
    /// Fills `{ip}`, `{port}`, `{host}` (bracketed where IPv6), `{n}` (4 or 6), `{dir}`, `{me}`, and `{p1}`, `{p2}`: two
    /// ports that only this run uses.
    #[must_use]
    pub fn fill(&self, command: &[&str]) -> Vec<String> {
        let (ip, port) = (self.address.ip(), self.address.port());
        let (host, n) = if ip.is_ipv6() { (format!("[{ip}]"), "6") } else { (ip.to_string(), "4") };
        let words = [
            ("{ip}", ip.to_string()),
            ("{port}", port.to_string()),
            ("{host}", host),
            ("{n}", n.to_owned()),
            ("{dir}", self.folder.display().to_string()),
            ("{me}", self.me.display().to_string()),
            ("{p1}", port.saturating_sub(10_000).to_string()),
            ("{p2}", port.saturating_sub(5_000).to_string()),
        ];
        let filled =
            |text: &&str| words.iter().fold((*text).to_owned(), |text, (name, value)| text.replace(name, value));
        command.iter().map(filled).collect()
    }
}
