//! The Docker Engine API, which Podman's service speaks too.

use std::path::Path;

use http_body_util::Full;
use hyper::{Request, StatusCode, header::HOST};
use serde::Deserialize;

use super::{
    Error, Named, cut,
    http::{Version, ask},
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    #[serde(default)]
    name: String,
    config: Option<Config>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    image: String,
}

/// Asks for container `id`; `None` when this service knows none.
pub(super) async fn inspect(socket: &Path, id: &str) -> Result<Option<Named>, Error> {
    let request = Request::get(format!("/containers/{id}/json"))
        .header(HOST, "localhost")
        .body(Full::default())
        .map_err(|_| Error::Request)?;
    let answer = ask(socket, Version::One, request).await?;
    match answer.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None),
        status => return Err(Error::Status { status: status.as_u16().into() }),
    }
    let inspected: Inspected = serde_json::from_slice(&answer.body).map_err(|_| Error::Body)?;
    Ok(Some(Named {
        name: cut(inspected.name.trim_start_matches('/')),
        image: inspected.config.and_then(|config| cut(&config.image)),
        pod: None,
    }))
}
