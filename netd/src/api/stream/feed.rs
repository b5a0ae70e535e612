//! One reader's stream: the past from the store, then what happens.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context as Polling, Poll};
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;

use super::line::{Encoding, Gap, Kind};
use super::params::Last;
use super::topic::{Topic, Writer};
use crate::api::Context;
use crate::store::Backlog;
use crate::store::events::{Event, Heard, Listener};

/// A stream says something at least this often, so that either end notices when the other is gone.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Most events that a reader who was away, or fell behind, gets from the store.
const CATCH_UP: usize = 10_000;

pub(super) struct Feed {
    context: Context,
    topic: Topic,
    encoding: Encoding,
    /// Start of this daemon: event numbers begin anew with it.
    run: u64,
    listener: Listener,
    /// From the store, oldest first.
    past: VecDeque<Event>,
    /// Whether events before `past` are lost.
    gap: bool,
    /// Number of the last event that was passed, told or filtered out.
    passed: u64,
    beat: Instant,
    shutdown: CancellationToken,
    _slot: OwnedSemaphorePermit,
}

impl Feed {
    pub(super) fn new(
        context: Context,
        topic: Topic,
        encoding: Encoding,
        resume: Option<&str>,
        last: Last,
        shutdown: CancellationToken,
        slot: OwnedSemaphorePermit,
    ) -> Self {
        let run = context.sources.borrow().started.0;
        // Before the store is read: what happens meanwhile comes twice and is told once.
        let listener = context.events.listen();
        let mut feed = Self {
            context,
            topic,
            encoding,
            run,
            listener,
            past: VecDeque::new(),
            gap: false,
            passed: 0,
            beat: Instant::now() + HEARTBEAT,
            shutdown,
            _slot: slot,
        };
        match resume {
            None => {
                let newest = feed.topic.after(&feed.context, 0, last.0.max(1)).events;
                let sequence = |event: Option<&Event>| event.and_then(|event| feed.topic.sequence(event)).unwrap_or(0);
                if last.0 == 0 {
                    feed.passed = sequence(newest.last());
                } else {
                    feed.passed = sequence(newest.first()).saturating_sub(1);
                    feed.past = newest.into();
                }
            }
            Some(id) => match position(id, run) {
                Some(sequence) => feed.catch_up(sequence),
                // Of another run, or no number of ours: what came since cannot be told from what came before.
                None => {
                    feed.catch_up(0);
                    feed.gap = true;
                }
            },
        }
        feed
    }

    /// Returns the pieces of the answer's body.
    pub(super) fn pieces(self) -> Pieces {
        Pieces(Some(Box::pin(self.step())))
    }

    fn catch_up(&mut self, sequence: u64) {
        let Backlog { events, is_whole } = self.topic.after(&self.context, sequence, CATCH_UP);
        self.past = events.into();
        self.gap |= !is_whole;
        self.passed = sequence;
    }

    async fn step(mut self) -> Option<(Bytes, Self)> {
        let piece = self.next().await?;
        self.beat = Instant::now() + HEARTBEAT;
        Some((piece, self))
    }

    /// Returns the next piece; none when netd ends.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if std::mem::take(&mut self.gap) {
                return self.writer().write(Kind::Gap, self.passed, Gap { after: self.writer().id(self.passed) });
            }
            if let Some(event) = self.past.pop_front() {
                match self.pass(&event) {
                    Some(piece) => return Some(piece),
                    None => continue,
                }
            }
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return None,
                () = tokio::time::sleep_until(self.beat) => return Some(self.encoding.heartbeat()),
                heard = self.listener.next() => match heard? {
                    Heard::Event(event) => {
                        if let Some(piece) = self.pass(&event) {
                            return Some(piece);
                        }
                    }
                    // The store may still have what the listener lost.
                    Heard::Missed(_) => self.catch_up(self.passed),
                },
            }
        }
    }

    /// Takes an event: returns it as it is written, unless it was told already, or is not asked for.
    fn pass(&mut self, event: &Event) -> Option<Bytes> {
        let sequence = self.topic.sequence(event).filter(|sequence| *sequence > self.passed)?;
        self.passed = sequence;
        let Self { topic, context, encoding, run, .. } = self;
        topic.line(event, &Writer { context, encoding: *encoding, run: *run })
    }

    const fn writer(&self) -> Writer<'_> {
        Writer { context: &self.context, encoding: self.encoding, run: self.run }
    }
}

/// Returns the number that an id names, if it is one of this run.
fn position(id: &str, run: u64) -> Option<u64> {
    let (of_run, sequence) = id.split_once('-')?;
    (u64::from_str_radix(of_run, 16).ok()? == run).then_some(())?;
    u64::from_str_radix(sequence, 16).ok()
}

type Step = Pin<Box<dyn Future<Output = Option<(Bytes, Feed)>> + Send>>;

/// A body that looks for the next event when the reader has taken the last one: a slow reader costs nothing but its place.
pub(super) struct Pieces(Option<Step>);

impl Stream for Pieces {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, polling: &mut Polling<'_>) -> Poll<Option<Self::Item>> {
        let Some(step) = self.0.as_mut() else { return Poll::Ready(None) };
        let Poll::Ready(done) = step.as_mut().poll(polling) else { return Poll::Pending };
        match done {
            Some((piece, feed)) => {
                self.0 = Some(Box::pin(feed.step()));
                Poll::Ready(Some(Ok(piece)))
            }
            None => {
                self.0 = None;
                Poll::Ready(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_another_run_names_nothing() {
        assert_eq!(position("1f-a", 0x1f), Some(10));
        for id in ["1e-a", "1f", "1f-", "-a", "1f-a-1", "1f-x", "", "\u{1F980}"] {
            assert_eq!(position(id, 0x1f), None, "{id}");
        }
    }
}
