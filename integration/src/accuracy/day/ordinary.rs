//! Everybody else: what two hundred hosts of an ordinary network do in a day, most of its timers included.

use std::net::{Ipv4Addr, SocketAddr};

use super::bulk::{Bulk, When};
use super::calendar::HOUR_S;
use super::caller::{Caller, Carrier, Hours, Target, Wait};
use super::failing::{Failing, Retry};
use super::lookups::{Lookups, Pace, Question};
use super::names;
use super::people::Person;
use super::push::Push;
use super::scene::{Actor, Host, Scene, Site, outside};
use super::sessions::{Calls, Terminal};
use super::speech::Speech;

/// How services that are no web pages are called: the first label of their names.
pub(crate) const SERVICES: [&str; 19] = [
    "push",
    "meet",
    "imap",
    "mail",
    "telemetry",
    "edr",
    "licence",
    "agent",
    "queue",
    "api",
    "iot",
    "updates",
    "download",
    "mirror",
    "drive",
    "backup",
    "ingest",
    "health",
    "orders",
];

/// How many hosts of each kind there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Population {
    pub(crate) workstations: usize,
    pub(crate) servers: usize,
    pub(crate) devices: usize,
}

impl Population {
    pub(crate) const fn hosts(&self) -> usize {
        self.workstations + self.servers + self.devices
    }
}

/// The hosts, by kind.
pub(crate) struct Hosts {
    pub(crate) workstations: Vec<Host>,
    pub(crate) servers: Vec<Host>,
    pub(crate) devices: Vec<Host>,
}

impl Hosts {
    pub(crate) fn new(scene: &mut Scene, population: Population) -> Self {
        let mut some = |net: u8, count: usize| -> Vec<Host> {
            let address = |at: usize| Ipv4Addr::new(10, net, (at / 200) as u8, 10 + (at % 200) as u8);
            (0..count).map(|at| scene.add_host(address(at))).collect()
        };
        Self {
            workstations: some(10, population.workstations),
            servers: some(20, population.servers),
            devices: some(30, population.devices),
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = Host> {
        self.workstations.iter().chain(&self.servers).chain(&self.devices).copied()
    }
}

/// Returns who plays the ordinary day.
pub(crate) fn cast(scene: &mut Scene, hosts: &Hosts) -> Vec<Box<dyn Actor>> {
    let mut cast = Cast { scene, actors: Vec::new() };
    cast.browse(hosts);
    cast.be_in_touch(hosts);
    cast.keep_time(hosts);
    cast.keep_watch(hosts);
    cast.report_home(hosts);
    cast.carry(hosts);
    cast.look_up(hosts);
    cast.fail(hosts);
    cast.actors
}

struct Cast<'s> {
    scene: &'s mut Scene,
    actors: Vec<Box<dyn Actor>>,
}

impl Cast<'_> {
    fn browse(&mut self, hosts: &Hosts) {
        let networks: Vec<Site> = (0..24).map(|_| self.site("cdn", 6, 120)).collect();
        let pages: Vec<Site> = (0..1_500)
            .map(|number| {
                let name = format!("www.{}", names::domain(&mut self.scene.dice));
                if number % 3 == 0 {
                    return self.scene.add_site(name, 2, 300);
                }
                let network = networks[number % networks.len()];
                self.scene.add_alias(name, network)
            })
            .collect();
        let parts: Vec<Site> = (0..700)
            .map(|number| {
                let dice = &mut self.scene.dice;
                let name = match number % 4 {
                    0 => format!("{}.edge-{}.net", names::hex(dice, 13), names::word(dice)),
                    1 => format!("e{}.b.{}", dice.whole(1_000, 99_999), names::domain(dice)),
                    2 => format!("static.{}", names::domain(dice)),
                    _ => format!("collect-{}.{}", dice.whole(1, 40), names::domain(dice)),
                };
                self.scene.add_alias(name, networks[number * 7 % networks.len()])
            })
            .collect();
        for host in &hosts.workstations {
            let dice = &mut self.scene.dice;
            // Everybody knows the first pages; the rest is a matter of taste.
            let mut own: Vec<Site> = pages[..12].to_vec();
            own.extend((0..dice.whole(40, 260)).map(|_| pages[dice.whole(0, pages.len() - 1)]));
            let shift = dice.whole(0, own.len() / 2);
            own.rotate_left(shift);
            self.actors.push(Box::new(Person { host: *host, pages: own, parts: parts.clone() }));
        }
    }

