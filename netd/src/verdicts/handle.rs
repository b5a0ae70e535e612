//! The way to the verdict service from every other room, and the loop that owns it.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use netd_common::control::Mode;
use netd_engine::verdict::Verdict;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::blocklist::{List, ListName};
use super::clock::Now;
use super::maps::Maps;
use super::protect::Guard;
use super::refusal::Refusal;
use super::service::Service;
use super::view::{Added, Coverage, Entry, ListChange, ListOptions, ListView, Page, Status, VerdictPage};
use crate::store::events::{Events, VerdictChange};

/// How often the service looks for expired verdicts. Shorter than [`super::service::HANDOVER`], so that a key
/// passes to its next claim before the kernel lets the old one lapse.
const TICK: Duration = Duration::from_millis(500);

/// Commands that may wait for the service; more senders wait in turn.
const QUEUE: usize = 256;

type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

/// What the service can be asked. Made by [`Handle`].
pub struct Command(Ask);

enum Ask {
    Add { verdict: Verdict, force: bool, reply: Reply<Added> },
    Release { id: u64, reply: Reply<Entry> },
    Verdict { id: u64, reply: Reply<Entry> },
    Verdicts { page: Page, reply: Reply<VerdictPage> },
    ReplaceList { name: ListName, list: List, options: ListOptions, reply: Reply<ListChange> },
    RemoveList { name: ListName, if_match: Option<String>, reply: Reply<ListView> },
    List { name: ListName, reply: Reply<(ListView, List)> },
    Lists { reply: Reply<Vec<ListView>> },
    Coverage { address: IpAddr, reply: Reply<Coverage> },
    Protect { guard: Guard, prefixes: Vec<IpNet>, reply: Reply<()> },
    KillSwitch { on: bool, reply: Reply<Status> },
    SetMode { mode: Mode, reply: Reply<Status> },
    Status { reply: Reply<Status> },
}

/// A clonable way to ask the verdict service. Every method answers when the change is in the kernel.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
}

/// Returns a handle and the receiver that [`run`] serves.
#[must_use]
pub fn channel() -> (Handle, mpsc::Receiver<Command>) {
    let (commands, receiver) = mpsc::channel(QUEUE);
    (Handle { commands }, receiver)
}

impl Handle {
    /// Puts a verdict in force. The same target asked for again by the same kind of origin renews its verdict.
    /// `force` accepts prefixes wider than /8 (IPv4) or /19 (IPv6).
    pub async fn add(&self, verdict: Verdict, force: bool) -> Result<Added, Refusal> {
        self.ask(|reply| Ask::Add { verdict, force, reply }).await
    }

    /// Ends a verdict, and returns it as it was.
    pub async fn release(&self, id: u64) -> Result<Entry, Refusal> {
        self.ask(|reply| Ask::Release { id, reply }).await
    }

    /// Returns one verdict with its hits.
    pub async fn verdict(&self, id: u64) -> Result<Entry, Refusal> {
        self.ask(|reply| Ask::Verdict { id, reply }).await
    }

    /// Returns a page of the verdicts in force, newest first.
    pub async fn verdicts(&self, page: Page) -> Result<VerdictPage, Refusal> {
        self.ask(|reply| Ask::Verdicts { page, reply }).await
    }

    /// Replaces a block-list as a whole, creating it when there is none.
    pub async fn replace_list(&self, name: ListName, list: List, options: ListOptions) -> Result<ListChange, Refusal> {
        self.ask(|reply| Ask::ReplaceList { name, list, options, reply }).await
    }

    /// Removes a block-list, if its tag is `if_match` where one is given.
    pub async fn remove_list(&self, name: ListName, if_match: Option<String>) -> Result<ListView, Refusal> {
        self.ask(|reply| Ask::RemoveList { name, if_match, reply }).await
    }

    /// Returns a block-list and its entries.
    pub async fn list(&self, name: ListName) -> Result<(ListView, List), Refusal> {
        self.ask(|reply| Ask::List { name, reply }).await
    }

    /// Returns every block-list, without the entries.
    pub async fn lists(&self) -> Result<Vec<ListView>, Refusal> {
        self.ask(|reply| Ask::Lists { reply }).await
    }

    /// Returns the verdicts, lists and guards that hold an address.
    pub async fn coverage(&self, address: IpAddr) -> Result<Coverage, Refusal> {
        self.ask(|reply| Ask::Coverage { address, reply }).await
    }

    /// Replaces the addresses one guard protects: they are allow-listed whatever a verdict or a list says.
    pub async fn protect(&self, guard: Guard, prefixes: Vec<IpNet>) -> Result<(), Refusal> {
        self.ask(|reply| Ask::Protect { guard, prefixes, reply }).await
    }

