//! A finding as people read it: the same text from a replayed capture, the demo and the API.

use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddr},
};

use netd_engine::{attack, finding::Finding, flow::protocol_name, process};
use serde::Deserialize;
use serde_json::Value;

use super::output::plain;
use crate::time;

/// What is shown of a finding. Read from the API's JSON, or made from the engine's own.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Shown {
    pub id: u64,
    /// RFC 3339.
    pub time: String,
    pub first_seen: String,
    pub detector: String,
    pub title: String,
    pub severity: String,
    pub score: f64,
    pub originator: IpAddr,
    pub responder: IpAddr,
    pub responder_port: u16,
    pub protocol: String,
    pub name: Option<String>,
    pub responder_region: Option<Region>,
    pub process: Option<Process>,
    /// What the process's standard streams led to.
    pub host: Option<Host>,
    pub block: bool,
    /// Of findings about a rhythm, as are the next two.
    pub interval_s: Option<f64>,
    pub jitter: Option<f64>,
    pub turns: Option<u32>,
    pub reasons: Vec<Reason>,
    pub considered: Vec<String>,
    pub techniques: Vec<Technique>,
    /// What was done at once about it.
    #[serde(default)]
    pub response: Option<Response>,
    /// What the daemon's policies made of it.
    #[serde(default)]
    pub policy: Option<Decided>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Decided {
    pub policy: Option<String>,
    pub mode: String,
    pub effective: String,
    #[serde(default)]
    pub held_back: String,
    pub decision: String,
    pub detail: String,
}