    fn be_in_touch(&mut self, hosts: &Hosts) {
        let chats: Vec<Site> = (0..5).map(|_| self.site("push", 4, 300)).collect();
        let calls = self.site("meet", 6, 60);
        let mail = self.site("imap", 2, 600);
        let webmail = self.site("mail", 3, 300);
        let tunnel: SocketAddr = (outside(&mut self.scene.dice), 51_820).into();
        for (number, host) in hosts.workstations.iter().enumerate() {
            let chat = (chats[number % 3], if number % 4 == 0 { 5_223 } else { 443 });
            let push = Push::new(*host, chat, self.scene, 420.0);
            self.actors.push(Box::new(push));
            if number % 2 == 0 {
                let push = Push::new(*host, (chats[3 + number / 2 % 2], 443), self.scene, 2_400.0);
                self.actors.push(Box::new(push));
            }
            if number % 3 == 0 {
                self.actors.push(Box::new(Calls { host: *host, service: calls }));
            }
            if number % 3 == 1 {
                self.poll(
                    *host,
                    (mail, 993),
                    [298.0, 302.0],
                    Hours::Working,
                    Carrier::Kept(40),
                    (90, 130),
                    (60, 4_000),
                );
            }
            if number % 4 == 2 {
                self.poll(
                    *host,
                    (webmail, 443),
                    [59.9, 60.4],
                    Hours::Working,
                    Carrier::Kept(100),
                    (300, 420),
                    (180, 2_500),
                );
            }
            if number % 12 == 5 {
                let caller = Caller {
                    wait: Wait::Between(25.0, 25.05),
                    carrier: Carrier::Socket,
                    hours: Hours::Working,
                    request: (32, 32),
                    answer: (0, 32),
                    ..caller(*host, Target::Address(tunnel), Speech::raw())
                };
                self.actors.push(caller.actor());
            }
            if number % 10 == 7 {
                let own = hosts.servers.iter().take(6).map(|server| (self.scene.address(*server), 22).into());
                let mut servers: Vec<SocketAddr> = own.collect();
                servers.push((outside(&mut self.scene.dice), 22).into());
                self.actors.push(Box::new(Terminal { host: *host, servers }));
            }
        }
    }

    fn keep_time(&mut self, hosts: &Hosts) {
        let clocks: Vec<SocketAddr> = (0..4).map(|_| (outside(&mut self.scene.dice), 123).into()).collect();
        for (number, host) in hosts.all().enumerate() {
            let every_s = [64.0, 256.0, 1_024.0][number % 3];
            let asks = Caller {
                wait: Wait::Between(every_s - 0.5, every_s + 1.5),
                carrier: Carrier::Datagram,
                request: (48, 48),
                answer: (48, 48),
                ..caller(host, Target::Address(clocks[number % 4]), Speech::Ntp)
            };
            self.actors.push(asks.actor());
            let discovery = Target::Address(([224, 0, 0, 251], 5_353).into());
            let says = Caller {
                wait: Wait::Poisson(1_800.0),
                carrier: Carrier::Datagram,
                request: (60, 300),
                answer: (0, 0),
                ..caller(host, discovery, Speech::raw())
            };
            self.actors.push(says.actor());
            let lease = Target::Address(([10, 0, 0, 67], 67).into());
            let renews = Caller {
                wait: Wait::Between(5_400.0, 5_401.0),
                carrier: Carrier::Datagram,
                request: (300, 300),
                answer: (300, 300),
                ..caller(host, lease, Speech::raw())
            };
            self.actors.push(renews.actor());
        }
    }

