//! What happens, told to whoever listens: event streams, outputs, history.
//!
//! Nobody who tells is ever held up: a listener that falls behind loses the oldest events, and hears how many.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::broadcast;

use super::{Backlog, Row, Stored};
use crate::verdicts::Entry;

/// Events a listener may be behind before it loses some.
const BEHIND: usize = 16_384;
/// Changes of verdicts that are remembered for those who were away.
const CHANGES: usize = 4_096;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A finding was reported, or its severity changed.
    Finding(Arc<Stored>),
    /// A conversation ended; this is its last state.
    Flow(Arc<Row>),
    Verdict(Arc<VerdictEvent>),
}

/// A verdict that came, or went.
#[derive(Clone, Debug, PartialEq)]
pub struct VerdictEvent {
    /// Grows with every change, from 1 on.
    pub sequence: u64,
    pub change: VerdictChange,
    pub entry: Entry,
}

/// What became of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VerdictChange {
    /// In force, or renewed.
    Began,
    /// Released by somebody.
    Released,
    Expired,
}

/// Where events are told. Clones tell the same listeners.
#[derive(Clone, Debug)]
pub struct Events {
    sender: broadcast::Sender<Event>,
    changes: Arc<Mutex<Changes>>,
}

/// The last changes of verdicts, oldest first, and how many there have been.
#[derive(Debug, Default)]
struct Changes {
    last: u64,
    kept: VecDeque<Arc<VerdictEvent>>,
}

impl Default for Events {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(BEHIND), changes: Arc::default() }
    }
}

impl Events {
    /// Tells an event to everybody who listens now.
    pub fn tell(&self, event: impl FnOnce() -> Event) {
        if self.sender.receiver_count() > 0 {
            // Whoever listened may have gone since.
            let _ = self.sender.send(event());
        }
    }

    /// Tells that a verdict came or went, and remembers it for a while.
    pub fn tell_verdict(&self, change: VerdictChange, entry: Entry) {
        let mut changes = self.changes();
        changes.last += 1;
        let event = Arc::new(VerdictEvent { sequence: changes.last, change, entry });
        if changes.kept.len() == CHANGES {
            changes.kept.pop_front();
        }
        changes.kept.push_back(Arc::clone(&event));
        // Under the lock: listeners hear changes in the order of their numbers.
        self.tell(|| Event::Verdict(event));
    }

    /// Returns the changes of verdicts after one of them, the newest `limit` at most.
    #[must_use]
    pub fn verdicts_after(&self, sequence: u64, limit: usize) -> Backlog<Arc<VerdictEvent>> {
        let changes = self.changes();
        let events: Vec<_> = changes.kept.iter().filter(|event| event.sequence > sequence).cloned().collect();
        let is_whole = events.len() as u64 >= changes.last.saturating_sub(sequence);
        Backlog::newest(events, limit, is_whole)
    }

    /// Returns the newest `limit` changes of verdicts, oldest first.
    #[must_use]
    pub fn latest_verdicts(&self, limit: usize) -> Vec<Arc<VerdictEvent>> {
        self.verdicts_after(0, limit).events
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens from now on.
    #[must_use]
    pub fn listen(&self) -> Listener {
        Listener(self.sender.subscribe())
    }
}

/// One listener.
#[derive(Debug)]
pub struct Listener(broadcast::Receiver<Event>);

/// What a listener hears.
#[derive(Clone, Debug)]
pub enum Heard {
    Event(Event),
    /// So many events were lost to this listener.
    Missed(u64),
}

impl Listener {
    /// Waits for the next event; `None` when nobody tells any more.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.0.recv().await {
            Ok(event) => Some(Heard::Event(event)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Heard::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{findings_for_tests, flows_for_tests};
    use netd_engine::{finding::Severity, flow::EndReason};

    #[tokio::test]
    async fn findings_and_ended_flows_are_told_in_order() {
        let events = Events::default();
        let mut listener = events.listen();
        let findings = crate::store::Findings::new(10).telling(events.clone());
        let flows = crate::store::Flows::new(10).telling(events.clone());

        findings.report(findings_for_tests::finding(7, Severity::Low, 0.5));
        flows.put(flows_for_tests::conversation(1, EndReason::Active));
        flows.end(flows_for_tests::conversation(1, EndReason::Closed));

        assert!(matches!(listener.next().await, Some(Heard::Event(Event::Finding(told))) if told.finding.id == 7));
        let Some(Heard::Event(Event::Flow(told))) = listener.next().await else { panic!("no flow") };
        assert_eq!(told.conversation.end_reason, EndReason::Closed);
        drop((events, findings, flows));
        assert!(listener.next().await.is_none());
    }

    #[tokio::test]
    async fn whoever_falls_behind_hears_how_much_was_lost() {
        let events = Events::default();
        let mut listener = events.listen();
        let conversation = flows_for_tests::conversation(1, EndReason::Closed);
        let row = Arc::new(Row { sequence: 1, ended: Some(1), conversation, written: Default::default() });

        for _ in 0..BEHIND + 5 {
            events.tell(|| Event::Flow(Arc::clone(&row)));
        }

        assert!(matches!(listener.next().await, Some(Heard::Missed(5))));
        assert!(matches!(listener.next().await, Some(Heard::Event(Event::Flow(_)))));
    }
}
