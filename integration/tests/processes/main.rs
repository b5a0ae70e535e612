//! What the kernel programs tell of processes and the sockets they own, on the machine's own tree of processes and
//! cgroups: every fact is about a child of the test, and sockets are on a namespace's loopback.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod accept;
mod exec;
mod flood;
mod redirects;
mod sockets;
mod streams;
mod watcher;
