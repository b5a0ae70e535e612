//! Large transfers, one after the other, as fast as they go or at a pace.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::namespace::Namespace;
use crate::traffic::dice::Dice;
use crate::traffic::exchange::{Connection, Exchange, Remote, Transport};
use crate::traffic::payload::Look;
use crate::traffic::server::Server;
use crate::traffic::{Clock, Running, Sent, Tally};

/// A transfer that repeats.
#[derive(Clone, Debug)]
pub struct Bulk {
    pub from: IpAddr,
    pub direction: Direction,
    /// Bytes of one transfer; each has its own connection.
    pub bytes: usize,
    /// From the start of one transfer to the start of the next, the median of a lognormal: who sends by a timer has a
    /// rhythm to be found. Zero is as fast as they go.
    pub every: Duration,
    pub duration: Duration,
}

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Up,
    Down,
}

/// A transfer is held in memory as a whole.
const MOST_BYTES: usize = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(5);
/// What asks for a download, and what confirms an upload.
const SMALL: usize = 600;
const SIGMA: f64 = 0.8;
/// A ClientHello.
const HELLO: usize = 300;

impl Bulk {
    /// Starts transferring to or from `server`, which speaks TCP.
    ///
    /// # Errors
    ///
    /// When it cannot be started, or the transfer is too large.
    pub fn start(self, namespace: &Namespace, server: &Server) -> Result<Running<Sent>> {
        if self.bytes > MOST_BYTES {
            bail!("a transfer of {} bytes; the largest is {MOST_BYTES}", self.bytes);
        }
        let server = Remote::from(server);
        Running::start(namespace, "bulk", self.duration, move |clock, tally| {
            self.run(&server, clock, tally);
            Ok(tally.sent())
        })
    }

    fn run(&self, server: &Remote, clock: &Clock, tally: &Tally) {
        let (request, answer) = match self.direction {
            Direction::Up => (self.bytes, SMALL),
            Direction::Down => (SMALL, self.bytes),
        };
        // On a port of the web, what is no TLS would itself be a finding.
        let look = Look::Tls { name: Some("files.example".into()) };
        let dice = &mut Dice::new(0);
        let hello = look.request(true, HELLO, dice);
        let upload = look.request(false, request.saturating_sub(hello.len()), dice);
        let exchange = Exchange { request: [hello, upload].concat(), answer: look.answer(true, answer, dice) };
        let mut next = Instant::now();
        loop {
            tally.begin();
            let done = Connection::open(Transport::Tcp, self.from, server, PATIENCE, tally)
                .and_then(|mut connection| connection.exchange(&exchange, tally));
            tally.end(done.is_ok());
            next += Duration::from_secs_f64(dice.lognormal(self.every.as_secs_f64(), SIGMA).min(600.0));
            if !clock.sleep_until(next.max(Instant::now())) {
                return;
            }
        }
    }
}
