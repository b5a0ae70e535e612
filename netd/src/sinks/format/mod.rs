//! What happened, in the words of the tools that read it: pure functions from a record to lines.
//!
//! Names, titles and command lines are the network's: each format escapes what could end a field or a line.

mod catalogue;
pub mod eve;
mod id;
pub mod jsonl;
pub mod text;
pub mod zeek;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use ipnet::IpNet;
use netd_engine::finding::{Finding, Severity};
use netd_engine::flow::Conversation;
use netd_engine::lookup::Lookup;
use netd_engine::region::Region;
use netd_engine::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::store::events::VerdictEvent;
use crate::store::status::{Snapshot, UNPARSED};

/// A format that other tools read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Suricata's EVE JSON, an object a line.
    #[default]
    Eve,
    /// Zeek's tab-separated `conn.log`, `dns.log`, `ssl.log` and `notice.log`.
    Zeek,
    /// The same logs, a JSON object a line.
    ZeekJson,
    /// netd's own words, a JSON object a line.
    Jsonl,
}

/// Which of a format's logs a line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Log {
    /// The only one.
    All,
    Conn,
    Dns,
    Ssl,
    Notice,
}

impl Log {
    /// Returns the name of a log among others.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "netd",
            Self::Conn => "conn",
            Self::Dns => "dns",
            Self::Ssl => "ssl",
            Self::Notice => "notice",
        }
    }
}

/// Something to tell.
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    Finding(&'a Finding),
    /// A conversation that ended.
    Flow(Flow<'a>),
    /// A question to a name server, and its answer.
    Lookup {
        lookup: &'a Lookup,
        /// Name of the interface its conversation was first met on.
        interface: Option<&'a str>,
    },
    Verdict {
        at: Timestamp,
        event: &'a VerdictEvent,
    },
    Stats {
        at: Timestamp,
        stats: &'a Stats,
    },
}

/// A conversation, and what its record does not say itself.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'a> {
    pub conversation: &'a Conversation,
    /// Name of the interface it was first met on.
    pub interface: Option<&'a str>,
    /// Where the responder is.
    pub region: Option<&'a Region>,
}

impl<'a> From<&'a Conversation> for Flow<'a> {
    fn from(conversation: &'a Conversation) -> Self {
        Self { conversation, interface: None, region: None }
    }
}

/// How the daemon does, counted since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    pub uptime_s: u64,
    pub packets: u64,
    pub bytes: u64,
    pub unparsed_packets: u64,
    pub flows: u64,
    pub flows_active: u64,
    pub findings: u64,
    pub lost: u64,
}

impl Stats {
    /// Sums a snapshot up.
    #[must_use]
    pub fn of(snapshot: &Snapshot, now: Timestamp) -> Self {
        use netd_common::counter::Counter;
        Self {
            uptime_s: now.0.saturating_sub(snapshot.started.0) / 1_000_000_000,
            packets: snapshot.kernel(Counter::IngressPackets) + snapshot.kernel(Counter::EgressPackets),
            bytes: snapshot.kernel(Counter::IngressBytes) + snapshot.kernel(Counter::EgressBytes),
            unparsed_packets: UNPARSED.iter().map(|(_, counter)| snapshot.kernel(*counter)).sum(),
            flows: snapshot.engine.conversations_begun,
            flows_active: snapshot.engine.conversations,
            findings: snapshot.engine.findings,
            lost: snapshot.losses().iter().map(|loss| loss.lost).sum(),
        }
    }
}

/// Where records come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// This host's name.
    pub host: String,
    /// Networks that count as local; none: the private ones.
    pub local: Vec<IpNet>,
}

impl Site {
    fn is_local(&self, address: IpAddr) -> bool {
        if !self.local.is_empty() {
            return self.local.iter().any(|net| net.contains(&address));
        }
        match address {
            IpAddr::V4(address) => {
                let is_shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
                address.is_private() || address.is_link_local() || address.is_loopback() || is_shared
            }
            IpAddr::V6(address) => {
                address.is_unique_local() || address.is_unicast_link_local() || address.is_loopback()
            }
        }
    }
}

impl Format {
    /// Hands a record's lines to `tell`, with the log they belong to: none when the format has no words for it, several
    /// when it tells of the record in several logs.
    pub fn write(self, record: &Record<'_>, site: &Site, tell: &mut dyn FnMut(Log, &[u8])) {
        let mut lines = Vec::new();
        match self {
            Self::Eve => eve::write(record, site, &mut lines),
            Self::Jsonl => jsonl::write(record, &mut lines),
            Self::Zeek => return zeek::write_tsv(record, site, tell),
            Self::ZeekJson => return zeek::write_json(record, site, tell),
        }
        tell(Log::All, &lines);
    }

    /// Returns what a new log begins with.
    #[must_use]
    pub fn head(self, log: Log, now: Timestamp) -> String {
        match self {
            Self::Zeek => zeek::head(log, now),
            Self::Eve | Self::ZeekJson | Self::Jsonl => String::new(),
        }
    }

    /// Returns what a finished log ends with.
    #[must_use]
    pub fn tail(self, now: Timestamp) -> String {
        match self {
            Self::Zeek => zeek::tail(now),
            Self::Eve | Self::ZeekJson | Self::Jsonl => String::new(),
        }
    }

    /// Whether the format has logs of several kinds, which lie in a directory.
    #[must_use]
    pub const fn has_several_logs(self) -> bool {
        match self {
            Self::Zeek | Self::ZeekJson => true,
            Self::Eve | Self::Jsonl => false,
        }
    }
}

/// Appends a JSON object and a line's end.
fn json_line(value: &impl Serialize, out: &mut Vec<u8>) {
    let start = out.len();
    match serde_json::to_writer(&mut *out, value) {
        Ok(()) => out.push(b'\n'),
        // Our own records always have a JSON form: keys are texts, numbers finite or null.
        Err(_) => out.truncate(start),
    }
}

/// Severity as Suricata numbers it: 1 is the most urgent.
const fn priority(severity: Severity) -> u8 {
    match severity {
        Severity::Critical | Severity::High => 1,
        Severity::Medium => 2,
        Severity::Low => 3,
        Severity::Info => 4,
    }
}
