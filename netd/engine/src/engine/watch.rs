//! What the detectors of attempts, logins, echoes and volumes are told, and what they are asked.

use netd_common::key::{Address, Direction};
use netd_common::record::state;

use super::Engine;
use crate::detect::brute::{Guess, Login};
use crate::detect::scan::Scan;
use crate::detect::upload::{Upload, Volume};
use crate::detect::{About, Evidence, Subject};
use crate::flow::{Outcome, SizedTurn, Totals};
use crate::history::{PairKey, Place};
use crate::scope::Side;
use crate::slab::Handle;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;
/// ICMP types of echo requests.
const ECHO: u8 = 8;
const ECHO_V6: u8 = 128;

impl Engine {
    pub(super) fn watch_scan(&mut self, handle: Handle, outcome: Outcome) {
        let Some(contact) = self.contact(handle, outcome) else { return };
        let Some(is_inbound) = self.is_inbound(contact.originator, contact.responder) else { return };
        let Some(suspect) = self.scans.observe(&contact, &self.weights.scan) else { return };
        let subject = Subject::Host(contact.originator);
        let about = self.about(handle, subject, None);
        let since_ns = suspect.first_ns;
        self.raise(&Scan { suspect, is_inbound }, about, is_inbound, contact.at_ns.max(since_ns));
    }

    pub(super) fn watch_login(&mut self, handle: Handle) {
        let Some(entry) = self.table.get(handle).filter(|entry| entry.key.proto == TCP) else { return };
        if entry.state & state::TRANSLATED != 0 {
            return;
        }
        let (originator, responder) = (entry.originator(), entry.originator().opposite());
        let flow = entry.key.flow(originator);
        let login = Login {
            originator: flow.src,
            responder: flow.dst,
            port: flow.dst_port(),
            payload: [entry.totals.payload[originator as usize], entry.totals.payload[responder as usize]],
            first_ns: entry.first_ns,
            last_ns: entry.last_ns,
        };
        let Some(is_inbound) = self.is_inbound(login.originator, login.responder) else { return };
        let Some(guessing) = self.guesses.observe(&login, &self.weights.brute_force) else { return };
        let subject = Subject::Client(login.originator, guessing.service.name.into());
        let about = self.about(handle, subject, None);
        self.raise(&Guess { guessing, is_inbound }, about, is_inbound, login.last_ns);
    }

    pub(super) fn watch_echo(&mut self, handle: Handle, turn: &SizedTurn) {
        let Some(entry) = self.table.get(handle) else { return };
        let originator = entry.originator();
        let is_echo = match entry.key.proto {
            ICMP => entry.flags[originator as usize] == ECHO,
            ICMPV6 => entry.flags[originator as usize] == ECHO_V6,
            _ => return,
        };
        if !is_echo || entry.state & state::TRANSLATED != 0 {
            return;
        }
        let flow = entry.key.flow(originator);
        let (ends, totals) = ((flow.src, flow.dst), entry.totals);
        // Seen from the originator, whoever started the turn.
        let turn = if turn.starter == originator {
            *turn
        } else {
            SizedTurn { starter: originator, request: turn.answer, answer: turn.request, ..*turn }
        };
        let thresholds = &self.weights.icmp_tunnel;
        let Some(echo) = self.echoes.observe(ends, originator as usize, &turn, &totals, thresholds) else { return };
        let history = self.history_of(handle);
        // An echo's "port" is its identifier.
        let pair = PairKey { originator: ends.0, responder: ends.1, port: 0, proto: self.proto_of(handle) };
        let about = self.about(handle, Subject::Pair(pair), history);
        let about = about.map(|about| About { pair, ..about });
        self.raise(&echo, about, false, turn.at_ns);
    }

    pub(super) fn watch_upload(&mut self, handle: Handle, share: &Totals, at_ns: u64) {
        let Some(entry) = self.table.get(handle) else { return };
        if share.payload == [0; 2] || entry.state & state::TRANSLATED != 0 {
            return;
        }
        let originator: Direction = entry.originator();
        let flow = entry.key.flow(originator);
        let volume = Volume {
            originator: flow.src,
            responder: flow.dst,
            up: share.payload[originator as usize],
            down: share.payload[originator.opposite() as usize],
            at_ns,
            unix_ns: at_ns,
        };
        if self.is_inbound(volume.originator, volume.responder) != Some(false) {
            return;
        }
        let Some(sum) = self.uploads.observe(&volume, &self.weights.exfiltration) else { return };
        let pair =
            PairKey { originator: flow.src, responder: flow.dst, port: flow.dst_port(), proto: self.proto_of(handle) };
        let about = self.about(handle, Subject::Pair(pair), self.history_of(handle));
        self.raise(&Upload { sum, is_new: sum.z.is_none() }, about, false, at_ns);
    }

    /// Judges evidence and acts on it, as far as the hour has room for strangers' doings.
    fn raise(&mut self, evidence: &dyn Evidence, about: Option<About>, is_inbound: bool, at_ns: u64) {
        let judged = about.as_ref().and_then(|about| self.judge(evidence, about, at_ns));
        let Some((about, judged)) = about.zip(judged) else { return };
        if is_inbound && !self.noise.admit(at_ns, self.weights.scan.inbound_per_hour) {
            self.counts.noise_unraised += 1;
            return;
        }
        self.act(judged, &about);
    }

    /// Returns whether a stranger speaks to a monitored host; none where neither end can be anybody's server.
    fn is_inbound(&self, originator: Address, responder: Address) -> Option<bool> {
        match (self.scope.side(originator.ip()), self.scope.side(responder.ip())) {
            (Side::Nobody, _) | (_, Side::Nobody) => None,
            (Side::Outside, Side::Local) => Some(true),
            (Side::Local, Side::Local | Side::Outside) | (Side::Outside, Side::Outside) => Some(false),
        }
    }

    fn about(&self, handle: Handle, subject: Subject, history: Option<Handle>) -> Option<About> {
        Some(About { history, subject, ..self.about_conversation(handle)? })
    }

    fn history_of(&self, handle: Handle) -> Option<Handle> {
        match self.table.get(handle)?.place {
            Place::At { pair, .. } => Some(pair),
            Place::Unknown | Place::Outside | Place::Excluded(_) => None,
        }
    }

    fn proto_of(&self, handle: Handle) -> u8 {
        self.table.get(handle).map_or(0, |entry| entry.key.proto)
    }
}
