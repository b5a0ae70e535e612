//! Lines that speak for themselves: plain, hosts, AdBlock, dnsmasq, RPZ, CSV without a header.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::value::{self, Refused, Value};
use super::{Outcome, table};

/// Where hosts files send what they block.
const NOWHERE: [&str; 4] = ["0.0.0.0", "127.0.0.1", "::", "::1"];
/// dnsmasq's options that answer for a name.
const DNSMASQ: [&str; 3] = ["address=/", "server=/", "local=/"];
/// Options of an AdBlock rule that leave it a rule about the whole domain.
const WHOLE: [&str; 3] = ["all", "important", "document"];

/// Reads a line without blanks around it.
pub(super) fn read(line: &str, take: &mut impl FnMut(Value)) -> Outcome {
    if line.is_empty() || line.starts_with(['#', ';', '!', '$']) {
        return Outcome::Taken;
    }
    let is_adblock = line.starts_with("||") || line.starts_with("@@") || line.contains("##") || line.contains("#@#");
    if is_adblock || line.starts_with('[') && !line.contains("]:") {
        return adblock(line, take);
    }
    let text = line.split(['#', ';']).next().unwrap_or_default().trim();
    if let Some(names) = DNSMASQ.iter().find_map(|option| text.strip_prefix(option)) {
        return dnsmasq(names, take);
    }
    if !text.is_empty() && !text.bytes().any(|byte| byte.is_ascii_whitespace() || byte == b',') {
        return of(value::read(text, take));
    }
    let words: Vec<_> = text.split_ascii_whitespace().take(6).collect();
    if let Some(outcome) = zone(&words, take) {
        return outcome;
    }
    match *words {
        [address, ref names @ ..] if NOWHERE.contains(&address) && !names.is_empty() => hosts(text, take),
        [] => Outcome::Taken,
        // A range with blanks around the dash, or fields behind an indicator.
        _ if text.contains(" - ") => of(value::read(text, take)),
        _ if text.contains(',') => table::without_header(text, take),
        [first, ..] if text.contains('\t') => of(value::read(first, take)),
        _ => Outcome::Refused(Refused::NotAnIndicator),
    }
}

pub(super) fn of(read: Result<(), Refused>) -> Outcome {
    read.map_or_else(Outcome::Refused, |()| Outcome::Taken)
}

fn hosts(text: &str, take: &mut impl FnMut(Value)) -> Outcome {
    let mut outcome = Outcome::Skipped;
    for name in text.split_ascii_whitespace().skip(1) {
        // The machine's own names stand in every such file.
        if !name.contains('.') || name == "localhost.localdomain" || NOWHERE.contains(&name) {
            continue;
        }
        match value::name(name) {
            Ok(value) => {
                take(value);
                outcome = Outcome::Taken;
            }
            Err(refused) => return Outcome::Refused(refused),
        }
    }
    outcome
}

/// A rule about a whole domain is an indicator; exceptions and rules about parts of pages are not.
fn adblock(line: &str, take: &mut impl FnMut(Value)) -> Outcome {
    let Some(rule) = line.strip_prefix("||") else { return Outcome::Skipped };
    let (rule, options) = rule.split_once('$').unwrap_or((rule, ""));
    let Some(name) = rule.strip_suffix('^').or_else(|| rule.strip_suffix("^|")) else { return Outcome::Skipped };
    if options.split(',').any(|option| !option.is_empty() && !WHOLE.contains(&option)) || name.contains('/') {
        return Outcome::Skipped;
    }
    of(value::one(name).map(value::whole).map(take))
}

/// `/name/name/answer`, where the answer may be empty.
fn dnsmasq(text: &str, take: &mut impl FnMut(Value)) -> Outcome {
    let Some((names, _)) = text.rsplit_once('/') else { return Outcome::Refused(Refused::NotAnIndicator) };
    for name in names.split('/') {
        match value::name(name) {
            Ok(value) => take(value::whole(value)),
            Err(refused) => return Outcome::Refused(refused),
        }
    }
    Outcome::Taken
}

/// A record of a response policy zone: `name [ttl] [IN] CNAME target`. Other records are the zone's own.
fn zone(words: &[&str], take: &mut impl FnMut(Value)) -> Option<Outcome> {
    let at = words.iter().position(|word| ["CNAME", "SOA", "NS"].contains(word))?;
    let between = words.get(1..at)?;
    if at == 0 || between.iter().any(|word| *word != "IN" && word.parse::<u32>().is_err()) {
        return None;
    }
    if words.get(at) != Some(&"CNAME") {
        return Some(Outcome::Skipped);
    }
    let target = words.get(at + 1)?.trim_end_matches('.');
    if ["rpz-passthru", "rpz-tcp-only"].contains(&target) {
        return Some(Outcome::Skipped);
    }
    let name = words.first()?.trim_end_matches('.');
    if let Some(trigger) = name.strip_suffix(".rpz-ip") {
        return Some(of(rpz_prefix(trigger).and_then(|text| value::read(&text, take))));
    }
    if name.contains(".rpz-") {
        return Some(Outcome::Skipped);
    }
    Some(of(value::name(name).map(take)))
}

/// `LENGTH.LAST.….FIRST`: octets of IPv4; words of IPv6, where `zz` is the double colon.
fn rpz_prefix(trigger: &str) -> Result<String, Refused> {
    let mut parts = trigger.split('.');
    let length = parts.next().unwrap_or_default();
    let mut parts: Vec<_> = parts.collect();
    parts.reverse();
    let v4 = parts.join(".").parse::<Ipv4Addr>();
    if let Ok(address) = v4 {
        return Ok(format!("{address}/{length}"));
    }
    let words: Vec<_> = parts.iter().map(|part| if *part == "zz" { "" } else { part }).collect();
    let mut text = words.join(":");
    // A double colon at either end needs its second colon.
    if words.first() == Some(&"") {
        text.insert(0, ':');
    }
    if words.last() == Some(&"") {
        text.push(':');
    }
    let address: Ipv6Addr = text.parse().map_err(|_| Refused::NotAnIndicator)?;
    Ok(format!("{address}/{length}"))
}
