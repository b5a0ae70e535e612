//! What a reload takes over of the configuration, and what waits for a restart: every key has its line.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Config, Error};

/// What a running daemon does about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// What it names is read again, by a reload or as soon as it changes; another name waits for a restart.
    Contents,
    /// A changed value waits for a restart.
    Restart,
}

/// Every key of the configuration file.
pub const KEYS: [(&str, Takes); 45] = [
    ("mode", Takes::Restart),
    ("interfaces", Takes::Restart),
    ("xdp", Takes::Restart),
    ("state_dir", Takes::Restart),
    ("bpffs", Takes::Restart),
    ("cgroup", Takes::Restart),
    ("policy", Takes::Contents),
    ("accept_degraded", Takes::Restart),
    ("services", Takes::Contents),
    ("weights", Takes::Contents),
    ("intel", Takes::Contents),
    ("sink", Takes::Restart),
    ("feed", Takes::Contents),
    ("protect", Takes::Restart),
    ("management_ports", Takes::Restart),
    ("local_networks", Takes::Restart),
    ("heartbeat_limit", Takes::Restart),
    // Of the host: `netd boot` reads it.
    ("boot", Takes::Restart),
    ("privileges", Takes::Restart),
    ("api.listen", Takes::Restart),
    ("api.hosts", Takes::Restart),
    ("api.docs", Takes::Restart),
    ("api.kill", Takes::Restart),
    ("api.loopback", Takes::Restart),
    ("api.group", Takes::Restart),
    ("api.group_scope", Takes::Restart),
    ("api.tls.mode", Takes::Restart),
    ("api.tls.certificate", Takes::Contents),
    ("api.tls.key", Takes::Contents),
    ("api.tls.client_ca", Takes::Contents),
    ("limits.flows_per_cpu", Takes::Restart),
    ("limits.conversations", Takes::Restart),
    ("limits.pairs", Takes::Restart),
    ("limits.findings", Takes::Restart),
    ("limits.blocklists", Takes::Restart),
    ("limits.listed_hosts", Takes::Restart),
    ("limits.listed_prefixes", Takes::Restart),
    ("capture.evidence_ring", Takes::Restart),
    ("geoip.country", Takes::Contents),
    ("geoip.asn", Takes::Contents),
    ("store.history", Takes::Restart),
    ("store.retention", Takes::Restart),
    ("store.max_size", Takes::Restart),
    ("log.level", Takes::Restart),
    ("log.format", Takes::Restart),
];

/// The configuration file as the daemon read it when it started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Started {
    /// None: no file was read, and none is compared.
    path: Option<PathBuf>,
    table: Table,
}

impl Started {
    /// Remembers the text of a file; one that is not there is empty.
    #[must_use]
    pub fn with(path: &Path, text: &str) -> Self {
        Self { path: Some(path.to_owned()), table: text.parse().unwrap_or_default() }
    }

    /// Reads the file again, and returns its keys whose values are others than at the start.
    ///
    /// # Errors
    /// When it could not be started with.
    pub fn changed(&self) -> Result<Vec<&'static str>, Error> {
        let Some(path) = &self.path else { return Ok(Vec::new()) };
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read.map_err(|source| Error::Read { path: path.clone(), source })?,
        };
        Config::parse(&text, path)?;
        let now: Table = text.parse().unwrap_or_default();
        let defaults: Table = defaults().parse().unwrap_or_default();
        let value = |table, key| find(table, key).or_else(|| find(&defaults, key)).cloned();
        Ok(KEYS.iter().map(|(key, _)| *key).filter(|key| value(&self.table, key) != value(&now, key)).collect())
    }
}

/// Returns the printed defaults with every line uncommented.
fn defaults() -> String {
    super::DEFAULT.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line)).flat_map(|line| [line, "\n"]).collect()
}

fn find<'t>(table: &'t Table, key: &str) -> Option<&'t Value> {
    match key.split_once('.') {
        Some((part, rest)) => find(table.get(part)?.as_table()?, rest),
        None => table.get(key),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Keys of a table, those of its tables with a dot.
    fn keys(table: &Table, prefix: &str) -> BTreeSet<String> {
        let of = |(name, value): (&String, &Value)| match value.as_table() {
            Some(inner) => keys(inner, &format!("{prefix}{name}.")),
            None => BTreeSet::from([format!("{prefix}{name}")]),
        };
        table.iter().flat_map(of).collect()
    }

    #[test]
    fn every_key_says_what_a_reload_does_about_it() {
        let told: BTreeSet<String> = KEYS.iter().map(|(key, _)| (*key).to_owned()).collect();

        assert_eq!(told, keys(&defaults().parse().unwrap(), ""));
    }

    #[test]
    fn a_changed_key_is_named_whatever_it_is_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("netd.toml");
        let table: Table = defaults().parse().unwrap();
        for (key, _) in KEYS {
            let value = find(&table, key).unwrap();
            let started = Started { path: Some(path.clone()), table: with(&table, key, other(value)) };
            std::fs::write(&path, defaults()).unwrap();

            assert_eq!(started.changed().unwrap(), [key]);
        }
    }

    /// Returns another value of the same type.
    fn other(value: &Value) -> Value {
        match value {
            Value::String(text) => Value::from(format!("{text}x")),
            Value::Integer(number) => Value::from(number + 1),
            Value::Boolean(flag) => Value::from(!flag),
            Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
                Value::from(format!("{value}x"))
            }
        }
    }

    fn with(table: &Table, key: &str, value: Value) -> Table {
        let mut changed = table.clone();
        match key.split_once('.') {
            Some((part, rest)) => {
                let inner = changed[part].as_table().unwrap().clone();
                changed.insert(part.to_owned(), Value::Table(with(&inner, rest, value)));
            }
            None => drop(changed.insert(key.to_owned(), value)),
        }
        changed
    }

    #[test]
    fn what_says_the_default_or_is_gone_has_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("netd.toml");
        let started = Started::with(&path, "mode = \"observe\"\n[limits]\nfindings = 10000\n");

        assert_eq!(started.changed().unwrap(), Vec::<&str>::new());
        std::fs::write(&path, "mode = \"shadow\"\n").unwrap();
        assert_eq!(started.changed().unwrap(), ["mode"]);
    }

    #[test]
    fn a_file_that_could_not_be_started_with_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("netd.toml");
        std::fs::write(&path, "mode = \"observe\"\nmod = 1\n").unwrap();

        let error = Started::with(&path, "").changed().unwrap_err().to_string();

        assert!(error.contains("netd.toml") && error.contains("line 2"), "{error}");
    }
}
