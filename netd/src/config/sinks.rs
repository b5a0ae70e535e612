//! `[[sink]]`: where findings, flows and verdicts are written or sent.

use std::path::PathBuf;
use std::time::Duration;

use netd_engine::finding::Severity;
use serde::Deserialize;

use crate::sinks::webhook::{Secret, Template};
use crate::sinks::{Address, Filter, Format, Kind, Output, Rotation, Sink, Webhook};
use crate::time;

/// Sinks there can be: each has a queue, a thread and series of metrics.
pub(super) const MOST: usize = 16;
/// A rotated file is at least so long, or every batch would make one.
const SMALLEST: u64 = 64 << 10;
const QUEUE: usize = 8_192;
const LONGEST_QUEUE: usize = 1 << 20;

/// What the file may say of a sink. Which keys have a meaning depends on `type`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    r#type: Option<Type>,
    name: Option<String>,
    events: Option<Vec<Kind>>,
    min_severity: Option<Severity>,
    queue: Option<usize>,
    format: Option<Format>,
    path: Option<PathBuf>,
    rotate: Option<String>,
    keep: Option<u32>,
    fsync: Option<bool>,
    address: Option<String>,
    url: Option<String>,
    url_env: Option<String>,
    url_file: Option<PathBuf>,
    token_env: Option<String>,
    token_file: Option<PathBuf>,
    template: Option<Template>,
    dedup: Option<String>,
    max_per_hour: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    File,
    Stdout,
    Syslog,
    Journald,
    Webhook,
}

impl Type {
    const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Stdout => "stdout",
            Self::Syslog => "syslog",
            Self::Journald => "journald",
            Self::Webhook => "webhook",
        }
    }

    /// Keys that have a meaning for this type, besides those that every sink has.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::File => &["format", "path", "rotate", "keep", "fsync"],
            Self::Stdout => &["format"],
            Self::Syslog => &["format", "address"],
            Self::Journald => &["path"],
            Self::Webhook => {
                &["url", "url_env", "url_file", "token_env", "token_file", "template", "dedup", "max_per_hour"]
            }
        }
    }
}

/// Reads the sinks, each with a name of its own.
///
/// # Errors
/// In words that name the key.
pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Sink>, D::Error> {
    use serde::de::Error as _;
    let tables = Vec::<Table>::deserialize(deserializer)?;
    if tables.len() > MOST {
        return Err(D::Error::custom(format!("there are {} sinks; at most {MOST} can be", tables.len())));
    }
    let mut sinks: Vec<Sink> = Vec::with_capacity(tables.len());
    for (index, table) in tables.into_iter().enumerate() {
        let number = index + 1;
        let sink = table.read(number).map_err(|flaw| D::Error::custom(format!("sink {number}: {flaw}")))?;
        if sinks.iter().any(|known| known.name == sink.name) {
            return Err(D::Error::custom(format!("sink {number}: name '{}' is another sink's already", sink.name)));
        }
        sinks.push(sink);
    }
    Ok(sinks)
}

impl Table {
    fn read(self, number: usize) -> Result<Sink, String> {
        let kind = self.r#type.ok_or("type is missing: file, stdout, syslog, journald or webhook")?;
        if let Some(key) = self.given().into_iter().find(|key| !kind.keys().contains(key)) {
            return Err(format!(
                "{key} has no meaning for type {}, which knows {}",
                kind.name(),
                kind.keys().join(", ")
            ));
        }
        let name = match &self.name {
            Some(name) => label(name)?,
            None => format!("{}-{number}", kind.name()),
        };
        let kinds = match &self.events {
            Some(kinds) if kinds.is_empty() => {
                return Err("events is empty; leave it out for the usual ones".to_owned());
            }
            Some(kinds) => kinds.clone(),
            None => match kind {
                Type::File | Type::Stdout => Kind::ALL.to_vec(),
                Type::Syslog | Type::Journald => vec![Kind::Finding, Kind::Verdict],
                Type::Webhook => vec![Kind::Finding],
            },
        };
        let queue = self.queue.unwrap_or(QUEUE);
        if !(1..=LONGEST_QUEUE).contains(&queue) {
            return Err(format!("queue is {queue}; it must be from 1 to {LONGEST_QUEUE}"));
        }
        let filter = Filter { kinds, min_severity: self.min_severity.unwrap_or(Severity::Info) };
        let output = match kind {
            Type::File => self.file()?,
            Type::Stdout => Output::Stdout { format: one_log(self.format.unwrap_or_default())? },
            Type::Syslog => {
                let address = self.address.as_deref().unwrap_or("unix:/dev/log").parse::<Address>();
                Output::Syslog {
                    address: address.map_err(|error| format!("address: {error}"))?,
                    format: self.format.map(one_log).transpose()?,
                }
            }
            Type::Journald => {
                let socket = self.path.unwrap_or_else(|| PathBuf::from("/run/systemd/journal/socket"));
                Output::Journald { socket: absolute(socket)? }
            }
            Type::Webhook => Output::Webhook(self.webhook()?),
        };
        Ok(Sink { name, filter, queue, output })
    }

