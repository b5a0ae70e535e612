//! What the API can be asked, as an OpenAPI 3.1 document, and a viewer of it that needs nothing from elsewhere.
//!
//! [`operations`] has a line for each method of each path. Tests hold it against the router and against the parameters
//! that handlers take, and every tested answer against its schema; a schema fuzzer does so, too.

mod operations;
mod parameter;
mod schemas;
mod viewer;

use std::sync::LazyLock;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::problem::Problem;
use super::stream::{Gap, Line};
use operations::{Answer, Body, Operation};
use schemas::Schemas;
pub(super) use viewer::{CONTENT_SECURITY_POLICY, PATH as DOCS, file as docs_file, index as docs_index};

static DOCUMENT: LazyLock<Value> = LazyLock::new(build);

/// `GET /api/v1/openapi.json`.
pub(super) async fn get() -> Response {
    Json(&*DOCUMENT).into_response()
}

/// Returns the document.
#[cfg(test)]
pub(super) fn document() -> &'static Value {
    &DOCUMENT
}

fn build() -> Value {
    let mut schemas = Schemas::new();
    let problem = schemas.answered(SchemaGenerator::subschema_for::<Problem>);
    let mut paths = Map::new();
    for operation in operations::all() {
        // The router's mark of a place that holds slashes too.
        let path = operation.path.replace("{*", "{");
        let item = paths.entry(path).or_insert_with(|| Value::Object(Map::new()));
        item[operation.method.to_ascii_lowercase()] = describe(operation, &mut schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "netd",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Conversations, findings and verdicts of a host. Errors are RFC 9457 problems, times \
                            RFC 3339, lists pages with opaque cursors.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": operations::TAGS.iter().map(|(name, text)| json!({"name": name, "description": text})).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": schemas.collected(),
            "responses": {"Problem": {
                "description": "What was wrong, and what to do",
                "content": {"application/problem+json": {"schema": problem}},
            }},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "bouncer": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
    })
}

fn describe(operation: &Operation, schemas: &mut Schemas) -> Value {
    let in_path = operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.split('}').next());
    let path_parameters = in_path.map(parameter::of_path);
    let query = operation.query.iter().map(parameter::describe);
    let mut responses = Map::new();
    for status in operation.status {
        let described = match status {
            400.. => json!({"$ref": "#/components/responses/Problem"}),
            _ => answer(operation, *status, schemas),
        };
        responses.insert(status.to_string(), described);
    }
    for range in ["4XX", "5XX"] {
        responses.insert(range.to_owned(), json!({"$ref": "#/components/responses/Problem"}));
    }
    let mut described = json!({
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": path_parameters.chain(query).collect::<Vec<_>>(),
        "responses": responses,
    });
    match operation.body {
        Body::None => {}
        Body::Json(sent) => {
            let schema = schemas.sent(sent);
            described["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": schema}}});
        }
        Body::Text => {
            described["requestBody"] =
                json!({"required": true, "content": {"text/plain": {"schema": {"type": "string"}}}});
        }
        Body::Policy { is_needed } => {
            let text = json!({"schema": {"type": "string"}});
            described["requestBody"] =
                json!({"required": is_needed, "content": {"application/yaml": text, "text/plain": text}});
        }
        Body::Capture => {
            let bytes = json!({"schema": {"type": "string", "format": "binary"}});
            described["requestBody"] = json!({"required": true, "content": {
                "application/vnd.tcpdump.pcap": bytes,
                "application/octet-stream": bytes,
            }});
        }
    }
    if operation.path.starts_with("/v1/") {
        described["security"] = json!([{"bouncer": []}, {"bearer": []}]);
    }
    if operation.is_open {
        described["security"] = json!([]);
    }
    described
}

fn answer(operation: &Operation, status: u16, schemas: &mut Schemas) -> Value {
    let content = match operation.answer {
        _ if status == 304 => return json!({"description": "Not modified"}),
        Answer::Json(answered) => json!({"application/json": {"schema": schemas.answered(answered)}}),
        Answer::Stream(event) => json!({
            "text/event-stream": {"schema": {"type": "string"}},
            "application/x-ndjson": {"schema": {
                "anyOf": [schemas.answered(event), schemas.answered(SchemaGenerator::subschema_for::<Line<Gap>>)],
            }},
        }),
        // What is said in several types, or in JSON that others define.
        Answer::Bytes(media_type @ "*/*") => json!({media_type: {}}),
        Answer::Bytes(media_type) if media_type.contains("json") => json!({media_type: {"schema": {"type": "object"}}}),
        Answer::Bytes(media_type) => json!({media_type: {"schema": {"type": "string", "format": "binary"}}}),
        Answer::Nothing => return json!({"description": "Done"}),
    };
    json!({"description": "Done", "content": content})
}
