use std::fs;
use std::path::Path;

use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);

fn change(number: u64) -> Change {
    Change::new(Effect::Increases, "verdict.add", format!("192.0.2.{number}")).after(&number).reason("a test")
}

fn written(folder: &Path, changes: u64) -> Audit {
    let audit = Audit::open(folder, NOW).unwrap();
    for number in 1..=changes {
        audit.admit(NOW, &Caller::daemon(), change(number)).unwrap();
    }
    audit
}

fn file(folder: &Path) -> std::path::PathBuf {
    folder.join("audit.jsonl")
}

#[test]
fn records_are_chained_and_the_chain_is_whole_across_a_restart() {
    let temporary = tempfile::tempdir().unwrap();
    written(temporary.path(), 3);
    written(temporary.path(), 2);

    let verified = verify(temporary.path(), None).unwrap();

    assert_eq!((verified.first, verified.records, verified.last, verified.broken), (1, 5, 5, None));
}

#[test]
fn every_altered_byte_is_found_at_its_record() {
    let temporary = tempfile::tempdir().unwrap();
    written(temporary.path(), 3);
    let whole = fs::read(file(temporary.path())).unwrap();
    let second = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let third = second + whole[second..].iter().position(|byte| *byte == b'\n').unwrap() + 1;

    for at in second..third - 1 {
        let mut altered = whole.clone();
        altered[at] ^= 0x01;
        fs::write(file(temporary.path()), &altered).unwrap();

        let broken = verify(temporary.path(), None).unwrap().broken;

        assert!(broken.is_some_and(|broken| broken.line == 2), "byte {at}");
    }
}

#[test]
fn a_record_that_was_taken_out_or_moved_is_found() {
    let temporary = tempfile::tempdir().unwrap();
    written(temporary.path(), 3);
    let text = fs::read_to_string(file(temporary.path())).unwrap();
    let lines: Vec<&str> = text.lines().collect();

    for order in [vec![lines[0], lines[2]], vec![lines[0], lines[2], lines[1]]] {
        fs::write(file(temporary.path()), order.join("\n") + "\n").unwrap();

        let broken = verify(temporary.path(), None).unwrap().broken.unwrap();

        assert!(matches!(broken.fault, Fault::Unchained { .. }), "{broken}");
        assert_eq!(broken.line, 2);
    }
}

#[test]
fn a_log_that_was_cut_short_is_found_by_its_head_and_said_at_the_next_start() {
    let temporary = tempfile::tempdir().unwrap();
    written(temporary.path(), 3);
    let text = fs::read_to_string(file(temporary.path())).unwrap();
    let (kept, _) = text.trim_end().rsplit_once('\n').unwrap();
    fs::write(file(temporary.path()), format!("{kept}\n")).unwrap();

    let broken = verify(temporary.path(), None).unwrap().broken.unwrap();
    let (records, _) = Audit::open(temporary.path(), NOW).unwrap().page(None, 1).unwrap();

    assert_eq!(broken.fault, Fault::Truncated { seq: 2, head: 3 });
    assert_eq!((records[0].seq, records[0].action.as_str()), (4, "audit.broken"));
}

#[test]
fn a_torn_last_line_is_cut_off_said_and_does_not_break_the_chain() {
    let temporary = tempfile::tempdir().unwrap();
    written(temporary.path(), 2);
    let mut text = fs::read(file(temporary.path())).unwrap();
    text.extend_from_slice(b"{\"seq\":3,\"time\":\"20");
    fs::write(file(temporary.path()), text).unwrap();

    let audit = Audit::open(temporary.path(), NOW).unwrap();

    let (records, _) = audit.page(None, 10).unwrap();
    assert_eq!(records.iter().map(|record| record.action.as_str()).next(), Some("audit.torn"));
    assert_eq!(audit.state().torn_bytes, 19);
    assert_eq!(verify(temporary.path(), None).unwrap().broken, None);
}

/// A log whose disk refuses from here on: a write to `/dev/full` fails as on a full disk.
fn full(folder: &Path) -> Audit {
    let audit = written(folder, 1);
    audit.break_for_tests();
    audit
}

