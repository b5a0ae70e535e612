//! The file that names the services.

use ipnet::IpNet;
use serde::Deserialize;

use super::pattern::{Names, Pattern};
use super::{Service, Services};
use crate::policy::{ApiVersion, Metadata};

/// The file that netd ships.
pub const SHIPPED: &str = include_str!("../../../../policies/services.yaml");

/// More services than this are a mistake.
const MOST: usize = 1_024;

/// What a match does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Traffic that matches is no candidate.
    Exclude,
    /// A match speaks against a finding.
    Explain,
}

/// Why a file cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub enum Error {
    /// The parser's own text shows line and column.
    Syntax(String),
    /// Which service, and what is wrong with it.
    Service(String, &'static str),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Syntax(text) => f.write_str(text),
            Self::Service(name, flaw) => write!(f, "service '{name}': {flaw}"),
        }
    }
}

impl std::error::Error for Error {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "apiVersion")]
    _api_version: ApiVersion,
    #[serde(rename = "kind")]
    _kind: Kind,
    #[serde(rename = "metadata")]
    _metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
enum Kind {
    BenignServices,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    services: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    effect: Effect,
    #[serde(rename = "match")]
    pattern: Pattern,
}

impl Services {
    /// Reads a file's text.
    ///
    /// # Errors
    ///
    /// Line and field of what cannot be read, or the service whose pattern cannot be meant.
    pub fn read(text: &str) -> Result<Self, Error> {
        let file: File = serde_saphyr::from_str(text).map_err(|error| Error::Syntax(error.to_string()))?;
        if file.spec.services.len() > MOST {
            return Err(Error::Syntax(format!("{} services; at most {MOST}", file.spec.services.len())));
        }
        let mut names = Names::default();
        let mut services = Vec::with_capacity(file.spec.services.len());
        for Entry { name, effect, pattern } in file.spec.services {
            if let Some(flaw) = flaw(effect, &pattern) {
                return Err(Error::Service(name, flaw));
            }
            for pattern in &pattern.names {
                names.insert(pattern, services.len());
            }
            services.push(Service { name: name.into(), effect, pattern });
        }
        Ok(Self { services, names })
    }
}

fn flaw(effect: Effect, pattern: &Pattern) -> Option<&'static str> {
    let is_whole_world = |network: &IpNet| network.prefix_len() == 0;
    if pattern.is_empty() {
        Some("its match is empty: it would hold for everything")
    } else if effect == Effect::Exclude && pattern.has_names() {
        Some("names cannot exclude, because a client can claim any name; use `effect: explain`")
    } else if pattern.networks.iter().any(is_whole_world) {
        Some("a network of length 0 is the whole world")
    } else if pattern.names.iter().any(|name| name.is_empty() || name == "*" || !name.contains('.')) {
        Some("a name must have at least two labels")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(entry: &str) -> String {
        format!("apiVersion: netd/v1\nkind: BenignServices\nmetadata: {{name: t}}\nspec:\n  services:\n    - {entry}\n")
    }

    #[test]
    fn the_shipped_file_can_be_read() {
        assert!(Services::read(SHIPPED).unwrap().services.len() > 10);
    }

    #[test]
    fn a_mistyped_key_is_named_with_its_line() {
        let error = Services::read(&with("{name: a, effect: exclude, match: {port: [1]}}")).unwrap_err().to_string();

        assert!(error.contains("port") && error.contains("line 6"), "{error}");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (entry, part) in [
            ("{name: a, effect: exclude, match: {}}", "empty"),
            ("{name: a, effect: exclude, match: {names: [a.example]}}", "cannot exclude"),
            ("{name: a, effect: explain, match: {networks: [0.0.0.0/0]}}", "whole world"),
            ("{name: a, effect: explain, match: {names: ['*']}}", "two labels"),
        ] {
            let error = Services::read(&with(entry)).unwrap_err().to_string();
            assert!(error.contains(part), "{entry}: {error}");
        }
    }
}
