//! SYN floods: first segments of connections that nobody answers, each of a five-tuple of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;

use crate::frames::{Frame, flags};
use crate::lab::FirstHop;
use crate::namespace::Namespace;
use crate::traffic::flood::{BATCH, Batch, Pace, packet_socket, send_all};
use crate::traffic::{Running, Sent};

/// A flood of SYNs.
#[derive(Clone, Copy, Debug)]
pub struct SynFlood {
    pub hop: FirstHop,
    pub from: IpAddr,
    pub walk: Walk,
    pub pace: Pace,
}

/// Which five-tuples come one after the other.
#[derive(Clone, Copy, Debug)]
pub enum Walk {
    /// Every segment goes to another host, counted up from `to`, of which there are `hosts`; then with another source
    /// port. IPv6 sources come from another /64 each.
    Hosts { to: IpAddr, hosts: u32 },
    /// Every port of one host, then of the next: a scan.
    Ports { to: Ipv4Addr, first: u16, ports: u16 },
}

const SERVICE: u16 = 443;
const FIRST_PORT: u16 = 1_024;

impl SynFlood {
    /// Returns source and destination of segment `number`.
    #[must_use]
    pub fn tuple(&self, number: u64) -> (SocketAddr, SocketAddr) {
        let port = |step: u64| FIRST_PORT + (step % u64::from(u16::MAX - FIRST_PORT)) as u16;
        match self.walk {
            Walk::Hosts { to: IpAddr::V4(to), hosts } => {
                let to = Ipv4Addr::from_bits(to.to_bits() + (number % u64::from(hosts)) as u32);
                ((self.from, port(number / u64::from(hosts))).into(), (to, SERVICE).into())
            }
            Walk::Hosts { to: IpAddr::V6(to), hosts } => {
                let to = Ipv6Addr::from_bits(to.to_bits() + u128::from(number % u64::from(hosts)));
                let from = match self.from {
                    IpAddr::V6(from) => Ipv6Addr::from_bits(from.to_bits() ^ u128::from(number as u16) << 64).into(),
                    from @ IpAddr::V4(_) => from,
                };
                ((from, port(number / u64::from(hosts))).into(), (to, SERVICE).into())
            }
            Walk::Ports { to, first, ports } => {
                let ports = u64::from(ports.max(1));
                let to = Ipv4Addr::from_bits(to.to_bits() + (number / ports) as u32);
                ((self.from, port(number)).into(), (to, first + (number % ports) as u16).into())
            }
        }
    }

    /// Starts sending. The frames pass TC egress of the interface as those of a socket do.
    ///
    /// # Errors
    ///
    /// Without root, or when the interface does not exist.
    pub fn start(self, namespace: &Namespace) -> Result<Running<Sent>> {
        let socket = namespace.run(|| packet_socket(self.hop.interface))?;
        Running::start(namespace, "syns", self.pace.duration, move |clock, tally| {
            let template = Template::new(&self);
            let mut batch = Batch::new(vec![template.frame.clone(); BATCH]);
            send_all(&socket, &mut batch, self.pace, clock, tally, |number, frame| {
                template.write(self.tuple(number), frame);
            });
            Ok(tally.sent())
        })
    }
}

/// The frame of the first tuple, and where a frame differs from it.
struct Template {
    frame: Vec<u8>,
    /// Where the addresses, TCP and the checksum of IPv4 begin.
    addresses: usize,
    tcp: usize,
    ip_checksum: Option<usize>,
}

const ETHERNET: usize = 14;
const CHECKSUM: usize = 16;

impl Template {
    fn new(flood: &SynFlood) -> Self {
        let (from, to) = flood.tuple(0);
        let frame = Frame::tcp(from, to).flags(flags::SYN).macs(flood.hop.source, flood.hop.destination).build();
        match to {
            SocketAddr::V4(_) => {
                Self { frame, addresses: ETHERNET + 12, tcp: ETHERNET + 20, ip_checksum: Some(ETHERNET + 10) }
            }
            SocketAddr::V6(_) => Self { frame, addresses: ETHERNET + 8, tcp: ETHERNET + 40, ip_checksum: None },
        }
    }

    /// Writes a tuple into `frame`, a copy of the template; checksums change by what changes (RFC 1624).
    fn write(&self, (from, to): (SocketAddr, SocketAddr), frame: &mut [u8]) {
        match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                frame[self.addresses..self.addresses + 4].copy_from_slice(&from.octets());
                frame[self.addresses + 4..self.addresses + 8].copy_from_slice(&to.octets());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                frame[self.addresses..self.addresses + 16].copy_from_slice(&from.octets());
                frame[self.addresses + 16..self.addresses + 32].copy_from_slice(&to.octets());
            }
            // No tuple is of both.
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return,
        }
        frame[self.tcp..self.tcp + 2].copy_from_slice(&from.port().to_be_bytes());
        frame[self.tcp + 2..self.tcp + 4].copy_from_slice(&to.port().to_be_bytes());
        if let Some(at) = self.ip_checksum {
            self.mend(frame, at, self.addresses..self.tcp);
        }
        self.mend(frame, self.tcp + CHECKSUM, self.addresses..self.tcp + 4);
    }

    /// Makes the checksum at `at` true again after a change of the words in `changed`.
    fn mend(&self, frame: &mut [u8], at: usize, changed: std::ops::Range<usize>) {
        let word = |frame: &[u8], at: usize| u32::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
        let mut sum = u32::from(!(word(&self.frame, at) as u16));
        for at in changed.step_by(2) {
            sum += u32::from(!(word(&self.frame, at) as u16)) + word(frame, at);
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        frame[at..at + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;
    use crate::lab::{IMPLANT, NOWHERE, NOWHERE_V6, v6};

    fn floods() -> [SynFlood; 3] {
        let hop = FirstHop { interface: "eth0", source: [2, 0, 0, 0, 0, 1], destination: [2, 0, 0, 0, 0, 2] };
        let pace = Pace::full(Duration::ZERO);
        let walks = [
            (IpAddr::from(IMPLANT), Walk::Hosts { to: NOWHERE.into(), hosts: 4_096 }),
            (v6(IMPLANT).into(), Walk::Hosts { to: NOWHERE_V6.into(), hosts: 1 << 20 }),
            (IMPLANT.into(), Walk::Ports { to: NOWHERE, first: 1, ports: 65_000 }),
        ];
        walks.map(|(from, walk)| SynFlood { hop, from, walk, pace })
    }

    #[test]
    fn every_frame_is_the_one_that_would_be_built_for_its_tuple() {
        for flood in floods() {
            let template = Template::new(&flood);
            let mut frame = template.frame.clone();
            for number in (0..2_000_000).step_by(97) {
                let (from, to) = flood.tuple(number);

                template.write((from, to), &mut frame);

                let built = Frame::tcp(from, to).flags(flags::SYN).macs(flood.hop.source, flood.hop.destination);
                assert_eq!(frame, built.build(), "segment {number}");
            }
        }
    }

    #[test]
    fn no_tuple_comes_twice() {
        for flood in floods() {
            let tuples: HashSet<_> = (0..300_000).map(|number| flood.tuple(number)).collect();

            assert_eq!(tuples.len(), 300_000);
        }
    }
}
