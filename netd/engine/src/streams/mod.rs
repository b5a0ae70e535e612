//! What the standard streams of a process lead to: see DETECTION.md 3.1.

mod snapshot;

pub use snapshot::{Access, Descriptor, InetSocket, Object, Opened, Snapshot, Socket};
