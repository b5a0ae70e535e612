use std::sync::Arc;
use std::time::Duration;

use netd_engine::finding::{Pair, Severity};
use netd_engine::flow::{Conversation, EndReason, NameSource, Protocol, Sent};
use netd_engine::policy::{Case, Ceiling, Direction, Policies};
use netd_engine::process::{Container, Process, ProcessId};
use netd_engine::region::{Country, Geography, Region};
use netd_engine::time::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::query::{Place, Query, Table};
use crate::store::findings_for_tests::finding;
use crate::store::flows_for_tests::conversation;
use crate::store::{Findings, Row};

const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);
const LIMITS: Limits = Limits { retention: Duration::from_secs(7 * 86_400), bytes: 1 << 30 };
const RUN: u64 = 7;

/// Says of every other address that it is in one of two countries.
#[derive(Debug)]
struct Halves;

impl Geography for Halves {
    fn region(&self, address: std::net::IpAddr) -> Option<Region> {
        let last = match address {
            std::net::IpAddr::V4(v4) => v4.octets()[3],
            std::net::IpAddr::V6(v6) => v6.octets()[15],
        };
        let country = Country::new(if last.is_multiple_of(2) { "DE" } else { "NL" });
        (last > 1).then(|| Region { country, asn: Some(64_500 + u32::from(last)), as_name: Some("Example".into()) })
    }
}

fn open(folder: &std::path::Path) -> (History, Writer) {
    History::open(folder, LIMITS, Some(Arc::new(Halves)), RUN).unwrap()
}

fn row(id: u64, conversation: Conversation) -> Arc<Row> {
    Arc::new(Row { sequence: id, ended: Some(1), conversation, written: Default::default() })
}

/// A conversation that began `second` seconds after [`NOW`], under the id that it gets.
fn begun(second: u64) -> Arc<Row> {
    let start = Timestamp(NOW.0 + second * 1_000_000_000);
    let end = Timestamp(start.0 + 2_000_000_000);
    row(start.0 / 1_000, Conversation { start, end, duration_s: 2.0, ..conversation(1, EndReason::Closed) })
}

fn query(text: &str) -> Query {
    Query::parse(Table::Flows, text, NOW).unwrap_or_else(|error| panic!("{error}"))
}

fn ids(history: &History, text: &str, after: Option<Place>, limit: usize) -> (Vec<u64>, bool) {
    let page = history.reader.page(&query(text), after, limit, &Scores::new(), &Interrupt::default()).unwrap();
    (page.flows.into_iter().map(|(place, _)| place.id).collect(), page.more)
}

prop_compose! {
    /// A conversation out of few values of each kind, so that questions meet some.
    fn conversations()(
        ends in (0_u8..6, 0_u8..6, any::<bool>()),
        ports in (1_000_u16..1_004, prop::sample::select(vec![22_u16, 53, 443])),
        protocol in prop::sample::select(vec![1_u8, 6, 17]),
        times in (0_u64..4_000, 0_u64..2_000),
        bytes in (0_u64..4_000, 0_u64..4_000),
        name in prop::option::of(prop::sample::select(
            vec!["example.net", "cdn.example.net", "badexample.net", "a.b.example.org", "localhost"])),
        from in prop::sample::select(vec![NameSource::Dns, NameSource::Sni]),
        comm in prop::option::of(prop::sample::select(vec!["curl", "nginx", "ng[x", "Curl"])),
        service in prop::option::of(prop::sample::select(vec![Protocol::Tls, Protocol::Dns])),
        community in prop::option::of(prop::sample::select(vec!["1:hO+sN4H+MG5MY/8hIrXPqc4ZQz4=", "1:abc="])),
        reason in prop::sample::select(vec![EndReason::Idle, EndReason::Closed, EndReason::Reset]),
        rule in 0_u32..2,
    ) -> Conversation {
        let address = |last: u8| -> std::net::IpAddr {
            if ends.2 { format!("2001:db8::{last}").parse().unwrap() } else { [198, 51, 100, last].into() }
        };
        let start = Timestamp(NOW.0 + times.0 * 1_000_000_000);
        let end = Timestamp(start.0 + times.1 * 1_000_000_000);
        let container = Container { id: "c0ffee".into(), name: Some("shop".into()), ..Container::default() };
        Conversation {
            start,
            end,
            duration_s: end.secs_since(start),
            originator: address(ends.0),
            responder: address(ends.1),
            originator_port: ports.0,
            responder_port: ports.1,
            protocol,
            originated: Sent { bytes: bytes.0, packets: bytes.0 / 100, payload: 1, flags: 2 },
            responded: Sent { bytes: bytes.1, packets: 3, payload: 4, flags: 5 },
            name_source: if name.is_some() { from } else { NameSource::None },
            name: name.map(str::to_owned),
            service,
            community_id: community.map(str::to_owned),
            end_reason: reason,
            rule,
            process: comm.map(|comm| Process {
                id: ProcessId { pid: 7, start_ticks: 1 },
                comm: comm.into(),
                exe: Some(format!("/usr/bin/{comm}")),
                user: (comm == "curl").then(|| "ana".into()),
                container: (comm == "nginx").then(|| container.into()),
                ..Process::default()
            }),
            ..conversation(1, reason)
        }
    }
}

