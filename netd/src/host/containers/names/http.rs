//! One HTTP exchange over a unix socket, with a limit of size; the caller sets the limit of time.

use std::path::Path;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;

use super::Error;

/// Longest answer read: a container's description is some kilobytes, its labels may be more.
const MAX_BODY: usize = 1024 * 1024;

/// An answer, whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    /// gRPC's result, which it sends behind the body, or before when there is none.
    pub(super) grpc_status: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// Connects, asks once and hangs up.
pub(super) async fn ask(socket: &Path, version: Version, request: Request<Full<Bytes>>) -> Result<Answer, Error> {
    let stream = UnixStream::connect(socket).await.map_err(|source| Error::Connect { source })?;
    let io = TokioIo::new(stream);
    // Dropping the driver at the end closes the connection.
    let mut drivers = tokio::task::JoinSet::new();
    let response = match version {
        Version::One => {
            let (mut sender, connection) = http1::handshake(io).await?;
            drivers.spawn(async move { connection.await.is_ok() });
            sender.send_request(request).await?
        }
        Version::Two => {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            drivers.spawn(async move { connection.await.is_ok() });
            sender.send_request(request).await?
        }
    };
    let status = response.status();
    let mut grpc_status = number(response.headers());
    let collected = Limited::new(response.into_body(), MAX_BODY).collect().await.map_err(|_| Error::Body)?;
    grpc_status = grpc_status.or_else(|| collected.trailers().and_then(number));
    Ok(Answer { status, body: collected.to_bytes(), grpc_status })
}

fn number(headers: &hyper::HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
