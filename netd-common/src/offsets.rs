//! Where members lie in the running kernel's structures: the loader reads it from BTF, and writes it into the object's
//! read-only data before the programs are verified.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Byte offsets from the start of a structure, through the structures it embeds. They count only where
/// [`Offsets::groups`] says that their group was found whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Offsets {
    /// [`group`] bits.
    pub groups: u32,

    // group::TASK
    pub task_group_leader: u32,
    pub task_real_parent: u32,
    pub task_tgid: u32,
    pub task_start_boottime: u32,
    pub task_comm: u32,
    pub task_mm: u32,
    pub task_nsproxy: u32,
    pub nsproxy_net: u32,
    pub net_inum: u32,
    pub net_cookie: u32,
    pub mm_exe_file: u32,
    pub file_inode: u32,
    pub inode_sb: u32,
    pub inode_ino: u32,
    pub super_dev: u32,

    // group::STREAMS
    pub task_files: u32,
    pub files_fdt: u32,
    pub fdt_max_fds: u32,
    pub fdt_fd: u32,
    pub file_mode: u32,
    pub file_private: u32,
    pub file_dentry: u32,
    pub dentry_name: u32,
    pub inode_mode: u32,
    pub inode_rdev: u32,
    pub inode_nlink: u32,
    pub super_magic: u32,
    pub socket_sk: u32,
    pub sk_family: u32,
    pub sk_state: u32,
    pub sk_v4_peer: u32,
    pub sk_v4_local: u32,
    pub sk_peer_port: u32,
    pub sk_local_port: u32,
    pub sk_v6_peer: u32,
    pub sk_v6_local: u32,
    pub sk_cookie: u32,
    pub sk_protocol: u32,

    // group::UNIX
    pub unix_peer: u32,
    pub sk_socket: u32,
    pub socket_inode: u32,

    // group::TERMINAL
    pub tty_file_tty: u32,
    pub tty_index: u32,
    pub tty_driver: u32,
    pub tty_driver_major: u32,

    // group::IMAGE
    pub bprm_filename: u32,
    pub mm_arg_start: u32,
    pub mm_arg_end: u32,
    pub task_signal: u32,
    pub signal_live: u32,
    pub signal_session: u32,
    pub pid_number: u32,

    // group::ARGUMENT
    pub regs_second: u32,
}

/// Groups of offsets: what is said of processes without one stands with each.
pub mod group {
    /// Start, executable, parent and network namespace of a process.
    pub const TASK: u32 = 1;
    /// Descriptors and what they lead to.
    pub const STREAMS: u32 = 1 << 1;
    /// The peer of a Unix socket.
    pub const UNIX: u32 = 1 << 2;
    /// Which terminal a terminal is, where its device number does not say.
    pub const TERMINAL: u32 = 1 << 3;
    /// Path and arguments of an exec; when the last thread of a process ends.
    pub const IMAGE: u32 = 1 << 4;
    /// The second argument of a system call.
    pub const ARGUMENT: u32 = 1 << 5;
}

impl Offsets {
    /// Nothing is known: programs leave out whatever needs an offset.
    pub const UNKNOWN: Self = zerocopy::transmute!([0_u32; size_of::<Self>() / 4]);

    /// Returns whether all of `groups` were found.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, groups: u32) -> bool {
        self.groups & groups == groups
    }
}
