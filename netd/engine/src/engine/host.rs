//! What this host tells of its processes: who they are, what their streams lead to, what they run.

use std::sync::Arc;

use super::verdicts::Culprit;
use super::{Command, Engine};
use crate::detect::About;
use crate::detect::Subject;
use crate::detect::host_shell::{Case, HostShell, Reader, Shape};
use crate::finding::HostEvidence;
use crate::flow::Entry;
use crate::history::PairKey;
use crate::process::{Image, Process, ProcessId, Processes, Provenance, Role, program_of};
use crate::scope::Scope;
use crate::streams::{End, Graph, Look, Opened, Snapshot, Stream, is_worth_tracing, trace};
use crate::time::Timestamp;

const TCP: u8 = 6;
/// A command this soon after the far end began a turn follows it.
const FOLLOWS_NS: u64 = 2_000_000_000;

impl Engine {
    /// Takes in what the shell found out about a process.
    pub fn observe_process(&mut self, process: Arc<Process>, provenance: Provenance) {
        self.processes.learn_details(process, provenance);
    }

    /// Takes in what a process's standard streams lead to. Returns whether they lead nowhere yet, so that another look
    /// is worth it before long: the other end of a pipe is often opened after the shell. Of a part of the host it
    /// returns whether a look at the whole is worth it.
    pub fn observe_streams(&mut self, snapshot: &Snapshot, look: Look) -> bool {
        self.advance(look.at_ns);
        self.counts.streams_traced += 1;
        let (programs, processes) = (&self.programs, &self.processes);
        let provenance = |process: &Process| processes.provenance(process.id);
        let graph = trace(snapshot, look.pid, &|process| programs.class(process, provenance(process)).is_some());
        self.counts.graphs_cut += u64::from(graph.is_cut);
        let reader = Reader { graph: &graph, programs, provenance: &provenance };
        let Some(case) = reader.read() else { return snapshot.is_part || reader.is_unfinished() };
        // Of the others it matters who else there is: a listener, a way on.
        if snapshot.is_part && !matches!(case.shape, Shape::Direct | Shape::Relayed(_)) {
            return true;
        }
        self.take_case(&case, &graph, look);
        // Resolvers name a peer to a datagram socket only to learn a route; the connection may be yet to come.
        case.end.proto != TCP
    }

    /// Takes in that a process runs another program. Returns whether its streams are worth tracing.
    pub fn observe_exec(&mut self, child: &Process, streams: [Stream; 3], at_ns: u64) -> bool {
        self.advance(at_ns);
        let is_recon = self.programs.is_recon(child);
        let known = child.parents.iter().find(|parent| {
            self.suspects.get(parent.id).is_some_and(|suspect| suspect.finding.as_ref().is_some_and(takes_commands))
        });
        if let Some(id) = known.map(|parent| parent.id) {
            self.note_command(id, child, is_recon);
        }
        let runs_lines = child.parents.first().is_some_and(|parent| {
            let image = Image::named(parent.exe.as_deref().map_or(&parent.comm, program_of));
            image == Image::Interpreter && is_recon || self.suspects.get(parent.id).is_some()
        });
        let [input, output, _] = streams;
        let is_joined =
            [input, output].iter().any(|stream| matches!(stream, Stream::Pipe | Stream::Socket | Stream::Fifo));
        is_worth_tracing(child, streams) || runs_lines && is_joined
    }

    /// Returns who began the connection of a socket, by its cookie.
    #[must_use]
    pub fn opened(&self, cookie: u64) -> Option<Opened> {
        let (_, role) = self.processes.owner(cookie).filter(|_| cookie != 0)?;
        Some(match role {
            Role::Originator => Opened::Connected,
            Role::Responder => Opened::Accepted,
        })
    }

    /// A process is gone: what it runs is no more to be expected.
    pub fn process_ended(&mut self, id: ProcessId) {
        self.suspects.forget(id);
    }

