//! A finding as people read it: the same text from a replayed capture, the demo and the API.

use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddr},
};

use netd_engine::{finding::Finding, flow::protocol_name};
use serde::Deserialize;

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
    pub process: Option<Process>,
    pub block: bool,
    /// Of findings about a rhythm, as are the next two.
    pub interval_s: Option<f64>,
    pub jitter: Option<f64>,
    pub turns: Option<u32>,
    pub reasons: Vec<Reason>,
    pub considered: Vec<String>,
    pub attack: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Process {
    pub pid: u32,
    pub comm: String,
    pub exe: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Reason {
    pub evidence: String,
    pub value: String,
    /// Nats.
    pub weight: f64,
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
            process: finding.process.as_ref().map(|process| Process {
                pid: process.pid,
                comm: process.comm.clone(),
                exe: process.exe.clone(),
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
            attack: finding.attack.iter().map(|id| (*id).to_owned()).collect(),
        }
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
        if let Some(process) = &self.process {
            let exe = process.exe.as_deref().unwrap_or("executable not known");
            writeln!(out, "  process  {}[{}] {exe}", process.comm, process.pid)?;
        }
        writeln!(out, "  {}", self.title)?;
        if let (Some(interval_s), Some(jitter), Some(turns)) = (self.interval_s, self.jitter, self.turns) {
            writeln!(out, "  every {interval_s:.1} s, jitter {:.0} %, {turns} turns", jitter * 100.0)?;
        }
        let fit = if self.block { "fit for an automatic block" } else { "not fit for an automatic block" };
        writeln!(out, "  score {:.4}; {fit}", self.score)?;
        writeln!(out, "  first seen {}, raised {}", self.first_seen, self.time)?;
        for reason in &self.reasons {
            writeln!(out, "  {:+6.2}  {:<24} {}", reason.weight, reason.evidence, reason.value)?;
        }
        if !self.considered.is_empty() {
            writeln!(out, "  benign classes considered and rejected:")?;
            for class in &self.considered {
                writeln!(out, "    {class}")?;
            }
        }
        if !self.attack.is_empty() {
            writeln!(out, "  ATT&CK   {}", self.attack.join(", "))?;
        }
        Ok(())
    }
}
