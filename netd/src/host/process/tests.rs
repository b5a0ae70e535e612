use std::{
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::*;

/// A child that is killed with the test.
struct Killed(Child);

impl Killed {
    /// Starts a program and waits until it runs that rather than us.
    fn spawn(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        let directory = PathBuf::from(format!("/proc/{}", child.id()));
        // In the middle of an exec the program is the new one already and has no arguments yet.
        while fs::read_link(directory.join("exe")).ok() == std::env::current_exe().ok()
            || files::command_line(&directory).is_empty()
        {
            assert!(Instant::now() < deadline, "no exec");
            std::thread::sleep(Duration::from_millis(1));
        }
        Self(child)
    }

    fn read(&self) -> Found {
        Reader::new(None).read(self.0.id(), Seen::Now).unwrap()
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn this_process_is_itself() {
    let process = own().unwrap().process;

    assert_eq!(process.id.pid, std::process::id());
    assert_eq!(process.exe.as_deref(), std::env::current_exe().unwrap().to_str());
    assert_eq!(process.args, std::env::args().collect::<Vec<_>>());
    assert_eq!(process.cwd.as_deref(), std::env::current_dir().unwrap().to_str());
    assert_eq!(process.uid, rustix::process::getuid().as_raw());
    assert_eq!(process.netns, files::namespace(Path::new("/proc/thread-self"), "net"));
}

#[test]
fn one_that_began_after_it_was_seen_is_a_stranger() {
    let reader = Reader::new(None);

    assert_eq!(reader.read(std::process::id(), Seen::At(1)), Err(Missing::Reused));
    assert_eq!(reader.read(std::process::id(), Seen::Start(1)), Err(Missing::Reused));
}

#[test]
fn one_that_ended_is_gone() {
    let child = Killed::spawn(Command::new("/bin/sleep").arg("60"));
    let pid = child.0.id();
    drop(child);

    assert_eq!(Reader::new(None).read(pid, Seen::Now), Err(Missing::Gone));
}

#[test]
fn a_process_knows_those_above_it() {
    let child = Killed::spawn(Command::new("/bin/sleep").arg("60"));

    let parents = child.read().process.parents;

    let us = own().unwrap().process;
    assert_eq!((parents[0].id, parents[0].comm.as_str()), (us.id, us.comm.as_str()));
    assert_eq!(parents[0].exe, us.exe);
    assert!(parents.len() <= MAX_PARENTS);
}

#[test]
fn a_program_deleted_after_its_start_in_a_temporary_directory_is_known_as_both() {
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let program = directory.path().join("a (deleted) program");
    fs::copy("/bin/sleep", &program).unwrap();
    let child = Killed::spawn(Command::new(&program).arg("60"));
    fs::remove_file(&program).unwrap();

    let found = child.read();

    assert_eq!(found.process.exe.as_deref(), program.to_str());
    let expected = Provenance { is_deleted: true, is_temporary: true, ..Provenance::default() };
    assert_eq!(found.provenance, expected);
}

#[test]
fn a_program_that_only_lies_in_memory_is_known_as_that() {
    let memory = rustix::fs::memfd_create("payload", rustix::fs::MemfdFlags::empty()).unwrap();
    let name = |fd: &dyn std::os::fd::AsRawFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    fs::write(name(&memory), fs::read("/bin/sleep").unwrap()).unwrap();
    // A file that is open for writing is not run.
    let reopened = fs::File::open(name(&memory)).unwrap();
    drop(memory);
    let path = name(&reopened);
    let child = Killed::spawn(Command::new(&path).arg("60"));

    let provenance = child.read().provenance;

    assert_eq!((provenance.is_memory, provenance.is_deleted), (true, false));
}

#[test]
fn a_shell_that_reads_its_input_is_bare_and_one_with_a_script_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("script");
    fs::write(&script, "read line\n").unwrap();

    let bare = Killed::spawn(&mut Command::new("/bin/sh")).read().provenance;
    let scripted = Killed::spawn(Command::new("/bin/sh").arg(&script)).read().provenance;

    assert!(bare.is_bare_interpreter);
    assert!(!scripted.is_bare_interpreter);
}

#[test]
fn a_name_given_to_the_first_argument_deceives_nobody() {
    let found = Killed::spawn(Command::new("/bin/sleep").arg0("[kworker/0:1]").arg("60")).read();

    assert_eq!(found.process.args[0], "[kworker/0:1]");
    assert!(found.process.exe.unwrap().ends_with("/sleep"));
}

#[test]
fn a_user_has_a_name() {
    if fs::read_to_string("/etc/passwd").is_ok_and(|passwd| passwd.starts_with("root:"))
        && rustix::process::getuid().is_root()
    {
        assert_eq!(own().unwrap().process.user.as_deref(), Some("root"));
    } else {
        netd_lab::left_out!("needs root");
    }
}

#[test]
fn numbers_are_the_kernels_only_in_the_first_namespace() {
    let own = fs::read_link("/proc/self/ns/pid").unwrap_or_default();

    assert_eq!(numbers_are_the_kernels(), own == Path::new("pid:[4026531836]"));
}

#[test]
fn reading_a_process_costs_little() {
    let reader = Reader::new(None);
    let started = Instant::now();
    for _ in 0..100 {
        reader.read(std::process::id(), Seen::Now).unwrap();
    }

    println!("a process: {:?}", started.elapsed() / 100);
}
