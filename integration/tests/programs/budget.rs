//! What the programs cost: instructions the verifier walks, memory the maps hold. Prints the figures.

use std::{
    fs::read_to_string,
    io::Write as _,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{Ebpf, EbpfLoader, maps::Map, programs::Program, util::nr_cpus};
use netd_common::{
    flow::WAYS,
    names::{OFFSETS, maps},
};
use netd_lab::require_root;
use zerocopy::IntoBytes as _;

use crate::kernel::object;

/// No classifier may cost more, and no other program more than the second: a release of the kernel that looks closer
/// must still load them.
const CLASSIFIER_LIMIT: u32 = 150_000;
const OTHER_LIMIT: u32 = 60_000;

/// Instructions verified on Linux 6.18; on the same kernel a change beyond a tenth is a change to look at.
const RECORDED_ON: &str = "6.18.";
const RECORDED: [(&str, u32); 20] = [
    ("tc_ingress", 65_165),
    ("tc_egress", 67_877),
    ("tc_ingress_l3", 52_700),
    ("tc_egress_l3", 55_286),
    ("xdp_ingress", 15_332),
    ("connect4", 9_624),
    ("connect6", 11_012),
    ("sendmsg4", 6_446),
    ("sendmsg6", 7_849),
    ("sock_ops", 2_075),
    ("post_bind4", 1_129),
    ("post_bind6", 1_122),
    ("sock_release", 1_077),
    ("getpeername4", 2_401),
    ("getpeername6", 2_421),
    ("process_exec", 3_566),
    ("process_exit", 107),
    ("accept", 1_760),
    ("dup", 3_433),
    ("fcntl", 3_458),
];

/// The flow table that `netd run` makes when nothing else is said.
const FLOWS_PER_CPU: usize = 65_536;
/// Everything else at the object's own sizes, as they are made: lists empty.
const FIXED_LIMIT: u64 = 48 << 20;
const PER_CPU_LIMIT: u64 = 14 << 20;

fn say(line: &str) {
    // A closed standard error is no reason to fail.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn verified(bpf: &mut Ebpf, name: &str) -> u32 {
    let program = bpf.program_mut(name).unwrap();
    if let Program::SchedClassifier(program) = program {
        program.load().unwrap();
    } else if let Program::Xdp(program) = program {
        program.load().unwrap();
    } else if let Program::CgroupSockAddr(program) = program {
        program.load().unwrap();
    } else if let Program::SockOps(program) = program {
        program.load().unwrap();
    } else if let Program::CgroupSock(program) = program {
        program.load().unwrap();
    } else if let Program::RawTracePoint(program) = program {
        program.load().unwrap();
    } else if let Program::TracePoint(program) = program {
        program.load().unwrap();
    }
    program.info().unwrap().verified_instruction_count().expect("a kernel since 5.16 says")
}

#[test]
fn every_program_stays_within_its_budget_of_verified_instructions() {
    require_root!();
    // Without offsets most of what reads the kernel's structures would be left out.
    let (offsets, _) = netd::kernel::find_offsets();
    let object = object();
    let mut bpf = EbpfLoader::new().override_global(OFFSETS, offsets.as_bytes(), true).load(&object).unwrap();
    let release = read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut names: Vec<String> = bpf.programs().map(|(name, _)| name.to_owned()).collect();
    names.sort();
    let mut recorded: Vec<&str> = RECORDED.iter().map(|(name, _)| *name).collect();
    recorded.sort_unstable();
    assert_eq!(names, recorded, "a program without a recorded figure");

    let mut outside = Vec::new();
    for (name, recorded) in RECORDED {
        let count = verified(&mut bpf, name);

        say(&format!("{name}: {count} verified instructions (recorded {recorded} on {RECORDED_ON}x)"));
        let limit = if name.starts_with("tc_") { CLASSIFIER_LIMIT } else { OTHER_LIMIT };
        if count > limit || release.starts_with(RECORDED_ON) && count.abs_diff(recorded) * 10 > recorded {
            outside.push((name, count));
        }
    }
    assert_eq!(outside, [], "beyond the limit, or a tenth off what is recorded");
}

#[test]
fn the_maps_stay_within_their_budget_of_memory() {
    require_root!();
    let cpus = nr_cpus().unwrap();
    let sets = cpus * FLOWS_PER_CPU / WAYS;
    let bpf = EbpfLoader::new().map_max_entries(maps::FLOWS, sets as u32).load(&object()).unwrap();

    let mut sizes: Vec<(String, u64)> = bpf.maps().map(|(name, map)| (name.to_owned(), locked_memory(map))).collect();
    sizes.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));

    let total: u64 = sizes.iter().map(|(_, bytes)| bytes).sum();
    for (name, bytes) in &sizes {
        say(&format!("{name}: {} KiB", bytes.div_ceil(1024)));
    }
    let limit = FIXED_LIMIT + cpus as u64 * PER_CPU_LIMIT;
    say(&format!("all maps, {cpus} CPUs: {} KiB of {} KiB allowed", total.div_ceil(1024), limit / 1024));
    assert!(total <= limit, "{total} > {limit}");
}

/// Returns the bytes that the kernel says it keeps for a map; the generations of lists are as large as the lists.
fn locked_memory(map: &Map) -> u64 {
    let (Map::Array(data)
    | Map::PerCpuArray(data)
    | Map::HashMap(data)
    | Map::LruHashMap(data)
    | Map::LpmTrie(data)
    | Map::ArrayOfMaps(data)
    | Map::RingBuf(data)) = map
    else {
        panic!("{map:?} is of a kind that the object does not use");
    };
    let fd = data.fd().as_fd().as_raw_fd();
    let text = read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("memlock:")).unwrap();
    line.trim().parse().unwrap()
}
