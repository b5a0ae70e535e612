use clap::CommandFactory as _;

use netd_engine::finding::Severity;
use netd_engine::flow::EndReason;
use serde_json::Value;

use super::*;
use crate::api::tests::Api;
use crate::store::findings_for_tests::finding;
use crate::store::flows_for_tests::conversation;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn a_capture_alone_can_be_replayed() {
    let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/../pcaps/people.pcap");
    for words in [vec!["netd", "replay", capture], vec!["netd", "replay", "-o", "evidence", capture]] {
        let cli = Cli::try_parse_from(&words).unwrap();

        assert_eq!(run(&cli, &mut Vec::new(), &mut Vec::new()), 0);
    }
}

#[test]
fn a_shell_and_a_manual_are_told_of_every_subcommand() {
    let names: Vec<_> = Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for words in [vec!["netd", "completions", "bash"], vec!["netd", "completions", "zsh"], vec!["netd", "man"]] {
        let mut out = Vec::new();

        assert_eq!(run(&Cli::try_parse_from(&words).unwrap(), &mut out, &mut Vec::new()), 0);

        let text = String::from_utf8(out).unwrap().replace("\\-", "-");
        assert!(names.iter().all(|name| text.contains(name.as_str())), "{words:?}");
    }
    let directory = tempfile::tempdir().unwrap();
    let cli = Cli::try_parse_from(["netd", "man", "--all", directory.path().to_str().unwrap()]).unwrap();
    assert_eq!(run(&cli, &mut Vec::new(), &mut Vec::new()), 0);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), names.len() + 1);
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let cli = Cli::try_parse_from(["netd", "config", "default"]).unwrap();

    assert_eq!(run(&cli, &mut Closed, &mut Vec::new()), 0);
}

#[test]
fn a_daemon_that_is_not_there_fails_with_one() {
    let cli = Cli::try_parse_from(["netd", "status", "--server", "http://127.0.0.1:1"]).unwrap();
    let mut err = Vec::new();

    assert_eq!(run(&cli, &mut Vec::new(), &mut err), 1);
    assert!(String::from_utf8(err).unwrap().starts_with("netd: netd is not running at"));
}

/// Runs subcommands against one API, one after the other, and returns for each its status and what it printed.
async fn printed(api: &Api, commands: &[&[&str]]) -> Vec<(u8, String)> {
    let (address, shutdown, serving) = api.listen().await;
    let commands: Vec<Vec<String>> =
        commands.iter().map(|words| words.iter().map(|word| (*word).to_owned()).collect()).collect();
    let runs = tokio::task::spawn_blocking(move || {
        let run_one = |words: &Vec<String>| {
            let server = format!("--server=http://{address}");
            let words = std::iter::once("netd").chain(words.iter().map(String::as_str)).chain([server.as_str()]);
            let cli = Cli::try_parse_from(words).unwrap();
            let mut text = Vec::new();
            let mut errors = Vec::new();
            let status = run(&cli, &mut text, &mut errors);
            text.extend(errors);
            (status, String::from_utf8(text).unwrap())
        };
        commands.iter().map(run_one).collect()
    });
    let printed = runs.await.unwrap();
    shutdown.cancel();
    serving.await.unwrap();
    printed
}

#[tokio::test]
async fn a_block_is_added_listed_and_removed() {
    let api = Api::new();

    let printed = printed(
        &api,
        &[
            &["block", "add", "198.51.100.9", "--ttl", "1h", "--reason", "ir-4411"],
            &["verdicts"],
            &["block", "remove", "198.51.100.9"],
            &["block", "remove", "198.51.100.9"],
            &["block", "add", "10.0.0.1"],
            &["block", "add", "198.51.100.9/24"],
            &["verdicts", "-o", "json"],
        ],
    )
    .await;

    assert!(printed[0].1.starts_with("verdict 1 in force until "), "{}", printed[0].1);
    assert!(printed[0].1.contains("closed 1 established connections"));
    assert!(printed[1].1.lines().nth(1).unwrap().starts_with("1   198.51.100.9  drop"), "{}", printed[1].1);
    assert_eq!(printed[2], (0, "verdict 1 released: 198.51.100.9\n".to_owned()));
    assert_eq!((printed[3].0, printed[3].1.contains("there is no verdict on")), (2, true));
    assert_eq!(printed[4].0, 1);
    assert!(printed[4].1.starts_with("netd: Protected address: 10.0.0.1 is protected"), "{}", printed[4].1);
    assert_eq!((printed[5].0, printed[5].1.contains("the prefix is 198.51.100.0/24")), (2, true));
    assert_eq!(printed[6], (0, "[]\n".to_owned()));
}

