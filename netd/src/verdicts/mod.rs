//! Owns what is enforced: verdicts, block-lists, protected addresses, the mode and the kill switch.
//!
//! [`Service`] is a state machine over [`Maps`] (the kernel's maps) and the state directory; time is an argument.
//! [`run`] owns it, and every other room reaches it through a [`Handle`].
//!
//! - The kernel always holds, for each key, the strongest claim in force on it. Weaker claims wait here and take
//!   over when a stronger one is released, or shortly before it expires.
//! - Order of writes: rule, front bit, key; on removal key, rule; the generation last. So a packet never meets a key
//!   whose rule does not hold yet, and a key that does not change never has a gap.
//! - What must not be cut ([`Guard`]) is allow-listed in the kernel, where it wins over everything; a verdict or a
//!   list entry that lies wholly inside it is refused with the reason.

mod ask;
pub mod blocklist;
mod clock;
mod front;
mod handle;
mod maps;
mod operators;
mod proof;
mod protect;
mod recorded;
mod refusal;
mod rules;
mod server;
mod service;
mod target;
mod view;

#[cfg(test)]
pub mod fake;
#[cfg(test)]
mod tests;

pub use ask::{AllowListParts, ListKind, ListParts};
pub use clock::Now;
pub use handle::{Command, Handle, channel};
pub use maps::{Coming, Cursor, Error as MapsError, MapKey, Maps, Place, Retire, Table};
pub use operators::Operators;
pub use proof::{NOBODY4, NOBODY6, NOBODYS_PORT, Proof};
pub use protect::Guard;
pub use refusal::Refusal;
pub use server::run;
pub use service::{Begun, Content, HANDOVER, Outcome, Service, Settings, Work, Worked};
pub use view::{
    Added, AllowListView, Confirmation, Coverage, Entry, EntryChange, EntryOptions, EntryView, ListChange, ListMatch,
    ListOptions, ListView, NewEntry, Page, REMARKS, Reading, Released, Remark, ResolvedCounts, Status, TableFill,
    VerdictPage,
};
