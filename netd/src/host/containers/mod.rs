//! Containers: which one a process is in, by its cgroup, and what its runtime calls it.

pub mod names;
mod path;
mod proc;
mod tree;

pub use path::{Place, place};
pub use proc::{place_of, unified_path};
pub use tree::Tree;
