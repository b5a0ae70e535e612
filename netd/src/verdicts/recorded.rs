//! What the audit log says of each change to what is enforced, and that nothing is changed before it says so.

use std::net::IpAddr;

use netd_common::control::Mode;
use netd_engine::listed::Resolved;
use netd_engine::verdict::{Origin, Target, Verdict};

use super::ask::ListKind;
use super::blocklist::{EntryValue, List, ListName};
use super::clock::Now;
use super::maps::Maps;
use super::protect::Guard;
use super::refusal::Refusal;
use super::service::{Content, Service};
use super::view::NewEntry;
use crate::store::audit::{Actor, Audit, Caller, Change, Effect};

/// Where changes are written down, and by whom they are asked for.
pub(super) struct Recorder<'a> {
    pub(super) audit: &'a Audit,
    pub(super) caller: Caller,
    pub(super) now: Now,
}

/// A change that stands in the log and is being made.
pub(super) struct Admitted {
    caller: Caller,
    action: &'static str,
    target: String,
}

impl Admitted {
    /// Writes down where the change was not made after all.
    pub(super) fn ended<T>(self, audit: &Audit, made: &Result<T, Refusal>, now: Now) {
        if let Err(refusal) = made {
            let reason = format!("{}: {refusal}", self.action);
            let refused = Change::new(Effect::Decreases, "refused", self.target).reason(reason);
            audit.record(now.wall, &self.caller, refused);
        }
    }
}

impl Recorder<'_> {
    /// Writes a change down, makes it, and writes down where it was not made after all.
    pub(super) fn make<T>(&self, change: Change, make: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
        let admitted = self.admit(change)?;
        let made = make();
        admitted.ended(self.audit, &made, self.now);
        made
    }

    /// As [`Recorder::make`]; without a change there is nothing to write down.
    pub(super) fn make_some<T>(
        &self,
        change: Option<Change>,
        make: impl FnOnce() -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        match change {
            Some(change) => self.make(change, make),
            None => make(),
        }
    }

    /// Writes a change down that is made bit by bit; [`Admitted::ended`] is to be told what became of it.
    pub(super) fn admit(&self, change: Change) -> Result<Admitted, Refusal> {
        let admitted = Admitted { caller: self.caller.clone(), action: change.action, target: change.target.clone() };
        self.audit.admit(self.now.wall, &self.caller, change)?;
        Ok(admitted)
    }

    /// Names who is behind a verdict, where the daemon itself brings it.
    pub(super) fn on_behalf_of(&self, verdict: &Verdict) -> Self {
        match &verdict.origin {
            Origin::Finding { finding, .. } => self.on_behalf(Actor::Finding { id: *finding }),
            Origin::List { list, .. } => self.on_behalf_of_list(list),
            Origin::Manual => self.on_behalf(Actor::Daemon),
        }
    }

    /// Names the list that the daemon acts for.
    pub(super) fn on_behalf_of_list(&self, list: &str) -> Self {
        self.on_behalf(Actor::Feed { name: list.into() })
    }

    fn on_behalf(&self, actor: Actor) -> Self {
        let mut caller = self.caller.clone();
        if caller.actor == Actor::Daemon {
            caller.actor = actor;
        }
        Self { audit: self.audit, caller, now: self.now }
    }
}

pub(super) fn add(verdict: &Verdict) -> Change {
    Change::new(Effect::Increases, "verdict.add", named(&verdict.target)).after(verdict).reason(&verdict.reason)
}

pub(super) fn release<M: Maps>(service: &Service<M>, id: u64, now: Now) -> Change {
    let entry = service.verdict(id, now).ok();
    let target = entry.as_ref().map_or_else(|| format!("verdict {id}"), |entry| named(&entry.verdict.target));
    let change = Change::new(Effect::Decreases, "verdict.release", target);
    match entry {
        Some(entry) => change.before(&entry.verdict).reason(format!("verdict {id}")),
        None => change,
    }
}

/// What a list is about to hold is not known where it is refused before it is looked at.
pub(super) fn replace_list<M: Maps>(service: &Service<M>, name: &ListName, content: Option<Content>) -> Change {
    // An empty list cuts nothing; whether another cuts more than the old one is not looked into.
    let effect = match &content {
        Some(Content { entries: 0, .. }) => Effect::Decreases,
        Some(_) | None => Effect::Increases,
    };
    let change = Change { before: service.tag(name), ..Change::new(effect, "list.replace", name.to_string()) };
    match content {
        Some(Content { tag, entries }) => Change { after: Some(tag), ..change }.reason(format!("{entries} entries")),
        None => change,
    }
}

