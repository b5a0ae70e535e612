//! The engine: records in, commands out.
//!
//! It asks and does not act: whatever the shell must do is a [`Command`]. Its time is that of the records and of
//! [`Engine::tick`], Unix time in nanoseconds; the same calls in the same order give the same commands.

mod about;
mod attempts;
mod command;
mod context;
mod conversations;
mod counts;
mod explain;
mod host;
mod hunt;
mod incident;
mod judge;
mod listed;
mod lookups;
mod names;
mod pace;
mod review;
mod sessions;
mod signals;
mod snapshot;
mod suspects;
mod verdicts;
mod watch;

use std::collections::VecDeque;
use std::sync::Arc;

use netd_common::key::Direction;
use netd_common::packet::IPPROTO_TCP;
use netd_common::record::{FlowRecord, PayloadKind, PayloadRecord, SocketEvent, SocketRecord, TurnRecord};

pub use command::Command;
pub use counts::Counts;
pub use explain::{Explanation, Followed, Question, Silenced};
pub use hunt::{EchoTraffic, Listening, MOST as MOST_RHYTHMS, NameTraffic, Names, Rhythms};
pub use pace::Withheld;
pub use snapshot::RestoreError;

use crate::attack::Attack;
use crate::config::{Config, Networks};
use crate::detect::brute::Guesses;
use crate::detect::dns::Watch;
use crate::detect::icmp::Echoes;
use crate::detect::scan::{Noise, Scans};
use crate::detect::upload::Uploads;
use crate::dns::{Answers, Lookups, Streams};
use crate::flow::{self, Conversation, EndReason, GOODBYE_WAIT_NS};
use crate::history::{Histories, Place};
use crate::intel::Intel;
use crate::keyed::SketchKey;
use crate::listed::{Listed, Questions, Tenants};
use crate::name::NameSource;
use crate::opening::{FirstData, Openings};
use crate::policy::{Ceiling, Policies};
use crate::process::{Processes, Programs, Role};
use crate::regions::Regions;
use crate::scope::Scope;
use crate::services::Services;
use crate::slab::Handle;
use crate::suppress::Suppression;
use crate::time::Timestamp;
use crate::tools::Tools;
use crate::weights::Weights;

/// The analytics of one shard.
pub struct Engine {
    scope: Scope,
    weights: Weights,
    attack: Attack,
    services: Services,
    intel: Arc<Intel>,
    suppressions: Arc<[Suppression]>,
    tools: Tools,
    gap_ns: u64,
    reports_flows: bool,
    /// The latest time of any record or tick, and the first; record time.
    now_ns: u64,
    began_ns: Option<u64>,
    table: flow::Table,
    histories: Histories,
    answers: Answers,
    openings: Openings,
    processes: Processes,
    programs: Programs,
    suspects: suspects::Suspects,
    regions: Regions,
    /// Turns that wait for their name, or for the end that would make them a goodbye: until when, whose, which.
    held: VecDeque<(u64, Handle, u64)>,
    incidents: incident::Incidents,
    pace: pace::Pace,
    /// When incidents are looked at again.
    review_ns: u64,
    /// Attempts that nobody has answered so far: until when, whose.
    awaited: VecDeque<(u64, Handle)>,
    awaited_limit: usize,
    scans: Scans,
    noise: Noise,
    guesses: Guesses,
    echoes: Echoes,
    uploads: Uploads,
    verdicts: verdicts::Verdicts,
    commands: VecDeque<Command>,
    counts: Counts,
    /// Questions and answers of DNS, and messages that are not complete.
    dns_watch: Watch,
    dns_streams: Streams,
    lookups: Lookups,
    /// Names that lists hold, the questions whose answers count, and who else has an address.
    listed: Arc<Listed>,
    questions: Questions,
    tenants: Tenants,
}

