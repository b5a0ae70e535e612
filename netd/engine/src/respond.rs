//! Responses at once, beyond a verdict: which of them a policy asks for, and what the shell is told to do.

use std::fmt;

use netd_common::key::FlowKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::finding::Severity;
use crate::process::ProcessId;
use crate::time::Timestamp;
use crate::verdict::{Response, Target, Verdict};

/// One thing done about a finding. The order is that in which they are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Ends the conversation: its five-tuple is dropped both ways and its sockets on this host are destroyed.
    Cut,
    /// Stops the process group (`SIGSTOP`): it can be looked at, and let go on.
    Stop,
    /// Kills the process group (`SIGKILL`).
    Kill,
    /// Blocks the responder, as far as the policy's `target` says.
    Block,
}

impl Measure {
    /// Returns the name that policies, metrics and the API use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Stop => "stop",
            Self::Kill => "kill",
            Self::Block => "block",
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a policy asks for about the findings of one detector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Stated")]
pub struct Rule {
    /// The severity from which it holds.
    pub from: Severity,
    /// In order, each once.
    #[serde(rename = "do")]
    pub measures: Vec<Measure>,
}

/// What is done at once.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Stated {
    /// The severity from which it is done.
    from: Severity,
    #[serde(rename = "do")]
    measures: Vec<Measure>,
}

impl TryFrom<Stated> for Rule {
    type Error = String;

    fn try_from(Stated { from, mut measures }: Stated) -> Result<Self, String> {
        measures.sort_unstable();
        if let Some([twice, _]) = measures.array_windows().find(|[a, b]| a == b) {
            return Err(format!("`do` names {twice} twice"));
        }
        if measures.is_empty() {
            return Err("`do` names nothing; it takes cut, stop, kill, block".to_owned());
        }
        if measures.contains(&Measure::Stop) && measures.contains(&Measure::Kill) {
            return Err("`do` names stop and kill: who is killed need not be stopped".to_owned());
        }
        Ok(Self { from, measures })
    }
}

/// What the shell is to do about a finding, at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub finding: u64,
    pub detector: &'static str,
    /// When what led to the finding happened: the exec, the redirection, or the turn that tipped the scale.
    pub since: Timestamp,
    /// The conversation, directed from this host where one of its ends is.
    pub key: FlowKey,
    /// Whose process group is stopped or killed.
    pub process: Option<ProcessId>,
    /// Who holds the conversation's socket, where that may be another.
    pub holder: Option<u32>,
    /// In order, each once.
    pub measures: Vec<Measure>,
    /// The verdict of [`Measure::Block`], where it is asked for and not in force.
    pub block: Option<Verdict>,
    /// The verdict of [`Measure::Cut`]; none where the near end is this host's own address, which no verdict acts on.
    pub cut: Option<Verdict>,
    /// Whether the far end is one of the protected addresses: then nothing is done.
    pub is_protected: bool,
    /// Told, not done.
    pub shadow: bool,
}

impl Order {
    /// Returns the verdict's target for a conversation: the far end comes first.
    pub(crate) fn five_tuple(key: &FlowKey) -> Target {
        Target::FiveTuple {
            source: key.dst.ip(),
            source_port: key.dst_port(),
            destination: key.src.ip(),
            destination_port: key.src_port(),
            proto: key.proto,
        }
    }

    /// What a cut does to packets.
    pub(crate) const CUT: Response = Response::Drop;
}
