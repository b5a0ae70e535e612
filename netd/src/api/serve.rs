//! Listens and serves connections, each within limits of its own.

use std::convert::Infallible;
use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::auth::Peer;
use super::patient::Patient;
use super::problem::Problem;
use super::slots::{Held, Place, Slots};
use super::tls::{self, Tls};

/// From the first byte of a request to the end of its head, and from the connection to its first byte.
const HEAD_TIME: Duration = Duration::from_secs(5);
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
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
    #[error("{0} is not a loopback address: it is served over TLS only, as tls:{0}")]
    NotLoopback(SocketAddr),
    #[error("{0} is served over TLS, and api.tls.mode is off")]
    NoTls(SocketAddr),
    #[error("there is no group '{0}' (api.group)")]
    NoGroup(String),
    #[error(transparent)]
    Tls(#[from] tls::Error),
    #[error("'{0}' is neither address:port nor tls:address:port nor unix:/path")]
    Syntax(String),
    #[error("{} exists and is not a socket", .0.display())]
    NotASocket(PathBuf),
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
}

/// Where the API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A loopback address, in the clear.
    Tcp(SocketAddr),
    /// Any address, with TLS and a token.
    Tls(SocketAddr),
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
        let (with_tls, address) = match text.strip_prefix("tls:") {
            Some(address) => (true, address),
            None => (false, text),
        };
        let address: SocketAddr = address.parse().map_err(|_| Error::Syntax(text.to_owned()))?;
        match address.ip().is_loopback() && !with_tls {
            true => Ok(Self::Tcp(address)),
            false => Ok(Self::Tls(address)),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Tls(address) => write!(f, "tls:{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A bound listener. It listens before there is a runtime, and is served within one.
#[derive(Debug)]
pub enum Listener {
    Tcp(std::net::TcpListener),
    Tls(std::net::TcpListener, Arc<Tls>),
    Unix(std::os::unix::net::UnixListener),
}

/// What listening takes besides an address.
#[derive(Clone, Debug, Default)]
pub struct Means {
    /// `None` serves no address that others can reach.
    pub tls: Option<Arc<Tls>>,
    /// Group of a unix socket; without one it is that of the daemon.
    pub group: Option<String>,
}

impl Listener {
    /// Binds. A unix socket is for its owner and group (0660); a stale one is replaced, its folder made.
    pub fn bind(listen: &Listen, means: &Means) -> Result<Self, Error> {
        let failed = |source| Error::Bind { address: listen.clone(), source };
        let tcp = |address: &SocketAddr| {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        match listen {
            Listen::Tcp(address) if !address.ip().is_loopback() => Err(Error::NotLoopback(*address)),
            Listen::Tcp(address) => tcp(address).map(Self::Tcp).map_err(failed),
            Listen::Tls(address) => {
                let tls = means.tls.clone().ok_or(Error::NoTls(*address))?;
                tcp(address).map(|listener| Self::Tls(listener, tls)).map_err(failed)
            }
            Listen::Unix(path) => {
                let gid = means.group.as_deref().map(gid).transpose()?;
                remove_stale(path)?;
                if let Some(folder) = path.parent() {
                    fs::DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(failed)?;
                }
                let listener = std::os::unix::net::UnixListener::bind(path).map_err(failed)?;
                std::os::unix::fs::chown(path, None, gid).map_err(failed)?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                Ok(Self::Unix(listener))
            }
        }
    }

    /// Returns the address, when it is TCP: the port may have been chosen by the kernel.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    fn into_accepting(self) -> io::Result<Accepting> {
        Ok(match self {
            Self::Tcp(listener) => Accepting::Tcp(TcpListener::from_std(listener)?),
            Self::Tls(listener, tls) => Accepting::Tls(TcpListener::from_std(listener)?, tls),
            Self::Unix(listener) => Accepting::Unix(UnixListener::from_std(listener)?),
        })
    }
}

enum Accepting {
    Tcp(TcpListener),
    Tls(TcpListener, Arc<Tls>),
    Unix(UnixListener),
}

impl Accepting {
    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                Ok((Stream::Tcp(stream), Peer::Loopback { address: from.ip() }))
            }
            Self::Tls(listener, tls) => {
                let (stream, from) = listener.accept().await?;
                Ok((Stream::Tls(stream, tls.acceptor()), Peer::Remote { address: from.ip() }))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let credentials = stream.peer_cred()?;
                let peer = Peer::Unix { uid: credentials.uid(), pid: credentials.pid() };
                Ok((Stream::Unix(stream), peer))
            }
        }
    }
}

