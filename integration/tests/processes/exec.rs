//! An exec: path, arguments, parents, executable; and the end.

use std::{
    fs,
    io::Write as _,
    os::{
        fd::{AsRawFd as _, FromRawFd as _},
        unix::fs::MetadataExt as _,
    },
    process::{Command, Stdio},
};

use netd_common::process::{ProcessEvent, StreamKind};
use netd_lab::require_root;

use crate::watcher::{options, start_ticks, watching, watching_with};

fn name(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().position(|byte| *byte == 0).unwrap()]
}

#[test]
fn an_exec_is_told_with_path_and_arguments() {
    require_root!();
    watching(|watcher| {
        let told = watcher.run(Command::new("/bin/true").args(["one", "two words"]));

        assert_eq!(told.filename, b"/bin/true");
        assert_eq!(told.args, b"/bin/true\0one\0two words\0");
        assert_eq!(name(&told.record.owner.comm), b"true");
    });
}

#[test]
fn long_arguments_are_cut() {
    require_root!();
    watching(|watcher| {
        let told = watcher.run(Command::new("/bin/true").arg("x".repeat(2_000)));

        assert_eq!(told.args.len(), 512);
        assert!(told.args.ends_with(b"xxx"));
    });
}

#[test]
fn an_exec_is_told_with_who_stands_above_it() {
    require_root!();
    watching(|watcher| {
        let told = watcher.run(&mut Command::new("/bin/true"));

        let (us, parent) = (std::process::id(), told.record.ancestors[0]);
        assert_eq!((told.record.owner.parent, parent.tgid), (us, us));
        assert_eq!(parent.start_ns / 10_000_000, start_ticks(us));
        assert_eq!(told.record.ancestors[1].tgid, std::os::unix::process::parent_id());
        // SAFETY: the call takes a number and gives one.
        assert_eq!(told.record.session, unsafe { libc::getsid(0) } as u32);
    });
}

#[test]
fn a_process_is_told_with_its_start_and_its_executable() {
    require_root!();
    watching(|watcher| {
        let mut child = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let told = watcher.of(child.id(), ProcessEvent::Exec);
        let start = start_ticks(child.id());
        child.kill().unwrap();
        child.wait().unwrap();

        let file = fs::metadata("/bin/sleep").unwrap();
        let owner = told.record.owner;
        assert_eq!(owner.start_ns / 10_000_000, start);
        assert_eq!((u64::from(owner.exe_device), owner.exe_inode), (file.dev(), file.ino()));
        assert_eq!(u64::from(told.record.exe_links), file.nlink());
        assert_eq!(name(&told.record.exe_name), b"sleep");
        assert_eq!(owner.netns, fs::metadata("/proc/thread-self/ns/net").unwrap().ino() as u32);
        assert_ne!(owner.netns_cookie, 0);
    });
}

#[test]
fn a_program_that_never_had_a_file_is_told_as_such() {
    require_root!();
    watching(|watcher| {
        // SAFETY: the name is a live, terminated string.
        let fd = unsafe { libc::memfd_create(c"innocent".as_ptr(), 0) };
        assert!(fd >= 0);
        // SAFETY: the call has just made it, nobody else knows it.
        let mut file = unsafe { fs::File::from_raw_fd(fd) };
        file.write_all(&fs::read("/bin/true").unwrap()).unwrap();

        let told = watcher.run(&mut Command::new(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())));

        assert_eq!(told.record.exe_links, 0);
        assert_eq!(name(&told.record.exe_name), b"memfd:innocent");
    });
}

#[test]
fn the_end_of_a_process_is_told_with_its_start() {
    require_root!();
    watching(|watcher| {
        let told = watcher.run(&mut Command::new("/bin/true"));

        let owner = told.record.owner;
        let exit = watcher.wait("the end", |seen| seen.exits.iter().find(|exit| exit.tgid == owner.tgid).copied());
        assert_eq!(exit.start_ns, owner.start_ns);
    });
}

#[test]
fn without_offsets_a_process_is_a_number() {
    require_root!();
    let options = netd::kernel::Options { offsets: false, ..options() };
    watching_with(options, |watcher| {
        let told = watcher.run(Command::new("/bin/true").stdin(Stdio::piped()));

        let owner = told.record.owner;
        assert_eq!((owner.start_ns, owner.exe_inode, owner.parent), (0, 0, 0));
        assert_eq!(name(&owner.comm), b"true");
        assert!(told.record.streams.iter().all(|stream| stream.kind == StreamKind::Unknown as u8));
        assert_eq!(told.record.ancestors[0].tgid, 0);
        assert!(told.filename.is_empty() && told.args.is_empty());
        assert_eq!(watcher.exits, []);
    });
}
