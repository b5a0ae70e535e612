//! Beacons among people, and what netd must do about them.

use std::net::SocketAddr;
use std::time::Duration;

use netd_lab::daemon::{Daemon, Setup};
use netd_lab::demo::{TASKS, TIMER};
use netd_lab::lab::{C2, IMPLANT, Lab, PEOPLE, STORE, TIME, WEB};
use netd_lab::traffic::bulk::{Bulk, Direction};
use netd_lab::traffic::implant::{Connections, Implant, Lengths, Transport};
use netd_lab::traffic::ntp::NtpClient;
use netd_lab::traffic::payload::Look;
use netd_lab::traffic::people::Person;
use netd_lab::traffic::server::Server;
use netd_lab::traffic::{Running, Sent};
use serde_json::{Value, json};

use crate::families::BOTH;

const POLICY: &str = include_str!("../../../policies/enforce.yaml");
const LONGEST: Duration = Duration::from_secs(120);
/// A beacon must be found and cut by then.
const PATIENCE: Duration = Duration::from_secs(60);

/// An implant of each IP version: IPv4 with a connection a check-in, IPv6 with one for all. And neighbours.
pub(crate) struct Scene {
    // Generators stop before the servers that they talk to.
    implants: Vec<Running<Sent>>,
    neighbours: Vec<Running<Sent>>,
    c2: Vec<Server>,
    servers: Vec<Server>,
}

impl Scene {
    pub(crate) fn start(lab: &Lab) -> Self {
        let tcp = |address: SocketAddr| Server::tcp(lab.wan(), address).unwrap();
        let servers: Vec<Server> =
            BOTH.iter().flat_map(|family| WEB[..2].iter().map(|web| tcp(family.at(*web, 443)))).collect();
        let mut neighbours = Vec::new();
        for (index, family) in BOTH.iter().enumerate() {
            let visited = &servers[2 * index..2 * index + 2];
            let pause = Duration::from_millis(700);
            let from = family.of(PEOPLE[index]);
            let person = Person { from, pause, seed: index as u64, duration: LONGEST };
            neighbours.push(person.start(lab.lan(), visited).unwrap());
        }
        let (store, clock) = (tcp((STORE, 443).into()), Server::udp(lab.wan(), (TIME, 123).into()).unwrap());
        let every = Duration::from_secs(2);
        let from = PEOPLE[4].into();
        let bulk = Bulk { from, direction: Direction::Up, bytes: 1 << 20, every, duration: LONGEST };
        neighbours.push(bulk.start(lab.lan(), &store).unwrap());
        let ntp = NtpClient { from: PEOPLE[5].into(), poll: Duration::from_secs(1), duration: LONGEST };
        neighbours.push(ntp.start(lab.lan(), &clock).unwrap());

        let c2: Vec<Server> = BOTH.iter().map(|family| tcp(family.at(C2, 443))).collect();
        let ways = [Connections::PerCheckIn, Connections::One];
        let implants = BOTH.iter().zip(ways).zip(&c2).map(|((family, connections), server)| {
            let implant = Implant {
                from: family.of(IMPLANT),
                transport: Transport::Tcp,
                timer: TIMER,
                connections,
                lengths: Lengths { request: 350, answer: 420 },
                tasks: Some(TASKS),
                look: Look::Tls { name: None },
                seed: 1,
                duration: LONGEST,
            };
            implant.start(lab.lan(), server).unwrap()
        });
        Self {
            implants: implants.collect(),
            neighbours,
            c2,
            servers: servers.into_iter().chain([store, clock]).collect(),
        }
    }

    /// Answered check-ins of each implant.
    fn answered(&self) -> Vec<u64> {
        self.implants.iter().map(|implant| implant.sent().answered).collect()
    }

    fn tried(&self) -> Vec<u64> {
        self.implants.iter().map(|implant| implant.sent().exchanges).collect()
    }

