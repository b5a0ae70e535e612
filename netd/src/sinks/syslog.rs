//! RFC 5424 messages to the host's syslog socket, or to a relay on loopback: what goes further needs encryption, which
//! a relay has.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use netd_engine::finding::Severity;
use netd_engine::time::Timestamp;

use super::format::{Format, Record, Site, text};
use super::writer::Flushed;
use crate::time;

/// Facility 10, `authpriv`: security messages that not everybody reads.
const FACILITY: u8 = 10;
/// How long a relay may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Linux's own error for a datagram that is too long.
const TOO_LONG: i32 = libc::EMSGSIZE;

/// Where syslog listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A datagram socket.
    Unix(PathBuf),
    Udp(SocketAddr),
    /// With octet counting (RFC 6587).
    Tcp(SocketAddr),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let loopback = |rest: &str| match rest.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(address),
            Ok(address) => Err(format!("{address} is not a loopback address; run a relay there, which encrypts")),
            Err(_) => Err(format!("'{rest}' is not address:port")),
        };
        if let Some(path) = text.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        match text.split_once(':') {
            Some(("udp", rest)) => loopback(rest).map(Self::Udp),
            Some(("tcp", rest)) => loopback(rest).map(Self::Tcp),
            Some(_) | None => Err(format!("'{text}' is none of unix:/path, udp:address:port, tcp:address:port")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Udp(address) => write!(f, "udp:{address}"),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

pub(super) struct SyslogOutput {
    address: Address,
    format: Option<Format>,
    host: String,
    socket: Option<Socket>,
    pending: VecDeque<Vec<u8>>,
}

enum Socket {
    Unix(UnixDatagram),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl SyslogOutput {
    pub(super) const fn new(address: Address, format: Option<Format>, host: String) -> Self {
        Self { address, format, host, socket: None, pending: VecDeque::new() }
    }

    pub(super) fn add(&mut self, record: &Record<'_>, site: &Site, now: Timestamp) {
        let head = head(record, &self.host, now);
        let Some(format) = self.format else {
            self.pending.push_back(format!("{head} {}", text::line(record)).into_bytes());
            return;
        };
        format.write(record, site, &mut |_, lines| {
            for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                self.pending.push_back([head.as_bytes(), b" ", line].concat());
            }
        });
    }

    pub(super) fn flush(&mut self) -> Flushed {
        let mut flushed = Flushed::default();
        while let Some(message) = self.pending.front() {
            let sent = match &mut self.socket {
                Some(socket) => socket.send(message),
                None => match Socket::connect(&self.address) {
                    Ok(socket) => self.socket.insert(socket).send(message),
                    Err(error) => Err(error),
                },
            };
            match sent {
                Ok(()) => flushed.sent += 1,
                Err(error) if error.raw_os_error() == Some(TOO_LONG) => flushed.refused += 1,
                Err(error) => {
                    // A daemon that was restarted listens on another socket.
                    self.socket = None;
                    let text = format!("{}: {error}", self.address);
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

impl Socket {
    fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_write_timeout(Some(PATIENCE))?;
                Ok(Self::Unix(socket))
            }
            Address::Udp(address) => {
                let any: SocketAddr = match address {
                    SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, 0).into(),
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                Ok(Self::Udp(socket))
            }
            Address::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, PATIENCE)?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Self::Tcp(stream))
            }
        }
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Unix(socket) => socket.send(message).map(drop),
            Self::Udp(socket) => socket.send(message).map(drop),
            Self::Tcp(stream) => {
                let mut framed = format!("{} ", message.len()).into_bytes();
                framed.extend_from_slice(message);
                stream.write_all(&framed)
            }
        }
    }
}

/// Returns everything before the message: priority, time, host, netd, what it is about.
fn head(record: &Record<'_>, host: &str, now: Timestamp) -> String {
    let priority = FACILITY * 8 + severity(record);
    let (at, kind) = match record {
        Record::Finding(finding) => (finding.time, "finding"),
        Record::Flow(flow) => (flow.conversation.end, "flow"),
        Record::Lookup { lookup, .. } => (lookup.begun(), "dns"),
        Record::Verdict { at, .. } => (*at, "verdict"),
        Record::Stats { at, .. } => (*at, "stats"),
    };
    // A replayed or a skewed time must not go ahead of the message's own.
    let time = time::rfc3339(at.min(now));
    let host: String = host.chars().filter(char::is_ascii_graphic).take(255).collect();
    let host = if host.is_empty() { "-" } else { &host };
    format!("<{priority}>1 {time} {host} netd {} {kind} {}", std::process::id(), structured(record))
}

/// Syslog's severity: 2 critical to 6 informational.
pub(super) const fn severity(record: &Record<'_>) -> u8 {
    match record {
        Record::Finding(finding) => match finding.severity {
            Severity::Critical => 2,
            Severity::High => 3,
            Severity::Medium => 4,
            Severity::Low => 5,
            Severity::Info => 6,
        },
        Record::Verdict { .. } => 5,
        Record::Flow(_) | Record::Lookup { .. } | Record::Stats { .. } => 6,
    }
}

/// Structured data of a finding. 32473 is the number of documentation: netd has none of its own.
fn structured(record: &Record<'_>) -> String {
    let Record::Finding(finding) = record else { return "-".to_owned() };
    let mut element = format!(
        "[netd@32473 id=\"{}\" detector=\"{}\" severity=\"{}\" score=\"{:.3}\" src=\"{}\" dst=\"{}\" port=\"{}\"",
        finding.id,
        finding.detector,
        finding.severity.name(),
        finding.score,
        finding.pair.originator,
        finding.pair.responder,
        finding.pair.responder_port,
    );
    for (key, value) in [("name", &finding.name), ("comm", &finding.process.as_ref().map(|p| p.comm.clone()))] {
        if let Some(value) = value {
            element.push_str(&format!(" {key}=\"{}\"", escape(value)));
        }
    }
    element.push(']');
    element
}

/// RFC 5424, 6.3.3: quote, backslash and bracket are escaped; controls as for people.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in text::tame(value).chars() {
        if matches!(c, '"' | '\\' | ']') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
