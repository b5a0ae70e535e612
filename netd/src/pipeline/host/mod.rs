//! The processes behind the network: what the kernel tells of them is remembered, looked up, traced, and handed to the
//! engine.

mod facts;
mod tracer;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use netd_common::process::{ExitRecord, ProcessEvent, ProcessRecord};
use netd_common::record::Owner;
use netd_engine::Engine;
use netd_engine::process::ProcessId;
use netd_engine::streams::{Look, Opened, Snapshot, Socket, Trigger, is_worth_tracing};

use super::shift::Shift;
use crate::host::clock;
use crate::host::inspector::{Counts, Inspector, Settings, new_reader};
use crate::kernel::{EventRef, Events};
use tracer::{Ask, Traced, Tracer};

/// Records taken at once.
const BATCH: usize = 4_096;
/// A look whose streams lead nowhere yet is repeated this long after what triggered it: the other end is often opened after the shell.
const AGAIN: [Duration; 9] = [
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(350),
    Duration::from_millis(600),
    Duration::from_millis(1_200),
    Duration::from_millis(2_500),
];
/// From the daemon's start to the look at what was there before, nanoseconds.
const SETTLED_NS: u64 = 1_000_000_000;
/// Looks that wait to be repeated; the oldest goes first.
const MOST_AGAIN: usize = 4_096;

/// What attribution and tracing lost, and how much they did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) inspector: Counts,
    pub(super) undecoded: u64,
    pub(super) snapshots: u64,
    /// Processes and namespaces that snapshots could not read.
    pub(super) unread: u64,
    /// Looks that found no room.
    pub(super) looks_lost: u64,
}

pub(super) struct Host {
    records: Events,
    inspector: Inspector,
    tracer: Tracer,
    /// When to look again, in monotonic nanoseconds, and at whom; in order.
    again: VecDeque<(u64, Look)>,
    /// Answers that were waited for.
    heard: Option<Traced>,
    tally: Tally,
}

impl Host {
    pub(super) fn start(records: Events) -> io::Result<Self> {
        let inspector = Inspector::start(Settings::default())?;
        let tracer = Tracer::start(new_reader)?;
        Ok(Self { records, inspector, tracer, again: VecDeque::new(), heard: None, tally: Tally::default() })
    }

    /// Names the owners of the sockets that are older than the daemon, and looks at the shells that are.
    pub(super) fn begin(&mut self, engine: &mut Engine, shift: Shift) {
        let (owned, taken) = self.inspector.begin(&|_| None);
        for owned in &owned {
            engine.observe_socket(&facts::record(owned));
        }
        let since_ns = shift.now().0;
        for (process, streams) in facts::standing(&taken.snapshot) {
            if is_worth_tracing(process, streams) {
                let look = Look { pid: process.id.pid, trigger: Trigger::Start, since_ns, at_ns: since_ns };
                // By then the processes have been looked at, and are told from those that only look like shells.
                self.again.push_back((clock::monotonic_ns() + SETTLED_NS, look));
            }
        }
    }

    /// Waits for records, answers, or until a look is to be repeated; at most for `patience`. Is cancel safe.
    pub(super) async fn wait(&mut self, patience: Duration) -> io::Result<()> {
        let due = self.again.front().map_or(patience, |(due_ns, _)| {
            Duration::from_nanos(due_ns.saturating_sub(clock::monotonic_ns())).min(patience)
        });
        if self.heard.is_some() {
            return Ok(());
        }
        tokio::select! {
            waited = self.records.wait(due) => waited,
            traced = self.tracer.answers.recv() => {
                self.heard = traced;
                Ok(())
            }
        }
    }

    /// Takes what the kernel, the looks and the tracer have told; returns how many records there were.
    pub(super) fn take(&mut self, engine: &mut Engine, shift: Shift) -> usize {
        let Self { records, inspector, tracer, .. } = self;
        let taken = records.poll_batch(BATCH, |event| match event {
            EventRef::Process(record, filename, args) => {
                hear(engine, inspector, tracer, shift, (record, filename, args));
            }
            EventRef::Exit(record) => ended(engine, inspector, record),
            EventRef::Flow(_) | EventRef::Turn(_) | EventRef::Payload(..) | EventRef::Socket(_) => {}
        });
        for id in self.inspector.turn(clock::monotonic_ns()) {
            if let Some(known) = self.inspector.get(id) {
                engine.observe_process(known.process, known.provenance);
            }
        }
        while let Some(traced) = self.heard.take().or_else(|| self.tracer.answers.try_recv().ok()) {
            self.traced(engine, shift, traced);
        }
        self.look_again();
        taken
    }

