//! Lists: many addresses, prefixes and names under one name; a block-list's under one rule.

mod entry;
mod item;
mod list;
mod name;
mod parse;

pub use entry::EntryValue;
pub use item::{Item, ItemError};
pub use list::{Builder, Change, Difference, List, Position};
pub use name::{ListName, NameError};
pub use parse::{MAX_REPORTED, Parsed, Parser, Rejected};
