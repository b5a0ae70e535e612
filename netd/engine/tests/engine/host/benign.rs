//! What looks like a reverse shell and is none. Every one of them is silent.

use netd_engine::streams::{Access, Object, Opened};

use super::support::{Host, stdio};
use crate::support::TCP;

fn silent(host: &Host) {
    assert_eq!(host.findings(9), [], "{:#?}", host.graph(9).lines());
}

#[test]
fn a_login_over_ssh() {
    let mut host = Host::default();
    host.run(9, "/usr/bin/bash", "-bash");
    host.run(11, "/usr/lib/openssh/sshd-session", "sshd-session: a@pts/0");
    host.pty(&[(11, 6)], &stdio(9));
    host.accepted(&[(11, 4)], 22);
    // A port that it forwards.
    host.connected(&[(11, 8)]);

    silent(&host);
}

#[test]
fn a_daemon_of_ssh_that_inetd_started() {
    let mut host = Host::default();
    host.sh(9);
    host.run(11, "/usr/sbin/sshd", "sshd -i");
    host.socketpair(&[(11, 7)], &stdio(9));
    host.accepted(&[(11, 0), (11, 1)], 2222);

    silent(&host);
}

#[test]
fn ansible_over_ssh_to_this_host() {
    let mut host = Host::default();
    host.run(9, "/usr/bin/dash", "/bin/sh");
    host.run(11, "/usr/lib/openssh/sshd-session", "sshd-session: a@notty");
    host.run(12, "/usr/bin/ssh", "ssh localhost");
    host.run(13, "/usr/bin/python3.11", "python3 /usr/bin/ansible-playbook site.yml");
    host.socketpair(&[(11, 7)], &stdio(9));
    host.within(&[(12, 3)], &[(11, 4)], 22);
    host.pipe(&[(13, 8)], &[(12, 0)]);
    host.pipe(&[(12, 1)], &[(13, 9)]);
    host.connected(&[(13, 5)]);

    silent(&host);
}

#[test]
fn a_shell_on_a_socket_of_systemd() {
    let mut host = Host::default();
    host.run(1, "/usr/lib/systemd/systemd", "/sbin/init");
    host.sh(9);
    host.below(9, 1);
    host.accepted(&stdio(9), 7777);
    host.listening(&[(1, 40)], 7777);

    silent(&host);
}

#[test]
fn a_unit_of_systemd_whose_listener_was_not_read() {
    let mut host = Host::default();
    host.run(1, "/usr/lib/systemd/systemd", "/sbin/init");
    host.sh(9).unit = Some("rescue@3-10.0.3.7:7777-203.0.113.5:40000.service".into());
    host.below(9, 1);
    host.accepted(&stdio(9), 7777);

    silent(&host);
}

#[test]
fn a_service_of_inetd() {
    let mut host = Host::default();
    host.run(5, "/usr/sbin/xinetd", "xinetd");
    host.sh(9);
    host.below(9, 5);
    host.accepted(&stdio(9), 7777);

    silent(&host);
}

#[test]
fn daemons_of_git_rsync_and_distcc() {
    for (exe, line) in [
        ("/usr/bin/git", "git upload-pack ."),
        ("/usr/bin/rsync", "rsync --daemon"),
        ("/usr/bin/distccd", "distccd --inetd"),
    ] {
        let mut host = Host::default();
        host.run(9, exe, line);
        host.accepted(&stdio(9), 873);
        silent(&host);
        // A hook that it runs.
        let mut host = Host::default();
        host.run(11, exe, line);
        host.sh(9);
        host.pipe(&[(11, 4)], &[(9, 0)]);
        host.pipe(&[(9, 1)], &[(11, 5)]);
        host.accepted(&[(11, 0), (11, 1)], 873);
        host.connected(&[(11, 6)]);
        silent(&host);
    }
}

#[test]
fn a_script_of_a_web_server_with_connections_of_its_own() {
    let mut host = Host::default();
    host.run(7, "/usr/sbin/apache2", "apache2 -k start");
    host.run(9, "/usr/bin/dash", "/bin/sh").user = Some("www-data".into());
    host.below(9, 7);
    host.pipe(&[(7, 20)], &[(9, 0)]);
    host.pipe(&[(9, 1)], &[(7, 21)]);
    host.accepted(&[(7, 9)], 80);
    host.listening(&[(7, 4)], 80);
    host.connected(&[(7, 12)]);

    silent(&host);
}

