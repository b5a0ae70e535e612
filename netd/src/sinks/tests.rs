//! Each output against a peer: files in a folder, sockets that stand in for daemons, a web server on loopback.

use std::fs;
use std::io::Read as _;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use netd_engine::finding::Severity;
use netd_engine::flow::EndReason;
use netd_engine::time::Timestamp;
use netd_geoip::{Databases, Paths};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::webhook::{Poster, Secret, Template};
use super::*;
use crate::store::events::Event;
use crate::store::status::{self, Snapshot};
use crate::store::triage::Triage;
use crate::store::{Row, Stored, Written, findings_for_tests, flows_for_tests};

/// Generous: machines are loaded.
const PATIENCE: Duration = Duration::from_secs(60);

/// A sink of this host on its thread, and the way to tell it something.
struct Told {
    queue: Option<mpsc::Sender<Item>>,
    tally: Arc<Tally>,
    give_up: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Told {
    fn new(output: Output) -> Self {
        let (queue, items) = mpsc::channel(10_000);
        let (tally, give_up) = (Arc::new(Tally::new("test".into(), 10_000)), CancellationToken::new());
        let writer = Writer::new(output, surroundings(), Arc::clone(&tally), give_up.clone()).unwrap();
        let thread = Some(std::thread::spawn(move || writer.run(items)));
        Self { queue: Some(queue), tally, give_up, thread }
    }

    fn tell(&self, item: Item) {
        self.tally.push();
        self.queue.as_ref().unwrap().try_send(item).unwrap();
    }

    /// Waits until everything is written.
    fn end(mut self) -> SinkState {
        self.queue = None;
        self.thread.take().unwrap().join().unwrap();
        self.tally.state()
    }
}

fn fate(state: &SinkState, fate: Fate) -> u64 {
    state.fates[fate as usize]
}

fn surroundings() -> Surroundings {
    let (_, sources) = status::channel(Snapshot::default());
    let site = Site { host: "web-1".into(), ..Site::default() };
    Surroundings { site, sources, databases: Arc::new(Databases::new(Paths::default())) }
}

fn finding(id: u64, severity: Severity) -> Item {
    let mut finding = findings_for_tests::finding(id, severity, 0.9);
    finding.pair.responder_port = u16::try_from(id).unwrap();
    let stored = Stored { sequence: 1, finding, rises: Vec::new(), response: None, triage: Triage::default() };
    Item::Event { event: Event::Finding(Arc::new(stored)), at: Timestamp(1) }
}

fn flow(port: u16) -> Item {
    let conversation = flows_for_tests::conversation(port, EndReason::Closed);
    Item::Event {
        event: Event::Flow(Arc::new(Row {
            sequence: u64::from(port),
            ended: Some(1),
            conversation,
            written: Written::default(),
        })),
        at: Timestamp(1),
    }
}

fn file(path: &Path, format: Format, size: Option<u64>) -> Output {
    Output::File { path: path.to_owned(), format, rotation: Rotation { size, keep: 3, fsync: false } }
}

/// Waits for a condition.
fn until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::yield_now();
    }
}

#[test]
fn a_file_is_appended_to_and_closed_to_strangers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("eve.json");
    for port in [1, 2] {
        let told = Told::new(file(&path, Format::Eve, None));
        told.tell(flow(port));
        assert_eq!(fate(&told.end(), Fate::Sent), 1);
    }

    let text = fs::read_to_string(&path).unwrap();
    let ports: Vec<_> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["src_port"].clone()).collect();
    assert_eq!(ports, [1, 2]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o007, 0);
}

