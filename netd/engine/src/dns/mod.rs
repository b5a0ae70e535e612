//! Which name gave an address, as each client was told by DNS.

mod answers;
mod message;

pub(crate) use answers::Answers;
pub(crate) use message::{Message, read};