/// Terms of every kind.
const TERMS: [&str; 54] = [
    "198.51.100.3",
    "src:198.51.100.2",
    "dst:198.51.100.0/30",
    "2001:db8::/32",
    "dst:2001:db8::3",
    "port:22,443",
    "sport:1001",
    "dport:>=100",
    "proto:udp",
    "proc:curl",
    "proc:?*l",
    "proc:*url",
    "proc:\"ng[x\"",
    "proc:ng[*",
    "exe:/usr/bin/*",
    "proc:/usr/bin/nginx",
    "pid:7",
    "user:ana",
    "container:shop",
    "container:c0f*",
    "name:example.net",
    "name:*.example.net",
    "name:\"example.net\"",
    "name:*ample*",
    "name:b.example.org",
    "name:localhost",
    "name:net",
    "name:*.net",
    "name:a*.org",
    "name:*.example.org,localhost,badexample.net",
    "name:nothing.example.net",
    "sni:net",
    "ip:198.51.100.3,198.51.100.4",
    "sni:example.net",
    "sni:*.org",
    "service:tls",
    "country:de",
    "asn:AS64503",
    "verdict:alert",
    "verdict:block,allow",
    "rule:1",
    "score:>=0.5",
    "score:<0.9",
    "finding:3",
    "community_id:1:hO+sN4H+MG5MY/8hIrXPqc4ZQz4=",
    "community_id:1:abc=",
    "end:idle",
    "state:s0",
    "bytes:>4K",
    "bytes_in:<1000",
    "packets:10-20",
    "duration:>10m",
    "EXAMPLE",
    "\"shop\"",
];

const TIMES: [&str; 5] = [
    "",
    "since:2027-01-15T08:40:00Z",
    "until:2027-01-15T08:20:00Z",
    "since:2027-01-15T08:50:00Z until:2027-01-15T08:55:00Z",
    "since:2027-01-15T10:00:00Z",
];

const ORDERS: [&str; 6] = ["", "sort:time-asc", "sort:bytes", "sort:duration-asc", "sort:score-desc", "sort:finding"];

