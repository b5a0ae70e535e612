//! What attribution costs whoever starts programs, opens sockets and makes system calls.
//!
//! The programs are attached to the machine as `netd run` attaches them, without the tracepoints of system calls and
//! with them, because these send every system call of the host by the slow way out.

use std::{
    fs::File,
    io,
    net::UdpSocket,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use netd::kernel::{self, Events, Kernel, Xdp};
use netd_lab::namespace::Namespace;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::{TimeVal, TimeValLike as _},
};

use crate::support::{
    kernel::thread_time,
    options::Options,
    race::{Effort, Race},
    report::{Goal, Noisy, Number, Report},
};

/// What is measured: how often by default, and the time of so many in nanoseconds each.
struct Row {
    name: &'static str,
    times: u32,
    measure: fn(u32) -> Result<f64>,
    goal: Goal,
}

const ROWS: [Row; 5] = [
    Row { name: "a system call netd does not look at", times: 500_000, measure: unrelated, goal: Goal::AtMost(50.0) },
    Row { name: "UDP socket: open, connect, close", times: 5_000, measure: connections, goal: Goal::None },
    Row { name: "dup2 onto another descriptor", times: 200_000, measure: dup_elsewhere, goal: Goal::None },
    Row { name: "dup2 of a socket onto standard input", times: 1_000, measure: dup_onto_input, goal: Goal::None },
    Row { name: "fork, exec and end of /bin/true", times: 50, measure: execs, goal: Goal::None },
];

/// Without netd, with all but the tracepoints of system calls, with all.
const CONTESTANTS: usize = 3;
const SAMPLES: usize = 7;

pub(crate) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let namespace = Namespace::new("bench")?;
    for row in ROWS {
        let Effort { rounds, packets, .. } = options.effort(row.times);
        let effort = Effort { rounds, samples: 1, packets };
        let race = namespace.run(|| {
            // The thread is the namespace's own.
            crate::support::kernel::pin(0)?;
            Race::<CONTESTANTS>::run(effort, |contestant, times| {
                let mut watcher = Watcher::new(contestant)?;
                let mut smallest = f64::INFINITY;
                for _ in 0..SAMPLES {
                    smallest = smallest.min((row.measure)(times)?);
                    watcher.drain();
                }
                Ok(smallest)
            })
        })?;
        let [without, some, all] = race.smallest().map(Number);
        report.row(format!("attribution: {}", row.name), format!("{without} / {some} / {all} ns")).end(
            race.figure(|[without, _, all]| all - without),
            " ns",
            row.goal,
            Noisy,
        );
    }
    Ok(())
}

/// netd's programs on the machine, or nothing.
struct Watcher(Option<(Kernel, [Events; 2])>);

impl Watcher {
    fn new(contestant: usize) -> Result<Self> {
        if contestant == 0 {
            return Ok(Self(None));
        }
        let options = kernel::Options {
            bpffs: PathBuf::from("/sys/fs/bpf/bench"),
            flows_per_cpu: 64,
            hosts: 64,
            xdp: Xdp::Off,
            returns: contestant == 2,
            ..kernel::Options::default()
        };
        let (mut kernel, lacking) = Kernel::load(&options)?;
        let degraded = kernel.attach([])?;
        let other = lacking.iter().chain(&degraded).find(|degraded| degraded.what != "interfaces");
        ensure!(other.is_none(), "not everything could be attached: {other:?}");
        let events = [kernel.events()?, kernel.processes()?];
        Ok(Self(Some((kernel, events))))
    }

    /// Empties the ring buffers: a full one is the cheap way.
    fn drain(&mut self) {
        if let Some((_, events)) = &mut self.0 {
            for events in events {
                events.poll_batch(usize::MAX, |_| {});
            }
        }
    }
}

fn each(begin: Duration, end: Duration, times: u32) -> f64 {
    (end - begin).as_secs_f64() * 1e9 / f64::from(times)
}

fn timed(times: u32, mut work: impl FnMut() -> io::Result<()>) -> Result<f64> {
    let begin = thread_time();
    for _ in 0..times {
        work()?;
    }
    Ok(each(begin, thread_time(), times))
}

fn unrelated(times: u32) -> Result<f64> {
    timed(times, || {
        // SAFETY: the call takes nothing. By number, lest the library remember the answer.
        unsafe { libc::syscall(libc::SYS_getppid) };
        Ok(())
    })
}

fn connections(times: u32) -> Result<f64> {
    timed(times, || {
        // SAFETY: the call takes numbers.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just made it, nobody else knows it.
        let socket = UdpSocket::from(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) });
        socket.connect("127.0.0.1:9")
    })
}

fn dup2(from: impl AsFd, to: i32) -> io::Result<()> {
    // SAFETY: the call takes numbers; callers give up what `to` was.
    if unsafe { libc::dup2(from.as_fd().as_raw_fd(), to) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn dup_elsewhere(times: u32) -> Result<f64> {
    let (from, to) = (File::open("/dev/null")?, File::open("/dev/null")?);
    timed(times, || dup2(&from, to.as_raw_fd()))
}

fn dup_onto_input(times: u32) -> Result<f64> {
    let before = io::stdin().as_fd().try_clone_to_owned()?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let time = timed(times, || dup2(&socket, 0));
    dup2(&before, 0)?;
    time
}

fn execs(times: u32) -> Result<f64> {
    let spent = || -> Result<Duration> {
        let mut sum = TimeVal::zero();
        for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
            let usage = getrusage(who)?;
            sum = sum + usage.user_time() + usage.system_time();
        }
        Ok(Duration::from_micros(u64::try_from(sum.num_microseconds())?))
    };
    let begin = spent()?;
    for _ in 0..times {
        ensure!(Command::new("/bin/true").status().context("cannot start /bin/true")?.success());
    }
    Ok(each(begin, spent()?, times))
}