#[test]
fn what_cuts_more_is_refused_without_a_record_and_what_cuts_less_is_written_later() {
    let temporary = tempfile::tempdir().unwrap();
    let audit = full(temporary.path());
    let release = Change { effect: Effect::Decreases, action: "verdict.release", ..change(1) };

    assert!(audit.admit(NOW, &Caller::daemon(), change(2)).is_err());
    assert!(audit.admit(NOW, &Caller::daemon(), release).is_ok());
    assert_eq!((audit.state().waiting, audit.state().refused), (1, 1));

    audit.mend_for_tests();
    audit.flush(NOW);

    assert_eq!((audit.state().waiting, audit.state().error), (0, None));
    let (records, _) = audit.page(None, 10).unwrap();
    assert_eq!(
        records.iter().map(|record| record.action.as_str()).collect::<Vec<_>>(),
        ["verdict.release", "verdict.add"]
    );
    assert_eq!(verify(temporary.path(), None).unwrap().broken, None);
}

#[test]
fn what_waits_is_bounded_and_of_the_rest_the_number_is_written() {
    let temporary = tempfile::tempdir().unwrap();
    let audit = full(temporary.path());
    let release = Change { effect: Effect::Decreases, ..change(1) };

    for _ in 0..SPOOL + 7 {
        audit.admit(NOW, &Caller::daemon(), release.clone()).unwrap();
    }
    let state = audit.state();
    audit.lock().spool.truncate(1);
    audit.mend_for_tests();
    audit.flush(NOW);

    assert_eq!((state.waiting, state.unlisted), (SPOOL as u64, 7));
    let (records, _) = audit.page(None, 1).unwrap();
    assert!(records[0].reason.starts_with("7 further changes"), "{records:?}");
}

#[test]
fn a_page_is_newest_first_and_says_whether_more_follows() {
    let temporary = tempfile::tempdir().unwrap();
    let audit = written(temporary.path(), 5);

    let (newest, more) = audit.page(None, 2).unwrap();
    let (rest, end) = audit.page(Some(4), 10).unwrap();

    assert_eq!((newest.iter().map(|record| record.seq).collect::<Vec<_>>(), more), (vec![5, 4], true));
    assert_eq!((rest.iter().map(|record| record.seq).collect::<Vec<_>>(), end), (vec![3, 2, 1], false));
}

#[test]
fn a_long_log_goes_on_in_another_file_and_the_chain_with_it() {
    let temporary = tempfile::tempdir().unwrap();
    let audit = written(temporary.path(), 2);
    audit.lock().writer.as_mut().unwrap().put_aside_for_tests();
    audit.admit(NOW, &Caller::daemon(), change(3)).unwrap();
    drop(audit);
    let audit = written(temporary.path(), 1);

    let verified = verify(temporary.path(), None).unwrap();

    assert_eq!((verified.records, verified.last, verified.broken), (4, 4, None));
    assert_eq!(audit.page(Some(4), 10).unwrap().0.len(), 3);
    assert!(temporary.path().join("audit-00000000000000000001.jsonl").exists());
}

#[test]
fn a_log_whose_oldest_file_is_gone_says_where_it_begins() {
    let temporary = tempfile::tempdir().unwrap();
    let audit = written(temporary.path(), 2);
    audit.lock().writer.as_mut().unwrap().put_aside_for_tests();
    audit.admit(NOW, &Caller::daemon(), change(3)).unwrap();
    fs::remove_file(temporary.path().join("audit-00000000000000000001.jsonl")).unwrap();

    let verified = verify(temporary.path(), None).unwrap();

    assert_eq!((verified.first, verified.last, verified.broken), (3, 3, None));
}

#[tokio::test]
async fn whoever_asks_is_known_to_everything_asked_within() {
    let someone = Caller { actor: Actor::Peer { uid: 1_000, pid: Some(7) }, request: Some("r1".into()) };

    let told = as_caller(someone.clone(), async { caller() }).await;

    assert_eq!(told, someone);
    assert_eq!(caller(), Caller::daemon());
    assert_eq!(told.actor.to_string(), "uid:1000 pid:7");
}