fn scores() -> Scores {
    let pair = |last: u8, port| Pair {
        originator: [198, 51, 100, 2].into(),
        responder: [198, 51, 100, last].into(),
        responder_port: port,
        proto: 6,
    };
    [(pair(3, 443), (3, 0.97)), (pair(4, 443), (4, 0.6)), (pair(4, 22), (5, 0.3))].into()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn files_answer_every_question_as_memory_does(
        conversations in prop::collection::vec(conversations(), 1..60),
        terms in prop::collection::vec((prop::sample::select(TERMS.to_vec()), any::<bool>()), 0..3),
        time in prop::sample::select(TIMES.to_vec()),
        order in prop::sample::select(ORDERS.to_vec()),
        limit in 1_usize..20,
        files in 1_usize..4,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (history, rows) = written(folder.path(), conversations, files);
        let text = terms.iter().map(|(term, negated)| format!("{}{term}", if *negated { "-" } else { "" }));
        let text = text.chain([time.to_owned(), order.to_owned()]).collect::<Vec<_>>().join(" ");
        agree(&history, &rows, &text, limit);

        // A flow is shown from a file as it was shown from memory.
        for row in &rows {
            let shown = Flow::of(row, Halves.region(row.conversation.responder), &scores());
            let kept = history.reader.flow(row.sequence, &scores(), &Interrupt::default()).unwrap();
            prop_assert_eq!(kept.map(|flow| serde_json::to_value(flow).unwrap()), serde_json::to_value(shown).ok());
        }
        prop_assert_eq!(history.report().error, None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, ..ProptestConfig::default() })]
    #[test]
    fn every_kind_of_term_finds_its_way(conversations in prop::collection::vec(conversations(), 40..80)) {
        let folder = tempfile::tempdir().unwrap();
        let (history, rows) = written(folder.path(), conversations, 2);
        for term in TERMS {
            for text in [term.to_owned(), format!("-{term}"), format!("{term} {}", TIMES[1])] {
                agree(&history, &rows, &text, 7);
            }
        }
        prop_assert_eq!(history.report().error, None);
    }
}

/// Writes conversations in the order of their ends, a file a day.
fn written(folder: &std::path::Path, conversations: Vec<Conversation>, files: usize) -> (History, Vec<Arc<Row>>) {
    let (history, mut writer) = open(folder);
    let rows = conversations.into_iter().enumerate();
    let mut rows: Vec<_> = rows.map(|(at, c)| row(c.start.0 / 1_000 + at as u64, c)).collect();
    rows.sort_by_key(|row| row.conversation.end);
    let size = rows.len().div_ceil(files);
    for (day, rows) in rows.chunks(size).enumerate() {
        // Some are sorted, the last are fresh.
        for batch in rows.chunks(7) {
            writer.write(Timestamp(NOW.0 + day as u64 * 86_400_000_000_000), batch).unwrap();
        }
    }
    (history, rows)
}

/// Asserts that all pages together are what memory answers.
fn agree(history: &History, rows: &[Arc<Row>], text: &str, limit: usize) {
    let (query, scores) = (query(text), scores());
    let live = rows.iter().map(|row| Live::new(row, &scores, Halves.region(row.conversation.responder)));
    let mut expected: Vec<(Place, u64)> = live
        .filter(|live| query.accepts(live))
        .map(|live| (query.sort.place(live.row.sequence, &live), live.row.sequence))
        .collect();
    query.sort.order(&mut expected);
    let expected: Vec<u64> = expected.into_iter().map(|(_, id)| id).collect();
    let (mut told, mut after) = (Vec::new(), None);
    loop {
        let page = history.reader.page(&query, after, limit, &scores, &Interrupt::default()).unwrap();
        after = page.flows.last().map(|(place, _)| *place);
        told.extend(page.flows.iter().map(|(place, _)| place.id));
        if !page.more {
            break;
        }
    }
    assert_eq!(told, expected, "{text}");
}

#[test]
fn a_page_goes_on_where_the_last_ended_whatever_was_written_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let (history, mut writer) = open(folder.path());
    let rows: Vec<_> = (0..50).map(begun).collect();
    writer.write(NOW, &rows).unwrap();

    let (mut seen, mut after, mut next) = (Vec::new(), None, 1_000);
    loop {
        let (page, more) = ids(&history, "port:443", after, 7);
        after = page.last().map(|id| Place { key: 0, id: *id });
        seen.extend(page);
        writer.write(Timestamp(NOW.0 + next * 86_400_000_000), &[begun(next)]).unwrap();
        next += 1;
        if !more {
            break;
        }
    }

    assert_eq!(seen, rows.iter().rev().map(|row| row.sequence).collect::<Vec<_>>());
}

