//! What of the host netd takes: kernel, BTF, BPF file system, cgroups, privileges, interfaces, clock, disk.

use std::fs;
use std::path::Path;

use super::{Check, offloads};
use crate::kernel::interfaces::{Choice, Watch};
use crate::kernel::runs;

/// What loading takes.
const LOADING: [caps::Capability; 3] =
    [caps::Capability::CAP_BPF, caps::Capability::CAP_NET_ADMIN, caps::Capability::CAP_PERFMON];
/// Free space below which state may not be saved.
const LITTLE: u64 = 64 << 20;

pub(super) fn checks(state_dir: &Path, is_running: bool) -> Vec<Check> {
    let mut checks = vec![kernel(&read("/proc/sys/kernel/osrelease")), btf(), bpf_file_system(), cgroups(), lsm()];
    checks.push(statistics());
    checks.push(privileges(is_running));
    checks.extend(interfaces());
    checks.push(clock());
    checks.push(disk(state_dir));
    checks
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn kernel(release: &str) -> Check {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    let version = numbers.next().zip(numbers.next());
    match version {
        Some(version) if version >= (6, 1) => Check::ok("kernel", release),
        Some(version) if version >= (5, 17) => {
            Check::warn("kernel", release, "netd is tested from 6.1 on; before 6.1 it keeps CAP_BPF while it runs")
        }
        Some(_) | None => Check::fail("kernel", release, "netd's programs load from 5.17 on; use 6.1 or later"),
    }
}

fn btf() -> Check {
    let path = "/sys/kernel/btf/vmlinux";
    match fs::metadata(path) {
        Ok(metadata) => Check::ok("BTF", format!("{path}, {} KB", metadata.len() >> 10)),
        Err(error) => Check::warn(
            "BTF",
            format!("{path}: {error}"),
            "without CONFIG_DEBUG_INFO_BTF the kernel does not say which process opened a connection",
        ),
    }
}

fn bpf_file_system() -> Check {
    let mounts = read("/proc/self/mounts");
    let mounted = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let place = fields.nth(1)?;
        (fields.next()? == "bpf").then(|| place.to_owned())
    });
    match mounted {
        Some(place) => Check::ok("BPF fs", place),
        None => Check::fail(
            "BPF fs",
            "none is mounted",
            "enforcement could not outlive the daemon: mount -t bpf bpf /sys/fs/bpf",
        ),
    }
}

fn cgroups() -> Check {
    match Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        true => Check::ok("cgroups", "version 2 at /sys/fs/cgroup"),
        false => Check::warn(
            "cgroups",
            "no version 2 at /sys/fs/cgroup",
            "a blocked connect hangs, where it could fail at once, and owners are found in /proc only",
        ),
    }
}

fn statistics() -> Check {
    let found = match runs::are_counted() {
        true => "on: metrics say how often netd's programs run and what they take",
        false => "off: sysctl kernel.bpf_stats_enabled=1 counts runs of programs, everybody's, at some ns a run",
    };
    Check::ok("BPF stats", found)
}

fn lsm() -> Check {
    let lockdown = read("/sys/kernel/security/lockdown");
    match read("/sys/kernel/security/lsm").as_str() {
        "" => Check::ok("LSM", "not told (securityfs is not mounted)"),
        list if lockdown.contains("[confidentiality]") => {
            let advice = "kernel lockdown 'confidentiality' refuses BPF programs that read the kernel's memory";
            Check::fail("LSM", format!("{list}; lockdown: confidentiality"), advice)
        }
        list => Check::ok("LSM", list),
    }
}

fn privileges(is_running: bool) -> Check {
    let held = caps::read(None, caps::CapSet::Effective).unwrap_or_default();
    let missing: Vec<String> =
        LOADING.iter().filter(|wanted| !held.contains(wanted)).map(ToString::to_string).collect();
    match (missing.is_empty(), is_running) {
        (true, _) => Check::ok("privileges", "enough to start netd"),
        (false, true) => Check::ok("privileges", "not enough to start netd; it runs already"),
        (false, false) => {
            Check::warn("privileges", format!("no {}", missing.join(", ")), "start netd as root: sudo netd run")
        }
    }
}

fn interfaces() -> Vec<Check> {
    let what = "interfaces";
    let watch = match Watch::new(Choice::Auto) {
        Ok(watch) => watch,
        Err(error) => return vec![Check::fail(what, error.to_string(), "netd cannot choose what to watch")],
    };
    let names: Vec<&str> = watch.current().map(|interface| interface.name.as_str()).collect();
    if names.is_empty() {
        let advice = "bring one up, or name those to watch: interfaces = [\"eth0\"] in the configuration";
        return vec![Check::fail(what, "none is up but loopback", advice)];
    }
    let mut checks = vec![Check::ok(what, names.join(", "))];
    let large: Vec<&str> =
        names.iter().copied().filter(|name| offloads::has_large_receive(name).unwrap_or(false)).collect();
    if !large.is_empty() {
        let advice = format!("packets are joined past recovery: ethtool -K {} lro off", large[0]);
        checks.push(Check::warn("offloads", format!("LRO is on: {}", large.join(", ")), advice));
    } else {
        checks.push(Check::ok("offloads", "no LRO"));
    }
    checks
}

fn clock() -> Check {
    // SAFETY: `timex` is plain numbers, for which zeroes are valid.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is valid for the call; with no mode set nothing is changed.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    let is_synchronised = state >= 0 && timex.status & libc::STA_UNSYNC == 0;
    match is_synchronised {
        true => Check::ok("clock", "synchronised"),
        false => Check::warn(
            "clock",
            "not synchronised",
            "times in findings and records may be off; run chrony or timesyncd",
        ),
    }
}

fn disk(state_dir: &Path) -> Check {
    // Before the first start there is only a folder above it.
    let Some(existing) = state_dir.ancestors().find(|path| path.exists()) else {
        return Check::fail("disk", state_dir.display().to_string(), "there is no such file system");
    };
    match rustix::fs::statvfs(existing) {
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let text = format!("{} MB free for {}", free >> 20, state_dir.display());
            match free >= LITTLE {
                true => Check::ok("disk", text),
                false => {
                    Check::warn("disk", text, "without space nothing more is cut (audit) and nothing saved; make some")
                }
            }
        }
        Err(error) => Check::warn("disk", format!("{}: {error}", existing.display()), "look at the file system"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    #[test]
    fn kernels_are_graded_by_what_loads_and_what_is_promised() {
        for (release, grade) in [
            ("6.18.44-fc", Grade::Ok),
            ("6.1.0-27-amd64", Grade::Ok),
            ("5.17.1", Grade::Warn),
            ("6.0.9", Grade::Warn),
            ("5.10.0-30", Grade::Fail),
            ("", Grade::Fail),
        ] {
            assert_eq!(kernel(release).grade, grade, "{release}");
        }
    }

    #[test]
    fn every_check_that_is_not_ok_says_what_to_do() {
        let checks = checks(Path::new("/var/lib/netd"), false);

        assert!(checks.len() >= 8);
        assert!(checks.iter().all(|check| (check.grade == Grade::Ok) == check.advice.is_none()), "{checks:?}");
    }
}
