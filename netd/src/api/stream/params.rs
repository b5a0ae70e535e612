//! The parameters of a stream: those of its list but for paging, and how much of the past it begins with.

use axum::extract::{FromRequestParts, Query};
use axum::http::Uri;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::api::input;
use crate::api::problem::Problem;

/// Most events of the past that a stream begins with.
const MOST: usize = 1_000;

/// How many of the newest events come first, when the reader does not resume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Last(pub(super) usize);

pub(crate) struct Params<T> {
    pub(super) last: Last,
    /// What the list would be asked.
    pub(super) list: T,
}

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let (last, list) = split(parts.uri.query().unwrap_or_default())?;
        let uri: Uri = format!("/?{list}")
            .parse()
            .map_err(|_| Problem::bad_parameter("query", "the query is not of the form name=value&name=value"))?;
        let Query(list) = Query::try_from_uri(&uri).map_err(input::rejected)?;
        Ok(Self { last, list })
    }
}

/// Takes `last` out of a query.
fn split(query: &str) -> Result<(Last, String), Problem> {
    let (mut last, mut list) = (Last::default(), Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("last", number) => match number.parse() {
                Ok(number @ 0..=MOST) => last = Last(number),
                Ok(_) | Err(_) => {
                    return Err(Problem::bad_parameter("last", format!("it must be a number from 0 to {MOST}")));
                }
            },
            (name @ ("limit" | "cursor"), _) => {
                return Err(Problem::bad_parameter(
                    name,
                    "a stream has no pages; 'last' says how many events come first",
                ));
            }
            _ => list.push(pair),
        }
    }
    Ok((last, list.join("&")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_is_asked_for_beside_what_the_list_takes() {
        assert_eq!(split("ip=10.0.0.7&last=5&port=1").unwrap(), (Last(5), "ip=10.0.0.7&port=1".to_owned()));
        assert_eq!(split("").unwrap(), (Last(0), String::new()));
        for query in ["last=", "last=-1", "last=1001", "last=99999999999999999999", "limit=5", "cursor=f1"] {
            assert!(split(query).is_err(), "{query}");
        }
    }
}
