//! Where DNS is heard: which name gave which address, and what the questions themselves betray.

use netd_common::key::{Direction, FlowKey};
use netd_common::record::{PAYLOAD_SNAP, PayloadRecord};

use super::Engine;
use crate::detect::Evidence;
use crate::detect::dns::encrypted::encrypted;
use crate::detect::dns::{Asked, Heard, PORT, Seen};
use crate::detect::{About, Detector};
use crate::dns::{self, Message, Segment};
use crate::opening::Facts;
use crate::slab::Handle;

const TCP: u8 = 6;
/// Records that one packet makes at most.
const RECORDS: usize = 3;

impl Engine {
    pub(super) fn hear_dns(&mut self, handle: Handle, record: &PayloadRecord, direction: Direction, bytes: &[u8]) {
        let flow = record.key.flow(direction);
        if record.key.proto != TCP {
            // The rest of a long message is a record of its own; what is cut is read as far as it goes.
            if record.offset != 0 {
                return;
            }
            self.hear_datagram(handle, &flow, bytes, record.header.time_ns);
            return;
        }
        let missing = missing(record, bytes.len());
        let at_ns = record.header.time_ns;
        let segment = Segment { key: record.key, direction, bytes, missing, at_ns };
        for message in self.dns_streams.push(&segment) {
            self.hear_datagram(handle, &flow, &message, at_ns);
        }
    }

    fn hear_datagram(&mut self, handle: Handle, flow: &FlowKey, bytes: &[u8], at_ns: u64) {
        let message = dns::read(bytes);
        if let Some(entry) = self.table.get_mut(handle) {
            let fact = if message.is_some() { Facts::DNS } else { Facts::NOT_DNS };
            entry.facts = entry.facts.with(fact);
        }
        let Some(message) = message else {
            self.counts.dns_unread += 1;
            return;
        };
        self.counts.dns_messages += 1;
        // The port tells who is asked, unless both have it, as some resolvers do: a message's own word may be a lie.
        let is_from_server = match (flow.src_port() == PORT, flow.dst_port() == PORT) {
            (true, false) => true,
            (false, true) => false,
            (true, true) | (false, false) => message.is_response,
        };
        let (client, server) = if is_from_server { (flow.dst, flow.src) } else { (flow.src, flow.dst) };
        if is_from_server {
            self.learn_names(client, &message, at_ns);
            self.match_answer(flow, client, &message, at_ns);
        } else {
            self.note_question(flow, &message, at_ns);
        }
        if self.lookups.is_wanted() {
            self.note_lookup(handle, &message, bytes, is_from_server, at_ns);
        }
        if self.scope.may_beacon(client, server) {
            let proto = flow.proto;
            let heard = Heard { message: &message, client, server, proto, is_from_server, at_ns };
            let seen = self.dns_watch.hear(&heard);
            self.judge_names(seen, handle, at_ns);
        }
    }

    fn learn_names(&mut self, client: netd_common::key::Address, message: &Message, at_ns: u64) {
        let Some(name) = message.question.as_ref().and_then(|question| question.name.host_name()) else { return };
        for answer in &message.answers {
            for address in &answer.addresses {
                self.answers.learn(client, (*address).into(), &name, answer.ttl_s, at_ns);
            }
        }
    }

    fn judge_names(&mut self, seen: Seen, conversation: Handle, at_ns: u64) {
        let Seen { tunnel, polls, generated, moving } = seen;
        if let Some(tunnel) = tunnel {
            self.judge_name(&tunnel, &tunnel.asked, &tunnel.asked.about(conversation), at_ns);
        }
        if let Some(polls) = polls {
            self.judge_name(&polls, &polls.asked, &polls.asked.about(conversation), at_ns);
        }
        if let Some(generated) = generated {
            self.judge_name(&generated, &generated.asked, &generated.about(conversation), at_ns);
        }
        if let Some(moving) = moving {
            self.judge_name(&moving, &moving.asked, &moving.asked.about(conversation), at_ns);
        }
    }

    fn judge_name(&mut self, evidence: &dyn Evidence, asked: &Asked, about: &About, at_ns: u64) {
        if let Some(judged) = self.judge(evidence, about, at_ns) {
            self.dns_watch.note_incident(asked, evidence.detector() == Detector::DnsTunnel);
            self.act(judged, about);
        }
    }

    /// Notes that a flow carries questions that cannot be read.
    pub(super) fn note_encrypted_dns(&mut self, conversation: Handle, at_ns: u64) {
        let Some(about) = self.about_conversation(conversation) else { return };
        if encrypted(&about.pair.pair(), about.name.as_deref()).is_some() {
            self.dns_watch.hides_queries(about.pair.originator, at_ns);
        }
    }
}

/// Returns how many bytes of a segment no record will bring after this one.
fn missing(record: &PayloadRecord, captured: usize) -> usize {
    let end = record.offset as usize + captured;
    let is_followed = captured == PAYLOAD_SNAP && end < RECORDS * PAYLOAD_SNAP;
    if is_followed { 0 } else { (record.wire_len as usize).saturating_sub(end) }
}