    fn take_case(&mut self, case: &Case, graph: &Graph, look: Look) {
        let id = case.process.id;
        let is_upgrade = case.process.parents.iter().any(|parent| self.is_found(parent.id));
        let is_recon = graph.nodes.first().is_some_and(|node| self.programs.is_recon(&node.process));
        let suspect = self.suspects.at(id);
        let mut is_new = false;
        if let (Shape::Output | Shape::Commands, Some(node)) = (case.shape, graph.nodes.first()) {
            is_new = suspect.run(&node.process, is_recon);
        }
        let (commands, count, recon) = (suspect.commands.clone(), suspect.count, suspect.recon);
        let about = self.about_end(&case.end, case.shape);
        let follows_data = self.follows_data(&case.end, look.since_ns);
        let evidence = HostShell {
            case,
            graph,
            commands: &commands,
            count,
            recon,
            follows_data,
            is_upgrade,
            latency_s: look.at_ns.saturating_sub(look.since_ns) as f64 / 1e9,
        };
        if let Some(judged) = self.judge(&evidence, &about, look.at_ns) {
            let mut finding = judged.finding.clone();
            let culprit = Culprit {
                key: case.end.key,
                process: Some(id),
                holder: Some(case.end.at.pid),
                since: Timestamp(look.since_ns),
                is_own: self.scope.is_own(case.end.key.src.ip()),
                is_protected: self.scope.is_protected(case.end.key.dst.ip()),
            };
            self.act_on(judged, &about, Some(culprit));
            let incident = self.incidents.find(case.detector(), &about.subject);
            finding.id = incident.and_then(|handle| self.incidents.get(handle)).map_or(0, |incident| incident.id);
            self.suspects.at(id).finding = Some(finding);
        } else if is_new {
            self.tell_commands(id);
        }
    }

    fn note_command(&mut self, id: ProcessId, child: &Process, is_recon: bool) {
        let Some(suspect) = self.suspects.get_mut(id) else { return };
        let kept = suspect.commands.len();
        // What is beyond the first ones is counted and not told.
        if suspect.run(child, is_recon) && suspect.commands.len() > kept {
            self.tell_commands(id);
        }
    }

    /// Tells a finding again with the commands that came after it.
    fn tell_commands(&mut self, id: ProcessId) {
        let Some(suspect) = self.suspects.get_mut(id) else { return };
        let Some(finding) = suspect.finding.as_mut() else { return };
        let host = finding.host.get_or_insert_with(HostEvidence::default);
        if host.commands != suspect.commands {
            host.commands.clone_from(&suspect.commands);
            self.commands.push_back(Command::Update(Box::new(finding.clone())));
        }
    }

    fn is_found(&self, id: ProcessId) -> bool {
        self.suspects.get(id).is_some_and(|suspect| suspect.finding.is_some())
    }

    /// Returns what evidence of a socket is about: its conversation, where a record of it was seen already.
    fn about_end(&mut self, end: &End, shape: Shape) -> About {
        let flow = if matches!(shape, Shape::Bound(_)) { end.key.reversed() } else { end.key };
        let pair = PairKey { originator: flow.src, responder: flow.dst, port: flow.dst_port(), proto: flow.proto };
        let conversation = self.table.find(&flow.conversation().0);
        let known = conversation.and_then(|handle| self.about_conversation(handle)).filter(|about| about.pair == pair);
        let name = self.answers.name(flow.src, flow.dst, self.now_ns).cloned();
        let subject = Subject::Pair(pair);
        known.unwrap_or(About { pair, name, conversation: None, history: None, subject })
    }

    fn follows_data(&mut self, end: &End, since_ns: u64) -> bool {
        let entry = self.table.find(&end.key.conversation().0).and_then(|handle| self.table.get(handle));
        let Some((entry, turn)) = entry.and_then(|entry| Some((entry, entry.open?))) else { return false };
        turn.starter != entry.originator() && turn.at_ns <= since_ns && since_ns - turn.at_ns <= FOLLOWS_NS
    }
}

/// A script that is piped to a shell runs what it runs.
fn takes_commands(finding: &crate::finding::Finding) -> bool {
    finding.detector != crate::detect::Detector::PipedScript.name()
}

/// Names the processes at a conversation's ends: by the socket, or else by who waits on the port.
pub(super) fn attribute(entry: &mut Entry, processes: &Processes, scope: &Scope) {
    // What waits on the port is a guess that the socket itself corrects.
    let ends = processes.ends_of(&entry.key, entry.cookie);
    entry.process = ends.originator.or_else(|| entry.process.take());
    entry.responder_process = ends.responder.or_else(|| entry.responder_process.take());
    let flow = entry.key.flow(entry.originator());
    if entry.process.is_none() {
        entry.process = processes.bound(&flow, scope.is_own(flow.src.ip())).cloned();
    }
    if entry.responder_process.is_none() {
        entry.responder_process = processes.bound(&flow.reversed(), scope.is_own(flow.dst.ip())).cloned();
    }
}

/// Completes the processes at a conversation's ends: they are often looked at only after its packets were seen.
pub(super) fn complete(entry: &mut Entry, processes: &Processes) {
    for end in [&mut entry.process, &mut entry.responder_process].into_iter().flatten() {
        if let Some(known) = processes.completed(end) {
            end.clone_from(known);
        }
    }
}
