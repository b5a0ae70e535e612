//! Country and autonomous system of addresses, from MMDB files that the operator names.
//!
//! [`Database`] is one verified file, [`Databases`] what a daemon holds and replaces while it runs, [`build`] makes a
//! file from CSV. Files are hostile until verified: sizes, time and memory are bounded, and nothing panics.

pub mod build;
mod database;
mod databases;
mod error;
mod record;
mod tree;

pub use database::{Database, Info, Layout, MAX_FILE};
pub use databases::{Databases, Loaded, Paths, State};
pub use error::Error;
pub use netd_engine::region::{Country, Geography, Region};

/// What a database is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Country,
    Asn,
}

impl Kind {
    /// Returns the name in configuration, metrics and status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Country => "country",
            Self::Asn => "asn",
        }
    }

    pub(crate) const fn plural(self) -> &'static str {
        match self {
            Self::Country => "countries",
            Self::Asn => "AS numbers",
        }
    }
}

#[cfg(test)]
mod tests;
