//! The engine's dealings with one conversation: counters, turns, its end, its place among the histories.

use netd_common::key::{ConversationKey, Direction};
use netd_common::record::{FlowEvent, FlowRecord, TurnRecord, state};

use super::host::{attribute, complete};
use super::{Command, Engine};
use crate::flow::{ClosedTurn, Conversation, EndReason, Entry, Phase, Relation, SizedTurn, Step, Totals};
use crate::history::{PairKey, Place, Side};
use crate::name::NameSource;
use crate::services::Candidate;
use crate::slab::Handle;

impl Engine {
    /// Returns the conversation of a record, admitted if it is new.
    pub(super) fn conversation(&mut self, key: &ConversationKey, at_ns: u64) -> Handle {
        if let Some(handle) = self.table.find(key) {
            return handle;
        }
        if let Some(victim) = self.table.victim() {
            self.counts.conversations_evicted += 1;
            self.end(victim, EndReason::LackOfRoom);
            self.table.remove(victim);
        }
        self.counts.conversations_begun += 1;
        self.table.admit(Entry::new(*key, at_ns))
    }

    pub(super) fn take_flow(&mut self, record: &FlowRecord) {
        let time_ns = record.header.time_ns;
        let handle = self.conversation(&record.key, time_ns);
        let Some(entry) = self.table.get_mut(handle) else { return };
        match entry.relation(record) {
            Relation::Former => {
                let late = entry.absorb_former(record);
                self.count_late(&late);
                return;
            }
            Relation::Anew => {
                self.end(handle, EndReason::Reused);
                self.counts.conversations_begun += 1;
                self.openings.forget(handle);
                if let Some(entry) = self.table.get_mut(handle) {
                    entry.begin_anew(time_ns);
                }
            }
            Relation::Same if entry.phase == Phase::Reported => {
                if entry.was_ended() {
                    let late = entry.absorb(record);
                    self.count_late(&late);
                    return;
                }
                if !entry.brings_news(record) {
                    return;
                }
                self.counts.conversations_begun += 1;
                entry.revive(time_ns);
            }
            Relation::Same => {}
        }
        let Some(entry) = self.table.get_mut(handle) else { return };
        let had_payload = entry.totals.payload != [0; 2] || entry.turns > 0;
        let idle_ns = time_ns.saturating_sub(entry.last_ns);
        let share = entry.absorb(record);
        if record.event != FlowEvent::Active as u8 || entry.own_process().is_none() && entry.cookie != 0 {
            attribute(entry, &self.processes, &self.scope);
        }
        self.counts.packets += share.packets[0] + share.packets[1];
        self.counts.bytes += share.bytes[0] + share.bytes[1];

        // Payload in a slot's very first packet has no turn record of its own.
        let is_begin = record.event == FlowEvent::Begin as u8;
        let begins_turn = is_begin && record.payload != [0; 2] && (!had_payload || idle_ns >= self.gap_ns);
        if begins_turn {
            let before = entry.totals.payload;
            let turn = turn_of_begin(record, before, !had_payload);
            self.take_turn(handle, &turn);
        }
        self.follow_attempt(handle);
        self.on_volume(handle, &share, time_ns);
        let Some(entry) = self.table.get_mut(handle) else { return };
        if entry.is_closing() {
            if let Place::At { pair, name } = entry.place {
                self.histories.observe_activity((pair, name), time_ns.min(entry.last_ns.max(record.last_ns)));
            }
            let closed = if entry.phase == Phase::Ended { entry.close_turn(true) } else { entry.drop_goodbye() };
            self.take_closed_turn(handle, closed);
        }
        self.table.touch(handle);
    }

