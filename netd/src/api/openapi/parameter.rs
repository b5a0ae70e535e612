//! The parameters of requests, by what they hold.

use serde_json::{Value, json};

/// A query parameter: its name, what it holds, what it means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) text: &'static str,
    pub(super) is_needed: bool,
}

impl Parameter {
    /// Without it a request is refused.
    pub(super) const fn needed(self) -> Self {
        Self { is_needed: true, ..self }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Text,
    Address,
    Prefix,
    /// A number of up to so much.
    Number(u64),
    /// Items of a page.
    Limit,
    /// From 0 to 1.
    Score,
    Bool,
    OneOf(&'static [&'static str]),
    /// RFC 3339, or a duration ago.
    Moment,
}

pub(super) const fn parameter(name: &'static str, kind: Kind, text: &'static str) -> Parameter {
    Parameter { name, kind, text, is_needed: false }
}

pub(super) fn describe(parameter: &Parameter) -> Value {
    let Parameter { name, kind, text, is_needed } = parameter;
    let schema = match *kind {
        Kind::Text => json!({"type": "string"}),
        Kind::Address => json!({"type": "string", "examples": ["198.51.100.7"]}),
        Kind::Prefix => json!({"type": "string", "examples": ["198.51.100.0/24"]}),
        Kind::Number(most) => json!({"type": "integer", "minimum": 0, "maximum": most}),
        Kind::Limit => json!({"type": "integer", "minimum": 1, "maximum": 1_000, "default": 100}),
        Kind::Score => json!({"type": "number", "minimum": 0, "maximum": 1}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::OneOf(values) => json!({"type": "string", "enum": values}),
        Kind::Moment => json!({"type": "string", "examples": ["2026-11-21T06:13:40Z", "15m"]}),
    };
    json!({"name": name, "in": "query", "required": is_needed, "description": text, "schema": schema})
}

/// Returns a parameter of a path, known by its name.
pub(super) fn of_path(name: &str) -> Value {
    let name = name.trim_start_matches('*');
    let (schema, text) = match name {
        "id" => (json!({"type": "string", "minLength": 1}), "Its number, or its id"),
        "ip" => (json!({"type": "string", "examples": ["198.51.100.7"]}), "An address"),
        "pid" => (json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}), "The number of a process"),
        _ => (json!({"type": "string", "minLength": 1}), "Its name"),
    };
    json!({"name": name, "in": "path", "required": true, "description": text, "schema": schema})
}
