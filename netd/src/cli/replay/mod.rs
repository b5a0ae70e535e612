//! `netd replay`: what would have been found in captures.

mod formatted;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;
use netd_engine::config::Config;
use netd_engine::engine::{Explanation, Question};
use netd_engine::finding::{Finding, Severity};
use netd_engine::{Command, Engine};
use netd_geoip::{Databases, Paths};
use serde::Serialize;

use self::formatted::Formatted;
use super::Error;
use super::shown::Shown;
use crate::config::files::{self, IntelList};
use crate::sinks::format::jsonl::{FindingLine, FlowLine};
use crate::sinks::{Flow, Format, Record};
use crate::source::accounting::{Accounting, Settings};
use crate::source::capture::Capture;
use crate::source::job::chain;
use crate::source::replay::Replay;
use crate::source::summary::Summary;
use crate::store::view::{ExplanationView, FollowedView};

/// Exit status when `--fail-on` is met.
const FOUND: u8 = 3;
/// Exit status when a capture could not be read to its end.
const DAMAGED: u8 = 1;

/// Replays captures through the detectors, without root and on the captures' own time.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Captures: pcap or pcapng, plain or gzip; `-` is standard input. Several are merged by time.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// What to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    /// Writes each log of zeek or zeek-json to a file of its own in this directory, as RITA imports them.
    #[arg(long, value_name = "DIRECTORY")]
    pub logs: Option<PathBuf>,
    /// Exit with status 3 when a finding reaches this severity: info, low, medium, high or critical.
    #[arg(long, value_name = "SEVERITY", value_parser = severity)]
    pub fail_on: Option<Severity>,
    /// A monitored network; may be given more than once. Without it: private, unique-local and link-local addresses.
    #[arg(long, value_name = "NETWORK")]
    pub local: Vec<IpNet>,
    /// Tells instead why there is, or is not, a finding about this address or name.
    #[arg(long, value_name = "TARGET")]
    pub explain: Option<String>,
    /// An MMDB file of countries.
    #[arg(long, value_name = "FILE")]
    pub geoip_country: Option<PathBuf>,
    /// An MMDB file of autonomous systems.
    #[arg(long, value_name = "FILE")]
    pub geoip_asn: Option<PathBuf>,
    /// A list of threat intelligence; may be given more than once.
    #[arg(long, value_name = "FILE")]
    pub intel: Vec<PathBuf>,
    /// Benign services, instead of those netd ships.
    #[arg(long, value_name = "FILE")]
    pub services: Option<PathBuf>,
    /// Weights and thresholds, instead of those netd ships.
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Findings with their reasons, for people.
    #[default]
    Report,
    /// Findings when they are raised, then a summary: one JSON object a line.
    Jsonl,
    /// Flow records with Community ID: one JSON object a line.
    Flows,
    /// Flows, look-ups, handshakes and alerts as Suricata's EVE JSON.
    Eve,
    /// Zeek's conn.log, then its dns.log, ssl.log and notice.log, tab-separated.
    Zeek,
    /// The same logs as JSON; `_path` tells them apart.
    ZeekJson,
    /// Findings as they were last raised, then every history that is followed with what it amounts to: one JSON object
    /// a line.
    Evidence,
    #[value(skip)]
    Nothing,
}

impl Output {
    /// Returns the format of sinks that it is, if it is one.
    const fn format(self) -> Option<Format> {
        match self {
            Self::Eve => Some(Format::Eve),
            Self::Zeek => Some(Format::Zeek),
            Self::ZeekJson => Some(Format::ZeekJson),
            Self::Report | Self::Jsonl | Self::Flows | Self::Evidence | Self::Nothing => None,
        }
    }
}

fn severity(text: &str) -> Result<Severity, String> {
    match text {
        "info" => Ok(Severity::Info),
        "low" => Ok(Severity::Low),
        "medium" => Ok(Severity::Medium),
        "high" => Ok(Severity::High),
        "critical" => Ok(Severity::Critical),
        other => Err(format!("'{other}' is none of info, low, medium, high, critical")),
    }
}

