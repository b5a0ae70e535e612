//! What the verdict service can be asked about single entries, allow-lists, listed names and unconfirmed changes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use netd_engine::listed::Resolved;
use netd_engine::verdict::Verdict;
use tracing::{info, warn};

use super::blocklist::{EntryValue, List, ListName};
use super::handle::{Handle, Reply};
use super::maps::Maps;
use super::protect::Guard;
use super::recorded::{self, Recorder};
use super::refusal::Refusal;
use super::server::tell;
use super::service::Service;
use super::view::{
    Added, AllowListView, Confirmation, EntryChange, EntryOptions, EntryView, ListChange, ListMatch, ListOptions,
    ListView, NewEntry, Released,
};
use crate::store::events::{Events, VerdictChange};

/// Which kind of list is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    Block,
    Allow,
}

impl ListKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Block => "block-list",
            Self::Allow => "allow-list",
        }
    }
}

/// A block-list, its content, its single entries.
pub type ListParts = (ListView, Arc<List>, Vec<EntryView>);

/// An allow-list, its content, its single entries.
pub type AllowListParts = (AllowListView, List, Vec<EntryView>);

pub(super) enum Ask {
    AddEntry {
        kind: ListKind,
        list: ListName,
        new: NewEntry,
        options: EntryOptions,
        reply: Reply<EntryChange>,
    },
    RemoveEntry {
        kind: ListKind,
        list: ListName,
        value: EntryValue,
        if_match: Option<String>,
        reply: Reply<EntryChange>,
    },
    Entries {
        list: ListName,
        reply: Reply<Vec<EntryView>>,
    },
    ReplaceAllowList {
        name: ListName,
        list: List,
        options: ListOptions,
        reply: Reply<ListChange>,
    },
    RemoveAllowList {
        name: ListName,
        if_match: Option<String>,
        reply: Reply<AllowListView>,
    },
    AllowList {
        name: ListName,
        reply: Reply<AllowListParts>,
    },
    AllowLists {
        reply: Reply<Vec<AllowListView>>,
    },
    AddForNow {
        verdict: Verdict,
        force: bool,
        within: Duration,
        reply: Reply<(Added, Confirmation)>,
    },
    Confirm {
        id: u64,
        reply: Reply<Confirmation>,
    },
    Revert {
        id: u64,
        reply: Reply<Confirmation>,
    },
    Confirmations {
        reply: Reply<Vec<Confirmation>>,
    },
    Unblock {
        address: Option<IpAddr>,
        reply: Reply<Released>,
    },
    OfAddress {
        address: IpAddr,
        reply: Reply<Vec<ListMatch>>,
    },
    OfName {
        name: String,
        reply: Reply<Vec<ListMatch>>,
    },
    Shields {
        addresses: Vec<IpAddr>,
        reply: Reply<Vec<Option<Guard>>>,
    },
    Resolve {
        resolved: Box<Resolved>,
        reply: Reply<Option<u64>>,
    },
}

impl Ask {
    /// Returns whether this may change the content of a list.
    pub(super) const fn changes_lists(&self) -> bool {
        match self {
            Self::AddEntry { .. }
            | Self::RemoveEntry { .. }
            | Self::ReplaceAllowList { .. }
            | Self::RemoveAllowList { .. }
            | Self::Revert { .. }
            | Self::Unblock { .. } => true,
            Self::Entries { .. }
            | Self::AllowList { .. }
            | Self::AllowLists { .. }
            | Self::AddForNow { .. }
            | Self::Confirm { .. }
            | Self::Confirmations { .. }
            | Self::OfAddress { .. }
            | Self::OfName { .. }
            | Self::Shields { .. }
            | Self::Resolve { .. } => false,
        }
    }
}

impl Handle {
    /// Adds a single entry to a list, creating the list when there is none.
    pub async fn add_entry(
        &self,
        kind: ListKind,
        list: ListName,
        new: NewEntry,
        options: EntryOptions,
    ) -> Result<EntryChange, Refusal> {
        self.ask_lists(|reply| Ask::AddEntry { kind, list, new, options, reply }).await
    }

    /// Removes an entry from a list, be it single or of the list's content.
    pub async fn remove_entry(
        &self,
        kind: ListKind,
        list: ListName,
        value: EntryValue,
        if_match: Option<String>,
    ) -> Result<EntryChange, Refusal> {
        self.ask_lists(|reply| Ask::RemoveEntry { kind, list, value, if_match, reply }).await
    }

