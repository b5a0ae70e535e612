//! Why there is, or is not, a finding about an address or a name.

use std::collections::HashMap;
use std::net::IpAddr;

use super::Engine;
use crate::detect::checkin::CheckIns;
use crate::detect::{About, Detector};
use crate::finding::{Finding, Pair};
use crate::flow::{Entry, Phase};
use crate::history::{Key, Place, Side};
use crate::name::within;
use crate::slab::Handle;

/// Answers to one question at most.
const MOST: usize = 50;

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Either end.
    Address(IpAddr),
    /// The name or one below it.
    Name(String),
    /// One of these.
    Pairs(Vec<Pair>),
}

/// Everything that is known of it.
#[derive(Clone, Debug, Default)]
pub struct Explanation {
    /// Histories that are followed, strongest first.
    pub followed: Vec<Followed>,
    /// Conversations that are not, and what silenced them.
    pub silenced: Vec<Silenced>,
    /// Whether there was more than is told.
    pub is_cut: bool,
}

/// A history: what it amounts to so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Followed {
    pub pair: Pair,
    pub name: Option<String>,
    /// Turns of the originator and of the responder.
    pub turns: [u32; 2],
    pub ln_e: f64,
    /// The finding that it would be, or is; none while too few turns tell anything about their rhythm.
    pub would_be: Option<Finding>,
    /// Whether it suffices for a finding.
    pub is_finding: bool,
    /// Number of the finding that was raised.
    pub raised: Option<u64>,
}

/// Conversations of a pair that no detector follows.
#[derive(Clone, Debug, PartialEq)]
pub struct Silenced {
    pub pair: Pair,
    pub name: Option<String>,
    pub conversations: u32,
    pub why: String,
}

impl Engine {
    /// Tells why there is, or is not, a finding.
    #[must_use]
    pub fn explain(&self, question: &Question) -> Explanation {
        let mut explanation = Explanation { silenced: self.silenced(question), ..Explanation::default() };
        for place in 0..self.histories.places() {
            let Some(handle) = self.histories.at(place) else { continue };
            explanation.followed.extend(self.followed(handle, |pair, name| asks(question, pair, name)));
        }
        let weight = |followed: &Followed| followed.would_be.as_ref().map_or(0.0, |finding| finding.score);
        explanation.followed.sort_by(|a, b| weight(b).total_cmp(&weight(a)).then(b.turns.cmp(&a.turns)));
        explanation.is_cut = explanation.followed.len() > MOST || explanation.silenced.len() > MOST;
        explanation.followed.truncate(MOST);
        explanation.silenced.truncate(MOST);
        explanation
    }

    /// Tells what every history that is followed amounts to, in no order that means anything.
    pub fn explain_all(&self) -> impl Iterator<Item = Followed> + '_ {
        (0..self.histories.places()).filter_map(|place| self.followed(self.histories.at(place)?, |_, _| true))
    }

    pub(super) fn followed(&self, handle: Handle, is_asked: impl Fn(&Pair, Option<&str>) -> bool) -> Option<Followed> {
        let history = self.histories.get(handle)?;
        // A name that shares its pair's history is told with the pair.
        if matches!(history.key, Key::Name(_)) && history.twin.is_some() {
            return None;
        }
        let twin = history.twin.and_then(|twin| self.histories.get(twin)?.name());
        let name = history.name().or(twin).cloned();
        let pair = history.latest.pair();
        if !is_asked(&pair, name.as_deref()) {
            return None;
        }
        let ln_e = history.beats.ln_e();
        let (beat, turns) =
            (history.beats.strongest(), [Side::Originator, Side::Responder].map(|s| history.beats.turns_of(s)));
        let about = About {
            pair: history.latest,
            name: name.clone(),
            conversation: None,
            history: Some(handle),
            subject: super::about::subject(&history.key),
        };
        let judged = history.beats.timing(beat).rhythm().map(|rhythm| {
            let same_interval = self.histories.same_interval(history.latest.originator, rhythm.interval_s);
            let destinations = self.histories.destinations(history.latest.originator);
            let evidence = CheckIns { history, beat, rhythm: &rhythm, ln_e, same_interval, destinations };
            self.describe(&evidence, &about, self.now_ns)
        });
        let incident = self.incidents.find(Detector::Beacon, &about.subject);
        Some(Followed {
            pair,
            name: name.map(|name| name.to_string()),
            turns,
            ln_e,
            is_finding: judged.as_ref().is_some_and(|finding| finding.score >= self.weights.score.finding),
            would_be: judged,
            raised: incident.and_then(|incident| self.incidents.get(incident)).map(|incident| incident.id),
        })
    }

    fn silenced(&self, question: &Question) -> Vec<Silenced> {
        let mut silenced: HashMap<(Pair, String), Silenced> = HashMap::new();
        for entry in self.table.iter().filter(|entry| entry.phase != Phase::Reported) {
            let Some(why) = self.why_silent(entry) else { continue };
            let flow = entry.key.flow(entry.originator());
            let (originator, responder) = (flow.src.ip(), flow.dst.ip());
            let pair = Pair { originator, responder, responder_port: flow.dst_port(), proto: entry.key.proto };
            if !asks(question, &pair, entry.name.as_deref()) {
                continue;
            }
            let known = silenced.entry((pair, why)).or_insert_with_key(|(pair, why)| Silenced {
                pair: *pair,
                name: entry.name.as_deref().map(str::to_owned),
                conversations: 0,
                why: why.clone(),
            });
            known.conversations += 1;
        }
        let mut silenced: Vec<Silenced> = silenced.into_values().collect();
        silenced.sort_by(|a, b| b.conversations.cmp(&a.conversations).then(a.pair.cmp(&b.pair)));
        silenced
    }

    fn why_silent(&self, entry: &Entry) -> Option<String> {
        match entry.place {
            Place::Excluded(service) => Some(format!("benign service: {}", self.services.name(service))),
            Place::Outside => Some("not begun by a monitored host, or to nobody's address".to_owned()),
            Place::Unknown if entry.turns == 0 => Some("no payload yet".to_owned()),
            Place::Unknown | Place::At { .. } => None,
        }
    }
}

fn asks(question: &Question, pair: &Pair, name: Option<&str>) -> bool {
    match question {
        Question::Address(address) => pair.originator == *address || pair.responder == *address,
        Question::Name(wanted) => name.is_some_and(|name| within(name, wanted)),
        Question::Pairs(pairs) => pairs.contains(pair),
    }
}
