//! Asks history off the runtime's own threads, a few at a time, and not for long.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::problem::{Detail, Problem};
use crate::query;
use crate::store::history::{Error, History, Interrupt};

/// Questions at once, over all requests.
const SLOTS: usize = 4;
/// How long a question may wait for its turn, and take.
const QUEUE_TIME: Duration = Duration::from_secs(10);
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// Asks, and ends the question when it takes too long or nobody waits for the answer any more.
pub(super) async fn ask<T: Send + 'static>(
    history: &Arc<History>,
    question: impl FnOnce(&History, &Interrupt) -> Result<T, Error> + Send + 'static,
) -> Result<T, Problem> {
    static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(SLOTS)));
    let turn = timeout(QUEUE_TIME, Arc::clone(&TURNS).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else {
        let detail = "too many questions about the past are being answered; try again in a moment";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Busy", detail));
    };
    let asked = Asked(Arc::default());
    let (history, interrupt) = (Arc::clone(history), Arc::clone(&asked.0));
    let answer = tokio::task::spawn_blocking(move || {
        // Held until the work is over, whoever waits for it.
        let _turn = turn;
        question(&history, &interrupt)
    });
    match timeout(ANSWER_TIME, answer).await {
        Ok(Ok(answer)) => answer.map_err(problem),
        Ok(Err(_)) => Err(Problem::internal()),
        Err(_) => Err(problem(Error::Late)),
    }
}

/// Interrupts the question when it is dropped.
struct Asked(Arc<Interrupt>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.interrupt();
    }
}

/// Returns what is said of an error.
pub(super) fn problem(error: Error) -> Problem {
    match error {
        Error::Late => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-slow", "Too slow", error.to_string()),
        Error::TooManyGroups { .. } => Problem::unprocessable("too-many-groups", "Too many groups", error.to_string()),
        Error::Sqlite { .. } | Error::Io { .. } | Error::Version { .. } | Error::Foreign { .. } | Error::Encode(_) => {
            tracing::warn!(%error, "history cannot be read");
            Problem::internal()
        }
    }
}

/// Returns what is said of a query, or of a parameter that stands for a part of one.
pub(super) fn bad_query(parameter: &str, error: &query::Error) -> Problem {
    let detail = Detail {
        parameter: Some(parameter.to_owned()),
        column: Some(error.column as u64),
        detail: format!("{}\n{}", error.expected, error.shown()),
        ..Detail::default()
    };
    // A text may be wrong in many ways, a value of one field is just another one than expected.
    let text = match parameter {
        "q" => format!("q: {}", error.expected),
        parameter => format!("{parameter}: it must be {}", error.expected),
    };
    Problem::new(StatusCode::BAD_REQUEST, "bad-parameter", "Bad parameter", text).with(detail)
}
