//! The way to the verdict service from every other room.

use std::net::IpAddr;

use ipnet::IpNet;
use netd_common::control::Mode;
use netd_engine::verdict::Verdict;
use tokio::sync::{mpsc, oneshot};

use super::ask::{self, ListParts};
use super::blocklist::{List, ListName};
use super::protect::Guard;
use super::refusal::Refusal;
use super::view::{Added, Coverage, Entry, ListChange, ListOptions, ListView, Page, Status, VerdictPage};
use crate::store::audit::{self, Caller};

/// Commands that may wait for the service; more senders wait in turn.
const QUEUE: usize = 256;

pub(super) type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

/// What the service can be asked. Made by [`Handle`].
pub struct Command {
    pub(super) ask: Ask,
    /// Who asks, for the audit log.
    pub(super) caller: Caller,
}

pub(super) enum Ask {
    Add {
        verdict: Verdict,
        force: bool,
        reply: Reply<Added>,
    },
    Release {
        id: u64,
        reply: Reply<Entry>,
    },
    Verdict {
        id: u64,
        reply: Reply<Entry>,
    },
    Verdicts {
        page: Page,
        reply: Reply<VerdictPage>,
    },
    ReplaceList {
        name: ListName,
        list: List,
        options: ListOptions,
        reply: Reply<ListChange>,
    },
    RemoveList {
        name: ListName,
        if_match: Option<String>,
        reply: Reply<ListView>,
    },
    List {
        name: ListName,
        reply: Reply<ListParts>,
    },
    Lists {
        reply: Reply<Vec<ListView>>,
    },
    Coverage {
        address: IpAddr,
        reply: Reply<Coverage>,
    },
    Protect {
        guards: Vec<(Guard, Vec<IpNet>)>,
        reply: Reply<()>,
    },
    KillSwitch {
        on: bool,
        reply: Reply<Status>,
    },
    SetMode {
        mode: Mode,
        reply: Reply<Status>,
    },
    Status {
        reply: Reply<Status>,
    },
    /// Everything about lists beyond their replacement: see [`ask`].
    OfLists(ask::Ask),
}

/// A clonable way to ask the verdict service. Every method answers when the change is in the kernel.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
}

/// Returns a handle and the receiver that [`super::run`] serves.
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

    /// Returns a block-list, its content and its single entries, as they are at one moment: its tag is theirs.
    pub async fn list(&self, name: ListName) -> Result<ListParts, Refusal> {
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
        self.protect_all(vec![(guard, prefixes)]).await
    }

    /// The same for several guards at once: an address that goes from one to another is protected throughout.
    pub async fn protect_all(&self, guards: Vec<(Guard, Vec<IpNet>)>) -> Result<(), Refusal> {
        self.ask(|reply| Ask::Protect { guards, reply }).await
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

    pub(super) async fn ask_lists<T>(&self, ask: impl FnOnce(Reply<T>) -> ask::Ask) -> Result<T, Refusal> {
        self.ask(|reply| Ask::OfLists(ask(reply))).await
    }

    async fn ask<T>(&self, ask: impl FnOnce(Reply<T>) -> Ask) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        let command = Command { ask: ask(reply), caller: audit::caller() };
        self.commands.send(command).await.map_err(|_| Refusal::Stopped)?;
        answer.await.map_err(|_| Refusal::Stopped)?
    }
}
