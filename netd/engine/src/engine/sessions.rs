//! Single conversations under watch: who leads, what they speak, which tool they belong to, how long they last.

use netd_common::record::state;

use super::Engine;
use crate::detect::long_connection::Lasting;
use crate::detect::protocol_port::{Misplaced, Stranger};
use crate::detect::reverse_shell::Interactive;
use crate::detect::tunnel_tool::KnownTool;
use crate::detect::{About, Session, Sign, Subject};
use crate::flow::{Entry, SizedTurn};
use crate::history::{PairKey, Place};
use crate::slab::Handle;
use crate::tools::{By, Tool};

const TCP: u8 = 6;
const UDP: u8 = 17;
/// A WireGuard handshake initiation, where only its length is known (white paper, 5.4.2).
const WIREGUARD_INITIATION: u64 = 148;

impl Engine {
    /// Takes a whole exchange of a connection into account.
    pub(super) fn watch_session(&mut self, handle: Handle, turn: &SizedTurn) {
        let thresholds = self.weights.reverse_shell;
        let Some(entry) = self.table.get_mut(handle) else { return };
        if entry.key.proto == UDP {
            self.watch_datagrams(handle, turn);
            return;
        }
        let is_led = turn.starter != entry.originator();
        if entry.key.proto != TCP || (!is_led && entry.session.is_none()) {
            return;
        }
        // The open turn, if there is one, comes after this one.
        let earlier = entry.turns.saturating_sub(1 + u32::from(entry.open.is_some()));
        let session = entry.session.get_or_insert_with(|| Box::new(Session::after(earlier)));
        session.observe(turn, is_led, &thresholds);
        if is_led {
            self.judge_session(handle);
        }
    }

    /// Takes what the first bytes gave away into account.
    pub(super) fn watch_opening(&mut self, handle: Handle, at_ns: u64) {
        let Some(entry) = self.table.get(handle) else { return };
        let (has_prompt, originator) = (entry.signs.has(Sign::ShellPrompt), entry.originator());
        // Finds its place, where its first turn has not found it yet.
        self.place(handle, originator);
        self.judge_tool(handle, at_ns);
        self.judge_port(handle, at_ns);
        if has_prompt {
            self.judge_session(handle);
        }
    }

    /// Looks at the age of a conversation, once for each threshold that it passes.
    pub(super) fn watch_age(&mut self, handle: Handle, at_ns: u64) {
        let Some(entry) = self.table.get_mut(handle) else { return };
        let age_s = entry.last_ns.min(at_ns).saturating_sub(entry.first_ns) as f64 / 1e9;
        let steps = self.weights.long_connection.steps(age_s);
        if steps <= entry.age_steps {
            return;
        }
        entry.age_steps = steps;
        let Some(entry) = self.table.get(handle) else { return };
        let Some(about) = self.about_candidate(handle) else { return };
        // Connections inside are pools, sessions and mounts; those of tools and push channels last by design.
        let is_ordinary = self.tool(entry).is_some() || entry.signs.has(Sign::Ssh);
        if entry.key.proto != TCP || is_ordinary || self.scope.is_local(about.pair.responder.ip()) {
            return;
        }
        let [up, down] = entry.totals.payload;
        let evidence = Lasting { age_s, steps, bytes: up.saturating_add(down), is_two_way: is_two_way(entry) };
        if let Some(judged) = self.judge(&evidence, &about, at_ns) {
            self.act(judged, &about);
        }
    }

    /// Datagrams are told by their first exchange: ports, and lengths where no bytes are known.
    fn watch_datagrams(&mut self, handle: Handle, turn: &SizedTurn) {
        let Some(entry) = self.table.get_mut(handle) else { return };
        if entry.turns > 1 + u32::from(entry.open.is_some()) {
            return;
        }
        let is_initiation = turn.request == WIREGUARD_INITIATION && turn.starter == entry.originator();
        if is_initiation && turn.answer == 92 {
            entry.signs.add(Sign::Wireguard);
        }
        if turn.answer > 0 {
            self.judge_tool(handle, turn.at_ns);
        }
    }