impl Engine {
    #[must_use]
    pub fn new(config: Config) -> Self {
        let gap_ns = u64::from(config.flows.turn_gap_ms) * 1_000_000;
        let key = SketchKey::new(config.sketch_key);
        Self {
            dns_watch: Watch::new(&config.dns, config.weights.dns, gap_ns, key),
            dns_streams: Streams::default(),
            lookups: Lookups::new(config.dns.lookups_per_s),
            scope: Scope::new(&config.networks),
            weights: config.weights,
            attack: Attack::default(),
            services: config.services,
            intel: Arc::default(),
            suppressions: Arc::default(),
            gap_ns,
            tools: config.tools,
            reports_flows: config.flows.report,
            now_ns: 0,
            began_ns: None,
            table: flow::Table::new(&config.flows),
            histories: Histories::new(&config.histories),
            answers: Answers::new(&config.names),
            openings: Openings::new(),
            processes: Processes::new(),
            programs: config.programs,
            suspects: suspects::Suspects::default(),
            regions: Regions::new(config.geography),
            held: VecDeque::new(),
            incidents: incident::Incidents::new(config.histories.limit),
            pace: pace::Pace::new(config.reports),
            review_ns: 0,
            awaited: VecDeque::new(),
            awaited_limit: config.flows.limit,
            scans: Scans::new(key),
            noise: Noise::default(),
            guesses: Guesses::new(),
            echoes: Echoes::new(),
            uploads: Uploads::new(),
            verdicts: verdicts::Verdicts::new(config.policies),
            commands: VecDeque::new(),
            counts: Counts::default(),
            listed: Arc::default(),
            questions: Questions::default(),
            tenants: Tenants::default(),
        }
    }

    /// Takes a conversation's counters into account.
    pub fn observe_flow(&mut self, record: &FlowRecord) {
        self.counts.flow_records += 1;
        self.advance(record.header.time_ns);
        self.take_flow(record);
    }

    /// Takes the present counters of a conversation into account, where the flow table was read: no record tells of one
    /// that has fallen silent.
    pub fn observe_slot(&mut self, record: &FlowRecord) {
        self.advance(record.header.time_ns);
        self.take_flow(record);
    }

    /// Takes the beginning of a turn into account.
    pub fn observe_turn(&mut self, record: &TurnRecord) {
        self.counts.turn_records += 1;
        self.advance(record.header.time_ns);
        let handle = self.conversation(&record.key, record.header.time_ns);
        self.take_turn(handle, record);
    }

    /// Takes first data or a DNS message into account; `bytes` is what was captured of it.
    pub fn observe_payload(&mut self, record: &PayloadRecord, bytes: &[u8]) {
        self.counts.payload_records += 1;
        self.advance(record.header.time_ns);
        let handle = self.conversation(&record.key, record.header.time_ns);
        let direction = Direction::from_bit(record.direction);
        if record.kind == PayloadKind::Dns as u8 {
            self.hear_dns(handle, record, direction, bytes);
        } else if record.kind == PayloadKind::FirstData as u8 {
            self.hear_first_data(handle, record, bytes);
        }
    }

    /// Takes what happened to a socket of this host into account.
    pub fn observe_socket(&mut self, record: &SocketRecord) {
        self.counts.socket_records += 1;
        self.advance(record.header.time_ns);
        let Some(event) = SocketEvent::from_number(record.event) else { return };
        let (role, names_conversation) = match event {
            SocketEvent::Connected => (Role::Originator, true),
            SocketEvent::Accepted | SocketEvent::AcceptedBy => (Role::Responder, true),
            // A datagram socket with a peer is this host's side of it.
            SocketEvent::Released if record.key.dst_port != [0; 2] => (Role::Originator, true),
            SocketEvent::Released => {
                self.processes.release_bound(&record.key);
                return;
            }
            SocketEvent::Open | SocketEvent::Refused => (Role::Originator, false),
            SocketEvent::Listen | SocketEvent::Bound => {
                self.processes.learn_bound(&record.key, &record.owner);
                (Role::Responder, false)
            }
            // It says nothing of who began.
            SocketEvent::Closed => return,
        };
        let owner = self.processes.learn_owner(record.cookie, &record.owner, role);
        if record.key.src_port == [0; 2] || record.key.dst_port == [0; 2] || !names_conversation {
            return;
        }
        let (key, _) = record.key.conversation();
        let Some(entry) = self.table.find(&key).and_then(|handle| self.table.get_mut(handle)) else {
            if let Some(owner) = owner {
                self.processes.learn_conversation(key, owner, role);
            }
            return;
        };
        entry.cookie = record.cookie;
        match role {
            Role::Originator => entry.process = owner.or_else(|| entry.process.take()),
            Role::Responder => entry.responder_process = owner.or_else(|| entry.responder_process.take()),
        }
    }

