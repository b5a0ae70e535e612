use std::{
    fs,
    time::{Duration, Instant},
};

use super::*;

fn first(hashes: &Hashes) -> (Stamp, Arc<str>) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        assert!(Instant::now() < deadline, "no answer");
        if let Some(answer) = hashes.answers().next() {
            return answer;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn the_digest_is_of_the_bytes_that_run() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("abc");
    fs::write(&path, "abc").unwrap();
    let hashes = Hashes::start().unwrap();
    let stamp = Stamp::read(&path).unwrap();

    assert!(hashes.asker().ask(&path, stamp));

    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(first(&hashes), (stamp, digest.into()));
}

#[test]
fn a_file_deleted_while_it_waits_is_read_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (large, small) = (directory.path().join("large"), directory.path().join("small"));
    fs::write(&large, vec![7; 8 << 20]).unwrap();
    fs::write(&small, "abc").unwrap();
    let hashes = Hashes::start().unwrap();

    assert!(hashes.asker().ask(&large, Stamp::read(&large).unwrap()));
    assert!(hashes.asker().ask(&small, Stamp::read(&small).unwrap()));
    fs::remove_file(&small).unwrap();

    assert!(first(&hashes).0.size > 3);
    assert!(first(&hashes).1.starts_with("ba7816bf"));
}

#[test]
fn a_file_that_is_no_longer_the_one_seen_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("abc");
    fs::write(&path, "abc").unwrap();
    let stamp = Stamp::read(&path).unwrap();
    fs::write(&path, "abcd").unwrap();
    let hashes = Hashes::start().unwrap();

    assert!(!hashes.asker().ask(&path, stamp));
    assert_eq!(hashes.counts.failed.load(Ordering::Relaxed), 1);
}

#[test]
fn a_huge_file_is_counted_rather_than_read() {
    let hashes = Hashes::start().unwrap();
    let stamp = Stamp { size: MAX_SIZE + 1, ..Stamp::default() };

    assert!(!hashes.asker().ask(Path::new("/proc/self/exe"), stamp));
    assert_eq!(hashes.counts.too_large.load(Ordering::Relaxed), 1);
}

#[test]
fn more_files_than_the_queue_holds_are_counted() {
    let (files, _waiting) = sync_channel(1);
    let asker = Asker { files, counts: Arc::default(), recent: Arc::default() };
    let path = Path::new("/proc/self/exe");
    let stamp = Stamp::read(path).unwrap();

    assert_eq!((asker.ask(path, stamp), asker.ask(path, stamp)), (true, false));
    assert_eq!(asker.counts.dropped.load(Ordering::Relaxed), 1);
}

#[test]
fn a_server_of_files_is_told_from_a_disk() {
    let mount = |kind: &str| format!("30 1 0:44 / /mnt rw,relatime shared:1 - {kind} source rw");

    assert!(is_remote_mount(&mount("fuse.sshfs"), "0:44"));
    assert!(is_remote_mount(&mount("nfs4"), "0:44"));
    assert!(!is_remote_mount(&mount("nfs4"), "0:45"));
    assert!(!is_remote_mount(&mount("ext4"), "0:44"));
    assert!(!is_remote_mount("30 - ", "0:44"));
}

#[test]
fn the_kernels_device_number_is_that_of_stat() {
    assert_eq!(FileId::from_kernel(254 << 20 | 3, 7), FileId { device: makedev(254, 3), inode: 7 });
}
