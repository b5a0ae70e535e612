//! Where the running kernel keeps what the programs read, from its BTF.

use std::fs;

use netd_common::offsets::{Offsets, group};

use super::{
    Degraded,
    btf::{Error, Types},
};

const BTF: &str = "/sys/kernel/btf/vmlinux";
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// The session's place among a process's identifiers (`enum pid_type`), each a pointer.
const SESSION: u32 = 3 * 8;

/// A member whose place the programs need: where it is written, structure, member, size in bytes.
type Wanted = (fn(&mut Offsets) -> &mut u32, &'static str, &'static str, u32);

/// Of a structure, or of an array that older kernels leave open: its size says nothing.
const ANY: u32 = Types::ANY_SIZE;

struct Group {
    bit: u32,
    members: &'static [Wanted],
    consequence: &'static str,
}

const GROUPS: [Group; 6] = [
    Group {
        bit: group::TASK,
        members: &[
            (|o| &mut o.task_group_leader, "task_struct", "group_leader", 8),
            (|o| &mut o.task_real_parent, "task_struct", "real_parent", 8),
            (|o| &mut o.task_tgid, "task_struct", "tgid", 4),
            (|o| &mut o.task_start_boottime, "task_struct", "start_boottime", 8),
            (|o| &mut o.task_comm, "task_struct", "comm", 16),
            (|o| &mut o.task_mm, "task_struct", "mm", 8),
            (|o| &mut o.task_nsproxy, "task_struct", "nsproxy", 8),
            (|o| &mut o.nsproxy_net, "nsproxy", "net_ns", 8),
            (|o| &mut o.net_inum, "net", "ns.inum", 4),
            (|o| &mut o.net_cookie, "net", "net_cookie", 8),
            (|o| &mut o.mm_exe_file, "mm_struct", "exe_file", 8),
            (|o| &mut o.file_inode, "file", "f_inode", 8),
            (|o| &mut o.inode_sb, "inode", "i_sb", 8),
            (|o| &mut o.inode_ino, "inode", "i_ino", 8),
            (|o| &mut o.super_dev, "super_block", "s_dev", 4),
        ],
        consequence: "processes are told by their number alone, which is given to others later; nothing is known of \
                      those that end before /proc is read, nor where their standard streams lead",
    },
    Group {
        bit: group::STREAMS,
        members: &[
            (|o| &mut o.task_files, "task_struct", "files", 8),
            (|o| &mut o.files_fdt, "files_struct", "fdt", 8),
            (|o| &mut o.fdt_max_fds, "fdtable", "max_fds", 4),
            (|o| &mut o.fdt_fd, "fdtable", "fd", 8),
            (|o| &mut o.file_mode, "file", "f_mode", 4),
            (|o| &mut o.file_private, "file", "private_data", 8),
            (|o| &mut o.file_dentry, "file", "f_path.dentry", 8),
            (|o| &mut o.dentry_name, "dentry", "d_name.name", 8),
            (|o| &mut o.inode_mode, "inode", "i_mode", 2),
            (|o| &mut o.inode_rdev, "inode", "i_rdev", 4),
            (|o| &mut o.inode_nlink, "inode", "i_nlink", 4),
            (|o| &mut o.super_magic, "super_block", "s_magic", 8),
            (|o| &mut o.socket_sk, "socket", "sk", 8),
            (|o| &mut o.sk_family, "sock", "__sk_common.skc_family", 2),
            (|o| &mut o.sk_state, "sock", "__sk_common.skc_state", 1),
            (|o| &mut o.sk_v4_peer, "sock", "__sk_common.skc_daddr", 4),
            (|o| &mut o.sk_v4_local, "sock", "__sk_common.skc_rcv_saddr", 4),
            (|o| &mut o.sk_peer_port, "sock", "__sk_common.skc_dport", 2),
            (|o| &mut o.sk_local_port, "sock", "__sk_common.skc_num", 2),
            (|o| &mut o.sk_v6_peer, "sock", "__sk_common.skc_v6_daddr", 16),
            (|o| &mut o.sk_v6_local, "sock", "__sk_common.skc_v6_rcv_saddr", 16),
            (|o| &mut o.sk_cookie, "sock", "__sk_common.skc_cookie", 8),
            (|o| &mut o.sk_protocol, "sock", "sk_protocol", 2),
        ],
        consequence: "where standard streams lead is not seen: reverse shells are found by their network rhythm, and \
                      workers are not told apart from their listener by accept(2)",
    },
    Group {
        bit: group::UNIX,
        members: &[
            (|o| &mut o.unix_peer, "unix_sock", "peer", 8),
            (|o| &mut o.sk_socket, "sock", "sk_socket", 8),
            (|o| &mut o.socket_inode, "socket_alloc", "vfs_inode", ANY),
        ],
        consequence: "a shell behind a pair of Unix sockets is found only while both ends are open",
    },
    Group {
        bit: group::TERMINAL,
        members: &[
            (|o| &mut o.tty_file_tty, "tty_file_private", "tty", 8),
            (|o| &mut o.tty_index, "tty_struct", "index", 4),
            (|o| &mut o.tty_driver, "tty_struct", "driver", 8),
            (|o| &mut o.tty_driver_major, "tty_driver", "major", 4),
        ],
        consequence: "which terminal a standard stream is stays open where it is /dev/tty or a master's end",
    },
    Group {
        bit: group::IMAGE,
        members: &[
            (|o| &mut o.bprm_filename, "linux_binprm", "filename", 8),
            (|o| &mut o.mm_arg_start, "mm_struct", "arg_start", 8),
            (|o| &mut o.mm_arg_end, "mm_struct", "arg_end", 8),
            (|o| &mut o.task_signal, "task_struct", "signal", 8),
            (|o| &mut o.signal_live, "signal_struct", "live", 4),
            (|o| &mut o.signal_session, "signal_struct", "pids", 32),
            (|o| &mut o.pid_number, "pid", "numbers", ANY),
        ],
        consequence: "path and arguments of a program that ends at once are not known, nor when a process ends",
    },
    Group {
        bit: group::ARGUMENT,
        #[cfg(target_arch = "x86_64")]
        members: &[(|o| &mut o.regs_second, "pt_regs", "si", 8)],
        #[cfg(not(target_arch = "x86_64"))]
        members: &[(|o| &mut o.regs_second, "user_pt_regs", "regs", 31 * 8)],
        consequence: "a standard stream that fcntl(2) puts elsewhere is seen only when another program is started",
    },
];

