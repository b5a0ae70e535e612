//! Remembers: the state directory, the findings, the live flows, and the state of the whole, as the API reads them.

pub mod audit;
mod backlog;
pub mod disk;
mod ended;
pub mod events;
pub mod evidence;
mod findings;
mod flows;
pub mod history;
pub mod jobs;
pub mod policies;
pub mod questions;
mod record;
pub mod responses;
pub mod sessions;
pub mod status;
pub mod suppressions;
pub mod tokens;
pub mod triage;
pub mod view;

pub use backlog::Backlog;
pub use ended::Ended;
pub use findings::{Findings, NotTriaged, Rise, Stored};
pub use flows::{Flows, Row, Written};

#[cfg(test)]
pub(crate) use findings::tests as findings_for_tests;
#[cfg(test)]
pub(crate) use flows::tests as flows_for_tests;
