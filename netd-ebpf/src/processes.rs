//! What processes do: execve(2), their end, and where their standard streams are put.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE},
    helpers::generated,
    macros::{raw_tracepoint, tracepoint},
    programs::{RawTracePointContext, TracePointContext},
};
use netd_common::{
    counter::Counter,
    offsets::group,
    process::{ARGUMENTS_SNAP, ExitRecord, FILENAME_SNAP, ProcessEvent, ProcessRecord, STREAMS, Stream, StreamKind},
    record::{Header, Kind},
};

use crate::{
    context::{Context, Count, boot_ns, cpu, precise_ns},
    maps::{PROCESSES, REDIRECTS},
    memory::{self, knows, offset, read},
    stream::{Descriptors, look},
    system_call, task,
};

/// Redirections to pipes and terminals that a process is heard for in a second: a script makes them all day long.
const HEARD: u32 = 8;

/// A record with room for what follows it.
#[repr(C)]
struct Exec {
    head: ProcessRecord,
    data: [u8; FILENAME_SNAP + ARGUMENTS_SNAP],
}

#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn process_exec(ctx: RawTracePointContext) -> i32 {
    let Some(count) = Count::new() else { return 0 };
    // Written where it lies: this program can be interrupted, and the record does not fit the stack.
    let Some(mut entry) = PROCESSES.reserve::<Exec>(0) else {
        count.add_in(Context::Process, Counter::ExecRecordsLost, 1);
        return 0;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the head is written in whole before the record is submitted; of the data, what the head says is there.
    let (head, data) = unsafe { (&mut (*record).head, (&raw mut (*record).data).cast::<u8>()) };
    let leads_on = describe(head, ProcessEvent::Exec, 0, size_of::<Exec>() as u32);
    let mut filename_len = 0;
    let mut args_len = 0;
    if knows(group::TASK | group::IMAGE) {
        let filename: u64 = read(ctx.arg(2), offset!(bprm_filename));
        filename_len = memory::text(data, FILENAME_SNAP as u32, filename);
        args_len = arguments(data, filename_len);
    }
    head.filename_len = filename_len as u16;
    head.args_len = args_len as u16;
    entry.submit(wake_up(leads_on));
    count.add_in(Context::Process, Counter::ExecRecords, 1);
    0
}

/// Copies the arguments behind the path; returns their length.
#[inline(always)]
fn arguments(data: *mut u8, filename_len: u32) -> u32 {
    let mm: u64 = read(task::current(), offset!(task_mm));
    let start: u64 = read(mm, offset!(mm_arg_start));
    let end: u64 = read(mm, offset!(mm_arg_end));
    let mut len = end.saturating_sub(start);
    if len > ARGUMENTS_SNAP as u64 {
        len = ARGUMENTS_SNAP as u64;
    }
    // Where the verifier can see it, after whatever the compiler made of the bounds above.
    let at = core::hint::black_box(filename_len) & (FILENAME_SNAP as u32 - 1);
    let len = core::hint::black_box(len as u32) & (ARGUMENTS_SNAP as u32 * 2 - 1);
    if len > ARGUMENTS_SNAP as u32 {
        return 0;
    }
    // SAFETY: path and arguments together fit the record's data; the helper checks the source.
    let failed =
        unsafe { generated::bpf_probe_read_user(data.add(at as usize).cast(), len, start as *const core::ffi::c_void) };
    if failed == 0 { len } else { 0 }
}

#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn process_exit(ctx: RawTracePointContext) -> i32 {
    let ended: u64 = ctx.arg(0);
    // Without offsets there is no telling the last thread from the others.
    if !knows(group::TASK | group::IMAGE) {
        return 0;
    }
    if read::<u32>(read(ended, offset!(task_signal)), offset!(signal_live)) != 0 {
        return 0;
    }
    let Some(count) = Count::new() else { return 0 };
    let Some(mut entry) = PROCESSES.reserve::<ExitRecord>(0) else {
        count.add_in(Context::Process, Counter::ExitRecordsLost, 1);
        return 0;
    };
    entry.write(ExitRecord {
        header: Header {
            kind: Kind::Exit as u16,
            cpu: cpu() as u16,
            len: size_of::<ExitRecord>() as u32,
            time_ns: precise_ns(),
        },
        start_ns: read(read(ended, offset!(task_group_leader)), offset!(task_start_boottime)),
        tgid: read(ended, offset!(task_tgid)),
        pad: 0,
    });
    entry.submit(wake_up(false));
    count.add_in(Context::Process, Counter::ExitRecords, 1);
    0
}

#[tracepoint]
pub fn dup(ctx: TracePointContext) -> u32 {
    redirected(system_call::result(&ctx));
    0
}

