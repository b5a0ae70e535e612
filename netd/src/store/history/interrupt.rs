//! Ends a question that takes too long, from another thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, InterruptHandle};

use super::error::Error;

/// Asked between steps, and heard by SQLite within them.
#[derive(Default)]
pub struct Interrupt {
    is_late: AtomicBool,
    current: Mutex<Option<InterruptHandle>>,
}

impl Interrupt {
    /// Makes the question fail with [`Error::Late`].
    pub fn interrupt(&self) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_late.store(true, Ordering::Release);
        if let Some(handle) = &*current {
            handle.interrupt();
        }
    }

    /// Returns an error once it is too late.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.is_late.load(Ordering::Acquire) { Err(Error::Late) } else { Ok(()) }
    }

    /// Runs `ask` on a connection that [`Interrupt::interrupt`] reaches meanwhile.
    pub(super) fn around<T>(
        &self,
        connection: &Connection,
        ask: impl FnOnce(&Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let put = |handle| *self.current.lock().unwrap_or_else(PoisonError::into_inner) = handle;
        put(Some(connection.get_interrupt_handle()));
        let answer = self.check().and_then(|()| ask(connection));
        put(None);
        answer
    }
}
