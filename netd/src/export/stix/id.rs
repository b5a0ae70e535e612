//! Identifiers of STIX objects: the same object has the same one in every export, so that importing twice adds nothing.

use netd_engine::finding::Finding;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde_json::Value;
use uuid::{Builder, Uuid, uuid};

use crate::time::rfc3339;

/// The namespace that STIX 2.1 (section 2.9) fixes for observables.
const OBSERVABLES: Uuid = uuid!("00abedb4-aa42-466c-9c01-fed23315a9b7");
/// netd's own, for everything else.
const OWN: Uuid = uuid!("2f4a1c1e-6a1b-5d0e-9b1a-6e6574640001");

/// Returns the identifier of an observable, from the properties that STIX says identify it. `Value` keeps members in
/// order and writes no blanks: what RFC 8785 asks for where there are texts and whole numbers only.
pub(super) fn observable(kind: &str, contributing: &Value) -> String {
    format!("{kind}--{}", hashed(OBSERVABLES, contributing.to_string().as_bytes()))
}

/// Returns the identifier of an object of netd's, from what tells it from others.
pub(super) fn object(kind: &str, parts: &[&str]) -> String {
    format!("{kind}--{}", own(kind, parts))
}

/// Returns the identifier of an observable for which STIX knows no identifying properties, and asks for version 4.
pub(super) fn unidentified(kind: &str, parts: &[&str]) -> String {
    let hash = sha1(OWN, joined(kind, parts).as_bytes());
    format!("{kind}--{}", Builder::from_random_bytes(hash).into_uuid())
}

/// Returns a UUID of version 5 in netd's namespace.
pub(in crate::export) fn own(kind: &str, parts: &[&str]) -> String {
    hashed(OWN, joined(kind, parts).as_bytes()).to_string()
}

/// Returns what tells a finding from those of other daemons, which count from 1 as well.
pub(in crate::export) fn of_finding(finding: &Finding) -> String {
    let pair = &finding.pair;
    format!(
        "{} {} {} {} {} {} {}",
        finding.id,
        finding.detector,
        rfc3339(finding.first_seen),
        pair.originator,
        pair.responder,
        pair.responder_port,
        pair.proto
    )
}

fn joined(kind: &str, parts: &[&str]) -> String {
    format!("{kind}\0{}", parts.join("\0"))
}

fn hashed(namespace: Uuid, name: &[u8]) -> Uuid {
    Builder::from_sha1_bytes(sha1(namespace, name)).into_uuid()
}

fn sha1(namespace: Uuid, name: &[u8]) -> [u8; 16] {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[namespace.as_bytes(), name].concat());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    bytes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn identifiers_are_those_that_others_give() {
        let table = [
            ("ipv4-addr", "198.51.100.3", "ipv4-addr--28bb3599-77cd-5a82-a950-b5bc3caf07c4"),
            ("domain-name", "example.com", "domain-name--bedb4899-d24b-5401-bc86-8f6b4cc18ec7"),
        ];
        for (kind, value, expected) in table {
            assert_eq!(observable(kind, &json!({"value": value})), expected);
        }
    }
}
