//! Questions to the engine: its task answers them between two batches of records.

use netd_engine::engine::{Explanation, Question};
use tokio::sync::{mpsc, oneshot};

/// A question under way.
#[derive(Debug)]
pub struct Asked {
    pub question: Question,
    pub answer: oneshot::Sender<Explanation>,
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
    pub async fn ask(&self, question: Question) -> Option<Explanation> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Asked { question, answer }).await.ok()?;
        answered.await.ok()
    }
}