    /// Metrics, agents, echo of file servers: regular, and within the network.
    fn keep_watch(&mut self, hosts: &Hosts) {
        let watcher = self.scene.add_host(Ipv4Addr::new(10, 0, 0, 60));
        let files: SocketAddr = ([10, 0, 0, 80], 445).into();
        let watched: Vec<Host> =
            hosts.servers.iter().chain(&hosts.workstations[..hosts.workstations.len() / 3]).copied().collect();
        for (number, host) in watched.into_iter().enumerate() {
            let address = self.scene.address(host);
            let target = |port| Target::Address((address, port).into());
            let scrape = Caller {
                wait: Wait::Between(15.0, 15.02),
                carrier: if number % 2 == 0 { Carrier::Each } else { Carrier::Kept(10_000) },
                request: (180, 180),
                answer: (18_000, 90_000),
                ..caller(watcher, target(9_100), Speech::Scrape(format!("{address}:9100")))
            };
            self.actors.push(scrape.actor());
            let agent = Target::Address(([10, 0, 0, 60], 10_051).into());
            let active = Caller {
                wait: Wait::Between(120.0, 120.2),
                request: (150, 900),
                answer: (90, 100),
                ..caller(host, agent, Speech::raw())
            };
            self.actors.push(active.actor());
        }
        for host in &hosts.workstations {
            let echo = Caller {
                wait: Wait::Between(118.0, 122.0),
                carrier: Carrier::Kept(u32::MAX),
                hours: Hours::Working,
                request: (68, 68),
                answer: (68, 68),
                ..caller(*host, Target::Address(files), Speech::raw())
            };
            self.actors.push(echo.actor());
        }
        // Services of one's own that ask each other, by a timer or when somebody asks them.
        for (number, host) in hosts.servers.iter().enumerate() {
            let other = hosts.servers[(number + 7) % hosts.servers.len()];
            let target = Target::Address((self.scene.address(other), 8_080).into());
            let asks = Caller {
                wait: Wait::Poisson(2.0),
                carrier: if number % 3 == 0 { Carrier::Kept(500) } else { Carrier::Each },
                request: (200, 900),
                answer: (200, 20_000),
                ..caller(*host, target, Speech::http("orders.internal"))
            };
            self.actors.push(asks.actor());
            let probe = Caller {
                wait: Wait::Between(10.0, 10.01),
                request: (110, 110),
                answer: (140, 140),
                ..caller(*host, target, Speech::http("health.internal"))
            };
            self.actors.push(probe.actor());
        }
    }

