//! Much in one direction: backups, updates, uploads.

use super::super::wire::{By, Talk};
use super::calendar::{self, DAY_S};
use super::caller::Target;
use super::scene::{Actor, Host, Scene};
use super::speech::Speech;

/// When it happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum When {
    /// At these seconds of the day.
    At(f64),
    /// Every so long, later by up to so long.
    Every(f64, f64),
    /// Once in so long in the busiest hour of people.
    People(f64),
}

/// Transfers of a host; lengths lognormal in bytes `[up, down]`, with their spread, at a rate in bytes per second.
pub(crate) struct Bulk {
    pub(crate) host: Host,
    pub(crate) target: Target,
    pub(crate) speech: Speech,
    pub(crate) when: When,
    pub(crate) lengths: [f64; 2],
    pub(crate) spread: f64,
    pub(crate) rate: f64,
    /// When the next one is due, once it is known.
    pub(crate) due_s: Option<f64>,
}

impl Actor for Bulk {
    fn act(&mut self, now_s: f64, scene: &mut Scene) -> Option<f64> {
        match self.due_s {
            // Times pass through whole nanoseconds.
            Some(due_s) if now_s + 1e-6 >= due_s => self.transfer(now_s, scene),
            Some(_) | None => {}
        }
        let next_s = match (self.when, self.due_s) {
            (When::At(at_s), None) => Some(at_s),
            (When::At(_), Some(_)) => None,
            (When::Every(every_s, _), None) => Some(now_s + scene.dice.between(0.0, every_s)),
            (When::Every(every_s, late_s), Some(_)) => Some(now_s + every_s + scene.dice.between(0.0, late_s)),
            (When::People(mean_s), _) => calendar::next(&mut scene.dice, now_s, mean_s),
        };
        self.due_s = next_s;
        next_s.filter(|next_s| *next_s < DAY_S)
    }
}

impl Bulk {
    fn transfer(&self, now_s: f64, scene: &mut Scene) {
        let (address, ready_s, round_trip_s) = match self.target {
            Target::Named(site, port) => {
                let (address, ready_s) = scene.resolve(self.host, site, now_s);
                ((address, port).into(), ready_s, scene.service(site).round_trip_s)
            }
            Target::Address(address) => (address, now_s, 0.002),
        };
        let client = scene.socket(self.host);
        let Scene { wire, dice, .. } = scene;
        let lengths =
            self.lengths.map(|median| if median > 0.0 { dice.lognormal(median, self.spread) as u64 } else { 0 });
        let mut talk = Talk::tcp(wire, ready_s, client, address, round_trip_s);
        let at_s = ready_s + round_trip_s;
        let speech = &self.speech;
        talk.say(wire, at_s, By::Client, 520, || speech.first(By::Client, 520, dice));
        talk.say(wire, at_s + round_trip_s, By::Server, 3_600, || speech.first(By::Server, 3_600, dice));
        let lasts_s = (lengths[0] + lengths[1]) as f64 / self.rate;
        talk.stream(wire, at_s + 0.2, at_s + 0.2 + lasts_s.max(0.1), lengths);
        let end_s = talk.last_s();
        talk.say(wire, end_s + 0.05, By::Server, 420, Vec::new);
        talk.close(wire, end_s + 0.1, By::Client, round_trip_s);
    }
}