    /// Returns the keys that are there and that not every sink has.
    fn given(&self) -> Vec<&'static str> {
        let keys = [
            ("format", self.format.is_some()),
            ("path", self.path.is_some()),
            ("rotate", self.rotate.is_some()),
            ("keep", self.keep.is_some()),
            ("fsync", self.fsync.is_some()),
            ("address", self.address.is_some()),
            ("url", self.url.is_some()),
            ("url_env", self.url_env.is_some()),
            ("url_file", self.url_file.is_some()),
            ("token_env", self.token_env.is_some()),
            ("token_file", self.token_file.is_some()),
            ("template", self.template.is_some()),
            ("dedup", self.dedup.is_some()),
            ("max_per_hour", self.max_per_hour.is_some()),
        ];
        keys.into_iter().filter(|(_, is_given)| *is_given).map(|(key, _)| key).collect()
    }

    fn file(self) -> Result<Output, String> {
        let path = absolute(self.path.ok_or("path is missing: where the file lies")?)?;
        let size = match self.rotate.as_deref() {
            Some("never") => None,
            text => Some(size(text.unwrap_or("100MiB")).map_err(|error| format!("rotate: {error}"))?),
        };
        let keep = self.keep.unwrap_or(5);
        if !(1..=1_000).contains(&keep) {
            return Err(format!("keep is {keep}; it must be from 1 to 1000 rotated files"));
        }
        let rotation = Rotation { size, keep, fsync: self.fsync.unwrap_or(false) };
        Ok(Output::File { path, format: self.format.unwrap_or_default(), rotation })
    }

    fn webhook(self) -> Result<Webhook, String> {
        let url = match (self.url, self.url_env, self.url_file) {
            (Some(url), None, None) => Secret::Here(url),
            (None, Some(name), None) => Secret::Env(name),
            (None, None, Some(path)) => Secret::File(absolute(path)?),
            (None, None, None) => return Err("url is missing: one of url, url_env, url_file".to_owned()),
            _ => return Err("url is there twice: give one of url, url_env, url_file".to_owned()),
        };
        let token = match (self.token_env, self.token_file) {
            (None, None) => None,
            (Some(name), None) => Some(Secret::Env(name)),
            (None, Some(path)) => Some(Secret::File(absolute(path)?)),
            (Some(_), Some(_)) => return Err("token is there twice: give one of token_env, token_file".to_owned()),
        };
        let defaults = Webhook::default();
        let dedup = match self.dedup.as_deref() {
            Some(text) => time::duration(text).map_err(|error| format!("dedup: {error}"))?,
            None => defaults.dedup,
        };
        if dedup > Duration::from_secs(30 * 86_400) {
            return Err("dedup is longer than 30d".to_owned());
        }
        let max_per_hour = self.max_per_hour.unwrap_or(defaults.max_per_hour);
        if !(1..=100_000).contains(&max_per_hour) {
            return Err(format!("max_per_hour is {max_per_hour}; it must be from 1 to 100000"));
        }
        Ok(Webhook { url, token, template: self.template.unwrap_or_default(), dedup, max_per_hour, ..defaults })
    }
}

fn absolute(path: PathBuf) -> Result<PathBuf, String> {
    if path.is_absolute() { Ok(path) } else { Err(format!("'{}' must be an absolute path", path.display())) }
}

/// Reads a name that becomes a label.
fn label(name: &str) -> Result<String, String> {
    let is_label = (1..=32).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if is_label { Ok(name.to_owned()) } else { Err("name must be 1 to 32 of a-z, 0-9 and -".to_owned()) }
}

/// Logs of several kinds cannot share one stream.
fn one_log(format: Format) -> Result<Format, String> {
    if format == Format::Zeek {
        return Err("format zeek is several files; write them with type file, or use zeek-json".to_owned());
    }
    Ok(format)
}

