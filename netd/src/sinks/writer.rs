//! The loop of a sink that writes to this host: it may block, so it has a thread of its own.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::file::FileOutput;
use super::journald::JournaldOutput;
use super::stdout::StdoutOutput;
use super::syslog::SyslogOutput;
use super::{Fate, Item, Output, Surroundings, Tally};
use crate::time;

/// Events that are written at once.
const BATCH: usize = 256;
/// Between two attempts: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Between two looks, while pausing, whether to give up.
const GLANCE: Duration = Duration::from_millis(20);

/// What writing achieved.
#[derive(Debug, Default)]
pub(super) struct Flushed {
    pub(super) sent: u64,
    /// Refused for good: another attempt would fail as well.
    pub(super) refused: u64,
    /// Why the rest still waits; it is tried again.
    pub(super) error: Option<io::Error>,
}

enum Local {
    File(FileOutput),
    Stdout(StdoutOutput),
    Syslog(SyslogOutput),
    Journald(JournaldOutput),
}

/// Writes one sink's events until its queue is closed and empty.
pub struct Writer {
    output: Local,
    surroundings: Surroundings,
    tally: Arc<Tally>,
    /// Ends attempts that do not succeed.
    give_up: CancellationToken,
}

impl Writer {
    /// Returns the writer of an output; `None` for one that is not on this host.
    #[must_use]
    pub fn new(
        output: Output,
        surroundings: Surroundings,
        tally: Arc<Tally>,
        give_up: CancellationToken,
    ) -> Option<Self> {
        let output = match output {
            Output::File { path, format, rotation } => Local::File(FileOutput::new(path, format, rotation)),
            Output::Stdout { format } => Local::Stdout(StdoutOutput::new(format)),
            Output::Syslog { address, format } => {
                Local::Syslog(SyslogOutput::new(address, format, surroundings.site.host.clone()))
            }
            Output::Journald { socket } => Local::Journald(JournaldOutput::new(socket)),
            Output::Webhook(_) => return None,
        };
        Some(Self { output, surroundings, tally, give_up })
    }

    /// Writes until `queue` is closed and empty.
    pub fn run(mut self, mut queue: Receiver<Item>) {
        while let Some(first) = queue.blocking_recv() {
            self.add(&first);
            for _ in 1..BATCH {
                let Ok(next) = queue.try_recv() else { break };
                self.add(&next);
            }
            self.deliver();
        }
        self.close();
    }

    fn add(&mut self, item: &Item) {
        self.tally.pop();
        let Self { output, surroundings, .. } = self;
        surroundings.tell(item, |record| match output {
            Local::File(output) => output.add(record, &surroundings.site),
            Local::Stdout(output) => output.add(record, &surroundings.site),
            Local::Syslog(output) => output.add(record, &surroundings.site, time::now()),
            Local::Journald(output) => output.add(record),
        });
    }

    /// Writes what was added, however often that has to be tried; meanwhile the queue fills.
    fn deliver(&mut self) {
        let mut pause = FIRST_PAUSE;
        let mut is_failing = false;
        loop {
            let Flushed { sent, refused, error } = self.flush();
            self.tally.count(Fate::Sent, sent);
            self.tally.count(Fate::Failed, refused);
            let Some(error) = error else {
                if is_failing {
                    info!(sink = self.tally.name(), "the sink can be written again");
                }
                return;
            };
            if !is_failing {
                warn!(sink = self.tally.name(), %error, "the sink cannot be written; trying again");
                is_failing = true;
            }
            self.tally.retry();
            if !self.pause(pause) {
                let given_up = self.discard();
                self.tally.count(Fate::Failed, given_up);
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn flush(&mut self) -> Flushed {
        match &mut self.output {
            Local::File(output) => output.flush(time::now()),
            Local::Stdout(output) => output.flush(),
            Local::Syslog(output) => output.flush(),
            Local::Journald(output) => output.flush(),
        }
    }

    fn discard(&mut self) -> u64 {
        match &mut self.output {
            Local::File(output) => output.discard(),
            Local::Stdout(output) => output.discard(),
            Local::Syslog(output) => output.discard(),
            Local::Journald(output) => output.discard(),
        }
    }

    fn close(&mut self) {
        match &mut self.output {
            Local::File(output) => output.close(time::now()),
            Local::Stdout(_) | Local::Syslog(_) | Local::Journald(_) => {}
        }
    }

    /// Waits; returns `false` when it is time to give up.
    fn pause(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if self.give_up.is_cancelled() {
                return false;
            }
            std::thread::sleep(GLANCE);
        }
        true
    }
}