#[tokio::test]
async fn a_list_is_imported_with_every_rejected_line() {
    let api = Api::new();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("feed.txt");
    std::fs::write(&file, "192.0.2.1\n300.1.1.1\n10.0.0.1\n").unwrap();
    let file = file.to_str().unwrap();

    let printed = printed(
        &api,
        &[
            &["block", "import", file, "--list", "corp"],
            &["block", "list"],
            &["block", "remove", "--list", "corp"],
            &["block", "import", file, "--list", "No/Name"],
            &["block", "import", "/nowhere", "--list", "corp"],
        ],
    )
    .await;

    assert_eq!(
        printed[0].1,
        "corp: 1 entries; added 1, removed 0, unchanged 0\n\
         line 2 rejected: 300.1.1.1: neither an address, a prefix, a range, a name, nor a JA3 or JA4 fingerprint\n\
         not taken: 10.0.0.1: protected: the default gateway\n"
    );
    assert!(
        printed[1].1.lines().nth(1).unwrap().starts_with("corp  1     0     0      0       drop"),
        "{}",
        printed[1].1
    );
    assert_eq!(printed[2], (0, "list corp removed, 1 entries released\n".to_owned()));
    assert_eq!((printed[3].0, printed[3].1.contains("a-z, 0-9")), (1, true));
    assert_eq!((printed[4].0, printed[4].1.contains("cannot read /nowhere")), (1, true));
}

