//! Descriptors of the process at hand, and what they lead to.

use netd_common::{
    key::{Address, FlowKey},
    offsets::group,
    process::{Side, Stream, StreamKind},
};

use crate::{
    maps::SOCKETS,
    memory::{self, knows, offset, read},
    task,
};

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const TCP_LISTEN: u8 = 10;

/// Kinds of file in an inode's mode.
const S_IFMT: u16 = 0o170_000;
const S_IFIFO: u16 = 0o010_000;
const S_IFCHR: u16 = 0o020_000;
const S_IFREG: u16 = 0o100_000;
const S_IFSOCK: u16 = 0o140_000;

/// File systems by their magic numbers (`linux/magic.h`).
const ANON_INODE_FS: u64 = 0x0904_1934;
const PIPE_FS: u64 = 0x5049_5045;
const SOCK_FS: u64 = 0x534f_434b;

/// Pseudo-terminals have eight majors, of which devpts uses the first (`Documentation/admin-guide/devices.txt`).
const PTY_SLAVES: u32 = 136;
const TTYAUX: u32 = 5;
const DEV_TTY: u32 = 0;
const PTMX: u32 = 2;
/// Virtual consoles and serial lines, and those of modems, converters, chips and hypervisors.
const CONSOLES: [u32; 5] = [4, 166, 188, 204, 229];

/// What is written where the index of a terminal is not known.
const NO_INDEX: u64 = u64::MAX;

/// The table of descriptors of the process that runs.
#[derive(Clone, Copy)]
pub struct Descriptors {
    files: u64,
    len: u32,
}

impl Descriptors {
    /// Returns the table; an empty one where the kernel's layout is not known.
    #[inline(always)]
    pub fn current() -> Self {
        if !knows(group::TASK | group::STREAMS) {
            return Self { files: 0, len: 0 };
        }
        let files: u64 = read(task::current(), offset!(task_files));
        let table: u64 = read(files, offset!(files_fdt));
        Self { files: read(table, offset!(fdt_fd)), len: read(table, offset!(fdt_max_fds)) }
    }

    /// Returns the address of an open file, 0 for a descriptor that is closed.
    #[inline(always)]
    pub fn file(&self, descriptor: u32) -> u64 {
        if descriptor < self.len { read(self.files, u64::from(descriptor) * 8) } else { 0 }
    }

    /// Returns the cookie of the IPv4 or IPv6 socket that a descriptor leads to, 0 for anything else.
    #[inline(always)]
    pub fn cookie(&self, descriptor: u32) -> u64 {
        let file = self.file(descriptor);
        if file == 0 {
            return 0;
        }
        let inode: u64 = read(file, offset!(file_inode));
        if read::<u16>(inode, offset!(inode_mode)) & S_IFMT != S_IFSOCK || magic(inode) != SOCK_FS {
            return 0;
        }
        let sk: u64 = read(read(file, offset!(file_private)), offset!(socket_sk));
        let family: u16 = read(sk, offset!(sk_family));
        if family == AF_INET || family == AF_INET6 { read(sk, offset!(sk_cookie)) } else { 0 }
    }
}

/// Says what an open file of [`Descriptors`] leads to, in whole: `stream` may be memory that was never written.
#[inline(never)]
pub fn look(file: u64, stream: &mut Stream) {
    memory::clear(stream);
    if !knows(group::TASK | group::STREAMS) {
        return;
    }
    if file == 0 {
        stream.kind = StreamKind::Closed as u8;
        return;
    }
    // FMODE_READ and FMODE_WRITE are the bits of `access`.
    stream.access = read::<u32>(file, offset!(file_mode)) as u8 & 3;
    let inode: u64 = read(file, offset!(file_inode));
    stream.inode = read(inode, offset!(inode_ino));
    stream.device = task::device(read(read(inode, offset!(inode_sb)), offset!(super_dev)));
    let magic = magic(inode);
    let kind = match read::<u16>(inode, offset!(inode_mode)) & S_IFMT {
        S_IFIFO if magic == PIPE_FS => StreamKind::Pipe,
        S_IFIFO => StreamKind::Fifo,
        // The socket's path, opened with O_PATH, is a file like any other.
        S_IFSOCK if magic == SOCK_FS => socket(file, stream),
        S_IFCHR => character(file, inode, stream),
        _ if magic == ANON_INODE_FS => StreamKind::Anonymous,
        S_IFREG if is_memory(file, inode) => StreamKind::Memory,
        _ => StreamKind::File,
    };
    stream.kind = kind as u8;
}

#[inline(always)]
fn magic(inode: u64) -> u64 {
    read(read(inode, offset!(inode_sb)), offset!(super_magic))
}