    /// Agents that call their makers: the timers that look most like implants.
    fn report_home(&mut self, hosts: &Hosts) {
        let system = self.site("telemetry", 4, 300);
        let security = self.site("edr", 4, 60);
        let office = self.site("licence", 2, 600);
        for (number, host) in hosts.workstations.iter().enumerate() {
            self.poll(*host, (system, 443), [880.0, 920.0], Hours::Always, Carrier::Each, (900, 9_000), (300, 900));
            if number % 10 < 7 {
                self.poll(
                    *host,
                    (security, 443),
                    [59.0, 61.0],
                    Hours::Always,
                    Carrier::Kept(60),
                    (350, 700),
                    (120, 180),
                );
            }
            if number % 4 == 0 {
                self.poll(
                    *host,
                    (office, 443),
                    [3_590.0, 3_610.0],
                    Hours::Always,
                    Carrier::Each,
                    (700, 760),
                    (2_000, 2_100),
                );
            }
        }
        let cloud = self.site("agent", 3, 60);
        let queue = self.site("queue", 3, 60);
        for (number, host) in hosts.servers.iter().enumerate() {
            self.poll(*host, (cloud, 443), [300.0, 300.4], Hours::Always, Carrier::Each, (1_100, 1_300), (420, 420));
            if number % 3 == 0 {
                self.poll(*host, (queue, 443), [20.0, 20.1], Hours::Always, Carrier::Kept(200), (600, 640), (280, 290));
            }
            let site = self.site("api", 2, 60);
            let name = self.scene.service(site).name.clone();
            let target = Target::Named(site, 443);
            let asks =
                Caller { wait: Wait::Poisson(15.0), answer: (300, 9_000), ..caller(*host, target, Speech::tls(&name)) };
            self.actors.push(asks.actor());
        }
        // Devices of many makers, a few of each kind, with timers of their own.
        let makers: Vec<(Site, f64, Carrier)> = (0..10)
            .map(|number| {
                let every_s = [30.0, 60.0, 60.0, 120.0, 300.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0][number];
                let carrier = if number % 3 == 0 { Carrier::Kept(1_000) } else { Carrier::Each };
                (self.site("iot", 2, 300), every_s, carrier)
            })
            .collect();
        for (number, host) in hosts.devices.iter().enumerate() {
            let (site, every_s, carrier) = makers[number % makers.len()];
            self.poll(*host, (site, 443), [every_s, 1.01 * every_s], Hours::Always, carrier, (210, 230), (90, 110));
        }
        // Software that one or two people have, and that calls home by the minute.
        for number in 0..8 {
            let site = self.site("updates", 1, 300);
            let every_s = [60.0, 90.0, 300.0, 600.0][number % 4];
            for copy in 0..=number % 2 {
                let Some(host) = hosts.workstations.get(number * 11 + copy * 5 + 3) else { continue };
                self.poll(
                    *host,
                    (site, 443),
                    [every_s, 1.05 * every_s],
                    Hours::Working,
                    Carrier::Each,
                    (350, 390),
                    (200, 240),
                );
            }
        }
        // Someone shares files with many peers, who come and go.
        if let Some(host) = hosts.workstations.get(17) {
            for _ in 0..40 {
                let peer: SocketAddr =
                    (outside(&mut self.scene.dice), self.scene.dice.whole(10_000, 60_000) as u16).into();
                let alive = Caller {
                    wait: Wait::Between(60.0, 120.0),
                    carrier: Carrier::Kept(30),
                    hours: Hours::Working,
                    request: (68, 90),
                    answer: (4, 70),
                    ..caller(*host, Target::Address(peer), Speech::raw())
                };
                self.actors.push(alive.actor());
            }
        }
    }

    fn carry(&mut self, hosts: &Hosts) {
        let (updates, packages) = (self.site("download", 8, 60), self.site("mirror", 4, 300));
        let drive = self.site("drive", 6, 60);
        let (vault, metrics) = (self.site("backup", 2, 60), self.site("ingest", 4, 60));
        let mut bulk = |host: &Host, target, speech, when, lengths, spread, rate| {
            let due_s = None;
            self.actors.push(Box::new(Bulk { host: *host, target, speech, when, lengths, spread, rate, due_s }));
        };
        let name = |scene: &Scene, site: Site| scene.service(site).name.clone();
        for host in &hosts.workstations {
            let speech = Speech::http(&name(self.scene, updates));
            bulk(host, Target::Named(updates, 80), speech, When::Every(4.0 * HOUR_S, HOUR_S), [900.0, 3e7], 1.2, 2e6);
            let speech = Speech::tls(&name(self.scene, drive));
            bulk(host, Target::Named(drive, 443), speech, When::People(5_400.0), [3e6, 9e4], 1.6, 1e6);
        }
        for (number, host) in hosts.servers.iter().enumerate() {
            let speech = Speech::http(&name(self.scene, packages));
            bulk(
                host,
                Target::Named(packages, 80),
                speech,
                When::Every(12.0 * HOUR_S, HOUR_S),
                [2_000.0, 8e6],
                1.0,
                2e6,
            );
            let night_s = 2.0 * HOUR_S + 61.0 * number as f64;
            let inside = Target::Address(([10, 0, 0, 70], 8_443).into());
            bulk(host, inside, Speech::nameless_tls(), When::At(night_s), [3e9, 1e6], 0.6, 4e7);
            if number % 4 == 0 {
                let speech = Speech::tls(&name(self.scene, vault));
                bulk(host, Target::Named(vault, 443), speech, When::At(night_s + 5_400.0), [8e8, 2e5], 0.5, 5e6);
            }
            if number % 6 == 1 {
                let speech = Speech::tls(&name(self.scene, metrics));
                bulk(host, Target::Named(metrics, 443), speech, When::Every(5_400.0, 60.0), [1e6, 2e4], 0.2, 3.5e4);
            }
        }
    }