#[tokio::test]
async fn more_than_a_page_is_fetched_and_no_line_is_too_wide() {
    let api = Api::new();
    for port in 0..800 {
        api.flows.put(conversation(port, EndReason::Active));
    }
    for id in 1..=3 {
        api.findings.report(finding(id, Severity::High, 0.9));
    }

    let printed = printed(
        &api,
        &[
            &["flows", "-n", "2000", "-o", "jsonl"],
            &["flows", "--proto", "tcp"],
            &["findings", "--severity", "medium"],
            &["findings", "2"],
            &["findings", "9"],
            &["status"],
            &["flows", "--proto", "foo"],
        ],
    )
    .await;

    assert_eq!(printed[0].1.lines().count(), 800);
    assert!(printed[0].1.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    assert_eq!(printed[1].1.lines().count(), 101);
    assert_eq!(printed[2].1.lines().count(), 4);
    assert!(printed[3].1.starts_with("HIGH beacon: 10.0.0.7 -> 198.51.100.9:443 tcp"), "{}", printed[3].1);
    assert_eq!((printed[4].0, printed[4].1.as_str()), (1, "netd: Not found: there is no finding 9\n"));
    assert!(printed[5].1.contains("lost         3 kernel_turn_records"), "{}", printed[5].1);
    assert_eq!((printed[6].0, printed[6].1.contains("proto: it must be tcp")), (1, true));
    for (_, text) in &printed[1..] {
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
}

#[tokio::test]
async fn the_kill_switch_is_turned_on_and_off() {
    let printed = printed(&Api::new(), &[&["kill-switch", "on"], &["status"], &["kill-switch", "off"]]).await;

    assert_eq!(printed[0].1, "kill switch on: everything passes; mode in effect: observe\n");
    assert!(printed[1].1.contains("enforce asked for, observe in effect"));
    assert_eq!(printed[2].1, "kill switch off; mode in effect: enforce\n");
}

/// Runs a subcommand that needs no daemon.
fn alone(words: &[&str]) -> (u8, String) {
    let cli = Cli::try_parse_from(std::iter::once("netd").chain(words.iter().copied())).unwrap();
    let (mut text, mut errors) = (Vec::new(), Vec::new());
    let status = run(&cli, &mut text, &mut errors);
    text.extend(errors);
    (status, String::from_utf8(text).unwrap())
}

#[test]
fn a_database_is_made_from_csv_and_says_what_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (csv, made) = (path("rows.csv"), path("made.mmdb"));
    std::fs::write(&csv, "198.51.100.0/24,64500,Example\n192.0.2.0/24,0,Not routed\n").unwrap();

    let built = alone(&["geoip", "build", "--from", &csv, "-o", &made, "--build-epoch", "1767225600"]);
    let said = alone(&["geoip", "info", &made]);
    let (status, json) = alone(&["geoip", "info", &made, "-o", "json"]);

    assert!(built.0 == 0 && built.1.contains("1 networks from 1 rows, 1 rows without data"), "{built:?}");
    assert!(said.0 == 0 && said.1.contains("holds     autonomous systems"), "{said:?}");
    assert!(said.1.contains("built     2026-01-01 00:00:00 UTC, "), "{said:?}");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((status, &json[0]["holds"], &json[0]["networks"]), (0, &serde_json::json!(["asn"]), &1.into()));

    std::fs::write(&csv, "198.51.100.0/24,64500,Example\n198.51.100.9/32,64501,Other\n").unwrap();
    let (status, error) = alone(&["geoip", "build", "--from", &csv, "-o", &made]);
    assert!(status == 1 && error.contains("rows.csv:2: its addresses overlap those of line 1"), "{error}");
}

#[test]
fn a_database_that_cannot_be_used_is_named_by_info_and_by_the_check_of_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let (bad, config) = (dir.path().join("bad.mmdb"), dir.path().join("netd.toml"));
    std::fs::write(&bad, "no database").unwrap();
    std::fs::write(&config, format!("[geoip]\ncountry = {:?}\n", bad.to_str().unwrap())).unwrap();
    let (bad, config) = (bad.to_str().unwrap(), config.to_str().unwrap());

    for words in [&["geoip", "info", bad][..], &["geoip", "info", "--config", config], &["config", "check", config]] {
        let (status, error) = alone(words);

        assert!(status == 1 && error.contains("bad.mmdb is not a valid MMDB file"), "{words:?}: {error}");
    }
    std::fs::write(config, "").unwrap();
    assert!(alone(&["geoip", "info", "--config", config]).1.contains("names no database"));
    assert_eq!(alone(&["config", "check", config]).0, 0);
}

#[tokio::test]
async fn flows_are_observed_and_findings_triaged() {
    let api = Api::new();
    api.flows.end(conversation(1, EndReason::Closed));
    api.flows.end(conversation(2, EndReason::Closed));
    api.findings.report(finding(4, Severity::High, 0.9));

    let printed = printed(
        &api,
        &[
            &["observe", "sport:1", "-o", "compact"],
            &["observe", "-o", "csv"],
            &["observe", "colour:red"],
            &["observe", "-f", "-o", "json"],
            &["flows", "sport:2", "-o", "jsonl"],
            &["findings", "ack", "4", "--assignee", "ana"],
            &["findings", "close", "4", "--as", "fp"],
            &["findings", "list", "-q", "status:closed assignee:ana"],
            &["findings", "show", "4", "-o", "json"],
        ],
    )
    .await;

    assert!(
        printed[0].1.contains(" alert 0.90 tcp 10.0.0.7:1 -> 198.51.100.9:443 DE/AS64500 60/0 S0 cdn.example.net"),
        "{}",
        printed[0].1
    );
    assert_eq!(printed[1].1.lines().count(), 3);
    assert_eq!((printed[2].0, printed[2].1.contains("'colour' is no field")), (1, true), "{}", printed[2].1);
    assert_eq!(printed[3].0, 2);
    assert_eq!(printed[4].1.lines().count(), 1);
    assert_eq!(printed[5].1, "finding 4: ack\n");
    assert_eq!(printed[6].1, "finding 4: closed\n");
    assert!(printed[7].1.lines().nth(1).unwrap().contains("closed"), "{}", printed[7].1);
    assert!(printed[8].1.contains("\"reason\": \"fp\""), "{}", printed[8].1);
}

