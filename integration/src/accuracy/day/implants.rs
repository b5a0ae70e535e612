//! What is hidden in the day: ten implants of different tools, each on a host of its own.

use std::net::{IpAddr, SocketAddr};

use super::bulk::{Bulk, When};
use super::calendar::HOUR_S;
use super::caller::{Caller, Carrier, Hours, Target, Tasks, Wait};
use super::lookups::{Lookups, Pace, Question};
use super::names;
use super::scene::{Actor, Host, Scene, Site, outside};
use super::shell::Shell;
use super::speech::Speech;

/// One implant: what a finding must be about to have found it.
#[derive(Clone, Debug)]
pub(crate) struct Implant {
    pub(crate) name: &'static str,
    pub(crate) host: IpAddr,
    /// Its servers: addresses, or the name they have.
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) domain: Option<String>,
    pub(crate) from_s: f64,
}

impl Implant {
    /// Returns whether a finding about a host, a server and a name is about this implant.
    pub(crate) fn is(&self, originator: IpAddr, responder: IpAddr, name: Option<&str>) -> bool {
        let is_named = self.domain.as_deref().is_some_and(|domain| {
            name.is_some_and(|name| name == domain || name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')))
        });
        originator == self.host && (is_named || self.addresses.contains(&responder))
    }
}

/// How many hosts [`hide`] needs.
pub(crate) const COUNT: usize = 10;

/// Adds the implants; returns them and who plays them.
pub(crate) fn hide(scene: &mut Scene, hosts: [Host; COUNT]) -> (Vec<Implant>, Vec<Box<dyn Actor>>) {
    let mut cast = Cast { scene, implants: Vec::new(), actors: Vec::new() };
    let [https, mtls, kept, clear, slow, rotating, tunnel, idle, shell, theft] = hosts;

    let site = cast.site(1, 300);
    let name = cast.scene.service(site).name.clone();
    let tasks = Some(Tasks { chance: 0.015, order: (2_500, 60_000), result: (4_000, 90_000) });
    let base = cast.caller(https, Target::Named(site, 443), Speech::tls(&name));
    let caller = Caller { wait: Wait::Between(48.0, 60.0), tasks, ..base };
    cast.beacon("Cobalt Strike-like: HTTPS, 60 s, 20 % jitter, tasked", caller);

    let server = cast.server(8_888);
    let base = cast.caller(mtls, Target::Address(server), Speech::nameless_tls());
    let caller = Caller { wait: Wait::Between(60.0, 90.0), request: (700, 900), answer: (250, 300), ..base };
    cast.beacon("Sliver-like: mutual TLS to an address, port 8888, 60-90 s", caller);

    let server = cast.server(80);
    let base = cast.caller(kept, Target::Address(server), Speech::http(&server.ip().to_string()));
    let caller = Caller { wait: Wait::Between(10.0, 30.0), carrier: Carrier::Kept(u32::MAX), ..base };
    cast.beacon("Empire-like: HTTP in one connection, 20 s +-50 %", caller);

    let site = cast.site(1, 600);
    let name = cast.scene.service(site).name.clone();
    let base = cast.caller(clear, Target::Named(site, 80), Speech::http(&name));
    let tasks = Some(Tasks { chance: 0.01, order: (1_500, 20_000), result: (2_500, 40_000) });
    let caller = Caller { wait: Wait::Between(22.0, 68.0), tasks, ..base };
    cast.beacon("PoshC2/Mythic-like: HTTP to a rare name, 45 s +-50 %", caller);

    let site = cast.site(1, 600);
    let name = cast.scene.service(site).name.clone();
    let base = cast.caller(slow, Target::Named(site, 443), Speech::tls(&name));
    let from_s = cast.scene.dice.between(0.2, 2.0) * HOUR_S;
    let caller = Caller { wait: Wait::Between(3_240.0, 3_600.0), hours: Hours::From(from_s, f64::INFINITY), ..base };
    cast.beacon("slow: HTTPS, 1 h, 10 % jitter", caller);

    let site = cast.site(6, 60);
    let name = cast.scene.service(site).name.clone();
    let base = cast.caller(rotating, Target::Named(site, 443), Speech::tls(&name));
    let caller = Caller { wait: Wait::Between(84.0, 120.0), ..base };
    cast.beacon("rotating: one name, six addresses, HTTPS, 120 s, 30 % jitter", caller);

    let zone = format!("t.{}", names::domain(&mut cast.scene.dice));
    let pace = |cast: &mut Cast<'_>, wait, lasts_s| {
        let from_s = cast.scene.dice.between(2.0, 18.0) * HOUR_S;
        (Pace::Between(wait, from_s, lasts_s), from_s)
    };
    let (burst, from_s) = pace(&mut cast, [0.02, 0.09], 90.0);
    cast.name("iodine-like: DNS tunnel, 90 s of transfer", tunnel, zone.clone(), from_s);
    cast.actors.push(Box::new(Lookups { host: tunnel, question: Question::Tunnel(zone), pace: burst, count: 0 }));

