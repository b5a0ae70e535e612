//! How much history is kept.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::store::history::Limits;

/// History of flows and findings, under the state directory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Whether anything is kept.
    pub history: bool,
    #[serde(deserialize_with = "super::duration")]
    pub retention: Duration,
    /// Bytes of all files of flows together.
    #[serde(deserialize_with = "size")]
    pub max_size: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self { history: true, retention: Duration::from_secs(7 * 86_400), max_size: 2 << 30 }
    }
}

impl Store {
    /// Returns the limits, or `None` when nothing is kept.
    #[must_use]
    pub fn limits(&self) -> Option<Limits> {
        self.history.then_some(Limits { retention: self.retention, bytes: self.max_size })
    }
}

fn bytes(text: &str) -> Option<u64> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let (number, shift) = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))?;
    number.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Reads `512MiB`, `2GiB`.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    bytes(&text).ok_or_else(|| D::Error::custom(format!("'{text}' is not a size like 512MiB or 2GiB")))
}
