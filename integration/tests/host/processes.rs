//! Who opened a flow.

use std::time::{Duration, Instant};

use netd_lab::daemon::{Daemon, Setup};
use netd_lab::lab::{IMPLANT, Lab, PEOPLE, TIME, WEB};
use netd_lab::require_root;
use netd_lab::traffic::implant::{Connections, Implant, Lengths, Transport};
use netd_lab::traffic::ntp::NtpClient;
use netd_lab::traffic::payload::Look;
use netd_lab::traffic::people::Person;
use netd_lab::traffic::server::Server;
use netd_lab::traffic::timer::{Jitter, Timer};
use serde_json::Value;

use crate::families::BOTH;

#[test]
fn every_flow_that_this_host_opens_names_its_process() {
    require_root!();
    let lab = Lab::host().unwrap();
    let daemon = Daemon::start(&lab, Setup { cgroup: true, ..Setup::default() }).unwrap();
    let duration = Duration::from_secs(3);

    for family in BOTH {
        let web = Server::tcp(lab.wan(), family.at(WEB[0], 443)).unwrap();
        let udp = Server::udp(lab.wan(), family.at(WEB[0], 5_353)).unwrap();
        let clock = Server::udp(lab.wan(), family.at(TIME, 123)).unwrap();
        let pause = Duration::from_millis(100);
        let person = Person { from: family.of(PEOPLE[0]), pause, seed: 1, duration };
        let person = person.start(lab.lan(), std::slice::from_ref(&web)).unwrap();
        let ntp = NtpClient { from: family.of(PEOPLE[1]), poll: pause, duration }.start(lab.lan(), &clock).unwrap();
        let implant = Implant {
            from: family.of(IMPLANT),
            transport: Transport::Udp,
            timer: Timer::new(pause, Jitter::Below(0.2)),
            connections: Connections::PerCheckIn,
            lengths: Lengths { request: 200, answer: 200 },
            tasks: None,
            look: Look::Raw,
            seed: 1,
            duration,
        };
        let implant = implant.start(lab.lan(), &udp).unwrap();
        let opened = [person, ntp, implant].map(|running| running.join().unwrap().connections).iter().sum::<u64>();

        let ours = |who: usize| if who == 0 { family.of(IMPLANT) } else { family.of(PEOPLE[who - 1]) };
        let flows = || -> Vec<Value> {
            let all = daemon.api().items("/api/v1/flows").unwrap();
            let is_ours = |flow: &Value| (0..3).any(|who| flow["originator"] == ours(who).to_string());
            all.into_iter().filter(is_ours).collect()
        };
        // A datagram's socket is joined with its flow when the table is read next.
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline && flows().iter().filter(|flow| names_us(flow)).count() as u64 != opened {
            std::thread::sleep(Duration::from_millis(100));
        }
        let flows = flows();
        let nameless: Vec<_> = flows.iter().filter(|flow| !names_us(flow)).collect();
        println!("{family:?}: {} flows of {opened} sockets, {} without their process", flows.len(), nameless.len());
        assert!(nameless.is_empty() && opened > 30, "{:?}", nameless.first());
        // Two sockets that the kernel gives the same port, one after the other, are one five-tuple and one flow.
        assert!((opened - 2..=opened).contains(&(flows.len() as u64)), "{} flows of {opened} sockets", flows.len());
    }
}

/// Whether a flow names this process, and what it runs.
fn names_us(flow: &Value) -> bool {
    let executable = std::env::current_exe().unwrap();
    flow["process"]["pid"] == std::process::id() && flow["process"]["exe"] == executable.to_string_lossy().as_ref()
}
