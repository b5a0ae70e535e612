//! The loop that owns the verdict service: takes one command at a time, and what is long beside it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::ask;
use super::blocklist::ListName;
use super::clock::Now;
use super::handle::{Ask, Command, Reply};
use super::maps::{Coming, Maps};
use super::recorded::{self, Admitted, Recorder};
use super::refusal::Refusal;
use super::service::{Begun, Outcome, Service, Worked};
use super::view::{Confirmation, ListChange, ListView};
use crate::store::audit::{Audit, Caller};
use crate::store::events::{Events, VerdictChange};

/// How often the service looks for expired verdicts. Shorter than [`super::service::HANDOVER`], so that a key
/// passes to its next claim before the kernel lets the old one lapse.
const TICK: Duration = Duration::from_millis(500);

/// Whoever waits for the change of lists under way.
enum Waiting {
    /// What the list is about to hold is looked at; nothing is written down yet.
    Preparing {
        name: ListName,
        dry_run: bool,
        caller: Caller,
        reply: Reply<ListChange>,
    },
    Replaced {
        name: ListName,
        admitted: Option<Admitted>,
        reply: Reply<ListChange>,
    },
    Removed {
        name: ListName,
        admitted: Admitted,
        reply: Reply<ListView>,
    },
    Undone {
        id: u64,
        admitted: Admitted,
        reply: Reply<Confirmation>,
    },
}

/// The service, who waits for the change of lists that is under way, and what waits until that is done.
struct Server<M: Maps> {
    service: Service<M>,
    events: Events,
    audit: Audit,
    waiting: Option<Waiting>,
    /// What takes as long as a list is long.
    working: Option<JoinHandle<Worked<M::Coming>>>,
    deferred: VecDeque<Command>,
}

/// Serves commands and expiry until `shutdown` is cancelled or every handle is gone; what was already asked is
/// answered first. Verdicts that come and go are told to `events`; every change is written to `audit` before it acts.
/// Returns the service, whose maps outlive it.
///
/// It waits for map writes and for the disk: give it a task that nothing else shares. Whatever takes as long as a list is
/// long is done on a thread beside it.
pub async fn run<M: Maps>(
    service: Service<M>,
    mut receiver: mpsc::Receiver<Command>,
    events: Events,
    audit: Audit,
    shutdown: CancellationToken,
) -> Service<M> {
    let mut server = Server { service, events, audit, waiting: None, working: None, deferred: VecDeque::new() };
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let is_ready = server.is_ready();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            _ = ticks.tick() => server.tick(),
            worked = ended(&mut server.working) => server.resume(worked),
            command = receiver.recv() => match command {
                Some(command) => {
                    server.take(command);
                    // However many ask, a change of lists goes on.
                    server.go_on();
                }
                None => break,
            },
            // Between any two steps whoever else has work gets his turn.
            () = tokio::task::yield_now(), if is_ready => server.go_on(),
        }
    }
    receiver.close();
    server.finish().await;
    while let Some(command) = receiver.recv().await {
        server.take(command);
        server.finish().await;
    }
    server.tick();
    server.service
}

/// Returns what came of the work on a thread, as soon as there is some and it has ended.
async fn ended<C: Coming>(working: &mut Option<JoinHandle<Worked<C>>>) -> Worked<C> {
    let Some(handle) = working else { return std::future::pending().await };
    let worked = handle.await.unwrap_or_else(|error| {
        error!(%error, "work on a list did not end");
        Worked::lost()
    });
    *working = None;
    worked
}

impl<M: Maps> Server<M> {
    fn tick(&mut self) {
        tick(&mut self.service, &self.events, &self.audit);
    }