    fn judge_session(&mut self, handle: Handle) {
        let Some(entry) = self.table.get(handle) else { return };
        let evidence = Interactive {
            session: entry.session.as_deref(),
            signs: entry.signs,
            name_source: entry.name_source,
            is_name_believed: self.is_name_believed(&pair_key(entry)),
            service: None,
            is_two_way: is_two_way(entry),
            thresholds: self.weights.reverse_shell,
        };
        if !evidence.is_worth_judging() {
            return;
        }
        let Some(about) = self.about_candidate(handle) else { return };
        let service = self.tool(entry);
        let evidence = Interactive { service, ..evidence };
        if let Some(judged) = self.judge(&evidence, &about, self.now_ns) {
            self.act(judged, &about);
        }
    }

    fn judge_tool(&mut self, handle: Handle, at_ns: u64) {
        let Some(entry) = self.table.get(handle) else { return };
        let key = pair_key(entry);
        // Also a tool that other programs reach over loopback; but not one that outsiders reach here.
        let is_ours = self.scope.may_beacon(key.originator, key.responder) || key.responder.ip().is_loopback();
        if !is_ours || entry.state & state::TRANSLATED != 0 {
            return;
        }
        let Some((tool, by)) = self.tool(entry).filter(|(tool, _)| tool.class.is_tool()) else { return };
        // A port alone says nothing about traffic between one's own hosts.
        if by == By::Port && self.scope.is_local(key.responder.ip()) {
            return;
        }
        let Some(about) = self.about_conversation(handle) else { return };
        let subject = Subject::Client(key.originator, tool.name.as_str().into());
        let about = About { history: None, subject, ..about };
        let judged = self.judge(&KnownTool { tool, by }, &about, at_ns);
        if let Some(judged) = judged {
            self.act(judged, &about);
        }
    }

    fn judge_port(&mut self, handle: Handle, at_ns: u64) {
        let Some(entry) = self.table.get(handle) else { return };
        let key = pair_key(entry);
        let Some(misplaced) = Misplaced::of(entry.facts, entry.signs.has(Sign::Ssh), key.proto, key.port) else {
            return;
        };
        let Some(about) = self.about_candidate(handle) else { return };
        let resolved = self.answers.name(key.originator, key.responder, self.now_ns);
        let prevalence = self.histories.prevalence(&key, resolved.map(|name| &**name));
        let most = self.weights.protocol_port.rare_share * f64::from(prevalence.hosts);
        let is_rare = f64::from(prevalence.users) <= most.max(1.0);
        if self.scope.is_local(key.responder.ip()) || !is_rare || self.tool(entry).is_some() {
            return;
        }
        let evidence = Stranger { misplaced, is_two_way: is_two_way(entry) };
        if let Some(judged) = self.judge(&evidence, &about, at_ns) {
            self.act(judged, &about);
        }
    }

    /// Returns whether DNS told the client of this address, as far as its DNS is seen.
    fn is_name_believed(&self, key: &PairKey) -> bool {
        let is_seen = self.answers.answers_of(key.originator) >= self.weights.destination.resolves;
        !is_seen || self.answers.name(key.originator, key.responder, self.now_ns).is_some()
    }

    /// Returns the tool or lasting service that a conversation belongs to.
    fn tool(&self, entry: &Entry) -> Option<(&Tool, By)> {
        let key = pair_key(entry);
        self.tools.find(entry.signs, entry.name.as_deref(), key.proto, key.port)
    }

    /// Returns what a conversation is about, if it is a candidate at all.
    fn about_candidate(&self, handle: Handle) -> Option<About> {
        let Place::At { pair, .. } = self.table.get(handle)?.place else { return None };
        // Facts and age are the pair's: a name that shares its history keeps none of its own.
        Some(About { history: Some(pair), ..self.about_conversation(handle)? })
    }
}

fn pair_key(entry: &Entry) -> PairKey {
    let flow = entry.key.flow(entry.originator());
    PairKey { originator: flow.src, responder: flow.dst, port: flow.dst_port(), proto: entry.key.proto }
}

/// Whether both sides sent payload: over TCP an address cannot be forged then.
fn is_two_way(entry: &Entry) -> bool {
    entry.totals.payload.iter().all(|payload| *payload > 0) || entry.turns > 0 && entry.session.is_some()
}
