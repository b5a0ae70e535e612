//! People who browse: sessions of pages, a page of many connections, each to a name that is asked for first.

use super::super::wire::{By, Talk};
use super::calendar::{self, DAY_S};
use super::scene::{Actor, Host, Scene, Site};
use super::speech::Speech;

/// A new session in so long, in the busiest hour.
const SESSION_S: f64 = 900.0;
const READING_S: f64 = 22.0;
/// How often a page has no further page after it in its session.
const LEAVES: f64 = 0.12;
const FAILS: f64 = 0.015;
const BY_QUIC: f64 = 0.2;
const IN_CLEAR: f64 = 0.04;

/// Someone at a workstation.
pub(crate) struct Person {
    pub(crate) host: Host,
    /// What this person visits, the favourites first, and what pages are made of.
    pub(crate) pages: Vec<Site>,
    pub(crate) parts: Vec<Site>,
}

impl Actor for Person {
    fn first_s(&self, scene: &mut Scene) -> Option<f64> {
        calendar::next(&mut scene.dice, 0.0, SESSION_S)
    }

    fn act(&mut self, now_s: f64, scene: &mut Scene) -> Option<f64> {
        let page = self.pages[favourite(scene, self.pages.len())];
        self.connection(page, now_s, scene);
        for _ in 0..scene.dice.whole(1, 9) {
            let part = self.parts[favourite(scene, self.parts.len())];
            let at_s = now_s + scene.dice.between(0.08, 1.2);
            self.connection(part, at_s, scene);
        }
        if scene.dice.chance(LEAVES) {
            return calendar::next(&mut scene.dice, now_s, SESSION_S);
        }
        let next_s = now_s + scene.dice.lognormal(READING_S, 1.2).max(0.5);
        (next_s < DAY_S).then_some(next_s)
    }
}

impl Person {
    fn connection(&self, site: Site, at_s: f64, scene: &mut Scene) {
        let (address, ready_s) = scene.resolve(self.host, site, at_s);
        let client = scene.socket(self.host);
        let (name, round_trip_s) = {
            let service = scene.service(site);
            (service.name.clone(), service.round_trip_s)
        };
        let Scene { wire, dice, .. } = scene;
        if dice.chance(FAILS) {
            match dice.chance(0.5) {
                true => Talk::refused(wire, ready_s, client, (address, 443).into(), round_trip_s),
                false => Talk::unanswered(wire, ready_s, client, (address, 443).into()),
            }
            return;
        }
        let in_clear = dice.chance(IN_CLEAR);
        let is_quic = !in_clear && dice.chance(BY_QUIC);
        let (port, speech) = match (in_clear, is_quic) {
            (true, _) => (80, Speech::http(&name)),
            (false, true) => (443, Speech::Quic),
            (false, false) => (443, Speech::tls(&name)),
        };
        let mut talk = match is_quic {
            true => Talk::udp(client, (address, port).into()),
            false => Talk::tcp(wire, ready_s, client, (address, port).into(), round_trip_s),
        };
        let mut now_s = ready_s + round_trip_s;
        for number in 0..dice.whole(1, 5) {
            let request = if number == 0 { dice.whole(517, 1_300) } else { dice.whole(60, 1_500) } as u64;
            let answer = dice.lognormal(9_000.0, 1.6).clamp(150.0, 4e7) as u64;
            talk.say(wire, now_s, By::Client, request, || speech.first(By::Client, request, dice));
            now_s += round_trip_s + dice.between(0.004, 0.2);
            talk.say(wire, now_s, By::Server, answer, || speech.first(By::Server, answer, dice));
            now_s += if dice.chance(0.75) { dice.between(0.02, 0.4) } else { dice.lognormal(6.0, 1.2).min(100.0) };
        }
        if is_quic {
            talk.over(wire);
            return;
        }
        // Browsers keep a connection for later; servers close what is idle after a time of their own.
        let (idle_s, by) = match dice.whole(0, 3) {
            0 => (5.0, By::Server),
            1 => (60.0, By::Server),
            2 => (115.0, By::Client),
            _ => (dice.between(0.01, 30.0), By::Client),
        };
        if idle_s > 5.0 {
            talk.rest(wire);
        }
        talk.close(wire, now_s + idle_s, by, round_trip_s);
    }
}

/// Returns a place in a list whose first entries are much liked.
fn favourite(scene: &mut Scene, count: usize) -> usize {
    let place = (count as f64).powf(scene.dice.unit()) - 1.0;
    (place as usize).min(count - 1)
}
