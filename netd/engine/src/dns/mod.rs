//! DNS as it is seen on the wire: messages, the names in them, and which name gave an address to which client.

mod answers;
mod labels;
mod lookups;
mod message;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use answers::Answers;
pub(crate) use labels::{Labels, Owner};
pub(crate) use lookups::Lookups;
pub(crate) use message::{Answer, Message, Question, read, records};
pub(crate) use stream::{Segment, Streams};
