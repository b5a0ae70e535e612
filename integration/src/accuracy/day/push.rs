//! Chat and notifications: a connection that stays, on which the server speaks when people do, and both keep it alive.

use super::super::wire::{By, Talk};
use super::calendar::{self, DAY_S};
use super::scene::{Actor, Host, Scene, Site};
use super::speech::Speech;

/// A client of a push service.
pub(crate) struct Push {
    host: Host,
    site: Site,
    port: u16,
    /// Who keeps the connection alive, how often, and with how many bytes.
    keeper: By,
    alive_s: f64,
    /// Messages: one in so long in the busiest hour, and the share that this client writes.
    message_s: f64,
    writes: f64,
    talk: Option<Talk>,
    next_alive_s: f64,
    next_message_s: Option<f64>,
    until_s: f64,
}

impl Push {
    pub(crate) fn new(host: Host, (site, port): (Site, u16), scene: &mut Scene, message_s: f64) -> Self {
        const ALIVE_S: [f64; 6] = [25.0, 30.0, 55.0, 240.0, 270.0, 900.0];
        let dice = &mut scene.dice;
        Self {
            host,
            site,
            port,
            keeper: if dice.chance(0.6) { By::Client } else { By::Server },
            alive_s: ALIVE_S[dice.whole(0, ALIVE_S.len() - 1)],
            message_s,
            writes: dice.between(0.1, 0.5),
            talk: None,
            next_alive_s: 0.0,
            next_message_s: None,
            until_s: 0.0,
        }
    }
}

impl Actor for Push {
    fn act(&mut self, now_s: f64, scene: &mut Scene) -> Option<f64> {
        let round_trip_s = scene.service(self.site).round_trip_s;
        if let Some(talk) = self.talk.take_if(|_| now_s >= self.until_s) {
            talk.close(&mut scene.wire, now_s, By::Server, round_trip_s);
        }
        let mut talk = match self.talk.take() {
            Some(talk) => talk,
            None => self.connect(now_s, scene),
        };
        let at_s = now_s.max(talk.last_s());
        let Scene { wire, dice, .. } = scene;
        if self.next_message_s.is_some_and(|due_s| due_s <= now_s) {
            let by = if dice.chance(self.writes) { By::Client } else { By::Server };
            let length = dice.lognormal(320.0, 0.9).clamp(60.0, 60_000.0) as u64;
            talk.say(wire, at_s, by, length, Vec::new);
            let other = if by == By::Client { By::Server } else { By::Client };
            talk.say(wire, at_s + round_trip_s, other, dice.whole(39, 90) as u64, Vec::new);
            self.next_message_s = calendar::next(dice, now_s, self.message_s);
        }
        if self.next_alive_s <= now_s {
            let other = if self.keeper == By::Client { By::Server } else { By::Client };
            let at_s = at_s.max(talk.last_s());
            talk.say(wire, at_s, self.keeper, 35, Vec::new);
            talk.say(wire, at_s + round_trip_s, other, 31, Vec::new);
            self.next_alive_s = now_s + self.alive_s + dice.between(0.0, 0.05);
        }
        self.talk = Some(talk);
        let next_s =
            self.next_message_s.map_or(self.next_alive_s, |due_s| due_s.min(self.next_alive_s)).min(self.until_s);
        (next_s < DAY_S).then(|| next_s.max(now_s + 0.2))
    }
}

impl Push {
    fn connect(&mut self, now_s: f64, scene: &mut Scene) -> Talk {
        let (address, ready_s) = scene.resolve(self.host, self.site, now_s);
        let client = scene.socket(self.host);
        let name = scene.service(self.site).name.clone();
        let round_trip_s = scene.service(self.site).round_trip_s;
        let speech = Speech::tls(&name);
        let Scene { wire, dice, .. } = scene;
        let mut talk = Talk::tcp(wire, ready_s, client, (address, self.port).into(), round_trip_s);
        let at_s = ready_s + round_trip_s;
        talk.say(wire, at_s, By::Client, 560, || speech.first(By::Client, 560, dice));
        talk.say(wire, at_s + round_trip_s, By::Server, 4_200, || speech.first(By::Server, 4_200, dice));
        talk.say(wire, at_s + 2.0 * round_trip_s, By::Client, dice.whole(400, 1_200) as u64, Vec::new);
        self.next_alive_s = now_s + self.alive_s;
        self.next_message_s = calendar::next(dice, now_s, self.message_s);
        self.until_s = now_s + dice.lognormal(3.0 * 3_600.0, 0.8);
        talk
    }
}