#[test]
fn a_file_that_is_long_makes_room_and_no_line_is_torn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("netd.jsonl");
    let told = Told::new(file(&path, Format::Jsonl, Some(300 << 10)));
    for port in 0..2_000 {
        told.tell(flow(port));
        // In small batches, so that the size is met closely.
        until(|| told.tally.state().queued < 100);
    }
    let state = told.end();

    assert_eq!(fate(&state, Fate::Sent), 2_000);
    let mut ports = Vec::new();
    for name in ["netd.jsonl.3", "netd.jsonl.2", "netd.jsonl.1", "netd.jsonl"] {
        let Ok(text) = fs::read_to_string(folder.path().join(name)) else { continue };
        assert!(text.len() <= 300 << 10, "{name}: {}", text.len());
        ports.extend(
            text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["originator_port"].as_u64().unwrap()),
        );
    }
    assert!(folder.path().join("netd.jsonl.2").exists());
    assert_eq!(ports, (0..2_000).collect::<Vec<_>>());
}

#[test]
fn no_more_rotated_files_are_kept_than_were_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("conn");
    fs::create_dir(&path).unwrap();
    let told = Told::new(file(&path, Format::Zeek, Some(64 << 10)));
    for port in 0..4_000 {
        told.tell(flow(port));
        until(|| told.tally.state().queued < 100);
    }
    told.end();

    let mut names: Vec<_> =
        fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["conn.log", "conn.log.1", "conn.log.2", "conn.log.3"]);
    for name in names {
        let text = fs::read_to_string(path.join(&name)).unwrap();
        assert!(text.starts_with("#separator \\x09\n"), "{name}");
        assert!(text.lines().last().unwrap().starts_with("#close\t"), "{name}");
        assert_eq!(text.matches("#fields").count(), 1, "{name}");
    }
}

#[test]
fn a_file_that_something_else_renames_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("eve.json"), folder.path().join("eve.json.old"));
    let told = Told::new(file(&path, Format::Eve, None));
    told.tell(flow(1));
    until(|| fate(&told.tally.state(), Fate::Sent) == 1);

    fs::rename(&path, &moved).unwrap();

    let mut port = 1;
    until(|| {
        port += 1;
        told.tell(flow(port));
        until(|| fate(&told.tally.state(), Fate::Sent) == u64::from(port));
        std::thread::park_timeout(Duration::from_millis(10));
        path.exists()
    });
    told.end();
    let lines = |path| fs::read_to_string(path).unwrap().lines().count();
    assert_eq!(lines(&path) + lines(&moved), usize::from(port));
}

#[test]
fn a_full_disk_is_tried_again_and_counted_when_given_up() {
    let told = Told::new(file(Path::new("/dev/full"), Format::Eve, None));
    told.tell(flow(1));
    until(|| told.tally.state().retries > 1);
    for port in 2..10 {
        told.tell(flow(port));
    }
    told.give_up.cancel();

    let state = told.end();

    assert_eq!((fate(&state, Fate::Sent), fate(&state, Fate::Failed), state.queued), (0, 9, 0));
}

#[test]
fn a_folder_that_appears_later_is_written_then() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log/eve.json");
    let told = Told::new(file(&path, Format::Eve, None));
    told.tell(flow(1));
    until(|| told.tally.state().retries > 0);

    fs::create_dir(folder.path().join("log")).unwrap();

    assert_eq!(fate(&told.end(), Fate::Sent), 1);
    assert_eq!(fs::read_to_string(path).unwrap().lines().count(), 1);
}

#[test]
fn syslog_hears_rfc_5424_whenever_it_listens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let told = Told::new(Output::Syslog { address: Address::Unix(path.clone()), format: None });
    let mut hostile = findings_for_tests::finding(443, Severity::Critical, 0.99);
    hostile.name = Some("a\"]b\\c\nd".into());
    let stored = Stored { sequence: 1, finding: hostile, rises: Vec::new(), response: None, triage: Triage::default() };
    told.tell(Item::Event { event: Event::Finding(Arc::new(stored)), at: Timestamp(1) });
    until(|| told.tally.state().retries > 0);

    let listener = UnixDatagram::bind(&path).unwrap();
    listener.set_read_timeout(Some(PATIENCE)).unwrap();

    let mut buffer = [0; 4_096];
    let length = listener.recv(&mut buffer).unwrap();
    let message = std::str::from_utf8(&buffer[..length]).unwrap();
    // Facility 10, severity 2.
    assert!(message.starts_with("<82>1 20"), "{message}");
    assert!(message.contains(" web-1 netd ") && message.contains(" finding [netd@32473 id=\"443\" "), "{message}");
    assert!(message.contains("name=\"a\\\"\\]b\\\\c\\\\nd\""), "{message}");
    assert!(!message.contains('\n') && message.contains("] CRITICAL 0.99 beacon"), "{message}");
    assert_eq!(fate(&told.end(), Fate::Sent), 1);
}