    /// Learns of a socket's owner before the engine hears of the socket.
    pub(super) fn meet(&mut self, engine: &mut Engine, owner: &Owner) {
        if owner.tgid == 0 || self.inspector.get(facts::id(owner)).is_some() {
            return;
        }
        self.inspector.learn(facts::of_owner(owner));
        if let Some(known) = self.inspector.get(facts::id(owner)) {
            engine.observe_process(known.process, known.provenance);
        }
    }

    pub(super) fn tally(&self) -> Tally {
        Tally {
            inspector: self.inspector.counts(),
            undecoded: self.records.undecoded(),
            looks_lost: self.tracer.lost,
            ..self.tally
        }
    }

    fn traced(&mut self, engine: &mut Engine, shift: Shift, Traced { looks, mut snapshot, unread, lost }: Traced) {
        self.tally.snapshots += 1;
        self.tally.unread += unread;
        self.tracer.lost += lost;
        self.complete(engine, &mut snapshot);
        let at_ns = shift.now().0;
        for look in looks {
            let is_unfinished = engine.observe_streams(&snapshot, Look { at_ns, ..look });
            match (is_unfinished, snapshot.is_part) {
                (true, true) => self.tracer.ask(Ask::Whole(look)),
                (true, false) => self.repeat(look, at_ns),
                (false, true | false) => {}
            }
        }
    }

    /// Adds to a snapshot what the kernel told of its processes and sockets.
    fn complete(&mut self, engine: &Engine, snapshot: &mut Snapshot) {
        for process in snapshot.processes.values_mut() {
            if let Some(known) = self.inspector.get(process.id) {
                *process = known.process;
            }
        }
        for socket in snapshot.sockets.values_mut() {
            if let Socket::Inet(socket) = socket
                && socket.opened != Opened::Listening
                && let Some(opened) = engine.opened(socket.cookie)
            {
                socket.opened = opened;
            }
        }
    }

    /// Puts a look off to the next of the times in [`AGAIN`], which count from what triggered it.
    fn repeat(&mut self, look: Look, now_ns: u64) {
        let passed = Duration::from_nanos(now_ns.saturating_sub(look.since_ns));
        let Some(next) = AGAIN.iter().find(|after| **after > passed) else { return };
        if self.again.len() >= MOST_AGAIN {
            self.again.pop_front();
            self.tracer.lost += 1;
        }
        let wait_ns = u64::try_from((*next - passed).as_nanos()).unwrap_or(u64::MAX);
        let due_ns = clock::monotonic_ns().saturating_add(wait_ns);
        let at = self.again.partition_point(|(other_ns, _)| *other_ns <= due_ns);
        self.again.insert(at, (due_ns, look));
    }

    fn look_again(&mut self) {
        let now_ns = clock::monotonic_ns();
        while let Some((_, look)) = self.again.pop_front_if(|(due_ns, _)| *due_ns <= now_ns) {
            self.tracer.ask(Ask::Near(look));
        }
    }
}

/// Takes a record of a process in, and has its standard streams traced where they may be a shell's.
fn hear(
    engine: &mut Engine,
    inspector: &mut Inspector,
    tracer: &mut Tracer,
    shift: Shift,
    (record, filename, args): (&ProcessRecord, &[u8], &[u8]),
) {
    let Some(event) = ProcessEvent::from_number(record.event) else { return };
    let at_ns = shift.time(record.header.time_ns);
    inspector.learn(facts::of_record(record, filename, args));
    let Some(known) = inspector.get(facts::id(&record.owner)) else { return };
    engine.observe_process(known.process.clone(), known.provenance);
    let streams = facts::streams(record);
    let (trigger, is_worth) = match event {
        ProcessEvent::Exec => (Trigger::Exec, engine.observe_exec(&known.process, streams, at_ns)),
        ProcessEvent::Redirect | ProcessEvent::Connect => {
            (Trigger::Redirect, is_worth_tracing(&known.process, streams))
        }
    };
    if !is_worth {
        return;
    }
    let look = Look { pid: record.owner.tgid, trigger, since_ns: at_ns, at_ns: shift.now().0 };
    if facts::is_direct(record) {
        engine.observe_streams(&facts::snapshot(record, &known.process), look);
    } else {
        tracer.ask(Ask::Near(look));
    }
}

fn ended(engine: &mut Engine, inspector: &mut Inspector, record: &ExitRecord) {
    let id = ProcessId::new(record.tgid, record.start_ns);
    inspector.exit(id, clock::monotonic_ns());
    engine.process_ended(id);
}
