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
    let mut alternatives = alternatives(schema).into_iter().map(|parts| {
        let mut faults = Vec::new();
        conform_all(&parts, value, place, &mut faults);
        faults
    });
    let first = alternatives.next().unwrap_or_default();
    // What comes nearest to a schema says best what is wrong.
    faults.extend(alternatives.fold(first, |least, other| if other.len() < least.len() { other } else { least }));
}

/// Returns the ways in which a schema can be met: each a list of schemas that must hold together.
fn alternatives(schema: &'static Value) -> Vec<Vec<&'static Value>> {
    let mut ways = vec![vec![schema]];
    let mut join = |more: Vec<Vec<&'static Value>>| {
        let joined = ways.iter().flat_map(|way| more.iter().map(|other| [way.as_slice(), other].concat()));
        ways = joined.collect();
    };
    if schema["$ref"].is_string() {
        join(alternatives(resolved(schema)));
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        join(alternatives(part));
    }
    for choice in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[choice].as_array() {
            join(choices.iter().flat_map(alternatives).collect());
        }
    }
    ways
}

fn conform_all(parts: &[&'static Value], value: &Value, place: &str, faults: &mut Vec<String>) {
    if parts.iter().all(|part| says_nothing(part)) {
        return;
    }
    if let Some(fault) = parts.iter().find_map(|part| fault(part, value)) {
        faults.push(format!("{place}: {value} {fault}"));
        return;
    }
    match value {
        Value::Array(items) => {
            let of_items = parts.iter().map(|part| &part["items"]).find(|schema| !schema.is_null());
            for (at, item) in items.iter().enumerate() {
                match of_items {
                    Some(schema) => conform(schema, item, &format!("{place}/{at}"), faults),
                    None => faults.push(format!("{place}/{at} is not documented: {item}")),
                }
            }
        }
        Value::Object(members) => conform_object(parts, members, place, faults),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Returns whether anything is what a schema says: it is for people.
fn says_nothing(schema: &Value) -> bool {
    let is_for_people = |word: &String| matches!(word.as_str(), "title" | "description" | "examples" | "default");
    schema == true || schema.as_object().is_some_and(|words| words.keys().all(is_for_people))
}

/// Returns what a schema's own words have against a value, its members not looked at.
fn fault(schema: &Value, value: &Value) -> Option<String> {
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
        return Some(format!("is no {types:?}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return Some(format!("is none of {words:?}"));
    }
    let word = &schema["const"];
    if !word.is_null() && word != value {
        return Some(format!("is not {word}"));
    }
    let (least, most) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
    let is_outside = |number| least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most);
    if value.as_f64().is_some_and(is_outside) {
        return Some(format!("is not from {least:?} to {most:?}"));
    }
    let is_time = |text: &str| text.parse::<jiff::Timestamp>().is_ok();
    if schema["format"] == "date-time" && value.as_str().is_some_and(|text| !is_time(text)) {
        return Some("is no time".to_owned());
    }
    if schema["format"] == "ip" && value.as_str().is_some_and(|text| text.parse::<std::net::IpAddr>().is_err()) {
        return Some("is no address".to_owned());
    }
    None
}

fn conform_object(parts: &[&'static Value], members: &Map<String, Value>, place: &str, faults: &mut Vec<String>) {
    let others = parts.iter().map(|part| &part["additionalProperties"]).find(|others| others.is_object());
    // `true` is said of what others define: policies' labels, what a configuration file sets.
    let is_open = parts.iter().any(|part| part["additionalProperties"] == true);
    for name in parts.iter().filter_map(|part| part["required"].as_array()).flatten().filter_map(Value::as_str) {
        if !members.contains_key(name) {
            faults.push(format!("{place}/{name} is missing"));
        }
    }
    for (name, member) in members {
        let declared = parts.iter().map(|part| &part["properties"][name]).find(|schema| !schema.is_null()).or(others);
        match declared {
            Some(schema) => conform(schema, member, &format!("{place}/{name}"), faults),
            None if is_open => {}
            None => faults.push(format!("{place}/{name} is not documented: {member}")),
        }
    }
}

#[test]
fn a_member_that_is_missing_of_another_type_or_not_named_is_a_fault() {
    let schema: &'static Value = Box::leak(Box::new(serde_json::json!({
        "type": "object",
        "required": ["a"],
        "properties": {"a": {"type": "integer"}, "b": {"type": ["string", "null"]}},
        "allOf": [{"type": "object", "required": ["c"], "properties": {"c": {"type": "array", "items": {"enum": ["x"]}}}}],
        "anyOf": [
            {"properties": {"kind": {"const": "one"}, "one": {"type": "integer", "maximum": 9}}, "required": ["kind"]},
            {"properties": {"kind": {"const": "other"}, "at": {"type": "string", "format": "date-time"}}},
        ],
    })));
    let faults = |value: Value| {
        let mut faults = Vec::new();
        conform(schema, &value, "", &mut faults);
        faults.len()
    };

    for right in [
        serde_json::json!({"a": 1, "b": null, "c": ["x"]}),
        serde_json::json!({"a": 1, "c": [], "kind": "one", "one": 9}),
        serde_json::json!({"a": 1, "c": [], "kind": "other", "at": "2026-11-21T06:13:40Z"}),
    ] {
        assert_eq!(faults(right.clone()), 0, "{right}");
    }
    for wrong in [
        serde_json::json!({"a": 1, "c": [], "kind": "one", "one": 10}),
        serde_json::json!({"a": 1, "c": [], "kind": "other", "one": 9}),
        serde_json::json!({"a": 1, "c": [], "kind": "other", "at": "yesterday"}),
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