impl Decided {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { mode, effective, held_back, decision, detail, .. } = self;
        let policy = self.policy.as_deref().unwrap_or("none");
        writeln!(out, "  policy   {policy}: {decision}, because {detail}")?;
        match mode == effective {
            true => writeln!(out, "  mode     {mode}"),
            false => writeln!(out, "  mode     {mode} asked for, {effective} in effect: {held_back}"),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Response {
    pub actions: Vec<Done>,
    pub at: String,
    pub latency_s: f64,
    pub error: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Done {
    pub action: String,
    pub result: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Process {
    pub pid: u32,
    pub comm: String,
    pub exe: Option<String>,
    #[serde(default)]
    pub args: Vec<String>,
    pub user: Option<String>,
    pub package: Option<String>,
    pub container: Option<Container>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Container {
    pub id: String,
    pub name: Option<String>,
    pub image: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Host {
    pub lines: Vec<String>,
    pub tree: String,
    pub commands: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Region {
    pub country: Option<String>,
    pub asn: Option<u32>,
    pub as_name: Option<String>,
}

impl std::fmt::Display for Region {
    /// Writes `DE, AS64500 Example Hosting`, as far as it is known.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let system = self.asn.map(|asn| match &self.as_name {
            Some(name) => format!("AS{asn} {name}"),
            None => format!("AS{asn}"),
        });
        let known: Vec<String> = [self.country.clone(), system].into_iter().flatten().collect();
        f.write_str(&known.join(", "))
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Reason {
    pub evidence: String,
    pub value: String,
    /// Nats.
    pub weight: f64,
}

/// A technique of MITRE ATT&CK.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Technique {
    pub id: String,
    pub name: String,
    pub tactic: String,
}

impl From<&attack::Entry> for Technique {
    fn from(entry: &attack::Entry) -> Self {
        Self { id: entry.id.to_owned(), name: entry.name.to_owned(), tactic: entry.tactic.to_owned() }
    }
}

impl From<&Finding> for Shown {
    fn from(finding: &Finding) -> Self {
        let pair = &finding.pair;
        Self {
            id: finding.id,
            time: time::rfc3339(finding.time),
            first_seen: time::rfc3339(finding.first_seen),
            detector: finding.detector.to_owned(),
            title: finding.title.clone(),
            severity: format!("{:?}", finding.severity).to_lowercase(),
            score: finding.score,
            originator: pair.originator,
            responder: pair.responder,
            responder_port: pair.responder_port,
            protocol: protocol_name(pair.proto),
            name: finding.name.clone(),
            responder_region: finding.responder_region.as_ref().map(|region| Region {
                country: region.country.map(|country| country.to_string()),
                asn: region.asn,
                as_name: region.as_name.as_deref().map(str::to_owned),
            }),
            process: finding.process.as_ref().map(Process::from),
            host: finding.host.as_ref().map(|host| Host {
                lines: host.lines.clone(),
                tree: host.tree.clone(),
                commands: host.commands.clone(),
            }),
            block: finding.block,
            interval_s: finding.rhythm.map(|beats| beats.interval_s),
            jitter: finding.rhythm.map(|beats| beats.jitter),
            turns: finding.rhythm.map(|beats| beats.turns),
            reasons: finding
                .reasons
                .iter()
                .map(|reason| Reason {
                    evidence: reason.evidence.to_owned(),
                    value: reason.value.clone(),
                    weight: reason.weight,
                })
                .collect(),
            considered: finding.considered.clone(),
            techniques: finding.techniques.iter().map(Technique::from).collect(),
            response: None,
            policy: None,
        }
    }
}

impl From<&process::Process> for Process {
    fn from(process: &process::Process) -> Self {
        Self {
            pid: process.id.pid,
            comm: process.comm.clone(),
            exe: process.exe.clone(),
            args: process.args.clone(),
            user: process.user.as_deref().map(str::to_owned),
            package: process.package.as_deref().map(str::to_owned),
            container: process.container.as_ref().map(|container| Container {
                id: container.id.clone(),
                name: container.name.clone(),
                image: container.image.clone(),
            }),
        }
    }
}

impl Process {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let exe = self.exe.as_deref().unwrap_or("executable not known");
        let of = self.package.as_ref().map_or_else(String::new, |package| format!(" of {package}"));
        let user = self.user.as_ref().map_or_else(String::new, |user| format!(", as {user}"));
        writeln!(out, "  process  {}[{}] {exe}{of}{user}", self.comm, self.pid)?;
        if !self.args.is_empty() {
            writeln!(out, "  line     {}", plain(&self.args.join(" ")))?;
        }
        if let Some(Container { id, name, image }) = &self.container {
            let name = name.as_deref().unwrap_or("unnamed");
            let image = image.as_ref().map_or_else(String::new, |image| format!(" of {image}"));
            writeln!(out, "  inside   {name} ({}){image}", id.get(..12).unwrap_or(id))?;
        }
        Ok(())
    }
}

impl Host {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "  below    {}", plain(&self.tree))?;
        for line in &self.lines {
            writeln!(out, "  streams  {}", plain(line))?;
        }
        for command in &self.commands {
            writeln!(out, "  ran      {}", plain(command))?;
        }
        Ok(())
    }
}

impl Shown {
    /// Writes the finding with its evidence for and against.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let responder = SocketAddr::new(self.responder, self.responder_port);
        let name = self.name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
        writeln!(
            out,
            "{} {}: {} -> {responder} {}{name}",
            self.severity.to_uppercase(),
            self.detector,
            self.originator,
            self.protocol
        )?;
        if let Some(region) = &self.responder_region {
            writeln!(out, "  to       {}", plain(&region.to_string()))?;
        }
        if let Some(process) = &self.process {
            process.write(out)?;
        }
        if let Some(host) = &self.host {
            host.write(out)?;
        }
        writeln!(out, "  {}", self.title)?;
        if let (Some(interval_s), Some(jitter), Some(turns)) = (self.interval_s, self.jitter, self.turns) {
            writeln!(out, "  every {interval_s:.1} s, jitter {:.0} %, {turns} turns", jitter * 100.0)?;
        }
        let fit = if self.block { "fit for an automatic block" } else { "not fit for an automatic block" };
        writeln!(out, "  score {:.4}; {fit}", self.score)?;
        writeln!(out, "  first seen {}, raised {}", self.first_seen, self.time)?;
        if let Some(policy) = &self.policy {
            policy.write(out)?;
        }
        if let Some(response) = &self.response {
            let actions: Vec<_> =
                response.actions.iter().map(|Done { action, result }| format!("{action} {result}")).collect();
            let ms = response.latency_s * 1e3;
            writeln!(out, "  response {} at {}, {ms:.1} ms after what led to it", actions.join(", "), response.at)?;
            if let Some(error) = &response.error {
                writeln!(out, "           {error}")?;
            }
        }
        self.write_terms(out)
    }

    /// Writes what the evidence amounts to, for what may be no finding.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write_evidence(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "  {}; score {:.4}", self.title, self.score)?;
        if let Some(process) = &self.process {
            process.write(out)?;
        }
        if let Some(host) = &self.host {
            host.write(out)?;
        }
        self.write_terms(out)
    }

    fn write_terms(&self, out: &mut dyn Write) -> io::Result<()> {
        for reason in &self.reasons {
            writeln!(out, "  {:+6.2}  {:<24} {}", reason.weight, reason.evidence, reason.value)?;
        }
        if !self.considered.is_empty() {
            writeln!(out, "  benign classes considered and rejected:")?;
            for class in &self.considered {
                writeln!(out, "    {class}")?;
            }
        }
        for technique in &self.techniques {
            let Technique { id, name, tactic } = technique;
            writeln!(out, "  ATT&CK   {id} {name} ({tactic})")?;
        }
        Ok(())
    }
}

/// Makes every text harmless: names come from strangers and must not steer a terminal.
pub(super) fn make_plain(value: &mut Value) {
    match value {
        Value::String(text) => *text = plain(text),
        Value::Array(values) => values.iter_mut().for_each(make_plain),
        Value::Object(fields) => fields.values_mut().for_each(make_plain),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
