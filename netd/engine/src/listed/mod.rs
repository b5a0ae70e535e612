//! Names that lists hold, and the addresses that DNS gives them.
//!
//! A verdict is about addresses, so a listed name acts through the answers that clients get. An answer counts only when
//! its question was seen before it from the same client: otherwise one packet from port 53 could have any address cut.

mod asked;
mod set;
mod tenants;

use std::net::IpAddr;
use std::sync::Arc;

pub(crate) use asked::Questions;
pub use set::{NameSet, SetName};
pub(crate) use tenants::Tenants;

/// The names of all lists; cheap to clone and to replace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    pub block: Vec<Names>,
    /// They win over `block`.
    pub allow: Vec<Names>,
}

/// The names of one list. A list may have several sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    pub list: Arc<str>,
    pub names: Arc<NameSet>,
}

/// Returns whether a name belongs to nobody in particular: a public suffix like `co.uk`, below which everybody registers.
#[must_use]
pub fn is_public_suffix(name: &str) -> bool {
    psl::domain_str(name).is_none()
}

/// An address that DNS gave for a listed name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    pub list: Arc<str>,
    /// Whether `list` is an allow-list.
    pub is_allowed: bool,
    /// The listed entry, as it is read: `*.evil.example`.
    pub entry: String,
    /// The name that was asked for, or the alias that is listed.
    pub name: Arc<str>,
    pub address: IpAddr,
    /// As the answer says, seconds.
    pub ttl_s: u32,
    pub client: IpAddr,
    /// Registered domains other than listed ones that lately had this address, as far as they are counted.
    pub tenants: u32,
}

/// What the lists say of a chain of names.
pub(crate) struct Match {
    pub(crate) list: Arc<str>,
    pub(crate) is_allowed: bool,
    pub(crate) entry: String,
    /// Which of the chain is listed.
    pub(crate) at: usize,
}

impl Listed {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.block.is_empty() && self.allow.is_empty()
    }

    /// Returns the list and the entry that stand for the first name of a chain that has one; allow-lists first.
    pub(crate) fn find(&self, chain: &[Arc<str>]) -> Option<Match> {
        let among = |lists: &[Names], is_allowed| {
            chain.iter().enumerate().find_map(|(at, name)| {
                lists.iter().find_map(|Names { list, names }| {
                    let entry = names.find(name)?.to_string();
                    Some(Match { list: Arc::clone(list), is_allowed, entry, at })
                })
            })
        };
        among(&self.allow, true).or_else(|| among(&self.block, false))
    }
}
