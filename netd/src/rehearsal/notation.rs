//! How a proposal is put together and written.

use serde::Deserialize;

/// Whose destinations stand together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum By {
    #[default]
    Process,
    Container,
}

impl By {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Container => "container",
        }
    }
}

/// Whose policies are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Notation {
    /// netd's policy: a shadow that spares what was seen.
    #[default]
    Netd,
    /// A NetworkPolicy for each pod's container.
    Kubernetes,
    /// A CiliumNetworkPolicy for each pod's container.
    Cilium,
}

impl Notation {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Netd => "netd",
            Self::Kubernetes => "kubernetes",
            Self::Cilium => "cilium",
        }
    }
}
