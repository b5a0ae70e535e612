//! Which processes a process's streams pass, and where they end, as people and programs read it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use netd_common::key::FlowKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Opened;
use crate::flow::protocol_name;
use crate::process::{Process, ProcessId};

/// Lines of one graph, at most.
const MOST_LINES: usize = 32;

/// Where a process's descriptors 0, 1 and 2 lead, over other processes, to sockets with a peer outside this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "StreamGraph")]
pub struct Graph {
    /// Number of the process that the walk began with.
    pub suspect: u32,
    /// The suspect first, then the nearest.
    pub nodes: Vec<Node>,
    /// Steps from process to process.
    pub edges: Vec<Edge>,
    /// Sockets where the walk left this host.
    pub ends: Vec<End>,
    /// Processes that are known to listen for an accepted end.
    #[serde(skip)]
    pub listeners: Vec<Arc<Process>>,
    /// Whether a bound was reached, so that there may be more.
    pub is_cut: bool,
}

/// A process in the graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "StreamNode")]
pub struct Node {
    #[serde(flatten)]
    pub id: ProcessId,
    /// The thread group leader's name, 15 bytes at most.
    pub comm: String,
    /// Path as in its own mount namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// Others reach it: it listens, or holds an accepted connection beside those that the walk came by.
    pub serves: bool,
    #[serde(skip)]
    pub process: Arc<Process>,
}

/// Which way bytes go, from the suspect's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "StreamCourse")]
#[serde(rename_all = "lowercase")]
pub enum Course {
    /// To its descriptor 0.
    In,
    /// From its descriptors 1 and 2.
    Out,
}

/// What joins two processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "StreamLink")]
#[serde(rename_all = "lowercase")]
pub enum Link {
    Pipe,
    Fifo,
    /// A pseudo-terminal: the far end is its master, or what runs on one whose master a relay holds.
    Terminal,
    /// A pair of Unix sockets.
    Unix,
    /// An IPv4 or IPv6 connection within this host.
    Loopback,
}

impl Link {
    /// Returns what people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pipe => "pipe",
            Self::Fifo => "fifo",
            Self::Terminal => "pty",
            Self::Unix => "socketpair",
            Self::Loopback => "loopback",
        }
    }
}

/// A descriptor of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Descriptor")]
pub struct Hold {
    /// The process.
    pub pid: u32,
    /// The descriptor's number.
    pub fd: u32,
}

/// One step from a process to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "StreamEdge")]
pub struct Edge {
    /// Which way bytes go.
    pub course: Course,
    /// What joins both.
    pub link: Link,
    /// The descriptor on the suspect's side.
    pub near: Hold,
    /// The descriptor on the other side.
    pub far: Hold,
    /// The step before it, by its place in `edges`; none from the suspect itself.
    pub before: Option<usize>,
}

/// A socket with a peer outside of this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "StreamEnd")]
pub struct End {
    /// Which way bytes go.
    pub course: Course,
    /// The descriptor that is the socket.
    pub at: Hold,
    /// Address and port on this host.
    #[schemars(with = "String", example = "198.51.100.7:443")]
    pub local: SocketAddr,
    /// Address and port of the peer.
    #[schemars(with = "String", example = "198.51.100.7:443")]
    pub remote: SocketAddr,
    /// IANA protocol number.
    pub proto: u8,
    /// Who began.
    pub opened: Opened,
    /// Nobody saw who began: the ports and listeners of this host told.
    pub is_guessed: bool,
    /// The step that led here; none where the suspect's own stream is the socket.
    pub edge: Option<usize>,
    /// Other processes that hold the same socket.
    pub holders: Vec<u32>,
    /// Processes that listen on its local port.
    pub listeners: Vec<u32>,
    #[serde(skip)]
    pub key: FlowKey,
}

impl Graph {
    #[must_use]
    pub fn node(&self, pid: u32) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id.pid == pid)
    }

    /// Returns a process that listens for one of the ends.
    #[must_use]
    pub fn listener(&self, pid: u32) -> Option<&Arc<Process>> {
        self.listeners.iter().find(|process| process.id.pid == pid)
    }

    /// Returns the steps from the suspect to an end, in this order.
    #[must_use]
    pub fn path(&self, end: &End) -> Vec<&Edge> {
        let mut path = Vec::new();
        let mut next = end.edge;
        while let Some(edge) = next.and_then(|at| self.edges.get(at)) {
            path.push(edge);
            // Steps come after those that led to them, whoever filled the graph.
            next = edge.before.filter(|before| path.len() <= self.edges.len() && *before < self.edges.len());
        }
        path.reverse();
        path
    }

    /// Returns one line for each end:
    /// `sh[9913] 0 <- pipe <- nc[9912] 3 == 10.0.3.7:51514 -> 198.51.100.7:4444 (connected)`.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.ends.iter().take(MOST_LINES).map(|end| self.line(end)).collect()
    }

    fn line(&self, end: &End) -> String {
        let arrow = match end.course {
            Course::In => "<-",
            Course::Out => "->",
        };
        let path = self.path(end);
        let first = path.first().map_or(end.at, |edge| edge.near);
        let mut line = self.hold(first);
        for (n, edge) in path.iter().enumerate() {
            let leaves = path.get(n + 1).map_or(end.at, |next| next.near);
            let far = Hold { pid: edge.far.pid, fd: leaves.fd };
            // Writing to a string cannot fail.
            let _ = write!(line, " {arrow} {} {arrow} {}", edge.link.name(), self.hold(far));
        }
        let (local, remote) = (end.local, end.remote);
        let how = match end.opened {
            Opened::Connected => "connected",
            Opened::Accepted => "accepted",
            Opened::Listening => "listening",
            Opened::Unknown => "unknown",
        };
        let guessed = if end.is_guessed { ", by its ports" } else { "" };
        let proto = if end.proto == 6 { String::new() } else { format!("{} ", protocol_name(end.proto)) };
        let _ = write!(line, " == {proto}{local} -> {remote} ({how}{guessed})");
        line
    }

    fn hold(&self, hold: Hold) -> String {
        let comm = self.node(hold.pid).map_or("?", |node| node.comm.as_str());
        format!("{comm}[{}] {}", hold.pid, hold.fd)
    }
}
