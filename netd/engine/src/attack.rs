//! MITRE ATT&CK: detectors name techniques; ids, names and tactics stand in `attack.toml`, pinned to one version.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The file that netd ships.
pub const SHIPPED: &str = include_str!("../attack.toml");

/// Declares the techniques that detectors may name: one line each here and in the file.
macro_rules! techniques {
    ($($variant:ident = $name:literal)*) => {
        /// A technique, by the name that detectors and the file use.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
        pub enum Technique { $(#[serde(rename = $name)] $variant),* }

        impl Technique {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the name in the file.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

techniques! {
    ActiveScanning = "active_scanning"
    NetworkServiceDiscovery = "network_service_discovery"
    PasswordGuessing = "password_guessing"
    PasswordSpraying = "password_spraying"
    CommandInterpreter = "command_interpreter"
    UnixShell = "unix_shell"
    ApplicationProtocol = "application_protocol"
    WebProtocols = "web_protocols"
    Dns = "dns"
    Proxy = "proxy"
    NonApplicationProtocol = "non_application_protocol"
    RemoteAccessTools = "remote_access_tools"
    FastFlux = "fast_flux"
    DomainGeneration = "domain_generation"
    NonStandardPort = "non_standard_port"
    ProtocolTunneling = "protocol_tunneling"
    EncryptedChannel = "encrypted_channel"
    TransferSizeLimits = "transfer_size_limits"
    ExfiltrationOverC2 = "exfiltration_over_c2"
    ExfiltrationOverAlternative = "exfiltration_over_alternative"
    ExfiltrationInClear = "exfiltration_in_clear"
    ExfiltrationOverWeb = "exfiltration_over_web"
}

/// What the matrix says of a technique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Technique")]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// `T1071`, or `T1071.001` for a sub-technique.
    pub id: &'static str,
    /// The matrix's name of it.
    pub name: &'static str,
    /// Short name: `command-and-control`.
    pub tactic: &'static str,
}

/// Everything the file says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attack {
    /// Version of the matrix, and the month of its release.
    pub version: &'static str,
    pub date: &'static str,
    techniques: BTreeMap<Technique, Entry>,
}

impl Attack {
    /// Reads a file's text.
    ///
    /// # Errors
    ///
    /// Line and field of what cannot be read, or the techniques that are missing.
    pub fn read(text: &'static str) -> Result<Self, String> {
        let attack: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let missing: Vec<&str> = Technique::ALL
            .iter()
            .filter(|technique| !attack.techniques.contains_key(technique))
            .map(|technique| technique.name())
            .collect();
        if missing.is_empty() { Ok(attack) } else { Err(format!("missing: {}", missing.join(", "))) }
    }

    #[must_use]
    pub fn entry(&self, technique: Technique) -> Entry {
        self.techniques[&technique]
    }
}

impl Default for Attack {
    #[expect(clippy::expect_used, reason = "the file is part of the program, and a test reads it")]
    fn default() -> Self {
        Self::read(SHIPPED).expect("attack.toml is complete")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const TACTICS: [&str; 15] = [
        "reconnaissance",
        "resource-development",
        "initial-access",
        "execution",
        "persistence",
        "privilege-escalation",
        "stealth",
        "defense-impairment",
        "credential-access",
        "discovery",
        "lateral-movement",
        "collection",
        "command-and-control",
        "exfiltration",
        "impact",
    ];

    fn is_id(id: &str) -> bool {
        let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
        let Some(number) = id.strip_prefix('T') else { return false };
        match number.split_once('.') {
            Some((technique, sub)) => digits(technique, 4) && digits(sub, 3),
            None => digits(number, 4),
        }
    }

    #[test]
    fn the_shipped_file_is_complete_and_every_entry_is_well_formed() {
        let attack = Attack::read(SHIPPED).unwrap();

        let ids: BTreeSet<&str> = Technique::ALL.iter().map(|technique| attack.entry(*technique).id).collect();
        assert_eq!(ids.len(), Technique::ALL.len(), "two techniques with one id");
        for entry in attack.techniques.values() {
            assert!(is_id(entry.id) && !entry.name.is_empty() && TACTICS.contains(&entry.tactic), "{entry:?}");
        }
    }

    #[test]
    fn names_lead_to_the_ids_they_mean() {
        let attack = Attack::default();

        let of = |technique| attack.entry(technique).id;
        assert_eq!(of(Technique::WebProtocols), "T1071.001");
        assert_eq!(of(Technique::EncryptedChannel), "T1573");
        assert_eq!(of(Technique::NetworkServiceDiscovery), "T1046");
    }

    #[test]
    fn a_missing_technique_and_an_unknown_one_are_named() {
        let without: String =
            SHIPPED.lines().filter(|line| !line.starts_with("proxy =")).map(|line| format!("{line}\n")).collect();
        let misspelt = SHIPPED.replace("proxy =", "porxy =");

        assert_eq!(Attack::read(without.leak()).unwrap_err(), "missing: proxy");
        assert!(Attack::read(misspelt.leak()).unwrap_err().contains("porxy"));
    }
}
