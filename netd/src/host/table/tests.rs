use std::path::PathBuf;

use netd_engine::process::Runtime;

use super::*;
use crate::host::process::Executable;

const FILE: FileId = FileId { device: 1, inode: 2 };
const STAMP: Stamp = Stamp { file: FILE, size: 3, modified: (4, 0), changed: (5, 0), links: 1 };

fn id(pid: u32) -> ProcessId {
    ProcessId { pid, start_ticks: 1_000 + u64::from(pid) }
}

fn exec(pid: u32, filename: &str) -> Facts {
    let comm = filename.rsplit('/').next().unwrap().to_owned();
    Facts {
        id: id(pid),
        comm,
        filename: filename.into(),
        args: vec![filename.into()],
        file: Some(FILE),
        ..Facts::default()
    }
}

fn found(pid: u32, path: &str) -> Found {
    let executable =
        Executable { path: PathBuf::from(path), deleted: false, memory: false, temporary: false, stamp: STAMP };
    let process = Process { id: id(pid), exe: Some(path.into()), ..Process::default() };
    Found { process, provenance: Provenance::default(), executable: Some(executable), mounts: 0 }
}

fn table() -> Table {
    Table::new(Limits::default())
}

#[test]
fn the_kernels_facts_are_known_at_once() {
    let mut table = table();
    table.learn(exec(7, "/usr/bin/curl"));

    let process = table.get(id(7)).unwrap().process;

    assert_eq!((process.exe.as_deref(), process.comm.as_str()), (Some("/usr/bin/curl"), "curl"));
}

#[test]
fn another_start_is_another_process() {
    let mut table = table();
    table.learn(exec(7, "/usr/bin/curl"));

    assert_eq!(table.get(ProcessId { pid: 7, start_ticks: 1 }), None);
}

#[test]
fn a_start_that_is_not_known_stands_for_the_last() {
    let mut table = table();
    table.learn(exec(7, "/usr/bin/old"));
    table.learn(Facts { id: ProcessId { pid: 7, start_ticks: 9_999 }, ..exec(7, "/usr/bin/new") });

    assert_eq!(table.get(ProcessId { pid: 7, start_ticks: 0 }).unwrap().process.comm, "new");
}

#[test]
fn an_exec_makes_a_process_another_program() {
    let mut table = table();
    table.found(found(7, "/usr/bin/first"));
    table.learn(exec(7, "/tmp/second"));

    let known = table.get(id(7)).unwrap();

    assert_eq!(known.process.exe.as_deref(), Some("/tmp/second"));
    assert!(known.provenance.is_temporary);
}

#[test]
fn a_record_that_is_no_exec_changes_nothing_known() {
    let mut table = table();
    table.learn(exec(7, "/usr/bin/curl"));
    table.learn(Facts { id: id(7), comm: "other".into(), ..Facts::default() });

    assert_eq!(table.get(id(7)).unwrap().process.comm, "curl");
}

#[test]
fn what_the_kernel_saw_at_the_exec_outlives_what_the_process_wrote_over_it() {
    let mut table = table();
    table.learn(Facts { args: vec!["evil".into(), "--port".into()], ..exec(7, "/usr/bin/evil") });
    let mut later = found(7, "/usr/bin/evil");
    later.process.args = vec!["[kworker]".into()];
    table.found(later);

    assert_eq!(table.get(id(7)).unwrap().process.args, ["evil", "--port"]);
}

#[test]
fn a_digest_and_a_package_reach_every_process_of_the_file() {
    let mut table = table();
    table.found(found(7, "/usr/bin/a"));
    table.found(found(8, "/usr/bin/a"));
    table.programs().digest(STAMP, "abc".into());
    table.programs().owner(STAMP, Some("coreutils".into()), Some(true));

    for pid in [7, 8] {
        let known = table.get(id(pid)).unwrap();
        assert_eq!(known.process.sha256.as_deref(), Some("abc"));
        assert_eq!(known.process.package.as_deref(), Some("coreutils"));
        assert_eq!(known.provenance.is_packaged, Some(true));
    }
}

#[test]
fn a_digest_that_comes_before_its_process_is_kept_for_it() {
    let mut table = table();
    table.programs().digest(STAMP, "abc".into());
    table.found(found(7, "/usr/bin/a"));

    assert_eq!(table.get(id(7)).unwrap().process.sha256.as_deref(), Some("abc"));
    assert_eq!(table.programs().last(FILE).unwrap().1.path, PathBuf::from("/usr/bin/a"));
}

