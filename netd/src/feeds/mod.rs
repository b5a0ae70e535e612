//! Lists that are fetched on a timer: from where, whether what came may be used, and the last good copy of each.
//!
//! A feed is a stranger's word about whom to cut, brought by a network. So it is asked only where it cannot be used to
//! reach inside ([`location`], [`fetch`]), it may be signed ([`envelope`]), and it takes effect only when it looks like the
//! list that it was ([`gates`]). Whatever is refused leaves the last good copy ([`copy`]) in force.

pub mod board;
pub mod copy;
pub mod envelope;
pub mod fetch;
pub mod gates;
mod hex;
pub mod location;
mod update;

pub use update::{Error, News, update};
