//! Listens and serves connections, each within limits of its own.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::patient::Patient;

/// Connections served at once; further ones wait in the listener's queue.
const CONNECTIONS: usize = 200;
/// From the first byte of a request to the end of its head, and from the connection to its first byte.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// A connection begins no further request after this time, and ends when its last one may take no longer.
const CONNECTION_TIME: Duration = Duration::from_secs(60);
const LAST_REQUEST_TIME: Duration = Duration::from_secs(180);
/// Time for requests to end at shutdown.
const DRAIN_TIME: Duration = Duration::from_secs(5);
/// Longest request head, in bytes.
const HEAD_LIMIT: usize = 32 << 10;
/// A reader that takes nothing of what is sent to it for this long is given up.
const STALLED: Duration = Duration::from_secs(30);

/// Why the API cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}")]
    Bind { address: Listen, source: io::Error },
    #[error(
        "{0} is not a loopback address: the API asks nobody who they are, so it listens on loopback or a unix socket \
         only"
    )]
    NotLoopback(SocketAddr),
    #[error("'{0}' is neither address:port nor unix:/path")]
    Syntax(String),
    #[error("{} exists and is not a socket", .0.display())]
    NotASocket(PathBuf),
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
}

/// Where the API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A loopback address.
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.starts_with('/') {
                true => Ok(Self::Unix(PathBuf::from(path))),
                false => Err(Error::Syntax(text.to_owned())),
            };
        }
        let address: SocketAddr = text.parse().map_err(|_| Error::Syntax(text.to_owned()))?;
        match address.ip().is_loopback() {
            true => Ok(Self::Tcp(address)),
            false => Err(Error::NotLoopback(address)),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A bound listener.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Binds. A unix socket is for its owner and group (0660); a stale one is replaced.
    pub async fn bind(listen: &Listen) -> Result<Self, Error> {
        let failed = |source| Error::Bind { address: listen.clone(), source };
        match listen {
            Listen::Tcp(address) if !address.ip().is_loopback() => Err(Error::NotLoopback(*address)),
            Listen::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp).map_err(failed),
            Listen::Unix(path) => {
                remove_stale(path).await?;
                let listener = UnixListener::bind(path).map_err(failed)?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
                Ok(Self::Unix(listener))
            }
        }
    }

    /// Returns the address, when it is TCP: the port may have been chosen by the kernel.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| Stream::Tcp(stream)),
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

async fn remove_stale(path: &Path) -> Result<(), Error> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(Error::NotASocket(path.to_owned()));
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(Error::InUse(path.to_owned())),
        Err(_) => {
            // Binding says what is wrong if it is still there.
            let _ = fs::remove_file(path);
            Ok(())
        }
    }
}

/// Serves until `shutdown` is cancelled; requests under way may end. The connections' tasks belong to this call and
/// end with it.
pub async fn serve(listener: Listener, router: Router, shutdown: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = shutdown.run_until_cancelled(async {
            let slot = Arc::clone(&slots).acquire_owned().await.ok();
            (slot, listener.accept().await)
        });
        let Some((slot, accepted)) = accepted.await else { break };
        match accepted {
            Ok(stream) => {
                let (router, shutdown) = (router.clone(), shutdown.clone());
                connections.spawn(async move {
                    match stream {
                        Stream::Tcp(stream) => {
                            if let Ok(Ok(())) = timeout(HEAD_TIME, stream.readable()).await {
                                connection(stream, router, shutdown).await;
                            }
                        }
                        Stream::Unix(stream) => {
                            if let Ok(Ok(())) = timeout(HEAD_TIME, stream.readable()).await {
                                connection(stream, router, shutdown).await;
                            }
                        }
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                // Mostly too many open files: wait until some have been closed.
                tracing::warn!(%error, "the API cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let drained = timeout(DRAIN_TIME, async { while connections.join_next().await.is_some() {} });
    if drained.await.is_err() {
        connections.shutdown().await;
    }
}

/// What a request may know of the connection it came by.
#[derive(Clone, Debug, Default)]
pub(super) struct Served {
    shutdown: CancellationToken,
    is_lasting: Arc<AtomicBool>,
}

impl Served {
    /// The answer goes on for as long as its reader wants: the connection's limit of time is not for it.
    pub(super) fn lasts(&self) {
        self.is_lasting.store(true, Ordering::Relaxed);
    }

    /// Returns what is cancelled when netd ends.
    pub(super) fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }
}

impl<S: Sync> FromRequestParts<S> for Served {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router, shutdown: CancellationToken) {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD_LIMIT).max_headers(64);
    let served = Served { shutdown: shutdown.clone(), is_lasting: Arc::default() };
    let is_lasting = Arc::clone(&served.is_lasting);
    let service = router.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(served.clone());
        request
    });
    let stream = Patient::new(stream, STALLED);
    let serving = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => Some(ended),
        () = tokio::time::sleep(CONNECTION_TIME) => None,
        () = shutdown.cancelled() => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            serving.as_mut().graceful_shutdown();
            match timeout(LAST_REQUEST_TIME, serving.as_mut()).await {
                Ok(ended) => ended,
                // A stream ends with its reader, or with netd.
                Err(_) if is_lasting.load(Ordering::Relaxed) => serving.await,
                Err(_) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the API ended early");
    }
}
