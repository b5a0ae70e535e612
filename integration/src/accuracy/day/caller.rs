//! Whoever calls a server again and again: agents, appliances, pollers. Implants are made of the same.

use std::net::{IpAddr, SocketAddr};

use super::super::wire::{By, Talk};
use super::calendar;
use super::scene::{Actor, Host, Scene, Site};
use super::speech::Speech;

/// Round trips within the network, and to an address outside.
const NEAR_S: f64 = 0.001;
const FAR_S: f64 = 0.04;

/// Who is called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// By name, asked for again when the answer's time is over.
    Named(Site, u16),
    Address(SocketAddr),
}

/// How long it waits between calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wait {
    /// Uniform between two lengths, in seconds; from the beginning of one call to that of the next.
    Between(f64, f64),
    /// Exponential with this mean.
    Poisson(f64),
}

/// What carries the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// A TCP connection for each call.
    Each,
    /// TCP connections that carry this many calls one after another.
    Kept(u32),
    /// Datagrams from one socket for each call.
    Datagram,
    /// Datagrams from one socket for all.
    Socket,
}

/// When it calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Hours {
    Always,
    Working,
    /// From then on, in seconds of the day, for so long.
    From(f64, f64),
}

/// Tasks that a call may bring: a larger answer, and soon a larger upload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tasks {
    pub(crate) chance: f64,
    pub(crate) order: (u64, u64),
    pub(crate) result: (u64, u64),
}

/// A caller. Lengths are drawn uniformly, per call.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) host: Host,
    pub(crate) target: Target,
    pub(crate) speech: Speech,
    pub(crate) wait: Wait,
    pub(crate) carrier: Carrier,
    pub(crate) hours: Hours,
    pub(crate) request: (u64, u64),
    pub(crate) answer: (u64, u64),
    pub(crate) tasks: Option<Tasks>,
}

/// A caller under way.
pub(crate) struct Calling {
    caller: Caller,
    talk: Option<(Talk, u32)>,
}

impl Caller {
    pub(crate) fn actor(self) -> Box<dyn Actor> {
        Box::new(Calling { caller: self, talk: None })
    }
}

impl Actor for Calling {
    fn act(&mut self, now_s: f64, scene: &mut Scene) -> Option<f64> {
        if let Hours::From(begin_s, lasts_s) = self.caller.hours {
            if now_s < begin_s {
                return Some(begin_s);
            }
            if now_s > begin_s + lasts_s {
                self.hang_up(now_s, scene);
                return None;
            }
        }
        let rests = self.caller.hours == Hours::Working && !calendar::is_working(now_s);
        if rests {
            self.hang_up(now_s, scene);
        } else {
            self.call(now_s, scene);
        }
        let wait_s = match self.caller.wait {
            Wait::Between(least, most) => scene.dice.between(least, most),
            Wait::Poisson(mean) => calendar::exponential(&mut scene.dice, mean),
        };
        let next_s = now_s + wait_s.max(0.001);
        if next_s >= calendar::DAY_S {
            self.hang_up(now_s, scene);
            return None;
        }
        Some(next_s)
    }
}

impl Calling {
    fn call(&mut self, now_s: f64, scene: &mut Scene) {
        let (mut talk, calls, round_trip_s) = self.connection(now_s, scene);
        let caller = &self.caller;
        let speech = &caller.speech;
        let mut at_s = now_s.max(talk.last_s());
        let exchange = |talk: &mut Talk, at_s: f64, scene: &mut Scene, [request, answer]: [u64; 2]| {
            let Scene { wire, dice, .. } = scene;
            talk.say(wire, at_s, By::Client, request, || speech.first(By::Client, request, dice));
            let done_s = at_s + round_trip_s + dice.between(0.001, 0.03);
            if answer > 0 {
                talk.say(wire, done_s, By::Server, answer, || speech.first(By::Server, answer, dice));
            }
            done_s
        };
        let lengths = [caller.request, caller.answer].map(|(least, most)| between(scene, least, most));
        at_s = exchange(&mut talk, at_s, scene, lengths);
        if let Some(tasks) = caller.tasks
            && scene.dice.chance(tasks.chance)
        {
            let order = between(scene, tasks.order.0, tasks.order.1);
            let Scene { wire, dice, .. } = scene;
            talk.say(wire, at_s, By::Server, order, Vec::new);
            at_s += dice.between(1.0, 6.0);
            let result = between(scene, tasks.result.0, tasks.result.1);
            at_s = exchange(&mut talk, at_s, scene, [result, caller.answer.0]);
        }
        let wire = &mut scene.wire;
        match caller.carrier {
            Carrier::Each => talk.close(wire, at_s + 0.005, By::Client, round_trip_s),
            Carrier::Datagram => talk.over(wire),
            Carrier::Kept(most) if calls + 1 >= most => talk.close(wire, at_s + 0.005, By::Client, round_trip_s),
            Carrier::Kept(_) | Carrier::Socket => {
                if matches!(caller.wait, Wait::Between(least, _) if least > 10.0) {
                    talk.rest(wire);
                }
                self.talk = Some((talk, calls + 1));
            }
        }
    }

    /// Returns a conversation that is ready, how many calls it carried, and its round trip.
    fn connection(&mut self, now_s: f64, scene: &mut Scene) -> (Talk, u32, f64) {
        let round_trip_s = match self.caller.target {
            Target::Named(site, _) => scene.service(site).round_trip_s,
            Target::Address(address) if is_near(address) => NEAR_S,
            Target::Address(_) => FAR_S,
        };
        if let Some((talk, calls)) = self.talk.take() {
            return (talk, calls, round_trip_s);
        }
        let (address, ready_s) = match self.caller.target {
            Target::Named(site, port) => {
                let (address, ready_s) = scene.resolve(self.caller.host, site, now_s);
                ((address, port).into(), ready_s)
            }
            Target::Address(address) => (address, now_s),
        };
        let client = scene.socket(self.caller.host);
        let talk = match self.caller.carrier {
            Carrier::Each | Carrier::Kept(_) => Talk::tcp(&mut scene.wire, ready_s, client, address, round_trip_s),
            Carrier::Datagram | Carrier::Socket => Talk::udp(client, address),
        };
        (talk, 0, round_trip_s)
    }

    fn hang_up(&mut self, now_s: f64, scene: &mut Scene) {
        let Some((talk, _)) = self.talk.take() else { return };
        match self.caller.carrier {
            Carrier::Each | Carrier::Kept(_) => talk.close(&mut scene.wire, now_s, By::Client, FAR_S),
            Carrier::Datagram | Carrier::Socket => {}
        }
    }
}

fn is_near(address: SocketAddr) -> bool {
    matches!(address.ip(), IpAddr::V4(address) if address.is_private())
}

fn between(scene: &mut Scene, least: u64, most: u64) -> u64 {
    scene.dice.whole(least as usize, most as usize) as u64
}
