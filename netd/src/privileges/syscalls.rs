//! System calls that netd never makes once it runs, and whoever took it over would.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::Error;

/// Refused with EPERM whatever their arguments are. Looking into other namespaces (`setns`) and opening cgroups by their
/// number (`open_by_handle_at`) is netd's work.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_mount_setattr,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_userfaultfd,
    // Its calls pass no filter.
    libc::SYS_io_uring_setup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
];

/// `BPF_PROG_LOAD`: programs are loaded before.
const PROG_LOAD: u64 = 5;

/// Filters the system calls of this thread and of all that it makes.
pub(super) fn restrict() -> Result<(), Error> {
    let program = program().map_err(|source| Error::Filter { source })?;
    seccompiler::apply_filter(&program).map_err(|source| Error::Seccomp { source })
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let is_load = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, PROG_LOAD)?;
    rules.insert(libc::SYS_bpf, vec![SeccompRule::new(vec![is_load])?]);
    let refused = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    SeccompFilter::new(rules, SeccompAction::Allow, refused, std::env::consts::ARCH.try_into()?)?.try_into()
}

/// Returns whether this thread's system calls are filtered.
pub(super) fn is_filtered() -> bool {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}

/// Makes calls that must be refused, with arguments that do nothing where they are not; returns the first that gets as
/// far as looking at its arguments.
pub(super) fn forbidden_that_works() -> Option<&'static str> {
    let tries = [("execve", libc::SYS_execve, 0), ("bpf(BPF_PROG_LOAD)", libc::SYS_bpf, PROG_LOAD)];
    tries.into_iter().find_map(|(name, call, argument)| {
        // SAFETY: both calls refuse null pointers before they do anything.
        let result = unsafe { libc::syscall(call, argument, 0_u64, 0_u64) };
        let error = std::io::Error::last_os_error();
        (result != -1 || error.raw_os_error() != Some(libc::EPERM)).then_some(name)
    })
}
