//! Updates the feeds on their timers and when somebody asks; each on a task of its own, so that a slow server holds up
//! nobody.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use netd_engine::verdict::Response;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::feeds::{Action, Feed};
use crate::feeds::board::{Asked, Board, State};
use crate::feeds::copy::{self, Copy};
use crate::feeds::fetch::System;
use crate::feeds::{News, update};
use crate::store::disk::StateDir;
use crate::time;
use crate::verdicts::blocklist::{List, Parser};
use crate::verdicts::{Handle, ListOptions, Refusal};

/// After a failure a feed is tried again so much later, and twice as long after each further one.
const RETRY: Duration = Duration::from_secs(300);
/// A server that answers nonsense may do so at length; the error is cut to so many characters.
const SHOWN: usize = 300;

/// Texts of the feeds that are threat intelligence, by name.
pub(super) type Texts = BTreeMap<String, Arc<[u8]>>;

/// Everything that the feeds need.
pub(super) struct Feeds {
    feeds: Vec<Feed>,
    board: Board,
    asked: Vec<mpsc::Receiver<Asked>>,
    disk: Option<StateDir>,
    texts: watch::Sender<Texts>,
}

impl Feeds {
    /// Returns the feeds, their board, and the texts of those that are threat intelligence.
    pub(super) fn new(feeds: Vec<Feed>, disk: Option<StateDir>) -> (Self, Board, watch::Receiver<Texts>) {
        let (board, asked) = Board::new(&feeds);
        let (texts, received) = watch::channel(Texts::new());
        (Self { feeds, board: board.clone(), asked, disk, texts }, board, received)
    }

    /// Works until `shutdown`.
    pub(super) async fn run(self, handle: Handle, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut tasks = JoinSet::new();
        for (feed, asked) in self.feeds.into_iter().zip(self.asked) {
            let one = One {
                feed,
                board: self.board.clone(),
                disk: self.disk.clone(),
                texts: self.texts.clone(),
                handle: handle.clone(),
                copy: None,
                failed: 0,
            };
            tasks.spawn(shutdown.clone().run_until_cancelled_owned(one.run(asked)));
        }
        drop(handle);
        // Without feeds, too, this part ends with the daemon and not before.
        shutdown.cancelled().await;
        while let Some(ended) = tasks.join_next().await {
            ended?;
        }
        Ok(())
    }
}

/// One feed at work.
struct One {
    feed: Feed,
    board: Board,
    disk: Option<StateDir>,
    texts: watch::Sender<Texts>,
    handle: Handle,
    /// What is in force; without its content, which is applied.
    copy: Option<copy::Head>,
    /// Attempts that failed, one after the other.
    failed: u32,
}

impl One {
    async fn run(mut self, mut asked: mpsc::Receiver<Asked>) {
        self.resume().await;
        let mut next = Instant::now() + self.until_due();
        loop {
            let asked = tokio::select! {
                () = tokio::time::sleep_until(next) => None,
                Some(asked) = asked.recv() => Some(asked),
            };
            let state = self.update(asked.as_ref().is_some_and(|asked| asked.force)).await;
            let wait = match self.failed {
                0 => self.feed.every,
                failed => (RETRY * 2_u32.saturating_pow(failed.min(16) - 1)).min(self.feed.every),
            };
            next = Instant::now() + wait;
            if let (Some(asked), Some(state)) = (asked, state) {
                // Whoever asked may have gone.
                let _ = asked.answer.send(state);
            }
        }
    }

    /// Puts the last good copy in force.
    async fn resume(&mut self) {
        let Some(disk) = self.disk.clone() else { return };
        let name = self.feed.name.clone();
        let read = tokio::task::spawn_blocking(move || copy::read(&disk, &name)).await;
        let Ok(Some(copy)) = read else { return };
        match self.apply(&copy).await {
            Ok(refused) => {
                self.note_success(&copy.head, refused);
                self.copy = Some(copy.head);
            }
            Err(refusal) => warn!(feed = %self.feed.name, %refusal, "the last good copy is not in force"),
        }
    }

