//! Shells that wait for whoever connects.

use netd_engine::finding::{Finding, Severity};

use super::support::{Host, stdio};

fn found(host: &Host) -> Finding {
    let mut findings = host.findings(9);
    assert_eq!(findings.len(), 1, "{:?}", host.graph(9).lines());
    assert_eq!(findings[0].detector, "bind_shell");
    findings.remove(0)
}

#[test]
fn a_shell_on_an_accepted_socket_is_high_and_never_cut_by_its_own_port() {
    let mut host = Host::default();
    host.run(5, "/usr/bin/ncat", "ncat -lk 4444 -e /bin/sh");
    host.sh(9);
    host.below(9, 5);
    host.accepted(&stdio(9), 4444);
    host.listening(&[(5, 3)], 4444);

    let finding = found(&host);

    assert_eq!(finding.severity, Severity::High);
    assert!(!finding.block);
    assert_eq!(finding.pair.responder_port, 4444);
}

#[test]
fn a_shell_behind_a_relay_that_accepts_is_high() {
    let mut host = Host::default();
    host.sh(9);
    host.run(11, "/usr/bin/socat", "socat tcp-listen:4444 exec:/bin/sh,pty");
    host.pty(&[(11, 5)], &stdio(9));
    host.accepted(&[(11, 6)], 4444);

    assert_eq!(found(&host).severity, Severity::High);
}

#[test]
fn an_orphan_that_init_adopted_is_no_service() {
    let mut host = Host::default();
    host.run(1, "/usr/lib/systemd/systemd", "/sbin/init");
    host.sh(9).unit = Some("apache2.service".into());
    host.below(9, 1);
    host.accepted(&stdio(9), 4444);

    assert_eq!(found(&host).severity, Severity::High);
}