#[test]
fn a_long_conversation_is_found_by_when_it_was_still_alive() {
    let folder = tempfile::tempdir().unwrap();
    let (history, mut writer) = open(folder.path());
    let mut long = (*begun(0)).clone();
    long.conversation.end = Timestamp(NOW.0 + 40_000_000_000_000);
    writer.write(NOW, &[Arc::new(long), begun(1), begun(39_000)]).unwrap();

    let (found, _) = ids(&history, "since:2027-01-15T18:00:00Z", None, 10);

    assert_eq!(found, [begun(39_000).sequence, begun(0).sequence]);
}

#[test]
fn what_was_written_survives_and_goes_by_age_and_by_size() {
    let folder = tempfile::tempdir().unwrap();
    let day = |n: u64| Timestamp(NOW.0 + n * 86_400_000_000_000);
    {
        let (_, mut writer) = open(folder.path());
        for n in 0..5 {
            writer.write(day(n), &[begun(n * 86_400)]).unwrap();
        }
    }

    let (history, mut writer) = open(folder.path());
    assert_eq!(ids(&history, "", None, 10).0.len(), 5);
    assert_eq!(history.most_id(), begun(4 * 86_400).sequence);
    writer.write(day(10), &[begun(10 * 86_400)]).unwrap();
    // Days 0 to 2 ended more than seven days before.
    assert_eq!(ids(&history, "", None, 10).0.len(), 3);

    let small = Limits { bytes: 1, ..LIMITS };
    let (history, mut writer) = History::open(folder.path(), small, None, RUN).unwrap();
    writer.write(day(10), &[begun(10 * 86_400 + 1)]).unwrap();
    assert_eq!(ids(&history, "", None, 10).0, [begun(10 * 86_400 + 1).sequence]);
    assert!(folder.path().join("flows-2027-01-25.2.db").exists());
}

#[test]
fn a_damaged_file_is_set_aside_and_the_day_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flows-2027-01-15.db");
    {
        let (_, mut writer) = open(folder.path());
        writer.write(NOW, &[begun(0)]).unwrap();
    }
    std::fs::write(&path, [0x5a; 8_192]).unwrap();

    let (history, mut writer) = open(folder.path());
    writer.write(NOW, &[begun(1)]).unwrap();

    assert_eq!(ids(&history, "", None, 10).0, [begun(1).sequence]);
    assert_eq!(history.report().set_aside, 1);
    assert!(path.with_extension("damaged-1").exists());
}

#[test]
fn a_file_of_another_version_is_kept_unread_and_the_day_goes_on_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flows-2027-01-15.db");
    {
        let (_, mut writer) = open(folder.path());
        writer.write(NOW, &[begun(0)]).unwrap();
    }
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();

    let (history, mut writer) = open(folder.path());
    writer.write(NOW, &[begun(1)]).unwrap();

    assert_eq!(ids(&history, "", None, 10).0, [begun(1).sequence]);
    assert!(folder.path().join("flows-2027-01-15.2.db").exists());
    assert_eq!((history.report().files, history.report().errors), (2, 0));
    // It goes as others do.
    writer.write(Timestamp(NOW.0 + 9 * 86_400_000_000_000), &[begun(9 * 86_400)]).unwrap();
    assert!(!path.exists());
}

#[test]
fn a_file_of_somebody_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flows-2027-01-15.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (a); PRAGMA user_version = 2").unwrap();

    let (history, mut writer) = open(folder.path());
    let error = writer.write(NOW, &[begun(1)]).unwrap_err();

    assert!(matches!(error, Error::Foreign { .. }), "{error}");
    writer.write(Timestamp(NOW.0 + 9 * 86_400_000_000_000), &[begun(9 * 86_400)]).unwrap();
    assert!(path.exists());
    assert_eq!(history.report().files, 1);
}