    fn look_up(&mut self, hosts: &Hosts) {
        let reputation = format!("avq.{}", names::domain(&mut self.scene.dice));
        let lists: Vec<String> = (0..3).map(|_| format!("zen.{}", names::domain(&mut self.scene.dice))).collect();
        let mut look = |host: &Host, question: Question, pace: Pace| {
            self.actors.push(Box::new(Lookups { host: *host, question, pace, count: 0 }));
        };
        for host in hosts.workstations.iter().take(100) {
            look(host, Question::Hash(reputation.clone()), Pace::People(90.0));
        }
        for list in &lists {
            look(&hosts.servers[0], Question::Sender(list.clone()), Pace::Poisson(25.0));
        }
        look(&hosts.servers[1], Question::Reverse, Pace::Poisson(4.0));
    }

    fn fail(&mut self, hosts: &Hosts) {
        let gone: SocketAddr = ([10, 0, 0, 90], 9_100).into();
        for host in hosts.workstations.iter().skip(2).step_by(25) {
            let retry = Retry::Every(60.0);
            self.actors.push(Box::new(Failing { host: *host, server: gone, retry, refuses: true, wait_s: 0.0 }));
        }
        for host in hosts.devices.iter().skip(3).step_by(15) {
            let server = (outside(&mut self.scene.dice), 443).into();
            let retry = Retry::BackOff(2.0, 512.0);
            self.actors.push(Box::new(Failing { host: *host, server, retry, refuses: false, wait_s: 0.0 }));
        }
        if let Some(host) = hosts.devices.get(1) {
            let server = (outside(&mut self.scene.dice), 8_883).into();
            let retry = Retry::Every(300.0);
            self.actors.push(Box::new(Failing { host: *host, server, retry, refuses: false, wait_s: 0.0 }));
        }
    }

    fn site(&mut self, what: &str, addresses: usize, ttl_s: u32) -> Site {
        let name = format!("{what}.{}", names::domain(&mut self.scene.dice));
        self.scene.add_site(name, addresses, ttl_s)
    }

    #[expect(clippy::too_many_arguments, reason = "a row of a table: who, whom, how often, when, by what, how much")]
    fn poll(
        &mut self,
        host: Host,
        (site, port): (Site, u16),
        [least_s, most_s]: [f64; 2],
        hours: Hours,
        carrier: Carrier,
        request: (u64, u64),
        answer: (u64, u64),
    ) {
        let speech = Speech::tls(&self.scene.service(site).name.clone());
        let wait = Wait::Between(least_s, most_s);
        let base = caller(host, Target::Named(site, port), speech);
        self.actors.push(Caller { wait, hours, carrier, request, answer, ..base }.actor());
    }
}

fn caller(host: Host, target: Target, speech: Speech) -> Caller {
    Caller {
        host,
        target,
        speech,
        wait: Wait::Poisson(60.0),
        carrier: Carrier::Each,
        hours: Hours::Always,
        request: (300, 500),
        answer: (200, 2_000),
        tasks: None,
    }
}