    /// Ends what has been idle, releases what has expired.
    pub fn tick(&mut self, now: Timestamp) {
        self.advance(now.0);
        while let Some(handle) = self.table.expired(self.now_ns) {
            self.expire(handle);
        }
        self.lookups.expire(self.now_ns);
        self.tell_lookups();
        self.review();
        self.sum_up(false);
        self.verdicts.release(Timestamp(self.now_ns), &mut self.commands);
    }

    /// Ends every conversation: the source has nothing more to say.
    pub fn finish(&mut self) {
        self.release_held(u64::MAX);
        self.lookups.finish();
        self.tell_lookups();
        for place in 0..self.table.places() {
            if let Some(handle) = self.table.at(place) {
                self.end(handle, EndReason::Forced);
                self.table.remove(handle);
            }
        }
        self.sum_up(true);
    }

    /// Tells how many reports were withheld.
    fn sum_up(&mut self, all: bool) {
        let withheld = self.pace.summaries(self.now_ns, all);
        self.commands.extend(withheld.into_iter().map(Command::Withheld));
    }

    /// Returns the next thing that the shell must do.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Returns the conversations that are alive, in no order that means anything.
    pub fn conversations(&self) -> impl Iterator<Item = Conversation> {
        let alive = self.table.iter().filter(|entry| entry.phase != flow::Phase::Reported);
        alive.map(|entry| {
            let mut conversation = Conversation::of(entry, EndReason::Active);
            for end in [&mut conversation.process, &mut conversation.responder_process].into_iter().flatten() {
                if let Some(known) = self.processes.completed(end) {
                    end.clone_from(known);
                }
            }
            conversation
        })
    }

    /// Changes the policies; verdicts in force stay.
    pub fn set_policies(&mut self, policies: Arc<Policies>) {
        self.verdicts.set_policies(policies);
    }

    /// Changes how far any policy goes, for what is said of findings: acting less is the caller's.
    pub fn set_ceiling(&mut self, ceiling: Ceiling) {
        self.verdicts.set_ceiling(ceiling);
    }

    /// Changes whose addresses are whose: what is decided from here on goes by it. The local networks stay.
    pub fn set_networks(&mut self, networks: &Networks) {
        self.scope = Scope::new(networks);
    }

    /// Changes the benign services; conversations are matched from here on.
    pub fn set_services(&mut self, services: Services) {
        self.services = services;
    }

    /// Changes what evidence is worth; what is judged from here on is judged by it.
    pub fn set_weights(&mut self, weights: Weights) {
        self.dns_watch.set_thresholds(weights.dns);
        self.weights = weights;
    }

    /// Changes the lists of threat intelligence; conversations are matched from here on.
    pub fn set_intel(&mut self, intel: Arc<Intel>) {
        self.intel = intel;
    }

    /// Changes what operators suppress. A finding that is suppressed asks for no verdict; releasing those
    /// that it asked for before is the caller's.
    pub fn set_suppressions(&mut self, suppressions: Arc<[Suppression]>) {
        self.suppressions = suppressions;
    }

