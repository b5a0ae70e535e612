//! The filter language of API and command line: what a query may ask, read from text and held against records.
//!
//! ```text
//! dst:198.51.100.0/24 port:4444 proc:nginx score:>=0.8 -country:NL "exact words" sort:score-desc
//! ```
//!
//! Terms are joined by "and", a term's values by commas by "or"; a minus before a term turns it round. Pure: the present
//! time is an argument, and whoever keeps records elsewhere compiles the same terms (`store::history`).

mod error;
mod field;
mod parse;
mod record;
mod term;
mod value;

#[cfg(test)]
pub(crate) mod tests;

pub use error::Error;
pub use field::{Field, Table, WORDS};
pub use record::{Record, SHARES, Value};
pub use term::{Below, Pattern, Span, Term, Test};
pub use value::severity_rank;

use netd_engine::time::Timestamp;

/// Longest text of a query, in bytes.
pub const MAX_LENGTH: usize = 2_048;
/// Most terms of a query, and most values of a term.
pub const MAX_TERMS: usize = 32;

/// What somebody asks of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    pub table: Table,
    /// All of them must hold.
    pub terms: Vec<Term>,
    /// Not over before.
    pub since: Option<Timestamp>,
    /// Begun by then.
    pub until: Option<Timestamp>,
    pub sort: Sort,
}

/// In which order records are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// A field with numbers; [`Field::Id`] is the order of arrival.
    pub by: Field,
    pub descending: bool,
}

impl Default for Sort {
    /// Newest first.
    fn default() -> Self {
        Self { by: Field::Id, descending: true }
    }
}

/// Where a record stands in an order: by the field's number, then by arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub key: i64,
    pub id: u64,
}

impl Query {
    /// Returns the query that everything answers.
    #[must_use]
    pub fn all(table: Table) -> Self {
        Self { table, terms: Vec::new(), since: None, until: None, sort: Sort::default() }
    }

    /// Reads a query's text.
    ///
    /// # Errors
    ///
    /// What was expected, and at which column.
    pub fn parse(table: Table, text: &str, now: Timestamp) -> Result<Self, Error> {
        let mut query = Self::all(table);
        parse::parse(&mut query, text, now)?;
        Ok(query)
    }

    /// Adds the term `field:value` that a parameter of its own stands for.
    ///
    /// # Errors
    ///
    /// As [`Query::parse`]; columns count within `value`.
    pub fn with(&mut self, field: Field, value: &str) -> Result<(), Error> {
        parse::parameter(self, field, value)
    }

    /// Returns whether `record` is asked for.
    #[must_use]
    pub fn accepts(&self, record: &impl Record) -> bool {
        self.since.is_none_or(|since| record.ended() >= since)
            && self.until.is_none_or(|until| record.begun() <= until)
            && self.terms.iter().all(|term| term.holds(record))
    }

    /// Returns whether any term is about `field`.
    #[must_use]
    pub fn names(&self, field: Field) -> bool {
        self.sort.by == field || self.terms.iter().any(|term| term.any.iter().any(|test| test.is_about(field)))
    }
}

impl Sort {
    /// Returns where a record stands.
    #[must_use]
    pub fn place(self, id: u64, record: &impl Record) -> Place {
        let key = if self.by == Field::Id { 0 } else { record.value(self.by).rank() };
        Place { key, id }
    }

    /// Returns whether `next` comes after `place` in this order.
    #[must_use]
    pub fn is_after(self, next: Place, place: Place) -> bool {
        if self.descending { next < place } else { next > place }
    }

    /// Puts records in order.
    pub fn order<T>(self, records: &mut [(Place, T)]) {
        match self.descending {
            true => records.sort_unstable_by_key(|(place, _)| std::cmp::Reverse(*place)),
            false => records.sort_unstable_by_key(|(place, _)| *place),
        }
    }
}