#[test]
fn a_command_of_an_application_server_with_connections_of_its_own() {
    let mut host = Host::default();
    host.run(7, "/usr/bin/node", "node /srv/app/server.js");
    host.run(9, "/usr/bin/dash", "/bin/sh -c hostname");
    host.below(9, 7);
    host.socketpair(&[(7, 20)], &[(9, 0)]);
    host.socketpair(&[(7, 21)], &[(9, 1), (9, 2)]);
    host.listening(&[(7, 4)], 8080);
    host.connected(&[(7, 12)]);

    silent(&host);
}

#[test]
fn expect_tmux_screen_and_script_under_a_login() {
    for exe in ["/usr/bin/expect", "/usr/bin/tmux", "/usr/bin/screen", "/usr/bin/script"] {
        let mut host = Host::default();
        host.run(9, "/usr/bin/bash", "bash -i");
        host.run(11, exe, "x");
        host.run(12, "/usr/lib/openssh/sshd-session", "sshd-session: a@pts/1");
        host.pty(&[(11, 5)], &stdio(9));
        host.pty(&[(12, 6)], &stdio(11));
        host.accepted(&[(12, 4)], 22);
        // In another window somebody logs in elsewhere.
        host.run(13, "/usr/bin/ssh", "ssh away");
        host.pty(&[(11, 8)], &stdio(13));
        host.connected(&[(13, 3)]);
        silent(&host);
    }
}

#[test]
fn a_script_of_a_virtual_private_network() {
    let mut host = Host::default();
    host.run(11, "/usr/sbin/openvpn", "openvpn --config x");
    host.sh(9);
    host.below(9, 11);
    host.file(&stdio(9));
    // Inherited, and no standard stream.
    host.connected(&[(11, 5), (9, 5)]);

    silent(&host);
}

#[test]
fn a_job_of_a_runner() {
    let mut host = Host::default();
    host.run(11, "/usr/bin/gitlab-runner", "gitlab-runner run");
    host.run(9, "/usr/bin/bash", "bash --login");
    host.below(9, 11);
    host.pipe(&[(11, 7)], &[(9, 0)]);
    host.pipe(&[(9, 1), (9, 2)], &[(11, 8)]);
    host.connected(&[(11, 5)]);

    silent(&host);
}

#[test]
fn facts_that_a_configuration_agent_collects() {
    let mut host = Host::default();
    host.run(11, "/usr/bin/python3.11", "python3 /usr/bin/salt-minion");
    host.connected(&[(11, 5)]);
    let mut world = crate::support::World::new(netd_engine::config::Config::default());
    for (pid, line) in (20..).zip(["sh -c id", "sh -c uname", "sh -c hostname", "sh -c ip"]) {
        host.run(pid, "/usr/bin/dash", line);
        host.below(pid, 11);
        host.pipe(&[(pid, 1)], &[(11, pid)]);
        host.look(&mut world, pid);
    }

    assert_eq!(world.findings(), []);
}

#[test]
fn a_shell_in_a_container() {
    for exe in ["/usr/bin/containerd-shim-runc-v2", "/usr/bin/conmon", "/usr/bin/dockerd"] {
        let mut host = Host::default();
        host.run(9, "/usr/bin/bash", "bash");
        host.run(11, exe, "x");
        host.run(12, "/usr/bin/dockerd", "dockerd");
        host.pty(&[(11, 5)], &stdio(9));
        host.fifo(&[(12, 7)], &[(11, 8)]);
        host.fifo(&[(11, 9)], &[(12, 10)]);
        host.connected(&[(12, 11)]);
        silent(&host);
    }
}

#[test]
fn a_shell_by_mosh() {
    let mut host = Host::default();
    host.run(9, "/usr/bin/bash", "-bash");
    host.run(11, "/usr/bin/mosh-server", "mosh-server new");
    host.pty(&[(11, 5)], &stdio(9));
    host.datagrams(&[(11, 4)]);

    silent(&host);
}

