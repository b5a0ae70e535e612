//! What a stream is about: which events it tells, and how they are shown.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::Instant;

use super::line::{Encoding, Kind, Line};
use crate::api::{Context, findings, flows, verdicts};
use crate::query::Query;
use crate::store::events::{Event, VerdictChange, VerdictEvent};
use crate::store::history::Scores;
use crate::store::{Backlog, Stored};
use crate::time;

/// Scores of findings are looked up anew for flows after this time.
const SCORES_AGE: Duration = Duration::from_secs(1);

/// A closed set of subjects, each with its filter.
pub(super) enum Topic {
    Findings(findings::Filter),
    Flows(Box<Flows>),
    Verdicts,
}

pub(super) struct Flows {
    query: Query,
    /// Without it all are told.
    fields: Option<Vec<&'static str>>,
    scores: Scores,
    looked: Option<Instant>,
}

/// A verdict that came or went.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ChangedVerdict")]
pub(in crate::api) struct VerdictView {
    /// What became of it.
    change: VerdictChange,
    /// The verdict, as it is after that.
    verdict: verdicts::View,
}

/// Writes the events of one stream.
pub(super) struct Writer<'a> {
    pub(super) context: &'a Context,
    pub(super) encoding: Encoding,
    pub(super) run: u64,
}

impl Topic {
    pub(super) fn flows(query: Query, fields: Option<Vec<&'static str>>) -> Self {
        Self::Flows(Box::new(Flows { query, fields, scores: Scores::default(), looked: None }))
    }

    /// Returns an event's number, if the stream is about such events.
    pub(super) fn sequence(&self, event: &Event) -> Option<u64> {
        match (self, event) {
            (Self::Findings(_), Event::Finding(stored)) => Some(stored.sequence),
            (Self::Flows(_), Event::Flow(row)) => row.ended,
            (Self::Verdicts, Event::Verdict(event)) => Some(event.sequence),
            (Self::Findings(_) | Self::Flows(_) | Self::Verdicts, _) => None,
        }
    }

    /// Returns an event as it is written, unless the filter leaves it out.
    pub(super) fn line(&mut self, event: &Event, to: &Writer<'_>) -> Option<Bytes> {
        match (self, event) {
            (Self::Findings(filter), Event::Finding(stored)) => {
                let stored: &Stored = stored;
                filter
                    .accepts(to.context, stored, time::now())
                    .then(|| to.write(Kind::Finding, stored.sequence, findings::view(to.context, stored)))?
            }
            (Self::Flows(flows), Event::Flow(row)) => {
                flows.refresh(to.context);
                let Flows { query, fields, scores, .. } = &**flows;
                if !query.accepts(&flows::as_asked(to.context, query, row, scores)) {
                    return None;
                }
                let flow = flows::shown(to.context, row, scores);
                to.write(Kind::Flow, row.ended?, flows::chosen(&flow, fields.as_deref()).ok()?)
            }
            (Self::Verdicts, Event::Verdict(event)) => {
                let VerdictEvent { sequence, change, entry } = &**event;
                let view = VerdictView { change: *change, verdict: verdicts::view(entry.clone()) };
                to.write(Kind::Verdict, *sequence, view)
            }
            (Self::Findings(_) | Self::Flows(_) | Self::Verdicts, _) => None,
        }
    }

    /// Returns what came after an event, of the store.
    pub(super) fn after(&self, context: &Context, sequence: u64, limit: usize) -> Backlog<Event> {
        match self {
            Self::Findings(_) => events(context.findings.reported_after(sequence, limit), of_finding),
            Self::Flows(_) => events(context.flows.ended_after(sequence, limit), Event::Flow),
            Self::Verdicts => events(context.events.verdicts_after(sequence, limit), Event::Verdict),
        }
    }
}

impl Flows {
    fn refresh(&mut self, context: &Context) {
        if self.looked.is_none_or(|looked| looked.elapsed() > SCORES_AGE) {
            self.scores = context.findings.scores();
            self.looked = Some(Instant::now());
        }
    }
}

impl Writer<'_> {
    /// Returns the id of an event: the run of the daemon it belongs to, and its number.
    pub(super) fn id(&self, sequence: u64) -> String {
        format!("{:x}-{sequence:x}", self.run)
    }

    pub(super) fn write<T: Serialize>(&self, event: Kind, sequence: u64, data: T) -> Option<Bytes> {
        self.encoding.write(&Line { event, id: self.id(sequence), data })
    }
}

fn of_finding(stored: Stored) -> Event {
    Event::Finding(Arc::new(stored))
}

fn events<T>(backlog: Backlog<T>, event: fn(T) -> Event) -> Backlog<Event> {
    Backlog { events: backlog.events.into_iter().map(event).collect(), is_whole: backlog.is_whole }
}
