//! Policies held against what was seen: what they would have cut, and which would have let it all pass. Pure.

mod proposal;
mod simulation;

pub use proposal::{By, Notation, Proposal};
pub use simulation::{Cut, Simulated, Simulation};
