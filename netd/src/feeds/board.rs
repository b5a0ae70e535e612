//! What is known of each feed, for whoever asks, and the way to ask for an update.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use netd_engine::time::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::config::feeds::{Action, Feed};

/// Updates of one feed that may wait.
const QUEUE: usize = 4;

/// A feed as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub name: String,
    pub url: String,
    pub action: Action,
    pub every_s: u64,
    pub is_signed: bool,
    /// Of the copy in force; none where there is none.
    pub entries: Option<u64>,
    pub serial: Option<u64>,
    /// When the copy in force was last found to be the present one.
    pub last_success: Option<Timestamp>,
    pub last_attempt: Option<Timestamp>,
    /// Why the last attempt brought nothing: the reason, and in words.
    pub failure: Option<(&'static str, String)>,
    /// Failures since the start, by reason.
    pub failures: BTreeMap<&'static str, u64>,
    /// Entries of the last list that were not taken, because they must not be cut.
    pub refused: u64,
}

/// An update that somebody asks for.
#[derive(Debug)]
pub struct Asked {
    /// Takes a list of any size.
    pub force: bool,
    pub answer: oneshot::Sender<State>,
}

/// The feeds by name; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    states: Mutex<BTreeMap<String, State>>,
    asked: BTreeMap<String, mpsc::Sender<Asked>>,
}

/// Why an update could not be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAsked {
    NoSuchFeed,
    /// Others wait for one already, or the daemon ends.
    Busy,
}

impl Board {
    /// Returns the board of these feeds, and for each the receiver of updates that are asked for.
    #[must_use]
    pub fn new(feeds: &[Feed]) -> (Self, Vec<mpsc::Receiver<Asked>>) {
        let (mut states, mut asked, mut receivers) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for feed in feeds {
            let (sender, receiver) = mpsc::channel(QUEUE);
            states.insert(feed.name.to_string(), State::new(feed));
            asked.insert(feed.name.to_string(), sender);
            receivers.push(receiver);
        }
        (Self(Arc::new(Inner { states: Mutex::new(states), asked })), receivers)
    }

    /// Returns every feed, by name.
    #[must_use]
    pub fn list(&self) -> Vec<State> {
        self.0.states.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Has a feed updated, and returns how it stands then.
    ///
    /// # Errors
    /// When there is no such feed, or too many wait for it.
    pub async fn update(&self, name: &str, force: bool) -> Result<State, NotAsked> {
        let sender = self.0.asked.get(name).ok_or(NotAsked::NoSuchFeed)?;
        let (answer, answered) = oneshot::channel();
        sender.try_send(Asked { force, answer }).map_err(|_| NotAsked::Busy)?;
        answered.await.map_err(|_| NotAsked::Busy)
    }

    /// Changes what is known of a feed, and returns it.
    pub fn note(&self, name: &str, change: impl FnOnce(&mut State)) -> Option<State> {
        let mut states = self.0.states.lock().unwrap_or_else(PoisonError::into_inner);
        let state = states.get_mut(name)?;
        change(state);
        Some(state.clone())
    }
}

impl State {
    fn new(feed: &Feed) -> Self {
        Self {
            name: feed.name.to_string(),
            url: feed.url.to_string(),
            action: feed.action,
            every_s: feed.every.as_secs(),
            is_signed: feed.public_key.is_some(),
            entries: None,
            serial: None,
            last_success: None,
            last_attempt: None,
            failure: None,
            failures: BTreeMap::new(),
            refused: 0,
        }
    }
}
