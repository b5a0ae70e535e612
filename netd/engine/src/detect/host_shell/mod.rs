//! Shells that this host leads to the network, told by what their standard streams lead to (DETECTION.md 3.1).

mod case;

use std::sync::Arc;

pub(crate) use case::{Case, Reader, Shape};

use super::{Context, Detector, Evidence};
use crate::attack::Technique;
use crate::finding::HostEvidence;
use crate::process::{Image, Process, is_temporary};
use crate::score::Ledger;
use crate::streams::Graph;
use crate::weights::Term;

/// A guess at who began a connection counts this share.
const GUESS: f64 = 0.8;
/// Commands beyond the first, and first questions, that count.
const MOST_COMMANDS: u32 = 3;
const TCP: u8 = 6;

/// A case with what the engine knows beside its graph.
pub(crate) struct HostShell<'a> {
    pub(crate) case: &'a Case,
    pub(crate) graph: &'a Graph,
    /// Commands seen to run for the far end, and those of them that ask what one asks first.
    pub(crate) commands: &'a [String],
    pub(crate) count: u32,
    pub(crate) recon: u32,
    /// The far end had just sent something.
    pub(crate) follows_data: bool,
    /// A process above it was found out before.
    pub(crate) is_upgrade: bool,
    pub(crate) latency_s: f64,
}

impl HostShell<'_> {
    fn way(&self, ledger: &mut Ledger<'_>) {
        let Case { shape, end, .. } = self.case;
        let certainty = if end.is_guessed { GUESS } else { 1.0 };
        let (local, remote) = (end.local, end.remote);
        match shape {
            Shape::Direct => ledger.add_times(Term::OutwardDirect, certainty, || {
                format!("its standard streams are the connection that this host opened to {remote}")
            }),
            Shape::Relayed(link) => {
                let by = self.keeper_name();
                ledger.add_times(Term::RelayedStreams, certainty, || {
                    format!("its standard streams lead by {} to {by}, which is connected to {remote}", link.name())
                });
            }
            Shape::Commands => {
                let by = self.keeper_name();
                ledger.add_times(Term::RelayedStreams, certainty, || {
                    format!("what it runs writes to {by}, which is connected to {remote}")
                });
            }
            Shape::Output => ledger.add_times(Term::OutputOnConnection, certainty, || {
                format!("what it runs writes to the connection that this host opened to {remote}")
            }),
            Shape::Script => ledger.add_times(Term::ScriptFromNetwork, certainty, || {
                format!("its commands come from {remote}, its output goes elsewhere")
            }),
            Shape::Bound(None) => ledger.add_times(Term::AcceptedDirect, certainty, || {
                format!("its standard streams are a connection that {remote} opened to {local}")
            }),
            Shape::Bound(Some(link)) => ledger.add_times(Term::AcceptedRelayed, certainty, || {
                format!("its standard streams lead by {} to a connection that {remote} opened to {local}", link.name())
            }),
        }
        if let Some(elsewhere) = self.case.elsewhere {
            ledger.add(Term::DifferentEnds, || format!("its output goes to {elsewhere}"));
        }
    }

    fn image(&self, ledger: &mut Ledger<'_>) {
        let Case { shape, image, .. } = self.case;
        let name =
            || format!("{} runs", self.graph.nodes.first().map_or_else(String::new, |node| node.process.program()));
        match (shape, image) {
            (Shape::Commands, _) => {
                ledger.add(Term::CommandLine, || "it runs single commands, as many programs do".to_owned());
            }
            (Shape::Output | Shape::Script, _) => {}
            (_, Image::Shell) => ledger.add(Term::ShellImage, name),
            (_, Image::Interpreter) => ledger.add(Term::InterpreterImage, name),
            (Shape::Direct, Image::Other) => ledger.add(Term::OtherImage, name),
            (Shape::Relayed(_) | Shape::Bound(_), Image::Other) => {}
        }
    }

    fn keeper(&self, ledger: &mut Ledger<'_>) {
        let Some(keeper) = &self.case.keeper else { return };
        let who = format!("{}[{}]", keeper.comm, keeper.pid);
        let is_bound = matches!(self.case.shape, Shape::Bound(_));
        if is_bound && keeper.is_relay {
            ledger.add(Term::RelayTool, || format!("{who} does little else than to join streams"));
        }
        if keeper.serves && !keeper.is_relay && !is_bound {
            ledger.add(Term::ServesOthers, || format!("others connect to {who}, too"));
        }
        if let Some(class) = keeper.posed {
            ledger.add(Term::PosingProgram, || format!("{who} calls itself a {class} and is not installed as one"));
        }
        // What a script does with a shell that takes commands is its own affair no more.
        if let (Shape::Commands, Some((file, is_installed))) = (self.case.shape, &keeper.script) {
            ledger.add(Term::ScriptKeeper, || format!("{who} runs the script {file}"));
            if *is_installed {
                ledger.add(Term::InstalledScript, || "which lies where only root writes".to_owned());
            }
        }
    }

    fn circumstances(&self, context: &Context<'_>, ledger: &mut Ledger<'_>) {
        let process = &self.case.process;
        if matches!(self.case.shape, Shape::Output | Shape::Commands) {
            let more = self.count.saturating_sub(1).min(MOST_COMMANDS);
            if more > 0 {
                ledger.add_times(Term::CommandsRun, more.into(), || format!("{} commands", self.count));
            }
            if self.follows_data {
                ledger.add(Term::FollowsData, || "right after the far end had sent something".to_owned());
            }
        }
        if self.recon > 0 {
            let times = self.recon.min(MOST_COMMANDS);
            ledger.add_times(Term::ReconCommands, times.into(), || {
                format!("{} of them ask who and where one is", self.recon)
            });
        }
        if self.case.shape == Shape::Script {
            return;
        }
        if let Some(service) = &self.case.service {
            ledger.add(Term::ServiceParent, || service.clone());
        }
        if process.parents.first().is_some_and(|parent| parent.id.pid == 1) {
            ledger.add(Term::Orphan, || "whoever started it is gone".to_owned());
        }
        if let Some(cwd) = process.cwd.as_deref().filter(|cwd| is_temporary(cwd) || is_temporary(&format!("{cwd}/"))) {
            ledger.add(Term::TemporaryDirectory, || format!("it works in {cwd}"));
        }
        if self.is_upgrade {
            ledger.add(Term::TtyUpgrade, || "a process above it was found before".to_owned());
        }
        let rhythm = [Detector::ReverseShell, Detector::Beacon];
        if let Some(other) = context.companions.iter().find(|other| rhythm.contains(other)) {
            ledger.add(Term::NetworkAgrees, || format!("an open incident with the same ends: {}", other.name()));
        }
    }

    fn keeper_name(&self) -> String {
        let Some(keeper) = &self.case.keeper else { return "itself".to_owned() };
        format!("{}[{}]", keeper.comm, keeper.pid)
    }
}

