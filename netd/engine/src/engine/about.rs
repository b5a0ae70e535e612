//! What evidence is about: its ends, its subject, the incident that it belongs to.

use super::Engine;
use crate::detect::{About, Detector, Subject};
use crate::history::{Key, PairKey, Place};
use crate::slab::Handle;

impl Engine {
    /// Returns what the rhythm of a history is about; `conversation` is the one that was seen last.
    pub(super) fn about_history(&self, handle: Handle, conversation: Handle) -> Option<About> {
        let history = self.histories.get(handle)?;
        let name = history.name().or(self.table.get(conversation)?.name.as_ref());
        Some(About {
            pair: history.latest,
            name: name.cloned(),
            conversation: Some(conversation),
            history: Some(handle),
            subject: subject(&history.key),
        })
    }

    /// Returns what evidence of one conversation is about: its two ends and the port.
    pub(super) fn about_conversation(&self, conversation: Handle) -> Option<About> {
        let entry = self.table.get(conversation)?;
        let flow = entry.key.flow(entry.originator());
        let port = if matches!(entry.key.proto, 1 | 58) { 0 } else { flow.dst_port() };
        let pair = PairKey { originator: flow.src, responder: flow.dst, port, proto: entry.key.proto };
        let history = match entry.place {
            Place::At { pair, name } => name.filter(|name| self.histories.get(*name).is_some()).or(Some(pair)),
            Place::Unknown | Place::Outside | Place::Excluded(_) => None,
        };
        Some(About {
            pair,
            name: entry.name.as_ref().or_else(|| self.answers.name(flow.src, flow.dst, self.now_ns)).cloned(),
            conversation: Some(conversation),
            history,
            subject: Subject::Pair(pair),
        })
    }

    /// Returns the incident that evidence belongs to: its own subject's, or that of the same traffic by the other key.
    pub(super) fn known_incident(&self, detector: Detector, about: &About) -> Option<Handle> {
        let own = self.incidents.find(detector, &about.subject);
        if own.is_some() || about.history.is_none() {
            return own;
        }
        let conversation = about.conversation.and_then(|conversation| self.table.get(conversation))?;
        let Place::At { pair, name } = conversation.place else { return None };
        let others = [Some(pair), name].into_iter().flatten().filter_map(|other| self.histories.get(other));
        let known = others.filter_map(|other| self.incidents.find(detector, &subject(&other.key)));
        let agrees = |known: &Handle| {
            let known = self.incidents.get(*known).and_then(|known| known.name.as_deref());
            known.is_none() || about.name.is_none() || known == about.name.as_deref()
        };
        known.into_iter().find(agrees)
    }
}

pub(super) fn subject(key: &Key) -> Subject {
    match key {
        Key::Pair(key) => Subject::Pair(*key),
        Key::Name(key) => Subject::Name(key.clone()),
    }
}