    fn until_due(&self) -> Duration {
        let Some(head) = &self.copy else { return Duration::ZERO };
        let age = time::now().secs_since(head.fetched).max(0.0);
        self.feed.every.saturating_sub(Duration::from_secs_f64(age))
    }

    /// Updates the feed once; returns how it stands then.
    async fn update(&mut self, force: bool) -> Option<State> {
        let now = time::now();
        let name = self.feed.name.to_string();
        self.board.note(&name, |state| state.last_attempt = Some(now));
        let news = update(&self.feed, self.copy.as_ref(), force, &System, now).await;
        let taken = match news {
            Ok(News::Unchanged) => self.confirm_copy().await,
            Ok(News::Copy(copy)) => self.take(copy).await,
            Err(error) => Err((error.reason(), chain(&error))),
        };
        match taken {
            Ok(()) => self.failed = 0,
            Err((reason, why)) => {
                self.failed = self.failed.saturating_add(1);
                warn!(feed = name, reason, why, "the feed stays as it was");
                self.board.note(&name, |state| {
                    *state.failures.entry(reason).or_default() += 1;
                    state.failure = Some((reason, why.chars().take(SHOWN).collect()));
                });
            }
        }
        self.board.note(&name, |_| {})
    }

    async fn take(&mut self, copy: Copy) -> Result<(), (&'static str, String)> {
        let refused = self.apply(&copy).await.map_err(|refusal| ("verdicts", refusal.to_string()))?;
        let head = copy.head.clone();
        self.write(copy).await?;
        let entries = head.entries;
        info!(feed = %self.feed.name, entries, refused, "feed updated");
        self.note_success(&head, refused);
        self.copy = Some(head);
        Ok(())
    }

    /// Notes that the copy is the present one.
    async fn confirm_copy(&mut self) -> Result<(), (&'static str, String)> {
        let Some(head) = &mut self.copy else { return Err(("http", "unchanged since never".to_owned())) };
        head.fetched = time::now();
        let head = head.clone();
        let refused = self.board.note(self.feed.name.as_str(), |_| {}).map_or(0, |state| state.refused);
        self.note_success(&head, refused);
        Ok(())
    }

    async fn write(&self, copy: Copy) -> Result<(), (&'static str, String)> {
        let Some(disk) = self.disk.clone() else { return Ok(()) };
        let name = self.feed.name.clone();
        let written = tokio::task::spawn_blocking(move || copy::write(&disk, &name, &copy)).await;
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(("disk", error.to_string())),
            Err(panic) => Err(("disk", panic.to_string())),
        }
    }

    /// Makes a copy act; returns how many entries were not taken.
    async fn apply(&self, copy: &Copy) -> Result<u64, Refusal> {
        let name = self.feed.name.clone();
        let options = ListOptions { response: Response::Drop, keeps_entries: true, ..ListOptions::default() };
        let change = match self.feed.action {
            Action::Alert => {
                let text: Arc<[u8]> = copy.content.as_slice().into();
                self.texts.send_modify(|texts| _ = texts.insert(name.to_string(), text));
                return Ok(0);
            }
            Action::Block => self.handle.replace_list(name, list(copy).await?, options).await?,
            Action::Allow => self.handle.replace_allow_list(name, list(copy).await?, options).await?,
        };
        for refused in change.refused.iter().take(10) {
            warn!(feed = %self.feed.name, entry = refused.entry, why = refused.reason, "an entry of the feed is not taken");
        }
        Ok(change.refused.len() as u64)
    }

    fn note_success(&self, head: &copy::Head, refused: u64) {
        self.board.note(self.feed.name.as_str(), |state| {
            state.entries = Some(head.entries);
            state.serial = head.serial;
            state.last_success = Some(head.fetched);
            state.failure = None;
            state.refused = refused;
        });
    }
}

/// Reads a copy on a thread of its own: it may hold millions of lines.
async fn list(copy: &Copy) -> Result<List, Refusal> {
    let content = copy.content.clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut parser = Parser::new(time::now());
        parser.push(&content);
        parser.finish().list
    });
    read.await.map_err(|_| Refusal::Stopped)
}

/// Returns an error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
