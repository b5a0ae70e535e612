//! `netd policy simulate`: what policies would have cut of what the running netd has seen.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use netd_engine::detect::Detector;
use netd_engine::finding::{Finding, Pair, Severity};
use netd_engine::policy::{Case, Direction, Effect, Policies};
use netd_engine::process::{Container, Pod, Process};
use netd_engine::region::{Country, Region};
use netd_engine::time::Timestamp;
use netd_engine::verdict::Target;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::super::output::{self, Format, text};
use super::{Asking, Error};
use crate::config::policies;
use crate::time;

/// Holds policies against the findings and flows that the running netd has kept.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// A policy file, or a directory of them.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Since when: RFC 3339, or a duration ago.
    #[arg(long, default_value = "24h", value_name = "TIME")]
    since: String,
    /// Findings and flows looked at, at most.
    #[arg(short = 'n', long, default_value_t = 100_000)]
    limit: usize,
    #[command(flatten)]
    asking: Asking,
}

/// What would have been done to one target.
#[derive(Debug, Default)]
struct Cut {
    policies: BTreeSet<String>,
    detectors: BTreeSet<&'static str>,
    originators: BTreeSet<IpAddr>,
    findings: u64,
    shadow: bool,
    /// When the first finding would have cut it.
    since: Option<Timestamp>,
    flows: u64,
    bytes: u64,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Error> {
    let policies = policies::read(&args.path).map_err(anyhow::Error::new)?;
    let client = args.asking.client()?;
    let since = [("since", Some(args.since.clone())), ("suppressed", Some("show".to_owned()))];
    let findings = super::super::items(&client, "/api/v1/findings", &since, args.limit)?;
    let flows = super::super::items(&client, "/api/v1/flows", &since[..1], args.limit)?;

    let (mut cuts, mut counts) = (BTreeMap::<Target, Cut>::new(), [0_u64; 5]);
    let mut unread = 0;
    for value in &findings {
        let Some((finding, direction)) = read(value) else {
            unread += 1;
            continue;
        };
        let effect = hold(&policies, &finding, direction, &mut cuts);
        counts[effect as usize] += 1;
    }
    for flow in &flows {
        count(flow, &mut cuts);
    }
    let totals = json!({
        "since": args.since,
        "findings": findings.len(),
        "flows": flows.len(),
        "unread": unread,
        "suppress": counts[Effect::Suppress as usize],
        "alert": counts[Effect::Alert as usize],
        "shadow": counts[Effect::Shadow as usize],
        "respond": counts[Effect::Respond as usize],
        "block": counts[Effect::Block as usize],
        "targets": cuts.len(),
    });
    show(args, &totals, &cuts, out)
}

fn hold(policies: &Policies, finding: &Finding, direction: Direction, cuts: &mut BTreeMap<Target, Cut>) -> Effect {
    let ruling = policies.rule(&Case { finding, direction });
    if let Some(policy) = ruling.policy.filter(|_| ruling.wants_verdict) {
        let cut = cuts.entry(policy.target(finding)).or_insert_with(|| Cut { shadow: true, ..Cut::default() });
        cut.policies.insert(policy.name.to_string());
        cut.detectors.insert(finding.detector);
        cut.originators.insert(finding.pair.originator);
        cut.findings += 1;
        cut.shadow &= ruling.shadow;
        cut.since = Some(cut.since.map_or(finding.time, |since| since.min(finding.time)));
    }
    ruling.effect
}

/// Counts a flow that goes on after its target would have been cut.
fn count(flow: &Value, cuts: &mut BTreeMap<Target, Cut>) {
    let (Some(responder), Some(end)) = (address(&flow["responder"]), moment(&flow["end"])) else { return };
    let port = number(&flow["responder_port"]).unwrap_or(0);
    let endpoint = protocol(flow).map(|proto| Target::Endpoint { address: responder, port, proto });
    for target in [endpoint, Some(Target::Host { address: responder })].into_iter().flatten() {
        let Some(cut) = cuts.get_mut(&target).filter(|cut| cut.since.is_some_and(|since| end >= since)) else {
            continue;
        };
        cut.flows += 1;
        cut.bytes += ["originated", "responded"].iter().filter_map(|side| flow[side]["bytes"].as_u64()).sum::<u64>();
    }
}

fn show(args: &Args, totals: &Value, cuts: &BTreeMap<Target, Cut>, out: &mut dyn Write) -> Result<(), Error> {
    let target = |target: &Target| match target {
        Target::Endpoint { address, port, proto } => {
            format!("{} {}", std::net::SocketAddr::new(*address, *port), netd_engine::flow::protocol_name(*proto))
        }
        Target::Host { address } => address.to_string(),
        Target::FiveTuple { .. } | Target::Prefix { .. } => String::new(),
    };
    match args.asking.output {
        Format::Table => {
            let total = |name: &str| text(&totals[name]);
            writeln!(
                out,
                "{} findings and {} flows since {}: {} would lead to a block, {} to a shadow's, {} to a response, {} are \
                 told, {} suppressed",
                total("findings"),
                total("flows"),
                args.since,
                total("block"),
                total("shadow"),
                total("respond"),
                total("alert"),
                total("suppress"),
            )?;
            let row = |(of, cut): (&Target, &Cut)| {
                let names = |names: &BTreeSet<&'static str>| names.iter().copied().collect::<Vec<_>>().join(", ");
                let policies = cut.policies.iter().cloned().collect::<Vec<_>>().join(", ");
                let how = if cut.shadow { "counted" } else { "cut" };
                let seen = [cut.findings, cut.flows, cut.originators.len() as u64].map(|count| count.to_string());
                let [findings, flows, hosts] = seen;
                vec![target(of), how.to_owned(), policies, names(&cut.detectors), findings, flows, hosts]
            };
            let rows: Vec<_> = cuts.iter().map(row).collect();
            output::table(out, &["TARGET", "WOULD BE", "POLICY", "DETECTORS", "FINDINGS", "FLOWS", "HOSTS"], &rows)?;
        }
        format @ (Format::Json | Format::Jsonl) => {
            let cut = |(of, cut): (&Target, &Cut)| {
                json!({
                    "target": target(of), "shadow": cut.shadow, "policies": cut.policies, "detectors": cut.detectors,
                    "originators": cut.originators, "findings": cut.findings, "flows": cut.flows, "bytes": cut.bytes,
                })
            };
            let mut whole = totals.clone();
            whole["cut"] = cuts.iter().map(cut).collect();
            output::json_object(out, format, &whole)?;
        }
    }
    Ok(())
}

/// Reads as much of a finding as policies look at.
fn read(value: &Value) -> Option<(Finding, Direction)> {
    let name = value["detector"].as_str()?;
    let detector = Detector::ALL.iter().find(|detector| detector.name() == name)?.name();
    let direction = Direction::deserialize(&value["policy"]["direction"]).unwrap_or(Direction::Outbound);
    let finding = Finding {
        id: value["id"].as_u64()?,
        time: moment(&value["time"])?,
        first_seen: moment(&value["first_seen"])?,
        detector,
        title: String::new(),
        severity: Severity::deserialize(&value["severity"]).ok()?,
        score: value["score"].as_f64()?,
        pair: Pair {
            originator: address(&value["originator"])?,
            responder: address(&value["responder"])?,
            responder_port: number(&value["responder_port"])?,
            proto: protocol(value)?,
        },
        name: string(&value["name"]),
        process: process(&value["process"]),
        responder_region: region(&value["responder_region"]),
        block: value["block"].as_bool()?,
        rhythm: None,
        reasons: Vec::new(),
        considered: Vec::new(),
        attack: Vec::new(),
        techniques: Vec::new(),
        host: None,
        decision: None,
    };
    Some((finding, direction))
}

fn process(value: &Value) -> Option<Process> {
    let container = &value["container"];
    let pod = &container["pod"];
    let pod = pod.is_object().then(|| Pod {
        uid: string(&pod["uid"]).unwrap_or_default(),
        name: string(&pod["name"]),
        namespace: string(&pod["namespace"]),
    });
    let container = container.is_object().then(|| Container {
        id: string(&container["id"]).unwrap_or_default(),
        name: string(&container["name"]),
        image: string(&container["image"]),
        pod,
        ..Container::default()
    });
    value.is_object().then(|| Process {
        uid: number(&value["uid"]).unwrap_or_default(),
        user: value["user"].as_str().map(Arc::from),
        comm: string(&value["comm"]).unwrap_or_default(),
        exe: string(&value["exe"]),
        container: container.map(Arc::new),
        ..Process::default()
    })
}

fn region(value: &Value) -> Option<Region> {
    let country = value["country"].as_str().and_then(Country::new);
    value.is_object().then(|| Region { country, asn: number(&value["asn"]), as_name: None })
}

fn string(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn number<N: TryFrom<u64>>(value: &Value) -> Option<N> {
    value.as_u64()?.try_into().ok()
}

fn address(value: &Value) -> Option<IpAddr> {
    value.as_str()?.parse().ok()
}

fn moment(value: &Value) -> Option<Timestamp> {
    time::moment(value.as_str()?, time::now()).ok()
}

fn protocol(value: &Value) -> Option<u8> {
    let name = value["protocol"].as_str()?;
    (0..=u8::MAX).find(|number| netd_engine::flow::protocol_name(*number) == name)
}
