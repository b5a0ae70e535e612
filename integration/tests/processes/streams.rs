//! What standard streams lead to, as an exec tells it.

use std::{
    fs::{self, File},
    net::{TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::{
            fs::MetadataExt as _,
            net::{UnixDatagram, UnixStream},
            process::CommandExt as _,
        },
    },
    process::{Command, Stdio},
    time::Duration,
};

use netd_common::process::{Side, Stream, StreamKind, access};
use netd_lab::require_root;

use crate::watcher::{Watcher, inode_of, pty, tcp, watching};

/// Returns what standard input leads to in a child that is given `input`.
fn input(watcher: &mut Watcher, input: impl Into<Stdio>) -> Stream {
    watcher.run(Command::new("/bin/true").stdin(input)).record.streams[0]
}

fn kind(stream: &Stream) -> StreamKind {
    StreamKind::from_number(stream.kind)
}

#[test]
fn a_pipe_is_told_by_its_inode_and_each_end_by_its_access() {
    require_root!();
    watching(|watcher| {
        let (reader, writer) = std::io::pipe().unwrap();
        let (_, inode) = inode_of(&reader);

        let told = watcher.run(Command::new("/bin/true").stdin(reader).stdout(writer));

        let [input, output, _] = told.record.streams;
        assert_eq!((kind(&input), input.inode, input.access), (StreamKind::Pipe, inode, access::READ));
        assert_eq!((kind(&output), output.inode, output.access), (StreamKind::Pipe, inode, access::WRITE));
    });
}

#[test]
fn a_fifo_is_told_by_device_and_inode() {
    require_root!();
    watching(|watcher| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
        let fifo = File::options().read(true).write(true).open(&path).unwrap();
        let (device, inode) = inode_of(&fifo);

        let stream = input(watcher, fifo);

        assert_eq!((kind(&stream), u64::from(stream.device), stream.inode), (StreamKind::Fifo, device, inode));
        assert_eq!(stream.access, access::READ | access::WRITE);
    });
}

#[test]
fn a_terminal_and_its_master_are_told_by_the_same_index() {
    require_root!();
    watching(|watcher| {
        let (master, slave, index) = pty();

        let told = watcher.run(Command::new("/bin/true").stdin(slave).stdout(master));

        let [input, output, _] = told.record.streams;
        assert_eq!((kind(&input), input.peer), (StreamKind::Terminal, index));
        assert_eq!((kind(&output), output.peer), (StreamKind::TerminalMaster, index));
    });
}

#[test]
fn the_controlling_terminal_is_told_as_the_terminal_it_is() {
    require_root!();
    watching(|watcher| {
        let (_master, slave, index) = pty();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exec /bin/true < /dev/tty"]).stdin(slave).stdout(Stdio::null());
        // SAFETY: between fork and exec, system calls only.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }

        let shell = watcher.run(&mut command);

        let told = watcher.wait("the second exec", |seen| {
            seen.told
                .iter()
                .find(|told| told.record.owner.tgid == shell.record.owner.tgid && told.filename == b"/bin/true")
                .cloned()
        });
        let stream = told.record.streams[0];
        assert_eq!((kind(&stream), stream.peer), (StreamKind::Terminal, index));
    });
}

#[test]
fn both_ends_of_a_connection_are_told_by_five_tuple_and_side() {
    require_root!();
    watching(|watcher| {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(local).unwrap();
            let opened = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            let (client, server) = (opened.local_addr().unwrap(), accepted.local_addr().unwrap());

            let stream = input(watcher, OwnedFd::from(opened));
            assert_eq!((kind(&stream), stream.key), (StreamKind::Inet, tcp(client, server)));
            assert_eq!((stream.side, stream.state), (Side::Opened as u8, 1));
            assert_ne!(stream.cookie, 0);

            let stream = input(watcher, OwnedFd::from(accepted));
            assert_eq!((kind(&stream), stream.key), (StreamKind::Inet, tcp(server, client)));
            assert_eq!(stream.side, Side::Accepted as u8);

            let stream = input(watcher, OwnedFd::from(listener));
            assert_eq!((kind(&stream), stream.side), (StreamKind::Inet, Side::Listening as u8));
        }
    });
}

#[test]
fn a_unix_socket_is_told_with_the_inode_of_its_peer() {
    require_root!();
    watching(|watcher| {
        let (one, other) = UnixStream::pair().unwrap();
        let (inode, peer) = (inode_of(&one).1, inode_of(&other).1);
        let (datagram, datagram_peer) = UnixDatagram::pair().unwrap();
        let datagram_peer = inode_of(&datagram_peer).1;

        let stream = input(watcher, OwnedFd::from(one));
        let datagram = input(watcher, OwnedFd::from(datagram));

        assert_eq!((kind(&stream), stream.inode, stream.peer), (StreamKind::Unix, inode, peer));
        // Its other end is closed by then: only the first is told apart from one that never had a peer.
        assert_eq!(kind(&datagram), StreamKind::Unix);
        assert!(datagram.peer == datagram_peer || datagram.peer == 0);
        drop(other);
    });
}

#[test]
fn files_devices_memory_and_nothing_are_told_apart() {
    require_root!();
    watching(|watcher| {
        let file = fs::metadata("/etc/passwd").unwrap();
        let stream = input(watcher, File::open("/etc/passwd").unwrap());
        assert_eq!((kind(&stream), stream.inode), (StreamKind::File, file.ino()));

        assert_eq!(kind(&input(watcher, Stdio::null())), StreamKind::Device);

        // SAFETY: the name is a live, terminated string; the descriptor is nobody else's.
        let memory = unsafe {
            let fd = libc::memfd_create(c"memory".as_ptr(), libc::MFD_CLOEXEC);
            <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd)
        };
        assert_eq!(kind(&input(watcher, memory)), StreamKind::Memory);

        let mut command = Command::new("/bin/true");
        // SAFETY: between fork and exec, one system call.
        unsafe {
            command.pre_exec(|| {
                libc::close(0);
                Ok(())
            });
        }
        assert_eq!(kind(&watcher.run(&mut command).record.streams[0]), StreamKind::Closed);
    });
}

#[test]
fn a_program_behind_a_pipe_is_heard_of_at_once() {
    require_root!();
    watching(|watcher| {
        let (reader, _writer) = std::io::pipe().unwrap();

        let took = watcher.time_to_wake(Command::new("/bin/true").stdin(reader), Duration::from_secs(10));

        assert!(took < Duration::from_secs(2), "{took:?}");
    });
}