#[tokio::test]
async fn a_token_is_shown_once_and_listed_without_its_secret() {
    let api = Api::new();

    let printed = printed(
        &api,
        &[
            &["token", "create", "--name", "prom", "--scope", "metrics", "--ttl", "1h"],
            &["token", "list"],
            &["token", "revoke", "nobody"],
        ],
    )
    .await;

    let token = printed[0].1.lines().next().unwrap();
    assert!(token.starts_with("ntd_") && token.len() == 76, "{token}");
    assert!(printed[1].1.contains("prom") && !printed[1].1.contains(&token[..20]), "{}", printed[1].1);
    assert_eq!((printed[2].0, printed[2].1.contains("there is no token nobody")), (1, true));
}

#[tokio::test]
async fn the_doctor_says_what_is_wrong_and_how_bad_that_is() {
    let api = Api::new();

    let printed = printed(&api, &[&["doctor", "-o", "json"], &["doctor"]]).await;

    let report: Value = serde_json::from_str(&printed[0].1).unwrap();
    let expected = match report["worst"].as_str().unwrap() {
        "ok" => 0,
        "warn" => 4,
        _ => 1,
    };
    assert_eq!((printed[0].0, printed[1].0), (expected, expected));
    let checks = report["checks"].as_array().unwrap();
    assert!(
        checks.iter().any(|check| check["what"] == "kernel") && checks.iter().any(|check| check["what"] == "losses")
    );
    assert_eq!(printed[1].1.lines().filter(|line| line.starts_with("warn ") || line.starts_with("FAIL")).count(), {
        checks.iter().filter(|check| check["grade"] != "ok").count()
    });
}

#[test]
fn a_log_that_was_altered_fails_with_its_first_broken_record() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit");
    let audit = crate::store::audit::Audit::open(&log, netd_engine::time::Timestamp(1)).unwrap();
    let change = crate::store::audit::Change::new(crate::store::audit::Effect::Decreases, "test", "x");
    for _ in 0..3 {
        audit.record(netd_engine::time::Timestamp(1), &crate::store::audit::Caller::daemon(), change.clone());
    }
    let verify = || {
        let cli =
            Cli::try_parse_from(["netd", "audit", "verify", "--state-dir", folder.path().to_str().unwrap()]).unwrap();
        let mut out = Vec::new();
        (run(&cli, &mut out, &mut Vec::new()), String::from_utf8(out).unwrap())
    };
    assert_eq!(verify().0, 0);

    let file = log.join("audit.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("\"seq\":2", "\"seq\":9", 1)).unwrap();

    let (status, said) = verify();
    assert_eq!(status, 1);
    assert!(said.contains("BROKEN at audit.jsonl:2"), "{said}");
}

#[tokio::test]
async fn entries_and_allow_lists_are_kept_and_an_address_is_unblocked_in_one_command() {
    let printed = printed(
        &Api::new(),
        &[
            &["block", "add", "198.51.100.7", "--list", "corp", "--ttl", "1h", "--reason", "ir-4411"],
            &["block", "add", "*.evil.example", "--list", "corp"],
            &["block", "list", "corp"],
            &["explain", "198.51.100.7"],
            &["allow", "add", "198.51.100.7", "--reason", "ours"],
            &["allow", "list"],
            &["allow", "remove", "198.51.100.7"],
            &["block", "add", "192.0.2.1", "--confirm", "60s"],
            &["confirm"],
            &["unblock", "198.51.100.7"],
            &["unblock", "--all"],
            &["unblock", "--all"],
            &["block", "add", "10.0.0.1", "--list", "corp"],
            &["feeds", "list"],
            &["feeds", "update", "none"],
        ],
    )
    .await;

    assert_eq!(printed[0], (0, "198.51.100.7 is in block-list corp\n".to_owned()));
    assert!(printed[2].1.contains("198.51.100.7") && printed[2].1.contains("ir-4411"), "{}", printed[2].1);
    assert!(printed[3].1.starts_with("blocked by list corp, entry 198.51.100.7 until "), "{}", printed[3].1);
    assert_eq!(printed[4].1, "198.51.100.7 is in allow-list operator\n");
    assert!(printed[5].1.lines().nth(1).unwrap().starts_with("operator  1 "), "{}", printed[5].1);
    assert_eq!(printed[6].1, "198.51.100.7 is out of allow-list operator\n");
    assert!(printed[7].1.contains("unless you say: netd confirm "), "{}", printed[7].1);
    assert!(printed[8].1.contains("verdict "), "{}", printed[8].1);
    assert!(printed[9].1.contains("released: 198.51.100.7\n"), "{}", printed[9].1);
    assert!(printed[10].1.contains("released: 192.0.2.1") && printed[10].1.contains("block-list corp removed"));
    assert_eq!(printed[11].1, "nothing was blocked\n");
    assert_eq!((printed[12].0, printed[12].1.contains("the default gateway")), (1, true), "{}", printed[12].1);
    assert_eq!(printed[13].0, 0);
    assert_eq!((printed[14].0, printed[14].1.contains("there is no feed none")), (1, true), "{}", printed[14].1);
}