/// Runs the command and returns its exit status.
///
/// # Errors
///
/// If a file that the options name cannot be used, or the output cannot be written.
pub fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8, Error> {
    let has_several_logs = args.output.format().is_some_and(Format::has_several_logs);
    if args.logs.is_some() && !has_several_logs {
        return Err(Error::Usage("--logs is for the output zeek or zeek-json, which have several logs".to_owned()));
    }
    let databases = databases(args)?;
    let out: &mut dyn Write = &mut io::BufWriter::new(out);
    let mut engine = engine(args, databases.clone())?;
    let mut replay = Replay::new(Accounting::new(&Settings::default()));
    let mut heard = Heard::new(args.output, args.logs.clone(), databases);
    heard.formatted.site.local.clone_from(&args.local);
    if let Some(target) = &args.explain {
        heard.output = Output::Nothing;
        replay.ask(match target.parse::<IpAddr>() {
            Ok(address) => Question::Address(address),
            Err(_) => Question::Name(target.clone()),
        });
    }

    let errors = replay.run(&args.files, &mut engine, |command| heard.take(command, out));

    heard.written?;
    let summary = Summary::of(&replay, &engine);
    match (replay.explanation(), heard.output) {
        (Some(explanation), _) => tell(args, explanation, out)?,
        (None, Output::Report) => report(&names(args), &heard.incidents, &summary, out)?,
        (None, Output::Jsonl) => line(out, &SummaryLine { event: "summary", summary: &summary })?,
        (None, Output::Evidence) => evidence(&heard.incidents, &engine, out)?,
        (None, Output::Eve | Output::Zeek | Output::ZeekJson) => heard.formatted.finish(replay.tally().last, out)?,
        (None, Output::Flows | Output::Nothing) => {}
    }
    out.flush()?;
    for error in &errors {
        writeln!(err, "netd: {}", chain(error))?;
    }
    let worst = heard.incidents.values().map(|finding| finding.severity).max();
    Ok(match args.fail_on {
        _ if !errors.is_empty() => DAMAGED,
        Some(least) if worst.is_some_and(|worst| worst >= least) => FOUND,
        Some(_) | None => 0,
    })
}

fn tell(args: &Args, explanation: &Explanation, out: &mut dyn Write) -> Result<(), Error> {
    let view = ExplanationView::from(explanation);
    match args.output {
        Output::Jsonl => line(out, &view)?,
        Output::Report
        | Output::Flows
        | Output::Eve
        | Output::Zeek
        | Output::ZeekJson
        | Output::Evidence
        | Output::Nothing => {
            let value = serde_json::to_value(&view).map_err(io::Error::from)?;
            super::explain::write(args.explain.as_deref().unwrap_or_default(), value, out)?;
        }
    }
    Ok(())
}

fn evidence(incidents: &BTreeMap<u64, Finding>, engine: &Engine, out: &mut dyn Write) -> io::Result<()> {
    for finding in incidents.values() {
        line(out, &FindingLine::of(finding))?;
    }
    engine
        .explain_all()
        .try_for_each(|followed| line(out, &HistoryLine { event: "history", history: FollowedView::from(&followed) }))
}

fn engine(args: &Args, databases: Option<Arc<Databases>>) -> anyhow::Result<Engine> {
    let mut config = Config::default();
    config.networks.local.clone_from(&args.local);
    config.flows.report = args.output == Output::Flows || args.output.format().is_some();
    // A file is read once: nothing of it is left out.
    config.dns.lookups_per_s = if args.output.format().is_some() { u32::MAX } else { 0 };
    if let Some(file) = &args.services {
        config.services = files::services(file)?;
    }
    if let Some(file) = &args.weights {
        config.weights = files::weights(file)?;
    }
    config.geography = databases.map(|databases| databases as _);
    let name = |file: &Path| file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    let lists: Vec<_> = args.intel.iter().map(|file| IntelList { name: name(file), file: file.clone() }).collect();
    let mut engine = Engine::new(config);
    engine.set_intel(Arc::new(files::intel(&lists)?));
    Ok(engine)
}

/// Replays a capture that is part of this program and reports on it.
///
/// # Errors
///
/// If the capture cannot be read, or the report not be written.
pub fn show(capture: &'static [u8], name: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    let capture = Capture::read(Path::new(name), capture)?;
    let mut engine = Engine::new(Config::default());
    let mut replay = Replay::new(Accounting::new(&Settings::default()));
    let mut heard = Heard::new(Output::Report, None, None);
    let errors = replay.run_open(vec![capture], &mut engine, |command| heard.take(command, out));
    if let Some(error) = errors.into_iter().next() {
        return Err(error.into());
    }
    report(name, &heard.incidents, &Summary::of(&replay, &engine), out)?;
    Ok(())
}

