//! How much of the traffic itself is kept.

use serde::Deserialize;

/// First payload of conversations, for the evidence of findings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capture {
    /// Bytes; 0 keeps nothing.
    pub evidence_ring: usize,
}

impl Default for Capture {
    fn default() -> Self {
        Self { evidence_ring: 4 << 20 }
    }
}
