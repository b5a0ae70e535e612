//! Remembers: the state directory, the findings, the live flows, and the state of the whole, as the API reads them.

mod backlog;
pub mod disk;
pub mod events;
pub mod evidence;
mod findings;
mod flows;
pub mod questions;
pub mod responses;
pub mod status;
pub mod suppressions;
pub mod view;

pub use backlog::Backlog;
pub use findings::{Findings, Rise, Stored};
pub use flows::{Flows, Row};

#[cfg(test)]
pub(crate) use findings::tests as findings_for_tests;
#[cfg(test)]
pub(crate) use flows::tests as flows_for_tests;