/// Reads the databases that were named. Whoever names one wants it: one that cannot be used ends the command.
fn databases(args: &Args) -> Result<Option<Arc<Databases>>, netd_geoip::Error> {
    let databases = Databases::new(Paths { country: args.geoip_country.clone(), asn: args.geoip_asn.clone() });
    for loaded in databases.reload() {
        loaded.result?;
    }
    Ok((!databases.is_empty()).then(|| Arc::new(databases)))
}

fn names(args: &Args) -> String {
    let files: Vec<String> = args.files.iter().map(|file| file.display().to_string()).collect();
    files.join(", ")
}

/// What the engine said so far.
struct Heard {
    output: Output,
    databases: Option<Arc<Databases>>,
    /// Findings as they were last raised, by number.
    incidents: BTreeMap<u64, Finding>,
    formatted: Formatted,
    written: io::Result<()>,
}

impl Heard {
    fn new(output: Output, logs: Option<PathBuf>, databases: Option<Arc<Databases>>) -> Self {
        let formatted = Formatted::new(output.format(), logs);
        Self { output, databases, incidents: BTreeMap::new(), formatted, written: Ok(()) }
    }

    fn take(&mut self, command: Command, out: &mut dyn Write) {
        if self.written.is_err() {
            return;
        }
        match command {
            Command::Report(finding) => {
                self.written = match self.output {
                    Output::Jsonl => line(out, &FindingLine::of(&finding)),
                    Output::Eve | Output::Zeek | Output::ZeekJson => {
                        self.formatted.write(&Record::Finding(&finding), finding.time, out)
                    }
                    Output::Report | Output::Flows | Output::Evidence | Output::Nothing => Ok(()),
                };
                self.incidents.insert(finding.id, *finding);
            }
            Command::FlowEnded(conversation) => {
                let region = self.databases.as_deref().and_then(|databases| databases.lookup(conversation.responder));
                let flow = Flow { region: region.as_ref(), ..Flow::from(&*conversation) };
                self.written = match self.output {
                    Output::Flows => line(out, &FlowLine::of(&flow)),
                    Output::Eve | Output::Zeek | Output::ZeekJson => {
                        self.formatted.write(&Record::Flow(flow), conversation.end, out)
                    }
                    Output::Report | Output::Jsonl | Output::Evidence | Output::Nothing => Ok(()),
                };
            }
            Command::Lookup(lookup) => {
                let at = lookup.begun();
                let record = Record::Lookup { lookup: &lookup, interface: None };
                self.written = self.formatted.write(&record, at, out);
            }
            // Only a host tells more of a finding.
            Command::Update(_)
            | Command::Withheld(_)
            | Command::Respond(_)
            | Command::Enforce { .. }
            | Command::Release { .. }
            | Command::Resolved(_) => {}
        }
    }
}

fn line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
struct HistoryLine<'a> {
    event: &'static str,
    #[serde(flatten)]
    history: FollowedView<'a>,
}

/// The last line.
#[derive(Serialize)]
struct SummaryLine<'a> {
    event: &'static str,
    #[serde(flatten)]
    summary: &'a Summary,
}

fn report(name: &str, incidents: &BTreeMap<u64, Finding>, summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
    let Summary { packets, duration_s, flows, turns, .. } = summary;
    writeln!(out, "{name}: {packets} packets in {duration_s:.1} s, {flows} flows, {turns} turns")?;
    for (reason, count) in &summary.unparsed {
        writeln!(out, "  {count} packets not parsed: {}", reason.replace('_', " "))?;
    }
    if incidents.is_empty() {
        // Of a file that could not be read, the error says all there is to say.
        return if *packets == 0 { Ok(()) } else { writeln!(out, "Nothing found.") };
    }
    let mut sorted: Vec<&Finding> = incidents.values().collect();
    sorted.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.id.cmp(&b.id)));
    sorted.into_iter().try_for_each(|finding| {
        writeln!(out)?;
        Shown::from(finding).write(out)
    })
}