impl Evidence for HostShell<'_> {
    fn detector(&self) -> Detector {
        self.case.detector()
    }

    fn weigh(&self, context: &Context<'_>, ledger: &mut Ledger<'_>) {
        self.way(ledger);
        self.image(ledger);
        self.keeper(ledger);
        self.circumstances(context, ledger);
    }

    fn title(&self, _context: &Context<'_>) -> String {
        let Case { process, end, .. } = self.case;
        let (who, remote) = (format!("{}[{}]", process.comm, process.id.pid), end.remote);
        match self.case.shape {
            Shape::Direct => format!("{who} takes its commands from {remote}"),
            Shape::Relayed(link) => {
                format!(
                    "{who} takes its commands by {} from {}, connected to {remote}",
                    link.name(),
                    self.keeper_name()
                )
            }
            Shape::Output | Shape::Commands => format!("{who} runs commands for {remote}"),
            Shape::Script => format!("{who} runs a script piped from {remote}"),
            Shape::Bound(_) => format!("{who} takes its commands from whoever connects to port {}", end.local.port()),
        }
    }

    fn techniques(&self, _context: &Context<'_>) -> Vec<Technique> {
        let image = if self.case.image == Image::Other { Image::of(&self.case.process) } else { self.case.image };
        vec![match image {
            Image::Shell => Technique::UnixShell,
            Image::Interpreter | Image::Other => Technique::CommandInterpreter,
        }]
    }

    fn is_two_way(&self) -> bool {
        // A TCP connection is established; whoever is named in a datagram need not know of it.
        self.case.end.proto == TCP
    }

    fn may_block(&self) -> bool {
        // The responder of a bind shell is this host.
        !matches!(self.case.shape, Shape::Bound(_))
    }

    fn correct<'a>(&'a self, context: &mut Context<'a>) {
        context.process = Some(&self.case.process);
        context.provenance = (self.case.shape != Shape::Script).then_some(self.case.provenance);
    }

    fn host(&self) -> Option<HostEvidence> {
        Some(HostEvidence {
            lines: self.graph.lines(),
            graph: self.graph.clone(),
            tree: tree(&self.case.process),
            commands: self.commands.to_vec(),
            latency_s: self.latency_s,
        })
    }

    fn considered(&self, _context: &Context<'_>) -> Vec<String> {
        self.case.considered.iter().map(|way| format!("{way}: another way leads outward")).collect()
    }
}

impl Case {
    pub(crate) const fn detector(&self) -> Detector {
        match self.shape {
            Shape::Direct | Shape::Relayed(_) | Shape::Output | Shape::Commands => Detector::HostReverseShell,
            Shape::Script => Detector::PipedScript,
            Shape::Bound(_) => Detector::BindShell,
        }
    }
}

fn tree(process: &Arc<Process>) -> String {
    let parents = process.parents.iter().rev().map(|parent| format!("{}[{}]", parent.comm, parent.id.pid));
    let own = std::iter::once(format!("{}[{}]", process.comm, process.id.pid));
    parents.chain(own).collect::<Vec<_>>().join(" > ")
}
