//! The laboratory itself: what it promises to the tests that use it.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use netd_lab::lab::{self, C2, IMPLANT, Kind, Lab, NOWHERE, NOWHERE_V6, PEOPLE, STORE, TIME, WEB, v6};
use netd_lab::process::Process;
use netd_lab::require_root;
use netd_lab::traffic::bulk::{Bulk, Direction};
use netd_lab::traffic::flood::{Flood, FlowFlood, Pace};
use netd_lab::traffic::implant::{Connections, Implant, Lengths, Transport};
use netd_lab::traffic::ntp::NtpClient;
use netd_lab::traffic::payload::Look;
use netd_lab::traffic::people::Person;
use netd_lab::traffic::server::Server;
use netd_lab::traffic::sink::{Match, PacketCounter, interface_counters, udp_datagrams};
use netd_lab::traffic::timer::{Jitter, Timer};

#[test]
fn every_check_in_reaches_the_server_over_either_transport_and_version() {
    require_root!();
    for lab in [Lab::gateway().unwrap(), Lab::host().unwrap()] {
        for (from, to) in [(IpAddr::from(IMPLANT), IpAddr::from(C2)), (v6(IMPLANT).into(), v6(C2).into())] {
            for connections in [Connections::PerCheckIn, Connections::One] {
                for transport in [Transport::Tcp, Transport::Udp] {
                    let address = SocketAddr::new(to, 443);
                    let server = match transport {
                        Transport::Tcp => Server::tcp(lab.wan(), address).unwrap(),
                        Transport::Udp => Server::udp(lab.wan(), address).unwrap(),
                    };

                    let implant = Implant { connections, transport, ..implant(from) };
                    let sent = implant.start(lab.lan(), &server).unwrap().join().unwrap();

                    assert!(sent.exchanges >= 5, "{sent:?}");
                    assert_eq!((sent.answered, sent.failed), (sent.exchanges, 0), "{sent:?}");
                    assert_eq!(server.received_from(from).bytes, sent.bytes);
                    assert_eq!(sent.bytes_back, sent.exchanges * 300);
                    let ports = if connections == Connections::One { 1 } else { sent.exchanges };
                    assert_eq!((server.received().len() as u64, sent.connections), (ports, ports));
                }
            }
        }
    }
}

#[test]
fn ordinary_traffic_arrives_to_the_byte() {
    require_root!();
    let lab = Lab::gateway().unwrap();
    let servers = WEB.map(|address| Server::tcp(lab.wan(), (address, 443).into()).unwrap());
    let store = Server::tcp(lab.wan(), (STORE, 443).into()).unwrap();
    let clock = Server::udp(lab.wan(), (TIME, 123).into()).unwrap();
    let duration = Duration::from_secs(2);

    let pause = Duration::from_millis(50);
    let people: Vec<_> = (0..3)
        .map(|seed| Person { from: PEOPLE[seed].into(), pause, seed: seed as u64, duration })
        .map(|person| person.start(lab.lan(), &servers).unwrap())
        .collect();
    let bulk = Bulk { from: PEOPLE[4].into(), direction: Direction::Up, bytes: 3_000_000, every: pause, duration };
    let bulk = bulk.start(lab.lan(), &store).unwrap();
    let ntp = NtpClient { from: PEOPLE[5].into(), poll: Duration::from_millis(200), duration };
    let ntp = ntp.start(lab.lan(), &clock).unwrap();

    for (person, from) in people.into_iter().zip(PEOPLE) {
        let sent = person.join().unwrap();
        let received: u64 = servers.iter().map(|server| server.received_from(from.into()).bytes).sum();
        assert!(sent.answered > 10, "{sent:?}");
        assert_eq!((sent.failed, sent.bytes), (0, received), "{sent:?}");
    }
    let sent = bulk.join().unwrap();
    assert_eq!((sent.failed, sent.bytes), (0, store.total().bytes));
    let sent = ntp.join().unwrap();
    assert_eq!((sent.failed, sent.bytes), (0, clock.total().bytes));
    assert!(sent.answered >= 9, "{sent:?}");
}

#[test]
fn a_flood_of_one_tuple_is_counted_to_the_packet() {
    require_root!();
    let lab = Lab::gateway().unwrap();
    let tuple = (SocketAddr::from((IMPLANT, 5_000)), SocketAddr::from((NOWHERE, 6_000)));
    let wanted = Match::v4(17).from(tuple.0.ip()).from_port(5_000).to(tuple.1.ip()).to_port(6_000);
    let counter = PacketCounter::start(lab.wan(), "eth0", wanted).unwrap();
    let other = PacketCounter::start(lab.wan(), "eth0", wanted.to_port(6_001)).unwrap();

    let flood = Flood { from: tuple.0, to: tuple.1, payload: 18, pace: Pace::count(300_000, Duration::from_secs(10)) };
    let sent = flood.start(lab.lan()).unwrap().join().unwrap();

    assert_eq!((sent.packets, sent.failed), (300_000, 0));
    assert_eq!((counter.packets().unwrap(), counter.packets().unwrap()), (300_000, 300_000));
    assert_eq!(other.packets().unwrap(), 0);
    assert_eq!(interface_counters(lab.watched(), "lan0").unwrap().dropped, 0);
}

