//! Who owns a socket, and what kind of program that is.

mod identity;
mod image;
mod programs;

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use netd_common::key::{Address, ConversationKey, FlowKey};
use netd_common::record::Owner;

use crate::engine::Listening;

pub use identity::{Ancestor, Container, Missing, Pod, Process, ProcessId, Provenance, Runtime};
pub use image::Image;
pub(crate) use image::{Script, is_system, is_temporary, program_of};
pub use programs::{Class, Programs};

/// Sockets and processes remembered at once.
const LIMIT: usize = 65_536;

/// Which end of a conversation a socket's owner stands at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Originator,
    Responder,
}

/// A port of this host: protocol, address (all zero for every address), port in network byte order.
type Bound = (u8, Address, [u8; 2]);

/// The processes at a conversation's ends, where they are this host's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends {
    pub(crate) originator: Option<Arc<Process>>,
    pub(crate) responder: Option<Arc<Process>>,
}

/// Owners by socket cookie and by what they bound, details by process.
pub(crate) struct Processes {
    owners: Recent<u64, (Arc<Process>, Role)>,
    /// By five-tuple, of sockets whose packets have not been seen or bear no cookie.
    /// Both ends may be this host's.
    conversations: Recent<ConversationKey, Ends>,
    /// None: released, and nobody has taken it since.
    bound: Recent<Bound, Option<Arc<Process>>>,
    /// By number: the latest that bore it.
    details: Recent<u32, (Arc<Process>, Provenance)>,
}

impl Processes {
    pub(crate) fn new() -> Self {
        Self {
            owners: Recent::new(LIMIT),
            conversations: Recent::new(LIMIT),
            bound: Recent::new(LIMIT),
            details: Recent::new(LIMIT),
        }
    }

    /// Remembers who owns a socket, and returns it.
    pub(crate) fn learn_owner(&mut self, cookie: u64, owner: &Owner, role: Role) -> Option<Arc<Process>> {
        if owner.tgid == 0 {
            return None;
        }
        let process = self.process(owner);
        if cookie != 0 {
            self.owners.insert(cookie, (process.clone(), role));
        }
        Some(process)
    }

    /// Remembers whose a conversation is, until its packets are seen.
    pub(crate) fn learn_conversation(&mut self, key: ConversationKey, owner: Arc<Process>, role: Role) {
        let mut ends = self.conversations.get(&key).cloned().unwrap_or_default();
        match role {
            Role::Originator => ends.originator = Some(owner),
            Role::Responder => ends.responder = Some(owner),
        }
        self.conversations.insert(key, ends);
    }

    /// Remembers who waits on a port for datagrams or connections.
    pub(crate) fn learn_bound(&mut self, key: &FlowKey, owner: &Owner) {
        if owner.tgid != 0 && key.src_port != [0; 2] {
            let process = self.process(owner);
            self.bound.insert((key.proto, key.src, key.src_port), Some(process));
        }
    }

    /// Forgets who had a port.
    pub(crate) fn release_bound(&mut self, key: &FlowKey) {
        let bound = (key.proto, key.src, key.src_port);
        if self.bound.get(&bound).is_some() {
            self.bound.insert(bound, None);
        }
    }

    /// Returns who has which port.
    pub(crate) fn listening(&self) -> impl Iterator<Item = Listening> {
        self.bound.values.iter().filter_map(|((proto, address, port), process)| {
            let process = process.as_ref()?.clone();
            Some(Listening { proto: *proto, address: address.ip(), port: u16::from_be_bytes(*port), process })
        })
    }

    fn process(&self, owner: &Owner) -> Arc<Process> {
        let id = ProcessId::new(owner.tgid, owner.start_ns);
        let name = comm(&owner.comm);
        // After exec the details are those of what ran before, until the shell has looked again.
        if let Some((known, _)) = self.details(id).filter(|(known, _)| known.comm == name) {
            return known.clone();
        }
        let exe = self.details(id).and_then(|(known, _)| known.exe.clone());
        Arc::new(Process {
            id,
            uid: owner.uid,
            comm: name,
            exe,
            cgroup_id: owner.cgroup_id,
            netns: owner.netns.into(),
            ..Process::default()
        })
    }

    pub(crate) fn learn_details(&mut self, process: Arc<Process>, provenance: Provenance) {
        self.details.insert(process.id.pid, (process, provenance));
    }

    /// Returns the owner of a socket, and the end it stands at.
    pub(crate) fn owner(&self, cookie: u64) -> Option<&(Arc<Process>, Role)> {
        self.owners.get(&cookie)
    }

    /// Returns whose a conversation is, by its socket and by its ends.
    pub(crate) fn ends_of(&self, key: &ConversationKey, cookie: u64) -> Ends {
        let mut ends = self.conversations.get(key).cloned().unwrap_or_default();
        if let Some((owner, role)) = self.owner(cookie).filter(|_| cookie != 0) {
            match role {
                Role::Originator => ends.originator = Some(owner.clone()),
                Role::Responder => ends.responder = Some(owner.clone()),
            }
        }
        ends
    }

    /// Returns who has the port that a flow comes from: a port of every address only where the flow is this host's own.
    pub(crate) fn bound(&self, flow: &FlowKey, is_own: bool) -> Option<&Arc<Process>> {
        let any = [Address::v4([0; 4]), Address::default()];
        let mut addresses = std::iter::once(flow.src).chain(any.into_iter().filter(|_| is_own));
        addresses.find_map(|address| self.bound.get(&(flow.proto, address, flow.src_port))?.as_ref())
    }

    /// Returns what is known of a process: of this one, where its start is known on both sides.
    pub(crate) fn details(&self, id: ProcessId) -> Option<&(Arc<Process>, Provenance)> {
        let is_same = |start: u64| start == id.start_ticks || start == 0 || id.start_ticks == 0;
        self.details.get(&id.pid).filter(|(known, _)| is_same(known.id.start_ticks))
    }

    /// Returns a process with what was found out since, unless it runs another program by now. A thread may have a name
    /// of its own: the executable tells.
    pub(crate) fn completed(&self, process: &Process) -> Option<&Arc<Process>> {
        let is_same = |known: &Process| process.exe.is_none() || process.exe == known.exe;
        self.details(process.id).map(|(known, _)| known).filter(|known| is_same(known))
    }

    pub(crate) fn provenance(&self, id: ProcessId) -> Option<Provenance> {
        self.details(id).map(|(_, provenance)| *provenance)
    }
}

fn comm(bytes: &[u8; 16]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// A map that forgets whatever was inserted first.
struct Recent<K, V> {
    values: HashMap<K, V>,
    order: VecDeque<K>,
    limit: usize,
}

impl<K: Copy + Eq + Hash, V> Recent<K, V> {
    fn new(limit: usize) -> Self {
        Self { values: HashMap::new(), order: VecDeque::new(), limit }
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key)
    }

    fn insert(&mut self, key: K, value: V) {
        if self.values.insert(key, value).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.values.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_forgotten_first_come_first_gone() {
        let mut recent = Recent::new(2);
        for key in 0..3 {
            recent.insert(key, key);
        }

        assert_eq!(recent.get(&0), None);
        assert_eq!(recent.get(&2), Some(&2));
        assert_eq!(recent.order.len(), 2);
    }

    #[test]
    fn an_owner_the_kernel_did_not_see_is_nobody() {
        assert_eq!(Processes::new().learn_owner(7, &Owner::default(), Role::Originator), None);
    }

    #[test]
    fn a_command_name_ends_at_its_first_zero() {
        assert_eq!(comm(b"curl\0rest-of-it\0"), "curl");
    }
}