#[test]
fn a_relay_hears_one_json_object_a_datagram_or_counted_octets() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(PATIENCE)).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let by_udp =
        Told::new(Output::Syslog { address: Address::Udp(udp.local_addr().unwrap()), format: Some(Format::Eve) });
    let by_tcp =
        Told::new(Output::Syslog { address: Address::Tcp(tcp.local_addr().unwrap()), format: Some(Format::Jsonl) });
    for told in [&by_udp, &by_tcp] {
        told.tell(flow(7));
        told.tell(flow(8));
    }
    let mut stream = tcp.accept().unwrap().0;
    assert_eq!(fate(&by_tcp.end(), Fate::Sent), 2);

    let mut buffer = [0; 4_096];
    let length = udp.recv(&mut buffer).unwrap();
    let json = buffer[..length].iter().position(|byte| *byte == b'{').unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&buffer[json..length]).unwrap()["src_port"], 7);
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    for port in [7, 8] {
        let (length, rest) = text.split_once(' ').unwrap();
        let (message, rest) = rest.split_at(length.parse().unwrap());
        let json = message.split_once(" - ").unwrap().1;
        assert_eq!(serde_json::from_str::<Value>(json).unwrap()["originator_port"], port, "{message}");
        text = rest.to_owned();
    }
    by_udp.end();
}

#[test]
fn journald_hears_fields() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let listener = UnixDatagram::bind(&socket).unwrap();
    listener.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = Told::new(Output::Journald { socket });
    told.tell(finding(443, Severity::High));

    let mut buffer = [0; 4_096];
    let length = listener.recv(&mut buffer).unwrap();

    let text = std::str::from_utf8(&buffer[..length]).unwrap();
    for line in ["PRIORITY=3", "SYSLOG_IDENTIFIER=netd", "NETD_DETECTOR=beacon", "NETD_RESPONDER=198.51.100.9"] {
        assert!(text.lines().any(|known| known == line), "{line}: {text}");
    }
    told.end();
}

/// A web server that answers each request with the next status, the last one for ever, and keeps the requests.
struct Receiver {
    address: std::net::SocketAddr,
    requests: std::sync::mpsc::Receiver<String>,
}

impl Receiver {
    fn start(statuses: &'static [&'static str]) -> Self {
        use std::io::Write as _;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (heard, requests) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for (index, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let mut buffer = [0; 4_096];
                let is_whole = |request: &[u8]| {
                    let text = String::from_utf8_lossy(request).to_lowercase();
                    let (head, body) = text.split_once("\r\n\r\n")?;
                    let length = head.split("content-length: ").nth(1)?.lines().next()?.parse::<usize>().ok()?;
                    (body.len() >= length).then_some(())
                };
                while is_whole(&request).is_none() {
                    match stream.read(&mut buffer) {
                        Ok(0) | Err(_) => break,
                        Ok(read) => request.extend_from_slice(&buffer[..read]),
                    }
                }
                let status = statuses[index.min(statuses.len() - 1)];
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).unwrap();
                if heard.send(String::from_utf8(request).unwrap()).is_err() {
                    return;
                }
            }
        });
        Self { address, requests }
    }

    fn request(&self) -> (String, Value) {
        let request = self.requests.recv_timeout(PATIENCE).unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), serde_json::from_str(body).unwrap())
    }

    fn webhook(&self, path: &str) -> Webhook {
        let url = Secret::Here(format!("http://{}{path}", self.address));
        Webhook { url, retry: Duration::from_millis(5), ..Webhook::default() }
    }
}

