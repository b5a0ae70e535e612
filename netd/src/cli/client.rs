//! A small HTTP/1.1 client for netd's own API.

use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// How long an answer may take; a large list takes a while.
const ANSWER_TIME: Duration = Duration::from_secs(180);
/// Largest answer, in bytes.
const ANSWER_LIMIT: usize = 256 << 20;

const USUAL_SOCKET: &str = "/run/netd/api.sock";
const USUAL_ADDRESS: &str = "127.0.0.1:9443";
/// Whom TLS servers are trusted by, unless somebody says otherwise: this host's own netd.
const USUAL_AUTHORITY: &str = "/var/lib/netd/tls/ca.pem";

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

/// Where the API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// `host:port`.
    Tcp(String),
    /// `host:port`.
    Tls(String),
    Unix(PathBuf),
}

impl Server {
    /// Returns where netd is unless its configuration says otherwise: its unix socket, or where that cannot be opened
    /// the loopback address, which allows less.
    #[must_use]
    pub fn usual() -> Self {
        match std::os::unix::net::UnixStream::connect(USUAL_SOCKET) {
            Ok(_) => Self::Unix(PathBuf::from(USUAL_SOCKET)),
            Err(_) => Self::Tcp(USUAL_ADDRESS.to_owned()),
        }
    }
}

/// A text that says nothing about where the API is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is neither http://host:port nor https://host:port nor unix:/path")]
pub struct NotAServer(String);

impl FromStr for Server {
    type Err = NotAServer;

