//! Room for connections. Those that have not sent a whole request are many and the oldest gives way; those whose
//! request is being answered are few and nobody takes their place.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Connections without a request under way.
const WAITING: usize = 512;
/// Requests answered at once.
const REQUESTS: usize = 200;
/// How long a request waits for one of those to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Room of one listener.
#[derive(Clone, Debug)]
pub(super) struct Slots(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    waiting: Mutex<Waiting>,
    requests: Arc<Semaphore>,
}

/// In the order in which they came, or ended their last request.
#[derive(Debug, Default)]
struct Waiting {
    queue: BTreeMap<u64, CancellationToken>,
    next: u64,
}

/// The place of one connection; it is free when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    slots: Slots,
    /// Where it stands in the queue; `None` while a request is under way.
    number: Mutex<Option<u64>>,
    given_up: CancellationToken,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Busy {
    place: Arc<Place>,
    _permit: OwnedSemaphorePermit,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner { waiting: Mutex::default(), requests: Arc::new(Semaphore::new(REQUESTS)) }))
    }

    /// Takes a connection in. The one that has waited longest gives way when there is no room.
    pub(super) fn enter(&self) -> Arc<Place> {
        let given_up = CancellationToken::new();
        let number = Some(self.queue(&given_up));
        Arc::new(Place { slots: self.clone(), number: Mutex::new(number), given_up })
    }

    fn queue(&self, given_up: &CancellationToken) -> u64 {
        let mut waiting = self.waiting();
        if waiting.queue.len() >= WAITING
            && let Some((_, oldest)) = waiting.queue.pop_first()
        {
            oldest.cancel();
        }
        let number = waiting.next;
        waiting.next += 1;
        waiting.queue.insert(number, given_up.clone());
        number
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Resolves when the connection has to give way.
    pub(super) async fn given_up(&self) {
        self.given_up.cancelled().await;
    }

    /// Begins a request, or returns `None` when too many are under way.
    pub(super) async fn begin(self: Arc<Self>) -> Option<Busy> {
        self.leave();
        let permit = timeout(PATIENCE, Arc::clone(&self.slots.0.requests).acquire_owned()).await.ok()?.ok()?;
        Some(Busy { place: self, _permit: permit })
    }

    fn leave(&self) {
        if let Some(number) = self.number().take() {
            self.slots.waiting().queue.remove(&number);
        }
    }

    fn number(&self) -> MutexGuard<'_, Option<u64>> {
        self.number.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let number = self.place.slots.queue(&self.place.given_up);
        *self.place.number() = Some(number);
    }
}

/// An answer's body, which keeps its request under way until it is sent.
pub(super) struct Held {
    body: Body,
    _busy: Busy,
}

impl Held {
    pub(super) const fn new(body: Body, busy: Busy) -> Self {
        Self { body, _busy: busy }
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_given_up(place: &Place) -> bool {
        place.given_up.is_cancelled()
    }

    #[test]
    fn the_oldest_that_waits_gives_way_and_who_left_makes_room() {
        let slots = Slots::new();
        let mut places: Vec<_> = (0..WAITING).map(|_| slots.enter()).collect();
        places.remove(5);

        let one = slots.enter();
        assert!(!is_given_up(&places[0]));
        let another = slots.enter();

        assert!(is_given_up(&places[0]));
        assert!(!is_given_up(&places[1]) && !is_given_up(&one) && !is_given_up(&another));
    }

    #[tokio::test]
    async fn a_request_under_way_never_gives_way_and_waits_anew_after_it() {
        let slots = Slots::new();
        let place = slots.enter();
        let busy = Arc::clone(&place).begin().await.unwrap();

        let others: Vec<_> = (0..2 * WAITING).map(|_| slots.enter()).collect();
        assert!(!is_given_up(&place));
        drop(busy);
        let last: Vec<_> = (1..WAITING).map(|_| slots.enter()).collect();
        assert!(!is_given_up(&place));
        let _one_more = slots.enter();

        assert!(is_given_up(&place));
        assert!(others.iter().all(|other| is_given_up(other)) && !last.iter().any(|one| is_given_up(one)));
    }

    #[tokio::test]
    async fn a_request_beyond_the_most_is_turned_away_in_time() {
        let slots = Slots::new();
        let mut busy = Vec::new();
        for _ in 0..REQUESTS {
            busy.push(slots.enter().begin().await.unwrap());
        }

        assert!(slots.enter().begin().await.is_none());
        busy.pop();
        assert!(slots.enter().begin().await.is_some());
    }
}