/// Posts items and returns what became of them.
async fn post(webhook: Webhook, items: impl IntoIterator<Item = Item>) -> SinkState {
    let tally = Arc::new(Tally::new("hook".into(), 100));
    let poster = Poster::new(webhook, surroundings(), Arc::clone(&tally), CancellationToken::new()).unwrap();
    let (queue, receiver) = mpsc::channel(100);
    for item in items {
        tally.push();
        queue.try_send(item).unwrap();
    }
    drop(queue);
    poster.run(receiver).await;
    tally.state()
}

#[tokio::test]
async fn a_webhook_that_fails_is_asked_again_until_it_takes_the_message() {
    let receiver = Receiver::start(&["500 Oops", "429 Slowly\r\nRetry-After: 0", "200 Fine"]);

    let state = post(receiver.webhook("/hook"), [finding(7, Severity::High)]).await;

    assert_eq!((fate(&state, Fate::Sent), fate(&state, Fate::Failed), state.retries), (1, 0, 2));
    let bodies: Vec<Value> = (0..3).map(|_| receiver.request().1).collect();
    assert!(bodies.iter().all(|body| body["event"]["id"] == 7 && body == &bodies[0]), "{bodies:?}");
}

#[tokio::test]
async fn a_webhook_that_refuses_or_redirects_is_asked_once() {
    for status in [&["403 No"][..], &["302 There\r\nLocation: http://127.0.0.1:9/"]] {
        let receiver = Receiver::start(status);

        let state = post(receiver.webhook("/hook"), [finding(7, Severity::High)]).await;

        assert_eq!((fate(&state, Fate::Failed), state.retries), (1, 0), "{status:?}");
    }
}

#[tokio::test]
async fn a_webhook_that_is_gone_costs_a_bounded_number_of_attempts() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = Secret::Here(format!("http://{gone}/hook"));
    let webhook = Webhook { url, retry: Duration::from_millis(1), ..Webhook::default() };

    let state = post(webhook, [finding(7, Severity::High)]).await;

    assert_eq!((fate(&state, Fate::Failed), state.retries), (1, 5));
}

#[tokio::test]
async fn the_same_is_posted_once_and_a_flood_is_summed_up() {
    let receiver = Receiver::start(&["200 Fine"]);
    let items = [1, 1, 2, 3, 4].map(|id| finding(id, Severity::High));
    let webhook = Webhook { max_per_hour: 2, ..receiver.webhook("/hook") };

    let state = post(webhook, items).await;

    assert_eq!([Fate::Sent, Fate::Duplicate, Fate::Held].map(|known| fate(&state, known)), [2, 1, 2], "{state:?}");
}

#[tokio::test]
async fn ntfy_and_tokens_from_a_file_go_where_they_belong() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "tk_secret\n").unwrap();
    let receiver = Receiver::start(&["200 Fine"]);
    let webhook =
        Webhook { template: Template::Ntfy, token: Some(Secret::File(token)), ..receiver.webhook("/base/alarms") };

    post(webhook, [finding(7, Severity::Critical)]).await;

    let (head, body) = receiver.request();
    assert!(head.starts_with("POST /base/ HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains("authorization: bearer tk_secret"), "{head}");
    assert_eq!((&body["topic"], &body["priority"]), (&"alarms".into(), &5.into()));
}

#[tokio::test]
async fn an_address_in_the_clear_is_refused_without_naming_it() {
    let table = [
        (Secret::Here("http://hooks.example/secret".into()), "not https"),
        (Secret::Here("ftp://127.0.0.1/secret".into()), "not https"),
        (Secret::Here("secret".into()), "the URL is none"),
        (Secret::Env("NETD_TEST_THERE_IS_NONE".into()), "no NETD_TEST_THERE_IS_NONE"),
        (Secret::File(PathBuf::from("/there/is/none")), "cannot read /there/is/none"),
    ];
    for (url, expected) in table {
        let webhook = Webhook { url, ..Webhook::default() };
        let tally = Arc::new(Tally::new("hook".into(), 1));

        let error = Poster::new(webhook, surroundings(), tally, CancellationToken::new()).err().unwrap().to_string();

        assert!(error.contains(expected) && !error.contains("secret"), "{error}");
    }
}
