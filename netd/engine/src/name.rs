//! Names that conversations ask for: where one comes from, and what counts as one.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

/// Longest name taken over: that of DNS.
pub(crate) const LONGEST_NAME: usize = 253;

/// Where a conversation's name comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NameSource {
    #[default]
    None,
    /// The answer by which this client learned the address.
    Dns,
    /// TLS server name indication, in QUIC too.
    Sni,
    /// HTTP `Host`, or the target of `CONNECT`.
    Host,
}

impl NameSource {
    pub(crate) const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// Returns a name in lower case without a final dot, if it looks like one.
pub(crate) fn clean(name: &[u8]) -> Option<Arc<str>> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let is_name = !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    if !is_name {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    std::str::from_utf8(&lower).ok().map(Arc::from)
}

/// Returns whether a name is another one or below it.
pub(crate) fn within(name: &str, parent: &str) -> bool {
    let Some(rest) = name.len().checked_sub(parent.len()) else { return false };
    let (labels, end) = name.as_bytes().split_at(rest);
    end.eq_ignore_ascii_case(parent.as_bytes()) && labels.last().is_none_or(|last| *last == b'.')
}