    /// Returns the single entries of a block-list.
    pub async fn entries(&self, list: ListName) -> Result<Vec<EntryView>, Refusal> {
        self.ask_lists(|reply| Ask::Entries { list, reply }).await
    }

    /// Replaces an allow-list as a whole, creating it when there is none.
    pub async fn replace_allow_list(
        &self,
        name: ListName,
        list: List,
        options: ListOptions,
    ) -> Result<ListChange, Refusal> {
        self.ask_lists(|reply| Ask::ReplaceAllowList { name, list, options, reply }).await
    }

    /// Removes an allow-list: what it held is blocked again wherever it is listed.
    pub async fn remove_allow_list(&self, name: ListName, if_match: Option<String>) -> Result<AllowListView, Refusal> {
        self.ask_lists(|reply| Ask::RemoveAllowList { name, if_match, reply }).await
    }

    /// Returns an allow-list, its content and its single entries.
    pub async fn allow_list(&self, name: ListName) -> Result<AllowListParts, Refusal> {
        self.ask_lists(|reply| Ask::AllowList { name, reply }).await
    }

    /// Returns every allow-list, without the entries.
    pub async fn allow_lists(&self) -> Result<Vec<AllowListView>, Refusal> {
        self.ask_lists(|reply| Ask::AllowLists { reply }).await
    }

    /// Puts a verdict in force that is undone unless it is confirmed in time.
    pub async fn add_for_now(
        &self,
        verdict: Verdict,
        force: bool,
        within: Duration,
    ) -> Result<(Added, Confirmation), Refusal> {
        self.ask_lists(|reply| Ask::AddForNow { verdict, force, within, reply }).await
    }

    /// Keeps a change that waits to be confirmed.
    pub async fn confirm(&self, id: u64) -> Result<Confirmation, Refusal> {
        self.ask_lists(|reply| Ask::Confirm { id, reply }).await
    }

    /// Undoes a change that waits to be confirmed.
    pub async fn revert(&self, id: u64) -> Result<Confirmation, Refusal> {
        self.ask_lists(|reply| Ask::Revert { id, reply }).await
    }

    /// Returns the changes that wait to be confirmed.
    pub async fn confirmations(&self) -> Result<Vec<Confirmation>, Refusal> {
        self.ask_lists(|reply| Ask::Confirmations { reply }).await
    }

    /// Releases every verdict about an address and takes it out of every block-list; without an address, everything.
    pub async fn unblock(&self, address: Option<IpAddr>) -> Result<Released, Refusal> {
        self.ask_lists(|reply| Ask::Unblock { address, reply }).await
    }

    /// Returns what the lists say of an address.
    pub async fn lists_of_address(&self, address: IpAddr) -> Result<Vec<ListMatch>, Refusal> {
        self.ask_lists(|reply| Ask::OfAddress { address, reply }).await
    }

    /// Returns what the lists say of a name.
    pub async fn lists_of_name(&self, name: String) -> Result<Vec<ListMatch>, Refusal> {
        self.ask_lists(|reply| Ask::OfName { name, reply }).await
    }

    /// Returns for each address why it keeps passing whatever is listed, if it does.
    pub async fn shields(&self, addresses: Vec<IpAddr>) -> Result<Vec<Option<Guard>>, Refusal> {
        self.ask_lists(|reply| Ask::Shields { addresses, reply }).await
    }

    /// Does what a list wants done about an address that DNS gave to one of its names; returns the verdict's number.
    pub async fn resolve(&self, resolved: Box<Resolved>) -> Result<Option<u64>, Refusal> {
        self.ask_lists(|reply| Ask::Resolve { resolved, reply }).await
    }
}

