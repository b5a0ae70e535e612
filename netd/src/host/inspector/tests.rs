use std::{
    fs,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::host::{executable::FileId, process::files::Stat};

fn inspector() -> Inspector {
    Inspector::start(Settings { sockets: None, ..Settings::default() }).unwrap()
}

fn stat(pid: u32) -> ProcessId {
    ProcessId { pid, start_ticks: Stat::read(format!("/proc/{pid}").as_ref()).unwrap().start }
}

/// Takes turns until `wanted` is content with a process.
fn until(inspector: &mut Inspector, id: ProcessId, wanted: impl Fn(&Known) -> bool) -> Known {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        inspector.turn(0);
        match inspector.get(id) {
            Some(known) if wanted(&known) => return known,
            known => assert!(Instant::now() < deadline, "{known:?} {:?}", inspector.counts()),
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn sleeper() -> Child {
    let child = Command::new("/bin/sleep").arg("60").spawn().unwrap();
    while fs::read_link(format!("/proc/{}/exe", child.id())).ok() == std::env::current_exe().ok() {
        thread::yield_now();
    }
    child
}

#[test]
fn a_process_met_by_number_is_looked_at_hashed_and_its_package_named() {
    let mut inspector = inspector();
    let mut child = sleeper();
    let id = stat(child.id());
    let is_debian = std::path::Path::new("/var/lib/dpkg/info").exists();

    inspector.learn(Facts { id, comm: "sleep".into(), filename: "/bin/sleep".into(), ..Facts::default() });

    // The packages are read in the background; until then it has none.
    let known = until(&mut inspector, id, |known| {
        known.process.sha256.is_some() && (known.process.package.is_some() || !is_debian)
    });
    child.kill().unwrap();
    child.wait().unwrap();

    assert_eq!(known.process.sha256.as_ref().unwrap().len(), 64);
    assert!(known.process.exe.as_ref().unwrap().ends_with("/sleep"));
    if is_debian {
        assert_eq!(known.process.package.as_deref(), Some("coreutils"));
    } else {
        netd_lab::left_out!("this is no Debian");
    }
    assert_eq!(inspector.counts().hashed, 1);
}

#[test]
fn one_that_is_gone_is_named_and_hashed_by_the_file_it_was_started_from() {
    let mut inspector = inspector();
    let file = Stamp::read("/bin/sleep".as_ref()).unwrap().file;
    let id = ProcessId { pid: 4_000_000, start_ticks: 7 };

    inspector.learn(Facts { id, filename: "/bin/sleep".into(), file: Some(file), ..Facts::default() });

    let known = until(&mut inspector, id, |known| known.process.sha256.is_some());
    assert_eq!(known.process.missing, Some(Missing::Gone));
    assert_eq!(inspector.counts().gone, 1);
}

#[test]
fn another_file_at_the_place_it_was_started_from_names_nobody() {
    let mut inspector = inspector();
    let id = ProcessId { pid: 4_000_000, start_ticks: 7 };
    let file = Some(FileId { device: 1, inode: 1 });

    inspector.learn(Facts { id, filename: "/bin/sleep".into(), file, ..Facts::default() });

    let known = until(&mut inspector, id, |known| known.process.missing.is_some());
    assert_eq!((known.process.sha256.as_ref(), known.process.exe.as_deref()), (None, Some("/bin/sleep")));
}

#[test]
fn a_number_that_is_anothers_by_now_is_not_confused_with_it() {
    let mut inspector = inspector();
    let id = ProcessId { pid: std::process::id(), start_ticks: 1 };

    inspector.learn(Facts { id, comm: "old".into(), ..Facts::default() });

    let known = until(&mut inspector, id, |known| known.process.missing.is_some());
    assert_eq!((known.process.missing, known.process.comm.as_str()), (Some(Missing::Reused), "old"));
}

#[test]
fn an_exec_flood_never_blocks_and_every_loss_is_counted() {
    let mut inspector = inspector();
    let started = Instant::now();
    for pid in 0..50_000 {
        let id = ProcessId { pid: 4_200_000 + pid, start_ticks: 7 };
        inspector.learn(Facts { id, filename: "/bin/true".into(), ..Facts::default() });
    }
    let took = started.elapsed();
    println!("50,000 execs: {took:?}");

    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        inspector.turn(0);
        let counts = inspector.counts();
        if counts.looked + counts.overload + counts.lost == 50_000 {
            break;
        }
        assert!(Instant::now() < deadline, "{counts:?}");
        thread::sleep(Duration::from_millis(2));
    }
    assert!(took < Duration::from_secs(5));
}

#[test]
fn a_program_that_runs_often_is_read_once() {
    let mut inspector = inspector();
    for _ in 0..5 {
        let mut child = sleeper();
        let id = stat(child.id());
        inspector.learn(Facts { id, ..Facts::default() });
        until(&mut inspector, id, |known| known.process.sha256.is_some());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    assert_eq!(inspector.counts().hashed, 1);
}

#[test]
fn a_snapshot_has_processes_as_they_are_known() {
    let mut inspector = inspector();
    let id = stat(std::process::id());
    inspector.learn(Facts { id, ..Facts::default() });
    until(&mut inspector, id, |known| known.process.sha256.is_some());

    let snapshot = inspector.snapshot(Scope::Only(&[id.pid]), &|_| None).snapshot;

    assert!(snapshot.processes[&id.pid].sha256.is_some());
}

#[test]
fn what_was_there_before_is_owned_and_looked_at() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut inspector = inspector();

    let (owned, _) = inspector.begin(&|_| None);

    let port = listener.local_addr().unwrap().port();
    let owner = owned.iter().find(|owned| owned.key.src_port() == port && owned.opened == Opened::Listening).unwrap();
    assert_eq!(owner.process.id, stat(std::process::id()));
    until(&mut inspector, owner.process.id, |known| known.process.sha256.is_some());
}
