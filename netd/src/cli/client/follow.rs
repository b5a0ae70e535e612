//! Streams of events, read as NDJSON, line by line.

use std::thread;
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName};
use hyper::{Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use super::{Answer, Asked, Client, Error};

/// The server says something each 15 s, if only that it is there.
const SILENCE: Duration = Duration::from_secs(45);
/// Longest line, in bytes.
const LONGEST: usize = 16 << 20;
/// Attempts to find a server again that was there, and the time between two.
const ATTEMPTS: u32 = 60;
const PAUSE: Duration = Duration::from_secs(1);

/// An event.
#[derive(Clone, Debug, Deserialize)]
pub struct Told {
    /// `flow`, `finding`, `verdict`, or `gap` where events were lost to this reader.
    pub event: String,
    pub id: String,
    pub data: Value,
}

/// How far a reader is.
#[derive(Debug, Default)]
struct Place {
    last: Option<String>,
    has_begun: bool,
}

impl Client {
    /// Hands the events of a stream on until `take` fails or the server is gone for good. A connection that ends is made
    /// anew where it ended.
    ///
    /// # Errors
    ///
    /// What `take` says, or why the server could not be asked.
    pub fn follow<E: From<Error>>(&self, path: &str, mut take: impl FnMut(Told) -> Result<(), E>) -> Result<(), E> {
        self.unless_printing(&asked(path, None))?;
        let (mut place, mut attempts) = (Place::default(), 0);
        loop {
            let mut refused = None;
            let mut hand_on = |told| take(told).map_err(|error| refused = Some(error)).is_ok();
            let heard = self.runtime.block_on(self.listen(path, &mut place, &mut hand_on));
            if let Some(error) = refused {
                return Err(error);
            }
            match heard {
                Err(error) if !place.has_begun => return Err(error.into()),
                Err(error @ Error::Refused { .. }) => return Err(error.into()),
                Err(error) if attempts == ATTEMPTS => return Err(error.into()),
                Err(_) => attempts += 1,
                Ok(()) => attempts = 0,
            }
            thread::sleep(PAUSE);
        }
    }

    /// Reads one connection to its end, or until an event is not taken.
    async fn listen(&self, path: &str, place: &mut Place, take: &mut impl FnMut(Told) -> bool) -> Result<(), Error> {
        let stream = self.connect().await?;
        self.converse(stream, &asked(path, place.last.as_deref()), async |response: Response<Incoming>| {
            let (parts, mut body) = response.into_parts();
            if parts.status != StatusCode::OK {
                let body = Limited::new(body, LONGEST).collect().await.map_err(|_| self.not_netd(parts.status))?;
                let answer = Answer { status: parts.status, headers: parts.headers, body: body.to_bytes() };
                self.unless_refused(&answer)?;
                return Err(self.not_netd(answer.status));
            }
            place.has_begun = true;
            let mut lines = Lines::default();
            loop {
                // Silence and a broken connection are the same: both are asked again.
                let Ok(Some(Ok(frame))) = timeout(SILENCE, body.frame()).await else { return Ok(()) };
                let Some(piece) = frame.data_ref() else { continue };
                lines.take(piece).map_err(|()| self.not_netd(parts.status))?;
                while let Some(line) = lines.next() {
                    let told: Told = serde_json::from_slice(&line).map_err(|_| self.not_netd(parts.status))?;
                    place.last = Some(told.id.clone());
                    if !take(told) {
                        return Ok(());
                    }
                }
            }
        })
        .await
    }
}

fn asked(path: &str, last: Option<&str>) -> Asked {
    let asked = Asked::new(Method::GET, path).with(header::ACCEPT, "application/x-ndjson");
    match last {
        Some(last) => asked.with(HeaderName::from_static("last-event-id"), last),
        None => asked,
    }
}

/// Pieces of a body, put together to lines.
#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    /// Bytes without a line's end.
    searched: usize,
}

impl Lines {
    /// Adds a piece; fails where a line is too long.
    fn take(&mut self, piece: &Bytes) -> Result<(), ()> {
        self.bytes.extend_from_slice(piece);
        if self.bytes.len() > LONGEST { Err(()) } else { Ok(()) }
    }

    /// Returns the next line that is whole and not empty: empty ones say that the server is there.
    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let end = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n');
            let Some(end) = end.map(|end| end + self.searched) else {
                self.searched = self.bytes.len();
                return None;
            };
            let rest = self.bytes.split_off(end + 1);
            let mut line = std::mem::replace(&mut self.bytes, rest);
            self.searched = 0;
            line.pop();
            if !line.is_empty() {
                return Some(line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_were_cut() {
        let mut lines = Lines::default();
        let mut whole = Vec::new();
        for piece in ["a", "b\n\nc", "\n", "d\ne"] {
            lines.take(&Bytes::from(piece)).unwrap();
            while let Some(line) = lines.next() {
                whole.push(String::from_utf8(line).unwrap());
            }
        }

        assert_eq!(whole, ["ab", "c", "d"]);
        assert!(lines.take(&Bytes::from(vec![b'x'; LONGEST])).is_err());
    }
}
