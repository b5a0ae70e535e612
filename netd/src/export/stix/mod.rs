//! Findings as a STIX 2.1 bundle: what was observed, what to look for, and which technique that is.

pub(super) mod id;

use std::collections::BTreeMap;
use std::net::IpAddr;

use netd_engine::attack::Entry;
use netd_engine::finding::Finding;
use netd_engine::flow::protocol_name;
use netd_engine::process::Process;
use netd_engine::time::Timestamp;
use serde_json::{Map, Value, json};

use super::sought::Sought;
use crate::store::Stored;

/// Of objects that are no finding's: they are the same in every bundle.
const EVER: &str = "2026-01-01T00:00:00.000Z";
const KILL_CHAIN: &str = "mitre-attack";

/// Objects by their identifiers: what several findings share is there once.
type Objects = BTreeMap<String, Value>;

/// Returns a bundle.
pub(super) fn bundle(findings: &[Stored]) -> String {
    let mut objects = Objects::new();
    let identity = identity(&mut objects);
    for stored in findings {
        add(&mut objects, stored, &identity);
    }
    let keys: Vec<&str> = objects.keys().map(String::as_str).collect();
    let id = id::object("bundle", &keys);
    json!({"type": "bundle", "id": id, "objects": objects.into_values().collect::<Vec<_>>()}).to_string()
}

fn add(objects: &mut Objects, stored: &Stored, identity: &str) {
    let finding = &stored.finding;
    let key = id::of_finding(finding);
    let own = |kind: &str| id::object(kind, &[&key]);
    // Common properties of what is known since the finding, and changed with it.
    let common = |kind: &str, more: Value| {
        let mut object = json!({
            "type": kind,
            "spec_version": "2.1",
            "id": own(kind),
            "created_by_ref": identity,
            "created": moment(finding.first_seen),
            "modified": moment(finding.time.max(finding.first_seen)),
            "confidence": (finding.score.clamp(0.0, 1.0) * 100.0).round() as u64,
        });
        extend(&mut object, more);
        object
    };
    let observed = observables(objects, finding);
    let count = finding.rhythm.map_or(1, |rhythm| rhythm.turns.max(1));
    let first_and_last = (moment(finding.first_seen), moment(finding.time.max(finding.first_seen)));
    let observed_data = put(
        objects,
        common(
            "observed-data",
            json!({
                "first_observed": first_and_last.0,
                "last_observed": first_and_last.1,
                "number_observed": count.min(999_999_999),
                "object_refs": observed,
            }),
        ),
    );
    let phases: Vec<Value> = finding
        .techniques
        .iter()
        .map(|entry| json!({"kill_chain_name": KILL_CHAIN, "phase_name": entry.tactic}))
        .fold(Vec::new(), |mut phases, phase| {
            if !phases.contains(&phase) {
                phases.push(phase);
            }
            phases
        });
    let mut indicator = json!({
        "name": format!("{}: {}", finding.detector, finding.title),
        "description": description(finding),
        "indicator_types": ["malicious-activity"],
        "pattern": pattern(&Sought::of(finding)),
        "pattern_type": "stix",
        "pattern_version": "2.1",
        "valid_from": first_and_last.0,
    });
    if !phases.is_empty() {
        indicator["kill_chain_phases"] = phases.into();
    }
    let indicator = put(objects, common("indicator", indicator));
    put(
        objects,
        common(
            "sighting",
            json!({
                "first_seen": first_and_last.0,
                "last_seen": first_and_last.1,
                "count": count.min(999_999_999),
                "sighting_of_ref": indicator,
                "observed_data_refs": [observed_data],
                "where_sighted_refs": [identity],
            }),
        ),
    );
    for entry in &finding.techniques {
        let technique = technique(objects, entry, identity);
        let relationship = json!({
            "type": "relationship",
            "spec_version": "2.1",
            "id": id::object("relationship", &[&indicator, &technique]),
            "created_by_ref": identity,
            "created": first_and_last.0,
            "modified": first_and_last.0,
            "relationship_type": "indicates",
            "source_ref": indicator,
            "target_ref": technique,
        });
        put(objects, relationship);
    }
}

fn identity(objects: &mut Objects) -> String {
    let identity = json!({
        "type": "identity",
        "spec_version": "2.1",
        "id": id::object("identity", &["netd"]),
        "created": EVER,
        "modified": EVER,
        "name": "netd",
        "description": "Network detection and response on a Linux host",
        "identity_class": "system",
    });
    put(objects, identity)
}

