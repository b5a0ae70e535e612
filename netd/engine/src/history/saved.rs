//! Histories outside of memory: what a restart of the daemon must not forget.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Beats, Histories, History, Key, NameKey, PairKey, Place, Sizes};
use crate::opening::Facts;
use crate::time::set_back;

/// One history.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Saved {
    originator: IpAddr,
    responder: IpAddr,
    port: u16,
    proto: u8,
    name: Option<String>,
    /// A name's: it has no history of its own beside its pair's.
    is_shared: bool,
    has_names: bool,
    first_ns: u64,
    last_ns: u64,
    beats: Beats,
    sizes: [Option<Box<Sizes>>; 2],
    facts: Facts,
    is_answered: bool,
}

impl Saved {
    fn of(history: &History) -> Self {
        let key = history.latest;
        Self {
            originator: key.originator.ip(),
            responder: key.responder.ip(),
            port: key.port,
            proto: key.proto,
            name: history.name().map(|name| name.to_string()),
            is_shared: history.name().is_some() && history.twin.is_some(),
            has_names: history.has_names,
            first_ns: history.first_ns,
            last_ns: history.last_ns,
            beats: history.beats.clone(),
            sizes: history.sizes.clone(),
            facts: history.facts,
            is_answered: history.is_answered,
        }
    }

    /// Makes all that happened `by_ns` earlier; no interval changes.
    pub(crate) fn set_back(&mut self, by_ns: u64) {
        self.first_ns = set_back(self.first_ns, by_ns);
        self.last_ns = set_back(self.last_ns, by_ns);
        self.beats.set_back(by_ns);
        for sizes in self.sizes.iter_mut().flatten() {
            sizes.set_back(by_ns);
        }
    }
}

impl Histories {
    /// Returns the histories worth keeping: those with a gap, and the names that share one.
    pub(crate) fn save(&self) -> Vec<Saved> {
        let all = (0..self.places()).filter_map(|place| self.get(self.at(place)?));
        let is_worth_it = |history: &&History| {
            let shared = history.name().and(history.twin).and_then(|twin| self.get(twin));
            shared.unwrap_or(history).beats.turns() >= 2
        };
        let (names, pairs): (Vec<_>, Vec<_>) =
            all.filter(is_worth_it).partition(|history| matches!(history.key, Key::Name(_)));
        // Names refer to pairs.
        pairs.into_iter().chain(names).map(Saved::of).collect()
    }

    /// Takes over saved histories as far as there is room, after `unwatched_s` seconds in which nobody watched.
    pub(crate) fn restore(&mut self, saved: Vec<Saved>, unwatched_s: f64) {
        for saved in saved.into_iter().take(self.limit()) {
            let key = PairKey {
                originator: saved.originator.into(),
                responder: saved.responder.into(),
                port: saved.port,
                proto: saved.proto,
            };
            let name: Option<Arc<str>> = saved.name.as_deref().map(Arc::from);
            let Place::At { pair, name: named } = self.place(key, name.as_ref(), saved.first_ns) else { continue };
            if saved.is_shared {
                continue;
            }
            let (handle, key) = match (named, name) {
                (Some(named), Some(name)) => {
                    self.separate(named);
                    (named, Key::Name(NameKey { originator: key.originator, port: key.port, proto: key.proto, name }))
                }
                _ => (pair, Key::Pair(key)),
            };
            let Some(history) = self.get_mut(handle) else { continue };
            *history = History {
                key,
                first_ns: saved.first_ns,
                last_ns: saved.last_ns,
                beats: saved.beats,
                sizes: saved.sizes,
                facts: saved.facts,
                is_answered: saved.is_answered,
                has_names: saved.has_names,
                twin: history.twin,
                latest: history.latest,
                opening: None,
                has_incident: false,
            };
            history.beats.resume(unwatched_s);
        }
    }
}
