//! Tracepoints of system calls, by perf events: found and opened without tracefs being mounted anywhere.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
};

use rustix::{
    fs::{Mode, OFlags, openat},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
};

/// `perf_event_open(2)` takes a tracepoint by its number.
const TYPE_TRACEPOINT: u32 = 2;
/// Length of the first published structure that every kernel since 4.4 takes.
const ATTRIBUTES_LEN: usize = 112;
/// `PERF_FLAG_FD_CLOEXEC`.
const CLOSE_ON_EXEC: libc::c_ulong = 1 << 3;
/// `PERF_EVENT_IOC_ENABLE` and `PERF_EVENT_IOC_SET_BPF`.
const ENABLE: libc::c_ulong = 0x2400;
const SET_BPF: libc::c_ulong = 0x4004_2408;

/// The tree of tracepoints, in no namespace's tree of mounts.
pub(super) struct Tracepoints(OwnedFd);

impl Tracepoints {
    /// # Errors
    ///
    /// When the kernel has no tracefs, or does not let this process see it.
    pub(super) fn open() -> io::Result<Self> {
        let context = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        let flags = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        Ok(Self(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)?))
    }

    /// Runs `program` whenever the system call called `name` returns, for as long as the event is open.
    ///
    /// # Errors
    ///
    /// When there is no such tracepoint, or the kernel refuses the event.
    pub(super) fn attach_to_return_of(&self, name: &str, program: impl AsFd) -> io::Result<OwnedFd> {
        let path = format!("events/syscalls/sys_exit_{name}/id");
        let mut text = String::new();
        File::from(openat(&self.0, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
            .read_to_string(&mut text)?;
        let number = text.trim().parse().map_err(io::Error::other)?;
        let event = open_event(number)?;
        control(&event, SET_BPF, program.as_fd().as_raw_fd().into())?;
        control(&event, ENABLE, 0)?;
        Ok(event)
    }
}

/// Opens a tracepoint's event. A program is run by what all CPUs meet, whichever the event is bound to; so the first
/// that is online will do.
fn open_event(number: u64) -> io::Result<OwnedFd> {
    let mut failure = io::Error::from_raw_os_error(libc::ENODEV);
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as i32).max(64);
    for cpu in 0..cpus {
        match open_event_on(number, cpu) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => failure = error,
            opened => return opened,
        }
    }
    Err(failure)
}

fn open_event_on(number: u64, cpu: i32) -> io::Result<OwnedFd> {
    // `struct perf_event_attr`: type and length, then the tracepoint's number, then a period of 1.
    let mut attributes = [0_u64; ATTRIBUTES_LEN / 8];
    attributes[0] = u64::from(TYPE_TRACEPOINT) | (ATTRIBUTES_LEN as u64) << 32;
    attributes[1] = number;
    attributes[2] = 1;
    // SAFETY: the kernel reads as many bytes as the structure says it has, which lie in a live array.
    let opened = unsafe { libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), -1, cpu, -1, CLOSE_ON_EXEC) };
    if opened < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = RawFd::try_from(opened).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us, nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn control(event: &OwnedFd, request: libc::c_ulong, argument: i64) -> io::Result<()> {
    // SAFETY: neither request takes an address.
    let result = unsafe { libc::ioctl(event.as_raw_fd(), request, argument) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
