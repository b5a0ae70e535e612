//! What a running netd writes and sends while there is traffic.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use netd_lab::daemon::{Daemon, Setup};
use netd_lab::lab::{C2, IMPLANT, Lab, NOWHERE};
use netd_lab::require_root;
use netd_lab::traffic::probe::connects;
use netd_lab::traffic::server::Server;
use serde_json::{Value, json};

use crate::{PATIENCE, alone, until};

const TABLES: &str = r#"
[[sink]]
type = "file"
name = "eve"
path = "{folder}/eve.json"

[[sink]]
type = "file"
name = "zeek"
format = "zeek"
path = "{folder}"

[[sink]]
type = "file"
name = "full"
format = "jsonl"
path = "/dev/full"
queue = 4

[[sink]]
type = "syslog"
name = "log"
address = "unix:{folder}/log.sock"

[[sink]]
type = "webhook"
name = "hook"
events = ["finding", "verdict"]
url = "http://127.0.0.1:8088/hook"
"#;

#[test]
fn a_connection_and_a_verdict_reach_every_output_and_a_full_disk_stops_none() {
    require_root!();
    let _alone = alone();
    let lab = Lab::gateway().unwrap();
    let hook = web_server(&lab);
    let mut daemon = Daemon::start(&lab, Setup { tables: TABLES, ..Setup::default() }).unwrap();
    // The syslog socket is there later than netd, as after a restart of its daemon.
    let log = UnixDatagram::bind(daemon.path("log.sock")).unwrap();
    log.set_read_timeout(Some(PATIENCE)).unwrap();

    let _server = Server::tcp(lab.wan(), (C2, 443).into()).unwrap();
    for _ in 0..20 {
        connects(&lab, IMPLANT.into(), (C2, 443).into()).unwrap().unwrap();
    }
    daemon.api().block(&json!({"target": {"address": NOWHERE}, "reason": "a test"})).unwrap();

    let eve = daemon.path("eve.json");
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default();
    until("flows and a verdict are in eve.json", || {
        let text = read(&eve);
        text.matches("\"event_type\":\"flow\"").count() >= 20 && text.contains("\"event_type\":\"drop\"")
    });
    let (head, body) = hook.recv_timeout(PATIENCE).unwrap();
    assert!(head.starts_with("POST /hook HTTP/1.1"), "{head}");
    assert_eq!((&body["event"]["event"], &body["event"]["reason"]), (&"verdict".into(), &"a test".into()));
    let mut buffer = [0; 8_192];
    let length = log.recv(&mut buffer).unwrap();
    let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(message.starts_with("<85>1 20") && message.contains(" netd ") && message.contains("a test"), "{message}");
    let metrics = || daemon.api().send("GET", "/metrics", "", "").unwrap().body;
    until("the full disk's losses are counted", || {
        let count = |result: &str| {
            let metrics = metrics();
            let name = format!("netd_sink_events_total{{sink=\"full\",result=\"{result}\"}} ");
            metrics.lines().find_map(|line| line.strip_prefix(name.as_str())?.parse::<u64>().ok())
        };
        count("dropped").is_some_and(|dropped| dropped > 0) && count("sent") == Some(0)
    });
    assert_eq!(daemon.api().get("/readyz").unwrap()["ready"], true);

    let begun = std::time::Instant::now();
    assert!(daemon.terminate().unwrap().success());
    assert!(begun.elapsed() < Duration::from_secs(25), "a sink that cannot be written holds up the end");

    let query = "select(.event_type == \"flow\" and .dest_port == 443) | [.src_ip, .proto, .flow.state] | @tsv";
    match Command::new("jq").args(["-r", query]).arg(&eve).output() {
        Ok(said) => {
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
            let said = String::from_utf8(said.stdout).unwrap();
            let wanted = format!("{IMPLANT}\tTCP\tclosed");
            assert!(said.lines().filter(|line| *line == wanted).count() >= 20, "{said}");
        }
        Err(_) => netd_lab::left_out!("there is no jq"),
    }
    let conn = read(&daemon.path("conn.log"));
    assert!(conn.starts_with("#separator \\x09\n") && conn.lines().last().unwrap().starts_with("#close\t"), "{conn}");
    let columns = conn.lines().find(|line| line.starts_with("#fields\t")).unwrap().split('\t').count() - 1;
    let rows: Vec<_> = conn.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(rows.len() >= 20 && rows.iter().all(|row| row.split('\t').count() == columns), "{conn}");
}

/// A web server beside netd that accepts everything, and tells what it was sent.
fn web_server(lab: &Lab) -> mpsc::Receiver<(String, Value)> {
    let (tell, told) = mpsc::channel();
    let listener = lab.watched().run(|| Ok(std::net::TcpListener::bind("127.0.0.1:8088")?)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut request, mut buffer) = (String::new(), [0; 4_096]);
            loop {
                if let Some((head, body)) = request.split_once("\r\n\r\n")
                    && let Ok(body) = serde_json::from_str(body)
                {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
                    if tell.send((head.to_owned(), body)).is_err() {
                        return;
                    }
                    break;
                }
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => request.push_str(&String::from_utf8_lossy(&buffer[..read])),
                }
            }
        }
    });
    told
}
