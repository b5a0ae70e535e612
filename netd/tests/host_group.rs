//! Processes stopped and killed for real, and a conversation's sockets destroyed in another network namespace.

#![allow(clippy::unwrap_used, reason = "a failing test points to its line")]

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use netd::host::{group, sockets};
use netd_common::key::FlowKey;
use netd_engine::process::{ProcessId, Programs};
use netd_lab::{namespace::Namespace, require_root};
use rustix::process::Signal;

/// Killed when it is dropped.
struct Started(Child);

impl Started {
    /// Starts a program in a process group of its own.
    fn new(command: &mut Command) -> Self {
        Self(command.process_group(0).spawn().unwrap())
    }

    fn sh(line: &str) -> Self {
        Self::new(Command::new("sh").args(["-c", line]).stdout(Stdio::null()))
    }

    fn id(&self) -> ProcessId {
        id(self.0.id())
    }

    fn state(&self) -> char {
        state(self.0.id()).unwrap_or('-')
    }

    fn signal_it_died_of(&mut self) -> Option<i32> {
        self.0.wait().unwrap().signal()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn fields(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, tail) = stat.rsplit_once(") ")?;
    Some(tail.split(' ').map(str::to_owned).collect())
}

fn state(pid: u32) -> Option<char> {
    fields(pid)?[0].chars().next()
}

fn id(pid: u32) -> ProcessId {
    ProcessId { pid, start_ticks: fields(pid).unwrap()[19].parse().unwrap() }
}

fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_ascii_whitespace().map(|child| child.parse().unwrap()).collect()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(5), "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn programs() -> Programs {
    netd_engine::config::Config::default().programs
}

#[test]
fn a_whole_process_group_is_stopped_and_then_killed() {
    require_root!();
    let mut shell = Started::sh("sleep 60 & sleep 60; true");
    let pid = shell.0.id();
    until("both are started", || children(pid).len() == 2);
    let others = children(pid);

    assert_eq!(group::signal(shell.id(), Signal::STOP, &programs()).unwrap(), 3);
    until("all are stopped", || others.iter().all(|pid| state(*pid) == Some('T')) && shell.state() == 'T');

    assert!(group::signal(shell.id(), Signal::KILL, &programs()).unwrap() >= 3);
    assert_eq!(shell.signal_it_died_of(), Some(9));
    until("all are gone", || others.iter().all(|pid| matches!(state(*pid), None | Some('Z'))));
}

#[test]
fn a_number_that_is_anothers_by_now_is_never_hit() {
    require_root!();
    let bystander = Started::sh("sleep 60; true");
    let former = ProcessId { start_ticks: bystander.id().start_ticks - 1, ..bystander.id() };

    assert!(matches!(group::signal(former, Signal::KILL, &programs()), Err(group::Error::Gone { .. })));
    let unknown = ProcessId { start_ticks: 0, ..bystander.id() };
    assert!(matches!(group::signal(unknown, Signal::KILL, &programs()), Err(group::Error::Unknown { .. })));
    // Asleep, running, or waiting (`D`) for what it just started: not dead, not stopped.
    assert!(!matches!(bystander.state(), 'Z' | 'X' | 'T'), "{}", bystander.state());
}

#[test]
fn init_and_netd_are_refused_and_so_is_a_group_that_holds_netd() {
    require_root!();
    let refused = |id| group::signal(id, Signal::STOP, &programs()).unwrap_err();
    // Of this test's own group.
    let child = Started(Command::new("sleep").arg("60").spawn().unwrap());

    assert!(matches!(refused(id(1)), group::Error::Never { pid: 1, .. }));
    assert!(matches!(refused(id(std::process::id())), group::Error::Never { .. }));
    assert!(matches!(refused(child.id()), group::Error::Holds { .. }));
    assert_ne!(child.state(), 'T');
}

