//! Servers that are gone, and whoever still calls them.

use std::net::SocketAddr;

use super::super::wire::Talk;
use super::calendar::DAY_S;
use super::scene::{Actor, Host, Scene};

/// How a client tries again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Retry {
    Every(f64),
    /// Twice as long each time, up to the second length; then from the first again after a good while.
    BackOff(f64, f64),
}

pub(crate) struct Failing {
    pub(crate) host: Host,
    pub(crate) server: SocketAddr,
    pub(crate) retry: Retry,
    /// Whether something there refuses, rather than nothing answering.
    pub(crate) refuses: bool,
    pub(crate) wait_s: f64,
}

impl Actor for Failing {
    fn act(&mut self, now_s: f64, scene: &mut Scene) -> Option<f64> {
        let client = scene.socket(self.host);
        match self.refuses {
            true => Talk::refused(&mut scene.wire, now_s, client, self.server, 0.01),
            false => Talk::unanswered(&mut scene.wire, now_s, client, self.server),
        }
        self.wait_s = match self.retry {
            Retry::Every(every_s) => every_s,
            Retry::BackOff(least_s, most_s) if self.wait_s >= most_s => least_s,
            Retry::BackOff(least_s, _) => (2.0 * self.wait_s).max(least_s),
        };
        let next_s = now_s + self.wait_s + scene.dice.between(0.0, 0.02);
        (next_s < DAY_S).then_some(next_s)
    }
}
