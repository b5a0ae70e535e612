//! The object's programs: of what kind they are, and what netd is without each.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, OwnedFd},
};

use aya::{
    Ebpf,
    programs::{
        CgroupSock, CgroupSockAddr, Program, ProgramError, RawTracePoint, SchedClassifier, SockOps, TracePoint,
        Xdp as XdpProgram,
    },
};
use netd_common::names;

use super::{Degraded, Error, chain};

/// How much is lost without a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Required,
    /// What happens without it.
    Optional(&'static str),
}

use Need::{Optional, Required};

#[derive(Clone, Copy, Debug)]
enum ProgramKind {
    Classifier,
    Xdp,
    Socket,
    SocketAddress,
    SocketOperations,
    RawTracepoint,
    Tracepoint,
}

const NO_L3: &str = "devices without a link layer are not watched";
const NO_OWNER: &str = "some connections are not joined to the process that opened them, nor refused with an error";
const NO_SERVER: &str = "some servers are named only once they are spoken with";
const NO_WORKER: &str = "some connections are named after the process that listens, not the one that takes them";
const NO_STREAMS: &str = "a shell that puts its own streams elsewhere is seen only when it starts another program";

const PROGRAMS: [(&str, ProgramKind, Need); 20] = [
    (names::TC_INGRESS, ProgramKind::Classifier, Required),
    (names::TC_EGRESS, ProgramKind::Classifier, Required),
    (names::TC_INGRESS_L3, ProgramKind::Classifier, Optional(NO_L3)),
    (names::TC_EGRESS_L3, ProgramKind::Classifier, Optional(NO_L3)),
    (names::XDP_INGRESS, ProgramKind::Xdp, Optional("listed hosts are dropped later, by the TC programs")),
    (names::CONNECT4, ProgramKind::SocketAddress, Optional(NO_OWNER)),
    (names::CONNECT6, ProgramKind::SocketAddress, Optional(NO_OWNER)),
    (names::SENDMSG4, ProgramKind::SocketAddress, Optional(NO_OWNER)),
    (names::SENDMSG6, ProgramKind::SocketAddress, Optional(NO_OWNER)),
    (names::SOCK_OPS, ProgramKind::SocketOperations, Optional(NO_OWNER)),
    (names::POST_BIND4, ProgramKind::Socket, Optional(NO_SERVER)),
    (names::POST_BIND6, ProgramKind::Socket, Optional(NO_SERVER)),
    (
        names::SOCK_RELEASE,
        ProgramKind::Socket,
        Optional("owners of closed sockets are kept until others push them out"),
    ),
    (names::GETPEERNAME4, ProgramKind::SocketAddress, Optional(NO_WORKER)),
    (names::GETPEERNAME6, ProgramKind::SocketAddress, Optional(NO_WORKER)),
    (
        names::PROCESS_EXEC,
        ProgramKind::RawTracepoint,
        Optional("reverse shells are found by their network rhythm alone"),
    ),
    (
        names::PROCESS_EXIT,
        ProgramKind::RawTracepoint,
        Optional("ended processes are remembered until others push them out"),
    ),
    (names::ACCEPT, ProgramKind::Tracepoint, Optional(NO_WORKER)),
    (names::DUP, ProgramKind::Tracepoint, Optional(NO_STREAMS)),
    (names::FCNTL, ProgramKind::Tracepoint, Optional(NO_STREAMS)),
];

/// Loads every program that the kernel takes.
pub(super) fn load(object: &mut Ebpf, degraded: &mut Vec<Degraded>) -> Result<BTreeMap<&'static str, OwnedFd>, Error> {
    let mut programs = BTreeMap::new();
    for (name, kind, need) in PROGRAMS {
        let program = object.program_mut(name).ok_or(Error::Missing { what: "program", name })?;
        match (load_one(program, kind), need) {
            (Ok(fd), _) => {
                programs.insert(name, fd);
            }
            (Err(error), Optional(consequence)) => {
                degraded.push(Degraded::new(format!("program {name}"), chain(&error), consequence));
            }
            (Err(source), Required) => return Err(Error::Program { name, source: Box::new(source) }),
        }
    }
    Ok(programs)
}

fn load_one(program: &mut Program, kind: ProgramKind) -> Result<OwnedFd, ProgramError> {
    match kind {
        ProgramKind::Classifier => <&mut SchedClassifier>::try_from(&mut *program)?.load()?,
        ProgramKind::Xdp => <&mut XdpProgram>::try_from(&mut *program)?.load()?,
        ProgramKind::Socket => <&mut CgroupSock>::try_from(&mut *program)?.load()?,
        ProgramKind::SocketAddress => <&mut CgroupSockAddr>::try_from(&mut *program)?.load()?,
        ProgramKind::SocketOperations => <&mut SockOps>::try_from(&mut *program)?.load()?,
        ProgramKind::RawTracepoint => <&mut RawTracePoint>::try_from(&mut *program)?.load()?,
        ProgramKind::Tracepoint => <&mut TracePoint>::try_from(&mut *program)?.load()?,
    }
    Ok(program.fd()?.as_fd().try_clone_to_owned()?)
}
