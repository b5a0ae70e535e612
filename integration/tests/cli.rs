//! The command line against a running daemon, and against none.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::net::SocketAddr;
use std::process::Output;
use std::time::{Duration, Instant};

use netd_lab::daemon::{Daemon, Setup};
use netd_lab::lab::{C2, IMPLANT, Lab, NOWHERE, STORE};
use netd_lab::require_root;
use netd_lab::traffic::probe::{Passage, connects, datagrams};
use netd_lab::traffic::server::Server;
use serde_json::Value;

#[test]
fn block_add_cuts_verdicts_shows_it_and_block_remove_releases() {
    require_root!();
    let (lab, daemon) = running();
    let tuple = (SocketAddr::from((IMPLANT, 5_000)), SocketAddr::from((NOWHERE, 6_000)));
    let passage = || datagrams(&lab, tuple.0, tuple.1).unwrap();

    for (target, more) in [
        (format!("{NOWHERE}"), vec!["--reason", "a test"]),
        (format!("{NOWHERE}/24"), vec!["--ttl", "never"]),
        (format!("{NOWHERE}"), vec!["--port", "6000", "--proto", "udp"]),
    ] {
        let added = said(&daemon, &[&["block", "add", &target][..], &more].concat());
        assert!(added.starts_with("verdict ") && added.contains("in force"), "{added}");
        assert_eq!(passage(), Passage::Cut, "{target} {more:?}");

        let table = said(&daemon, &["verdicts"]);
        assert!(table.contains(&target) && table.contains("drop") && table.contains("manual"), "{table}");
        let verdicts: Value = serde_json::from_str(&said(&daemon, &["verdicts", "-o", "json"])).unwrap();
        assert_eq!(verdicts[0]["hits"]["packets"], 20, "{verdicts}");

        let released = said(&daemon, &["block", "remove", &target]);
        assert!(released.contains("released"), "{released}");
        assert_eq!(passage(), Passage::Free, "{target} {more:?}");
    }
}

#[test]
fn block_import_takes_a_list_says_what_it_did_not_take_and_remove_releases_it() {
    require_root!();
    let (lab, daemon) = running();
    let tuple = (SocketAddr::from((IMPLANT, 5_000)), SocketAddr::from((NOWHERE, 6_000)));
    let file = daemon.path("feed.txt");
    std::fs::write(&file, format!("# a feed\n{NOWHERE}\n2001:db8:dead::/48\nnonsense\n{STORE}\n")).unwrap();
    let file = file.to_str().unwrap();

    let dry = said(&daemon, &["block", "import", file, "--list", "feed", "--dry-run"]);
    assert!(dry.contains("would be added 2"), "{dry}");
    assert_eq!(datagrams(&lab, tuple.0, tuple.1).unwrap(), Passage::Free);

    let imported = said(&daemon, &["block", "import", file, "--list", "feed"]);
    assert!(imported.contains("2 entries; added 2, removed 0, unchanged 0"), "{imported}");
    assert!(imported.contains("line 4 rejected: nonsense"), "{imported}");
    assert!(imported.contains(&format!("not taken: {STORE}")), "{imported}");
    assert_eq!(datagrams(&lab, tuple.0, tuple.1).unwrap(), Passage::Cut);
    assert!(said(&daemon, &["block", "list"]).contains("feed"));

    let removed = said(&daemon, &["block", "remove", "--list", "feed"]);
    assert!(removed.contains("2 entries released"), "{removed}");
    assert_eq!(datagrams(&lab, tuple.0, tuple.1).unwrap(), Passage::Free);
}

#[test]
fn flows_status_and_findings_show_what_the_daemon_knows() {
    require_root!();
    let (lab, daemon) = running();
    let _server = Server::tcp(lab.wan(), (C2, 443).into()).unwrap();
    connects(&lab, IMPLANT.into(), (C2, 443).into()).unwrap().unwrap();

    let (from, c2) = (format!("{IMPLANT}:"), format!("{C2}:443"));
    let deadline = Instant::now() + Duration::from_secs(10);
    while !said(&daemon, &["flows", "--dst", &C2.to_string()]).contains(&c2) {
        assert!(Instant::now() < deadline, "{}", said(&daemon, &["flows"]));
        std::thread::sleep(Duration::from_millis(50));
    }
    let table = said(&daemon, &["flows", "--port", "443"]);
    assert!(table.contains(&from) && table.starts_with("BEGAN"), "{table}");
    assert!(!said(&daemon, &["flows", "--proto", "udp"]).contains(&c2));
    let lines = said(&daemon, &["flows", "-o", "jsonl", "--src", &IMPLANT.to_string()]);
    let flows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(flows.len() == 1 && flows[0]["responder"] == C2.to_string(), "{lines}");

    let status = said(&daemon, &["status"]);
    for part in ["mode         enforce", "kill switch  off", "interface    lan0", "interface    wan0"] {
        assert!(status.contains(part), "{part}: {status}");
    }
    // Processes of the host that are nobody's matter here may go while they are looked at.
    let mut lost = status.lines().filter_map(|line| line.strip_prefix("lost ")).map(str::trim).peekable();
    assert!(lost.peek().is_some(), "{status}");
    assert!(lost.all(|what| what == "nothing" || what.ends_with(" stream_snapshot_parts")), "{status}");
    assert_eq!(said(&daemon, &["findings", "-o", "json"]).trim(), "[]");
}

