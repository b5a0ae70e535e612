//! Tunnel and remote-access tools, as their own class: who allowed this?

use super::{Context, Detector, Evidence};
use crate::attack::Technique;
use crate::finding::Severity;
use crate::score::Ledger;
use crate::tools::{By, Class, Tool};
use crate::weights::Term;

/// A conversation of a known tool.
pub(crate) struct KnownTool<'a> {
    pub(crate) tool: &'a Tool,
    pub(crate) by: By,
}

impl Evidence for KnownTool<'_> {
    fn detector(&self) -> Detector {
        Detector::TunnelTool
    }

    fn weigh(&self, context: &Context<'_>, ledger: &mut Ledger<'_>) {
        let Tool { name, class, .. } = self.tool;
        let term = match self.by {
            By::Bytes => Term::ToolBytes,
            By::Name => Term::ToolName,
            By::Port => Term::ToolPort,
        };
        let value = || match (self.by, context.name) {
            (By::Bytes, _) => format!("{name} ({class}) by its first bytes"),
            (By::Name, Some(server)) => format!("{name} ({class}) by the name {server}"),
            (By::Name, None) | (By::Port, _) => format!("{name} ({class}) by port {}", context.pair.responder_port),
        };
        ledger.add(term, value);
    }

    fn title(&self, context: &Context<'_>) -> String {
        let pair = &context.pair;
        let whom = context.name.map_or_else(|| pair.responder.to_string(), |name| name.to_string());
        format!("{} ({}) to {whom} port {}", self.tool.name, self.tool.class, pair.responder_port)
    }

    fn techniques(&self, _context: &Context<'_>) -> Vec<Technique> {
        vec![match self.tool.class {
            Class::RemoteAccess => Technique::RemoteAccessTools,
            Class::Proxy => Technique::Proxy,
            Class::Tunnel | Class::Vpn | Class::Push | Class::Database => Technique::ProtocolTunneling,
        }]
    }

    fn is_two_way(&self) -> bool {
        true
    }

    fn is_policy(&self) -> bool {
        true
    }

    fn most(&self) -> Severity {
        self.tool.severity
    }
}
