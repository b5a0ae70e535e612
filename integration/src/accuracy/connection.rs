//! What a log of connections says: all that the rivals get to see.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// A connection, from its first packet to its last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Connection {
    pub(crate) start_s: f64,
    pub(crate) end_s: f64,
    /// IP bytes that the originator sent.
    pub(crate) bytes: u64,
}

/// Closed connections by originator and responder, in the order in which they began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(BTreeMap<(IpAddr, IpAddr), Vec<Connection>>);

impl Log {
    pub(crate) fn add(&mut self, pair: (IpAddr, IpAddr), connection: Connection) {
        self.0.entry(pair).or_default().push(connection);
    }

    /// Returns each pair with its connections.
    pub(crate) fn pairs(&mut self) -> impl Iterator<Item = (&(IpAddr, IpAddr), &[Connection])> {
        self.0.iter_mut().map(|(pair, connections)| {
            connections.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
            (pair, connections.as_slice())
        })
    }
}
