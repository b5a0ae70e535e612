//! All that is remembered of questions and answers, and what in it is worth weighing.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use netd_common::key::Address;

use super::Thresholds;
use super::asked::{Asked, ZoneKey};
use super::bounded::Bounded;
use super::client::{Client, Domain, Server};
use super::dga::Generated;
use super::flux::{Moving, Name};
use super::look::{Look, ln_p, look};
use super::rhythm::Polls;
use super::tunnel::Tunnel;
use super::zone::{Query, Zone};
use crate::config;
use crate::dns::{Message, Owner, Question};
use crate::engine::NameTraffic;
use crate::history::Prevalence;
use crate::keyed::SketchKey;

/// Information that grows is weighed again after this long.
const WEIGHED_EACH_NS: u64 = 1_000_000_000;
/// A server that this many clients ask about this many domains asks for others, and is no client itself.
const RESOLVER_CLIENTS: u32 = 2;
/// What stands for the domain where names have none.
const NO_DOMAIN: &str = "names without a domain";

/// A message between a client and a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard<'a> {
    pub(crate) message: &'a Message,
    pub(crate) client: Address,
    pub(crate) server: Address,
    pub(crate) proto: u8,
    pub(crate) is_from_server: bool,
    pub(crate) at_ns: u64,
}

/// What a message makes worth weighing.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) tunnel: Option<Tunnel>,
    pub(crate) polls: Option<Polls>,
    pub(crate) generated: Option<Generated>,
    pub(crate) moving: Option<Moving>,
}

/// What a question is about.
struct Topic<'a> {
    question: &'a Question,
    key: ZoneKey,
    /// The domain's number, shared by all clients, and its labels: from this one on.
    domain: u64,
    from: usize,
    /// Somebody registered it below a public suffix.
    is_registered: bool,
    /// The name has no domain.
    is_bare: bool,
}

impl Topic<'_> {
    fn text(&self) -> Arc<str> {
        if self.is_bare { NO_DOMAIN.into() } else { self.question.name.text_from(self.from).into() }
    }
}

/// The memory of all DNS detectors.
pub(crate) struct Watch {
    /// Under which names are counted.
    key: SketchKey,
    thresholds: Thresholds,
    gap_ns: u64,
    zones: Bounded<ZoneKey, Zone>,
    domains: Bounded<u64, Domain>,
    clients: Bounded<Address, Client>,
    servers: Bounded<Address, Server>,
    names: Bounded<u64, Name>,
}

impl Watch {
    pub(crate) fn new(config: &config::Dns, thresholds: Thresholds, gap_ns: u64, key: SketchKey) -> Self {
        Self {
            key,
            thresholds,
            gap_ns,
            zones: Bounded::new(config.zones),
            domains: Bounded::new(config.domains),
            clients: Bounded::new(config.clients),
            servers: Bounded::new(config.servers),
            names: Bounded::new(config.moving),
        }
    }

    pub(crate) fn set_thresholds(&mut self, thresholds: Thresholds) {
        self.thresholds = thresholds;
    }

    pub(crate) fn zones(&self) -> u64 {
        self.zones.len() as u64
    }

    /// Returns how many places for zones there are, in use or not.
    pub(crate) fn zone_places(&self) -> u32 {
        self.zones.places()
    }

    /// Returns what was asked lately of the zone at a place, if it is in use.
    pub(crate) fn zone_at(&self, place: u32, now_ns: u64) -> Option<NameTraffic> {
        let ((client, _), zone) = self.zones.at(place)?;
        let tally = zone.tally(now_ns);
        let (unique_up, unique_down) = zone.information(now_ns);
        Some(NameTraffic {
            client: client.ip(),
            domain: Arc::clone(&zone.domain),
            queries: tally.queries,
            answers: tally.answers,
            no_such_name: tally.no_such_name,
            carriers: tally.carriers,
            label_bytes: tally.bytes,
            encoded_bytes: tally.encoded,
            answer_bytes: tally.answer_bytes,
            unique_up,
            unique_down,
            is_finding: zone.has_incident,
        })
    }

    pub(crate) fn evicted(&self) -> u64 {
        self.zones.evicted()
            + self.domains.evicted()
            + self.clients.evicted()
            + self.servers.evicted()
            + self.names.evicted()
    }

    /// Takes a message into account.
    pub(crate) fn hear(&mut self, heard: &Heard<'_>) -> Seen {
        let Some(question) = heard.message.question.as_ref().filter(|question| question.name.len() > 0) else {
            return Seen::default();
        };
        // What a resolver asks, one of its clients asked before.
        if self.is_shared_resolver(heard.client) {
            return Seen::default();
        }
        let topic = topic(question, heard);
        if heard.is_from_server { self.hear_answer(&topic, heard) } else { self.hear_query(&topic, heard) }
    }

