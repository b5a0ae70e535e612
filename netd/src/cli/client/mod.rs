//! A small HTTP/1.1 client for netd's own API.

mod curl;
mod error;
mod follow;
mod link;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::{Method, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;

pub use error::{Error, Problem};
pub use follow::Told;
use link::Duplex;
pub use server::{NotAServer, Server};

/// How long an answer may take; a large list takes a while.
const ANSWER_TIME: Duration = Duration::from_secs(180);
/// Largest answer, in bytes.
const ANSWER_LIMIT: usize = 256 << 20;

/// Asks one server, a connection a request.
#[derive(Debug)]
pub struct Client {
    server: Server,
    token: Option<String>,
    authority: Option<PathBuf>,
    prints: bool,
    runtime: tokio::runtime::Runtime,
}

/// A request, before it is sent.
#[derive(Clone, Debug)]
struct Asked {
    method: Method,
    path: String,
    /// Beside the token: type of the body, condition, what is accepted.
    headers: Vec<(header::HeaderName, String)>,
    body: Vec<u8>,
}

impl Asked {
    fn new(method: Method, path: &str) -> Self {
        Self { method, path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    fn json(method: Method, path: &str, body: &Value) -> Self {
        Self::new(method, path).with(header::CONTENT_TYPE, "application/json").body(body.to_string().into_bytes())
    }

    fn with(mut self, name: header::HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn body(self, body: Vec<u8>) -> Self {
        Self { body, ..self }
    }
}

impl Client {
    /// Returns a client; nothing is sent yet.
    pub fn new(server: Server) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| Error::Runtime { source })?;
        Ok(Self { server, token: None, authority: None, prints: false, runtime })
    }

    /// Sends `token` with every request, and trusts TLS servers by the PEM file `authority`.
    #[must_use]
    pub fn identified(self, token: Option<String>, authority: Option<PathBuf>) -> Self {
        Self { token, authority, ..self }
    }

    /// Sends nothing from here on: the first request comes back as [`Error::Printed`].
    #[must_use]
    pub fn printing(self, prints: bool) -> Self {
        Self { prints, ..self }
    }

    /// Reads a resource.
    pub fn get(&self, path: &str) -> Result<Value, Error> {
        self.ask(&Asked::new(Method::GET, path))
    }

    /// Reads a resource of another type than JSON, as it is.
    pub fn text(&self, path: &str) -> Result<String, Error> {
        self.text_of(Method::GET, path)
    }

    /// Asks for what is answered in another type than JSON.
    pub fn text_of(&self, method: Method, path: &str) -> Result<String, Error> {
        let asked = Asked::new(method, path);
        self.unless_printing(&asked)?;
        self.sent(&asked, |answer| answer.text())
    }

    /// Sends a JSON body.
    pub fn send_json(&self, method: Method, path: &str, body: &Value) -> Result<Value, Error> {
        self.ask(&Asked::json(method, path, body))
    }

    /// Sends a body, and returns the answer's.
    pub fn send(&self, method: Method, path: &str, content_type: Option<&str>, body: Vec<u8>) -> Result<Value, Error> {
        let asked = Asked::new(method, path).body(body);
        self.ask(&match content_type {
            Some(content_type) => asked.with(header::CONTENT_TYPE, content_type),
            None => asked,
        })
    }

    /// Changes a resource with a JSON body, if its tag is `tag`.
    pub fn change(&self, path: &str, tag: &str, body: &Value) -> Result<Value, Error> {
        self.ask(&Asked::json(Method::PATCH, path, body).with(header::IF_MATCH, tag))
    }

    fn ask(&self, asked: &Asked) -> Result<Value, Error> {
        self.unless_printing(asked)?;
        self.sent(asked, |answer| answer.json())
    }

    fn unless_printing(&self, asked: &Asked) -> Result<(), Error> {
        match self.prints {
            true => Err(Error::Printed { command: curl::command(self, asked) }),
            false => Ok(()),
        }
    }

    fn sent<T>(&self, asked: &Asked, read: impl FnOnce(Answer) -> Option<T>) -> Result<T, Error> {
        let exchange = async {
            let stream = self.connect().await?;
            self.converse(stream, asked, async |response| {
                let (parts, body) = response.into_parts();
                let body = Limited::new(body, ANSWER_LIMIT).collect().await;
                let body = body.map_err(|_| self.not_netd(parts.status))?.to_bytes();
                let answer = Answer { status: parts.status, headers: parts.headers, body };
                self.unless_refused(&answer)?;
                let status = answer.status;
                read(answer).ok_or_else(|| self.not_netd(status))
            })
            .await
        };
        self.runtime
            .block_on(async { tokio::time::timeout(ANSWER_TIME, exchange).await })
            .unwrap_or_else(|_| Err(Error::Late { server: self.server.to_string() }))
    }

    /// Sends a request over a connection, and hands the answer on while the connection is driven.
    async fn converse<T>(
        &self,
        stream: Box<dyn Duplex>,
        asked: &Asked,
        take: impl AsyncFnOnce(Response<Incoming>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let failed = |source| Error::Http { server: self.server.to_string(), source };
        let request = self.request(asked)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let mut connection = std::pin::pin!(connection);
        let answer = async { take(sender.send_request(request).await.map_err(failed)?).await };
        let mut answer = std::pin::pin!(answer);
        // The connection moves only while it is polled; it may end before the answer has been taken out of it.
        tokio::select! {
            answer = answer.as_mut() => answer,
            ended = connection.as_mut() => match ended {
                Ok(()) => answer.await,
                Err(source) => Err(failed(source)),
            },
        }
    }

    fn request(&self, asked: &Asked) -> Result<hyper::Request<Full<Bytes>>, Error> {
        let mut request =
            hyper::Request::builder().method(&asked.method).uri(&asked.path).header(header::HOST, self.server.host());
        if let Some(token) = &self.token {
            let value = header::HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| Error::Token)?;
            request = request.header(header::AUTHORIZATION, value);
        }
        for (name, value) in &asked.headers {
            request = request.header(name, value);
        }
        request
            .body(Full::new(Bytes::from(asked.body.clone())))
            .map_err(|source| Error::Request { path: asked.path.clone(), source })
    }

    fn unless_refused(&self, answer: &Answer) -> Result<(), Error> {
        if answer.content_type() == Some("application/problem+json") {
            let problem = serde_json::from_slice(&answer.body).map_err(|_| self.not_netd(answer.status))?;
            return Err(Error::Refused { problem });
        }
        match answer.status {
            StatusCode::OK | StatusCode::CREATED => Ok(()),
            status => Err(self.not_netd(status)),
        }
    }

    fn not_netd(&self, status: StatusCode) -> Error {
        Error::NotNetd { server: self.server.to_string(), status: status.as_u16() }
    }
}

/// What came back.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn content_type(&self) -> Option<&str> {
        self.headers.get(header::CONTENT_TYPE)?.to_str().ok()
    }

    fn json(self) -> Option<Value> {
        (self.content_type() == Some("application/json")).then(|| serde_json::from_slice(&self.body).ok())?
    }

    fn text(self) -> Option<String> {
        String::from_utf8(self.body.to_vec()).ok()
    }
}

/// Returns a value with everything escaped that means something in a query.
#[must_use]
pub fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => escaped.push(byte.into()),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_is_not_there_is_said_with_what_to_do() {
        let client = Client::new("http://127.0.0.1:1".parse().unwrap()).unwrap();

        let error = client.get("/api/v1/status").unwrap_err().to_string();

        assert!(error.contains("not running at http://127.0.0.1:1") && error.contains("sudo netd run"), "{error}");
    }

    #[test]
    fn what_means_something_in_a_query_is_escaped() {
        assert_eq!(escaped("1:a+b/c= &é"), "1:a%2Bb%2Fc%3D%20%26%C3%A9");
    }
}
