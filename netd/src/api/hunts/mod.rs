//! `/api/v1/{beacons,tunnels,dns/top,listeners}`: ready-made hunts through what the engine follows at this moment, whether
//! it suffices for a finding or not.

mod beacons;
mod listeners;
mod names;
mod tunnels;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use netd_engine::Engine;
use netd_engine::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Context;
use super::explain::ask;
use super::history::bad_query;
use super::page;
use super::problem::Problem;
use crate::query::{Field, Query, Record, Sort, Table, Value};
use crate::time;

pub(super) use beacons::{View as Beacon, get as beacons};
pub(super) use listeners::{View as Listener, get as listeners};
pub(super) use names::{View as Domain, get as names};
pub(super) use tunnels::{View as Tunnel, get as tunnels};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Parameters {
    q: Option<String>,
    limit: Option<usize>,
}

/// What was found, the most conspicuous first: there is no next page, because what is live has moved on by then.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{T}s")]
pub(super) struct Found<T> {
    /// What was found, the most conspicuous first.
    items: Vec<T>,
    /// How many there are to look at.
    looked_at: u64,
    /// Whether more was found than is told.
    is_cut: bool,
}

/// Which items, and how many of them.
struct Wanted {
    query: Query,
    limit: usize,
    now: Timestamp,
}

impl Wanted {
    fn read(Parameters { q, limit }: Parameters, table: Table) -> Result<Self, Problem> {
        let (limit, now) = (page::limit(limit)?, time::now());
        let query = Query::parse(table, q.as_deref().unwrap_or_default(), now);
        Ok(Self { query: query.map_err(|error| bad_query("q", &error))?, limit, now })
    }

    /// Returns the items that are asked for, of those that come in the hunt's own order.
    fn chosen<T>(&self, items: Vec<T>, record: impl for<'i> Fn(&'i T) -> Live<'i>) -> (Vec<T>, bool) {
        let asked = items.into_iter().filter(|item| self.query.accepts(&record(item)));
        let mut asked: Vec<_> = asked
            .enumerate()
            .map(|(order, item)| (self.query.sort.place(order as u64, &record(&item)), item))
            .collect();
        if self.query.sort != Sort::default() {
            self.query.sort.order(&mut asked);
        }
        let is_cut = asked.len() > self.limit;
        asked.truncate(self.limit);
        (asked.into_iter().map(|(_, item)| item).collect(), is_cut)
    }

    fn answer<T: Serialize>(&self, (items, is_cut): (Vec<T>, bool), looked_at: usize) -> Response {
        Json(Found { items, looked_at: looked_at as u64, is_cut }).into_response()
    }
}

/// Something live as queries see it: it has few fields, and is of this moment.
struct Live<'i> {
    fields: Vec<(Field, Value<'i>)>,
    now: Timestamp,
}

impl Record for Live<'_> {
    fn value(&self, field: Field) -> Value<'_> {
        let known = self.fields.iter().find(|(known, _)| *known == field);
        known.map_or(Value::None, |(_, value)| value.clone())
    }

    fn begun(&self) -> Timestamp {
        self.now
    }

    fn ended(&self) -> Timestamp {
        self.now
    }
}

fn number(number: impl Into<u64>) -> Value<'static> {
    Value::Number(i64::try_from(number.into()).unwrap_or(i64::MAX))
}

/// Makes a search slice by slice: packets wait for a slice only.
async fn search<T: Send + 'static>(
    context: &Context,
    mut search: T,
    step: fn(&mut T, &Engine) -> bool,
) -> Result<T, Problem> {
    loop {
        let (after, is_over) = ask(context, move |engine| {
            let is_over = step(&mut search, engine);
            (search, is_over)
        })
        .await?;
        if is_over {
            return Ok(after);
        }
        search = after;
    }
}