/// Returns whether a file was made by memfd_create(2): no path leads to it, and it is called so.
#[inline(always)]
fn is_memory(file: u64, inode: u64) -> bool {
    if read::<u32>(inode, offset!(inode_nlink)) != 0 {
        return false;
    }
    let dentry: u64 = read(file, offset!(file_dentry));
    let start: u64 = read(read(dentry, offset!(dentry_name)), 0);
    start & 0x0000_ffff_ffff_ffff == u64::from_ne_bytes(*b"memfd:\0\0")
}

#[inline(always)]
fn character(file: u64, inode: u64, stream: &mut Stream) -> StreamKind {
    let device: u32 = read(inode, offset!(inode_rdev));
    let (major, minor) = (device >> 20, device & 0xf_ffff);
    if major == PTY_SLAVES {
        stream.peer = u64::from(minor);
        return StreamKind::Terminal;
    }
    if major == TTYAUX && (minor == PTMX || minor == DEV_TTY) {
        stream.peer = NO_INDEX;
        let mut drivers_major = 0;
        if knows(group::TERMINAL) {
            let tty: u64 = read(read(file, offset!(file_private)), offset!(tty_file_tty));
            stream.peer = u64::from(read::<u32>(tty, offset!(tty_index)));
            drivers_major = read(read(tty, offset!(tty_driver)), offset!(tty_driver_major));
        }
        return match minor {
            PTMX => StreamKind::TerminalMaster,
            // The controlling terminal, under a name that says nothing.
            _ if drivers_major == PTY_SLAVES => StreamKind::Terminal,
            _ => StreamKind::Console,
        };
    }
    if major == TTYAUX || CONSOLES.contains(&major) { StreamKind::Console } else { StreamKind::Device }
}

#[inline(always)]
fn socket(file: u64, stream: &mut Stream) -> StreamKind {
    let sk: u64 = read(read(file, offset!(file_private)), offset!(socket_sk));
    stream.state = read(sk, offset!(sk_state));
    match read::<u16>(sk, offset!(sk_family)) {
        AF_INET | AF_INET6 => inet(sk, stream),
        AF_UNIX => {
            if knows(group::UNIX) {
                stream.peer = inode_of(read(sk, offset!(unix_peer)));
            }
            return StreamKind::Unix;
        }
        _ => return StreamKind::Socket,
    }
    StreamKind::Inet
}

/// Returns the inode of the descriptor that a socket has; 0 when all of them were closed.
#[inline(always)]
fn inode_of(sk: u64) -> u64 {
    let socket: u64 = read(sk, offset!(sk_socket));
    if sk == 0 || socket == 0 {
        return 0;
    }
    read(socket + offset!(socket_inode), offset!(inode_ino))
}

#[inline(always)]
fn inet(sk: u64, stream: &mut Stream) {
    ends(sk, &mut stream.key);
    stream.cookie = read(sk, offset!(sk_cookie));
    if stream.state == TCP_LISTEN {
        stream.side = Side::Listening as u8;
        return;
    }
    // SAFETY: one word of the value is read, and not kept.
    if let Some(known) = unsafe { SOCKETS.get(&stream.cookie) } {
        stream.side = known.side as u8;
    }
}

/// Writes both ends of an IPv4 or IPv6 socket, directed from this host; zero where an end is not bound.
#[inline(always)]
pub fn ends(sk: u64, key: &mut FlowKey) {
    let protocol = u64::from(read::<u16>(sk, offset!(sk_protocol)) as u8);
    let local_port = u64::from(read::<u16>(sk, offset!(sk_local_port)).to_be());
    let peer_port = u64::from(read::<u16>(sk, offset!(sk_peer_port)));
    // SAFETY: ports, protocol and padding are the key's last word. Written in one piece: the compiler would join it in
    // other ways, which the verifier refuses on the stack.
    unsafe {
        (&raw mut key.src_port).cast::<u64>().write_volatile(local_port | peer_port << 16 | protocol << 32);
    }
    if read::<u16>(sk, offset!(sk_family)) == AF_INET6 {
        memory::fill(&mut key.src, sk + offset!(sk_v6_local));
        memory::fill(&mut key.dst, sk + offset!(sk_v6_peer));
        return;
    }
    key.src = v4(read(sk, offset!(sk_v4_local)));
    key.dst = v4(read(sk, offset!(sk_v4_peer)));
}

/// Returns an address as the kernel holds it, in network order; "any" is no address.
#[inline(always)]
pub fn v4(word: u32) -> Address {
    if word == 0 { Address::UNSPECIFIED } else { Address::v4(word.to_ne_bytes()) }
}
