//! Who runs: the process at hand, its executable, those above it.

use aya_ebpf::helpers::{bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_uid_gid, generated};
use netd_common::{
    offsets::group,
    process::{ANCESTORS, Ancestor, NAME_SNAP},
    record::Owner,
};

use crate::memory::{self, knows, offset, read};

/// Returns the address of the thread that runs.
#[inline(always)]
pub fn current() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { generated::bpf_get_current_task() }
}

/// Says who runs, in whole: `owner` may be memory that was never written. A network namespace's cookie of 0 is looked
/// up.
#[inline(never)]
pub fn describe(owner: &mut Owner, netns_cookie: u64) {
    let pid_tgid = bpf_get_current_pid_tgid();
    // SAFETY: the helper has no preconditions.
    owner.cgroup_id = unsafe { bpf_get_current_cgroup_id() };
    owner.netns_cookie = netns_cookie;
    owner.tgid = (pid_tgid >> 32) as u32;
    owner.pid = pid_tgid as u32;
    owner.uid = bpf_get_current_uid_gid() as u32;
    // SAFETY: the helper writes 16 bytes, zeros where there is no name.
    unsafe { generated::bpf_get_current_comm(owner.comm.as_mut_ptr().cast(), 16) };
    if knows(group::TASK) {
        identify(owner);
    } else {
        owner.start_ns = 0;
        owner.exe_inode = 0;
        owner.exe_device = 0;
        owner.netns = 0;
        owner.parent = 0;
    }
}

#[inline(always)]
fn identify(owner: &mut Owner) {
    let task = current();
    let leader: u64 = read(task, offset!(task_group_leader));
    owner.start_ns = read(leader, offset!(task_start_boottime));
    let parent: u64 = read(leader, offset!(task_real_parent));
    owner.parent = read(parent, offset!(task_tgid));
    let net: u64 = read(read(task, offset!(task_nsproxy)), offset!(nsproxy_net));
    owner.netns = read(net, offset!(net_inum));
    if owner.netns_cookie == 0 {
        owner.netns_cookie = read(net, offset!(net_cookie));
    }
    let inode: u64 = read(executable(task), offset!(file_inode));
    owner.exe_inode = read(inode, offset!(inode_ino));
    owner.exe_device = device(read(read(inode, offset!(inode_sb)), offset!(super_dev)));
}

#[inline(always)]
fn executable(task: u64) -> u64 {
    read(read(task, offset!(task_mm)), offset!(mm_exe_file))
}

/// Returns a device's number as stat(2) tells it: the kernel's own has twenty bits for the minor number.
#[inline(always)]
pub const fn device(kernels: u32) -> u32 {
    let (major, minor) = (kernels >> 20, kernels & 0xf_ffff);
    (minor & 0xff) | major << 8 | (minor & !0xff) << 12
}

/// Writes the executable's name in its directory, and returns how many paths lead to it.
#[inline(never)]
pub fn name_executable(name: &mut [u8; NAME_SNAP]) -> u32 {
    name[0] = 0;
    if !knows(group::TASK | group::STREAMS) {
        return 1;
    }
    let file = executable(current());
    let dentry: u64 = read(file, offset!(file_dentry));
    memory::text(name.as_mut_ptr(), NAME_SNAP as u32, read(dentry, offset!(dentry_name)));
    let inode: u64 = read(file, offset!(file_inode));
    read(inode, offset!(inode_nlink))
}

/// Writes who stands above the process, up to the first process of all.
#[inline(never)]
pub fn climb(ancestors: &mut [Ancestor; ANCESTORS]) {
    let mut leader = 0;
    if knows(group::TASK) {
        leader = read(current(), offset!(task_group_leader));
    }
    for ancestor in ancestors {
        // A chain that has ended is all zeros.
        let mut above: u64 = 0;
        if leader != 0 {
            let parent: u64 = read(leader, offset!(task_real_parent));
            above = read(parent, offset!(task_group_leader));
        }
        ancestor.pad = 0;
        // The idle task is its own parent, and number 0.
        ancestor.tgid = read(above, offset!(task_tgid));
        if above == 0 || ancestor.tgid == 0 {
            memory::clear(ancestor);
            leader = 0;
            continue;
        }
        ancestor.start_ns = read(above, offset!(task_start_boottime));
        memory::fill(&mut ancestor.comm, above + offset!(task_comm));
        leader = above;
    }
}

/// Returns the session that a process belongs to.
#[inline(always)]
pub fn session() -> u32 {
    if !knows(group::IMAGE) {
        return 0;
    }
    let signal: u64 = read(current(), offset!(task_signal));
    let session: u64 = read(signal, offset!(signal_session));
    read(session, offset!(pid_number))
}
