//! From rows of a file to flows as they are shown.

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::Path;

use netd_engine::finding::Pair;
use netd_engine::flow::{EndReason, NameSource, Sent, protocol_name};
use netd_engine::time::Timestamp;
use rusqlite::{Connection, Row};

use super::super::base64;
use super::super::error::Error;
use super::super::flow::{Flow, REASONS, RegionView, SOURCES, Scores, signed, verdict};
use super::super::insert::reversed;
use crate::query::Place;

const SELECT: &str = "
SELECT f.start, f.end, f.src, f.dst, f.sport, f.dport, f.proto,
    f.packets_out, f.bytes_out, f.payload_out, f.flags_out, f.packets_in, f.bytes_in, f.payload_in, f.flags_in,
    f.turns, (SELECT text FROM texts WHERE id = f.state), f.end_reason, f.community,
    f.name, f.name_source,
    (SELECT text FROM texts WHERE id = f.service), (SELECT text FROM texts WHERE id = f.alpn),
    (SELECT text FROM texts WHERE id = f.ja4), (SELECT text FROM texts WHERE id = f.encrypted_dns),
    (SELECT text FROM texts WHERE id = f.country), f.asn, (SELECT text FROM texts WHERE id = f.as_name),
    (SELECT document FROM processes WHERE id = f.process),
    (SELECT document FROM processes WHERE id = f.responder_process),
    f.vlan, f.ifindex, f.rule
FROM flows AS f WHERE f.id = ?";

/// Returns the flows of places, as far as they are there.
pub(super) fn flows(
    connection: &Connection,
    path: &Path,
    places: &[Place],
    scores: &Scores,
) -> Result<Vec<(Place, Flow)>, Error> {
    let mut statement = connection.prepare(SELECT).map_err(Error::sqlite("read", path))?;
    let mut flows = Vec::with_capacity(places.len());
    for place in places {
        match statement.query_row([signed(place.id)], |row| flow(place.id, row, scores)) {
            Ok(flow) => flows.push((*place, flow)),
            Err(rusqlite::Error::QueryReturnedNoRows) => {}
            Err(error) => return Err(Error::sqlite("read", path)(error)),
        }
    }
    Ok(flows)
}

fn flow(id: u64, row: &Row<'_>, scores: &Scores) -> rusqlite::Result<Flow> {
    let mut columns = Columns { row, at: 0 };
    let (start, end) = (Timestamp(columns.number()?), Timestamp(columns.number()?));
    let (originator, responder) = (columns.address()?, columns.address()?);
    let (originator_port, responder_port): (u16, u16) = (columns.next()?, columns.next()?);
    let proto: u8 = columns.next()?;
    let finding = scores.get(&Pair { originator, responder, responder_port, proto }).copied();
    let (originated, responded) = (columns.sent()?, columns.sent()?);
    let turns = columns.next()?;
    let state: Option<String> = columns.next()?;
    let end_reason = columns.one_of(&REASONS, EndReason::Forced)?;
    let community_id = columns.community()?;
    let name = columns.next::<Option<String>>()?.map(|name| reversed(&name));
    let name_source = columns.one_of(&SOURCES, NameSource::None)?;
    let (service, alpn, ja4, encrypted_dns) = (columns.next()?, columns.next()?, columns.next()?, columns.next()?);
    let region = RegionView { country: columns.next()?, asn: columns.next()?, as_name: columns.next()? };
    let (process, responder_process) = (columns.document()?, columns.document()?);
    let (vlan, ifindex, rule): (u16, u32, u32) = (columns.next()?, columns.next()?, columns.next()?);
    Ok(Flow {
        id,
        start,
        end,
        duration_s: end.secs_since(start),
        originator,
        originator_port,
        responder,
        responder_port,
        responder_region: (region.country.is_some() || region.asn.is_some()).then_some(region),
        protocol: protocol_name(proto),
        originated,
        responded,
        turns,
        state: Cow::Owned(state.unwrap_or_default()),
        end_reason,
        community_id,
        name,
        name_source,
        service,
        alpn,
        ja4,
        encrypted_dns,
        process,
        responder_process,
        vlan: (vlan != 0).then_some(vlan),
        ifindex,
        rule: (rule != 0).then_some(rule),
        verdict: verdict(rule, finding.is_some()),
        finding: finding.map(|(id, _)| id),
        score: finding.map(|(_, score)| score),
    })
}

/// A row's columns, one after the other.
struct Columns<'r, 's> {
    row: &'r Row<'s>,
    at: usize,
}

impl Columns<'_, '_> {
    fn next<T: rusqlite::types::FromSql>(&mut self) -> rusqlite::Result<T> {
        self.at += 1;
        self.row.get(self.at - 1)
    }

    fn number(&mut self) -> rusqlite::Result<u64> {
        Ok(self.next::<i64>()?.cast_unsigned())
    }

    fn address(&mut self) -> rusqlite::Result<IpAddr> {
        address(&self.next::<Vec<u8>>()?)
    }

    fn sent(&mut self) -> rusqlite::Result<Sent> {
        Ok(Sent { packets: self.number()?, bytes: self.number()?, payload: self.number()?, flags: self.next()? })
    }

    fn one_of<T: Copy>(&mut self, table: &[T], other: T) -> rusqlite::Result<T> {
        let number: u8 = self.next()?;
        Ok(table.get(usize::from(number)).copied().unwrap_or(other))
    }

    fn community(&mut self) -> rusqlite::Result<Option<String>> {
        use rusqlite::types::Value;
        Ok(match self.next()? {
            Value::Blob(digest) => Some(format!("1:{}", base64::encode(&digest))),
            Value::Text(text) => Some(text),
            Value::Null | Value::Integer(_) | Value::Real(_) => None,
        })
    }

    fn document(&mut self) -> rusqlite::Result<Option<serde_json::Value>> {
        let document: Option<String> = self.next()?;
        Ok(document.and_then(|document| serde_json::from_str(&document).ok()))
    }
}

/// Reads an address of 4 or 16 bytes.
pub(in super::super) fn address(bytes: &[u8]) -> rusqlite::Result<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(error)))
}
