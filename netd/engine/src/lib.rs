//! netd's analytics: pure state and arithmetic. Time and randomness are arguments.
//!
//! Rooms, in the order in which data walks: `flow` adds the kernel's records up to conversations and turns, `opening`
//! and `dns` say what a conversation speaks and whom it asks for, `process` and `streams` say whose it is and what leads
//! to it, `history` remembers pairs and names, `detect` reads one kind of evidence each, `score` adds it up by the weights
//! of `weights`, `policy` says what a finding may lead to, `engine` ties them. `feed` reads lists of indicators.

pub mod attack;
pub mod config;
pub mod detect;
mod dns;
pub mod engine;
pub mod feed;
pub mod finding;
pub mod flow;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod history;
pub mod intel;
mod keyed;
pub mod listed;
pub mod lookup;
mod name;
mod opening;
pub mod policy;
mod pool;
pub mod process;
pub mod region;
mod regions;
pub mod respond;
mod scope;
mod score;
pub mod services;
mod slab;
pub mod stats;
pub mod streams;
pub mod suppress;
pub mod time;
pub mod tools;
pub mod verdict;
pub mod weights;

pub use engine::{Command, Counts, Engine, Withheld};
