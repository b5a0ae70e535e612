//! Shells as the host sees them: snapshots of descriptors in, findings out.

mod attribution;
mod benign;
mod bound;
mod commands;
mod graphs;
mod respond;
mod reverse;
mod support;