pub(super) fn answer<M: Maps>(service: &mut Service<M>, ask: Ask, recorder: &Recorder<'_>, events: &Events) {
    let now = recorder.now;
    match ask {
        Ask::AddEntry { kind, list, new, options, reply } => {
            let value = new.value.to_string();
            let change = (!options.dry_run).then(|| recorded::add_entry(kind, &list, &new));
            let added = recorder.make_some(change, || match kind {
                ListKind::Block => service.add_entry(&list, new, options, now),
                ListKind::Allow => service.add_allow_entry(&list, new, options, now),
            });
            match &added {
                Ok(change) if change.dry_run => {}
                Ok(_) => info!(kind = kind.name(), %list, value, "entry added"),
                Err(refusal) => warn!(kind = kind.name(), %list, value, %refusal, "entry refused"),
            }
            tell(reply, added);
        }
        Ask::RemoveEntry { kind, list, value, if_match, reply } => {
            let removed = recorder.make(recorded::remove_entry(kind, &list, &value), || match kind {
                ListKind::Block => service.remove_entry(&list, &value, if_match.as_deref(), now),
                ListKind::Allow => service.remove_allow_entry(&list, &value, if_match.as_deref(), now),
            });
            if removed.is_ok() {
                info!(kind = kind.name(), %list, %value, "entry removed");
            }
            tell(reply, removed);
        }
        Ask::Entries { list, reply } => tell(reply, service.entries(&list, now)),
        Ask::ReplaceAllowList { name, list, options, reply } => {
            let change = (!options.dry_run).then(|| recorded::replace_allow_list(service, &name, &list));
            let change = recorder.make_some(change, || service.replace_allow_list(&name, list, options, now));
            if let Ok(change) = &change {
                let (added, removed, dry_run) = (change.added, change.removed, change.dry_run);
                info!(%name, added, removed, dry_run, "allow-list replaced");
            }
            tell(reply, change);
        }
        Ask::RemoveAllowList { name, if_match, reply } => {
            let change = recorded::remove_allow_list(&name);
            let removed = recorder.make(change, || service.remove_allow_list(&name, if_match.as_deref(), now));
            if removed.is_ok() {
                info!(%name, "allow-list removed");
            }
            tell(reply, removed);
        }
        Ask::AllowList { name, reply } => tell(reply, service.allow_list(&name)),
        Ask::AllowLists { reply } => tell(reply, Ok(service.allow_lists())),
        Ask::AddForNow { verdict, force, within, reply } => {
            let target = verdict.target;
            let change = recorded::add(&verdict);
            let added = recorder.make(change, || service.add_for_now(verdict, force, within, now));
            match &added {
                Ok((added, confirmation)) => {
                    info!(
                        id = added.id,
                        ?target,
                        confirmation = confirmation.id,
                        "verdict in force unless it is not confirmed"
                    );
                    if let Ok(entry) = service.verdict(added.id, now) {
                        events.tell_verdict(VerdictChange::Began, entry);
                    }
                }
                Err(refusal) => warn!(?target, %refusal, "verdict refused"),
            }
            tell(reply, added);
        }
        Ask::Confirm { id, reply } => {
            let confirmed = recorder.make(recorded::confirm(id), || service.confirm(id));
            if let Ok(confirmation) = &confirmed {
                info!(id, what = confirmation.what, "change confirmed");
            }
            tell(reply, confirmed);
        }
        Ask::Revert { id, reply } => {
            // The server has taken it.
            tell(reply, recorder.make(recorded::revert(id), || service.revert(id, now)));
        }
        Ask::Confirmations { reply } => tell(reply, Ok(service.confirmations())),
        Ask::Unblock { address, reply } => {
            let released = recorder.make(recorded::unblock(address), || match address {
                Some(address) => service.unblock(address, now),
                None => service.unblock_all(now),
            });
            if let Ok(released) = &released {
                let (verdicts, entries, lists) =
                    (released.verdicts.len(), released.entries.len(), released.lists.len());
                info!(?address, verdicts, entries, lists, "unblocked");
                released.verdicts.iter().for_each(|entry| events.tell_verdict(VerdictChange::Released, entry.clone()));
            }
            tell(reply, released);
        }
        Ask::OfAddress { address, reply } => tell(reply, Ok(service.lists_of_address(address, now))),
        Ask::OfName { name, reply } => tell(reply, Ok(service.lists_of_name(&name))),
        Ask::Shields { addresses, reply } => tell(reply, Ok(service.shields(&addresses))),
        Ask::Resolve { resolved, reply } => {
            let change = service.is_news(&resolved).then(|| recorded::resolve(&resolved));
            let done = recorder.on_behalf_of_list(&resolved.list).make_some(change, || service.resolve(&resolved, now));
            if let Ok(Some(id)) = &done
                && let Ok(entry) = service.verdict(*id, now)
                && entry.created == now.wall
            {
                info!(id, name = %resolved.name, address = %resolved.address, list = %resolved.list, "listed name has an address");
                events.tell_verdict(VerdictChange::Began, entry);
            }
            tell(reply, done);
        }
    }
}
