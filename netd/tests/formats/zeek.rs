//! Zeek's logs as Zeek's own readers read them.

use std::collections::HashMap;
use std::net::IpAddr;

/// One log as Zeek writes it: rows by column.
pub(crate) struct ZeekLog {
    pub(crate) path: String,
    pub(crate) fields: Vec<String>,
    pub(crate) types: Vec<String>,
    pub(crate) rows: Vec<HashMap<String, String>>,
}

/// Reads logs that follow each other, and refuses what Zeek's own readers would.
pub(crate) fn read(text: &str) -> Vec<ZeekLog> {
    let mut logs = Vec::new();
    let mut lines = text.lines().peekable();
    while lines.peek().is_some() {
        assert_eq!(lines.next(), Some("#separator \\x09"));
        let mut directive = |name: &str| {
            let line = lines.next().unwrap_or_default();
            let rest = line.strip_prefix(&format!("#{name}\t"));
            rest.unwrap_or_else(|| panic!("#{name} is missing: {line}")).to_owned()
        };
        assert_eq!(directive("set_separator"), ",");
        assert_eq!(directive("empty_field"), "(empty)");
        assert_eq!(directive("unset_field"), "-");
        let path = directive("path");
        directive("open");
        let split = |text: String| text.split('\t').map(str::to_owned).collect::<Vec<_>>();
        let (fields, types) = (split(directive("fields")), split(directive("types")));
        assert_eq!(fields.len(), types.len());
        let mut rows = Vec::new();
        for line in lines.by_ref() {
            if line.starts_with("#close\t") {
                break;
            }
            let values: Vec<&str> = line.split('\t').collect();
            assert_eq!(values.len(), fields.len(), "{line}");
            values.iter().zip(&types).for_each(|(value, kind)| check(value, kind));
            rows.push(fields.iter().cloned().zip(values.into_iter().map(str::to_owned)).collect());
        }
        logs.push(ZeekLog { path, fields, types, rows });
    }
    logs
}

fn check(value: &str, kind: &str) {
    if let Some(element) = kind.strip_prefix("vector[").and_then(|rest| rest.strip_suffix(']')) {
        let elements = value.split(',').filter(|_| value != "-" && value != "(empty)");
        return elements.for_each(|value| check(value, element));
    }
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_well = value == "-"
        || match kind {
            "time" | "interval" => {
                value.split_once('.').is_some_and(|(whole, part)| is_number(whole) && part.len() == 6)
            }
            "addr" => value.parse::<IpAddr>().is_ok(),
            "port" => value.parse::<u16>().is_ok(),
            "count" => value.parse::<u64>().is_ok(),
            "bool" => matches!(value, "T" | "F"),
            "string" | "enum" | "set[string]" | "set[enum]" => !value.is_empty(),
            other => panic!("unknown type {other}"),
        };
    assert!(is_well, "'{value}' is no {kind}");
}