#[test]
fn a_list_is_signed_for_others_to_fetch() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("list"), "192.0.2.1\n").unwrap();

    let (status, public) = alone(&["feeds", "keygen", &path("key")]);
    let signed =
        alone(&["feeds", "sign", &path("list"), "--key", &path("key"), "--name", "drop", "--to", &path("signed")]);
    let again = alone(&["feeds", "keygen", &path("key")]);

    assert!(status == 0 && signed.0 == 0, "{signed:?}");
    assert_eq!(again.0, 1, "a key is never overwritten");
    let bytes = std::fs::read(path("signed")).unwrap();
    let opened =
        crate::feeds::envelope::open(&bytes, &public.trim().parse().unwrap(), "drop", None, crate::time::now());
    assert_eq!(opened.unwrap().1, b"192.0.2.1\n");
}

#[tokio::test]
async fn findings_are_exported_and_hunted_for() {
    let api = Api::new();
    api.findings.report(finding(4, Severity::High, 0.9));
    api.findings.report(finding(5, Severity::Low, 0.6));

    let printed = printed(
        &api,
        &[
            &["findings", "export", "--format", "csv"],
            &["findings", "export", "4", "--format", "sigma"],
            &["findings", "export", "--format", "md", "-q", "severity:>=high"],
            &["hunt", "beacons"],
            &["hunt", "dns", "name:example.net", "-o", "json"],
            &["hunt", "listeners", "colour:red"],
        ],
    )
    .await;

    assert_eq!((printed[0].0, printed[0].1.lines().count()), (0, 3), "{}", printed[0].1);
    assert!(printed[1].1.starts_with("title: ") && !printed[1].1.contains("---"), "{}", printed[1].1);
    assert!(printed[2].1.contains("## 4: ") && !printed[2].1.contains("## 5: "), "{}", printed[2].1);
    assert!(printed[3].1.starts_with("SCORE  FINDING  PERIOD  JITTER"), "{}", printed[3].1);
    assert_eq!(printed[4], (0, "[]\n".to_owned()));
    assert_eq!((printed[5].0, printed[5].1.contains("'colour' is no field")), (1, true), "{}", printed[5].1);
}

