//! What a reader missed while it was away.

/// Events in the order in which they were told.
#[derive(Clone, Debug, PartialEq)]
pub struct Backlog<T> {
    pub events: Vec<T>,
    /// False when events before these are lost to the reader: forgotten, or too many.
    pub is_whole: bool,
}

impl<T> Backlog<T> {
    /// Keeps the newest `limit` events.
    pub(super) fn newest(mut events: Vec<T>, limit: usize, is_whole: bool) -> Self {
        let surplus = events.len().saturating_sub(limit);
        events.drain(..surplus);
        Self { events, is_whole: is_whole && surplus == 0 }
    }
}
