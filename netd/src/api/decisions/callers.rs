//! What each bouncer was told last, so that it hears only what changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, header};

use super::Asked;
use super::decision::Decisions;

/// Bouncers that are remembered; the one that asked longest ago is forgotten, and told everything when it comes back.
const CALLERS: usize = 64;

/// Who asks, and for which part: a digest, so that no key is kept.
type Identity = [u8; 32];

/// What bouncers were told. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Bouncers(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    callers: HashMap<Identity, Caller>,
    pulls: u64,
}

#[derive(Debug, Default)]
struct Caller {
    told: Decisions,
    /// The number of its last pull.
    pull: u64,
}

/// What came and went.
#[derive(Debug, PartialEq)]
pub(super) struct Changes {
    pub(super) new: Decisions,
    pub(super) deleted: Decisions,
}

impl Bouncers {
    /// Tells a caller what changed since it asked last; everything at startup, or if it is not remembered.
    pub(super) fn pull(&self, caller: Identity, is_startup: bool, decisions: Decisions) -> Changes {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.pulls += 1;
        let pull = inner.pulls;
        let before = inner.callers.insert(caller, Caller { told: decisions.clone(), pull });
        if inner.callers.len() > CALLERS {
            let oldest = inner.callers.iter().min_by_key(|(_, caller)| caller.pull).map(|(identity, _)| *identity);
            oldest.map(|oldest| inner.callers.remove(&oldest));
        }
        let told = before.map(|caller| caller.told).filter(|_| !is_startup).unwrap_or_default();
        Changes { new: decisions.beyond(&told), deleted: told.missing_in(&decisions) }
    }
}

/// Returns who asks for what: bouncers differ by key, program and filter.
pub(super) fn identity(headers: &HeaderMap, asked: &Asked) -> Identity {
    let mut digest = blake3::Hasher::new();
    let mut add = |part: &[u8]| {
        digest.update(&(part.len() as u64).to_le_bytes());
        digest.update(part);
    };
    for name in ["x-api-key", header::AUTHORIZATION.as_str(), header::USER_AGENT.as_str()] {
        add(headers.get(name).map_or(&[], |value| value.as_bytes()));
    }
    let Asked { scopes, origins, scenarios_containing, scenarios_not_containing, .. } = asked;
    for part in [scopes, origins, scenarios_containing, scenarios_not_containing] {
        add(part.as_bytes());
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asked_longest_ago_is_forgotten_first() {
        let bouncers = Bouncers::default();
        for number in 0..=64 {
            bouncers.pull([number; 32], false, Decisions::default());
            bouncers.pull([1; 32], false, Decisions::default());
        }

        let inner = bouncers.0.lock().unwrap();

        assert_eq!(inner.callers.len(), CALLERS);
        assert!(!inner.callers.contains_key(&[0; 32]) && inner.callers.contains_key(&[1; 32]));
    }
}
