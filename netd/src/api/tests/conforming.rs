//! Every answer that any of these tests gets is held against the document: its status, its type, and each member of its
//! JSON. The document leaves room for members to come; here one that it does not name is a mistake.

use serde_json::Map;

use super::*;

/// Holds an answer against the document.
pub(super) fn assert_documented(method: &Method, path: &str, answer: &Answer) {
    let bare = path.split('?').next().unwrap_or_default();
    let Some(operation) = operation(method, bare) else { return };
    let status = answer.status.as_u16().to_string();
    let range = format!("{}XX", &status[..1]);
    let responses = &operation["responses"];
    let declared = [&status, &range].into_iter().map(|status| &responses[status.as_str()]).find(|r| !r.is_null());
    let declared =
        resolved(declared.unwrap_or_else(|| panic!("{method} {bare} answers {status}, which is not documented")));
    let Some(content) = declared["content"].as_object() else {
        assert!(answer.text.is_empty(), "{method} {bare} {status} answers with a body, which is not documented");
        return;
    };
    let got = answer.header("content-type");
    let media_type = content.get(got).or_else(|| content.get(got.split(';').next().unwrap_or_default()));
    let media_type = media_type.or_else(|| content.get("*/*"));
    let media_type = media_type.unwrap_or_else(|| panic!("{method} {bare} {status} answers {got}: {content:?}"));
    if got == "application/json" || got == "application/problem+json" {
        let mut faults = Vec::new();
        conform(&media_type["schema"], &answer.json(), "", &mut faults);
        assert!(faults.is_empty(), "{method} {bare} {status} is not as documented: {faults:#?}");
    }
}

/// Returns what answers a method of a path; a place that is named comes before one that anything fits.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let paths = crate::api::openapi::document()["paths"].as_object()?;
    let method = method.as_str().to_ascii_lowercase();
    let fitting = paths.iter().filter(|(template, item)| fits(template, path) && !item[&method].is_null());
    fitting.min_by_key(|(template, _)| template.matches('{').count()).map(|(_, item)| &item[&method])
}

fn fits(template: &str, path: &str) -> bool {
    let (mut places, mut parts) = (template.split('/'), path.split('/'));
    loop {
        match (places.next(), parts.next()) {
            (None, None) => return true,
            // A prefix, the one place that holds a slash, ends its path.
            (Some("{value}"), Some(_)) => return true,
            (Some(place), Some(part)) if place.starts_with('{') || place == part => {}
            (_, _) => return false,
        }
    }
}

fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => {
            let found = crate::api::openapi::document().pointer(reference.trim_start_matches('#'));
            resolved(found.unwrap_or_else(|| panic!("{reference} is not in the document")))
        }
        None => value,
    }
}

/// Notes where a value is not what a schema says, as far as the document's schemas say anything.
fn conform(schema: &'static Value, value: &Value, place: &str, faults: &mut Vec<String>) {
    let schema = resolved(schema);
    if schema == &Value::Bool(true) {
        return;
    }
    for choice in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[choice].as_array() {
            let tried = choices.iter().map(|choice| {
                let mut faults = Vec::new();
                conform(choice, value, place, &mut faults);
                faults
            });
            let tried: Vec<_> = tried.collect();
            if !tried.iter().any(Vec::is_empty) {
                faults.extend(tried.into_iter().min_by_key(Vec::len).unwrap_or_default());
            }
            return;
        }
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    };
    let is_of = |kind: &&str| match *kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("{other} is no type"),
    };
    if !types.is_empty() && !types.iter().any(is_of) {
        faults.push(format!("{place}: {value} is no {types:?}"));
        return;
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        faults.push(format!("{place}: {value} is none of {words:?}"));
    }
    match value {
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                conform(&schema["items"], item, &format!("{place}/{at}"), faults);
            }
        }
        Value::Object(members) => conform_object(schema, members, place, faults),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn conform_object(schema: &'static Value, members: &Map<String, Value>, place: &str, faults: &mut Vec<String>) {
    let mut parts = Vec::new();
    gather(schema, &mut parts);
    let others = parts.iter().map(|part| &part["additionalProperties"]).find(|others| !others.is_null());
    for name in parts.iter().filter_map(|part| part["required"].as_array()).flatten().filter_map(Value::as_str) {
        if !members.contains_key(name) {
            faults.push(format!("{place}/{name} is missing"));
        }
    }
    for (name, member) in members {
        let declared = parts.iter().map(|part| &part["properties"][name]).find(|schema| !schema.is_null()).or(others);
        match declared {
            Some(schema) => conform(schema, member, &format!("{place}/{name}"), faults),
            None => faults.push(format!("{place}/{name} is not documented: {member}")),
        }
    }
}

/// Collects a schema and those that it is made of.
fn gather(schema: &'static Value, parts: &mut Vec<&'static Value>) {
    let schema = resolved(schema);
    for part in schema["allOf"].as_array().into_iter().flatten() {
        gather(part, parts);
    }
    parts.push(schema);
}

#[test]
fn a_member_that_is_missing_of_another_type_or_not_named_is_a_fault() {
    let schema: &'static Value = Box::leak(Box::new(serde_json::json!({
        "type": "object",
        "required": ["a"],
        "properties": {"a": {"type": "integer"}, "b": {"type": ["string", "null"]}},
        "allOf": [{"type": "object", "required": ["c"], "properties": {"c": {"type": "array", "items": {"enum": ["x"]}}}}],
    })));
    let faults = |value: Value| {
        let mut faults = Vec::new();
        conform(schema, &value, "", &mut faults);
        faults.len()
    };

    assert_eq!(faults(serde_json::json!({"a": 1, "b": null, "c": ["x"]})), 0);
    for wrong in [
        serde_json::json!({"c": []}),
        serde_json::json!({"a": "1", "c": []}),
        serde_json::json!({"a": 1}),
        serde_json::json!({"a": 1, "c": ["y"]}),
        serde_json::json!({"a": 1, "c": [], "d": 1}),
        serde_json::json!([]),
    ] {
        assert_eq!(faults(wrong.clone()), 1, "{wrong}");
    }
}
