//! The day's tables and measures.

use std::collections::BTreeSet;
use std::net::IpAddr;

use netd_engine::finding::{Finding, Severity};
use netd_engine::flow::protocol_name;

use super::super::document::{Measure, Section, Table};
use super::inbox::{Incident, severity};
use super::ordinary::SERVICES;
use super::rivals::{self, Found};
use super::{Day, Implant};

const WORST_RANK: usize = 12;
const FALSE_HIGH_PER_100_HOST_DAYS: f64 = 1.0;
const ORDER: [Severity; 5] = [Severity::Critical, Severity::High, Severity::Medium, Severity::Low, Severity::Info];

/// Returns the section about a day.
pub(crate) fn section(day: &mut Day, seed: u64) -> Section {
    let mut section = Section::new("A simulated network day");
    let hosts = day.population.hosts();
    let [rita, cv] = rivals::find(&mut day.log, &day.implants);
    let sorted = day.inbox.sorted();
    let owner = |incident: &Incident| owner(&day.implants, &incident.finding);
    let false_ones: Vec<&Incident> = sorted.iter().copied().filter(|incident| owner(incident).is_none()).collect();

    section.text(format!(
        "Seed {seed}: {hosts} hosts ({} workstations, {} servers, {} devices), 24 h, {} conversations, {} records, {} turns. \
         Records go straight into the engine, in its default configuration with a policy that blocks; no packet is made, so \
         that parser and flow table are not part of this measurement. No host evidence: the network alone.",
        day.population.workstations,
        day.population.servers,
        day.population.devices,
        day.conversations,
        day.records,
        day.counts.turns,
    ));
    section.text(format!(
        "The engine held {} histories at the end and let {} go for lack of room; {} incidents were reported.",
        day.counts.histories,
        day.counts.histories_evicted,
        sorted.len()
    ));

    let mut ranks = Vec::new();
    let mut table = Table::new(
        "Implants: what found each, when, and where it stands in the inbox (by severity, score, time)",
        &["implant", "detector", "severity", "score", "block", "found after", "rank", "RITA >= 0.70", "CV < 0.3"],
    );
    for (number, implant) in day.implants.iter().enumerate() {
        let place = sorted.iter().position(|incident| owner(incident) == Some(number));
        ranks.push(place.map(|place| place + 1));
        let rows: Vec<&&Incident> = sorted.iter().filter(|incident| owner(incident) == Some(number)).collect();
        let first_s = rows.iter().map(|incident| incident.first_s).fold(f64::INFINITY, f64::min);
        let detectors: BTreeSet<&str> = rows.iter().map(|incident| incident.finding.detector).collect();
        let best = place.map(|place| &sorted[place].finding);
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        table.row([
            implant.name.to_owned(),
            if detectors.is_empty() {
                "**none**".to_owned()
            } else {
                detectors.into_iter().collect::<Vec<_>>().join(", ")
            },
            or_none(best.map(|finding| severity(finding.severity).to_owned())),
            or_none(best.map(|finding| format!("{:.4}", finding.score))),
            or_none(best.map(|finding| if finding.block { "yes" } else { "no" }.to_owned())),
            or_none(place.map(|_| span(first_s - implant.from_s))),
            or_none(place.map(|place| (place + 1).to_string())),
            or_none(rita.implants[number].map(span)),
            or_none(cv.implants[number].map(span)),
        ]);
    }
    section.table(table);
    section.table(false_by_severity(&false_ones, hosts));
    section.table(rivals(&rita, &cv, hosts, (&ranks, &false_ones)));
    section.table(grouped(&false_ones));
    let true_ones: Vec<&Incident> = sorted.iter().copied().filter(|incident| owner(incident).is_some()).collect();
    section.details.push(one_by_one("Every finding about an implant, the worst first", &true_ones));
    section.details.push(one_by_one("Every false finding, the worst first", &false_ones));

    let found = ranks.iter().flatten().count();
    let worst = ranks.iter().map(|rank| rank.unwrap_or(usize::MAX)).max().unwrap_or(0);
    let high = false_ones.iter().filter(|incident| incident.finding.severity >= Severity::High).count();
    let high_rate = 100.0 * high as f64 / hosts as f64;
    let fit = false_ones.iter().filter(|incident| incident.finding.block).count();
    let asked = day.verdicts.iter().filter(|id| false_ones.iter().any(|incident| incident.finding.id == **id)).count();
    let all = day.implants.len();
    section.measures = vec![
        Measure::new("day: implants found", format!("{all} of {all}"), format!("{found} of {all}"), found == all),
        Measure::new(
            "day: worst rank of an implant in the inbox",
            format!("<= {WORST_RANK}"),
            if worst == usize::MAX { "one is not in it".to_owned() } else { worst.to_string() },
            worst <= WORST_RANK,
        ),
        Measure::new(
            "day: false findings of high severity per 100 host-days",
            format!("<= {FALSE_HIGH_PER_100_HOST_DAYS}"),
            format!("{high_rate:.2}"),
            high_rate <= FALSE_HIGH_PER_100_HOST_DAYS,
        ),
        Measure::new(
            "day: false findings fit for a block, and verdicts asked for",
            "0, 0",
            format!("{fit}, {asked}"),
            fit + asked == 0,
        ),
    ];
    section
}

