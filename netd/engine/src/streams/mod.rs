//! What the standard streams of a process lead to: see DETECTION.md 3.1.

mod graph;
mod index;
mod snapshot;
mod trace;
mod worth;

pub use graph::{Course, Edge, End, Graph, Hold, Link, Node};
pub use snapshot::{Access, Descriptor, InetSocket, Object, Opened, Snapshot, Socket};
pub use trace::{MOST_DEPTH, MOST_EDGES, MOST_NODES, trace};
pub use worth::{Stream, is_worth_tracing};

/// Why a process's streams are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// It began to run another program.
    Exec,
    /// One of its descriptors 0 to 2 became another.
    Redirect,
    /// It ran before netd did.
    Start,
}

/// A look at a process's streams: whose, why, when. Record time, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    pub pid: u32,
    pub trigger: Trigger,
    /// When what triggered it happened.
    pub since_ns: u64,
    /// When the snapshot was complete.
    pub at_ns: u64,
}
