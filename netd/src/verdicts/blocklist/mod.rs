//! Block-lists: many addresses and prefixes under one name and one rule.

mod item;
mod list;
mod name;
mod parse;

pub use item::Item;
pub use list::{Builder, Change, Difference, List, Position};
pub use name::{ListName, NameError};
pub use parse::{MAX_REPORTED, Parsed, Parser, Rejected};
