//! The captures' tables and measures.

use super::super::document::{Measure, Section, Table};
use super::{Finding, Row};

/// Of iodine's first query, in seconds.
const SOON_S: f64 = 15.0;

pub(super) fn fill(section: &mut Section, rows: &[Row]) {
    let packets: u64 = rows.iter().map(|row| row.found.packets).sum();
    section.text(format!(
        "{} captures, {packets} packets, through `netd replay` in its default configuration. `after` counts from the capture's first packet. \
         RITA and the CV rule get netd's own flow records of the same captures; RITA scores each pair over the capture's own time. A false \
         finding is one in a benign capture, or one in a malicious capture that neither answers its label nor is about its two ends.",
        rows.len()
    ));
    section.table(labelled(rows));
    section.table(benign(rows));
    section.table(side_by_side(rows));
    section.table(false_findings(rows));
    measures(section, rows);
}

fn labelled(rows: &[Row]) -> Table {
    let mut table = Table::new(
        "Malicious captures",
        &["capture", "kind", "found", "detector", "severity", "score", "after", "block", "RITA", "CV"],
    );
    for row in rows.iter().filter(|row| !row.is_benign) {
        let answer = row.answer();
        let about = || row.found.incidents.iter().find(|finding| row.label.is_about(finding));
        let found = match (row.label.is_expected(), answer) {
            (_, Some(_)) => "yes".to_owned(),
            (true, None) => about().map_or("**NO**".to_owned(), |other| format!("**NO**, but {}", other.detector)),
            (false, None) => "no label".to_owned(),
        };
        let cell = |show: fn(&Finding) -> String| answer.map_or_else(|| "-".to_owned(), show);
        let rival = |found: bool| if found { "yes" } else { "no" }.to_owned();
        table.row([
            row.short().to_owned(),
            row.kind.clone(),
            found,
            cell(|finding| finding.detector.clone()),
            cell(|finding| finding.severity.clone()),
            cell(|finding| format!("{:.4}", finding.score)),
            cell(|finding| format!("{:.1} s", finding.after_s)),
            cell(|finding| if finding.block { "yes" } else { "no" }.to_owned()),
            rival(row.rita.is_label_found),
            rival(row.cv.is_label_found),
        ]);
    }
    table
}

fn benign(rows: &[Row]) -> Table {
    let mut table = Table::new(
        "Benign captures: findings, the worst of them, and pairs that the others alert on",
        &["capture", "contains", "findings", "worst", "fit for a block", "RITA >= 0.70", "CV < 0.3"],
    );
    for row in rows.iter().filter(|row| row.is_benign) {
        let incidents = &row.found.incidents;
        let order = ["info", "low", "medium", "high", "critical"];
        let worst = incidents.iter().filter_map(|one| order.iter().position(|level| *level == one.severity)).max();
        table.row([
            row.short().to_owned(),
            row.contains.clone(),
            incidents.len().to_string(),
            worst.map_or("-", |worst| order[worst]).to_owned(),
            incidents.iter().filter(|finding| finding.block).count().to_string(),
            row.rita.others.to_string(),
            row.cv.others.to_string(),
        ]);
    }
    table
}

fn false_ones(rows: &[Row]) -> impl Iterator<Item = (&Row, &Finding)> {
    let all = rows.iter().flat_map(|row| row.found.incidents.iter().map(move |finding| (row, finding)));
    all.filter(|(row, finding)| {
        let label = &row.label;
        row.is_benign || label.is_expected() && !label.is_about(finding) && !label.is_met_by(finding)
    })
}