/// Reads a size in bytes: `512KiB`, `100MiB`, `1GiB`.
fn size(text: &str) -> Result<u64, String> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let found = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
    let bytes = found.and_then(|(number, shift)| number.trim_end().parse::<u64>().ok()?.checked_mul(1 << shift));
    match bytes {
        Some(bytes) if bytes >= SMALLEST => Ok(bytes),
        Some(_) => Err(format!("'{text}' is less than 64KiB")),
        None => Err(format!("'{text}' is not a size: a number and KiB, MiB or GiB, or never")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn sinks(text: &str) -> Result<Vec<Sink>, String> {
        let config = Config::parse(text, Path::new("netd.toml")).map_err(|error| error.to_string())?;
        Ok(config.sink)
    }

    #[test]
    fn each_type_has_its_usual_settings() {
        let text = "[[sink]]\ntype = \"file\"\npath = \"/var/log/netd/eve.json\"\n\
                    [[sink]]\ntype = \"syslog\"\n[[sink]]\ntype = \"journald\"\n\
                    [[sink]]\nname = \"chat\"\ntype = \"webhook\"\nurl_env = \"SLACK_URL\"\ntemplate = \"slack\"\n\
                    min_severity = \"high\"\ndedup = \"2h\"\n";

        let sinks = sinks(text).unwrap();

        let names: Vec<_> = sinks.iter().map(|sink| sink.name.as_str()).collect();
        assert_eq!(names, ["file-1", "syslog-2", "journald-3", "chat"]);
        let rotation = Rotation { size: Some(100 << 20), keep: 5, fsync: false };
        let path = PathBuf::from("/var/log/netd/eve.json");
        assert_eq!(sinks[0].output, Output::File { path, format: Format::Eve, rotation });
        assert_eq!(sinks[0].filter.kinds, Kind::ALL);
        assert_eq!(sinks[3].filter, Filter { kinds: vec![Kind::Finding], min_severity: Severity::High });
        let Output::Webhook(webhook) = &sinks[3].output else { panic!("{:?}", sinks[3]) };
        assert_eq!((webhook.dedup, webhook.max_per_hour), (Duration::from_secs(7_200), 20));
    }

    #[test]
    fn a_mistake_names_its_sink_and_its_key() {
        let table = [
            ("", "sink 1: type is missing"),
            ("type = \"file\"", "sink 1: path is missing"),
            ("type = \"file\"\npath = \"eve.json\"", "'eve.json' must be an absolute path"),
            ("type = \"file\"\npath = \"/x\"\nrotate = \"1KB\"", "rotate: '1KB' is not a size"),
            ("type = \"file\"\npath = \"/x\"\nrotate = \"1KiB\"", "rotate: '1KiB' is less than"),
            ("type = \"file\"\npath = \"/x\"\nkeep = 0", "keep is 0"),
            ("type = \"file\"\npath = \"/x\"\nformat = \"xml\"", "unknown variant `xml`"),
            ("type = \"file\"\npath = \"/x\"\nmax_per_hour = 1", "max_per_hour has no meaning for type file"),
            ("type = \"stdout\"\nformat = \"zeek\"", "format zeek is several files"),
            ("type = \"stdout\"\nevents = []", "events is empty"),
            ("type = \"stdout\"\nqueue = 0", "queue is 0"),
            ("type = \"stdout\"\nname = \"a b\"", "name must be 1 to 32 of"),
            ("type = \"syslog\"\naddress = \"udp:192.0.2.1:514\"", "address: 192.0.2.1:514 is not a loopback"),
            ("type = \"syslog\"\naddress = \"relay\"", "none of unix:/path"),
            ("type = \"webhook\"", "url is missing"),
            ("type = \"webhook\"\nurl = \"x\"\nurl_env = \"X\"", "url is there twice"),
            ("type = \"webhook\"\nurl = \"x\"\ndedup = \"soon\"", "dedup: 'soon' is not a duration"),
            ("type = \"webhook\"\nurl = \"x\"\nmax_per_hour = 0", "max_per_hour is 0"),
            ("type = \"fax\"", "unknown variant `fax`"),
            ("type = \"stdout\"\ncolour = 1", "unknown field `colour`"),
        ];
        for (text, expected) in table {
            let error = sinks(&format!("[[sink]]\n{text}\n")).unwrap_err();

            assert!(error.contains(expected) && error.contains("line"), "{text}: {error}");
        }
        let twice = "[[sink]]\ntype = \"stdout\"\nname = \"a\"\n".repeat(2);
        assert!(sinks(&twice).unwrap_err().contains("sink 2: name 'a' is another sink's"));
        assert!(sinks(&"[[sink]]\ntype = \"stdout\"\n".repeat(MOST + 1)).unwrap_err().contains("at most 16"));
    }

    #[test]
    fn no_debug_text_holds_a_secret() {
        let sinks = sinks("[[sink]]\ntype = \"webhook\"\nurl = \"https://hooks.example/T0/secret\"\n").unwrap();

        assert!(!format!("{sinks:?}").contains("secret"));
    }
}
