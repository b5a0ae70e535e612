//! DNS that carries something in its names: reputation of files and senders, reverse look-ups. And what hides among it.

use super::super::wire::{Answer, Kind};
use super::calendar::{self, DAY_S};
use super::names::{base32, hex};
use super::scene::{Actor, Host, Scene, outside};

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Question {
    /// A hash of a file under an anti-virus vendor's name.
    Hash(String),
    /// An address backwards under a block-list's name.
    Sender(String),
    /// An address backwards under in-addr.arpa.
    Reverse,
    /// A tunnel's upstream, as long as a name may be, with downstream in the answer.
    Tunnel(String),
    /// An idle session: identifiers and counters only.
    Poll { zone: String, session: u16 },
}

/// When it is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    People(f64),
    Poisson(f64),
    /// Between two lengths, from one moment on, for so long.
    Between([f64; 2], f64, f64),
}

pub(crate) struct Lookups {
    pub(crate) host: Host,
    pub(crate) question: Question,
    pub(crate) pace: Pace,
    pub(crate) count: u32,
}

impl Actor for Lookups {
    fn act(&mut self, now_s: f64, scene: &mut Scene) -> Option<f64> {
        if let Pace::Between(_, from_s, lasts_s) = self.pace {
            if now_s < from_s {
                return Some(from_s);
            }
            if now_s > from_s + lasts_s {
                return None;
            }
        }
        self.ask(now_s, scene);
        self.count += 1;
        let dice = &mut scene.dice;
        let next_s = match self.pace {
            Pace::People(mean_s) => calendar::next(dice, now_s, mean_s),
            Pace::Poisson(mean_s) => Some(now_s + calendar::exponential(dice, mean_s)),
            Pace::Between([least, most], _, _) => Some(now_s + dice.between(least, most)),
        };
        next_s.filter(|next_s| *next_s < DAY_S)
    }
}

impl Lookups {
    fn ask(&self, now_s: f64, scene: &mut Scene) {
        let dice = &mut scene.dice;
        let backwards = |dice: &mut _| {
            let [a, b, c, d] = outside(dice).octets();
            format!("{d}.{c}.{b}.{a}")
        };
        let (name, kind, answer) = match &self.question {
            Question::Hash(zone) => {
                let address = [127, 0, 0, dice.whole(1, 16) as u8].into();
                (format!("{}.{}.{zone}", hex(dice, 32), hex(dice, 8)), Kind::A, Answer::Addresses(vec![address]))
            }
            Question::Sender(zone) => {
                let answer =
                    if dice.chance(0.3) { Answer::Addresses(vec![[127, 0, 0, 4].into()]) } else { Answer::NoSuchName };
                (format!("{}.{zone}", backwards(dice)), Kind::A, answer)
            }
            Question::Reverse => (format!("{}.in-addr.arpa", backwards(dice)), Kind::Ptr, Answer::NoSuchName),
            Question::Tunnel(zone) => {
                let labels: Vec<String> = (0..3).map(|_| base32(dice, 60)).collect();
                let mut data = vec![0; dice.whole(80, 900)];
                dice.fill(&mut data);
                (format!("{}.{zone}", labels.join(".")), Kind::Null, Answer::Data(data))
            }
            Question::Poll { zone, session } => {
                // Packet's identifier, kind of message, session, sequence and acknowledgement, in hexadecimal.
                let data = hex(dice, 18).into_bytes();
                let name = format!("{}01{session:04x}{:04x}{:04x}.{zone}", hex(dice, 4), self.count, self.count / 2);
                (name, Kind::Txt, Answer::Data(data))
            }
        };
        scene.ask(self.host, now_s, &name, kind, &answer, 60);
    }
}
