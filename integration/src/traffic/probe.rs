//! Small questions to a network: does this get through?

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Result;

use crate::lab::Lab;
use crate::traffic::flood::{Flood, Pace};
use crate::traffic::sink::{Match, PacketCounter};
use crate::traffic::socket;

/// Longest a probe may take.
const PATIENCE: Duration = Duration::from_secs(10);
const PACKETS: u64 = 20;

/// What became of a probe's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// All of them arrived.
    Free,
    /// None of them did.
    Cut,
    /// Some of them did.
    Partial { sent: u64, arrived: u64 },
}

/// Sends a few datagrams from the lan and looks how many arrive at the wan. Nobody must listen or answer there:
/// see [`crate::lab::NOWHERE`].
///
/// # Errors
///
/// When it cannot be tried.
pub fn datagrams(lab: &Lab, from: SocketAddr, to: SocketAddr) -> Result<Passage> {
    let counter = PacketCounter::start(lab.wan(), "eth0", tuple(from, to))?;
    let flood = Flood { from, to, payload: 18, pace: Pace::count(PACKETS, PATIENCE) };
    // Refused by the kernel is cut, too. The laboratory's links are synchronous: what was sent has arrived.
    flood.start(lab.lan())?.join()?;
    Ok(match counter.packets()? {
        0 => Passage::Cut,
        PACKETS => Passage::Free,
        arrived => Passage::Partial { sent: PACKETS, arrived },
    })
}

/// Connects from the lan by TCP; returns the error of a connection that does not come about.
///
/// # Errors
///
/// When it cannot be tried.
pub fn connects(lab: &Lab, from: IpAddr, to: SocketAddr) -> Result<io::Result<()>> {
    lab.lan().run(|| Ok(socket::connect_tcp(from, to, Duration::from_millis(500)).map(drop)))
}

/// Returns what counts the UDP packets of a five-tuple.
#[must_use]
pub fn tuple(from: SocketAddr, to: SocketAddr) -> Match {
    let any = if to.is_ipv4() { Match::v4(17) } else { Match::v6(17) };
    any.from(from.ip()).from_port(from.port()).to(to.ip()).to_port(to.port())
}
