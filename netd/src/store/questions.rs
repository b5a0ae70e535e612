//! Questions to the engine: its task answers them between two batches of records.

use std::fmt;

use netd_engine::Engine;
use tokio::sync::{mpsc, oneshot};

/// A question under way.
pub struct Asked(Box<dyn FnOnce(&Engine) + Send>);

impl Asked {
    /// Looks at the engine. It waits for that: a question asks for a slice of what takes long.
    pub fn answer(self, engine: &Engine) {
        (self.0)(engine);
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asked")
    }
}

/// Who may ask.
#[derive(Clone, Debug)]
pub struct Asker(mpsc::Sender<Asked>);

/// Questions that may wait.
const WAITING: usize = 16;

/// Returns who asks, and where questions arrive.
#[must_use]
pub fn channel() -> (Asker, mpsc::Receiver<Asked>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Asker(sender), receiver)
}

impl Asker {
    /// Asks and waits for the answer; `None` when the engine has ended.
    pub async fn ask<T: Send + 'static>(&self, question: impl FnOnce(&Engine) -> T + Send + 'static) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let ask = move |engine: &Engine| {
            // Whoever asked may have gone.
            let _ = answer.send(question(engine));
        };
        self.0.send(Asked(Box::new(ask))).await.ok()?;
        answered.await.ok()
    }
}