    pub(super) fn take_turn(&mut self, handle: Handle, record: &TurnRecord) {
        let gap_ns = self.gap_ns;
        let Some(entry) = self.table.get_mut(handle) else { return };
        if entry.phase == Phase::Reported && !entry.was_ended() {
            self.counts.conversations_begun += 1;
            entry.revive(record.header.time_ns);
        }
        if entry.phase != Phase::Alive {
            // The record of a turn that its conversation's end overtook, or of the next one whose beginning was lost.
            entry.phase = Phase::Alive;
        }
        entry.learn_originator(record.state, record.header.time_ns);
        if let Place::At { pair, name } = entry.place
            && record.idle_ns > 0
        {
            let active_ns = record.header.time_ns.saturating_sub(record.idle_ns);
            self.histories.observe_activity((pair, name), active_ns);
        }
        match entry.take_turn(record, gap_ns) {
            Step::Merged => {
                self.counts.turns_merged += 1;
            }
            Step::Begun { before, before_was_held } => {
                self.counts.turns += 1;
                if let Some((at_ns, starter)) = before_was_held {
                    self.commit(handle, at_ns, starter);
                }
                if let Some(before) = before {
                    self.take_size(handle, &before);
                }
                self.begin_turn(handle);
            }
        }
        self.table.touch(handle);
    }

    /// Puts the open turn into its history, at once where nothing speaks against it.
    fn begin_turn(&mut self, handle: Handle) {
        let Some(entry) = self.table.get_mut(handle) else { return };
        let Some(open) = entry.open else { return };
        if !open.is_held {
            self.commit(handle, open.at_ns, open.starter);
        } else if entry.name_source > NameSource::Dns || entry.is_heard() {
            match entry.release_named_turn() {
                Some((at_ns, starter)) => self.commit(handle, at_ns, starter),
                None => self.hold(handle, open.at_ns),
            }
        } else {
            self.hold(handle, open.at_ns);
        }
    }

    /// Puts a turn into the history of its pair and name.
    pub(super) fn commit(&mut self, handle: Handle, at_ns: u64, starter: Direction) {
        let Some((place, side)) = self.place(handle, starter) else {
            self.counts.turns_no_candidate += 1;
            return;
        };
        let changed = self.histories.observe_turn(place, side, at_ns, self.gap_ns);
        self.judge_histories(changed, handle, at_ns);
    }

    fn take_size(&mut self, handle: Handle, turn: &SizedTurn) {
        self.on_exchange(handle, turn);
        if let Some((place, side)) = self.place(handle, turn.starter) {
            self.histories.observe_size(place, side, turn);
        }
    }

    fn take_closed_turn(&mut self, handle: Handle, closed: ClosedTurn) {
        self.counts.turns_goodbye += u64::from(closed.goodbye);
        if let Some((at_ns, starter)) = closed.released {
            self.commit(handle, at_ns, starter);
        }
        if let Some(size) = closed.size {
            self.take_size(handle, &size);
        }
    }

    /// Returns the histories that a conversation's turns belong to; none when it is no candidate.
    pub(super) fn place(&mut self, handle: Handle, starter: Direction) -> Option<((Handle, Option<Handle>), Side)> {
        let entry = self.table.get_mut(handle)?;
        let side = Side::of(starter, entry.originator());
        match entry.place {
            Place::At { pair, name } if self.histories.holds(pair, name) => return Some(((pair, name), side)),
            Place::Outside | Place::Excluded(_) => return None,
            Place::At { .. } | Place::Unknown => {}
        }
        let flow = entry.key.flow(entry.originator());
        let key = PairKey { originator: flow.src, responder: flow.dst, port: flow.dst_port(), proto: entry.key.proto };
        let is_translated = entry.state & state::TRANSLATED != 0;
        if is_translated || !self.scope.may_beacon(key.originator, key.responder) {
            entry.place = Place::Outside;
            return None;
        }
        // An ICMP echo's "port" is its identifier, which changes from run to run.
        let key = if matches!(key.proto, 1 | 58) { PairKey { port: 0, ..key } } else { key };
        let pair = key.pair();
        let is_internal = self.scope.is_local(pair.responder);
        let candidate = Candidate { pair: &pair, facts: entry.facts, is_internal };
        if let Some(service) = self.services.excluding(&candidate) {
            entry.place = Place::Excluded(service);
            return None;
        }
        if entry.name.is_none()
            && let Some(name) = self.answers.name(key.originator, key.responder, self.now_ns)
        {
            (entry.name, entry.name_source) = (Some(name.clone()), NameSource::Dns);
        }
        attribute(entry, &self.processes, &self.scope);
        let resolved = self.answers.name(key.originator, key.responder, self.now_ns);
        self.histories.note_user(&key, resolved.map(|name| &**name), self.now_ns);
        entry.place = self.histories.place(key, entry.name.as_ref(), self.now_ns);
        let Place::At { pair, name } = entry.place else { return None };
        self.histories.observe_facts((pair, name), entry.facts, entry.opening.as_ref());
        Some(((pair, name), side))
    }