pub(super) fn remove_list<M: Maps>(service: &Service<M>, name: &ListName) -> Change {
    Change { before: service.tag(name), ..Change::new(Effect::Decreases, "list.remove", name.to_string()) }
}

pub(super) fn add_entry(kind: ListKind, list: &ListName, new: &NewEntry) -> Change {
    let (effect, action) = match kind {
        ListKind::Block => (Effect::Increases, "entry.add"),
        ListKind::Allow => (Effect::Decreases, "allow.add"),
    };
    Change::new(effect, action, format!("{list}: {}", new.value)).reason(&new.reason)
}

pub(super) fn remove_entry(kind: ListKind, list: &ListName, value: &EntryValue) -> Change {
    let (effect, action) = match kind {
        ListKind::Block => (Effect::Decreases, "entry.remove"),
        ListKind::Allow => (Effect::Increases, "allow.remove"),
    };
    Change::new(effect, action, format!("{list}: {value}"))
}

/// What an allow-list lets go of is cut again: where there was one, more may be cut.
pub(super) fn replace_allow_list<M: Maps>(service: &Service<M>, name: &ListName, list: &List) -> Change {
    let effect = if service.allow_list(name).is_ok() { Effect::Increases } else { Effect::Decreases };
    Change::new(effect, "allow-list.replace", name.to_string()).reason(format!("{} entries", list.entries()))
}

pub(super) fn remove_allow_list(name: &ListName) -> Change {
    Change::new(Effect::Increases, "allow-list.remove", name.to_string())
}

pub(super) fn confirm(id: u64) -> Change {
    Change::new(Effect::Increases, "change.confirm", id.to_string())
}

pub(super) fn revert(id: u64) -> Change {
    Change::new(Effect::Decreases, "change.revert", id.to_string())
}

pub(super) fn unblock(address: Option<IpAddr>) -> Change {
    Change::new(
        Effect::Decreases,
        "unblock",
        address.map_or_else(|| "everything".into(), |address| address.to_string()),
    )
}

pub(super) fn resolve(resolved: &Resolved) -> Change {
    let target = format!("{}: {} has {}", resolved.list, resolved.name, resolved.address);
    Change::new(Effect::Increases, "name.resolve", target)
}

/// A change of what netd itself finds out about its host; of who is protected, none is ever held up.
pub(super) fn protect(guards: &[(Guard, Vec<ipnet::IpNet>)]) -> Change {
    let names: Vec<_> = guards.iter().map(|(guard, _)| guard.name()).collect();
    let prefixes: Vec<_> = guards.iter().flat_map(|(_, prefixes)| prefixes).collect();
    Change::new(Effect::Decreases, "protect.set", names.join(", ")).after(&prefixes)
}

pub(super) fn kill_switch(on: bool) -> Change {
    let effect = if on { Effect::Decreases } else { Effect::Increases };
    Change::new(effect, "kill-switch.set", if on { "on" } else { "off" })
}

pub(super) fn set_mode<M: Maps>(service: &Service<M>, mode: Mode) -> Change {
    let before = service.status().map_or(Mode::Observe, |status| status.requested);
    let effect = if strength(mode) > strength(before) { Effect::Increases } else { Effect::Decreases };
    Change::new(effect, "mode.set", format!("{mode:?}").to_lowercase())
        .reason(format!("before: {}", format!("{before:?}").to_lowercase()))
}

const fn strength(mode: Mode) -> u8 {
    match mode {
        Mode::Observe => 0,
        Mode::Shadow => 1,
        Mode::Enforce => 2,
    }
}

fn named(target: &Target) -> String {
    match target {
        Target::FiveTuple { source, source_port, destination, destination_port, proto } => {
            format!("{source}:{source_port} > {destination}:{destination_port}/{proto}")
        }
        Target::Endpoint { address, port, proto } => format!("{address}:{port}/{proto}"),
        Target::Host { address } => address.to_string(),
        Target::Prefix { prefix } => prefix.to_string(),
    }
}