#[test]
fn one_that_was_gone_is_named_by_its_file() {
    let mut table = table();
    table.found(found(7, "/usr/bin/dash"));
    table.programs().digest(STAMP, "abc".into());
    table.learn(exec(9, "/bin/sh"));
    table.missing(id(9), Missing::Gone);
    let (stamp, _) = table.programs().last(FILE).unwrap();
    table.confirm(id(9), stamp);

    let process = table.get(id(9)).unwrap().process;

    assert_eq!((process.exe.as_deref(), process.sha256.as_deref()), (Some("/usr/bin/dash"), Some("abc")));
    assert_eq!(process.missing, Some(Missing::Gone));
}

#[test]
fn a_file_in_another_state_is_another_program() {
    let mut table = table();
    table.found(found(7, "/usr/bin/a"));
    table.programs().digest(STAMP, "abc".into());
    let mut upgraded = found(8, "/usr/bin/a");
    upgraded.executable.as_mut().unwrap().stamp.changed = (6, 0);
    table.found(upgraded);

    assert_eq!(table.get(id(8)).unwrap().process.sha256, None);
    assert_eq!(table.get(id(7)).unwrap().process.sha256.as_deref(), Some("abc"));
}

#[test]
fn a_process_is_kept_for_a_while_after_its_end() {
    let mut table = table();
    table.learn(exec(7, "/usr/bin/curl"));
    table.exit(id(7), 1_000);

    table.expire(1_000 + KEPT_NS - 1);
    assert!(table.get(id(7)).is_some());
    table.expire(1_000 + KEPT_NS);
    assert_eq!((table.get(id(7)), table.len(), table.bytes()), (None, 0, 0));
}

#[test]
fn a_full_table_gives_up_the_ended_first_and_then_whom_nobody_asked_for() {
    let mut table = Table::new(Limits { processes: 3, ..Limits::default() });
    for pid in 1..=3 {
        table.learn(exec(pid, "/usr/bin/x"));
    }
    table.get(id(1));
    table.exit(id(3), 5);
    table.learn(exec(4, "/usr/bin/x"));
    table.learn(exec(5, "/usr/bin/x"));

    let kept: Vec<_> = (1..=5).filter(|pid| table.get(id(*pid)).is_some()).collect();

    assert_eq!(kept, [1, 4, 5]);
    assert_eq!(table.evicted(), Evicted { living: 1, ended: 1 });
}

#[test]
fn an_exec_flood_with_long_arguments_stays_within_its_memory() {
    let mut table = Table::new(Limits { bytes: 1 << 20, ..Limits::default() });
    for pid in 1..10_000 {
        table.learn(Facts { args: vec!["x".repeat(4_000)], ..exec(pid, "/usr/bin/x") });
        if pid % 2 == 0 {
            table.exit(id(pid), 5);
        }
    }

    assert!(table.bytes() <= 1 << 20);
    assert!(table.order.len() <= 2 * table.len() + 1_025);
    assert!(table.evicted().ended > 1_000 && table.evicted().living > 1_000);
}

#[test]
fn a_containers_name_reaches_processes_known_before() {
    let mut table = table();
    let container = Arc::new(Container { id: "c1".into(), runtime: Runtime::Docker, ..Container::default() });
    let mut inside = found(7, "/usr/bin/a");
    inside.process.container = Some(container.clone());
    table.found(inside);

    assert!(table.meet(&container));
    assert!(!table.meet(&container));
    table.named("c1", Named { name: Some("web".into()), ..Named::default() });

    let process = table.get(id(7)).unwrap().process;
    assert_eq!(process.container.as_ref().unwrap().name.as_deref(), Some("web"));
}

#[test]
fn programs_are_a_bounded_number() {
    let mut table = Table::new(Limits { programs: 2, ..Limits::default() });
    for inode in 0..5 {
        table.programs().meet(Stamp { file: FileId { device: 1, inode }, ..STAMP }, PathBuf::from("/x"));
    }

    let known = (0..5).filter(|inode| table.programs().last(FileId { device: 1, inode: *inode }).is_some());
    assert_eq!(known.count(), 2);
}
