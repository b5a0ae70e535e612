//! What a restart must not forget: histories, and since when the engine has watched.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Engine;
use crate::history::Saved;
use crate::time::{Timestamp, set_back};

/// Changes with the shape of anything inside.
const VERSION: u32 = 1;

/// Most that a clock may have been set back since a snapshot: beyond it, one of the two times is nonsense.
const MOST_SET_BACK: Duration = Duration::from_secs(7 * 86_400);

/// Why a snapshot was not taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// It is of another version of netd.
    Version(u32),
    /// It is no snapshot.
    Damaged,
    /// It was taken so much later than now that it is not of this clock.
    Future,
}

impl std::fmt::Display for RestoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Version(version) => write!(f, "version {version}, this netd reads {VERSION}"),
            Self::Damaged => f.write_str("it is no snapshot"),
            Self::Future => f.write_str("it was taken more than a week later than now"),
        }
    }
}

impl std::error::Error for RestoreError {}

#[derive(Serialize, Deserialize)]
struct Snapshot {
    at_ns: u64,
    began_ns: Option<u64>,
    histories: Vec<Saved>,
}

impl Snapshot {
    fn set_back(&mut self, by: Duration) {
        let by_ns = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.at_ns = set_back(self.at_ns, by_ns);
        self.began_ns = self.began_ns.map(|began_ns| set_back(began_ns, by_ns));
        for history in &mut self.histories {
            history.set_back(by_ns);
        }
    }
}

impl Engine {
    /// Returns the histories as bytes for [`Engine::restore`].
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let snapshot = Snapshot { at_ns: self.now_ns, began_ns: self.began_ns, histories: self.histories.save() };
        let begun = VERSION.to_le_bytes().to_vec();
        // Writing to memory cannot fail.
        postcard::to_extend(&snapshot, begun).unwrap_or_default()
    }

    /// Takes over the histories of a former run; what fell between is a gap that tells nothing.
    ///
    /// A snapshot of a time that is still to come was taken before the clock was set back: all its times are set back
    /// so that it was taken now. Returns by how much, zero for any other.
    ///
    /// # Errors
    ///
    /// When the bytes are no snapshot of this version or are of much later a time; then nothing has changed.
    pub fn restore(&mut self, bytes: &[u8], now: Timestamp) -> Result<Duration, RestoreError> {
        let (version, rest) = bytes.split_first_chunk().ok_or(RestoreError::Damaged)?;
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(RestoreError::Version(version));
        }
        let mut snapshot: Snapshot = postcard::from_bytes(rest).map_err(|_| RestoreError::Damaged)?;
        let back = Duration::from_nanos(snapshot.at_ns.saturating_sub(now.0));
        if back > MOST_SET_BACK {
            return Err(RestoreError::Future);
        }
        let unwatched_s = if back.is_zero() {
            now.0.saturating_sub(snapshot.at_ns) as f64 / 1e9
        } else {
            snapshot.set_back(back);
            // How long nobody watched, no clock tells.
            f64::INFINITY
        };
        self.histories.restore(snapshot.histories, unwatched_s);
        self.began_ns = snapshot.began_ns.or(self.began_ns);
        self.now_ns = self.now_ns.max(snapshot.at_ns);
        Ok(back)
    }

    /// Numbers findings from the one after `id`: those of a former run keep theirs.
    pub fn number_findings_after(&mut self, id: u64) {
        self.incidents.number_after(id);
    }
}
