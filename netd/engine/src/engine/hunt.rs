//! Searches through everything that is followed, findings or not. They are made a slice a call, so that packets wait for a
//! slice only.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Engine, Followed};
use crate::history::Key;
use crate::process::Process;
use crate::slab::Handle;

/// What a search for rhythms tells at most: the strongest.
pub const MOST: usize = 1_000;
/// Histories or zones looked at in a slice, and histories described.
const LOOKED: u32 = 2_048;
const DESCRIBED: usize = 32;

/// The strongest rhythms, whether they suffice for a finding or not.
#[derive(Debug, Default)]
pub struct Rhythms {
    next: u32,
    /// ln E, and whose it is.
    strongest: Vec<(f64, Handle)>,
    told: Vec<Followed>,
    followed: u64,
}

impl Rhythms {
    /// Goes on with the search; returns whether it is over.
    pub fn step(&mut self, engine: &Engine) -> bool {
        let places = engine.histories.places();
        if self.next < places {
            let end = self.next.saturating_add(LOOKED).min(places);
            for place in self.next..end {
                let Some(handle) = engine.histories.at(place) else { continue };
                let Some(history) = engine.histories.get(handle) else { continue };
                // A name that shares its pair's history is told with the pair.
                if matches!(history.key, Key::Name(_)) && history.twin.is_some() {
                    continue;
                }
                self.followed += 1;
                self.strongest.push((history.beats.ln_e(), handle));
            }
            self.next = end;
            if self.strongest.len() > MOST {
                self.strongest.select_nth_unstable_by(MOST, |(a, _), (b, _)| b.total_cmp(a));
                self.strongest.truncate(MOST);
            }
            return false;
        }
        let rest = self.strongest.len().saturating_sub(DESCRIBED);
        for (_, handle) in self.strongest.drain(rest..) {
            let followed = engine.followed(handle, |_, _| true);
            // Too few turns tell nothing about a rhythm.
            self.told.extend(followed.filter(|followed| followed.would_be.is_some()));
        }
        self.strongest.is_empty()
    }

    /// Returns what was found, the highest score first, and how many histories there are.
    #[must_use]
    pub fn found(mut self) -> (Vec<Followed>, u64) {
        let score = |followed: &Followed| followed.would_be.as_ref().map_or(0.0, |finding| finding.score);
        self.told
            .sort_by(|a, b| score(b).total_cmp(&score(a)).then(b.ln_e.total_cmp(&a.ln_e)).then(a.pair.cmp(&b.pair)));
        (self.told, self.followed)
    }
}

/// What one client asks about one domain, over about five minutes.
#[derive(Clone, Debug, PartialEq)]
pub struct NameTraffic {
    pub client: IpAddr,
    pub domain: Arc<str>,
    pub queries: u32,
    pub answers: u32,
    /// Answers that there is no such name.
    pub no_such_name: u32,
    /// Queries for record types that carry data.
    pub carriers: u32,
    /// Bytes of labels below the domain, those of them that look encoded, and of answers.
    pub label_bytes: u32,
    pub encoded_bytes: u32,
    pub answer_bytes: u32,
    /// Estimates of bytes that were not there before: of labels, and of answers that carry data.
    pub unique_up: f64,
    pub unique_down: f64,
    /// Whether a finding was raised about it.
    pub is_finding: bool,
}

/// Everything that is asked of DNS.
#[derive(Debug, Default)]
pub struct Names {
    next: u32,
    found: Vec<NameTraffic>,
}

impl Names {
    /// Goes on with the search; returns whether it is over.
    pub fn step(&mut self, engine: &Engine) -> bool {
        let places = engine.dns_watch.zone_places();
        let end = self.next.saturating_add(LOOKED).min(places);
        let live = (self.next..end).filter_map(|place| engine.dns_watch.zone_at(place, engine.now_ns));
        self.found.extend(live.filter(|traffic| traffic.queries > 0));
        self.next = end;
        end == places
    }

    /// Returns what was found, in no order that means anything.
    #[must_use]
    pub fn found(self) -> Vec<NameTraffic> {
        self.found
    }
}

/// Echo requests and replies of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoTraffic {
    pub originator: IpAddr,
    pub responder: IpAddr,
    /// Exchanges with an answer, and those whose answer is of another length than the question.
    pub answered: u32,
    pub unlike: u32,
    /// Payload of the conversation that was heard last: sent by originator and responder.
    pub bytes: [u64; 2],
}

/// Somebody who waits on a port of this host.
#[derive(Clone, Debug, PartialEq)]
pub struct Listening {
    /// IANA protocol number.
    pub proto: u8,
    /// All zero for every address.
    pub address: IpAddr,
    pub port: u16,
    pub process: Arc<Process>,
}

impl Engine {
    /// Returns whose echoes are not what was asked for, in no order that means anything; 8,192 at most.
    #[must_use]
    pub fn echoes(&self) -> Vec<EchoTraffic> {
        self.echoes.traffic().collect()
    }

    /// Returns who waits on the ports of this host, as far as the kernel told; in no order that means anything, 65,536 at most.
    #[must_use]
    pub fn listening(&self) -> Vec<Listening> {
        let complete = |mut listening: Listening| {
            if let Some(known) = self.processes.completed(&listening.process) {
                listening.process = Arc::clone(known);
            }
            listening
        };
        self.processes.listening().map(complete).collect()
    }

    /// Returns how many unique bytes, up and down, make names below one domain a tunnel worth judging.
    #[must_use]
    pub fn tunnel_from(&self) -> [f64; 2] {
        [self.weights.dns.tunnel_up, self.weights.dns.tunnel_down]
    }
}