    /// Hands a conversation out as ended; its entry stays.
    pub(super) fn end(&mut self, handle: Handle, reason: EndReason) {
        let Some(entry) = self.table.get_mut(handle) else { return };
        if entry.phase == Phase::Reported {
            return;
        }
        let closed = entry.close_turn(entry.phase == Phase::Ended);
        self.take_closed_turn(handle, closed);
        self.note_region(handle);
        self.on_end(handle, reason);
        let Some(entry) = self.table.get_mut(handle) else { return };
        if self.reports_flows {
            if entry.name.is_none() {
                let flow = entry.key.flow(entry.originator());
                if let Some(name) = self.answers.name(flow.src, flow.dst, entry.last_ns) {
                    (entry.name, entry.name_source) = (Some(name.clone()), NameSource::Dns);
                }
            }
            complete(entry, &self.processes);
            let conversation = Conversation::of(entry, reason);
            self.commands.push_back(Command::FlowEnded(Box::new(conversation)));
        }
        entry.phase = Phase::Reported;
        self.openings.forget(handle);
        self.table.touch(handle);
    }

    /// Counts the region that an answered conversation of a monitored host was with.
    fn note_region(&mut self, handle: Handle) {
        let Some(entry) = self.table.get(handle) else { return };
        let flow = entry.key.flow(entry.originator());
        let is_answered = entry.totals.packets.iter().all(|packets| *packets > 0);
        if is_answered && entry.state & state::TRANSLATED == 0 && self.scope.calls_outside(flow.src, flow.dst) {
            self.regions.observe(flow.src, flow.dst);
        }
    }

    /// Ends a conversation that has been idle for too long, or forgets one that was handed out.
    pub(super) fn expire(&mut self, handle: Handle) {
        let is_reported = self.table.get(handle).is_none_or(|entry| entry.phase == Phase::Reported);
        if is_reported {
            self.table.remove(handle);
        } else {
            self.end(handle, EndReason::Idle);
        }
    }

    fn count_late(&mut self, late: &Totals) {
        let packets = late.packets[0] + late.packets[1];
        self.counts.packets += packets;
        self.counts.bytes += late.bytes[0] + late.bytes[1];
        self.counts.late_packets += packets;
    }
}

/// Returns the turn that a conversation's first packet starts.
fn turn_of_begin(record: &FlowRecord, totals: [u64; 2], is_first: bool) -> TurnRecord {
    let starter = if record.payload[Direction::AToB as usize] > 0 { Direction::AToB } else { Direction::BToA };
    let base = |end: usize| totals[end].saturating_sub(record.payload[end]);
    TurnRecord {
        header: record.header,
        key: record.key,
        payload: [base(0), base(1)],
        first_ns: record.first_ns,
        idle_ns: 0,
        first_len: record.payload[starter as usize].min(u64::from(u32::MAX)) as u32,
        starter: starter as u8,
        is_first: u8::from(is_first),
        state: record.state,
        pad: 0,
    }
}