#[test]
fn the_kill_switch_is_thrown_and_shown() {
    require_root!();
    let (_lab, daemon) = running();

    assert!(said(&daemon, &["kill-switch", "on"]).contains("everything passes"));
    assert!(said(&daemon, &["status"]).contains("kill switch  ON"));
    assert!(said(&daemon, &["kill-switch", "off"]).contains("mode in effect: enforce"));
    assert!(said(&daemon, &["status"]).contains("kill switch  off"));
}

#[test]
fn wrong_usage_ends_with_two_a_refusal_with_one_and_both_say_why() {
    require_root!();
    let (_lab, daemon) = running();
    let store = STORE.to_string();

    for (status, arguments, why) in [
        (2, &["block", "add", "nonsense"][..], "'nonsense' is not an IP address or prefix"),
        (2, &["block", "add", "10.1.2.3/8"], "the prefix is 10.0.0.0/8"),
        (2, &["block", "add", "10.0.0.0/8", "--port", "1"], "a port belongs to an address"),
        (2, &["block", "add", "198.18.0.1", "--proto", "udp"], "--port"),
        (2, &["block", "remove"], "required"),
        (2, &["block", "remove", "198.18.0.77"], "there is no verdict on 198.18.0.77"),
        (2, &["kill-switch", "maybe"], "maybe"),
        (2, &["flows", "--limit", "many"], "many"),
        (2, &["frobnicate"], "frobnicate"),
        (2, &["status", "--server", "nowhere"], "neither http://host:port nor https://host:port nor unix:/path"),
        (1, &["block", "add", &store], "protected by the configuration"),
        (1, &["block", "add", "0.0.0.0/0"], "wider than"),
        (1, &["block", "add", "198.18.0.1", "--action", "explode"], "explode"),
        (1, &["block", "add", "198.18.0.1", "--ttl", "soon"], "soon"),
        (1, &["block", "add", "198.18.0.1", "--action", "throttle"], "throttle needs bytes_per_second"),
        (1, &["block", "remove", "4711"], "there is no verdict 4711"),
        (1, &["block", "remove", "--list", "none"], "there is no block-list none"),
        (1, &["block", "import", "/nonexistent/feed", "--list", "feed"], "cannot read /nonexistent/feed"),
        (1, &["block", "import", "/dev/null/feed", "--list", "feed"], "cannot read"),
        (1, &["flows", "--ip", "nonsense"], "ip"),
        (1, &["flows", "--since", "yesterday"], "since"),
        (1, &["unload"], "another netd is using"),
    ] {
        let output = daemon.netd(arguments).unwrap();
        check(&output, status, why, &format!("{arguments:?}"));
    }
    assert_eq!(said(&daemon, &["verdicts", "-o", "json"]).trim(), "[]");
}

#[test]
fn without_a_daemon_every_client_says_so_and_ends_with_one() {
    require_root!();
    let (_lab, mut daemon) = running();
    assert!(daemon.terminate().unwrap().success());

    for arguments in [
        &["status"][..],
        &["flows"],
        &["findings"],
        &["verdicts"],
        &["block", "add", "198.18.0.1"],
        &["block", "remove", "1"],
        &["block", "list"],
        &["kill-switch", "on"],
    ] {
        check(&daemon.netd(arguments).unwrap(), 1, "netd is not running at unix:", &format!("{arguments:?}"));
    }
}

#[test]
fn a_daemon_that_cannot_start_says_why_and_ends_with_one() {
    require_root!();
    let (_lab, daemon) = running();
    let file = daemon.path("wrong.toml");
    let file = file.to_str().unwrap();

    for (text, why) in [
        ("mode = \"fierce\"\n", "fierce"),
        ("modus = \"enforce\"\n", "modus"),
        ("[limits]\nflows_per_cpu = 3\n", "limits.flows_per_cpu is 3; it must be from 1024"),
        ("policy = \"/nonexistent/policy.yaml\"\n", "/nonexistent/policy.yaml"),
        // The daemon of this test holds the maps.
        ("[api]\nlisten = []\n", "another netd is using"),
    ] {
        std::fs::write(file, text).unwrap();
        check(&daemon.netd(&["run", "--config", file]).unwrap(), 1, why, text);
    }
    check(&daemon.netd(&["run", "--config", "/nonexistent.toml"]).unwrap(), 1, "/nonexistent.toml", "no file");
}

fn running() -> (Lab, Daemon) {
    let lab = Lab::gateway().unwrap();
    let store = STORE.to_string();
    let daemon = Daemon::start(&lab, Setup { protect: &[&store], ..Setup::default() }).unwrap();
    (lab, daemon)
}

/// Runs a command that must do its work; returns what it printed.
#[track_caller]
fn said(daemon: &Daemon, arguments: &[&str]) -> String {
    let output = daemon.netd(arguments).unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn check(output: &Output, status: i32, why: &str, what: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{what}: {said}");
    assert!(said.contains(why) && !said.contains("panicked"), "{what}: {said}");
}
