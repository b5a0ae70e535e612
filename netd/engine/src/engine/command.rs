//! What the shell must do for the engine.

use super::Withheld;
use crate::finding::Finding;
use crate::flow::Conversation;
use crate::listed::Resolved;
use crate::lookup::Lookup;
use crate::respond::Order;
use crate::verdict::{Target, Verdict};

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Tell everybody.
    Report(Box<Finding>),
    /// More is known of a finding that was told: nobody needs to be told again.
    Update(Box<Finding>),
    /// So many reports were withheld because there were too many of them.
    Withheld(Withheld),
    /// Do at once what the policy wants done about a finding.
    Respond(Box<Order>),
    /// Make a verdict act.
    Enforce { verdict: Verdict, finding: u64 },
    /// The verdict on this target has expired.
    Release { target: Target, finding: u64 },
    /// DNS gave an address to a listed name: do to it what the list wants done.
    Resolved(Box<Resolved>),
    /// A conversation ended; only where the configuration asks for it.
    FlowEnded(Box<Conversation>),
    /// A question to a name server was answered, or was not; only where the configuration asks for it.
    Lookup(Box<Lookup>),
}
