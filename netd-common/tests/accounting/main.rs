//! Flow accounting: what is told of conversations and turns, and that nothing is lost silently.

mod bench;
mod events;
mod exact;
mod payload;
mod turns;
