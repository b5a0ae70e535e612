//! An implant's timer, without the implant: it asks, gets an answer, and sleeps.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::namespace::Namespace;
use crate::traffic::dice::Dice;
use crate::traffic::exchange::{Connection, Exchange, Remote};
pub use crate::traffic::exchange::{Lengths, Transport};
use crate::traffic::payload::Look;
use crate::traffic::server::Server;
use crate::traffic::timer::Timer;
use crate::traffic::{Clock, Running, Sent, Tally};

/// How an implant checks in.
#[derive(Clone, Debug)]
pub struct Implant {
    pub from: IpAddr,
    pub transport: Transport,
    pub timer: Timer,
    pub connections: Connections,
    pub lengths: Lengths,
    /// How often somebody gives it something to do; `None`: nobody is at the other end.
    pub tasks: Option<Tasks>,
    pub look: Look,
    pub seed: u64,
    pub duration: Duration,
}

/// An operator who now and then answers with a command; its output goes back at once, over the same connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tasks {
    /// One check-in in so many.
    pub every: u32,
    /// Bytes of the command, in place of the usual answer.
    pub command: usize,
    /// Bytes of its output.
    pub output: usize,
}

/// Whether check-ins share a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// A new connection for each check-in.
    PerCheckIn,
    /// One connection for all, opened again when it breaks.
    One,
}

/// Longest wait for an answer; a cut implant must keep its timer.
const PATIENCE: Duration = Duration::from_secs(1);

impl Implant {
    /// Starts checking in with `server`, at once for the first time.
    ///
    /// # Errors
    ///
    /// When it cannot be started. Being cut is no error: it is counted as failed exchanges.
    pub fn start(self, namespace: &Namespace, server: &Server) -> Result<Running<Sent>> {
        let server = Remote::from(server);
        Running::start(namespace, "implant", self.duration, move |clock, tally| {
            self.run(&server, clock, tally);
            Ok(tally.sent())
        })
    }

    fn run(&self, server: &Remote, clock: &Clock, tally: &Tally) {
        let (mut sleeps, mut payloads) = (Dice::new(self.seed), Dice::new(!self.seed));
        let patience = PATIENCE.min(self.timer.period.mul_f64(0.8));
        let mut open: Option<Connection> = None;
        let mut next = Instant::now();
        for number in 1_u32.. {
            tally.begin();
            let first = open.is_none();
            let connection = match open.take() {
                Some(connection) => Ok(connection),
                None => Connection::open(self.transport, self.from, server, patience, tally),
            };
            let exchanges = self.exchanges(number, first, &mut payloads);
            let answered = connection.and_then(|mut connection| {
                exchanges.iter().try_for_each(|exchange| connection.exchange(exchange, tally))?;
                Ok(connection)
            });
            tally.end(answered.is_ok());
            open = answered.ok().filter(|_| self.connections == Connections::One);

            next += self.timer.next(&mut sleeps);
            if !clock.sleep_until(next) {
                return;
            }
        }
    }

    /// Returns what is said in one check-in.
    fn exchanges(&self, number: u32, first: bool, payloads: &mut Dice) -> Vec<Exchange> {
        let mut exchange = |first, lengths| Exchange::new(&self.look, first, lengths, payloads);
        match self.tasks.filter(|tasks| number.is_multiple_of(tasks.every)) {
            None => vec![exchange(first, self.lengths)],
            Some(tasks) => vec![
                exchange(first, Lengths { answer: tasks.command, ..self.lengths }),
                exchange(false, Lengths { request: tasks.output, ..self.lengths }),
            ],
        }
    }
}
