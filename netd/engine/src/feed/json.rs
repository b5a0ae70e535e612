//! JSON feeds: which one it is, each object tells by its keys.

use std::fmt;

use jiff::Timestamp as Moment;
use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};

use super::Outcome;
use super::value::{self, Refused, Value};
use crate::time::Timestamp;

/// Types of MISP attributes that name a network indicator; the part before a `|` is what is accused.
const MISP: [&str; 9] = [
    "ip-dst",
    "ip-src",
    "ip-dst|port",
    "ip-src|port",
    "domain",
    "domain|ip",
    "hostname",
    "hostname|port",
    "ja3-fingerprint-md5",
];
/// Types of ThreatFox's and alike that name one.
const THREATFOX: [&str; 4] = ["ip:port", "domain", "ip", "ja3"];
/// STIX paths whose value is an indicator.
const STIX: [&str; 3] = ["ipv4-addr:value", "ipv6-addr:value", "domain-name:value"];

/// Reads bytes that are one object.
pub(super) fn object(bytes: &[u8]) -> Option<Json> {
    serde_json::from_slice(bytes).ok().filter(Json::is_object)
}

/// Returns whether an object holds a whole feed rather than an entry of one.
pub(super) fn is_container(object: &Json) -> bool {
    ["objects", "Event", "response", "Attribute", "data"].iter().any(|key| object.get(key).is_some())
}

/// Reads a line of a list of objects.
pub(super) fn line(text: &str, now: Timestamp, take: &mut impl FnMut(Value)) -> Outcome {
    if text.is_empty() {
        return Outcome::Taken;
    }
    match serde_json::from_str::<Json>(text) {
        Ok(object) => read(&object, now, take),
        Err(error) => Outcome::Refused(Refused::NotJson(error.to_string())),
    }
}

/// Hands every object of a document to `each`: of an array, of containers, or one after the other. Returns why the rest
/// could not be read.
pub(super) fn document(bytes: &[u8], each: &mut impl FnMut(&Json)) -> Option<Refused> {
    let bytes = bytes.strip_prefix(super::BOM).unwrap_or(bytes);
    let failure = |error: serde_json::Error| Refused::NotJson(error.to_string());
    if bytes.trim_ascii_start().starts_with(b"[") {
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let read = deserializer.deserialize_seq(Elements { each }).and_then(|()| deserializer.end());
        return read.err().map(failure);
    }
    for object in serde_json::Deserializer::from_slice(bytes).into_iter::<Json>() {
        match object {
            Ok(object) => open(&object, each),
            Err(error) => return Some(failure(error)),
        }
    }
    None
}

/// An array, of which one element is kept at a time.
struct Elements<'a, F> {
    each: &'a mut F,
}

impl<'de, F: FnMut(&Json)> Visitor<'de> for Elements<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<Json>()? {
            open(&element, self.each);
        }
        Ok(())
    }
}

/// Hands over an object, or what it contains: a STIX bundle's objects, a MISP event's attributes, CrowdSec's decisions.
fn open(object: &Json, each: &mut impl FnMut(&Json)) {
    let inner = ["objects", "response", "Attribute", "Object", "decisions", "data"];
    let mut is_container = false;
    if let Some(event) = object.get("Event") {
        open(event, each);
        is_container = true;
    }
    for list in inner.iter().filter_map(|key| object.get(key)?.as_array()) {
        list.iter().for_each(|object| open(object, each));
        is_container = true;
    }
    if !is_container {
        each(object);
    }
}

/// Reads one object.
pub(super) fn read(object: &Json, now: Timestamp, take: &mut impl FnMut(Value)) -> Outcome {
    let Json::Object(object) = object else {
        return match object.as_str() {
            Some(text) => of(value::read(text, take)),
            None => Outcome::Refused(Refused::UnknownObject),
        };
    };
    let text = |key: &str| object.get(key).and_then(Json::as_str);
    if let Some(pattern) = text("pattern") {
        return stix(object, pattern, now, take);
    }
    if text("type") == Some("metadata") || text("spec_version").is_some() {
        return Outcome::Skipped;
    }
    if let Some(kind) = text("ioc_type") {
        let indicator = text("ioc_value").or_else(|| text("ioc"));
        return of_kind(kind, &THREATFOX, indicator, take);
    }
    if let Some(to_ids) = object.get("to_ids") {
        if to_ids.as_bool() != Some(true) {
            return Outcome::Skipped;
        }
        let indicator = text("value").map(|value| value.split('|').next().unwrap_or(value));
        return of_kind(text("type").unwrap_or_default(), &MISP, indicator, take);
    }
    // Spamhaus, Feodo Tracker, CrowdSec, and whoever calls it alike.
    match ["cidr", "ip_address", "value", "indicator", "ip", "domain"].iter().find_map(|key| text(key)) {
        Some(indicator) => of(value::read(indicator, take)),
        None => Outcome::Refused(Refused::UnknownObject),
    }
}

fn of(read: Result<(), Refused>) -> Outcome {
    read.map_or_else(Outcome::Refused, |()| Outcome::Taken)
}

fn of_kind(kind: &str, known: &[&str], indicator: Option<&str>, take: &mut impl FnMut(Value)) -> Outcome {
    match indicator {
        Some(indicator) if known.contains(&kind) => of(value::read(indicator, take)),
        Some(_) => Outcome::Skipped,
        None => Outcome::Refused(Refused::UnknownObject),
    }
}

fn stix(object: &Map<String, Json>, pattern: &str, now: Timestamp, take: &mut impl FnMut(Value)) -> Outcome {
    let is_revoked = object.get("revoked").and_then(Json::as_bool) == Some(true);
    let is_other = object.get("pattern_type").and_then(Json::as_str).is_some_and(|kind| kind != "stix");
    let until = object.get("valid_until").and_then(Json::as_str).and_then(|until| until.parse::<Moment>().ok());
    let is_over = until.is_some_and(|until| until.as_nanosecond() <= i128::from(now.0));
    if is_revoked || is_other || is_over {
        return Outcome::Skipped;
    }
    let mut values = Vec::new();
    match comparisons(pattern, &mut |value| values.push(value)) {
        Ok(()) if values.is_empty() => Outcome::Skipped,
        Ok(()) => {
            values.into_iter().for_each(take);
            Outcome::Taken
        }
        Err(refused) => Outcome::Refused(refused),
    }
}

/// Reads `[path = 'value' OR path = 'value']`, also as several brackets joined by OR. A comparison of something else than
/// an address or a name gives nothing.
fn comparisons(pattern: &str, take: &mut impl FnMut(Value)) -> Result<(), Refused> {
    for part in pattern.split(" OR ") {
        let part = part.trim().trim_start_matches(['[', '(']).trim_end_matches([']', ')']).trim();
        let mut words = part.splitn(3, ' ');
        let (Some(path), Some(operator), Some(quoted)) = (words.next(), words.next(), words.next()) else {
            return Err(Refused::Pattern);
        };
        let value = quoted.trim().strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
        let Some(value) = value.filter(|value| !value.contains('\'')) else { return Err(Refused::Pattern) };
        match operator {
            "=" | "ISSUBSET" if STIX.contains(&path) => value::read(value, take)?,
            "=" => {}
            _ => return Err(Refused::Pattern),
        }
    }
    Ok(())
}
