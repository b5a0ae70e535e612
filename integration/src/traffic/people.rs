//! People who browse: bursts of requests to several servers, then a while of reading.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::namespace::Namespace;
use crate::traffic::dice::Dice;
use crate::traffic::exchange::{Connection, Exchange, Lengths, Remote, Transport};
use crate::traffic::payload::Look;
use crate::traffic::server::Server;
use crate::traffic::{Clock, Running, Sent, Tally};

/// How one person browses.
#[derive(Clone, Debug)]
pub struct Person {
    pub from: IpAddr,
    /// Half of the pauses between pages are longer. The pauses are lognormal with sigma 1.3.
    pub pause: Duration,
    pub seed: u64,
    pub duration: Duration,
}

const SIGMA: f64 = 1.3;
const PATIENCE: Duration = Duration::from_secs(10);

impl Person {
    /// Starts browsing the `servers`, which speak TCP.
    ///
    /// # Errors
    ///
    /// When it cannot be started, or there is no server.
    pub fn start(self, namespace: &Namespace, servers: &[Server]) -> Result<Running<Sent>> {
        if servers.is_empty() {
            bail!("a person needs servers to visit");
        }
        let servers: Vec<Remote> = servers.iter().map(Remote::from).collect();
        Running::start(namespace, "person", self.duration, move |clock, tally| {
            self.run(&servers, clock, tally);
            Ok(tally.sent())
        })
    }

    fn run(&self, servers: &[Remote], clock: &Clock, tally: &Tally) {
        let mut dice = Dice::new(self.seed);
        let mut next = Instant::now();
        loop {
            for _ in 0..dice.whole(1, 4) {
                self.visit(&servers[dice.whole(0, servers.len() - 1)], &mut dice, clock, tally);
            }
            // The pause begins when the page is there, as it does for people.
            let pause = dice.lognormal(self.pause.as_secs_f64(), SIGMA).min(600.0);
            next = next.max(Instant::now()) + Duration::from_secs_f64(pause);
            if !clock.sleep_until(next) {
                return;
            }
        }
    }

    /// Opens a connection and asks for a few things over it.
    fn visit(&self, server: &Remote, dice: &mut Dice, clock: &Clock, tally: &Tally) {
        let look = Look::Tls { name: Some("www.example".to_owned()) };
        let requests = dice.whole(1, 5);
        let mut open = None;
        for number in 0..requests {
            if clock.is_over() {
                return;
            }
            tally.begin();
            let connection = match open.take() {
                Some(connection) => Ok(connection),
                None => Connection::open(Transport::Tcp, self.from, server, PATIENCE, tally),
            };
            let answer = dice.lognormal(6_000.0, 1.5).min(500_000.0) as usize;
            let lengths = Lengths { request: dice.whole(300, 1_200), answer };
            let exchange = Exchange::new(&look, number == 0, lengths, dice);
            let answered = connection.and_then(|mut connection| {
                connection.exchange(&exchange, tally)?;
                Ok(connection)
            });
            tally.end(answered.is_ok());
            open = answered.ok();
            if open.is_none() {
                return;
            }
        }
    }
}