    /// Notes that a client asks for names in a way that cannot be read.
    pub(crate) fn hides_queries(&mut self, client: Address, now_ns: u64) {
        self.clients.change(client, now_ns, Client::new, |client| client.hides_queries = true);
    }

    pub(crate) fn is_hiding(&self, client: Address) -> bool {
        self.clients.get(&client).is_some_and(|client| client.hides_queries)
    }

    /// Notes an incident of a client and a domain: its memory is kept, and a tunnel's rhythm is no second incident.
    pub(crate) fn note_incident(&mut self, asked: &Asked, is_tunnel: bool) {
        if let Some(zone) = self.zones.get_mut(&asked.zone) {
            zone.has_incident = true;
            zone.is_tunnel |= is_tunnel;
        }
    }

    fn hear_query(&mut self, topic: &Topic<'_>, heard: &Heard<'_>) -> Seen {
        let (at_ns, client) = (heard.at_ns, number(&heard.client));
        self.clients.change(heard.client, at_ns, Client::new, |client| client.window.now(at_ns).count += 1);
        self.servers.change(heard.server, at_ns, Server::default, |server| {
            server.clients.add(client);
            server.domains.add(topic.domain);
        });
        self.domains.change(
            topic.domain,
            at_ns,
            || Domain { first_ns: at_ns, ..Domain::default() },
            |domain| {
                domain.clients.add(client);
                domain.last_ns = at_ns;
            },
        );
        let name = &topic.question.name;
        // A reverse look-up says an address, and no more.
        if name.is_reverse() {
            return Seen::default();
        }
        let below = if topic.is_bare { name.len() } else { topic.from };
        let query = Query { name, below, rtype: topic.question.rtype };
        let (gap_ns, key) = (self.gap_ns, self.key);
        let is_fresh = self.zones.change(
            topic.key,
            at_ns,
            || Zone::new(topic.text(), key),
            |zone| zone.ask(&query, at_ns, gap_ns),
        );
        let tunnel = self.tunnel(topic, heard);
        let polls = if is_fresh && tunnel.is_none() { self.polls(topic, heard) } else { None };
        Seen { tunnel, polls, ..Seen::default() }
    }

    fn hear_answer(&mut self, topic: &Topic<'_>, heard: &Heard<'_>) -> Seen {
        let (at_ns, message) = (heard.at_ns, heard.message);
        if let Some(zone) = self.zones.get_mut(&topic.key) {
            zone.answer(message, at_ns);
        }
        Seen {
            tunnel: self.tunnel(topic, heard),
            polls: None,
            generated: self.generated(topic, heard),
            moving: if message.is_answered() { self.moving(topic, heard) } else { None },
        }
    }

    fn tunnel(&mut self, topic: &Topic<'_>, heard: &Heard<'_>) -> Option<Tunnel> {
        let (at_ns, thresholds) = (heard.at_ns, self.thresholds);
        let zone = self.zones.get_mut(&topic.key)?;
        let is_soon = zone.weighed_ns != 0 && at_ns.saturating_sub(zone.weighed_ns) < WEIGHED_EACH_NS;
        if is_soon || f64::from(zone.most_information(at_ns)) < thresholds.tunnel_up / 2.0 {
            return None;
        }
        zone.weighed_ns = at_ns;
        let (up, down) = zone.information(at_ns);
        if up < thresholds.tunnel_up && down < thresholds.tunnel_down {
            return None;
        }
        let tally = zone.tally(at_ns);
        let domain = zone.domain.clone();
        let is_direct = tally.queries >= thresholds.direct_queries && self.is_own_server(heard.server);
        let asked = self.asked(topic, domain, heard, (is_direct, tally.answers > 0));
        let all_queries = self.clients.get(&heard.client).map_or(0, |client| client.queries(at_ns));
        Some(Tunnel { asked, up, down, tally, all_queries })
    }

    fn polls(&self, topic: &Topic<'_>, heard: &Heard<'_>) -> Option<Polls> {
        let zone = self.zones.get(&topic.key).filter(|zone| !zone.is_tunnel)?;
        let asking = zone.asking.as_ref()?;
        let ln_e = asking.timing.ln_e();
        if ln_e < self.thresholds.ln_e_worth_judging {
            return None;
        }
        // What is faster carries more than an idle implant, and is weighed by what it carries.
        let rhythm = asking.timing.rhythm().filter(|rhythm| rhythm.interval_s >= self.thresholds.least_interval_s)?;
        let is_direct = asking.asked >= self.thresholds.direct_queries && self.is_own_server(heard.server);
        let asked = self.asked(topic, zone.domain.clone(), heard, (is_direct, zone.is_answered));
        let (questions, fresh) = (asking.asked, asking.fresh);
        let tally = zone.tally(heard.at_ns);
        let has_content = f64::from(tally.no_such_name) < self.thresholds.denied_share * f64::from(tally.answers);
        Some(Polls {
            asked,
            has_content,
            rhythm,
            ln_e,
            questions,
            fresh,
            carriers: asking.carriers,
            encoded: asking.encoded,
        })
    }

