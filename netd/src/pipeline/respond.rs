//! Carries out what the engine asks for: responses first, verdicts after them, off the engine's task.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use netd_common::control::Mode;
use netd_engine::{
    respond::{Measure, Order},
    verdict::Verdict,
};
use rustix::process::Signal;
use tokio::{sync::mpsc, task};
use tracing::{info, warn};

use super::shift::Shift;
use crate::{
    host::{group, sockets},
    signals::{self, Signaller},
    store::{
        Findings,
        audit::{Actor, Caller},
        responses::{Done, Outcome, Response},
    },
    time,
    verdicts::{Handle, Refusal},
};

pub(super) struct Responder {
    pub(super) handle: Handle,
    pub(super) findings: Arc<Findings>,
    pub(super) signaller: Signaller,
    /// Automatic verdicts that the service refused.
    pub(super) refused: Arc<AtomicU64>,
    pub(super) shift: Shift,
}

/// A verdict, and when the engine asked for it.
pub(super) struct Asked {
    pub(super) verdict: Verdict,
    pub(super) at: Instant,
}

/// What became of a measure: how many were concerned, or why not.
type Tried = Result<usize, (Outcome, String)>;

impl Responder {
    /// Works until the engine is gone. A verdict waits while a response does: it may take a disk's time.
    pub(super) async fn run(
        self,
        mut orders: mpsc::Receiver<Order>,
        mut verdicts: mpsc::Receiver<Asked>,
    ) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                biased;
                Some(order) = orders.recv() => self.respond(order).await,
                Some(asked) = verdicts.recv() => self.enforce(asked).await,
                else => return Ok(()),
            }
        }
    }

    async fn enforce(&self, Asked { verdict, at }: Asked) {
        let target = verdict.target;
        match self.handle.add(verdict, false).await {
            Ok(_) => self.findings.timings().enforcement.observe(at.elapsed().as_secs_f64()),
            Err(refusal) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                warn!(?target, %refusal, "an automatic verdict was refused");
            }
        }
    }

    async fn respond(&self, order: Order) {
        let mut at = None;
        let mut actions = Vec::new();
        let mut error = None;
        let held_back = self.held_back(&order).await;
        for measure in &order.measures {
            // Nothing is done to whoever speaks with what is protected.
            let tried = match &held_back {
                Some(why) => Err(why.clone()),
                None => self.carry_out(*measure, &order).await,
            };
            if *measure == Measure::Cut {
                at = Some((time::now(), self.shift.now()));
            }
            let (result, count) = match tried {
                Ok(count) => (Outcome::Done, count),
                Err((result, why)) => {
                    error.get_or_insert(why);
                    (result, 0)
                }
            };
            actions.push(Done { action: *measure, result, count });
        }
        let (at, done) = at.unwrap_or_else(|| (time::now(), self.shift.now()));
        let latency_s = done.secs_since(order.since);
        let response = Response { actions, at, latency_s: latency_s.max(0.0), error };
        match &response.error {
            None => info!(finding = order.finding, latency_s = response.latency_s, "responded"),
            Some(why) => warn!(finding = order.finding, why, "a response was not carried out"),
        }
        self.findings.respond(order.finding, order.detector, response);
    }

    /// Returns why nothing of an order may be done.
    async fn held_back(&self, order: &Order) -> Option<(Outcome, String)> {
        let withheld = |why: &str| Some((Outcome::Withheld, why.to_owned()));
        if order.shadow {
            return withheld("the policy only tells what it would do");
        }
        match self.handle.status().await {
            Err(refusal) => return Some((Outcome::Failed, refusal.to_string())),
            Ok(status) if status.kill_switch => return withheld("the kill switch is on"),
            Ok(status) if status.effective != Mode::Enforce => return withheld("netd itself does not enforce"),
            Ok(_) => {}
        }
        order
            .is_protected
            .then(|| (Outcome::Refused, format!("{} is protected: it must not be cut", order.key.dst.ip())))
    }

    async fn carry_out(&self, measure: Measure, order: &Order) -> Tried {
        match measure {
            Measure::Cut => self.cut(order).await,
            Measure::Stop => self.signal(order, Signal::STOP).await,
            Measure::Kill => self.signal(order, Signal::KILL).await,
            Measure::Block => match order.block.clone() {
                // It is in force already.
                None => Ok(0),
                Some(verdict) => self.handle.add(verdict, false).await.map(|_| 1).map_err(refused),
            },
        }
    }

    /// Drops the conversation's packets and destroys its sockets; returns how many of those there were.
    async fn cut(&self, order: &Order) -> Tried {
        let dropped = match order.cut.clone() {
            None => Err("no socket of it is left on this host".to_owned()),
            Some(verdict) => match self.handle.add(verdict, false).await {
                Ok(_) => Ok(()),
                Err(refusal @ Refusal::Protected { .. }) => return Err(refused(refusal)),
                Err(refusal) => Err(refusal.to_string()),
            },
        };
        let mut holders: Vec<u32> = order.holder.into_iter().chain(order.process.map(|id| id.pid)).collect();
        holders.dedup();
        let key = order.key;
        let destroyed = blocking(move || sockets::destroy_conversation(&key, &holders)).await?;
        match (destroyed.destroyed, dropped) {
            (0, Err(why)) if destroyed.gone == 0 => Err((Outcome::Failed, why)),
            (count, _) => Ok(count),
        }
    }

    async fn signal(&self, order: &Order, signal: Signal) -> Tried {
        let Some(id) = order.process else {
            return Err((Outcome::Failed, "no process of this host is known for it".to_owned()));
        };
        let caller = Caller { actor: Actor::Finding { id: order.finding }, request: None };
        self.signaller.signal(id, signal, &caller, order.detector).await.map_err(|error| {
            let outcome = match &error {
                signals::Error::Unrecorded(_)
                | signals::Error::Group(
                    group::Error::Never { .. } | group::Error::Holds { .. } | group::Error::Unknown { .. },
                ) => return (Outcome::Refused, error.to_string()),
                signals::Error::Group(
                    group::Error::Gone { .. } | group::Error::Read { .. } | group::Error::Signal { .. },
                )
                | signals::Error::Lost => Outcome::Failed,
            };
            (outcome, format!("{:#}", anyhow::Error::new(error)))
        })
    }
}

fn refused(refusal: Refusal) -> (Outcome, String) {
    (Outcome::Refused, refusal.to_string())
}

/// Runs what asks the kernel on a thread that may wait for it.
async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, (Outcome, String)>
where
    T: Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    let failed = |error: anyhow::Error| (Outcome::Failed, format!("{error:#}"));
    task::spawn_blocking(work).await.map_err(|error| failed(error.into()))?.map_err(|error| failed(error.into()))
}