    /// Payload that each implant's server got.
    fn reached(&self) -> Vec<u64> {
        self.c2.iter().map(|server| server.total().bytes).collect()
    }

    /// Stops the neighbours: nothing of theirs failed or was lost.
    fn check_neighbours(self) -> u64 {
        drop(self.implants);
        self.neighbours.iter().for_each(Running::tell_to_stop);
        let sent: Vec<Sent> = self.neighbours.into_iter().map(|running| running.stop().unwrap()).collect();
        let sum = |count: fn(&Sent) -> u64| sent.iter().map(count).sum::<u64>();
        let received: u64 = self.servers.iter().map(|server| server.total().bytes).sum();
        assert_eq!((sum(|sent| sent.failed), sum(|sent| sent.bytes)), (0, received), "{sent:?}");
        assert!(sum(|sent| sent.answered) > 50, "{sent:?}");
        sum(|sent| sent.answered)
    }
}

/// Both beacons are found and cut, nobody else is, and released they go on.
pub(crate) fn found_cut_and_released(lab: &Lab, name: &str) {
    let daemon = Daemon::start(lab, Setup { policy: Some(POLICY), ..Setup::default() }).unwrap();
    let api = daemon.api();
    let scene = Scene::start(lab);

    let verdicts: Vec<Value> = BOTH
        .iter()
        .map(|family| {
            let c2 = family.of(C2).to_string();
            api.until("/api/v1/verdicts", PATIENCE, |page| {
                let verdicts = page["items"].as_array()?;
                verdicts.iter().find(|verdict| verdict["target"]["address"] == c2.as_str()).cloned()
            })
            .unwrap_or_else(|error| panic!("{error:#}\n{:?}\n{}", scene.answered(), daemon.log()))
        })
        .collect();

    // What was in flight has arrived by the time a verdict can be read.
    let (reached, tried) = (scene.reached(), scene.tried());
    for (verdict, family) in verdicts.iter().zip(BOTH) {
        let finding = api.get(&format!("/api/v1/findings/{}", verdict["finding"])).unwrap();
        let pair = (family.of(IMPLANT).to_string(), family.of(C2).to_string());
        assert_eq!((finding["originator"].as_str(), finding["responder"].as_str()), (Some(&*pair.0), Some(&*pair.1)));
        assert!(finding["reasons"].as_array().is_some_and(|reasons| !reasons.is_empty()), "{finding}");
        assert_eq!((&verdict["target"]["port"], &verdict["origin"]), (&json!(443), &json!("finding")), "{verdict}");
        let (first, last) = (&finding["history"][0], &finding["turns"]);
        println!("{name}, {family:?}: found ({first}), cut after {last} turns of {} s", finding["interval_s"]);
    }
    wait(Duration::from_secs(20), || scene.tried().iter().zip(&tried).all(|(after, before)| *after >= before + 3));
    assert_eq!(scene.reached(), reached, "bytes reached the implants' servers after the cut");

    let answered = scene.answered();
    for verdict in &verdicts {
        api.release(verdict["id"].as_u64().unwrap()).unwrap();
    }
    wait(Duration::from_secs(10), || scene.answered().iter().zip(&answered).all(|(after, before)| after > before));

    let others = api.items("/api/v1/findings").unwrap();
    let is_c2 = |finding: &&Value| BOTH.iter().any(|family| finding["responder"] == family.of(C2).to_string());
    let blocked: Vec<_> = others.iter().filter(|finding| finding["block"] == true && !is_c2(finding)).collect();
    assert!(blocked.is_empty(), "{blocked:?}");
    let neighbours = scene.check_neighbours();
    println!("{name}: cut, 0 bytes leaked; {neighbours} exchanges of neighbours, 0 failed, 0 bytes lost");
}

/// Waits for a condition.
#[track_caller]
pub(crate) fn wait(patience: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + patience;
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "not so within {patience:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
