//! The contract between netd's kernel programs and its daemon.
//!
//! Everything that both sides must agree on lives here and nowhere else: the packet parser, flow and turn
//! accounting, the meaning of a verdict, the records in the ring buffer, the names of maps and programs.
//! The kernel runs this code over an `skb`; capture replay, tests and fuzzers run it over a slice.

#![cfg_attr(not(test), no_std)]

pub mod account;
pub mod bytes;
pub mod control;
pub mod counter;
pub mod flow;
pub mod key;
pub mod names;
pub mod offsets;
pub mod packet;
pub mod process;
pub mod record;
pub mod verdict;
