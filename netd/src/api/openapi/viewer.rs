//! `/docs`: Swagger UI from this program's own file, showing this program's own document.

use std::sync::{Arc, LazyLock};

use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use utoipa_swagger_ui::{Config, SwaggerFile};

use crate::api::Context;
use crate::api::problem::Problem;

/// Where the viewer is.
pub(in crate::api) const PATH: &str = "/docs/";

/// What its page may load: its own scripts, and images that they carry. It styles elements itself.
pub(in crate::api) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| Arc::new(Config::from("/api/v1/openapi.json")));

/// `GET /docs`.
pub(in crate::api) async fn index(State(context): State<Context>) -> Result<Response, Problem> {
    match context.docs {
        true => Ok(Redirect::permanent(PATH).into_response()),
        false => Err(off()),
    }
}

/// `GET /docs/…`.
pub(in crate::api) async fn file(
    State(context): State<Context>,
    path: Option<Path<String>>,
) -> Result<Response, Problem> {
    if !context.docs {
        return Err(off());
    }
    let path = path.map(|Path(path)| path).unwrap_or_default();
    let found = utoipa_swagger_ui::serve(&path, Arc::clone(&CONFIG)).map_err(|error| {
        tracing::error!(%error, path, "a file of the API's viewer cannot be served");
        Problem::internal()
    })?;
    let Some(SwaggerFile { bytes, content_type, gzpipped, .. }) = found else {
        return Err(Problem::not_found(format!("there is nothing at /docs/{path}")));
    };
    let mut response = bytes.into_owned().into_response();
    if let Ok(content_type) = HeaderValue::from_str(&content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    if gzpipped {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

fn off() -> Problem {
    Problem::not_found("the viewer is switched off: api.docs in the configuration")
}
