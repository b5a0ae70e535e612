use std::{
    fs::File,
    io::Write as _,
    os::fd::{AsRawFd as _, OwnedFd},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use netd_engine::streams::{Access, Socket};

use super::*;

fn now(scope: Scope<'_>) -> Snapshot {
    read(&Reader::new(None), scope, &|_| None, &|_| None).snapshot
}

fn ours(fd: &impl std::os::fd::AsRawFd) -> (Object, Access) {
    let snapshot = now(Scope::Only(&[std::process::id()]));
    let fd = fd.as_raw_fd() as u32;
    let descriptor = snapshot.descriptors.iter().find(|descriptor| descriptor.fd == fd).unwrap();
    (descriptor.object, descriptor.access)
}

#[test]
fn the_ends_of_a_pipe_share_its_inode_and_differ_in_access() {
    let (reader, writer) = io::pipe().unwrap();

    let inode = rustix::fs::fstat(&reader).unwrap().st_ino;

    assert_eq!(ours(&reader), (Object::Pipe { inode }, Access::Read));
    assert_eq!(ours(&writer), (Object::Pipe { inode }, Access::Write));
}

#[test]
fn a_named_pipe_is_one_object_by_whatever_name_and_when_it_has_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let both = File::options().read(true).write(true).open(&path).unwrap();
    let reader = File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();

    let (object, access) = ours(&both);

    assert!(matches!(object, Object::Fifo { .. }), "{object:?}");
    assert_eq!((access, ours(&reader)), (Access::Both, (object, Access::Read)));
}

#[test]
fn the_ends_of_a_pseudo_terminal_share_its_index() {
    let pty = nix::pty::openpty(None, None).unwrap();
    let (master, slave) = (ours(&pty.master).0, ours(&pty.slave).0);

    let Object::TerminalMaster { device, index } = master else { panic!("{master:?}") };
    let Object::Terminal { device: instance, index: slave } = slave else { panic!("{slave:?}") };
    assert_eq!((index, true), (slave, instance != 0 && [0, instance].contains(&device)));
}

#[test]
fn a_file_and_a_device_are_others() {
    let file = tempfile::tempfile().unwrap();
    let null = File::open("/dev/null").unwrap();

    assert_eq!((ours(&file).0, ours(&null).0), (Object::Other, Object::Other));
}

#[test]
fn a_socket_leads_to_what_it_speaks_with() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();

    let snapshot = now(Scope::Only(&[std::process::id()]));

    let fd = listener.as_raw_fd() as u32;
    let object = snapshot.descriptors.iter().find(|descriptor| descriptor.fd == fd).unwrap().object;
    let Object::Socket { inode } = object else { panic!("{object:?}") };
    let Some(Socket::Inet(socket)) = snapshot.sockets.get(&inode) else { panic!("unknown socket") };
    assert_eq!((socket.opened, socket.key.src_port()), (Opened::Listening, listener.local_addr().unwrap().port()));
}

#[test]
fn a_socket_of_another_network_namespace_is_known_and_this_thread_stays() {
    netd_lab::require_root!();
    let before = files::namespace(Path::new("/proc/thread-self"), "net");
    // A helper enters a namespace of its own, opens a socket there and waits for its input to end.
    let (go, mut hold) = io::pipe().unwrap();
    let script = "import socket,sys; s=socket.socket(); s.bind(('0.0.0.0',4321)); s.listen(); print(flush=True); sys.stdin.read()";
    let child = Command::new("unshare").args(["-n", "python3", "-c", script]).stdin(go).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else { return netd_lab::left_out!("no unshare here") };
    let mut line = [0; 1];
    let ready = io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line);

    let taken = read(&Reader::new(None), Scope::Only(&[child.id()]), &|_| None, &|_| None);

    let _ = hold.write_all(b"\n");
    drop(hold);
    child.wait().unwrap();
    ready.unwrap();
    let listens = |socket: &Socket| matches!(socket, Socket::Inet(inet) if inet.key.src_port() == 4321 && inet.opened == Opened::Listening);
    assert!(taken.snapshot.sockets.values().any(listens));
    assert_eq!(taken.unread_namespaces, 0);
    assert_eq!(files::namespace(Path::new("/proc/thread-self"), "net"), before);
}

#[test]
fn one_that_ended_is_counted() {
    let mut child = Command::new("/bin/true").spawn().unwrap();
    child.wait().unwrap();

    let snapshot = now(Scope::Only(&[child.id()]));

    assert_eq!((snapshot.unread, snapshot.processes.len()), (1, 0));
}

#[test]
fn a_process_that_is_known_is_not_described_anew() {
    let known = Arc::new(Process { comm: "known".into(), ..Process::default() });

    let taken = read(&Reader::new(None), Scope::Only(&[std::process::id()]), &|_| Some(known.clone()), &|_| None);

    assert_eq!(taken.snapshot.processes[&std::process::id()].comm, "known");
}

#[test]
fn a_child_knows_those_above_it() {
    let mut child = Command::new("/bin/sleep").arg("60").spawn().unwrap();
    let all = now(Scope::First(&[child.id()]));
    let only = now(Scope::Only(&[child.id()]));
    child.kill().unwrap();
    child.wait().unwrap();

    for snapshot in [all, only] {
        assert_eq!(snapshot.processes[&child.id()].parents[0].id.pid, std::process::id());
    }
}

/// Sleepers, each with a pipe on its standard streams and one end of it beside.
struct Sleepers(Vec<Child>);

impl Sleepers {
    fn spawn(count: usize) -> Self {
        let sleeper = |_| {
            let (input, output) = io::pipe().unwrap();
            let mut command = Command::new("/bin/sleep");
            command.arg("600").stdin(OwnedFd::from(input)).stdout(OwnedFd::from(output)).stderr(Stdio::null());
            command.spawn().unwrap()
        };
        Self((0..count).map(sleeper).collect())
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Returns the time this thread has worked: how long a reading takes on a machine that has nothing else to do.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn a_snapshot_of_hundreds_of_processes_has_them_all() {
    let measure = |what: &str| {
        let (started, cpu) = (Instant::now(), cpu());
        let snapshot = now(Scope::First(&[]));
        let (took, cpu) = (started.elapsed(), self::cpu() - cpu);
        println!(
            "{what}: {took:?} ({cpu:?} of this thread) for {} processes, {} descriptors, {} sockets, {} unread",
            snapshot.processes.len(),
            snapshot.descriptors.len(),
            snapshot.sockets.len(),
            snapshot.unread
        );
        snapshot
    };
    measure("this machine");
    let sleepers = Sleepers::spawn(500);

    let snapshot = measure("with 500 more");

    let pids: HashSet<u32> = sleepers.0.iter().map(Child::id).collect();
    let pipes = snapshot.descriptors.iter().filter(|descriptor| {
        pids.contains(&descriptor.pid) && descriptor.fd < 2 && matches!(descriptor.object, Object::Pipe { .. })
    });
    assert_eq!(pipes.count(), 1_000);
}