#[test]
fn a_job_of_cron() {
    let mut host = Host::default();
    host.run(11, "/usr/sbin/cron", "cron -f");
    host.run(9, "/usr/bin/dash", "/bin/sh -c backup");
    host.below(9, 11);
    host.pipe(&[(11, 4)], &[(9, 0)]);
    host.pipe(&[(9, 1), (9, 2)], &[(11, 5)]);

    silent(&host);
}

#[test]
fn a_terminal_in_a_browser() {
    let mut host = Host::default();
    host.run(9, "/usr/bin/bash", "bash -l");
    host.run(11, "/home/a/venv/bin/python3.11", "python3 /home/a/venv/bin/jupyter-lab");
    host.pty(&[(11, 30)], &stdio(9));
    host.listening(&[(11, 6)], 8888);
    host.accepted(&[(11, 9)], 8888);

    silent(&host);
}

#[test]
fn a_terminal_on_a_desktop() {
    let mut host = Host::default();
    host.run(9, "/usr/bin/bash", "bash");
    host.run(11, "/home/a/bin/term", "term");
    host.run(12, "/usr/lib/xorg/Xorg", "Xorg");
    host.run(13, "/usr/bin/mailer", "mailer");
    host.pty(&[(11, 5)], &stdio(9));
    host.socketpair(&[(11, 3)], &[(12, 20)]);
    host.socketpair(&[(13, 3)], &[(12, 21)]);
    host.connected(&[(13, 9)]);
    silent(&host);

    // Another display server, of which nobody has heard, with more clients.
    let mut host = Host::default();
    host.run(9, "/usr/bin/bash", "bash");
    host.run(11, "/home/a/bin/term", "term");
    host.run(12, "/home/a/bin/display", "display");
    host.pty(&[(11, 5)], &stdio(9));
    host.socketpair(&[(11, 3)], &[(12, 20)]);
    for pid in 13..19 {
        host.run(pid, "/usr/bin/mailer", "mailer");
        host.socketpair(&[(pid, 3)], &[(12, pid)]);
        host.socket(&[(pid, 9)], TCP, &format!("10.0.3.7:500{pid}"), "203.0.113.5:993", Opened::Connected);
    }
    silent(&host);
}

#[test]
fn a_maintainer_script_while_packages_are_fetched() {
    let mut host = Host::default();
    host.run(11, "/usr/bin/apt-get", "apt-get upgrade");
    host.run(12, "/usr/lib/apt/methods/https", "https");
    host.run(9, "/usr/bin/dash", "/bin/sh");
    host.pty(&[(11, 20)], &stdio(9));
    host.pipe(&[(12, 1)], &[(11, 4)]);
    host.pipe(&[(11, 5)], &[(12, 0)]);
    host.connected(&[(12, 3)]);

    silent(&host);
}

#[test]
fn a_pipeline_at_a_prompt() {
    let mut host = Host::default();
    host.run(9, "/usr/bin/bash", "bash report.sh");
    host.run(11, "/usr/bin/ssh", "ssh a cat");
    host.run(12, "/usr/bin/ssh", "ssh b tee");
    host.pipe(&[(11, 1)], &[(9, 0)]);
    host.pipe(&[(9, 1)], &[(12, 0)]);
    host.connected(&[(11, 3)]);
    host.socket(&[(12, 3)], TCP, "10.0.3.7:51515", "203.0.113.5:22", Opened::Connected);

    silent(&host);
}

#[test]
fn a_page_fetched_by_bash_itself() {
    let mut host = Host::default();
    host.run(8, "/usr/bin/bash", "bash check.sh");
    host.run(9, "/usr/bin/cat", "cat");
    host.below(9, 8);
    host.connected(&[(8, 3), (9, 0)]);
    host.hold(&[(9, 1), (9, 2)], Object::Console, Access::Both);

    silent(&host);
}

#[test]
fn a_socat_that_passes_a_service_on() {
    let mut host = Host::default();
    host.run(9, "/usr/bin/socat", "socat tcp-listen:80,fork tcp:backend:8080");
    host.accepted(&[(9, 6)], 80);
    host.listening(&[(9, 5)], 80);
    host.connected(&[(9, 7)]);

    silent(&host);
}
