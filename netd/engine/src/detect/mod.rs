//! Detectors: each reads one kind of evidence and says what it saw, never what to do about it.
//!
//! To add one: a file here that implements [`Evidence`], a line in [`Detector`], its prior, thresholds and terms in
//! `weights.toml`, the hook in `engine/signals.rs` from which its evidence is raised, a scenario.

pub mod beacon;
pub(crate) mod brute;
pub(crate) mod checkin;
mod context;
pub(crate) mod dns;
pub(crate) mod host_shell;
pub(crate) mod icmp;
pub(crate) mod intel;
pub(crate) mod long_connection;
pub(crate) mod protocol_port;
pub(crate) mod reverse_shell;
pub(crate) mod scan;
mod signs;
pub(crate) mod tunnel_tool;
pub(crate) mod upload;

use std::sync::Arc;

pub(crate) use context::{Context, add as add_context, add_prevalence};
pub(crate) use reverse_shell::Session;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub(crate) use signs::{Sign, Signs};

use crate::attack::Technique;
use crate::finding::{Beats, HostEvidence, Severity};
use crate::history::{NameKey, PairKey};
use crate::score::Ledger;
use crate::slab::Handle;
use crate::weights::Weights;

/// Declares the detectors: one line each.
macro_rules! detectors {
    ($($(#[$doc:meta])* $variant:ident = $name:literal)*) => {
        /// A detector, by the name that findings, policies and metrics use.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema
        )]
        pub enum Detector { $($(#[$doc])* #[serde(rename = $name)] $variant),* }

        impl Detector {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

detectors! {
    /// Check-ins on a timer.
    Beacon = "beacon"
    /// A destination or a TLS client on a list.
    ThreatIntel = "threat_intel"
    /// A monitored host that looks for others.
    PortScan = "port_scan"
    /// A stranger that looks for monitored hosts.
    InboundScan = "inbound_scan"
    /// Logins tried one after the other.
    BruteForce = "brute_force"
    /// Data inside of echo requests and replies.
    IcmpTunnel = "icmp_tunnel"
    /// Uploads that are none of the host's habits.
    Exfiltration = "exfiltration"
    /// Data in names below one domain, or in their answers.
    DnsTunnel = "dns_tunnel"
    /// Ever new names below one domain on a timer.
    DnsBeacon = "dns_beacon"
    /// Domains that an algorithm generates until one exists.
    Dga = "dga"
    /// A name that moves from network to network.
    FastFlux = "fast_flux"
    /// A person at the far end of a connection that this side opened.
    ReverseShell = "reverse_shell"
    /// A shell of this host whose standard streams lead to a connection that this host opened.
    HostReverseShell = "host_reverse_shell"
    /// A shell of this host whose standard streams lead to a connection that others opened.
    BindShell = "bind_shell"
    /// A shell that takes its commands from the network, and answers to somebody else.
    PipedScript = "piped_script"
    /// Tunnel and remote-access tools: a matter of policy.
    TunnelTool = "tunnel_tool"
    /// A protocol where it is not at home.
    ProtocolPort = "protocol_port"
    /// A connection that stays open for hours.
    LongConnection = "long_connection"
}

/// What a detector saw.
pub(crate) trait Evidence {
    fn detector(&self) -> Detector;
    /// Adds the detector's own terms to those of the context.
    fn weigh(&self, context: &Context<'_>, ledger: &mut Ledger<'_>);
    /// Says in one line what was found.
    fn title(&self, context: &Context<'_>) -> String;
    /// The MITRE ATT&CK techniques that it speaks for.
    fn techniques(&self, context: &Context<'_>) -> Vec<Technique>;
    /// Whether both sides were heard: evidence that one side can forge never leads to a block.
    fn is_two_way(&self) -> bool;
    /// Whether cutting the responder would cut what was found and no more: a resolver is everybody's.
    fn may_block(&self) -> bool {
        true
    }
    /// Whether what the detector itself saw is as strong as ever, so that a lower score means that its surroundings
    /// explain it: only then may an incident's severity fall.
    fn is_standing(&self, _weights: &Weights) -> bool {
        false
    }
    /// Returns what the host itself told.
    fn host(&self) -> Option<HostEvidence> {
        None
    }
    fn rhythm(&self) -> Option<Beats> {
        None
    }
    /// Corrects the context where the evidence is about something else than the responder: a domain, say.
    fn correct<'a>(&'a self, _context: &mut Context<'a>) {}
    /// Severity at most, where this evidence has less impact than its detector's may have.
    fn most(&self) -> Severity {
        Severity::Critical
    }
    /// Returns the benign explanations that were considered, each with why it was rejected.
    fn considered(&self, _context: &Context<'_>) -> Vec<String> {
        Vec::new()
    }
}

/// What evidence is about.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// The ends it is shown with.
    pub(crate) pair: PairKey,
    pub(crate) name: Option<Arc<str>>,
    /// A conversation in which it was seen: whose process it is.
    pub(crate) conversation: Option<Handle>,
    /// The history of the ends, if there is one.
    pub(crate) history: Option<Handle>,
    pub(crate) subject: Subject,
}

/// What makes two pieces of one detector's evidence the same incident.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    Pair(PairKey),
    Name(NameKey),
    /// Something that one monitored host does, to whomever.
    Host(netd_common::key::Address),
    /// A client and a domain or another name that is no conversation's.
    Client(netd_common::key::Address, Arc<str>),
}
