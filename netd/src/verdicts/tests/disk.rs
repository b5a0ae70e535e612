use netd_common::verdict::Action;
use netd_engine::verdict::Response;

use super::*;
use crate::verdicts::ListOptions;

fn filled(path: &std::path::Path, fake: &Fake) -> Service<Fake> {
    let mut service = service_on(fake, Some(StateDir::open(path).unwrap()), START);
    service.add(manual(host("198.51.100.7"), Response::Drop, 600), false, START).unwrap();
    service.add(manual(prefix("203.0.113.0/24"), Response::Reset, 60), false, START).unwrap();
    service.replace_list(&name("corp"), list("192.0.2.1 2001:db8::/32"), ListOptions::default(), START).unwrap();
    service
}

#[test]
fn verdicts_and_lists_survive_a_restart_without_a_write_to_their_keys() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    drop(filled(dir.path(), &fake));
    let keys = fake.lock().keys.clone();
    fake.set_boot_ns(START.boot_ns);
    fake.lock().watch = Some(Box::new(|kernel| {
        for dst in ["198.51.100.7", "203.0.113.9", "192.0.2.1"] {
            assert!(kernel.rule("10.9.9.9", dst, 443).is_some(), "{dst}");
        }
    }));

    let service = service_on(&fake, Some(StateDir::open(dir.path()).unwrap()), after(1));

    assert_eq!(fake.lock().keys, keys);
    assert_eq!(service.status().unwrap().verdicts, 2);
    assert_eq!(service.lists()[0].entries_v6, 1);
}

#[test]
fn a_fresh_kernel_is_filled_from_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), &Fake::default()));
    let fake = Fake::default();

    // Another boot: the boot clock begins anew.
    let now = Now { wall: after(120).wall, boot_ns: 5 * SECOND };
    let mut service = service_on(&fake, Some(StateDir::open(dir.path()).unwrap()), now);

    assert_eq!(action(&fake, "198.51.100.7", now), Some(Action::Drop as u8));
    assert_eq!(action(&fake, "203.0.113.9", now), None, "expired while the machine was off");
    assert_eq!(action(&fake, "2001:db8::5", now), Some(Action::Drop as u8));
    assert_eq!(service.tick(now.plus(Duration::from_secs(480))).len(), 1);
}

#[test]
fn an_id_is_never_given_twice() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    let mut first = filled(dir.path(), &fake);
    let last = first.add(manual(host("192.0.2.77"), Response::Drop, 60), false, START).unwrap().id;
    first.release(last, START).unwrap();
    drop(first);

    let mut second = service_on(&fake, Some(StateDir::open(dir.path()).unwrap()), START);
    let next = second.add(manual(host("192.0.2.78"), Response::Drop, 60), false, START).unwrap().id;

    assert!(next > last);
}

#[test]
fn what_a_killed_daemon_left_beyond_its_files_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    let mut first = filled(dir.path(), &fake);
    let verdicts = dir.path().join("verdicts.state");
    let before = std::fs::read(&verdicts).unwrap();
    first.add(manual(host("192.0.2.77"), Response::Drop, 600), false, START).unwrap();
    drop(first);
    // As if killed between the kernel's write and the disk's.
    std::fs::write(&verdicts, before).unwrap();

    service_on(&fake, Some(StateDir::open(dir.path()).unwrap()), START);

    assert_eq!(action(&fake, "192.0.2.77", START), None);
    assert!(action(&fake, "198.51.100.7", START).is_some());
}

#[test]
fn a_damaged_file_costs_its_content_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), &Fake::default()));
    std::fs::write(dir.path().join("lists/corp.list"), b"<html>").unwrap();
    let fake = Fake::default();

    let service = service_on(&fake, Some(StateDir::open(dir.path()).unwrap()), START);

    assert!(service.lists().is_empty());
    assert!(action(&fake, "198.51.100.7", START).is_some());
    assert!(dir.path().join("lists/corp.damaged-1").exists());
}

#[test]
fn a_file_cut_short_anywhere_never_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), &Fake::default()));
    let files = [dir.path().join("verdicts.state"), dir.path().join("lists/corp.list")];
    let whole: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    for (file, bytes) in files.iter().zip(&whole) {
        for at in (0..bytes.len()).step_by(7) {
            for (file, bytes) in files.iter().zip(&whole) {
                std::fs::write(file, bytes).unwrap();
            }
            std::fs::write(file, &bytes[..at]).unwrap();

            let service = service_on(&Fake::default(), Some(StateDir::open(dir.path()).unwrap()), START);

            let status = service.status().unwrap();
            assert!(status.verdicts == 2 || status.lists == 1, "byte {at} of {}", file.display());
        }
    }
}

#[test]
fn the_kill_switch_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    filled(dir.path(), &fake).set_kill_switch(true, START).unwrap();

    let fresh = Fake::default();
    let service = service_on(&fresh, Some(StateDir::open(dir.path()).unwrap()), START);

    let status = service.status().unwrap();
    assert!(status.kill_switch);
    assert_eq!(status.effective, netd_common::control::Mode::Observe);
    assert_eq!(status.requested, netd_common::control::Mode::Enforce);
}

#[test]
fn a_disk_that_refuses_stops_nothing_and_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    let mut service = filled(dir.path(), &fake);
    // Something that cannot be replaced by a file stands where the temporary file goes.
    let obstacle = dir.path().join("verdicts.tmp");
    std::fs::create_dir(&obstacle).unwrap();

    let added = service.add(manual(host("192.0.2.77"), Response::Drop, 600), false, START).unwrap();
    assert!(!added.saved);
    assert!(action(&fake, "192.0.2.77", START).is_some());
    assert!(service.status().unwrap().unsaved.is_some());

    std::fs::remove_dir(&obstacle).unwrap();
    service.tick(after(10));
    assert_eq!(service.status().unwrap().unsaved, None);
}