    /// Makes every program pass everything, or act again. Survives a restart.
    pub async fn set_kill_switch(&self, on: bool) -> Result<Status, Refusal> {
        self.ask(|reply| Ask::KillSwitch { on, reply }).await
    }

    /// Sets how far the programs go.
    pub async fn set_mode(&self, mode: Mode) -> Result<Status, Refusal> {
        self.ask(|reply| Ask::SetMode { mode, reply }).await
    }

    /// Returns the mode, the kill switch and how full the tables are.
    pub async fn status(&self) -> Result<Status, Refusal> {
        self.ask(|reply| Ask::Status { reply }).await
    }

    async fn ask<T>(&self, ask: impl FnOnce(Reply<T>) -> Ask) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command(ask(reply))).await.map_err(|_| Refusal::Stopped)?;
        answer.await.map_err(|_| Refusal::Stopped)?
    }
}

/// Serves commands and expiry until `shutdown` is cancelled or every handle is gone; what was already asked is
/// answered first. Verdicts that come and go are told to `events`. Returns the service, whose maps outlive it.
///
/// It waits for map writes and for the disk: give it a task that nothing else shares.
pub async fn run<M: Maps>(
    mut service: Service<M>,
    mut receiver: mpsc::Receiver<Command>,
    events: Events,
    shutdown: CancellationToken,
) -> Service<M> {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            _ = ticks.tick() => tick(&mut service, &events),
            command = receiver.recv() => match command {
                Some(command) => answer(&mut service, command.0, &events),
                None => break,
            },
        }
    }
    receiver.close();
    while let Some(command) = receiver.recv().await {
        answer(&mut service, command.0, &events);
    }
    tick(&mut service, &events);
    service
}

fn tick<M: Maps>(service: &mut Service<M>, events: &Events) {
    for entry in service.tick(Now::read()) {
        info!(id = entry.id, target = ?entry.verdict.target, "verdict expired");
        events.tell_verdict(VerdictChange::Expired, entry);
    }
}

fn answer<M: Maps>(service: &mut Service<M>, ask: Ask, events: &Events) {
    let now = Now::read();
    match ask {
        Ask::Add { verdict, force, reply } => {
            let target = verdict.target;
            let added = service.add(verdict, force, now);
            match &added {
                Ok(added) => {
                    info!(id = added.id, ?target, renewed = added.renewed, "verdict in force");
                    if let Ok(entry) = service.verdict(added.id, now) {
                        events.tell_verdict(VerdictChange::Began, entry);
                    }
                }
                Err(refusal) => warn!(?target, %refusal, "verdict refused"),
            }
            tell(reply, added);
        }
        Ask::Release { id, reply } => {
            let released = service.release(id, now);
            if let Ok(entry) = &released {
                info!(id, target = ?entry.verdict.target, "verdict released");
                events.tell_verdict(VerdictChange::Released, entry.clone());
            }
            tell(reply, released);
        }
        Ask::Verdict { id, reply } => tell(reply, service.verdict(id, now)),
        Ask::Verdicts { page, reply } => tell(reply, Ok(service.verdicts(page, now))),
        Ask::ReplaceList { name, list, options, reply } => {
            let change = service.replace_list(&name, list, options, now);
            if let Ok(change) = &change {
                info!(
                    %name,
                    added = change.added,
                    removed = change.removed,
                    dry_run = change.dry_run,
                    "block-list replaced"
                );
            }
            tell(reply, change);
        }
        Ask::RemoveList { name, if_match, reply } => {
            let removed = service.remove_list(&name, if_match.as_deref(), now);
            if removed.is_ok() {
                info!(%name, "block-list removed");
            }
            tell(reply, removed);
        }
        Ask::List { name, reply } => tell(reply, service.list(&name)),
        Ask::Lists { reply } => tell(reply, Ok(service.lists())),
        Ask::Coverage { address, reply } => tell(reply, Ok(service.coverage(address, now))),
        Ask::Protect { guard, prefixes, reply } => tell(reply, service.protect(guard, &prefixes, now)),
        Ask::KillSwitch { on, reply } => {
            let status = service.set_kill_switch(on, now);
            if status.is_ok() {
                warn!(on, "kill switch set");
            }
            tell(reply, status);
        }
        Ask::SetMode { mode, reply } => {
            let status = service.set_mode(mode);
            if status.is_ok() {
                info!(?mode, "mode set");
            }
            tell(reply, status);
        }
        Ask::Status { reply } => tell(reply, service.status()),
    }
}

/// Answers. Whoever asked may have gone away; the change stands all the same.
fn tell<T>(reply: Reply<T>, answer: Result<T, Refusal>) {
    if reply.send(answer).is_err() {
        tracing::debug!("nobody waited for the answer");
    }
}