    /// Answers, or lets a change of a list wait for the one that goes on.
    fn take(&mut self, command: Command) {
        let changes_lists = match &command.ask {
            Ask::ReplaceList { .. } | Ask::RemoveList { .. } => true,
            Ask::OfLists(ask) => ask.changes_lists(),
            Ask::Add { .. }
            | Ask::Release { .. }
            | Ask::Verdict { .. }
            | Ask::Verdicts { .. }
            | Ask::List { .. }
            | Ask::Lists { .. }
            | Ask::Coverage { .. }
            | Ask::Protect { .. }
            | Ask::KillSwitch { .. }
            | Ask::SetMode { .. }
            | Ask::Status { .. } => false,
        };
        if changes_lists && (self.service.is_building() || !self.deferred.is_empty()) {
            self.deferred.push_back(command);
            return;
        }
        let now = Now::read();
        let recorder = Recorder { audit: &self.audit, caller: command.caller, now };
        match command.ask {
            Ask::ReplaceList { name, list, options, reply } => {
                let dry_run = options.dry_run;
                match self.service.begin_list(&name, list, options, now) {
                    Ok(()) => {
                        let caller = recorder.caller;
                        self.waiting = Some(Waiting::Preparing { name, dry_run, caller, reply });
                    }
                    Err(refusal) => {
                        let change = (!dry_run).then(|| recorded::replace_list(&self.service, &name, None));
                        replaced(&name, reply, recorder.make_some(change, || Err(refusal)));
                    }
                }
            }
            Ask::RemoveList { name, if_match, reply } => {
                let admitted = match recorder.admit(recorded::remove_list(&self.service, &name)) {
                    Ok(admitted) => admitted,
                    Err(refusal) => return removed(&name, reply, Err(refusal)),
                };
                match self.service.begin_removal(&name, if_match.as_deref(), now) {
                    Ok(Begun::Building) => self.waiting = Some(Waiting::Removed { name, admitted, reply }),
                    Ok(Begun::Done(outcome)) => removed(&name, reply, Ok(*outcome)),
                    Err(refusal) => {
                        let refused = Err(refusal);
                        admitted.ended(&self.audit, &refused, now);
                        removed(&name, reply, refused);
                    }
                }
            }
            Ask::OfLists(ask::Ask::Revert { id, reply }) => {
                let admitted = match recorder.admit(recorded::revert(id)) {
                    Ok(admitted) => admitted,
                    Err(refusal) => return undone(id, reply, Err(refusal)),
                };
                match self.service.begin_revert(id, now) {
                    Ok(Begun::Building) => self.waiting = Some(Waiting::Undone { id, admitted, reply }),
                    Ok(Begun::Done(outcome)) => undone(id, reply, Ok(*outcome)),
                    Err(refusal) => {
                        let refused = Err(refusal);
                        admitted.ended(&self.audit, &refused, now);
                        undone(id, reply, refused);
                    }
                }
            }
            ask @ (Ask::Add { .. }
            | Ask::Release { .. }
            | Ask::Verdict { .. }
            | Ask::Verdicts { .. }
            | Ask::List { .. }
            | Ask::Lists { .. }
            | Ask::Protect { .. }
            | Ask::KillSwitch { .. }
            | Ask::SetMode { .. }
            | Ask::Status { .. }
            | Ask::Coverage { .. }
            | Ask::OfLists(_)) => answer(&mut self.service, ask, &recorder, &self.events),
        }
    }

    /// Returns whether the change under way waits for [`Server::go_on`].
    fn is_ready(&self) -> bool {
        self.working.is_none() && (self.service.is_ready() || !self.deferred.is_empty())
    }

    /// Goes on with the change under way, or with the next one, for a millisecond or two.
    fn go_on(&mut self) {
        if self.working.is_some() {
            return;
        }
        if let Some(work) = self.service.work() {
            match work.is_short() {
                true => self.resume(work.run()),
                false => self.working = Some(tokio::task::spawn_blocking(move || work.run())),
            }
            return;
        }
        let now = Now::read();
        if let Some(result) = self.service.step(now) {
            self.ended(result, now);
        }
        if !self.service.is_building()
            && let Some(command) = self.deferred.pop_front()
        {
            let rest = std::mem::take(&mut self.deferred);
            self.take(command);
            self.deferred = rest;
        }
    }

    /// Takes what came of the work. A list is put in force only once it is written down.
    fn resume(&mut self, worked: Worked<M::Coming>) {
        let content = worked.content();
        self.service.resume(worked);
        match self.waiting.take() {
            Some(Waiting::Preparing { name, dry_run: true, reply, .. }) => {
                self.waiting = Some(Waiting::Replaced { name, admitted: None, reply });
            }
            Some(Waiting::Preparing { name, dry_run: false, caller, reply }) => {
                let now = Now::read();
                let recorder = Recorder { audit: &self.audit, caller, now };
                match recorder.admit(recorded::replace_list(&self.service, &name, content)) {
                    Ok(admitted) => {
                        self.waiting = Some(Waiting::Replaced { name, admitted: Some(admitted), reply });
                    }
                    Err(refusal) => {
                        self.service.abandon(now);
                        replaced(&name, reply, Err(refusal));
                    }
                }
            }
            waiting @ (Some(Waiting::Replaced { .. } | Waiting::Removed { .. } | Waiting::Undone { .. }) | None) => {
                self.waiting = waiting;
            }
        }
    }

    /// Tells whoever waits for a change what came of it.
    fn ended(&mut self, result: Result<Outcome, Refusal>, now: Now) {
        match self.waiting.take() {
            Some(Waiting::Replaced { name, admitted, reply }) => {
                if let Some(admitted) = admitted {
                    admitted.ended(&self.audit, &result, now);
                }
                replaced(&name, reply, result);
            }
            Some(Waiting::Removed { name, admitted, reply }) => {
                admitted.ended(&self.audit, &result, now);
                removed(&name, reply, result);
            }
            Some(Waiting::Undone { id, admitted, reply }) => {
                admitted.ended(&self.audit, &result, now);
                undone(id, reply, result);
            }
            // Nothing is made before it is prepared.
            Some(Waiting::Preparing { name, reply, .. }) => replaced(&name, reply, result),
            None => {
                if let Err(refusal) = result {
                    warn!(%refusal, "a generation of lists could not be made; the present one goes on answering");
                }
            }
        }
    }