#[tokio::test]
async fn a_policy_is_put_simulated_proposed_and_removed() {
    let state = tempfile::tempdir().unwrap();
    let api = Api::keeping_policies(state.path());
    let process = netd_engine::process::Process { exe: Some("/usr/bin/curl".into()), ..Default::default() };
    let seen = conversation(40_000, EndReason::Idle);
    api.flows.end(netd_engine::flow::Conversation { process: Some(process), ..seen });
    api.findings.report(finding(1, Severity::High, 0.999));
    let file = state.path().join("mine.yaml");
    let policy = "apiVersion: netd/v1\nkind: ResponsePolicy\nmetadata: {name: mine}\nspec: {mode: enforce}\n";
    std::fs::write(&file, policy).unwrap();
    let bad = state.path().join("bad.yaml");
    std::fs::write(&bad, policy.replace("enforce", "shoot")).unwrap();
    let [file, bad] = [&file, &bad].map(|path| path.to_str().unwrap());
    let since = ["--since", "2027-01-01T00:00:00Z"];

    let printed = printed(
        &api,
        &[
            &["policy", "put", "mine", file, "--dry-run"],
            &["policy", "put", "mine", file],
            &["policy", "put", "mine", file],
            &["policy", "put", "mine", bad],
            &["policy", "simulate", since[0], since[1]],
            &["policy", "simulate", bad],
            &["policy", "generate", since[0], since[1], "--least", "1"],
            &["policy", "remove", "mine"],
            &["policy", "remove", "default"],
        ],
    )
    .await;

    assert!(printed[0].1.starts_with("policy mine would be added\n"), "{}", printed[0].1);
    assert!(printed[1].1.contains("policy mine added\nwarning: policy mine has no tests\n"), "{}", printed[1].1);
    assert!(printed[2].1.contains("policy mine is as it was"), "{}", printed[2].1);
    assert_eq!((printed[3].0, printed[3].1.contains("mine of the API:4:14: error: ")), (1, true), "{}", printed[3].1);
    assert!(printed[4].1.starts_with("1 findings and 1 flows since 2027"), "{}", printed[4].1);
    assert!(printed[4].1.contains("198.51.100.9:443 tcp  cut       mine"), "{}", printed[4].1);
    assert_eq!((printed[5].0, printed[5].1.contains("bad.yaml:4:14: error: ")), (1, true), "{}", printed[5].1);
    assert!(printed[6].1.contains("processes: [\"/usr/bin/curl\"]"), "{}", printed[6].1);
    assert_eq!(printed[7], (0, "policy mine removed\n".to_owned()));
    assert_eq!((printed[8].0, printed[8].1.contains("netd ships")), (1, true), "{}", printed[8].1);
}

#[tokio::test]
async fn a_request_is_printed_and_not_sent() {
    let api = Api::new();
    api.findings.report(finding(4, Severity::High, 0.9));

    let printed = printed(
        &api,
        &[
            &["block", "add", "198.51.100.9", "--ttl", "1h", "--print-request"],
            &["findings", "ack", "4", "--print-request"],
            &["observe", "-f", "port:443", "--print-request"],
            &["verdicts", "-o", "json"],
        ],
    )
    .await;

    assert!(printed[0].1.starts_with("curl -sS -X POST -H 'content-type: application/json' --data-raw '{"));
    assert!(printed[0].1.trim_end().ends_with("/api/v1/verdicts'"), "{}", printed[0].1);
    assert!(printed[1].1.contains("-X PATCH") && printed[1].1.contains("'if-match: \"t0\"'"), "{}", printed[1].1);
    assert!(printed[2].1.contains("/api/v1/flows/stream?q=port:443"), "{}", printed[2].1);
    assert_eq!(printed[3].1, "[]\n");
    assert_eq!(api.findings.get(4).unwrap().triage.revision, 0);
}

/// Ends the run of whoever writes to it after so many lines.
struct Lines {
    text: Vec<u8>,
    most: usize,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let lines = self.text.iter().filter(|byte| **byte == b'\n').count();
        if lines < self.most { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_are_followed_as_they_end_over_a_connection_that_breaks() {
    let api = Api::new();
    api.flows.end(conversation(1, EndReason::Closed));
    let (address, shutdown, serving) = api.listen().await;
    let follow = tokio::task::spawn_blocking(move || {
        let server = format!("--server=http://{address}");
        let cli = Cli::try_parse_from(["netd", "observe", "-f", "-o", "jsonl", server.as_str()]).unwrap();
        let mut out = Lines { text: Vec::new(), most: 3 };
        let status = run(&cli, &mut out, &mut Vec::new());
        (status, String::from_utf8(out.text).unwrap())
    });
    let until_read = async |streams: usize| {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        while api.readers() != streams {
            assert!(tokio::time::Instant::now() < deadline, "nobody reads the stream");
            tokio::task::yield_now().await;
        }
    };

    until_read(1).await;
    api.flows.end(conversation(2, EndReason::Closed));
    shutdown.cancel();
    serving.await.unwrap();
    // What ends while nobody listens is told afterwards.
    api.flows.end(conversation(3, EndReason::Closed));
    let (_shutdown, _serving) = api.listen_at(address).await;
    let (status, text) = follow.await.unwrap();

    let ports: Vec<u64> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["originator_port"].as_u64().unwrap())
        .collect();
    assert_eq!((status, ports), (0, vec![1, 2, 3]));
}
