//! What a restart must not forget: histories, and since when the engine has watched.

use serde::{Deserialize, Serialize};

use super::Engine;
use crate::history::Saved;
use crate::time::Timestamp;

/// Changes with the shape of anything inside.
const VERSION: u32 = 1;

/// Why a snapshot was not taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// It is of another version of netd.
    Version(u32),
    /// It is no snapshot.
    Damaged,
    /// It was taken later than now: the clock was set back.
    Future,
}

impl std::fmt::Display for RestoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Version(version) => write!(f, "version {version}, this netd reads {VERSION}"),
            Self::Damaged => f.write_str("it is no snapshot"),
            Self::Future => f.write_str("it was taken later than now; was the clock set back?"),
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
    /// # Errors
    ///
    /// When the bytes are no snapshot of this version or are of a later time; then nothing has changed.
    pub fn restore(&mut self, bytes: &[u8], now: Timestamp) -> Result<(), RestoreError> {
        let (version, rest) = bytes.split_first_chunk().ok_or(RestoreError::Damaged)?;
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(RestoreError::Version(version));
        }
        let snapshot: Snapshot = postcard::from_bytes(rest).map_err(|_| RestoreError::Damaged)?;
        let unwatched_ns = now.0.checked_sub(snapshot.at_ns).ok_or(RestoreError::Future)?;
        self.histories.restore(snapshot.histories, unwatched_ns as f64 / 1e9);
        self.began_ns = snapshot.began_ns.or(self.began_ns);
        self.now_ns = self.now_ns.max(snapshot.at_ns);
        Ok(())
    }

    /// Numbers findings from the one after `id`: those of a former run keep theirs.
    pub fn number_findings_after(&mut self, id: u64) {
        self.incidents.number_after(id);
    }
}