/// Finds where the running kernel keeps what the programs read; for what is not found, says what is missed.
#[must_use]
pub fn find() -> (Offsets, Vec<Degraded>) {
    // The programs would be refused, not just left without what they ask.
    if fs::read_to_string(LOCKDOWN).is_ok_and(|text| text.contains("[confidentiality]")) {
        return (Offsets::UNKNOWN, degraded_all("the kernel is locked down: its memory must not be read"));
    }
    let blob = match fs::read(BTF) {
        Ok(blob) => blob,
        Err(error) => {
            return (
                Offsets::UNKNOWN,
                degraded_all(&format!("the kernel does not describe its types ({BTF}: {error})")),
            );
        }
    };
    match Types::parse(&blob) {
        Ok(types) => find_in(&types),
        Err(error) => (Offsets::UNKNOWN, degraded_all(&error.to_string())),
    }
}

fn find_in(types: &Types<'_>) -> (Offsets, Vec<Degraded>) {
    let mut offsets = Offsets::UNKNOWN;
    let mut degraded = Vec::new();
    for group in GROUPS {
        match find_group(types, group.members, &mut offsets) {
            Ok(()) => offsets.groups |= group.bit,
            Err(error) => degraded.push(Degraded::new("the kernel's structures", error.to_string(), group.consequence)),
        }
    }
    offsets.signal_session += SESSION;
    // The second of the registers that hold arguments.
    #[cfg(not(target_arch = "x86_64"))]
    {
        offsets.regs_second += 8;
    }
    (offsets, degraded)
}

fn find_group(types: &Types<'_>, members: &[Wanted], offsets: &mut Offsets) -> Result<(), Error> {
    for (place, structure, member, size) in members {
        *place(offsets) = types.offset(structure, member, *size)?;
    }
    Ok(())
}

fn degraded_all(why: &str) -> Vec<Degraded> {
    vec![Degraded::new("the kernel's structures", why, GROUPS[0].consequence)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_has_every_member() {
        if !std::path::Path::new(BTF).exists() {
            return;
        }

        let (offsets, degraded) = find();

        assert_eq!(degraded, []);
        assert!(offsets.has(GROUPS.iter().fold(0, |all, group| all | group.bit)));
    }

    #[test]
    fn without_a_description_nothing_is_known() {
        let types = Types::parse(&[]);

        assert!(types.is_err());
        assert_eq!(Offsets::UNKNOWN.groups, 0);
    }
}