fn technique(objects: &mut Objects, entry: &Entry, identity: &str) -> String {
    let technique = json!({
        "type": "attack-pattern",
        "spec_version": "2.1",
        "id": id::object("attack-pattern", &[entry.id, entry.tactic]),
        "created_by_ref": identity,
        "created": EVER,
        "modified": EVER,
        "name": entry.name,
        "kill_chain_phases": [{"kill_chain_name": KILL_CHAIN, "phase_name": entry.tactic}],
        "external_references": [{
            "source_name": KILL_CHAIN,
            "external_id": entry.id,
            "url": format!("https://attack.mitre.org/techniques/{}/", entry.id.replace('.', "/")),
        }],
    });
    put(objects, technique)
}

/// Adds what was seen on the wire and on the host; returns references to it.
fn observables(objects: &mut Objects, finding: &Finding) -> Vec<String> {
    let pair = &finding.pair;
    let [source, destination] = [pair.originator, pair.responder].map(|address| put(objects, of_address(address)));
    let mut traffic = json!({
        "src_ref": source,
        "dst_ref": destination,
        "protocols": [if pair.responder.is_ipv4() { "ipv4" } else { "ipv6" }, protocol_name(pair.proto).to_lowercase()],
    });
    if pair.responder_port != 0 {
        traffic["dst_port"] = pair.responder_port.into();
    }
    let traffic = put(objects, observable("network-traffic", traffic));
    let mut references = vec![source, destination, traffic.clone()];
    if let Some(name) = finding.name.as_deref().filter(|name| !name.is_empty()) {
        references.push(put(objects, observable("domain-name", json!({"value": name}))));
    }
    if let Some(process) = &finding.process {
        let image = of_file(process).map(|file| put(objects, file));
        references.extend(image.clone());
        references.push(put(objects, of_process(process, finding, image, &traffic)));
    }
    references.dedup();
    references
}

fn of_address(address: IpAddr) -> Value {
    let kind = if address.is_ipv4() { "ipv4-addr" } else { "ipv6-addr" };
    observable(kind, json!({"value": address.to_string()}))
}

fn of_file(process: &Process) -> Option<Value> {
    let name = process.exe.as_deref()?.rsplit('/').next().filter(|name| !name.is_empty())?;
    let mut file = json!({"name": name});
    if let Some(digest) = &process.sha256 {
        file["hashes"] = json!({"SHA-256": digest});
    }
    Some(observable("file", file))
}

fn of_process(process: &Process, finding: &Finding, image: Option<String>, traffic: &str) -> Value {
    let start = process.id.start_ticks.to_string();
    let key = [id::of_finding(finding), process.id.pid.to_string(), start];
    let mut object = json!({
        "type": "process",
        "spec_version": "2.1",
        "id": id::unidentified("process", &key.each_ref().map(String::as_str)),
        "pid": process.id.pid,
        "command_line": match process.args.is_empty() {
            true => process.comm.clone(),
            false => process.args.join(" "),
        },
        "opened_connection_refs": [traffic],
    });
    if let Some(image) = image {
        object["image_ref"] = image.into();
    }
    if let Some(cwd) = &process.cwd {
        object["cwd"] = cwd.as_str().into();
    }
    object
}

/// Returns an observable that all of its properties identify.
fn observable(kind: &str, properties: Value) -> Value {
    let mut object = json!({"type": kind, "spec_version": "2.1", "id": id::observable(kind, &properties)});
    extend(&mut object, properties);
    object
}

/// Returns what to look for as a STIX pattern.
fn pattern(sought: &Sought<'_>) -> String {
    let end = if sought.is_originator { "src_ref" } else { "dst_ref" };
    let name = sought.name.map(|name| format!("[domain-name:value = {}]", literal(name)));
    let address = sought.address.map(|address| {
        let kind = if address.is_ipv4() { "ipv4-addr" } else { "ipv6-addr" };
        let port = sought.port.map_or_else(String::new, |port| format!(" AND network-traffic:dst_port = {port}"));
        format!(
            "[network-traffic:{end}.type = '{kind}' AND network-traffic:{end}.value = {}{port}]",
            literal(&address.to_string())
        )
    });
    [name, address].into_iter().flatten().collect::<Vec<_>>().join(" OR ")
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn description(finding: &Finding) -> String {
    let reasons = finding.reasons.iter().map(|reason| format!("{}: {}", reason.evidence, reason.value));
    let text = reasons.collect::<Vec<_>>().join("; ");
    if text.is_empty() { finding.title.clone() } else { text }
}

/// Returns a time as STIX writes it: to the millisecond, which it asks of `created` and `modified`.
fn moment(time: Timestamp) -> String {
    let millis = i64::try_from(time.0 / 1_000_000).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis)
        .map_or_else(|_| "9999-12-31T23:59:59.999Z".to_owned(), |time| format!("{time:.3}"))
}

fn extend(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend::<Map<String, Value>>(more);
    }
}

/// Adds an object unless it is there, and returns its identifier.
fn put(objects: &mut Objects, object: Value) -> String {
    let id = object["id"].as_str().unwrap_or_default().to_owned();
    objects.entry(id.clone()).or_insert(object);
    id
}