#[test]
fn flows_are_sorted_when_there_are_many_and_when_their_file_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let (history, mut writer) = open(folder.path());
    let rows: Vec<_> = (0..40).map(begun).collect();
    let within = |name: &str| {
        let file = rusqlite::Connection::open(folder.path().join(name)).unwrap();
        let count = |table: &str| {
            file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).unwrap()
        };
        (count("segments"), count("by_dst"), count("fresh"))
    };

    for batch in rows.chunks(9) {
        writer.write(NOW, batch).unwrap();
    }
    assert_eq!(within("flows-2027-01-15.db"), (2, 36, 4));
    drop(writer);
    let (_, mut writer) = open(folder.path());
    writer.write(NOW, &[begun(40)]).unwrap();
    assert_eq!(within("flows-2027-01-15.db"), (2, 36, 5));
    writer.write(Timestamp(NOW.0 + 86_400_000_000_000), &[begun(86_400)]).unwrap();

    assert_eq!(within("flows-2027-01-15.db"), (3, 41, 0));
    assert_eq!(within("flows-2027-01-16.db"), (0, 0, 1));
    assert!(!folder.path().join("flows-2027-01-15.db-wal").exists());
    // One that is closed with all flows sorted.
    writer.write(Timestamp(NOW.0 + 86_400_000_000_000), &(86_401..86_416).map(begun).collect::<Vec<_>>()).unwrap();
    writer.write(Timestamp(NOW.0 + 2 * 86_400_000_000_000), &[begun(2 * 86_400)]).unwrap();
    assert_eq!(within("flows-2027-01-16.db"), (1, 16, 0));
    assert!(!folder.path().join("flows-2027-01-16.db-wal").exists());
    assert_eq!(ids(&history, "port:443", None, 100).0.len(), 41);
}

#[test]
fn a_question_that_takes_too_long_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let (history, mut writer) = open(folder.path());
    writer.write(NOW, &[begun(0)]).unwrap();
    let late = Interrupt::default();
    late.interrupt();

    let answer = history.reader.page(&query(""), None, 10, &Scores::new(), &late);

    assert!(matches!(answer, Err(Error::Late)));
}

#[test]
fn flows_are_added_up_once_whether_in_memory_or_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let (history, mut writer) = open(folder.path());
    let rows: Vec<_> = (0..100).map(begun).collect();
    writer.write(NOW, &rows[..60]).unwrap();
    // The same rows in memory: those that are written are within the batches that the reader sees.
    let ask = |batches: u64| {
        let mut sum = Statistics::default();
        for row in rows.iter().filter(|row| !row.written.is_within(batches)) {
            sum.add_live(Group::Port, 60_000_000_000, &Live::new(row, &Scores::new(), None))?;
        }
        Ok(sum)
    };

    let sum =
        history.reader.statistics(&query(""), Group::Port, 60_000_000_000, &Scores::new(), &Interrupt::default(), ask);

    let mut cells: Vec<_> = sum.unwrap().0.into_iter().map(|((key, start), tally)| (key, start, tally.flows)).collect();
    cells.sort_unstable();
    let port = Some("443".to_owned());
    assert_eq!(cells, [(port.clone(), NOW.0, 60), (port, NOW.0 + 60_000_000_000, 40)]);
}

#[test]
fn findings_their_numbers_their_decisions_and_their_triage_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut whole = finding(7, Severity::High, 0.9);
    whole.process = Some(Process { comm: "sh".into(), args: vec!["sh".into(), "-i".into()], ..Process::default() });
    whole.responder_region = Halves.region([198, 51, 100, 4].into());
    whole.host = Some(netd_engine::finding::HostEvidence { tree: "init > sh".into(), ..Default::default() });
    let policies = Policies::default();
    let decided = policies.rule(&Case { finding: &whole, direction: Direction::Outbound });
    whole.decision = Some(decided.decision(&Ceiling::default()));
    let before = Findings::new(10);
    before.report(finding(2, Severity::Low, 0.5));
    before.report(whole);
    before.triage(7, 0, NOW, |triage| triage.notes = Some("ir-4411".into())).unwrap();
    {
        let (history, _) = open(folder.path());
        history.control.write(&before.take_changed(), &[], before.oldest()).unwrap();
    }

    let (history, _) = open(folder.path());
    let opened = history.control.read(10).unwrap();

    assert_eq!((opened.last_id, opened.unread), (7, 0));
    let after = Findings::new(10).restored(opened.findings);
    assert_eq!(after.get(7), before.get(7));
    assert_eq!(after.get(2), before.get(2));
}
