//! Conversations: what the kernel's per-CPU records add up to.

mod attempt;
mod community;
mod conversation;
mod entry;
mod queue;
mod table;
mod tls;
mod turns;

pub use crate::name::NameSource;
pub use crate::opening::Protocol;
pub(crate) use attempt::{Attempt, Outcome};
pub use conversation::{Conversation, EndReason, Sent, protocol_name};
pub(crate) use entry::{Entry, Phase, Relation, Totals};
pub(crate) use table::Table;
pub use tls::Tls;
pub(crate) use turns::{ClosedTurn, GOODBYE_WAIT_NS, SizedTurn, Step};
