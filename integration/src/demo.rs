//! The scenario of `netd demo`: an implant that calls home from among people, transfers and clocks.
//!
//! It builds and runs the network and knows the truth about it; netd, its report and its verdicts are the command's.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use crate::lab::{C2, IMPLANT, Lab, PEOPLE, STORE, TIME, WEB};
use crate::traffic::bulk::{Bulk, Direction};
use crate::traffic::exchange::{Lengths, Transport};
use crate::traffic::implant::{Connections, Implant, Tasks};
use crate::traffic::ntp::NtpClient;
use crate::traffic::payload::Look;
use crate::traffic::people::Person;
use crate::traffic::server::Server;
use crate::traffic::sink::{Match, PacketCounter};
use crate::traffic::timer::{Jitter, Timer};
use crate::traffic::{Running, Sent};

/// How the implant sleeps: every 2 s with 20 % jitter.
pub const TIMER: Timer = Timer { period: Duration::from_secs(2), jitter: Jitter::Below(0.2), missed: 0.0 };
/// How often its operator gives it something to do.
pub const TASKS: Tasks = Tasks { every: 5, command: 1_300, output: 9_000 };
/// Where the implant calls.
pub const C2_PORT: u16 = 443;

/// A gateway laboratory with its traffic. Dropping it stops and removes everything.
#[derive(Debug)]
pub struct Demo {
    // Generators stop before the servers that they talk to, and those before their namespaces.
    implant: Running<Sent>,
    ordinary: Vec<Running<Sent>>,
    c2: Server,
    servers: Vec<Server>,
    c2_packets: PacketCounter,
    lab: Lab,
}

/// What is true in the laboratory so far, measured at its ends and never asked of netd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Check-ins that the implant began, and those that were answered.
    pub check_ins: u64,
    pub answered: u64,
    /// Packets from the implant that arrived in front of its server, with or without payload.
    pub c2_packets: u64,
    pub c2_bytes: u64,
    /// Nanoseconds since 1970 of the last byte that the implant's server got; 0 if there was none.
    pub last_c2_byte_ns: u64,
    pub ordinary: Ordinary,
}

/// The traffic of everyone else. While it runs, what is under way counts as neither answered nor failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ordinary {
    pub exchanges: u64,
    pub answered: u64,
    pub failed: u64,
    /// Payload that clients sent, and that servers got.
    pub sent_bytes: u64,
    pub received_bytes: u64,
}

impl Ordinary {
    /// Returns the payload that was sent and did not arrive; exact once the traffic has stopped.
    #[must_use]
    pub fn lost_bytes(&self) -> u64 {
        self.sent_bytes.saturating_sub(self.received_bytes)
    }
}

impl Demo {
    /// Builds the laboratory and starts its traffic, for at most `duration`. The implant's first call comes at once.
    ///
    /// # Errors
    ///
    /// As [`Lab::gateway`].
    pub fn start(seed: u64, duration: Duration) -> Result<Self> {
        let lab = Lab::gateway()?;
        let tcp = |address| Server::tcp(lab.wan(), SocketAddr::new(address, 443));
        let c2 = Server::tcp(lab.wan(), (C2, C2_PORT).into())?;
        let from_implant = Match::v4(6).from(IMPLANT.into()).to(C2.into());
        let c2_packets = PacketCounter::start(lab.wan(), "eth0", from_implant)?;
        let mut servers = WEB.into_iter().map(|address| tcp(address.into())).collect::<Result<Vec<_>>>()?;

        let mut ordinary = Vec::new();
        for (number, person) in (0..).zip(&PEOPLE[..4]) {
            let pause = Duration::from_millis(1_200);
            let person = Person { from: (*person).into(), pause, seed: seed.wrapping_add(1 + number), duration };
            ordinary.push(person.start(lab.lan(), &servers)?);
        }
        let store = tcp(STORE.into())?;
        let bulk = Bulk {
            from: PEOPLE[4].into(),
            direction: Direction::Down,
            bytes: 4 << 20,
            every: Duration::from_secs(3),
            duration,
        };
        ordinary.push(bulk.start(lab.lan(), &store)?);
        let clock = Server::udp(lab.wan(), (TIME, 123).into())?;
        let ntp = NtpClient { from: PEOPLE[5].into(), poll: Duration::from_secs(2), duration };
        ordinary.push(ntp.start(lab.lan(), &clock)?);
        servers.extend([store, clock]);

        let implant = Implant {
            from: IMPLANT.into(),
            transport: Transport::Tcp,
            timer: TIMER,
            connections: Connections::PerCheckIn,
            lengths: Lengths { request: 350, answer: 420 },
            tasks: Some(TASKS),
            look: Look::Tls { name: None },
            seed,
            duration,
        };
        let implant = implant.start(lab.lan(), &c2)?;
        Ok(Self { implant, ordinary, c2, servers, c2_packets, lab })
    }

    /// Returns the laboratory: netd runs in its watched namespace.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Returns the pair that netd must find.
    #[must_use]
    pub fn pair(&self) -> (std::net::IpAddr, SocketAddr) {
        (IMPLANT.into(), self.c2.address())
    }

    /// Returns what is true so far.
    ///
    /// # Errors
    ///
    /// When the packets in front of the implant's server cannot be read.
    pub fn facts(&self) -> Result<Facts> {
        // What was sent is read before what arrived: bytes under way never look lost.
        let sent: Vec<Sent> = self.ordinary.iter().map(Running::sent).collect();
        self.facts_with(&sent)
    }

    /// Stops all traffic, each generator after the exchange that it is at, and returns the final facts.
    ///
    /// # Errors
    ///
    /// When a generator failed.
    pub fn stop(mut self) -> Result<Facts> {
        // All are told before the first is waited for.
        self.implant.tell_to_stop();
        self.ordinary.iter().for_each(Running::tell_to_stop);
        let sent = self.ordinary.drain(..).map(Running::stop).collect::<Result<Vec<_>>>()?;
        self.facts_with(&sent)
    }

    fn facts_with(&self, sent: &[Sent]) -> Result<Facts> {
        let sum = |count: fn(&Sent) -> u64| sent.iter().map(count).sum();
        let ordinary = Ordinary {
            exchanges: sum(|sent| sent.exchanges),
            answered: sum(|sent| sent.answered),
            failed: sum(|sent| sent.failed),
            sent_bytes: sum(|sent| sent.bytes),
            received_bytes: self.servers.iter().map(|server| server.total().bytes).sum(),
        };
        let (implant, c2) = (self.implant.sent(), self.c2.total());
        Ok(Facts {
            check_ins: implant.exchanges,
            answered: implant.answered,
            c2_packets: self.c2_packets.packets()?,
            c2_bytes: c2.bytes,
            last_c2_byte_ns: c2.last_ns,
            ordinary,
        })
    }
}