    let zone = names::domain(&mut cast.scene.dice);
    let (polls, from_s) = pace(&mut cast, [24.0, 30.0], f64::INFINITY);
    cast.name("dnscat2-like: idle, polls the resolver every 24-30 s", idle, zone.clone(), from_s);
    let session = cast.scene.dice.bits() as u16;
    let question = Question::Poll { zone, session };
    cast.actors.push(Box::new(Lookups { host: idle, question, pace: polls, count: 0 }));

    let server = cast.server(4_444);
    let from_s = cast.scene.dice.between(8.0, 20.0) * HOUR_S;
    cast.address("reverse shell: 20 commands typed by hand", shell, server.ip(), from_s);
    cast.actors.push(Box::new(Shell { host: shell, server, from_s, commands: 20 }));

    let site = cast.site(1, 300);
    let (name, address) = (cast.scene.service(site).name.clone(), cast.scene.service(site).addresses[0]);
    let from_s = cast.scene.dice.between(6.0, 21.0) * HOUR_S;
    cast.address("theft: 300 MB by HTTPS to a new destination", theft, address.into(), from_s);
    cast.actors.push(Box::new(Bulk {
        host: theft,
        target: Target::Named(site, 443),
        speech: Speech::tls(&name),
        when: When::At(from_s),
        lengths: [3e8, 0.0],
        spread: 0.0,
        rate: 900_000.0,
        due_s: None,
    }));
    (cast.implants, cast.actors)
}

struct Cast<'s> {
    scene: &'s mut Scene,
    implants: Vec<Implant>,
    actors: Vec<Box<dyn Actor>>,
}

impl Cast<'_> {
    fn site(&mut self, addresses: usize, ttl_s: u32) -> Site {
        let name = format!("{}.{}", names::word(&mut self.scene.dice), names::domain(&mut self.scene.dice));
        self.scene.add_site(name, addresses, ttl_s)
    }

    fn server(&mut self, port: u16) -> SocketAddr {
        (outside(&mut self.scene.dice), port).into()
    }

    /// A caller that begins in the small hours or during the day, and what most implants have in common.
    fn caller(&mut self, host: Host, target: Target, speech: Speech) -> Caller {
        let from_s = self.scene.dice.between(1.0, 18.0) * HOUR_S;
        let least = self.scene.dice.whole(230, 520) as u64;
        Caller {
            host,
            target,
            speech,
            wait: Wait::Between(60.0, 60.0),
            carrier: Carrier::Each,
            hours: Hours::From(from_s, f64::INFINITY),
            request: (least, least + 60),
            answer: (180, 260),
            tasks: None,
        }
    }

    fn beacon(&mut self, name: &'static str, caller: Caller) {
        let from_s = if let Hours::From(from_s, _) = caller.hours { from_s } else { 0.0 };
        let (addresses, domain) = match caller.target {
            Target::Named(site, _) => {
                let service = self.scene.service(site);
                (service.addresses.iter().map(|address| IpAddr::from(*address)).collect(), Some(service.name.clone()))
            }
            Target::Address(address) => (vec![address.ip()], None),
        };
        let host = self.scene.address(caller.host).into();
        self.implants.push(Implant { name, host, addresses, domain, from_s });
        self.actors.push(caller.actor());
    }

    fn name(&mut self, name: &'static str, host: Host, domain: String, from_s: f64) {
        let host = self.scene.address(host).into();
        // What is found may be named by the registered domain alone.
        let domain = domain.strip_prefix("t.").unwrap_or(&domain).to_owned();
        self.implants.push(Implant { name, host, addresses: Vec::new(), domain: Some(domain), from_s });
    }

    fn address(&mut self, name: &'static str, host: Host, address: IpAddr, from_s: f64) {
        let host = self.scene.address(host).into();
        self.implants.push(Implant { name, host, addresses: vec![address], domain: None, from_s });
    }
}
