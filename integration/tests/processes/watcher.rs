//! netd's programs attached to the machine, and what they told.

use std::{
    net::SocketAddr,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use netd::kernel::{Event, Events, Kernel, Options, Xdp};
use netd_common::{
    key::FlowKey,
    process::{ExitRecord, ProcessEvent, ProcessRecord},
    record::{SocketEvent, SocketRecord},
};
use netd_lab::namespace::Namespace;

const PATIENCE: Duration = Duration::from_secs(20);

/// An exec, or another record of a process.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) record: ProcessRecord,
    pub(crate) filename: Vec<u8>,
    pub(crate) args: Vec<u8>,
}

pub(crate) struct Watcher {
    pub(crate) kernel: Kernel,
    events: Events,
    processes: Events,
    pub(crate) told: Vec<Told>,
    pub(crate) exits: Vec<ExitRecord>,
    pub(crate) sockets: Vec<SocketRecord>,
}

pub(crate) fn options() -> Options {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("processes{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    Options {
        bpffs: PathBuf::from("/sys/fs/bpf").join(name),
        flows_per_cpu: 64,
        sockets: 16_384,
        hosts: 64,
        prefixes: 64,
        xdp: Xdp::Off,
        ..Options::default()
    }
}

/// Runs `test` in a namespace of its own under netd's eyes.
pub(crate) fn watching(test: impl FnOnce(&mut Watcher) + Send) {
    watching_with(options(), test);
}

pub(crate) fn watching_with(options: Options, test: impl FnOnce(&mut Watcher) + Send) {
    Namespace::new("watched")
        .unwrap()
        .run(|| {
            let (mut kernel, lacking) = Kernel::load(&options).unwrap();
            assert_eq!(lacking, []);
            let degraded = kernel.attach([]).unwrap();
            assert!(degraded.iter().all(|degraded| degraded.what == "interfaces"), "{degraded:?}");
            let (events, processes) = (kernel.events().unwrap(), kernel.processes().unwrap());
            test(&mut Watcher { kernel, events, processes, told: vec![], exits: vec![], sockets: vec![] });
            Ok(())
        })
        .unwrap();
}

impl Watcher {
    /// Takes what was told since the last look.
    pub(crate) fn look(&mut self) {
        for events in [&mut self.processes, &mut self.events] {
            events.poll_batch(usize::MAX, |event| match event.into() {
                Event::Process(record, filename, args) => self.told.push(Told { record: *record, filename, args }),
                Event::Exit(record) => self.exits.push(record),
                Event::Socket(record) => self.sockets.push(record),
                Event::Flow(_) | Event::Turn(_) | Event::Payload(..) => {}
            });
        }
    }

    /// Waits until `find` finds what it looks for.
    pub(crate) fn wait<T>(&mut self, what: &str, mut find: impl FnMut(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.look();
            if let Some(found) = find(self) {
                return found;
            }
            assert!(Instant::now() < deadline, "never told: {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Starts a program and returns how long it took until the sleeping reader was woken for its exec; `patience` is
    /// what it sleeps otherwise.
    pub(crate) fn time_to_wake(&mut self, command: &mut Command, patience: Duration) -> Duration {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        self.look();
        let begin = Instant::now();
        let mut child = command.spawn().unwrap();
        while self.all_of(child.id(), ProcessEvent::Exec).next().is_none() {
            runtime.block_on(self.processes.wait(patience)).unwrap();
            self.look();
        }
        let took = begin.elapsed();
        child.wait().unwrap();
        took
    }

    /// Starts a program, waits until it has ended, and returns its number and what its exec told.
    pub(crate) fn run(&mut self, command: &mut Command) -> Told {
        let mut child = command.spawn().unwrap();
        child.wait().unwrap();
        self.of(child.id(), ProcessEvent::Exec)
    }

    /// Waits for a process's record.
    pub(crate) fn of(&mut self, pid: u32, event: ProcessEvent) -> Told {
        self.wait(&format!("{event:?} of {pid}"), |seen| seen.all_of(pid, event).next().cloned())
    }

    pub(crate) fn all_of(&self, pid: u32, event: ProcessEvent) -> impl Iterator<Item = &Told> {
        self.told.iter().filter(move |told| told.record.owner.tgid == pid && told.record.event == event as u8)
    }

    /// Waits for a record of a socket.
    pub(crate) fn socket(&mut self, event: SocketEvent, fits: impl Fn(&SocketRecord) -> bool) -> SocketRecord {
        self.wait(&format!("{event:?}"), |seen| {
            seen.sockets.iter().find(|record| record.event == event as u8 && fits(record)).copied()
        })
    }
}

/// Returns a directed five-tuple of TCP.
pub(crate) fn tcp(src: SocketAddr, dst: SocketAddr) -> FlowKey {
    FlowKey {
        src: src.ip().into(),
        dst: dst.ip().into(),
        src_port: src.port().to_be_bytes(),
        dst_port: dst.port().to_be_bytes(),
        proto: libc::IPPROTO_TCP as u8,
        pad: [0; 3],
    }
}

/// Returns a process's start in hundredths of a second, as /proc tells it.
pub(crate) fn start_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // After the name, which may hold anything, the start is the twentieth field.
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap()
}

pub(crate) fn inode_of(fd: &impl std::os::fd::AsFd) -> (u64, u64) {
    let stat = nix::sys::stat::fstat(fd).unwrap();
    (stat.st_dev, stat.st_ino)
}

/// Returns both ends of a pseudo-terminal, master first, and its index.
pub(crate) fn pty() -> (OwnedFd, OwnedFd, u64) {
    let (mut master, mut slave) = (0, 0);
    let none = std::ptr::null_mut();
    // SAFETY: two live numbers are written; the other arguments may be null.
    let result = unsafe { libc::openpty(&raw mut master, &raw mut slave, none, none.cast(), none.cast()) };
    assert_eq!(result, 0);
    // SAFETY: the call has just made both, nobody else knows them.
    let (master, slave) = unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    let path = std::fs::read_link(format!("/proc/self/fd/{}", slave.as_raw_fd())).unwrap();
    let index = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
    (master, slave, index)
}