    /// Forgets a verdict that an operator released, so that it is not released again.
    pub fn forget_verdict(&mut self, target: &crate::verdict::Target) {
        self.verdicts.forget(target);
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            conversations: self.table.len() as u64,
            histories: self.histories.len() as u64,
            histories_evicted: self.histories.evicted,
            names_forgotten: self.answers.forgotten,
            openings_cut: self.openings.cut,
            dns_zones: self.dns_watch.zones(),
            dns_evicted: self.dns_watch.evicted(),
            withheld: self.pace.withheld,
            lookups_untold: self.lookups.untold,
            ..self.counts
        }
    }

    /// Moves time on. Times of several CPUs may overlap a little; the latest counts.
    fn advance(&mut self, at_ns: u64) {
        self.began_ns.get_or_insert(at_ns);
        if at_ns > self.now_ns {
            self.now_ns = at_ns;
            self.release_held(at_ns);
            self.release_attempts(at_ns);
        }
    }

    fn release_held(&mut self, until_ns: u64) {
        while let Some((due_ns, handle, at_ns)) = self.held.front().copied() {
            if due_ns > until_ns {
                return;
            }
            self.held.pop_front();
            let Some(entry) = self.table.get_mut(handle) else { continue };
            if entry.open.is_some_and(|open| open.at_ns == at_ns)
                && let Some((at_ns, starter)) = entry.release_turn()
            {
                self.commit(handle, at_ns, starter);
            }
        }
    }

    fn hold(&mut self, handle: Handle, at_ns: u64) {
        self.held.push_back((at_ns.saturating_add(GOODBYE_WAIT_NS), handle, at_ns));
    }

    fn hear_first_data(&mut self, handle: Handle, record: &PayloadRecord, bytes: &[u8]) {
        let Some(entry) = self.table.get_mut(handle) else { return };
        let originator = entry.originator();
        let data = FirstData {
            direction: Direction::from_bit(record.direction),
            originator,
            ip_protocol: entry.key.proto,
            responder_port: entry.key.flow(originator).dst_port(),
            seq: (entry.key.proto == IPPROTO_TCP).then_some(record.seq),
            bytes,
            at_ns: record.header.time_ns,
        };
        // Frames inside an upgraded connection come when its opening is over.
        let has_signs = entry.signs.hear(bytes, data.direction == originator);
        let Some(heard) = self.openings.hear(handle, entry.opening.is_some(), &data) else {
            if has_signs {
                self.on_opening(handle, self.now_ns);
            }
            return;
        };
        let opening = heard.opening;
        let before = entry.opening.as_ref().map(|opening| opening.facts).unwrap_or_default();
        entry.facts = entry.facts.without(before).with(opening.facts);
        entry.awaits_name = heard.awaits_name;
        entry.signs.speak(opening.protocol);
        if let Some(name) = opening.name.as_deref().filter(|_| opening.source == NameSource::Sni) {
            let flow = entry.key.flow(originator);
            // A name that DNS gave is nobody's invention.
            if self.answers.name(flow.src, flow.dst, self.now_ns).is_none() {
                entry.signs.hear_name(name);
            }
        }
        if opening.source != NameSource::None && opening.source > entry.name_source {
            (entry.name, entry.name_source) = (opening.name.clone(), opening.source);
            entry.place = Place::Unknown;
        }
        match entry.place {
            Place::At { pair, name } => self.histories.observe_facts((pair, name), entry.facts, Some(&opening)),
            // What was taken for benign by its port alone is looked at again.
            Place::Excluded(_) => entry.place = Place::Unknown,
            Place::Unknown | Place::Outside => {}
        }
        entry.opening = Some(opening);
        if data.direction == originator
            && !entry.awaits_name
            && let Some((at_ns, starter)) = entry.release_named_turn()
        {
            self.commit(handle, at_ns, starter);
        }
        self.on_opening(handle, self.now_ns);
    }
}