    fn generated(&mut self, topic: &Topic<'_>, heard: &Heard<'_>) -> Option<Generated> {
        let (at_ns, thresholds) = (heard.at_ns, self.thresholds);
        // Without a registered domain it is a search suffix's or a browser's doing.
        if !topic.is_registered || topic.question.name.is_reverse() {
            return None;
        }
        let label = topic.question.name.label(topic.from);
        let ln_p = ln_p(label);
        let is_denied = heard.message.is_no_such_name();
        let is_answered = heard.message.is_answered();
        let client = self.clients.get_mut(&heard.client)?;
        let pane = client.window.now(at_ns);
        if is_answered {
            pane.existing.add(topic.domain);
        }
        let is_new = is_denied && pane.failed.note(topic.domain, label, ln_p);
        let is_random = ln_p.is_some_and(|ln_p| ln_p <= thresholds.random_ln_p);
        // A look at the window costs more than most answers are worth.
        if !(is_new || is_answered && is_random) {
            return None;
        }
        let (failed, existing) = client.failed(at_ns);
        if failed.count() < thresholds.dga_from {
            return None;
        }
        let text = topic.text();
        let is_found = is_answered && is_random && failed.resembles(label);
        let asked = self.asked(topic, text, heard, (false, true));
        Some(Generated { asked, failed, existing, is_found })
    }

    fn moving(&mut self, topic: &Topic<'_>, heard: &Heard<'_>) -> Option<Moving> {
        let (at_ns, thresholds) = (heard.at_ns, self.thresholds);
        let short = heard.message.answers.iter().filter(|answer| answer.ttl_s < thresholds.flux_ttl_s);
        let mut addresses = short.flat_map(|answer| answer.addresses.iter().copied()).peekable();
        addresses.peek()?;
        let name = topic.question.name.hash_from(0);
        let new = || Name::new(topic.question.name.text_from(0).into(), at_ns);
        let networks = self.names.change(name, at_ns, new, |name| name.note(addresses, at_ns));
        if networks < thresholds.flux_networks {
            return None;
        }
        let known = self.names.get(&name)?;
        let asked = self.asked(topic, known.text.clone(), heard, (false, true));
        let moving = known.seen(asked);
        (moving.over_s >= thresholds.flux_over_s).then_some(moving)
    }

    fn asked(
        &self,
        topic: &Topic<'_>,
        text: Arc<str>,
        heard: &Heard<'_>,
        (is_direct, is_answered): (bool, bool),
    ) -> Asked {
        let known = self.domains.get(&topic.domain);
        let users = known.map_or(1, |domain| domain.clients.count());
        let first_ns = known.map_or(heard.at_ns, |domain| domain.first_ns);
        Asked {
            zone: topic.key,
            client: heard.client,
            server: heard.server,
            proto: heard.proto,
            below: format!("_.{text}").into(),
            domain: text,
            prevalence: Prevalence { hosts: self.clients.len() as u32, users },
            age_s: heard.at_ns.saturating_sub(first_ns) as f64 / 1e9,
            is_direct,
            is_answered,
        }
    }

    fn is_own_server(&self, server: Address) -> bool {
        let known = self.servers.get(&server);
        known.is_some_and(|server| server.domains.count() <= self.thresholds.direct_domains)
            && !super::encrypted::is_public_resolver(server.ip())
    }

    fn is_shared_resolver(&self, address: Address) -> bool {
        self.servers.get(&address).is_some_and(|server| {
            server.domains.count() > self.thresholds.direct_domains && server.clients.count() >= RESOLVER_CLIENTS
        })
    }
}

/// Returns what a question is about: the registered domain, a private one, or, where the end of the name is data itself,
/// the server that is asked.
fn topic<'a>(question: &'a Question, heard: &Heard<'_>) -> Topic<'a> {
    let name = &question.name;
    let (from, is_registered) = match name.owner() {
        Owner::Registered(at) => (at, true),
        Owner::Private(at) => (at, false),
    };
    let is_data = || (from..name.len()).any(|at| look(name.label(at)) != Look::Plain);
    let is_bare = !is_registered && (name.len() < 2 || is_data());
    // Names without a domain belong together by the server that is asked for them.
    let domain = if is_bare { number(&heard.server) } else { name.hash_from(from) };
    Topic { question, key: (heard.client, domain), domain, from, is_registered, is_bare }
}

fn number(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}
