//! What all evidence about names shares: who asked whom below which domain.

use std::sync::Arc;

use netd_common::key::Address;

use crate::detect::{About, Context, Subject};
use crate::history::{PairKey, Prevalence};
use crate::score::Ledger;
use crate::slab::Handle;
use crate::weights::Term;

/// The port of DNS.
pub(crate) const PORT: u16 = 53;

/// A client and the number of a domain.
pub(super) type ZoneKey = (Address, u64);

/// A client, the domain it asked about, and the server it asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(super) zone: ZoneKey,
    pub(crate) client: Address,
    pub(crate) server: Address,
    /// IANA number of the transport: UDP or TCP.
    pub(crate) proto: u8,
    pub(crate) domain: Arc<str>,
    /// A name below the domain, for the patterns of benign services.
    pub(crate) below: Arc<str>,
    /// How many clients there are, and how many of them asked about the domain.
    pub(crate) prevalence: Prevalence,
    /// Seconds since anybody asked about it first.
    pub(crate) age_s: f64,
    /// The server was asked about nothing else: it is no resolver but the domain's own.
    pub(crate) is_direct: bool,
    pub(crate) is_answered: bool,
}

impl Asked {
    /// Returns what evidence about one client and one domain is about.
    pub(crate) fn about(&self, conversation: Handle) -> About {
        About {
            pair: PairKey { originator: self.client, responder: self.server, port: PORT, proto: self.proto },
            name: Some(self.domain.clone()),
            conversation: Some(conversation),
            history: None,
            subject: Subject::Client(self.client, self.domain.clone()),
        }
    }

    /// A resolver is everybody's: how many use it and for how long says nothing about a domain, and the package of a
    /// program that asks for others speaks for nobody.
    pub(super) fn correct<'a>(&'a self, context: &mut Context<'a>) {
        context.prevalence = self.prevalence;
        context.age_s = self.age_s;
        context.unrelated_answers = 0;
        context.resolved_name = Some(&self.below);
        context.provenance = context.provenance.filter(|provenance| provenance.is_packaged != Some(true));
    }

    /// Adds what the server and the domain's other clients say.
    pub(super) fn weigh(&self, context: &Context<'_>, ledger: &mut Ledger<'_>) {
        let thresholds = &ledger.weights().dns;
        let users = self.prevalence.users;
        if users >= thresholds.many_clients {
            ledger.add(Term::DnsManyClients, || format!("{users} clients ask about {}", self.domain));
        }
        if let Some(service) = context.service() {
            // Names of that domain reach nobody but its owner, whatever they say.
            ledger.add(Term::DnsKnownService, || format!("{} is known: {service}", self.domain));
        }
        if self.is_direct {
            let value = || format!("asked straight of {}, which nobody asks about anything else", self.server.ip());
            ledger.add(Term::DnsDirect, value);
        }
    }

    /// Returns the benign explanations that do not hold.
    pub(super) fn considered(&self) -> Vec<String> {
        let users = self.prevalence.users;
        let mut considered = vec![
            format!("block lists, antivirus look-ups, time pools: {} is none that is known", self.domain),
            format!("infrastructure or telemetry: asked about by {users} of {} clients", self.prevalence.hosts),
        ];
        if !self.is_direct {
            considered.push(format!("{} is a resolver: cutting it would cut every name", self.server.ip()));
        }
        considered
    }
}
