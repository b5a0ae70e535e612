//! Entries in journald's native protocol, with fields that `journalctl` filters by.

use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use super::format::{Record, text};
use super::syslog;
use super::writer::Flushed;

/// How long journald may take.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct JournaldOutput {
    path: PathBuf,
    socket: Option<UnixDatagram>,
    pending: VecDeque<Vec<u8>>,
}

impl JournaldOutput {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, socket: None, pending: VecDeque::new() }
    }

    pub(super) fn add(&mut self, record: &Record<'_>) {
        self.pending.push_back(entry(record));
    }

    pub(super) fn flush(&mut self) -> Flushed {
        let mut flushed = Flushed::default();
        while let Some(entry) = self.pending.front() {
            let sent = match &self.socket {
                Some(socket) => socket.send(entry),
                None => connect(&self.path).and_then(|socket| self.socket.insert(socket).send(entry)),
            };
            match sent {
                Ok(_) => flushed.sent += 1,
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => flushed.refused += 1,
                Err(error) => {
                    self.socket = None;
                    let text = format!("{}: {error}", self.path.display());
                    flushed.error = Some(io::Error::new(error.kind(), text));
                    return flushed;
                }
            }
            self.pending.pop_front();
        }
        flushed
    }

    pub(super) fn discard(&mut self) -> u64 {
        let discarded = self.pending.len() as u64;
        self.pending.clear();
        discarded
    }
}

fn connect(path: &std::path::Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Returns the fields of a record, as journald reads them.
fn entry(record: &Record<'_>) -> Vec<u8> {
    let mut entry = Vec::new();
    let mut add = |name: &str, value: &str| field(&mut entry, name, value);
    add("MESSAGE", &text::line(record));
    add("PRIORITY", &syslog::severity(record).to_string());
    add("SYSLOG_IDENTIFIER", "netd");
    match record {
        Record::Finding(finding) => {
            add("NETD_EVENT", "finding");
            add("NETD_FINDING_ID", &finding.id.to_string());
            add("NETD_DETECTOR", finding.detector);
            add("NETD_SEVERITY", finding.severity.name());
            add("NETD_SCORE", &format!("{:.6}", finding.score));
            add("NETD_ORIGINATOR", &finding.pair.originator.to_string());
            add("NETD_RESPONDER", &finding.pair.responder.to_string());
            add("NETD_RESPONDER_PORT", &finding.pair.responder_port.to_string());
            for technique in &finding.attack {
                add("NETD_ATTACK", technique);
            }
            if let Some(name) = &finding.name {
                add("NETD_NAME", name);
            }
            if let Some(process) = &finding.process {
                add("NETD_PROCESS", &process.comm);
                add("NETD_PID", &process.id.pid.to_string());
            }
        }
        Record::Flow(_) => add("NETD_EVENT", "flow"),
        Record::Lookup { .. } => add("NETD_EVENT", "dns"),
        Record::Verdict { event, .. } => {
            add("NETD_EVENT", "verdict");
            add("NETD_VERDICT_ID", &event.entry.id.to_string());
        }
        Record::Stats { .. } => add("NETD_EVENT", "stats"),
    }
    entry
}

/// A value with a line's end in it is given with its length, so that it cannot begin another field.
fn field(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use netd_engine::finding::Severity;

    use super::*;
    use crate::store::findings_for_tests::finding;

    #[test]
    fn a_hostile_name_begins_no_field() {
        let mut finding = finding(7, Severity::Critical, 0.99);
        finding.name = Some("a\nPRIORITY=7".into());

        let entry = entry(&Record::Finding(&finding));

        let length = ("NETD_NAME\n".as_bytes(), 12_u64.to_le_bytes());
        let given = [length.0, &length.1, b"a\nPRIORITY=7\n"].concat();
        assert!(entry.windows(given.len()).any(|window| window == given));
        assert!(entry.windows(12).any(|window| window == b"\nPRIORITY=2\n"));
    }
}
