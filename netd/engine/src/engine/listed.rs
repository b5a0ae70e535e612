//! Where listed names meet the addresses that clients are told.

use std::collections::HashSet;
use std::sync::Arc;

use netd_common::key::{Address, FlowKey};

use super::{Command, Engine};
use crate::dns::{Message, Owner};
use crate::listed::{Listed, Resolved};

/// Addresses of one answer that are handed on: a name with more is no host.
const MOST_ADDRESSES: usize = 16;

impl Engine {
    /// Changes the names that lists hold; answers are matched from here on.
    pub fn set_listed(&mut self, listed: Arc<Listed>) {
        self.listed = listed;
    }

    /// Remembers a question: only its answer counts.
    pub(super) fn note_question(&mut self, flow: &FlowKey, message: &Message, at_ns: u64) {
        if self.listed.is_empty() {
            return;
        }
        if let Some(name) = message.question.as_ref().and_then(|question| question.name.host_name()) {
            self.questions.ask(flow.conversation().0, message.id, &name, at_ns);
        }
    }

    /// Asks for what the lists want done about the addresses of an answer.
    pub(super) fn match_answer(&mut self, flow: &FlowKey, client: Address, message: &Message, at_ns: u64) {
        if self.listed.is_empty() || !message.is_answered() {
            return;
        }
        let Some(question) = &message.question else { return };
        let Some(name) = question.name.host_name() else { return };
        if !self.questions.answer(flow.conversation().0, message.id, &name, at_ns) {
            return;
        }
        let (Owner::Registered(at) | Owner::Private(at)) = question.name.owner();
        let domain = question.name.hash_from(at);
        let mut chain = vec![name];
        chain.extend(message.aliases.iter().filter_map(|alias| alias.host_name()));
        let found = self.listed.find(&chain);
        let mut seen = HashSet::new();
        for answer in &message.answers {
            for address in &answer.addresses {
                let address = address.to_canonical();
                if seen.len() >= MOST_ADDRESSES || !seen.insert(address) {
                    continue;
                }
                let Some(found) = &found else {
                    self.tenants.note(address, domain, at_ns);
                    continue;
                };
                let resolved = Resolved {
                    list: Arc::clone(&found.list),
                    is_allowed: found.is_allowed,
                    entry: found.entry.clone(),
                    name: chain.get(found.at).cloned().unwrap_or_default(),
                    address,
                    ttl_s: answer.ttl_s,
                    client: client.ip(),
                    tenants: self.tenants.others(address, domain, at_ns),
                };
                self.commands.push_back(Command::Resolved(Box::new(resolved)));
            }
        }
    }
}
