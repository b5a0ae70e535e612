//! Sockets of this host's own services: which ports they listen on, and who is connected there.

use super::{Error, Socket, dump, open};

/// 1 << `TCP_ESTABLISHED`, 1 << `TCP_LISTEN`.
const ESTABLISHED: u32 = 1 << 1;
const LISTENING: u32 = 1 << 10;

/// Lists the established connections to a port of this host; the kernel leaves out all others itself.
///
/// # Errors
///
/// When the kernel does not answer.
pub fn established_at(port: u16) -> Result<Vec<Socket>, Error> {
    // A kernel that does not look at the port in the request names others, too.
    dump(&mut open()?, ESTABLISHED, port, |socket| socket.key.src_port() == port)
}

/// Lists the sockets that wait for connections.
///
/// # Errors
///
/// When the kernel does not answer.
pub fn listening() -> Result<Vec<Socket>, Error> {
    dump(&mut open()?, LISTENING, 0, |_| true)
}
