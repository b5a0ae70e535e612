//! What the audit log says of each change to what is enforced, and that nothing is changed before it says so.

use netd_common::control::Mode;
use netd_engine::verdict::{Origin, Target, Verdict};

use super::blocklist::{List, ListName};
use super::clock::Now;
use super::maps::Maps;
use super::protect::Guard;
use super::refusal::Refusal;
use super::service::Service;
use super::view::ListOptions;
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

    /// Writes a change down that is made bit by bit; [`Admitted::ended`] is to be told what became of it.
    pub(super) fn admit(&self, change: Change) -> Result<Admitted, Refusal> {
        let admitted = Admitted { caller: self.caller.clone(), action: change.action, target: change.target.clone() };
        self.audit.admit(self.now.wall, &self.caller, change)?;
        Ok(admitted)
    }

    /// Names who is behind a verdict, where the daemon itself brings it.
    pub(super) fn on_behalf_of(&self, verdict: &Verdict) -> Self {
        let mut caller = self.caller.clone();
        if caller.actor == Actor::Daemon {
            caller.actor = match &verdict.origin {
                Origin::Finding { finding, .. } => Actor::Finding { id: *finding },
                Origin::List { list } => Actor::Feed { name: list.as_str().into() },
                Origin::Manual => Actor::Daemon,
            };
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

pub(super) fn replace_list<M: Maps>(
    service: &Service<M>,
    name: &ListName,
    list: &List,
    options: &ListOptions,
) -> Change {
    // An empty list cuts nothing; whether another cuts more than the old one is not looked into.
    let effect = if list.is_empty() { Effect::Decreases } else { Effect::Increases };
    let change = Change::new(effect, "list.replace", name.to_string());
    Change { before: tag_of(service, name), after: Some(list.tag(options.response, options.shadow)), ..change }
        .reason(format!("{} entries", list.len()))
}

pub(super) fn remove_list<M: Maps>(service: &Service<M>, name: &ListName) -> Change {
    Change { before: tag_of(service, name), ..Change::new(Effect::Decreases, "list.remove", name.to_string()) }
}

/// A change of what netd itself finds out about its host; of who is protected, none is ever held up.
pub(super) fn protect(guard: Guard, prefixes: &[ipnet::IpNet]) -> Change {
    Change::new(Effect::Decreases, "protect.set", guard.name()).after(prefixes)
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

fn tag_of<M: Maps>(service: &Service<M>, name: &ListName) -> Option<String> {
    service.lists().into_iter().find(|view| view.name == name.to_string()).map(|view| view.tag)
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
