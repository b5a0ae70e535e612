//! A client of the daemon's API that shares no code with it.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at something that is waited for.
const GLANCE: Duration = Duration::from_millis(20);

/// Asks the API at a unix socket, which is reachable from any network namespace. A connection a request.
#[derive(Clone, Debug)]
pub struct Api {
    socket: PathBuf,
    patience: Duration,
}

/// What the API answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    /// The entity tag, where there is one.
    pub etag: Option<String>,
}

impl Answer {
    /// Reads the body as JSON.
    ///
    /// # Errors
    ///
    /// When it is something else.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("not JSON: {self:?}"))
    }

    /// Reads the body of an answer that is no refusal.
    ///
    /// # Errors
    ///
    /// When it is one, with what it says.
    pub fn accepted(&self) -> Result<Value> {
        if !(200..300).contains(&self.status) {
            bail!("refused with {}: {}", self.status, self.body);
        }
        self.json()
    }
}

impl Api {
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), patience: PATIENCE }
    }

    /// Waits longer, or shorter, for an answer.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Sends a request with a body, empty for none.
    ///
    /// # Errors
    ///
    /// When nobody answers, or not in HTTP.
    pub fn send(&self, method: &str, path: &str, content_type: &str, body: &str) -> Result<Answer> {
        self.send_with(method, path, &[("content-type", content_type)], body)
    }

    /// Sends a request with headers.
    ///
    /// # Errors
    ///
    /// As [`Api::send`].
    pub fn send_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
        let mut stream = UnixStream::connect(&self.socket)
            .with_context(|| format!("nobody listens at {}", self.socket.display()))?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.set_write_timeout(Some(self.patience))?;
        let length = body.len();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             {headers}Content-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text).with_context(|| format!("{method} {path}: no answer"))?;
        let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let (Some(status), Some((head, body))) = (status, text.split_once("\r\n\r\n")) else {
            bail!("{method} {path}: no HTTP answer: {text}");
        };
        let etag =
            head.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("etag"));
        Ok(Answer { status, body: body.to_owned(), etag: etag.map(|(_, tag)| tag.trim().to_owned()) })
    }

    /// Reads a JSON document.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.send("GET", path, "application/json", "")?.accepted()
    }

    /// Sends a JSON body.
    ///
    /// # Errors
    ///
    /// When nobody answers; a refusal is an answer.
    pub fn send_json(&self, method: &str, path: &str, body: &Value) -> Result<Answer> {
        self.send(method, path, "application/json", &body.to_string())
    }

    /// Puts a verdict in force; returns its number.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub fn block(&self, verdict: &Value) -> Result<u64> {
        let added = self.send_json("POST", "/api/v1/verdicts", verdict)?.accepted()?;
        added["id"].as_u64().with_context(|| format!("a verdict without a number: {added}"))
    }

    /// Releases a verdict.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn release(&self, id: u64) -> Result<Value> {
        self.send("DELETE", &format!("/api/v1/verdicts/{id}"), "application/json", "")?.accepted()
    }

    /// Reads all pages of a list.
    ///
    /// # Errors
    ///
    /// When a page is refused.
    pub fn items(&self, path: &str) -> Result<Vec<Value>> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let mut page = self.get(&format!("{path}{joint}limit=1000{cursor}"))?;
            if let Value::Array(more) = page["items"].take() {
                items.extend(more);
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(items),
            }
        }
    }

    /// Reads `path` until `found` finds in it what is waited for.
    ///
    /// # Errors
    ///
    /// When it has not by `patience`; the message holds what was read last.
    pub fn until<T>(&self, path: &str, patience: Duration, found: impl Fn(&Value) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + patience;
        loop {
            let read = self.get(path);
            if let Some(found) = read.as_ref().ok().and_then(&found) {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                bail!("waited {patience:?} in vain for {path}: {read:?}");
            }
            std::thread::sleep(GLANCE);
        }
    }
}
