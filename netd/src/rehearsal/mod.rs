//! Policies held against what was seen: what they would have cut, and which would have let it all pass. Pure.

mod notation;
mod proposal;
mod simulation;

pub use notation::{By, Notation};
pub use proposal::Proposal;
pub use simulation::{Cut, Simulated, Simulation};