    fn from_str(text: &str) -> Result<Self, NotAServer> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(PathBuf::from(path.strip_prefix("//").unwrap_or(path))));
        }
        let (with_tls, rest) = match text.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("http://").unwrap_or(text)),
        };
        let authority = rest.trim_end_matches('/');
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        match (has_port && !authority.contains('/'), with_tls) {
            (true, false) => Ok(Self::Tcp(authority.to_owned())),
            (true, true) => Ok(Self::Tls(authority.to_owned())),
            (false, _) => Err(NotAServer(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(authority) => write!(f, "http://{authority}"),
            Self::Tls(authority) => write!(f, "https://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Asks one server, a connection a request.
#[derive(Debug)]
pub struct Client {
    server: Server,
    token: Option<String>,
    authority: Option<PathBuf>,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    /// Returns a client; nothing is sent yet.
    pub fn new(server: Server) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self { server, token: None, authority: None, runtime: runtime.map_err(|source| Error::Runtime { source })? })
    }

    /// Sends `token` with every request, and trusts TLS servers by the PEM file `authority`.
    #[must_use]
    pub fn identified(self, token: Option<String>, authority: Option<PathBuf>) -> Self {
        Self { token, authority, ..self }
    }

    /// Reads a resource.
    pub fn get(&self, path: &str) -> Result<Value, Error> {
        self.send(Method::GET, path, None, Vec::new())
    }

    /// Sends a JSON body.
    pub fn send_json(&self, method: Method, path: &str, body: &Value) -> Result<Value, Error> {
        self.send(method, path, Some("application/json"), body.to_string().into_bytes())
    }

    /// Sends a body, and returns the answer's.
    pub fn send(&self, method: Method, path: &str, content_type: Option<&str>, body: Vec<u8>) -> Result<Value, Error> {
        self.send_if(method, path, content_type, None, body)
    }

    /// Changes a resource with a JSON body, if its tag is `tag`.
    pub fn change(&self, path: &str, tag: &str, body: &Value) -> Result<Value, Error> {
        self.send_if(Method::PATCH, path, Some("application/json"), Some(tag), body.to_string().into_bytes())
    }

    fn send_if(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        tag: Option<&str>,
        body: Vec<u8>,
    ) -> Result<Value, Error> {
        let host = match &self.server {
            Server::Tcp(authority) | Server::Tls(authority) => authority.as_str(),
            Server::Unix(_) => "localhost",
        };
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
        if let Some(token) = &self.token {
            let value = header::HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| Error::Token)?;
            request = request.header(header::AUTHORIZATION, value);
        }
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        if let Some(tag) = tag {
            request = request.header(header::IF_MATCH, tag);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|source| Error::Request { path: path.to_owned(), source })?;
        let exchange = self.exchange(request);
        self.runtime
            .block_on(async { tokio::time::timeout(ANSWER_TIME, exchange).await })
            .unwrap_or_else(|_| Err(Error::Late { server: self.server.to_string() }))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Value, Error> {
        let unreachable = |source: io::Error| {
            let server = self.server.to_string();
            match source.kind() == io::ErrorKind::PermissionDenied {
                true => Error::NotAllowed { server, source },
                false => Error::NotRunning { server, source },
            }
        };
        match &self.server {
            Server::Tcp(authority) => {
                let stream = TcpStream::connect(authority).await.map_err(unreachable)?;
                self.converse(stream, request).await
            }
            Server::Tls(authority) => {
                let connector = self.connector()?;
                let host = authority.rsplit_once(':').map_or(authority.as_str(), |(host, _)| host);
                let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
                let name = name.map_err(|error| self.untrusted(error.to_string()))?;
                let stream = TcpStream::connect(authority).await.map_err(unreachable)?;
                let failed = |source| Error::Tls { server: self.server.to_string(), source };
                let stream = connector.connect(name, stream).await.map_err(failed)?;
                self.converse(stream, request).await
            }
            Server::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(unreachable)?;
                self.converse(stream, request).await
            }
        }
    }

    fn authority(&self) -> PathBuf {
        self.authority.clone().unwrap_or_else(|| PathBuf::from(USUAL_AUTHORITY))
    }

    fn untrusted(&self, why: String) -> Error {
        Error::Authority { server: self.server.to_string(), path: self.authority(), why }
    }

    fn connector(&self) -> Result<TlsConnector, Error> {
        let mut roots = RootCertStore::empty();
        let found =
            CertificateDer::pem_file_iter(self.authority()).map_err(|error| self.untrusted(error.to_string()))?;
        for certificate in found {
            let certificate = certificate.map_err(|error| self.untrusted(error.to_string()))?;
            roots.add(certificate).map_err(|error| self.untrusted(error.to_string()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| self.untrusted(error.to_string()))?;
        Ok(TlsConnector::from(Arc::new(builder.with_root_certificates(roots).with_no_client_auth())))
    }

    async fn converse<S>(&self, stream: S, request: Request<Full<Bytes>>) -> Result<Value, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let failed = |source| Error::Http { server: self.server.to_string(), source };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let mut connection = std::pin::pin!(connection);
        let answer = async {
            let response = sender.send_request(request).await.map_err(failed)?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
            let not_netd = || Error::NotNetd { server: self.server.to_string(), status: status.as_u16() };
            let body = body.map_err(|_| not_netd())?.to_bytes();
            let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            match content_type {
                Some("application/problem+json") => {
                    let problem = serde_json::from_slice(&body).map_err(|_| not_netd())?;
                    Err(Error::Refused { problem })
                }
                Some("application/json") if status == StatusCode::OK || status == StatusCode::CREATED => {
                    serde_json::from_slice(&body).map_err(|_| not_netd())
                }
                Some(_) | None => Err(not_netd()),
            }
        };
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
    fn a_server_is_a_url_an_authority_or_a_socket() {
        assert_eq!("http://127.0.0.1:9443/".parse(), Ok(Server::Tcp("127.0.0.1:9443".into())));
        assert_eq!("[::1]:9443".parse(), Ok(Server::Tcp("[::1]:9443".into())));
        assert_eq!("https://netd.example:9443/".parse(), Ok(Server::Tls("netd.example:9443".into())));
        assert_eq!("unix:/run/netd/api.sock".parse(), Ok(Server::Unix("/run/netd/api.sock".into())));
        assert_eq!("unix:///run/netd/api.sock".parse(), Ok(Server::Unix("/run/netd/api.sock".into())));
        for text in ["", "localhost", "http://localhost", "https://localhost", "http://a:1/b"] {
            assert!(text.parse::<Server>().is_err(), "{text}");
        }
    }

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
