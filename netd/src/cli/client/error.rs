//! Why the API could not be asked, or what it answered.

use std::io;
use std::path::PathBuf;

use serde::Deserialize;

use super::ANSWER_TIME;

/// Why the API could not be asked, or what it answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "netd is not running at {server} ({source})\nstart it with `sudo netd run`, or say where it is with --server"
    )]
    NotRunning { server: String, source: io::Error },
    #[error("may not connect to {server} ({source}); try with sudo")]
    NotAllowed { server: String, source: io::Error },
    #[error("the connection to {server} failed")]
    Http { server: String, source: hyper::Error },
    #[error("no TLS connection to {server}: {source}")]
    Tls { server: String, source: io::Error },
    #[error(
        "cannot trust {server} by {}: {why}\nits authority is <state_dir>/tls/ca.pem on netd's host; name a copy of it \
         with --ca", path.display()
    )]
    Authority { server: String, path: PathBuf, why: String },
    #[error("the token has characters that no token has")]
    Token,
    #[error("cannot start the client")]
    Runtime { source: io::Error },
    #[error("{server} did not answer within {} s", ANSWER_TIME.as_secs())]
    Late { server: String },
    #[error("{server} does not answer as netd does (HTTP {status})")]
    NotNetd { server: String, status: u16 },
    #[error("{problem}")]
    Refused { problem: Problem },
    #[error("cannot ask for {path}: {source}")]
    Request { path: String, source: hyper::http::Error },
    /// It was to be shown, not sent.
    #[error("{command}")]
    Printed { command: String },
}

/// What the API says when it does not do what it was asked.
#[derive(Clone, Debug, Deserialize)]
pub struct Problem {
    #[serde(rename = "type")]
    pub kind: String,
    title: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    errors: Vec<Detail>,
}

#[derive(Clone, Debug, Deserialize)]
struct Detail {
    line: Option<u64>,
    detail: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.title, self.detail)?;
        for Detail { line, detail } in &self.errors {
            match line {
                Some(line) => write!(f, "\n  line {line}: {detail}")?,
                None if self.detail.contains(detail.as_str()) => {}
                None => write!(f, "\n  {detail}")?,
            }
        }
        Ok(())
    }
}
