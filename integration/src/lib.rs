//! Laboratories of network namespaces and harmless traffic.
//!
//! The library is what `netd demo` and the tests of this crate are made of; its binary `pcaps` writes the captures that
//! the project ships, `accuracy` and `calibrate` measure what netd finds and what its evidence is worth.

pub mod accuracy;
pub mod api;
pub mod binary;
pub mod calibrate;
pub mod capture;
pub mod daemon;
pub mod demo;
pub mod frames;
pub mod lab;
pub mod left_out;
pub mod namespace;
pub mod pcaps;
pub mod process;
pub mod redteam;
pub mod synth;
pub mod torture;
pub mod traffic;
