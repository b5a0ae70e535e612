//! A reverse shell with somebody at the other end: the server types, the client answers.

use std::net::SocketAddr;

use super::super::wire::{By, Talk};
use super::scene::{Actor, Host, Scene};
use super::speech::Speech;

const SHELL: Speech = Speech::Text("$ ", "id\n");

pub(crate) struct Shell {
    pub(crate) host: Host,
    pub(crate) server: SocketAddr,
    pub(crate) from_s: f64,
    pub(crate) commands: u32,
}

impl Actor for Shell {
    fn act(&mut self, now_s: f64, scene: &mut Scene) -> Option<f64> {
        if now_s < self.from_s {
            return Some(self.from_s);
        }
        let client = scene.socket(self.host);
        let Scene { wire, dice, .. } = scene;
        let mut talk = Talk::tcp(wire, now_s, client, self.server, 0.045);
        let mut at_s = now_s + 0.06;
        talk.say(wire, at_s, By::Client, 2, || SHELL.first(By::Client, 2, dice));
        for _ in 0..self.commands {
            at_s = talk.last_s() + dice.lognormal(6.0, 0.9).clamp(1.0, 90.0);
            let command = dice.whole(3, 42) as u64;
            talk.say(wire, at_s, By::Server, command, || SHELL.first(By::Server, command, dice));
            let output = dice.lognormal(160.0, 1.3).clamp(4.0, 30_000.0) as u64;
            talk.say(wire, at_s + dice.between(0.05, 0.3), By::Client, output, Vec::new);
        }
        // Nobody closes at once.
        talk.close(wire, at_s + 3.0, By::Server, 0.045);
        None
    }
}
