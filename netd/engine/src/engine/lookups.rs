//! Where questions and answers are joined for those who want to be told of each.

use super::{Command, Engine};
use crate::dns::{Message, records};
use crate::flow::Entry;
use crate::lookup::{Carrier, Lookup, Reply};
use crate::slab::Handle;
use crate::time::Timestamp;

impl Engine {
    /// Takes a message into account that was read from `bytes`.
    pub(super) fn note_lookup(
        &mut self,
        handle: Handle,
        message: &Message,
        bytes: &[u8],
        is_from_server: bool,
        at_ns: u64,
    ) {
        let Some(entry) = self.table.get(handle) else { return };
        let (key, at) = (entry.key, Timestamp(at_ns));
        let question = message.question.as_ref();
        let lookup = Lookup {
            carrier: carrier(entry),
            id: message.id,
            name: question.map(|question| question.name.text_from(0)),
            qtype: question.map_or(0, |question| question.rtype),
            qclass: question.map_or(0, |question| question.class),
            asked: None,
            reply: None,
        };
        if is_from_server {
            let reply = Reply { at, flags: message.flags, records: records(bytes), is_bare: message.is_bare };
            self.lookups.answer(key, Lookup { reply: Some(reply), ..lookup });
        } else {
            self.lookups.ask(key, Lookup { asked: Some((at, message.flags)), ..lookup });
        }
        self.tell_lookups();
    }

    pub(super) fn tell_lookups(&mut self) {
        let Self { lookups, commands, .. } = self;
        commands.extend(std::iter::from_fn(|| lookups.pop()).map(|lookup| Command::Lookup(Box::new(lookup))));
    }
}

fn carrier(entry: &Entry) -> Carrier {
    let flow = entry.key.flow(entry.originator());
    Carrier {
        start: Timestamp(entry.first_ns),
        originator: flow.src.ip(),
        originator_port: flow.src_port(),
        responder: flow.dst.ip(),
        responder_port: flow.dst_port(),
        protocol: entry.key.proto,
        community_id: entry.community_id(),
        vlan: entry.vlan,
        ifindex: entry.ifindex,
    }
}