#[tracepoint]
pub fn fcntl(ctx: TracePointContext) -> u32 {
    const F_DUPFD: u64 = 0;
    const F_DUPFD_CLOEXEC: u64 = 1030;
    let result = system_call::result(&ctx);
    // Other commands return small numbers, too, which are no descriptors.
    if (0..STREAMS as i64).contains(&result)
        && let F_DUPFD | F_DUPFD_CLOEXEC = system_call::second_argument()
    {
        redirected(result);
    }
    0
}

#[inline(always)]
fn redirected(descriptor: i64) {
    if !(0..STREAMS as i64).contains(&descriptor) {
        return;
    }
    let descriptor = descriptor as u32;
    let mut stream = MaybeUninit::<Stream>::uninit();
    // SAFETY: `look` writes it in whole before anything is read.
    let stream = unsafe { &mut *stream.as_mut_ptr() };
    look(Descriptors::current().file(descriptor), stream);
    let is_heard = match StreamKind::from_number(stream.kind) {
        StreamKind::Inet | StreamKind::Unix | StreamKind::Socket => true,
        StreamKind::Pipe | StreamKind::Fifo | StreamKind::Terminal | StreamKind::TerminalMaster => is_due(),
        StreamKind::Unknown
        | StreamKind::Closed
        | StreamKind::File
        | StreamKind::Memory
        | StreamKind::Console
        | StreamKind::Device
        | StreamKind::Anonymous => return,
    };
    if is_heard {
        report(ProcessEvent::Redirect, descriptor as u8);
    } else if let Some(count) = Count::new() {
        count.add_in(Context::Process, Counter::RedirectsUnheard, 1);
    }
}

/// Returns whether the process may be heard once more this second.
#[inline(always)]
fn is_due() -> bool {
    let tgid = (aya_ebpf::helpers::bpf_get_current_pid_tgid() >> 32) as u32;
    let second = boot_ns() >> 30;
    let mut heard = 0;
    // SAFETY: one word is read, and not kept.
    if let Some(last) = unsafe { REDIRECTS.get(&tgid) }
        && last >> 32 == second
    {
        heard = *last as u32;
    }
    if heard >= HEARD {
        return false;
    }
    // Without room the process is heard.
    let _ = REDIRECTS.insert(&tgid, &(second << 32 | u64::from(heard + 1)), 0);
    true
}

/// Tells of a process whose standard stream is the socket that it gives a peer: no other call puts it there.
#[inline(always)]
pub fn connects(cookie: u64) {
    if cookie == 0 || !knows(group::TASK | group::STREAMS) {
        return;
    }
    let descriptors = Descriptors::current();
    for descriptor in 0..STREAMS as u32 {
        if descriptors.cookie(descriptor) == cookie {
            report(ProcessEvent::Connect, descriptor as u8);
            return;
        }
    }
}

#[inline(never)]
fn report(event: ProcessEvent, descriptor: u8) {
    let Some(count) = Count::new() else { return };
    let Some(mut entry) = PROCESSES.reserve::<ProcessRecord>(0) else {
        count.add_in(Context::Process, Counter::RedirectRecordsLost, 1);
        return;
    };
    // SAFETY: written in whole before it is submitted.
    let head = unsafe { &mut *entry.as_mut_ptr() };
    let leads_on = describe(head, event, descriptor, size_of::<ProcessRecord>() as u32);
    head.filename_len = 0;
    head.args_len = 0;
    entry.submit(wake_up(leads_on));
    count.add_in(Context::Process, Counter::RedirectRecords, 1);
}

/// Writes all of a record but the lengths of what follows it; returns whether a standard stream reaches another process.
#[inline(always)]
fn describe(head: &mut ProcessRecord, event: ProcessEvent, descriptor: u8, len: u32) -> bool {
    head.header = Header { kind: Kind::Process as u16, cpu: cpu() as u16, len, time_ns: precise_ns() };
    task::describe(&mut head.owner, 0);
    let descriptors = Descriptors::current();
    look(descriptors.file(0), &mut head.streams[0]);
    look(descriptors.file(1), &mut head.streams[1]);
    look(descriptors.file(2), &mut head.streams[2]);
    task::climb(&mut head.ancestors);
    head.exe_links = task::name_executable(&mut head.exe_name);
    head.session = task::session();
    head.event = event as u8;
    head.descriptor = descriptor;
    head.pad = [0; 2];
    head.streams.iter().any(|stream| StreamKind::from_number(stream.kind).leads_on())
}

/// Returns how a record is submitted: whoever may be a shell is heard at once, and so is a ring buffer that fills up.
#[inline(always)]
fn wake_up(leads_on: bool) -> u64 {
    let waiting = PROCESSES.query(u64::from(BPF_RB_AVAIL_DATA));
    if leads_on || waiting > PROCESSES.query(u64::from(BPF_RB_RING_SIZE)) / 4 {
        return u64::from(BPF_RB_FORCE_WAKEUP);
    }
    u64::from(BPF_RB_NO_WAKEUP)
}
