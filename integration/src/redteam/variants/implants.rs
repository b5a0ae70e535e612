//! The small implants of this program: see [`implant`](super::super::implant).

use super::super::variant::{Class, Transport, Variant};

pub(super) const ALL: &[Variant] = &[
    Variant::tcp("rust io_uring connect", Class::Uring, &[], &["{me}", "implant", "uring", "{ip}", "{port}"]),
    Variant::tcp("rust socketpair relay", Class::SocketPair, &[], &["{me}", "implant", "socketpair", "{ip}", "{port}"]),
    Variant::tcp("rust fork, then dup", Class::Direct, &[], &["{me}", "implant", "fork", "{ip}", "{port}"]),
    Variant::tcp("rust fcntl, not dup2", Class::Direct, &[], &["{me}", "implant", "fcntl", "{ip}", "{port}"]),
    Variant::tcp("rust socket on 0", Class::Direct, &[], &["{me}", "implant", "low", "{ip}", "{port}"]),
    Variant::tcp("memfd of a shell-spawner", Class::Memory, &[], &["{me}", "implant", "memfd", "{ip}", "{port}"]),
    Variant::tcp("memfd of dash", Class::Memory, &["/bin/dash"], &["{me}", "implant", "memfd-dash", "{ip}", "{port}"]),
    Variant::tcp("rust udp relay", Class::Udp, &[], &["{me}", "implant", "udp", "{ip}", "{port}"]).over(Transport::Udp),
    Variant::tcp("rust two relays", Class::Relay, &[], &["{me}", "implant", "relays", "{ip}", "{port}"]),
];