enum Stream {
    Tcp(TcpStream),
    Tls(TcpStream, TlsAcceptor),
    Unix(UnixStream),
}

fn gid(group: &str) -> Result<u32, Error> {
    let found = nix::unistd::Group::from_name(group).ok().flatten();
    found.map(|group| group.gid.as_raw()).ok_or_else(|| Error::NoGroup(group.to_owned()))
}

fn remove_stale(path: &Path) -> Result<(), Error> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(Error::NotASocket(path.to_owned()));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(Error::InUse(path.to_owned())),
        Err(_) => {
            // Binding says what is wrong if it is still there.
            let _ = fs::remove_file(path);
            Ok(())
        }
    }
}

/// Serves until `shutdown` is cancelled; requests under way may end. The connections' tasks belong to this call and
/// end with it. Each listener has room of its own, so nobody on the network takes that of the unix socket.
pub async fn serve(listener: Listener, router: Router, shutdown: CancellationToken) {
    let listener = match listener.into_accepting() {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the API cannot be served"),
    };
    let slots = Slots::new();
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await else { break };
        match accepted {
            Ok((stream, peer)) => {
                let place = slots.enter();
                let served = Served { shutdown: shutdown.clone(), is_lasting: Arc::default() };
                let caller = Caller { peer, place: Arc::clone(&place), served, router: router.clone() };
                let shutdown = shutdown.clone();
                connections.spawn(async move {
                    tokio::select! {
                        () = place.given_up() => {}
                        () = open(stream, caller, shutdown) => {}
                    }
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

/// Who is at the other end of a connection, and what answers it.
#[derive(Clone)]
struct Caller {
    peer: Peer,
    place: Arc<Place>,
    served: Served,
    router: Router,
}

impl Caller {
    /// Answers a request whose head is there.
    async fn answer(self, mut request: Request<Incoming>) -> Response {
        let Self { peer, place, served, router } = self;
        let Some(busy) = place.begin().await else {
            let detail = "too many requests are under way; try again";
            return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Busy", detail).into_response();
        };
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(served);
        let Ok(response) = router.oneshot(request.map(Body::new)).await;
        response.map(|body| Body::new(Held::new(body, busy)))
    }
}

async fn open(stream: Stream, caller: Caller, shutdown: CancellationToken) {
    match stream {
        Stream::Tcp(stream) => {
            if let Ok(Ok(())) = timeout(HEAD_TIME, stream.readable()).await {
                connection(stream, caller, shutdown).await;
            }
        }
        Stream::Tls(stream, acceptor) => match timeout(HANDSHAKE_TIME, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => connection(stream, caller, shutdown).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        },
        Stream::Unix(stream) => {
            if let Ok(Ok(())) = timeout(HEAD_TIME, stream.readable()).await {
                connection(stream, caller, shutdown).await;
            }
        }
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin, caller: Caller, shutdown: CancellationToken) {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD_LIMIT).max_headers(64);
    let is_lasting = Arc::clone(&caller.served.is_lasting);
    let service = service_fn(move |request| {
        let caller = caller.clone();
        async move { Ok::<_, Infallible>(caller.answer(request).await) }
    });
    let serving = builder.serve_connection(TokioIo::new(Patient::new(stream, STALLED)), service);
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