fn owner(implants: &[Implant], finding: &Finding) -> Option<usize> {
    let pair = &finding.pair;
    implants.iter().position(|implant| implant.is(pair.originator, pair.responder, finding.name.as_deref()))
}

fn false_by_severity(false_ones: &[&Incident], hosts: usize) -> Table {
    let mut table =
        Table::new("False findings by severity", &["severity", "findings", "per 100 host-days", "fit for a block"]);
    for level in ORDER {
        let at_level = || false_ones.iter().filter(|incident| incident.finding.severity == level);
        let count = at_level().count();
        let rate = format!("{:.1}", 100.0 * count as f64 / hosts as f64);
        let blocks = at_level().filter(|incident| incident.finding.block).count();
        table.row([severity(level).to_owned(), count.to_string(), rate, blocks.to_string()]);
    }
    table
}

fn rivals(rita: &Found, cv: &Found, hosts: usize, (ranks, false_ones): (&[Option<usize>], &[&Incident])) -> Table {
    let mut table = Table::new(
        "Side by side. netd counts incidents (of any severity); the others alert on pairs of addresses, of which there were as many \
         as their column says",
        &[
            "",
            "implants found",
            "false alerts",
            "hosts falsely accused",
            "false alerts per 100 host-days",
            "pairs looked at",
        ],
    );
    let per_100 = |count: usize| format!("{:.1}", 100.0 * count as f64 / hosts as f64);
    let accused: BTreeSet<_> = false_ones.iter().map(|incident| incident.finding.pair.originator).collect();
    table.row([
        "netd".to_owned(),
        ranks.iter().flatten().count().to_string(),
        false_ones.len().to_string(),
        accused.len().to_string(),
        per_100(false_ones.len()),
        "-".to_owned(),
    ]);
    for (name, found) in [("RITA v5 >= 0.70, rolling day, each hour", rita), ("CV < 0.3", cv)] {
        table.row([
            name.to_owned(),
            found.implants.iter().flatten().count().to_string(),
            found.false_pairs.to_string(),
            found.false_hosts.to_string(),
            per_100(found.false_pairs),
            found.pairs.to_string(),
        ]);
    }
    table
}

/// Returns one row for everything that is false in the same way: the same detector about the same kind of thing.
fn grouped(false_ones: &[&Incident]) -> Table {
    let title = match false_ones.len() {
        0 => "False findings: none".to_owned(),
        count => format!(
            "The {count} false findings by what they are about, with the worst of each; one by one in accuracy.json"
        ),
    };
    let columns =
        ["about", "detector", "critical / high / medium / low", "hosts", "the worst: score, who", "its reasons (nats)"];
    let mut table = Table::new(title, &columns);
    let mut groups: Vec<((String, &str), Vec<&Incident>)> = Vec::new();
    // The worst come first, and so do their groups.
    for incident in false_ones {
        let about = (about(&incident.finding), incident.finding.detector);
        match groups.iter_mut().find(|(known, _)| *known == about) {
            Some((_, incidents)) => incidents.push(incident),
            None => groups.push((about, vec![incident])),
        }
    }
    for ((about, detector), incidents) in groups {
        let count = |level| incidents.iter().filter(|incident| incident.finding.severity == level).count();
        let hosts: BTreeSet<_> = incidents.iter().map(|incident| incident.finding.pair.originator).collect();
        let worst = &incidents[0].finding;
        table.row([
            about,
            detector.to_owned(),
            format!("{} / {} / {} / {}", count(ORDER[0]), count(ORDER[1]), count(ORDER[2]), count(ORDER[3])),
            hosts.len().to_string(),
            format!("{:.4}, {}", worst.score, who(worst)),
            reasons(worst),
        ]);
    }
    table
}

/// What the simulation calls the service, or its port.
fn about(finding: &Finding) -> String {
    let service = finding.name.as_deref().and_then(|name| name.split_once('.')).map(|(service, _)| service);
    match service {
        Some(service) if SERVICES.contains(&service) => service.to_owned(),
        Some(_) => "web pages and their parts".to_owned(),
        None if is_inside(finding.pair.responder) => format!("inside, {}", port(finding)),
        None => format!("outside without a name, {}", port(finding)),
    }
}

fn is_inside(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.is_private())
}

fn port(finding: &Finding) -> String {
    format!("{}/{}", finding.pair.responder_port, protocol_name(finding.pair.proto))
}

fn who(finding: &Finding) -> String {
    let name = finding.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    format!("{} to {}:{}{name}", finding.pair.originator, finding.pair.responder, port(finding))
}

fn one_by_one(title: &str, incidents: &[&Incident]) -> Table {
    let columns = ["severity", "score", "detector", "first told", "who", "block", "reasons (nats)"];
    let mut table = Table::new(title, &columns);
    for incident in incidents {
        let finding = &incident.finding;
        table.row([
            severity(finding.severity).to_owned(),
            format!("{:.4}", finding.score),
            finding.detector.to_owned(),
            format!("{:.0} s", incident.first_s),
            who(finding),
            finding.block.to_string(),
            reasons(finding),
        ]);
    }
    table
}

fn reasons(finding: &Finding) -> String {
    let told =
        finding.reasons.iter().map(|reason| format!("{:+.1} {}: {}", reason.weight, reason.evidence, reason.value));
    told.collect::<Vec<_>>().join("; ")
}

/// Seconds, minutes or hours.
fn span(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        seconds if seconds < 7_200.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{:.1} h", seconds / 3_600.0),
    }
}
