//! People at a terminal and in calls.

use std::net::SocketAddr;

use super::super::wire::{By, Talk};
use super::calendar::{self, DAY_S};
use super::scene::{Actor, Host, Scene, Site, outside};
use super::speech::Speech;

const SSH: Speech = Speech::Text("SSH-2.0-OpenSSH_9.6\r\n", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n");

/// Once in so long in the busiest hour.
const LOG_IN_S: f64 = 4_000.0;
const CALL_S: f64 = 9_000.0;

/// Someone who logs in to servers by SSH, now and then.
pub(crate) struct Terminal {
    pub(crate) host: Host,
    pub(crate) servers: Vec<SocketAddr>,
}

impl Actor for Terminal {
    fn first_s(&self, scene: &mut Scene) -> Option<f64> {
        calendar::next(&mut scene.dice, 0.0, LOG_IN_S)
    }

    fn act(&mut self, now_s: f64, scene: &mut Scene) -> Option<f64> {
        let server = self.servers[scene.dice.whole(0, self.servers.len() - 1)];
        let client = scene.socket(self.host);
        let Scene { wire, dice, .. } = scene;
        let mut talk = Talk::tcp(wire, now_s, client, server, 0.01);
        let mut at_s = now_s + 0.01;
        talk.say(wire, at_s, By::Client, 21, || SSH.first(By::Client, 21, dice));
        talk.say(wire, at_s + 0.01, By::Server, 32, || SSH.first(By::Server, 32, dice));
        for length in [1_500, 1_100, 600, 100] {
            at_s += 0.03;
            talk.say(wire, at_s, By::Client, length, Vec::new);
            talk.say(wire, at_s + 0.01, By::Server, length, Vec::new);
        }
        // A command: typed in a few keystrokes, each echoed, then its output.
        for _ in 0..dice.whole(4, 120) {
            at_s += dice.lognormal(7.0, 1.1).clamp(0.4, 600.0);
            for _ in 0..dice.whole(1, 4) {
                talk.say(wire, at_s, By::Client, 36, Vec::new);
                talk.say(wire, at_s + 0.02, By::Server, 36, Vec::new);
                at_s += dice.lognormal(0.5, 0.8).clamp(0.1, 5.0);
            }
            talk.say(wire, at_s, By::Client, 36, Vec::new);
            let output = dice.lognormal(700.0, 1.4).min(2e5) as u64;
            talk.say(wire, at_s + dice.lognormal(0.05, 1.0).min(20.0), By::Server, output.max(52), Vec::new);
            at_s = talk.last_s();
        }
        talk.close(wire, at_s + 2.0, By::Client, 0.01);
        calendar::next(&mut scene.dice, at_s + 2.0, LOG_IN_S)
    }
}

/// Someone in video calls: media over UDP from both sides, an address found by STUN, signals over TLS.
pub(crate) struct Calls {
    pub(crate) host: Host,
    pub(crate) service: Site,
}

impl Actor for Calls {
    fn first_s(&self, scene: &mut Scene) -> Option<f64> {
        calendar::next(&mut scene.dice, 0.0, CALL_S)
    }

    fn act(&mut self, now_s: f64, scene: &mut Scene) -> Option<f64> {
        let (address, ready_s) = scene.resolve(self.host, self.service, now_s);
        let (signals, media) = (scene.socket(self.host), scene.socket(self.host));
        let (name, round_trip_s) = (scene.service(self.service).name.clone(), scene.service(self.service).round_trip_s);
        let speech = Speech::tls(&name);
        let Scene { wire, dice, .. } = scene;
        let lasts_s = dice.lognormal(1_500.0, 0.6).clamp(120.0, 7_000.0);
        let relay = outside(dice);
        let mut stream = Talk::udp(media, (relay, [3_478, 19_305, 50_000][dice.whole(0, 2)]).into());
        let rate = dice.between(40_000.0, 250_000.0);
        stream.stream(wire, ready_s + 1.0, ready_s + lasts_s, [(rate * lasts_s * 0.5) as u64, (rate * lasts_s) as u64]);
        stream.over(wire);

        let mut talk = Talk::tcp(wire, ready_s, signals, (address, 443).into(), round_trip_s);
        let mut at_s = ready_s + round_trip_s;
        talk.say(wire, at_s, By::Client, 600, || speech.first(By::Client, 600, dice));
        talk.say(wire, at_s + round_trip_s, By::Server, 3_900, || speech.first(By::Server, 3_900, dice));
        while at_s < ready_s + lasts_s {
            at_s += dice.lognormal(9.0, 1.0).clamp(0.8, 60.0);
            let by = if dice.chance(0.65) { By::Server } else { By::Client };
            let length = if by == By::Server { dice.whole(197, 7_600) } else { dice.whole(60, 900) } as u64;
            talk.say(wire, at_s, by, length, Vec::new);
            let other = if by == By::Client { By::Server } else { By::Client };
            talk.say(wire, at_s + round_trip_s, other, dice.whole(40, 300) as u64, Vec::new);
        }
        talk.close(wire, at_s + 1.0, By::Client, round_trip_s);
        calendar::next(&mut scene.dice, now_s + lasts_s, CALL_S).filter(|next_s| *next_s < DAY_S)
    }
}
