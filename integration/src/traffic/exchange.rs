//! One request and its answer, over TCP or UDP: what all clients here are made of.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::traffic::dice::Dice;
use crate::traffic::payload::Look;
use crate::traffic::server::{Books, Server};
use crate::traffic::{Tally, socket};

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Udp,
}

/// The server's address and its books.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) address: SocketAddr,
    books: Books,
}

impl From<&Server> for Remote {
    fn from(server: &Server) -> Self {
        Self { address: server.address(), books: server.books() }
    }
}

/// A request and the answer to it.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) request: Vec<u8>,
    pub(crate) answer: Vec<u8>,
}

impl Exchange {
    /// An exchange of the given lengths that looks like `look`.
    pub(crate) fn new(look: &Look, first: bool, lengths: Lengths, dice: &mut Dice) -> Self {
        Self { request: look.request(first, lengths.request, dice), answer: look.answer(first, lengths.answer, dice) }
    }
}

/// How long a request and its answer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    pub request: usize,
    pub answer: usize,
}

/// An open connection to a server; for UDP a socket with a port of its own.
#[derive(Debug)]
pub(crate) struct Connection {
    wire: Wire,
    local: SocketAddr,
    books: Books,
}

#[derive(Debug)]
enum Wire {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl Connection {
    pub(crate) fn open(
        transport: Transport,
        from: IpAddr,
        to: &Remote,
        patience: Duration,
        tally: &Tally,
    ) -> io::Result<Self> {
        let (wire, local) = match transport {
            Transport::Tcp => {
                let stream = socket::connect_tcp(from, to.address, patience)?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                let local = stream.local_addr()?;
                (Wire::Tcp(stream), local)
            }
            Transport::Udp => {
                let socket = socket::connect_udp(from, to.address)?;
                socket.set_read_timeout(Some(patience))?;
                let local = socket.local_addr()?;
                (Wire::Udp(socket), local)
            }
        };
        tally.connected();
        Ok(Self { wire, local, books: to.books.clone() })
    }

    /// Sends the request and waits for the whole answer.
    pub(crate) fn exchange(&mut self, exchange: &Exchange, tally: &Tally) -> io::Result<()> {
        self.books.announce(self.local, exchange.request.len(), exchange.answer.clone());
        match &mut self.wire {
            Wire::Tcp(stream) => {
                write_counted(stream, &exchange.request, tally)?;
                let mut left = exchange.answer.len();
                let mut buffer = vec![0; left.clamp(1, 64 * 1024)];
                while left > 0 {
                    let most = left.min(buffer.len());
                    let got = stream.read(&mut buffer[..most])?;
                    if got == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    tally.read(got);
                    left -= got;
                }
            }
            Wire::Udp(socket) => {
                let sent = socket.send(&exchange.request)?;
                tally.wrote(sent);
                tally.wrote_packets(1, 0);
                if !exchange.answer.is_empty() {
                    let mut buffer = vec![0; exchange.answer.len() + 1];
                    tally.read(socket.recv(&mut buffer)?);
                }
            }
        }
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.books.forget(self.local);
    }
}

/// Writes all of `bytes`, counting what the kernel took even when it then refuses the rest.
fn write_counted(stream: &mut TcpStream, mut bytes: &[u8], tally: &Tally) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = stream.write(bytes)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        tally.wrote(written);
        bytes = &bytes[written..];
    }
    Ok(())
}