    /// Ends what goes on and all that waits for it.
    async fn finish(&mut self) {
        while self.service.is_building() || !self.deferred.is_empty() {
            match self.working.is_some() {
                true => {
                    let worked = ended(&mut self.working).await;
                    self.resume(worked);
                }
                false => self.go_on(),
            }
        }
    }
}

fn replaced(name: &ListName, reply: Reply<ListChange>, result: Result<Outcome, Refusal>) {
    let change =
        result.and_then(|outcome| outcome.replaced().ok_or_else(|| Refusal::NoList { name: name.to_string() }));
    if let Ok(change) = &change {
        info!(%name, added = change.added, removed = change.removed, dry_run = change.dry_run, "block-list replaced");
    }
    tell(reply, change);
}

fn removed(name: &ListName, reply: Reply<ListView>, result: Result<Outcome, Refusal>) {
    let view = result.and_then(|outcome| outcome.removed().ok_or_else(|| Refusal::NoList { name: name.to_string() }));
    if view.is_ok() {
        info!(%name, "block-list removed");
    }
    tell(reply, view);
}

fn undone(id: u64, reply: Reply<Confirmation>, result: Result<Outcome, Refusal>) {
    let undone = result.and_then(|outcome| outcome.undone().ok_or(Refusal::NoConfirmation { id }));
    if let Ok(confirmation) = &undone {
        info!(id, what = confirmation.what, "change undone");
    }
    tell(reply, undone);
}

fn tick<M: Maps>(service: &mut Service<M>, events: &Events, audit: &Audit) {
    let now = Now::read();
    audit.flush(now.wall);
    for entry in service.tick(now) {
        info!(id = entry.id, target = ?entry.verdict.target, "verdict expired");
        events.tell_verdict(VerdictChange::Expired, entry);
    }
}

fn answer<M: Maps>(service: &mut Service<M>, ask: Ask, recorder: &Recorder<'_>, events: &Events) {
    let now = recorder.now;
    match ask {
        Ask::Add { verdict, force, reply } => {
            let target = verdict.target;
            let recorder = recorder.on_behalf_of(&verdict);
            let added = recorder.make(recorded::add(&verdict), || service.add(verdict, force, now));
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
            let released = recorder.make(recorded::release(service, id, now), || service.release(id, now));
            if let Ok(entry) = &released {
                info!(id, target = ?entry.verdict.target, "verdict released");
                events.tell_verdict(VerdictChange::Released, entry.clone());
            }
            tell(reply, released);
        }
        Ask::Verdict { id, reply } => tell(reply, service.verdict(id, now)),
        Ask::Verdicts { page, reply } => tell(reply, Ok(service.verdicts(page, now))),
        // [`Server::take`] has taken these.
        Ask::ReplaceList { name, list, options, reply } => {
            replaced(&name, reply, service.replace_list(&name, list, options, now).map(Outcome::Replaced));
        }
        Ask::RemoveList { name, if_match, reply } => {
            removed(&name, reply, service.remove_list(&name, if_match.as_deref(), now).map(Outcome::Removed));
        }
        Ask::List { name, reply } => {
            let parts = service.list(&name).and_then(|(view, list)| Ok((view, list, service.entries(&name, now)?)));
            tell(reply, parts);
        }
        Ask::Lists { reply } => tell(reply, Ok(service.lists())),
        Ask::Coverage { address, reply } => tell(reply, Ok(service.coverage(address, now))),
        Ask::Protect { guards, reply } => {
            let change = recorded::protect(&guards);
            tell(reply, recorder.make(change, || service.protect_all(&guards, now)));
        }
        Ask::KillSwitch { on, reply } => {
            let status = recorder.make(recorded::kill_switch(on), || service.set_kill_switch(on, now));
            if status.is_ok() {
                warn!(on, "kill switch set");
            }
            tell(reply, status);
        }
        Ask::SetMode { mode, reply } => {
            let status = recorder.make(recorded::set_mode(service, mode), || service.set_mode(mode, now));
            if status.is_ok() {
                info!(?mode, "mode set");
            }
            tell(reply, status);
        }
        Ask::Status { reply } => tell(reply, service.status()),
        Ask::OfLists(ask) => ask::answer(service, ask, recorder, events),
    }
}

/// Answers. Whoever asked may have gone away; the change stands all the same.
pub(super) fn tell<T>(reply: Reply<T>, answer: Result<T, Refusal>) {
    if reply.send(answer).is_err() {
        tracing::debug!("nobody waited for the answer");
    }
}
