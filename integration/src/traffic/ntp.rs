//! A clock that keeps itself right: the most regular ordinary traffic there is.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::namespace::Namespace;
use crate::traffic::exchange::{Connection, Exchange, Remote, Transport};
use crate::traffic::payload::ntp;
use crate::traffic::server::Server;
use crate::traffic::{Clock, Running, Sent, Tally};

/// An NTP client that polls on the dot.
#[derive(Clone, Debug)]
pub struct NtpClient {
    pub from: IpAddr,
    /// 16 to 64 s in the wild; shorter where a test has no time.
    pub poll: Duration,
    pub duration: Duration,
}

const PATIENCE: Duration = Duration::from_secs(2);

impl NtpClient {
    /// Starts polling `server`, which speaks UDP at port 123.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(self, namespace: &Namespace, server: &Server) -> Result<Running<Sent>> {
        let server = Remote::from(server);
        Running::start(namespace, "ntp", self.duration, move |clock, tally| {
            self.run(&server, clock, tally);
            Ok(tally.sent())
        })
    }

    fn run(&self, server: &Remote, clock: &Clock, tally: &Tally) {
        let mut next = Instant::now();
        let mut open = None;
        let mut poll = 0;
        loop {
            poll += 1;
            let exchange = Exchange { request: ntp(3, poll).to_vec(), answer: ntp(4, poll).to_vec() };
            tally.begin();
            let connection = match open.take() {
                Some(connection) => Ok(connection),
                None => Connection::open(Transport::Udp, self.from, server, PATIENCE, tally),
            };
            let answered = connection.and_then(|mut connection| {
                connection.exchange(&exchange, tally)?;
                Ok(connection)
            });
            tally.end(answered.is_ok());
            open = answered.ok();
            next += self.poll;
            if !clock.sleep_until(next) {
                return;
            }
        }
    }
}