#[test]
fn a_flood_of_unique_flows_is_counted_to_the_packet() {
    require_root!();
    for lab in [Lab::gateway().unwrap(), Lab::host().unwrap()] {
        for (from, to) in [(IpAddr::from(IMPLANT), IpAddr::from(NOWHERE)), (v6(IMPLANT).into(), NOWHERE_V6.into())] {
            let wanted = if to.is_ipv6() { Match::v6(17) } else { Match::v4(17) };
            let counter = PacketCounter::start(lab.wan(), "eth0", wanted).unwrap();

            let pace = Pace::count(100_000, Duration::from_secs(10));
            let flood = FlowFlood { hop: lab.first_hop(), from, to, first: 0, flows: u64::MAX, pace };
            let sent = flood.start(lab.lan()).unwrap().join().unwrap();

            assert_eq!((sent.packets, sent.failed), (100_000, 0));
            assert_eq!(counter.packets().unwrap(), 100_000);
        }
    }
}

#[test]
fn a_paced_flood_keeps_its_pace_and_reaches_a_socket() {
    require_root!();
    let lab = Lab::gateway().unwrap();
    let server = Server::udp(lab.wan(), (STORE, 9_000).into()).unwrap();
    let before = udp_datagrams(lab.wan()).unwrap();

    let pace = Pace::full(Duration::from_secs(1)).at(2_000);
    let flood = Flood { from: (PEOPLE[0], 9_000).into(), to: server.address(), payload: 100, pace };
    let sent = flood.start(lab.lan()).unwrap().join().unwrap();

    assert!((1_900..=2_010).contains(&sent.packets), "{sent:?}");
    assert_eq!(udp_datagrams(lab.wan()).unwrap() - before, sent.packets);
}

#[test]
fn unique_flows_are_unique() {
    let flood = FlowFlood {
        hop: lab::FirstHop { interface: "eth0", source: [0; 6], destination: [0; 6] },
        from: IMPLANT.into(),
        to: NOWHERE.into(),
        first: 0,
        flows: u64::MAX,
        pace: Pace::full(Duration::ZERO),
    };

    let tuples: std::collections::HashSet<_> = (0..200_000).map(|number| flood.tuple(number)).collect();

    assert_eq!(tuples.len(), 200_000);
}

#[test]
fn a_child_runs_inside_and_ends_with_its_handle() {
    require_root!();
    let lab = Lab::host().unwrap();
    let mut command = Command::new("ip");
    command.args(["-brief", "link"]);
    let links = lab.watched().command(&mut command).unwrap().output().unwrap();
    let links = String::from_utf8(links.stdout).unwrap();
    assert!(links.contains("eth0@") && links.lines().count() == 2, "{links}");

    let mut process = Process::start(lab.watched(), Command::new("sleep").arg("60")).unwrap();
    let id = process.child().id();
    drop(process);

    assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
}

#[test]
fn pins_of_one_laboratory_are_not_seen_by_another() {
    require_root!();
    let (one, other) = (Lab::host().unwrap(), Lab::host().unwrap());

    one.watched().run(|| Ok(std::fs::create_dir("/sys/fs/bpf/netd-lab-test")?)).unwrap();

    let is_there = |lab: &Lab| lab.watched().run(|| Ok(std::path::Path::new("/sys/fs/bpf/netd-lab-test").exists()));
    assert!(is_there(&one).unwrap());
    assert!(!is_there(&other).unwrap());
    assert!(!std::path::Path::new("/sys/fs/bpf/netd-lab-test").exists());
}

#[test]
fn nothing_is_left_when_a_test_panics() {
    require_root!();
    let (send, kept) = std::sync::mpsc::channel();

    let panicked = std::thread::spawn(move || {
        let lab = Lab::gateway().unwrap();
        send.send(lab.lan().clone()).unwrap();
        assert_eq!(lab.kind(), Kind::Host, "on purpose");
    });

    assert!(panicked.join().is_err());
    // One end of a veth pair goes when the namespace of the other does.
    let lan = kept.recv().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while interface_counters(&lan, "eth0").is_ok() {
        assert!(Instant::now() < deadline, "the gateway is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn implant(from: IpAddr) -> Implant {
    Implant {
        from,
        transport: Transport::Tcp,
        timer: Timer::new(Duration::from_millis(100), Jitter::Below(0.2)),
        connections: Connections::PerCheckIn,
        lengths: Lengths { request: 400, answer: 300 },
        tasks: None,
        look: Look::Tls { name: Some("c2.example".into()) },
        seed: 11,
        duration: Duration::from_millis(700),
    }
}