fn side_by_side(rows: &[Row]) -> Table {
    let mut table = Table::new(
        "Side by side: precision is true over all alerts, an alert being a finding (netd) or a pair of addresses (the others)",
        &["", "labelled captures found", "recall", "false alerts", "in benign captures", "precision"],
    );
    let labelled: Vec<&Row> = rows.iter().filter(|row| row.label.is_expected()).collect();
    let mut add = |name: &str, found: usize, wrong: usize, in_benign: usize| {
        table.row([
            name.to_owned(),
            format!("{found} of {}", labelled.len()),
            format!("{:.2}", found as f64 / labelled.len().max(1) as f64),
            wrong.to_string(),
            in_benign.to_string(),
            format!("{:.2}", found as f64 / (found + wrong).max(1) as f64),
        ]);
    };
    let found = labelled.iter().filter(|row| row.answer().is_some()).count();
    let in_benign = false_ones(rows).filter(|(row, _)| row.is_benign).count();
    add("netd, any severity", found, false_ones(rows).count(), in_benign);
    let above = |finding: &Finding| finding.is_above_low();
    let strong = labelled
        .iter()
        .filter(|row| row.found.incidents.iter().any(|finding| row.label.is_met_by(finding) && above(finding)))
        .count();
    let wrong: Vec<_> = false_ones(rows).filter(|(_, finding)| above(finding)).collect();
    let in_benign = wrong.iter().filter(|(row, _)| row.is_benign).count();
    add("netd, above low", strong, wrong.len(), in_benign);
    for (name, rival) in [("RITA v5 >= 0.70", (|row| row.rita) as fn(&Row) -> super::Rival), ("CV < 0.3", |row| row.cv)]
    {
        let found = labelled.iter().filter(|row| rival(row).is_label_found).count();
        let wrong = rows.iter().map(|row| rival(row).others).sum();
        let in_benign = rows.iter().filter(|row| row.is_benign).map(|row| rival(row).others).sum();
        add(name, found, wrong, in_benign);
    }
    table
}

fn false_findings(rows: &[Row]) -> Table {
    let mut table = Table::new(
        "Every false finding",
        &["capture", "detector", "severity", "score", "who", "name", "reasons (nats)"],
    );
    for (row, finding) in false_ones(rows) {
        table.row([
            row.short().to_owned(),
            finding.detector.clone(),
            finding.severity.clone(),
            format!("{:.4}", finding.score),
            format!("{} to {}:{}", finding.originator, finding.responder, finding.responder_port),
            finding.name.clone(),
            finding.reasons.clone(),
        ]);
    }
    if table.rows.is_empty() {
        "Every false finding: there is none".clone_into(&mut table.title);
    }
    table
}

fn measures(section: &mut Section, rows: &[Row]) {
    let of = |kinds: &[&str]| -> (usize, usize) {
        let rows: Vec<&Row> = rows.iter().filter(|row| !row.is_benign && kinds.contains(&row.kind.as_str())).collect();
        (rows.iter().filter(|row| row.answer().is_some()).count(), rows.len())
    };
    let mut add = |name: &str, kinds: &[&str]| {
        let (found, all) = of(kinds);
        let measure = if all == 0 {
            Measure::left_out(name, "all", "no such capture here")
        } else {
            Measure::new(name, format!("{all} of {all}"), format!("{found} of {all}"), found == all)
        };
        section.measures.push(measure);
    };
    add("captures: beacons of Cobalt Strike, Empire, Covenant", &["beacon", "beacon-in-one-connection"]);
    add("captures: port scan", &["scan"]);
    add("captures: brute force", &["bruteforce"]);
    add("captures: ICMP tunnel", &["icmp-tunnel"]);
    add("captures: other labelled ones", &["c2", "tunnel"]);
    let tunnels: Vec<&Row> = rows.iter().filter(|row| row.kind == "dns-tunnel").collect();
    let slowest =
        tunnels.iter().map(|row| row.answer().map_or(f64::INFINITY, |answer| answer.after_s)).fold(0.0, f64::max);
    let seen = if slowest.is_finite() { format!("{slowest:.1} s") } else { "not found".to_owned() };
    let goal = format!("<= {SOON_S} s after the first packet");
    section.measures.push(match tunnels.is_empty() {
        true => Measure::left_out("captures: DNS tunnel", goal, "no such capture here"),
        false => Measure::new("captures: DNS tunnel", goal, seen, slowest <= SOON_S),
    });
    let benign = || rows.iter().filter(|row| row.is_benign).flat_map(|row| &row.found.incidents);
    let above = benign().filter(|finding| finding.is_above_low()).count();
    section.measures.push(Measure::new(
        "captures: findings above low in benign ones",
        "0",
        above.to_string(),
        above == 0,
    ));
    let blocks = benign().filter(|finding| finding.block).count();
    section.measures.push(Measure::new("captures: benign ones fit for a block", "0", blocks.to_string(), blocks == 0));
}