/// A conversation of a shell with its attacker, in a namespace of its own: the attacker's end, the shell, the key.
fn shell_in(namespace: &Namespace) -> (TcpStream, Started, FlowKey) {
    namespace
        .run(|| {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let near = TcpStream::connect(listener.local_addr()?)?;
            let key = key(near.local_addr()?, near.peer_addr()?, 6);
            let (far, _) = listener.accept()?;
            let stream = || -> Stdio { OwnedFd::from(near.try_clone().unwrap()).into() };
            let mut command = Command::new("sh");
            let shell = Started::new(command.stdin(stream()).stdout(stream()).stderr(stream()));
            Ok((far, shell, key))
        })
        .unwrap()
}

fn key(src: SocketAddr, dst: SocketAddr, proto: u8) -> FlowKey {
    FlowKey {
        src: src.ip().into(),
        dst: dst.ip().into(),
        src_port: src.port().to_be_bytes(),
        dst_port: dst.port().to_be_bytes(),
        proto,
        pad: [0; 3],
    }
}

#[test]
fn a_shell_in_another_namespace_is_cut_and_no_output_leaves() {
    require_root!();
    let namespace = Namespace::new("cut").unwrap();
    let (mut attacker, shell, key) = shell_in(&namespace);
    attacker.write_all(b"echo alive\n").unwrap();
    assert_eq!(attacker.read(&mut [0; 16]).unwrap(), 6);
    attacker.write_all(b"while true; do echo more; sleep 0.01; done\n").unwrap();
    until("output flows", || attacker.read(&mut [0; 64]).is_ok_and(|len| len > 0));

    let began = Instant::now();
    let destroyed = sockets::destroy_conversation(&key, &[shell.0.id()]).unwrap();
    let took = began.elapsed();

    assert_eq!((destroyed.destroyed, destroyed.gone), (1, 0));
    assert!(took < Duration::from_millis(50), "{took:?}");
    // What was sent before may still be read; the end is a reset.
    let end = std::iter::from_fn(|| match attacker.read(&mut [0; 64]) {
        Ok(0) => None,
        Ok(_) => Some(None),
        Err(error) => Some(Some(error.kind())),
    });
    assert_eq!(end.flatten().next(), Some(ErrorKind::ConnectionReset));
    assert_eq!(sockets::destroy_conversation(&key, &[shell.0.id()]).unwrap().destroyed, 0);
}

#[test]
fn a_conversation_that_has_ended_takes_no_listener_with_it() {
    require_root!();
    let namespace = Namespace::new("cut").unwrap();
    let inside = || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let at = listener.local_addr()?;
        let gone = key(at, "127.0.0.1:9".parse()?, 6);
        assert_eq!(sockets::destroy_conversation(&gone, &[])?.destroyed, 0);
        TcpStream::connect(at)?;
        Ok(())
    };
    namespace.run(inside).unwrap();
}

#[test]
fn a_udp_socket_is_cut_by_its_peer_and_one_without_a_peer_is_left() {
    require_root!();
    let namespace = Namespace::new("cut").unwrap();
    let inside = || {
        let everybodys = UdpSocket::bind("127.0.0.1:0")?;
        let shells = UdpSocket::bind("127.0.0.1:0")?;
        shells.connect(everybodys.local_addr()?)?;
        shells.send(b"output")?;
        let own = key(shells.local_addr()?, everybodys.local_addr()?, 17);

        assert_eq!(sockets::destroy_conversation(&own, &[])?.destroyed, 1);
        assert!(shells.send(b"more").is_err());
        assert!(shells.send(b"more").is_err(), "it has no peer any more");

        let other = key(everybodys.local_addr()?, "127.0.0.1:9".parse()?, 17);
        assert_eq!(sockets::destroy_conversation(&other, &[])?.destroyed, 0);
        assert_eq!(everybodys.recv(&mut [0; 16])?, 6);
        assert!(rustix::net::getsockname(everybodys.as_fd()).is_ok());
        Ok(())
    };
    namespace.run(inside).unwrap();
}
