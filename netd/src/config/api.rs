//! Where the API is served, to whom, and with which certificate.

use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::{absolute, one_or_many};
use crate::api::{Access, Listen};
use crate::store::tokens::Scope;

/// The REST API.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Addresses and unix sockets; none switches the API off.
    #[serde(deserialize_with = "listens")]
    pub listen: Vec<Listen>,
    /// Names by which it may be called, besides `localhost` and loopback addresses.
    pub hosts: Vec<String>,
    /// Whether it shows its documentation at `/docs`.
    pub docs: bool,
    /// Whether it may have processes of findings killed; it keeps CAP_KILL.
    pub kill: bool,
    /// What whoever reaches a loopback address may do without a token.
    pub loopback: Grant,
    /// Group of unix sockets; empty: the daemon's own.
    pub group: String,
    /// What whoever may open a unix socket may do without a token, besides root.
    pub group_scope: Grant,
    pub tls: Tls,
}

/// What is granted without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grant {
    None,
    Metrics,
    Read,
    Triage,
    Block,
    Policy,
    Admin,
}

/// TLS of every address but loopback and unix sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    pub mode: TlsMode,
    /// PEM files, of mode `files`.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Whose certificates clients must show; empty: nobody's.
    pub client_ca: PathBuf,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// netd's own authority, made at the first start in the state directory.
    #[default]
    Auto,
    Files,
    Off,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: vec![
                Listen::Unix(PathBuf::from("/run/netd/api.sock")),
                Listen::Tcp(([127, 0, 0, 1], 9_443).into()),
            ],
            hosts: Vec::new(),
            docs: true,
            kill: false,
            loopback: Grant::Read,
            group: String::new(),
            group_scope: Grant::Read,
            tls: Tls::default(),
        }
    }
}

impl Api {
    #[must_use]
    pub fn access(&self) -> Access {
        Access { loopback: self.loopback.scope(), group: self.group_scope.scope() }
    }

    /// Returns the first value that cannot be meant.
    pub(super) fn flaw(&self) -> Option<(&'static str, String, &'static str)> {
        let Tls { mode, certificate, key, client_ca } = &self.tls;
        let named = |path: &PathBuf| !path.as_os_str().is_empty();
        match mode {
            TlsMode::Files => absolute("api.tls.certificate", certificate).or_else(|| absolute("api.tls.key", key)),
            TlsMode::Auto | TlsMode::Off if named(certificate) || named(key) => {
                Some(("api.tls.mode", format!("{mode:?}").to_lowercase(), "files, where certificate and key are named"))
            }
            TlsMode::Auto | TlsMode::Off => None,
        }
        .or_else(|| if named(client_ca) { absolute("api.tls.client_ca", client_ca) } else { None })
    }
}

impl Grant {
    const fn scope(self) -> Option<Scope> {
        match self {
            Self::None => None,
            Self::Metrics => Some(Scope::Metrics),
            Self::Read => Some(Scope::Read),
            Self::Triage => Some(Scope::Triage),
            Self::Block => Some(Scope::Block),
            Self::Policy => Some(Scope::Policy),
            Self::Admin => Some(Scope::Admin),
        }
    }
}

fn listens<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Listen>, D::Error> {
    let texts: Vec<String> = one_or_many(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
}
